"""The image's last stage as a container engine runs it: its user and environment, a read-only root, one volume.

There is no engine here, so bubblewrap makes the container around the tests' own Python; where a machine allows no
namespaces, the commands run without walls around them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.programs import program
from tests.smtp_servers import SmtpServer

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yml").read_text(encoding="utf-8"))["services"]
NOT_OF_AN_IMAGE = ("data", "tmp", "proc", "dev", "sys", "run", "lost+found")
PATIENCE_S = 180
PAPER = {"title": "Barn owls at night", "abstract": "We watch barn owls. They see in the dark."}


def told(instruction: str) -> list[str]:
    """The words of the Dockerfile's one such instruction, of a health check those of its command."""
    [said] = re.findall(rf"^{instruction}\s((?:\\\n|.)*)", DOCKERFILE, re.MULTILINE)
    said = said[said.find("[") :] if "[" in said else said.replace("\\\n", " ")
    found: list[str] = json.loads(said) if said.startswith("[") else said.split()
    return found


def here(words: Sequence[str]) -> list[str]:
    """What is installed in the image, from the tests' Python."""
    ours = {"digestbot": [sys.executable, "-m", "digestbot"], "python": [sys.executable]}
    return [*ours.get(words[0], words[:1]), *words[1:]]


class Container:
    """Runs commands with `volume` as /data; each has a /tmp of its own."""

    def __init__(self, volume: Path, settings: dict[str, str]) -> None:
        self._volume = volume
        self._given = dict(pair.split("=", 1) for pair in told("ENV"))
        self._given |= {**settings, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        self._walls = [program("bwrap"), *_walls(volume)]
        done = subprocess.run([*self._walls, "true"], capture_output=True, check=False)
        self.is_walled = done.returncode == 0

    def command(self, words: Sequence[str], *, network: bool = True) -> list[str]:
        """network: the machine's own; else one that nobody else is in."""
        given = self._given if self.is_walled else {**self._given, "DIGESTBOT_STATE": str(self._volume)}
        walls = [*self._walls, *(["--share-net"] if network else [])] if self.is_walled else []
        variables = [f"{name}={value}" for name, value in given.items()]
        return [*walls, "env", "--ignore-environment", *variables, *here(words)]

    def run(self, *words: str, network: bool = True) -> subprocess.CompletedProcess[str]:
        command = self.command(words, network=network)
        return subprocess.run(command, cwd=self._volume, capture_output=True, text=True, check=False)

    @contextmanager
    def service(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(self.command(words), cwd=self._volume, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _walls(volume: Path) -> Iterator[str]:
    """This machine's root, read only, without what an image has not; on top what the engine adds."""
    [user] = told("USER")
    yield from ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    yield from ("--uid", user.split(":")[0], "--gid", user.split(":")[1])
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.name not in NOT_OF_AN_IMAGE:
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", str(volume), "/data")
    for folder in (ROOT, Path(sys.prefix)):
        if folder.is_relative_to("/tmp"):  # where a clone may lie
            yield from ("--ro-bind", str(folder), str(folder))
    yield from ("--remount-ro", "/", "--chdir", *told("WORKDIR"))


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def container(volume: Path, server: SmtpServer) -> Container:
    settings = {
        "DIGESTBOT_SECRET_KEY": "a secret of thirty-two characters",
        "DIGESTBOT_SMTP_URL": server.url(),
        "DIGESTBOT_BASE_URL": "https://papers.example.org",
        "DIGESTBOT_FROM": "Digests <digest@example.org>",
    }
    return Container(volume, settings)


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.2)


def test_nothing_but_the_volume_and_tmp_can_be_written(container: Container) -> None:
    if container.is_walled:
        places = ("/data", "/tmp", "/", "/usr", "/etc", str(ROOT))
        written = [place for place in places if container.run("touch", f"{place}/x").returncode == 0]
        assert written == ["/data", "/tmp"]


def test_the_service_of_the_image_works_and_is_healthy(
    container: Container, volume: Path, server: SmtpServer
) -> None:
    entrypoint = told("ENTRYPOINT")
    added = container.run(*entrypoint, "subscribers", "add", "ada@example.org", "--topic", "barn owls")
    assert added.returncode == 0, added.stderr
    incoming = volume / "drops" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "drop.jsonl").write_text(json.dumps(PAPER))
    with container.service(*entrypoint, *told("CMD")) as process:
        wait_until(lambda: server.recipients == ["ada@example.org"], process)  # is asked to confirm
        wait_until(lambda: (volume / "drops" / "done" / "drop.jsonl").exists(), process)
        healthy = container.run(*told("HEALTHCHECK"))
    assert healthy.returncode == 0, healthy.stderr
    assert json.loads(healthy.stdout)["papers"] == 1


def test_the_pages_are_healthy_where_compose_looks(container: Container) -> None:
    service = COMPOSE["serve"]
    serve = shlex.join(here([*told("ENTRYPOINT"), *service["command"]]))
    check = shlex.join(here(service["healthcheck"]["test"][1:]))
    script = f"{serve} & for i in $(seq 60); do {check} 2>/dev/null && break; sleep 1; done; kill $!; test $i -lt 60"
    done = container.run("sh", "-c", script, network=False)
    assert done.returncode == 0, done.stderr
