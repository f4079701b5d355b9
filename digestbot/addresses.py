"""The door for mail addresses: what passes here can stand in an envelope and a header as it is."""

from __future__ import annotations

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from digestbot.errors import in_short

LONGEST_BYTES = 254  # RFC 5321 4.5.3.1.3, without the brackets

# A digest for the house network is as good as any; what the library offers for this is to shorten its list.
SPECIAL_USE_DOMAIN_NAMES[:] = [n for n in SPECIAL_USE_DOMAIN_NAMES if n not in ("local", "localhost", "test")]


def check_address(text: str) -> str:
    """The address with its domain in lower case as A-labels (IDNA 2008, UTS 46); the local part stays as given, in NFC.

    Raises ValueError saying what is wrong. Nothing that passes needs quoting: no blanks, quotes, brackets or control
    characters. A domain has a dot, or is localhost.
    """
    if any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text):
        raise ValueError("an address holds no line end and no other control character")
    if not text.strip():
        raise ValueError("no address is given")
    try:
        parts = validate_email(
            text.strip(), check_deliverability=False, globally_deliverable=False, strict=True
        )
    except EmailNotValidError as error:
        raise ValueError(f"{in_short(text.strip())} is not a mail address: {error}") from None
    address = f"{parts.local_part}@{parts.ascii_domain.lower()}"
    if "." not in parts.ascii_domain and parts.ascii_domain.lower() != "localhost":
        raise ValueError(f"{in_short(address)} is not a mail address: its domain has no dot")
    if len(address.encode()) > LONGEST_BYTES:
        raise ValueError(f"{in_short(address)} is longer than {LONGEST_BYTES} bytes")
    return address
