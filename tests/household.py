"""A whole digestbot in a folder of its own, used through its command line as a user would."""

from __future__ import annotations

import contextlib
import io
import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from digestbot.cli import main
from tests import backends
from tests.smtp_servers import SmtpServer

SECRET = "a secret of thirty-two characters"


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Household:
    """Runs commands in `folder`; mails go to `server`."""

    def __init__(self, folder: Path, server: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.server = server
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        for name in list(os.environ):
            if name.startswith("DIGESTBOT_") and name != "DIGESTBOT_NO_SKIP":
                monkeypatch.delenv(name)
        self.set("SECRET_KEY", SECRET)
        self.set("SMTP_URL", server.url())
        self.set("BASE_URL", "https://papers.example.org")
        self.set("FROM", "Paper Digest <digest@example.org>")
        if backends.current() is backends.POSTGRES:
            self.set("DATABASE", backends.POSTGRES.url(folder))

    def set(self, name: str, value: str) -> None:
        self._monkeypatch.setenv("DIGESTBOT_" + name, value)

    def run(self, *words: str, now: str | None = None) -> Answer:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([*(["--now", now] if now else []), *words])
            except SystemExit as end:
                code = int(end.code or 0)
            out.flush()
        assert "Traceback" not in err.getvalue()
        return Answer(code, out.buffer.getvalue().decode(), err.getvalue())

    def do(self, *words: str, now: str | None = None) -> Answer:
        """Runs a command that must succeed."""
        answer = self.run(*words, now=now)
        assert answer.code == 0, answer.err
        return answer

    def subscribe(self, email: str, *topics: str, now: str, **fields: str) -> None:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in fields.items()]
        options += [f"--topic={topic}" for topic in topics]
        self.do("subscribers", "add", email, *options, "--confirmed", now=now)

    def drop(self, path: Path | str, name: str = "") -> Path:
        """Puts a file, or text as one, into the drop folder."""
        incoming = self.folder / "state" / "drops" / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        target = incoming / (name or (path.name if isinstance(path, Path) else "drop"))
        target.write_bytes(path.read_bytes() if isinstance(path, Path) else path.encode())
        return target

    def mails_to(self, email: str) -> list[bytes]:
        return [message.data for message in self.server.messages if message.recipient == email]

    def state_on_disk(self) -> dict[str, str]:
        """Every file below the state folder with a hash, but for what SQLite keeps beside its database."""
        return {
            str(path.relative_to(self.folder)): sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }


@pytest.fixture
def household(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with SmtpServer() as server:
        yield Household(tmp_path, server, monkeypatch)
