"""`doctor` names what is wrong, what to do, and nothing else; each mishap is a real one."""

from __future__ import annotations

import base64
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.household import Answer, Household, household
from tests.smtp_servers import Misbehave, SmtpServer, make_certificate

__all__ = ["household"]

CONFIRMED, NOW = "2026-01-04T12:00:00Z", "2026-01-05T08:30:00Z"


@pytest.fixture
def healthy(household: Household) -> Household:
    household.set("OPERATOR", "postmaster@example.org")
    household.subscribe("ada@example.org", "owls", now=CONFIRMED)
    household.do("backup", "b.db", now=NOW)
    return household


def write_key(path: str, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    Path(path).touch(0o600)
    Path(path).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def sign_with(household: Household, path: str, domain: str = "example.org") -> None:
    for name, value in (("KEY", path), ("SELECTOR", "s1"), ("DOMAIN", domain)):
        household.set(f"DKIM_{name}", value)


def troubles(answer: Answer) -> list[tuple[str, str]]:
    return [(c["level"], c["check"]) for c in answer.json["checks"] if c["level"] != "ok"]


def one_trouble(household: Household, level: str, check: str, *words: str, now: str = NOW) -> None:
    """Nothing but this is wrong, it is said with these words, and the exit status follows."""
    answer = household.run("doctor", "--json", now=now)
    assert troubles(answer) == [(level, check)]
    assert answer.code == (1 if level == "FAIL" else 0)
    [found] = [c for c in answer.json["checks"] if c["check"] == check and c["level"] == level]
    for word in words:
        assert word in f"{found['said']} -> {found['mend']}"
    assert found["mend"]


def test_all_is_well_and_stays_as_it_is(healthy: Household) -> None:
    before = healthy.state_on_disk()
    answer = healthy.do("doctor", "--json", now=NOW)
    assert troubles(answer) == []
    assert healthy.state_on_disk() == before
    assert healthy.server.messages == []
    shown = healthy.do("doctor", now=NOW).out
    assert "FAIL" not in shown
    assert "example.org. IN TXT" in shown


def test_all_wrong_settings_are_named_at_once(household: Household) -> None:
    household.set("SMTP_RATE", "fast")
    household.set("BASE_URL", "papers")
    answer = household.run("doctor", "--json")
    assert answer.code == 1
    assert troubles(answer) == [("FAIL", "settings")] * 2
    said = " ".join(c["said"] for c in answer.json["checks"])
    assert "DIGESTBOT_SMTP_RATE" in said
    assert "DIGESTBOT_BASE_URL" in said


def test_a_wrong_line_of_the_env_file_is_said_once(household: Household) -> None:
    Path(".env").write_text("DIGESTBOT_SMTP_RAET=3\nwhat is this?\n")
    answer = household.run("doctor")
    said = answer.out + answer.err
    assert (said.count("DIGESTBOT_SMTP_RAET"), said.count("line 2: is not NAME=VALUE")) == (1, 1)


def test_before_anything_is_there(household: Household) -> None:
    household.set("OPERATOR", "postmaster@example.org")
    one_trouble(household, "warn", "database", "state/digestbot.db", "digestbot init")
    assert list(household.folder.iterdir()) == []


def test_http_links_fail(healthy: Household) -> None:
    healthy.set("BASE_URL", "http://papers.example.org")
    one_trouble(healthy, "FAIL", "links", "RFC 8058", "DIGESTBOT_BASE_URL")


def test_no_secret(healthy: Household) -> None:
    healthy.set("SECRET_KEY", "")
    one_trouble(healthy, "FAIL", "secret key", "DIGESTBOT_SECRET_KEY", "init")


def test_an_env_file_for_everybody(healthy: Household) -> None:
    Path(".env").write_text("")
    Path(".env").chmod(0o644)
    one_trouble(healthy, "warn", ".env", "chmod 600 .env")


def test_a_state_folder_that_is_none(healthy: Household) -> None:
    Path("file").write_text("")
    healthy.set("DATABASE", "sqlite:///state/digestbot.db")
    healthy.set("STATE", "file/state")
    answer = healthy.run("doctor", "--json", now=NOW)
    assert answer.code == 1
    assert ("FAIL", "folders") in troubles(answer)


def test_a_state_folder_that_cannot_be_looked_at_ends_no_other_check(healthy: Household) -> None:
    """Root may look everywhere, but nobody at a name that is too long."""
    healthy.set("STATE", "s" * 300)
    answer = healthy.run("doctor", "--json", now=NOW)
    assert answer.code == 1
    said = [(c["check"], c["said"]) for c in answer.json["checks"]]
    assert len(said) == len(set(said))
    assert ("FAIL", "folders") in troubles(answer)
    assert [c["level"] for c in answer.json["checks"] if c["check"] == "mail server"] == ["ok"]


def test_a_database_that_is_none(healthy: Household) -> None:
    Path("other.db").write_bytes(b"a letter, and no database\n" * 200)
    healthy.set("DATABASE", "sqlite:///other.db")
    one_trouble(healthy, "FAIL", "database", "other.db", "not a database")


def test_a_newer_database(healthy: Household) -> None:
    with sqlite3.connect("state/digestbot.db") as connection:
        connection.execute("INSERT INTO schema_version (version) VALUES (9999)")
    connection.close()
    one_trouble(healthy, "FAIL", "database", "schema 9999")


def test_a_damaged_database(healthy: Household) -> None:
    with sqlite3.connect("state/digestbot.db") as connection:
        [(root,)] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'consents_by_subscriber'"
        )
        connection.execute("PRAGMA wal_checkpoint(truncate)")
    connection.close()
    data = bytearray(Path("state/digestbot.db").read_bytes())
    data[(root - 1) * 4096 + 3 : (root - 1) * 4096 + 5] = b"\0\0"
    Path("state/digestbot.db").write_bytes(data)
    one_trouble(healthy, "FAIL", "database", "is damaged", "restore a backup")


def test_no_backup_for_long(healthy: Household) -> None:
    one_trouble(healthy, "warn", "backup", "2026-01-05", now="2026-01-12T08:30:01Z")


def test_a_clock_set_back(healthy: Household) -> None:
    healthy.drop('{"title": "Owls", "abstract": "Owls see in the dark."}\n')
    healthy.do("run", "--once", now=NOW)
    one_trouble(healthy, "warn", "clock", "2026-01-05 08:30", now="2026-01-05T07:29:00Z")
    assert ("FAIL", "clock") in troubles(healthy.run("doctor", "--json", now="1999-12-31T23:59:00Z"))


def test_a_template_that_does_not_render(healthy: Household) -> None:
    Path("mine/email/confirm").mkdir(parents=True)
    Path("mine/email/confirm/body.txt").write_text("Hello,\n{{ nobody_knows_this }}\n")
    healthy.set("TEMPLATES", "mine")
    one_trouble(healthy, "FAIL", "templates", "mine/email/confirm/body.txt, line 2", "nobody_knows_this")


def test_a_template_without_what_a_digest_needs(healthy: Household) -> None:
    Path("mine/email/digest").mkdir(parents=True)
    Path("mine/email/digest/body.txt").write_text("{{ papers }}\n")
    healthy.set("TEMPLATES", "mine")
    one_trouble(healthy, "warn", "templates", "email/digest/body.txt has no {{ unsubscribe_url }}")


def test_a_template_that_replaces_nothing(healthy: Household) -> None:
    Path("mine/email/digest").mkdir(parents=True)
    Path("mine/email/digest/subjekt.txt").write_text("{{ title }}")
    healthy.set("TEMPLATES", "mine")
    one_trouble(healthy, "warn", "templates", "mine/email/digest/subjekt.txt replaces nothing", "theming.md")


def test_a_model_folder_without_a_model(healthy: Household) -> None:
    Path("model/1_Pooling").mkdir(parents=True)
    healthy.set("EMBEDDING_MODEL", "model")
    one_trouble(healthy, "FAIL", "settings", "model has no", "tokenizer.json")
    for name in ("tokenizer.json", "model.onnx", "1_Pooling/config.json"):
        (Path("model") / name).write_text("{}")
    one_trouble(healthy, "FAIL", "ranker", "tokenizer")
    healthy.set("EMBEDDING_MODEL", "somebody/model")
    one_trouble(healthy, "warn", "ranker", "somebody/model")


def test_addresses(healthy: Household) -> None:
    healthy.set("BOUNCE_ADDRESS", "a-very-long-bounce-name@example.org")
    one_trouble(healthy, "FAIL", "bounces", "at most 15 letters")
    healthy.set("BOUNCE_ADDRESS", "bounce@elsewhere.example")
    one_trouble(healthy, "warn", "bounces", "SPF")
    healthy.set("BOUNCE_ADDRESS", "bounce@mail.example.org")
    assert troubles(healthy.do("doctor", "--json", now=NOW)) == []
    healthy.set("BOUNCE_ADDRESS", "")
    healthy.set("OPERATOR", "")
    one_trouble(healthy, "warn", "operator", "DIGESTBOT_OPERATOR")


# ---- DKIM and DNS -------------------------------------------------------------------------------------------------


def test_the_records_to_publish(healthy: Household) -> None:
    key = rsa.generate_private_key(65537, 2048)
    write_key("dkim.pem", key)
    sign_with(healthy, "dkim.pem")
    answer = healthy.do("doctor", "--json", now=NOW)
    assert troubles(answer) == []
    records = {record["name"]: record["value"] for record in answer.json["dns"]}
    assert records["example.org"].startswith('"v=spf1 ')
    assert records["_dmarc.example.org"] == '"v=DMARC1; p=none; rua=mailto:postmaster@example.org"'
    strings = records["s1._domainkey.example.org"].strip('"').split('" "')
    assert max(map(len, strings)) <= 255
    published = serialization.load_der_public_key(
        base64.b64decode("".join(strings).removeprefix("v=DKIM1; k=rsa; p="))
    )
    assert published == key.public_key()


def test_keys_that_will_not_do(healthy: Household) -> None:
    Path("dkim.pem").write_text("no key")
    sign_with(healthy, "dkim.pem")
    one_trouble(healthy, "FAIL", "DKIM", "dkim.pem", "PEM")
    sign_with(healthy, "state")
    one_trouble(healthy, "FAIL", "settings", "state is not a file")
    sign_with(healthy, "dkim.pem")
    write_key("dkim.pem", rsa.generate_private_key(65537, 1024))
    one_trouble(healthy, "FAIL", "DKIM", "1024 bits", "2048")
    write_key("ed.pem", ed25519.Ed25519PrivateKey.generate())
    sign_with(healthy, "ed.pem")
    one_trouble(healthy, "warn", "DKIM", "Ed25519")
    write_key("good.pem", rsa.generate_private_key(65537, 2048))
    sign_with(healthy, "good.pem", "elsewhere.example")
    one_trouble(healthy, "FAIL", "DKIM", "elsewhere.example", "DMARC")
    sign_with(healthy, "good.pem")
    Path("good.pem").chmod(0o644)
    one_trouble(healthy, "warn", "DKIM key", "chmod o-r good.pem")


# ---- the mail server ----------------------------------------------------------------------------------------------


@pytest.fixture
def safe_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpServer]:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with SmtpServer(certificate=certificate, users={"ada": "owl"}) as server:
        yield server


def test_login(healthy: Household, safe_server: SmtpServer) -> None:
    healthy.set("SMTP_URL", safe_server.url("smtp+starttls", "ada:owl@"))
    assert troubles(healthy.do("doctor", "--json", now=NOW)) == []
    healthy.set("SMTP_URL", safe_server.url("smtp+starttls", "ada:hawk@"))
    one_trouble(healthy, "FAIL", "mail server", "535 5.7.8", "user and password")
    assert "hawk" not in healthy.run("doctor", now=NOW).out
    assert safe_server.messages == []


def test_a_certificate_nobody_vouches_for(
    healthy: Household, safe_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    healthy.set("SMTP_URL", safe_server.url("smtp+starttls"))
    one_trouble(healthy, "FAIL", "mail server", "certificate", "SSL_CERT_FILE")


def test_a_login_that_the_server_does_not_take(healthy: Household) -> None:
    healthy.set("SMTP_URL", healthy.server.url(login="ada:owl@"))
    one_trouble(healthy, "FAIL", "mail server", "takes no login here")


def test_no_starttls(healthy: Household) -> None:
    healthy.set("SMTP_URL", healthy.server.url("smtp+starttls"))
    one_trouble(healthy, "FAIL", "mail server", "STARTTLS", "smtps://")


def test_nobody_listens(healthy: Household) -> None:
    healthy.server.kill()
    one_trouble(healthy, "FAIL", "mail server", "refused", f"port {healthy.server.port}")


@pytest.mark.parametrize(
    ("greeting", "mend"),
    [
        ("554 go away", "ask whoever runs the mail server"),
        ("hello world", "look at the port"),
        (Misbehave.DROP, "look at the port"),
    ],
)
def test_a_server_that_greets_in_another_way(
    healthy: Household, greeting: str | Misbehave, mend: str
) -> None:
    healthy.server.script = lambda stage, argument: greeting if stage == "connect" else None
    one_trouble(healthy, "FAIL", "mail server", mend)


def test_a_host_that_is_not_known(healthy: Household) -> None:
    healthy.set("SMTP_URL", "smtp://no-such-host.invalid")
    one_trouble(healthy, "FAIL", "mail server", "name is not known")


def test_a_blocked_port_where_another_one_is_open(healthy: Household) -> None:
    with socket.create_server(("127.0.0.1", 2525)):
        healthy.set("SMTP_URL", "smtp://0.0.0.0:1")  # this machine, by a name that is not loopback
        one_trouble(
            healthy, "FAIL", "mail server", "port 1 is blocked", "2525 of the same host", "0.0.0.0:2525"
        )


def test_a_host_without_any_mail_port(healthy: Household) -> None:
    healthy.set("SMTP_URL", "smtp://0.0.0.0:1")
    answer = healthy.run("doctor", now=NOW)
    assert answer.code == 1
    assert "can be reached" in answer.out


def test_a_server_that_takes_small_mails_only(healthy: Household) -> None:
    healthy.server.features = ("SIZE 100000",)
    one_trouble(healthy, "warn", "message size", "100,000 bytes")


def test_a_state_folder_that_cannot_be_is_said_once(household: Household) -> None:
    Path("taken").touch()
    household.set("STATE", "taken/state")
    answer = household.run("doctor", "--json", now=NOW)
    assert [check for level, check in troubles(answer) if level == "FAIL"] == ["folders"]
