"""Settings: read literally, checked all at once, secrets kept to themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from digestbot.errors import SettingsError
from digestbot.settings import Settings, load_settings, parse_settings, read_settings
from tests.household import Household, household

__all__ = ["household"]

SECRET = "sixteen letters and more"


def problems(values: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_settings({f"DIGESTBOT_{name}": value for name, value in values.items()})
    return caught.value.problems


def test_all_wrong_ones_are_named_at_once() -> None:
    found = problems(
        {"WINDOW_DAYS": "soon", "BASE_URL": "papers.example.org", "SMTP_URL": "http://x", "ON_DOUBT": "?"}
    )
    assert [line.split(":")[0] for line in found] == [
        "DIGESTBOT_SMTP_URL",
        "DIGESTBOT_BASE_URL",
        "DIGESTBOT_WINDOW_DAYS",
        "DIGESTBOT_ON_DOUBT",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_CONNECTIONS", "0"),
        ("SMTP_RATE", "nan"),
        ("SMTP_RATE", "inf"),
        ("SMTP_DAILY_LIMIT", "-1"),
        ("FROM", "nobody"),
        ("FROM", "A <a@example.org>\nBcc: b@example.org"),
        ("BOUNCE_ADDRESS", "Name <b@example.org>"),
        ("BASE_URL", "ftp://example.org"),
        ("BASE_URL", "https://example.org/?a=b"),
        ("BASE_URL", "https://example.org:99999"),
        ("SMTP_URL", "smtp://user:p@ss@word:x"),
        ("SMTP_URL", "smtp://mail..example.org"),
        ("BASE_URL", "https://papers..example.org"),
        ("SECRET_KEY", "short"),
        ("SIGNUP", "domains:"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("TEMPLATES", "/nowhere/at/all"),
        ("DATABASE", "mysql://x"),
        ("DKIM_SELECTOR", "alone"),
        ("DKIM_SELECTOR", "s1; x=y"),
        ("DKIM_DOMAIN", "example..org"),
        ("WINDOW_DAYS", "99999999999"),
        ("STATE", __file__),
        ("DATABASE", "sqlite:////tmp"),
        ("MAX_LATENESS_HOURS", "1e300"),
        ("EXPECT_DROP_HOURS", "1e12"),
        ("SMTP_CONNECTIONS", "1000000"),
        ("SMTP_DAILY_LIMIT", "1" + "0" * 30),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str) -> None:
    named = {line.partition(":")[0] for line in problems({name: value})}
    assert named == {f"DIGESTBOT_{name}"} or (value == "alone" and len(named) == 2)


def test_an_env_file_that_is_no_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"DIGESTBOT_SIGNUP=open\nDIGESTBOT_FROM=Caf\xe9 <a@example.org>\n")
    with pytest.raises(SettingsError, match=r"\.env: line 2: is not UTF-8"):
        read_settings(tmp_path, {})


def test_an_env_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env: is a folder"):
        read_settings(tmp_path, {})


def test_secrets_are_in_no_error_and_no_repr(tmp_path: Path) -> None:
    url = "smtp://user:hunter2@mail.example.org:notaport"
    assert "hunter2" not in "".join(problems({"SMTP_URL": url}))
    settings = parse_settings(
        {
            "DIGESTBOT_SECRET_KEY": SECRET,
            "DIGESTBOT_SMTP_URL": "smtp://u:hunter2@h",
            "DIGESTBOT_ADMIN_PASSWORD": "pw-xyz",
        }
    )
    for secret in (SECRET, "hunter2", "pw-xyz"):
        assert secret not in repr(settings)


def test_env_file_is_read_literally_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "DIGESTBOT_POSTAL_ADDRESS='${HOME} street'\nDIGESTBOT_WINDOW_DAYS=3\nOTHER=1\n"
    )
    settings = load_settings(tmp_path, {"DIGESTBOT_WINDOW_DAYS": "5", "PATH": "/bin"})
    assert settings.postal_address == "${HOME} street"
    assert settings.window_days == 5


def test_no_search_upwards(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DIGESTBOT_WINDOW_DAYS=3\n")
    below = tmp_path / "below"
    below.mkdir()
    assert load_settings(below, {}) == Settings()


def test_a_slip_in_the_env_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DIGESTBOT_WINDOWS_DAYS=3\n")
    with pytest.raises(SettingsError, match="DIGESTBOT_WINDOW_DAYS is meant"):
        load_settings(tmp_path, {})


def test_all_slips_of_the_env_file_are_named_with_the_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DIGESTBOT_BOGUS=1\nthis is no line\nDIGESTBOT_WINDOW_DAYS=soon\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, {})
    text = "\n".join(caught.value.problems)
    assert "line 2" in text
    assert "DIGESTBOT_BOGUS" in text
    assert "DIGESTBOT_WINDOW_DAYS: 'soon'" in text


def test_a_misspelt_name_in_the_process_environment_is_told(tmp_path: Path) -> None:
    environ = {"DIGESTBOT_SMTP_RAET": "3", "DIGESTBOT_SERVICE_HOST": "somebody else's", "SMTP_RAET": "3"}
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ)
    assert caught.value.problems == [
        "environment: there is no setting DIGESTBOT_SMTP_RAET; DIGESTBOT_SMTP_RATE is meant?"
    ]


def test_a_wrong_one_stops_only_who_reads_it(tmp_path: Path) -> None:
    settings = read_settings(tmp_path, {"DIGESTBOT_SMTP_RATE": "fast", "DIGESTBOT_WINDOW_DAYS": "0"})
    assert settings.state == Path("state")
    with pytest.raises(SettingsError) as caught:
        _ = settings.window_days
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "DIGESTBOT_SMTP_RATE",
        "DIGESTBOT_WINDOW_DAYS",
    ]
    with pytest.raises(AttributeError):
        _ = settings.bogus  # type: ignore[attr-defined]


def test_a_model_is_looked_at_with_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").touch()
    found = problems({"EMBEDDING_MODEL": str(folder), "WINDOW_DAYS": "soon"})
    assert any("has no model.onnx or onnx/model.onnx" in line for line in found)
    assert any("/nowhere" in line for line in problems({"EMBEDDING_MODEL": "/nowhere/at/all"}))
    assert parse_settings({"DIGESTBOT_EMBEDDING_MODEL": "organisation/model"}).embedding_model


WRONG = {  # every setting but those that the commands below use
    "SMTP_URL": "http://x",
    "SMTP_RATE": "fast",
    "SMTP_CONNECTIONS": "0",
    "BASE_URL": "papers",
    "FROM": "nobody",
    "OPERATOR": "nobody",
    "SECRET_KEY": "short",
    "SIGNUP": "perhaps",
    "TEMPLATES": "/nowhere",
    "WINDOW_DAYS": "soon",
    "DKIM_SELECTOR": "alone",
    "EMBEDDING_MODEL": "/nowhere",
}


@pytest.mark.parametrize(
    "words",
    [
        ["ingest", "d.jsonl"],
        ["papers"],
        ["status"],
        ["drops", "list"],
        ["outbox", "list"],
        ["subscribers", "list"],
        ["subscribers", "export"],
        ["suppressions", "add", "bob@example.org"],
        ["migrate"],
        ["backup", "copy.db"],
        ["init"],
    ],
    ids=" ".join,
)
def test_commands_need_only_what_they_use(household: Household, words: list[str]) -> None:
    household.do("init")
    Path("d.jsonl").write_text('{"title": "Owls", "abstract": "On owls."}\n')
    for name, value in WRONG.items():
        household.set(name, value)
    household.do(*words)


@pytest.mark.parametrize(
    "text", ["DIGESTBOT_SIGNUP=closed", "DIGESTBOT_SIGNUP=closed\nDIGESTBOT_SECRET_KEY=\n"]
)
def test_init_adds_a_secret_to_a_file_without_one(
    household: Household, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.delenv("DIGESTBOT_SECRET_KEY")
    Path(".env").write_text(text)
    household.do("init")
    made = Path(".env").read_text()
    assert made.startswith(text)
    settings = load_settings(Path(), {})
    assert (settings.signup, len(settings.secret_keys)) == ("closed", 1)
    household.do("init")
    assert Path(".env").read_text() == made


@pytest.mark.parametrize("words", [["run", "--once"], ["run"], ["run", "--dry-run"], ["serve"]], ids=" ".join)
def test_a_run_needs_all_and_names_all(household: Household, words: list[str]) -> None:
    for name, value in WRONG.items():
        household.set(name, value)
    household.set("SMTP_RAET", "3")
    answer = household.run(*words)
    assert answer.code == 2
    for name in WRONG:
        assert f"DIGESTBOT_{name}:" in answer.err or name == "DKIM_SELECTOR"
    assert "DIGESTBOT_SMTP_RATE is meant?" in answer.err
    assert not Path("state").exists()


@pytest.mark.parametrize(
    "words", [["run", "--once"], ["run"], ["run", "--dry-run"], ["serve"], ["plan"]], ids=" ".join
)
@pytest.mark.parametrize("name", ["card.html", "digest/subject.txt", "welcome/body.txt"])
def test_a_template_of_ones_own_is_looked_at_before_anything_is_done(
    household: Household, words: list[str], name: str
) -> None:
    path = Path("mine/email", name)
    path.parent.mkdir(parents=True)
    path.write_text("\n{{ nothing }}")
    household.set("TEMPLATES", "mine")
    answer = household.run(*words)
    assert (answer.code, answer.err) == (2, f"digestbot: {path}, line 2: 'nothing' is undefined\n")
    assert not Path("state").exists()


SCHEDULES = """
import sys, threading
from digestbot.service import serve_forever
from digestbot.settings import load_settings

opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
stop = threading.Event()
threading.Timer(1.5, stop.set).start()
serve_forever(load_settings(), stop=stop)
print(opened.count("mine/email/card.html"))
"""


def test_the_scheduler_tries_templates_of_ones_own_once(household: Household) -> None:
    Path("mine/email").mkdir(parents=True)
    Path("mine/email/card.html").write_text("<p>{{ paper.title }}</p>")
    household.set("TEMPLATES", "mine")
    done = subprocess.run([sys.executable, "-c", SCHEDULES], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr


def test_a_page_of_ones_own_is_looked_at_before_it_is_served(household: Household) -> None:
    Path("mine/web").mkdir(parents=True)
    Path("mine/web/papers.html").write_text("\n{% if %}")
    household.set("TEMPLATES", "mine")
    answer = household.run("serve")
    assert answer.code == 2
    assert answer.err.startswith("digestbot: mine/web/papers.html, line 2: ")


@pytest.mark.parametrize("words", [["run", "--once"], ["run"]], ids=" ".join)
def test_a_key_that_is_none_is_told_before_anything_is_done(household: Household, words: list[str]) -> None:
    Path("dkim.pem").write_text("no key")
    for name, value in (("KEY", "dkim.pem"), ("SELECTOR", "s1"), ("DOMAIN", "example.org")):
        household.set(f"DKIM_{name}", value)
    answer = household.run(*words)
    assert answer.code == 2
    assert "DIGESTBOT_DKIM_KEY: dkim.pem" in answer.err
    assert not Path("state").exists()


def test_a_slip_is_told_by_commands_that_go_on(household: Household) -> None:
    household.set("SMTP_RAET", "3")
    assert "DIGESTBOT_SMTP_RATE is meant?" in household.do("status").err


def test_debug_keeps_the_exit_status() -> None:
    command = [sys.executable, "-m", "digestbot", "--debug", "subscribers", "show", "nobody@example.org"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "A <a@x.example>, B <b@y.example>",
        "a@x.example b@y.example",
        "a@x.example;b@y.example",
        "Papers, Inc <a@x.example>",
        "Papers: daily <a@x.example>",
        "Grp: a@x.example;",
        "A <a@x.example> junk, b",
        "A <a@@x.example>",
        "A <a@x>",
        "zoë@x.example",
        "A <a@x.example>\nBcc: b@y.example",
    ],
)
def test_from_is_one_address(text: str) -> None:
    with pytest.raises(SettingsError, match="DIGESTBOT_FROM"):
        parse_settings({"DIGESTBOT_FROM": text})


def test_from_and_bounce_address_are_as_mail_servers_want_them() -> None:
    settings = parse_settings(
        {"DIGESTBOT_FROM": '"Papers, Inc" <d@Exämple.org>', "DIGESTBOT_BOUNCE_ADDRESS": "bounce@exämple.org"}
    )
    assert settings.from_ == '"Papers, Inc" <d@xn--exmple-cua.org>'
    assert settings.from_address == "d@xn--exmple-cua.org"
    assert settings.bounce_address == "bounce@xn--exmple-cua.org"
