"""What the value of each setting may be: a parser for each kind, which raises ValueError with what to write instead."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from email.utils import parseaddr
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from digestbot.addresses import check_address
from digestbot.errors import in_short

T = TypeVar("T")


def _number(kind: Callable[[str], T], lowest: float, highest: float, what: str) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {what}") from None
        if not lowest <= value <= highest:  # type: ignore[operator]
            raise ValueError(f"{text} must be from {lowest:g} to {highest:,.0f}")
        return value

    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} must be one of {', '.join(choices)}")
        return text

    return parse


def _mailbox(text: str) -> str:
    """`Name <address>` or an address alone, with its domain as mail servers want it."""
    if re.search(r"[,;:]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        raise ValueError(
            f"{text!r} must be one address; a name with a comma, colon or semicolon stands in double quotes"
        )
    address = parseaddr(text)[1]
    if re.search(r"[\r\n\x00]", text) or "@" not in address:
        raise ValueError(f"{text!r} is not an address such as 'Name <name@example.org>'")
    return text.replace(address, _checked(address))


def _checked(address: str) -> str:
    checked = check_address(address)
    if not checked.isascii():
        raise ValueError(f"{address!r} must be ASCII before the @: not every mail server takes more")
    return checked


def _address(text: str) -> str:
    if parseaddr(text)[1] != text:
        raise ValueError(f"{text!r} must be a plain address such as bounce@example.org")
    return _checked(text)


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not a URL such as https://papers.example.org")
    if re.search(r"[\s<>\"']", text) or parts.username:
        raise ValueError("must hold neither white space, quotes nor a user")
    _host(parts.hostname)
    _ = parts.port  # raises ValueError for a port out of range
    return text.rstrip("/")


def _smtp_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtp+starttls", "smtps"):
        raise ValueError("must begin with smtp://, smtp+starttls:// or smtps://")
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(
            "has no valid port; percent-encode special characters of user and password"
        ) from None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "must be SCHEME://[user:password@]HOST[:PORT], with special characters percent-encoded"
        )
    _host(host)
    return text


def _database(text: str) -> str:
    if not re.match(r"sqlite:///.|postgres(ql)?://", text):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if text.startswith("sqlite") and _found(Path(text.removeprefix("sqlite:///")).is_dir):
        raise ValueError(f"{text} is a folder; name a file in it")
    if text.startswith("postgres") and (text.count("@") > 1 or re.search(r"\s", text)):
        raise ValueError("percent-encode special characters of user and password")
    return text


def _secrets(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if not keys or min(map(len, keys)) < 16:
        raise ValueError("each key needs 16 characters or more; `digestbot init` makes one")
    return keys


def _signup(text: str) -> str:
    if text in ("open", "closed") or re.fullmatch(r"domains:[^\s,]+(,[^\s,]+)*", text):
        return text
    raise ValueError(f"{text!r} must be open, closed or domains:example.org,... without blanks")


def _dns_name(text: str) -> str:
    """A selector or a domain, as it stands in a signature and in DNS."""
    try:
        name = text.encode("idna").decode()
    except UnicodeError:
        name = ""
    if len(name) > 200 or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name):
        raise ValueError(f"{in_short(text)} must be letters, digits, hyphens and dots, as in DNS")
    return name


def _host(text: str) -> None:
    if ":" not in text:  # else it is an address of IPv6, which urlsplit looked at
        _dns_name(text)


def _networks(text: str) -> tuple[str, ...]:
    networks = tuple(part.strip() for part in text.split(",") if part.strip())
    for network in networks:
        ipaddress.ip_network(network, strict=False)  # its ValueError says what is wrong
    return networks


def _found(look: Callable[[], bool]) -> bool:
    """What a look at a path finds; False where one may not look, which `doctor` tells better."""
    try:
        return look()
    except OSError:
        return False


def _state(text: str) -> Path:
    """The state folder may be made yet."""
    if _found(Path(text).is_file):
        raise ValueError(f"{text} is a file, not a folder")
    return Path(text)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ValueError(f"{text} is not a folder")
    return path


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text} is not a file")
    return path


def _model(text: str) -> str:
    """A folder's files are looked at; whether the hub has a name only the hub knows."""
    folder = Path(text).expanduser()
    if not folder.is_dir():
        if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", text):
            return text
        raise ValueError(f"{text} is neither a folder nor a name such as organisation/model")
    kinds = (("tokenizer.json",), ("model.onnx", "onnx/model.onnx"), ("1_Pooling/config.json",))
    for names in kinds:
        if not any((folder / name).is_file() for name in names):
            raise ValueError(f"{text} has no {' or '.join(names)}")
    return text


PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "STATE": ("state", _state),
    "DATABASE": ("database", _database),
    "SMTP_URL": ("smtp_url", _smtp_url),
    "SMTP_CONNECTIONS": ("smtp_connections", _number(int, 1, 1000, "a whole number")),
    "SMTP_RATE": ("smtp_rate", _number(float, 0.001, 1e6, "a number")),
    "SMTP_DAILY_LIMIT": ("smtp_daily_limit", _number(int, 1, 10**9, "a whole number")),
    "FROM": ("from_", _mailbox),
    "REPLY_TO": ("reply_to", _mailbox),
    "BOUNCE_ADDRESS": ("bounce_address", _address),
    "OPERATOR": ("operator", _address),
    "POSTAL_ADDRESS": ("postal_address", str),
    "BASE_URL": ("base_url", _base_url),
    "SECRET_KEY": ("secret_keys", _secrets),
    "SIGNUP": ("signup", _signup),
    "ADMIN_PASSWORD": ("admin_password", str),
    "TRUSTED_PROXIES": ("trusted_proxies", _networks),
    "TEMPLATES": ("templates", _folder),
    "WINDOW_DAYS": ("window_days", _number(int, 1, 36_500, "a whole number")),
    "MAX_LATENESS_HOURS": ("max_lateness_hours", _number(float, 0, 876_000, "a number")),
    "EXPECT_DROP_HOURS": ("expect_drop_hours", _number(float, 0, 876_000, "a number")),
    "ON_DOUBT": ("on_doubt", _choice("resend", "hold")),
    "DKIM_KEY": ("dkim_key", _file),
    "DKIM_SELECTOR": ("dkim_selector", _dns_name),
    "DKIM_DOMAIN": ("dkim_domain", _dns_name),
    "EMBEDDING_MODEL": ("embedding_model", _model),
}
