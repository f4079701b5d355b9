"""Imports point one way, and each third-party library has one door."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

PACKAGE = Path(__file__).resolve().parents[1] / "digestbot"
PROJECT = PACKAGE.parent / "pyproject.toml"

# A module imports from its own floor or below. Folders stand for all their modules.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("model", "errors", "__init__"),
    # pure: values in, values out
    (
        *(
            "compose",
            "schedule",
            "ranking",
            "catalogue",
            "identity",
            "titles",
            "excerpts",
            "wording",
            "timestamps",
            "mathtext",
            "links",
        ),
        *(
            "quoted",
            "subscriber_form",
            "addresses",
            "smtp_replies",
            "stylesheet",
        ),
        *("bounce_words", "excerpt_model", "excerpt_weights"),
    ),
    # each touches one outside thing
    (
        *(
            "settings",
            "setting_values",
            "logs",
            "drops",
            "templating",
            "forms",
            "cards",
            "render",
            "sample_mails",
            "mail",
            "smtp",
            "relay",
            "smtp_line",
            "smtp_client",
            "storage",
            "owner",
            "dkim",
        ),
        *("mailbox", "sources", "bounces", "bibliography", "limits"),
    ),
    # use cases
    (
        *(
            "ingest",
            "outbox",
            "turns",
            "mailroom",
            "subscriptions",
            "roster",
            "crew",
            "desk",
            "choosing",
            "pipeline",
            "due_slots",
            "report",
            "previews",
            "explain",
            "service",
        ),
        *(
            "demo",
            "scheduler",
            "doctor",
            "planning",
            "zone_rules",
            "forecast",
            "batch",
            "fetching",
            "withdrawal",
            "feedback",
        ),
        *(
            "semantics",
            "accounts",
            "alarms",
            "bounce_desk",
            "bounce_rules",
            "delivery_rules",
            "backup",
            "throttle",
            "cluster",
        ),
    ),
    # entry points
    ("cli", "web", "__main__"),
)
BACKENDS = ("digestbot.storage.sqlite", "digestbot.storage.postgres")
SHARED_LIBRARIES = {"numpy", "scipy", "click", "starlette"}
LOADED_BY_OTHERS = {"python-multipart", "tzdata"}  # by Starlette, by zoneinfo


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(room: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert found, f"{room} stands on no floor: say in this test which it belongs to"
    return found[0]


def test_imports_point_down() -> None:
    rooms = {room for room, _ in modules()}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room, path in modules()
        for name in imports(path)
        if name.startswith("digestbot.") and name.split(".")[1] in rooms
        if floor_of(name.split(".")[1]) > floor_of(room)
    ]
    assert not wrong, "\n".join(wrong)


def test_only_storage_knows_its_backends() -> None:
    wrong = [
        str(path)
        for room, path in modules()
        if room != "storage"
        for name in imports(path)
        if name in BACKENDS
    ]
    assert not wrong


def test_each_library_has_one_door() -> None:
    doors: dict[str, set[str]] = {}
    for _, path in modules():
        for name in imports(path):
            library = name.split(".")[0]
            if library != "digestbot" and library not in sys.stdlib_module_names:
                doors.setdefault(library, set()).add(str(path.relative_to(PACKAGE)))
    wrong = {
        library: found
        for library, found in doors.items()
        if len(found) > 1 and library not in SHARED_LIBRARIES
    }
    assert not wrong


def declared() -> Iterator[tuple[str, str]]:
    """(name, place) of what pyproject.toml says that the program needs, and where it says that it is used."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    places = dict(re.findall(r'^ *"(.+?)", +# ([\w./]+)', PROJECT.read_text(encoding="utf-8"), re.MULTILINE))
    for requirement in (*project["dependencies"], *extras["cluster"], *extras["semantic"]):
        yield Requirement(requirement).name.lower(), places[requirement].removesuffix(".")


def test_each_dependency_is_used_where_it_says() -> None:
    libraries: dict[str, set[str]] = {}
    for library, distributions in metadata.packages_distributions().items():
        for name in distributions:
            libraries.setdefault(name.lower().replace("_", "-"), set()).add(library)
    wrong = []
    for name, place in declared():
        there = PACKAGE / place
        files = [there] if there.is_file() else list(there.rglob("*.py"))
        used = {library.split(".")[0] for path in files for library in imports(path)}
        known = libraries.get(name.replace(".", "-"), libraries.get(name, set()))
        if not files or (name not in LOADED_BY_OTHERS and not used & known):
            wrong.append(f"{name}: {place}")
    assert not wrong


def loads(words: Sequence[str], **options: Any) -> tuple[set[str], str]:
    """What a command loads, by its first name, and what it prints."""
    code = (
        "import contextlib, sys\nfrom digestbot.cli import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({list(words)})\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options)
    return {name.partition(".")[0] for name in done.stderr.split()}, done.stdout


def test_help_loads_nothing_heavy() -> None:
    """Only click; the rest is loaded by the commands that need it."""
    loaded, said = loads(["--help"])
    assert "Commands:" in said
    assert "click" in loaded
    assert not loaded & {
        "numpy",
        "scipy",
        "jinja2",
        "lxml",
        "structlog",
        "sqlite_utils",
        "starlette",
        "cryptography",
    }


@pytest.mark.parametrize("command", ["run --once", "status"])
def test_a_command_with_nothing_to_do_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    """What ranks, reads drops and makes mails takes longer to load than the rest of a program's start."""
    environ = {
        "DIGESTBOT_STATE": str(tmp_path),
        "DIGESTBOT_SMTP_URL": "smtp://127.0.0.1:1",
        "DIGESTBOT_SECRET_KEY": "a secret of thirty-two characters",
        "DIGESTBOT_BASE_URL": "https://papers.example.org",
        "DIGESTBOT_FROM": "digests@example.org",
    }
    loaded, _ = loads(command.split(), env=environ, cwd=tmp_path)
    assert "sqlite3" in loaded
    assert not loaded & {
        "numpy",
        "scipy",
        "premailer",
        "feedparser",
        "bibtexparser",
        "rapidfuzz",
        "cryptography",
    }
