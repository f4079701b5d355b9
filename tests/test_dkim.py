"""Our signatures before somebody else's verifier."""

from __future__ import annotations

from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot.dkim import OVERSIGNED, DkimSigner
from digestbot.errors import SettingsError
from digestbot.quoted import Lines
from tests.mail_samples import as_mail, make_paper

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
SIGNERS = [DkimSigner(RSA, "sel", "example.org"), DkimSigner(ED25519, "sel", "example.org")]
HEAD = (
    b"From: Digests <digests@example.org>\r\nTo: ada@example.com\r\n"
    b"Subject: =?utf-8?q?Pap=C3=A9rs?=\r\n for today\r\nDate: Sat, 21 Nov 2026 08:00:00 +0000\r\n"
    b"Message-ID: <d1@example.org>\r\nMIME-Version: 1.0\r\nReply-To: team@example.org\r\n"
    b"List-Id: Papers <papers.example.org>\r\n"
    b"List-Unsubscribe: <https://example.org/u/abc>,\r\n <mailto:bounce+x@example.org?subject=unsubscribe>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: d:1:digest:digestbot\r\n"
    b"Auto-Submitted: auto-generated\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n"
)
MESSAGE = HEAD + b"\r\nHello  you, \t\r\n\r\n.dots\r\n\r\n\r\n"


def verifies(signed: bytes, signer: DkimSigner) -> bool:
    name, text = signer.dns_record()

    def lookup(asked: bytes, timeout: int = 5) -> bytes:
        assert asked.decode().rstrip(".") == name
        return text.encode()

    return bool(dkimpy.verify(signed, dnsfunc=lookup))


@pytest.mark.parametrize("signer", SIGNERS)
def test_verifies_and_repeats_byte_for_byte(signer: DkimSigner) -> None:
    signed = signer.sign(MESSAGE)
    assert signed.endswith(MESSAGE)
    assert signer.sign(MESSAGE) == signed
    assert b"t=1795248000;" in signed
    assert verifies(signed, signer)
    signature = signed.removesuffix(MESSAGE).decode()
    assert all(len(line) <= 78 for line in signature.split("\r\n"))
    assert "l=" not in signature.replace("bh=", "").split("b=")[0]


HARD = "a  b \t c\n . \r\n  \n\x0b…😀   " * 5


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("abstract", [HARD, "Owls. " * 300])
def test_a_digest_is_relaxed_as_it_is(signer: DkimSigner, abstract: str) -> None:
    mail = as_mail([make_paper(number, title=f"Owls  {HARD}", abstract=abstract) for number in (1, 2)])
    assert isinstance(mail.data, Lines)
    assert signer.sign(mail.data) == signer.sign(bytes(mail.data))
    assert verifies(signer.sign(mail.data), signer)


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("name", OVERSIGNED)
def test_adding_a_header_is_seen(signer: DkimSigner, name: str) -> None:
    signed = signer.sign(MESSAGE)
    added = name.encode() + b": <https://evil.example/>\r\n"
    assert not verifies(added + signed, signer), "in front"
    assert not verifies(signed.replace(b"\r\nMIME-Version", b"\r\n" + added + b"MIME-Version", 1), signer)


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize(
    "name", [b"List-Unsubscribe-Post", b"List-Unsubscribe", b"From", b"Subject", b"List-Id"]
)
def test_dropping_a_header_is_seen(signer: DkimSigner, name: bytes) -> None:
    signed = signer.sign(MESSAGE)
    assert not verifies(signed.replace(b"\r\n" + name + b":", b"\r\nX-Was:", 1), signer)


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_changed_word_is_seen_and_changed_blanks_are_not(signer: DkimSigner) -> None:
    signed = signer.sign(MESSAGE)
    assert not verifies(signed.replace(b"Hello", b"Hullo"), signer)
    assert verifies(signed.replace(b"Hello  you, \t\r\n", b"Hello you,\r\n"), signer)


body_lines = st.lists(st.text(alphabet="ab .=\t\v\f", max_size=12), max_size=8)


@settings(max_examples=60)
@given(body_lines)
def test_any_body(lines: list[str]) -> None:
    message = HEAD + b"\r\n" + "".join(f"{line}\r\n" for line in lines).encode()
    assert verifies(SIGNERS[1].sign(message), SIGNERS[1])


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_keys_from_files(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(RSA))
    signer = DkimSigner.load(path, "sel", "exämple.org")
    assert signer.dns_record()[0] == "sel._domainkey.xn--exmple-cua.org"
    assert verifies(signer.sign(MESSAGE), signer)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        pem(ec.generate_private_key(ec.SECP256R1())),
    ],
)
def test_bad_keys_name_the_setting(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"DIGESTBOT_DKIM_KEY.*key\.pem"):
        DkimSigner.load(path, "sel", "example.org")
