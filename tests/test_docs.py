"""The docs name what is there and nothing else, and their shell blocks run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from digestbot.setting_values import PARSERS
from digestbot.settings import Settings
from tests.reference import TARGET, commands, reference
from tests.smtp_servers import SmtpServer

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_SETTINGS = {"DIGESTBOT_NO_SKIP"}  # for tests
NEEDS_MORE = {  # lines that are not run, and why; at most five
    "make demo": "makes an environment first; test_wheel.py runs the demo",
    "make test": "runs this very test",
    "pip install .": "test_wheel.py installs",
}


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


# ---- commands and settings ----------------------------------------------------------------------------------------


def test_the_reference_is_the_code() -> None:
    assert TARGET.read_text(encoding="utf-8") == reference(), (
        "run `python -m tests.reference`, and look what changed"
    )


def spoken_commands(text: str) -> Iterator[list[str]]:
    """The words after `digestbot` wherever a page shows a command."""
    shown = re.findall(r"`digestbot ([^`]+)`", text.replace("\n", " "))
    for block in re.findall(r"```(?:sh|text)\n(.*?)```", text, re.DOTALL):
        joined = re.sub(r"\\\n\s*", " ", block)
        shown += re.findall(r"(?:^|&& |bin/)digestbot ([a-z][^\n&|;#'}]*)", joined, re.MULTILINE)
    for line in shown:
        yield re.split(r"\s+#", line)[0].replace('"', " ").split()


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_commands_in_the_docs_exist(page: Path) -> None:
    known = commands()
    for words in spoken_commands(page.read_text(encoding="utf-8")):
        words = [
            word.strip("[]") for word in words if not re.fullmatch(r"\[?--(now|debug)\]?|INSTANT\]?", word)
        ]
        if not words or words[0] == "COMMAND" or words[0].startswith("--"):
            continue
        group = isinstance(known.get(words[0]), click.Group)
        name = " ".join(words[: 2 if group and len(words) > 1 and words[1] != "COMMAND" else 1])
        assert name in known, f"{names(page)} speaks of `digestbot {name}`"
        options = {
            option
            for parameter in known[name].params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in words:
            option = word.split("=")[0].rstrip("],")
            assert not option.startswith("--") or option in {*options, "--help"}, (
                f"{names(page)}: {name} {word}"
            )


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_targets_of_make_in_the_docs_do_something(page: Path) -> None:
    """A pattern rule is not looked for where a target is named as phony: make then says that nothing is to be done."""
    for target in sorted(set(re.findall(r"`make ([a-z_-]+)`", page.read_text(encoding="utf-8")))):
        steps = subprocess.run(
            ["make", "-nB", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert "Nothing to be done" not in steps, target


def test_every_setting_is_in_the_readme_and_no_other_anywhere() -> None:
    known = {f"DIGESTBOT_{name}" for name in PARSERS}
    told = set(re.findall(r"DIGESTBOT_[A-Z_]*[A-Z]", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert known <= told
    for page in [*PAGES, *sorted((ROOT / "deploy").iterdir())]:
        found = set(re.findall(r"DIGESTBOT_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
        assert found <= known | NOT_SETTINGS, names(page)


def test_the_defaults_told_are_the_defaults() -> None:
    rows = re.findall(
        r"^\| `DIGESTBOT_(\w+)` \| `([^`]+)` \|",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 8
    for name, told in rows:
        assert PARSERS[name][1](told) == getattr(Settings(), PARSERS[name][0]), name


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{names(page)}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            found = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in found, f"{names(page)}: {target}#{anchor}"


# ---- shell blocks -------------------------------------------------------------------------------------------------


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def runnable(block: str) -> str:
    """The block without what needs more; a scheduler is stopped once it has begun."""
    lines = []
    for line in block.splitlines():
        bare = line.split(" #")[0].rstrip()
        if bare == "digestbot run":
            line = (
                "digestbot run 2>run.log & until grep -q 'stops it' run.log; do kill -0 $!; sleep 0.2; done;"
                " kill $!; wait $!"
            )
        if bare == "digestbot doctor":  # says what the tutorial's settings still lack
            line = "digestbot doctor || test $? = 1"
        lines.append("" if bare in NEEDS_MORE else line)
    return "\n".join(lines)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_shell_blocks_run(page: str, tmp_path: Path) -> None:
    assert len(NEEDS_MORE) <= 5
    (tmp_path / "Downloads").mkdir()
    shutil.copy(ROOT / "digestbot" / "samples" / "day-1.txt", tmp_path / "Downloads" / "daily-papers.txt")
    found = blocks(ROOT / page)
    if page == "README.md":
        found = [block for block in found if "digestbot" in block and "make " not in block]
    assert found
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with SmtpServer() as server:
        environment = {
            "PATH": path,
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "DIGESTBOT_SMTP_URL": server.url(),
        }
        script = "set -e\n" + "\n".join(map(runnable, found))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if page == "docs/tutorial.md":
        assert "Barn owls see in the dark" in done.stdout
        assert "all mails render" in done.stdout
