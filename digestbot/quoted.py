"""Quoted-printable (RFC 2045, 6.7) in pieces that can be joined.

A piece starts at the first column and ends at a line boundary, a soft break or a real one. So pieces encoded once are
joined as bytes in any order, and no line of the result is longer than 76 characters. (`binascii.b2a_qp` knows no such
pieces, and writes lines of 77 where a space before a newline is encoded.)
"""

from __future__ import annotations

import binascii
import re

_ENCODED = re.compile(rb"[^ \n!-<>-~]|(?<= ) | (?=\n)")  # of spaces the second of two, and the last of a line
_ROOM = 73  # of a line, for "=" and for what is _CHANGED
_CHUNK = re.compile(rb"[^\n]{1,%d}(?<!=)(?<!=[0-9A-F])|\n" % _ROOM)
_PLAIN = re.compile(r"(?!\.|From )[ !-<>-~]+")  # what stands for itself
_CHANGED = (b".", b"From ")  # line starts that mboxes and careless relays change
_SOFT_BREAK = b"=\r\n"
_HEX = [b"=%02X" % byte for byte in range(256)]


class Lines(bytes):
    """A message of whole lines that end in CRLF, none with a dot at its start: SMTP sends it as it is. Its body has no
    tabs, no two spaces in a row and none at a line's end: DKIM's relaxed form is the same. Who makes one vouches for
    it."""


def encode(text: str) -> bytes:
    """One piece. Newlines become CRLF; a text that ends in none ends in a soft break; '' is b''."""
    if _PLAIN.fullmatch(text) and "  " not in text:
        whole = text.encode()
        if len(whole) <= _ROOM:
            return soft_line(whole)
        chunks = [whole[at : at + _ROOM] for at in range(0, len(whole), _ROOM)]
        if not any(chunk.startswith(_CHANGED) for chunk in chunks):
            return _SOFT_BREAK.join(chunks) + _SOFT_BREAK
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    data = _ENCODED.sub(_written, data)
    lines: list[bytes] = []
    for chunk in _CHUNK.findall(data):
        if chunk == b"\n" and lines and lines[-1].endswith(_SOFT_BREAK):
            lines[-1] = lines[-1].removesuffix(_SOFT_BREAK) + b"\r\n"
        elif chunk == b"\n":
            lines.append(b"\r\n")
        else:
            lines.append((_hide_start(chunk) if chunk.startswith(_CHANGED) else chunk) + _SOFT_BREAK)
    return b"".join(lines)


def _written(match: re.Match[bytes]) -> bytes:
    return _HEX[match[0][0]]


def soft_line(word: bytes) -> bytes:
    """The piece of a word of at most 73 letters, digits, `-` and `_`."""
    return word + _SOFT_BREAK


def decode(data: bytes) -> str:
    """The text of joined pieces, newlines as `\\n`."""
    return binascii.a2b_qp(data).decode().replace("\r\n", "\n")


def decoded_bytes(data: bytes) -> int:
    """How many bytes (newlines as CRLF) the decoded text of a piece has."""
    return len(binascii.a2b_qp(data))


def _hide_start(line: bytes) -> bytes:
    return b"=%02X" % line[0] + line[1:]
