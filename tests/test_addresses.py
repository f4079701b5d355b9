"""What comes in at the door for addresses, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digestbot.addresses import check_address
from digestbot.smtp import PLAIN_ADDRESS


@pytest.mark.parametrize(
    ("given_as", "kept_as"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada.Lovelace+digest@EXAMPLE.org ", "Ada.Lovelace+digest@example.org"),
        ("info@exämple.org", "info@xn--exmple-cua.org"),
        ("info@faß.de", "info@xn--fa-hia.de"),
        ("zoë@example.org", "zoë@example.org"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("root@localhost", "root@localhost"),
        ("o'brien@example.org", "o'brien@example.org"),
        ("a@machine.local", "a@machine.local"),
    ],
)
def test_taken(given_as: str, kept_as: str) -> None:
    assert check_address(given_as) == kept_as
    assert check_address(kept_as) == kept_as
    assert PLAIN_ADDRESS.fullmatch(kept_as)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "ada@example",
        "ada@@example.org",
        "ada@example..org",
        "ada b@example.org",
        '"ada b"@example.org',
        "Ada <ada@example.org>",
        "ada@[127.0.0.1]",
        "ada@example.org, bob@example.org",
        "ada@example.org\r\nRCPT TO:<evil@example.org",
        "ada@example.org\n",
        "ada\x00@example.org",
        "ada\x85@example.org",
        "ada\u2028@example.org",
        "b@x.example>\r\nRCPT TO:<evil",
        "a" * 65 + "@example.org",
        "ada@" + "a" * 64 + ".org",
        "ada@" + ".".join(["abcdefghi"] * 26) + ".org",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|longer"):
        check_address(text)


def test_an_empty_one_is_said_to_be_none() -> None:
    with pytest.raises(ValueError, match=r"^no address is given$"):
        check_address(" ")


@given(st.text(max_size=40), st.text(max_size=20))
def test_nothing_gets_in_that_could_leave_the_envelope(local: str, domain: str) -> None:
    try:
        address = check_address(f"{local}@{domain}")
    except ValueError:
        return
    assert PLAIN_ADDRESS.fullmatch(address)
    assert not set("\r\n\0<> ") & set(address)
