"""DKIM signatures (RFC 6376; Ed25519: RFC 8463), relaxed/relaxed, the same bytes for the same message every time."""

from __future__ import annotations

import base64
import hashlib
import re
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from digestbot.errors import SettingsError
from digestbot.quoted import Lines

# Named once more than present, so that nobody can add another one or drop it unseen (RFC 6376 8.15; RFC 8058 3.1).
OVERSIGNED = (
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
)
SIGNED_WHERE_PRESENT = ("content-transfer-encoding", "auto-submitted", "precedence", "sender")
SMALLEST_RSA_BITS = 2048

_NEXT_HEADER = re.compile(rb"\r\n(?![ \t])")
_SPACES = re.compile(rb"[ \t]+")


class DkimSigner:
    """Signs as `selector`._domainkey.`domain` with an RSA key of 2048 bits or more, or an Ed25519 key."""

    def __init__(
        self, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, selector: str, domain: str
    ) -> None:
        self._key, self.selector, self.domain = key, selector, domain.encode("idna").decode()
        self._algorithm = "rsa-sha256" if isinstance(key, rsa.RSAPrivateKey) else "ed25519-sha256"

    @classmethod
    def load(cls, path: Path, selector: str, domain: str) -> DkimSigner:
        """Reads a PEM file without passphrase; raises SettingsError naming DIGESTBOT_DKIM_KEY."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise SettingsError([f"DIGESTBOT_DKIM_KEY: {path} cannot be read: {error.strerror}"]) from None
        except (ValueError, TypeError):
            raise SettingsError(
                [f"DIGESTBOT_DKIM_KEY: {path} is no private key in PEM without passphrase"]
            ) from None
        if isinstance(key, rsa.RSAPrivateKey) and key.key_size < SMALLEST_RSA_BITS:
            raise SettingsError([f"DIGESTBOT_DKIM_KEY: {path} has {key.key_size} bits; receivers want 2048"])
        if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise SettingsError([f"DIGESTBOT_DKIM_KEY: {path} must be an RSA or Ed25519 key"])
        return cls(key, selector, domain)

    def sign(self, message: bytes) -> bytes:
        """The message under its signature; `t=` is its Date, so a retry has the same bytes. Each line ends in CRLF."""
        head, _, body = message.partition(b"\r\n\r\n")
        names, values = _parse(head)
        chosen = _choose(names)
        signed_at = _seconds(values[names.index("date")])
        relaxed = body if isinstance(message, Lines) else _relax_body(body)
        body_hash = base64.b64encode(hashlib.sha256(relaxed).digest()).decode()
        unsigned = self._tags(signed_at, tuple(name for name, _ in chosen), body_hash)
        to_sign = b"".join([_relax(name, values[place]) for name, place in chosen if place is not None])
        to_sign += _relax("dkim-signature", unsigned).removesuffix(b"\r\n")
        signature = base64.b64encode(self._sign(to_sign)).decode()
        return b"DKIM-Signature:" + unsigned + _fold_signature(signature) + b"\r\n" + message

    def dns_record(self) -> tuple[str, str]:
        """Name and text of the TXT record that receivers look up."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            kind, public = (
                "rsa",
                self._key.public_key().public_bytes(
                    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
                ),
            )
        else:
            kind, public = "ed25519", self._key.public_key().public_bytes_raw()
        text = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"
        return f"{self.selector}._domainkey.{self.domain}", text

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(hashlib.sha256(data).digest())  # RFC 8463 3: the hash is what is signed

    def _tags(self, signed_at: int, names: tuple[str, ...], body_hash: str) -> bytes:
        lines = [
            f" v=1; a={self._algorithm}; c=relaxed/relaxed; t={signed_at};",
            f" d={self.domain}; s={self.selector};",
            *_fold_names(names),
            f" bh={body_hash};",
            " b=",
        ]
        return "\r\n".join(lines).encode()


@lru_cache(100)
def _seconds(date: bytes) -> int:
    """Since 1970, of a Date header's value."""
    return int(parsedate_to_datetime(date.decode().strip()).timestamp())


def _parse(head: bytes) -> tuple[tuple[str, ...], list[bytes]]:
    """The headers' names in small letters, and their values with their folds."""
    headers = [line.partition(b":") for line in _NEXT_HEADER.split(head)]
    return tuple([_small(name) for name, _, _ in headers]), [value for _, _, value in headers]


@lru_cache(1000)
def _small(name: bytes) -> str:
    return name.decode("ascii", "replace").strip().lower()


@lru_cache(100)  # mails of one kind have the same headers
def _choose(names: tuple[str, ...]) -> tuple[tuple[str, int | None], ...]:
    """Names in the order of h=, with the place of the header each covers: the last instance first (RFC 6376 5.4.2); None:
    none left."""
    chosen: list[tuple[str, int | None]] = []
    for name in (*OVERSIGNED, *SIGNED_WHERE_PRESENT):
        chosen += [(name, place) for place in reversed(range(len(names))) if names[place] == name]
        if name in OVERSIGNED:
            chosen.append((name, None))
    return tuple(chosen)


def _relax(name: str, value: bytes) -> bytes:
    """RFC 6376 3.4.2."""
    text = value.replace(b"\r\n", b"")
    if b"  " in text or b"\t" in text:
        text = _SPACES.sub(b" ", text)
    return name.encode() + b":" + text.strip(b" ") + b"\r\n"


def _relax_body(body: bytes) -> bytes:
    """RFC 6376 3.4.4. By replacing: regular expressions take milliseconds for a mail."""
    text = body.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    text = text.replace(b" \r\n", b"\r\n")
    text = text.rstrip(b"\r\n")
    return text + b"\r\n" if text else b""


@lru_cache(10)
def _fold_names(names: tuple[str, ...]) -> list[str]:
    """The h= tag in lines of at most 78 characters."""
    lines, line = [], " h="
    for index, name in enumerate(names):
        part = name + (";" if index == len(names) - 1 else ":")
        if len(line) + len(part) > 77:
            lines.append(line)
            line = "  "
        line += part
    return [*lines, line]


def _fold_signature(text: str) -> bytes:
    return "\r\n  ".join(text[start : start + 72] for start in range(0, len(text), 72)).encode()
