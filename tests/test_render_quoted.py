"""Quoted-printable pieces: joined in any order they decode to the joined texts."""

from __future__ import annotations

import binascii
import quopri

from hypothesis import given
from hypothesis import strategies as st

from digestbot import quoted

TEXTS = (
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=300)
    | st.text(alphabet=". =\tF\nrom é😀", max_size=300)
    | st.lists(st.sampled_from([".", "x", "From ", "a word"]), min_size=50, max_size=150).map("".join)
)


@given(st.lists(TEXTS, max_size=5))
def test_joined_pieces_decode_to_the_joined_texts(texts: list[str]) -> None:
    data = b"".join(quoted.encode(text) for text in texts)
    assert quoted.decode(data) == "".join(texts)
    assert quopri.decodestring(data).decode().replace("\r\n", "\n") == "".join(texts)


@given(TEXTS)
def test_lines_are_short_and_survive_relays_and_mailboxes(text: str) -> None:
    data = quoted.encode(text)
    assert data.replace(b"\r\n", b"").count(b"\n") == data.replace(b"\r\n", b"").count(b"\r") == 0
    for line in data.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.endswith(b" ")
        assert b"  " not in line
        assert not line.startswith((b".", b"From "))
        assert all(32 <= byte < 127 for byte in line)


@given(TEXTS)
def test_a_piece_ends_at_a_line_boundary(text: str) -> None:
    assert quoted.encode(text)[-2:] in (b"", b"\r\n")
    assert (quoted.encode(text)[-3:] == b"=\r\n") == (text != "" and not text.endswith("\n"))


def test_sizes_count_decoded_bytes_with_crlf() -> None:
    assert quoted.decoded_bytes(quoted.encode("é\nb")) == len("é\r\nb".encode())
    assert binascii.a2b_qp(quoted.encode("a\nb")) == b"a\r\nb"
