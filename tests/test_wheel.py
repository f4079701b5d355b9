"""The wheel, installed into an empty environment, works in an empty folder with no repository near."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import digestbot as digestbot_version
from tests.smtp_servers import SmtpServer

ROOT = Path(__file__).resolve().parents[1]
BEFORE, NOW = "2026-01-04T12:00:00Z", "2026-01-05T08:30:00Z"


class Installed:
    """The installed program, used in a folder of its own."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.settings: dict[str, str] = {}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **self.settings}
        return subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def do(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    build([sys.executable, "-m", "build", "--sdist", "--outdir", str(out), str(ROOT)])
    [found] = out.glob("*.tar.gz")
    return found


def build_wheel(source: Path, out: Path) -> Path:
    """From a tree or an sdist."""
    build(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    )
    [found] = out.glob("*.whl")
    return found


def build(command: list[str]) -> None:
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "hatchling" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("building needs a package index, or hatchling at hand")
    assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a new environment; its dependencies are those of the environment the tests run in."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    [site] = home.glob("lib/python*/site-packages")
    command = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet"]
    installed = subprocess.run(
        [*command, "--no-deps", str(wheel)], capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr
    _lend_dependencies(site)
    return home / "bin" / "digestbot"


def _lend_dependencies(site: Path) -> None:
    """What the wheel says that it needs, and no more, from the environment of the tests."""
    for name in _needed(site):
        distribution = metadata.distribution(name)
        for top in {
            file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())


def _needed(site: Path) -> set[str]:
    """All that the installed wheel needs, directly or not; without extras that nobody asks for."""
    [ours] = metadata.distributions(name="digestbot", path=[str(site)])
    found: set[str] = set()
    waiting = [Requirement(line) for line in ours.requires or ()]
    while waiting:
        needed = waiting.pop()
        if needed.name in found or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        found.add(needed.name)
        for further in map(Requirement, metadata.requires(needed.name) or ()):
            asked_for = {"", *needed.extras}
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in asked_for):
                further.marker = None
                waiting.append(further)
    return found


@pytest.fixture
def digestbot(program: Path, tmp_path: Path) -> Installed:
    return Installed(program, tmp_path)


def test_what_the_wheel_holds(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packaged = {name.removeprefix("digestbot/") for name in names if name.startswith("digestbot/templates/")}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "templates").rglob("*") if path.is_file()}
    assert packaged == there
    assert {"digestbot/storage/migrations/0001.sql", "digestbot/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "state/"))]


def test_the_sdist_makes_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    def held(path: Path) -> dict[str, int]:
        return {entry.filename: entry.CRC for entry in zipfile.ZipFile(path).infolist()}

    assert held(build_wheel(sdist, tmp_path)) == held(wheel)
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {
        "Makefile",
        "package.json",
        "CHANGELOG.md",
        "tests/conftest.py",
        "deploy/digestbot.service",
        "docs/tutorial.md",
    } <= names


def test_the_version_has_one_place(wheel: Path) -> None:
    version = digestbot_version.__version__
    assert wheel.name.startswith(f"digestbot-{version}-")
    told = [
        path
        for path in (
            ROOT / "pyproject.toml",
            ROOT / "README.md",
            *ROOT.glob("deploy/*"),
            *ROOT.glob("docs/*.md"),
        )
        if version in path.read_text(encoding="utf-8")
    ]
    assert not told


def test_it_is_the_installed_one(digestbot: Installed, program: Path) -> None:
    code = "import digestbot, sys; print(digestbot.__file__)"
    shown = subprocess.run(
        [program.parent / "python", "-c", code],
        cwd=digestbot.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(shown.strip()).is_relative_to(program.parents[1])


def test_from_nothing_to_a_mail(digestbot: Installed) -> None:
    from digestbot.cli import COMMANDS

    shown = digestbot.do("--help")
    assert all(name in shown for name in COMMANDS)
    digestbot.do("init")
    assert (digestbot.folder / ".env").exists()
    digestbot.do(
        "--now", BEFORE, "subscribers", "add", "ada@example.org", "--topic", "barn owls", "--confirmed"
    )
    paper = {"title": "Barn owls at night", "abstract": "We watch barn owls. They see in the dark."}
    (digestbot.folder / "drop.jsonl").write_text(json.dumps(paper) + "\n")
    assert json.loads(digestbot.do("--now", NOW, "ingest", "drop.jsonl", "--json"))["new"] == 1
    with SmtpServer() as server:
        digestbot.settings = {
            "DIGESTBOT_SMTP_URL": server.url(),
            "DIGESTBOT_BASE_URL": "https://papers.example.org",
            "DIGESTBOT_FROM": "Digests <digest@example.org>",
        }
        checked = digestbot.do("doctor", "--json")
        assert {c["check"] for c in json.loads(checked)["checks"]} >= {"templates", "database", "mail server"}
        preview = digestbot.folder / "p.eml"
        digestbot.do("--now", NOW, "preview", "ada@example.org", "--format", "eml", "--out", str(preview))
        report = json.loads(digestbot.do("--now", NOW, "run", "--once", "--json"))
        assert report["delivery"]["sent"] == 1
        [message] = server.messages
    assert message.data == preview.read_bytes()
    assert b"Barn owls at night" in message.data


def test_the_demo(digestbot: Installed) -> None:
    digestbot.do("demo", "--dir", "shown")
    assert list((digestbot.folder / "shown").rglob("*.eml"))


@pytest.mark.torture
def test_dependencies_come_from_the_index(wheel: Path, tmp_path: Path) -> None:
    """As a user installs it; needs the package index and some minutes."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([home / "bin" / "pip", "install", "--quiet", str(wheel)], check=True)
    installed = Installed(home / "bin" / "digestbot", tmp_path)
    installed.do("init")
    assert json.loads(installed.do("status", "--json"))["papers"] == 0
