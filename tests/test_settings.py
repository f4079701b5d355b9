"""Settings: read literally, checked all at once, secrets kept to themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from digestbot.errors import SettingsError
from digestbot.settings import Settings, load_settings, parse_settings

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
        ("SECRET_KEY", "short"),
        ("SIGNUP", "domains:"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("TEMPLATES", "/nowhere/at/all"),
        ("DATABASE", "mysql://x"),
        ("DKIM_SELECTOR", "alone"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str) -> None:
    assert any(line.startswith("DIGESTBOT_") for line in problems({name: value}))


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
