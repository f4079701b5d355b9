"""A real Chromium, driven from tests; they skip with a reason where it or its npm packages are missing."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODULES = HERE.parent / "node_modules"
PICTURES = HERE.parent / "artifacts" / "pages"


class Browser:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, command: str, **values: object) -> object:
        """Runs one command of browser/drive.mjs; what goes wrong there fails here."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **values}) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline() or '{"error": "the browser has ended"}')
        if "error" in reply:
            raise AssertionError(f"{command} {values}: {reply['error']}")
        return reply["answer"]

    def text(self, at: str = "main") -> str:
        return str(self.do("text", at=at))


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    node = shutil.which("node")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not node or not chromium:
        pytest.skip("node and chromium are needed to look at pages")
    if not (MODULES / "playwright-core").is_dir() or not (MODULES / "axe-core").is_dir():
        pytest.skip("`make node` installs what looking at pages needs")
    command = [node, str(HERE / "browser" / "drive.mjs"), str(MODULES), chromium]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Browser(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.stdout is not None
        process.stdout.close()
