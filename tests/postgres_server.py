"""A real PostgreSQL for tests: that of DIGESTBOT_TEST_POSTGRES, else one of our own from Debian's binaries.

DIGESTBOT_TEST_POSTGRES is a URL of a user who may create databases, such as postgresql://postgres@127.0.0.1/postgres.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

FLAGS = {
    "shared_buffers": "32MB",
    "max_connections": "100",
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # the machine is not switched off; a killed server loses nothing by it
    "autovacuum_naptime": "10s",
    "max_wal_size": "256MB",
}
_numbers = count()


class PostgresServer:
    """A server in a folder, which can be killed and started again."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.url = f"postgresql://digestbot@127.0.0.1:{self.port}/postgres"
        as_other = _be_nobody(folder)
        initdb = [
            str(binaries / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "digestbot",
            "--auth=trust",
            "-E",
            "UTF8",
        ]
        subprocess.run([*as_other, *initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        self._command = [
            *as_other,
            str(binaries / "postgres"),
            "-D",
            str(folder / "data"),
            "-p",
            str(self.port),
        ]
        self._command += ["-k", str(folder)]
        for name, value in FLAGS.items():
            self._command += ["-c", f"{name}={value}"]

    def start(self) -> None:
        """Returns once it takes connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        for _ in range(2400):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError((self._folder / "log").read_text()[-2000:])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9 of the postmaster and all its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            self._process.wait(120)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server of our own, with a database `postgres`; skips where PostgreSQL is not installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql, or set DIGESTBOT_TEST_POSTGRES")
    folder = Path(tempfile.mkdtemp(prefix="digestbot-postgres-"))
    server = PostgresServer(binaries, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def find_binaries() -> Path | None:
    """The newest PostgreSQL of this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def create_database(server_url: str) -> str:
    """The URL of a new, empty database on a server."""
    import psycopg

    name = f"digestbot_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return urlunsplit(urlsplit(server_url)._replace(path="/" + name))


def drop_database(url: str, server_url: str) -> None:
    import psycopg

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)".encode())


def _be_nobody(folder: Path) -> list[str]:
    """The beginning of a command that root needs: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
