"""Programs that some tests need beside Python; tests skip with a reason where one is missing."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest


def program(*names: str) -> str:
    """The path of the first of these programs that is installed: with the tests' Python, or on the machine."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name in names:
        if path := shutil.which(name, path=beside):
            return path
    pytest.skip(f"{' or '.join(names)} is not installed")


def node_modules(*packages: str) -> Path:
    """The folder with these npm packages: DIGESTBOT_TEST_NODE_MODULES, else node_modules of the project."""
    named = os.environ.get("DIGESTBOT_TEST_NODE_MODULES")
    folder = Path(named) if named else Path(__file__).resolve().parents[1] / "node_modules"
    missing = [package for package in packages if not (folder / package).is_dir()]
    if missing:
        pytest.skip(f"npm packages {', '.join(missing)} are not in {folder}; `make node` installs them")
    return folder
