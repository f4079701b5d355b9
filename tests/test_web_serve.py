"""The command `serve`: starts, answers, and ends cleanly on a signal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from digestbot.errors import SettingsError, UsageError
from digestbot.settings import parse_settings
from digestbot.web.server import serve, serve_in_thread
from tests.web_world import SECRET


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DIGESTBOT_")}
    environment |= {"DIGESTBOT_SECRET_KEY": SECRET, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "digestbot", "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    try:
        said = process.stderr.readline()
        found = re.search(r"pages are at (http://[\d.:]+)", said)
        assert found, said
        with urllib.request.urlopen(found[1] + "/healthz", timeout=60) as reply:
            assert reply.status == 200
        process.send_signal(number)
        _, rest = process.communicate(timeout=120)
        assert process.returncode == 0, said + rest
        assert "Traceback" not in said + rest
    finally:
        process.kill()
        process.stderr.close()


def test_what_hinders_is_said(tmp_path: Path) -> None:
    values = {"DIGESTBOT_STATE": str(tmp_path / "state")}
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        serve_in_thread(parse_settings(values), "127.0.0.1", 0)
    settings = parse_settings({**values, "DIGESTBOT_SECRET_KEY": SECRET})
    handle = serve_in_thread(settings, "127.0.0.1", 0)
    try:
        port = int(handle.url.rpartition(":")[2])
        with pytest.raises(UsageError, match="cannot listen"):
            serve_in_thread(settings, "127.0.0.1", port)
    finally:
        handle.stop()
    with pytest.raises(UsageError, match="cannot listen"):
        serve_in_thread(settings, "nowhere.invalid", 8025)


def test_a_server_that_cannot_be_says_no_address(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        serve(parse_settings({"DIGESTBOT_STATE": str(tmp_path)}), "127.0.0.1", 0, tell=told.append)
    assert told == []
