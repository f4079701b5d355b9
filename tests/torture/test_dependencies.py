"""The oldest and the newest versions that pyproject.toml allows: with each the tests pass. Needs the package index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import program

pytestmark = pytest.mark.torture

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = "test,semantic,cluster"
NOT_OURS = (
    "test_wheel.py",
    "test_look.py",
    "test_web_look.py",
    "test_email_rules.py",
)  # no library of ours in them


def run(*command: str | Path, **environment: str) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_tests_pass_with(resolution: str, tmp_path: Path) -> None:
    uv = program("uv")
    home = tmp_path / "venv"
    python = home / "bin" / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, home)
    run(uv, "pip", "install", "--quiet", "--python", python, "--resolution", resolution, "-e", f".[{EXTRAS}]")
    left_out = [f"--ignore=tests/{name}" for name in NOT_OURS]
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *left_out, DIGESTBOT_NO_SKIP="")
