"""Who the mails are from: addresses, links, signature, and the DNS records that let receivers believe them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from digestbot.doctor.finding import Finding, fail, ok, warn
from digestbot.errors import SettingsError
from digestbot.mailroom import make_signer
from digestbot.relay import SmtpSettings
from digestbot.settings import Settings

LOCAL_PART = 64  # octets (RFC 5321 4.5.3.1.1)
TAG = 49  # `+` and the longest tag
TXT_STRING = 255  # octets in one string of a TXT record (RFC 1035 3.3.14)


@dataclass(frozen=True, slots=True)
class DnsRecord:
    name: str
    kind: str
    value: str  # as a zone file has it
    why: str


def check_links(settings: Settings) -> Iterator[Finding]:
    url, host = settings.base_url, urlsplit(settings.base_url).hostname or ""
    if not settings.is_secure:
        said = f"{url} is not https, which one-click unsubscribe needs (RFC 8058)"
        yield fail(
            "links", said, "put a web server with a certificate before `serve`, and set DIGESTBOT_BASE_URL"
        )
    elif _is_ip(host):
        said = f"{url} names an IP address, which spam filters punish"
        yield warn("links", said, "DIGESTBOT_BASE_URL: use a host name")
    else:
        yield ok("links", url)


def check_addresses(settings: Settings) -> Iterator[Finding]:
    domain, bounces = settings.from_address.rpartition("@")[2], bounce_address(settings)
    if "." not in domain:
        local = SmtpSettings.from_url(settings.smtp_url).is_loopback
        make, said = (
            (warn if local else fail),
            f"mails are from {settings.from_address}, a domain nobody can answer",
        )
        yield make("sender", said, "DIGESTBOT_FROM: an address of a domain of yours")
    else:
        yield ok("sender", settings.from_)
    local_part, _, bounce_domain = bounces.rpartition("@")
    if len(local_part.encode()) + TAG > LOCAL_PART:
        said = f"{bounces} leaves no room for its signed tag"
        yield fail(
            "bounces", said, f"DIGESTBOT_BOUNCE_ADDRESS: at most {LOCAL_PART - TAG} letters before the @"
        )
    elif not _aligned(domain, bounce_domain):
        said = f"{bounces} is of another domain than From's {domain}: SPF will not count for DMARC"
        yield warn("bounces", said, "DIGESTBOT_BOUNCE_ADDRESS: an address of From's domain or one below it")
    else:
        yield ok(
            "bounces", f"{local_part}+TAG@{bounce_domain}; pipe what comes there into `digestbot bounce`"
        )
    if settings.operator is None:
        yield warn("operator", "nobody is told of trouble by mail", "set DIGESTBOT_OPERATOR")


def check_dkim(settings: Settings) -> Iterator[Finding]:
    try:
        signer = make_signer(settings)
    except SettingsError as error:
        yield fail("DKIM", str(error), "mend it, or make a new one: openssl genrsa -out dkim.pem 2048")
        return
    if signer is None:
        yield ok("DKIM", "left to the mail server: make sure that it signs for From's domain")
        return
    domain = settings.from_address.rpartition("@")[2]
    name, text = signer.dns_record()
    if not _aligned(domain, signer.domain):
        said = f"signs for {signer.domain}, but mails are from {domain}: it will not count for DMARC"
        yield fail("DKIM", said, "DIGESTBOT_DKIM_DOMAIN: From's domain or one above it")
    elif "k=ed25519" in text:
        said = f"signs as {name} with Ed25519, which large receivers still pass over"
        yield warn("DKIM", said, "use an RSA key of 2048 bits, or let the mail server add such a signature")
    else:
        yield ok("DKIM", f"signs as {name}; publish its record")
    key = settings.dkim_key
    if key is not None and key.stat().st_mode & 0o004:
        yield warn("DKIM key", f"{key} can be read by everybody on this machine", f"chmod o-r {key}")


def dns_records(settings: Settings) -> list[DnsRecord]:
    """What to publish for From's domain. Nothing is looked up: whether it is there already is for you to see."""
    domain, bounces = settings.from_address.rpartition("@")[2], bounce_address(settings).rpartition("@")[2]
    if "." not in domain:
        return []
    report = settings.operator or f"postmaster@{domain}"
    records = [
        DnsRecord(
            bounces, "TXT", _quoted(_spf(settings)), "SPF: who may send for the envelope sender's domain"
        ),
        DnsRecord(
            f"_dmarc.{domain}", "TXT", _quoted(f"v=DMARC1; p=none; rua=mailto:{report}"), "DMARC: asked for"
        ),
    ]
    try:
        signer = make_signer(settings)
    except SettingsError:
        signer = None
    if signer is not None:
        name, text = signer.dns_record()
        records.append(DnsRecord(name, "TXT", _quoted(text), "DKIM: the public half of DIGESTBOT_DKIM_KEY"))
    return records


def bounce_address(settings: Settings) -> str:
    return settings.bounce_address or settings.from_address


def _spf(settings: Settings) -> str:
    """A sending service names an `include:` of its own to take instead of `a:`."""
    server = SmtpSettings.from_url(settings.smtp_url)
    if server.is_loopback:
        return "v=spf1 a mx ~all"
    return f"v=spf1 {f'ip4:{server.host}' if _is_ip(server.host) else f'a:{server.host}'} ~all"


def _quoted(text: str) -> str:
    """In strings of at most 255 octets, as zone files and most DNS panels take them."""
    pieces = [text[start : start + TXT_STRING] for start in range(0, len(text), TXT_STRING)]
    return " ".join(f'"{piece}"' for piece in pieces)


def _aligned(one: str, other: str) -> bool:
    """Whether one domain is the other or lies below it: DMARC's relaxed alignment, as far as it can be known here."""
    one, other = one.lower(), other.lower()
    return one == other or one.endswith("." + other) or other.endswith("." + one)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
