"""The mails in Chromium: accessible in light and dark, as narrow as a phone, nothing fetched; pictures in artifacts/."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TypedDict

import pytest

from tests.mail_samples import (
    SYSTEM_KINDS,
    SYSTEM_VALUES,
    make_paper,
    render,
    sample_digest,
    sample_papers,
    shared_renderer,
)
from tests.programs import node_modules, program

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "artifacts" / "mails"


class Seen(TypedDict):
    page: str
    scheme: str
    width: int
    scroll: int
    violations: list[str]
    asked: list[str]


def pages() -> dict[str, str]:
    papers = sample_papers()
    long = [
        make_paper(
            title="Unbreakable" * 12, abstract="See https://example.org/" + "path/" * 40 + " and " + "x" * 200
        )
    ]
    system = {
        kind.value: shared_renderer().system(kind.value, SYSTEM_VALUES).html_body() for kind in SYSTEM_KINDS
    }
    return {
        "digest": render(papers, sample_digest(papers)).html_body(),
        "long": render(long).html_body(),
        **system,
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    modules = node_modules("axe-core", "playwright-core")
    folder = tmp_path_factory.mktemp("pages")
    PICTURES.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, body in pages().items():
        paths.append(folder / f"{name}.html")
        paths[-1].write_text(body, encoding="utf-8")
    chromium = os.environ.get("DIGESTBOT_TEST_CHROMIUM") or program(
        "chromium", "chromium-browser", "google-chrome"
    )
    command = [program("node"), ROOT / "tests" / "browser" / "look.mjs", modules, chromium, PICTURES, *paths]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: list[Seen] = json.loads(done.stdout)
    assert len(found) == len(paths) * 6
    return found


pytestmark = pytest.mark.xdist_group("chromium")


def test_axe_finds_nothing_in_light_and_dark(seen: list[Seen]) -> None:
    checked = [page for page in seen if page["width"] != 320]
    assert {(page["scheme"], page["width"]) for page in checked} == {
        (scheme, width) for scheme in ("light", "dark") for width in (360, 800)
    }
    assert [(p["page"], p["scheme"], p["width"], p["violations"]) for p in checked if p["violations"]] == []


def test_nothing_is_wider_than_the_screen(seen: list[Seen]) -> None:
    assert {page["width"] for page in seen} == {320, 360, 800}
    assert [(p["page"], p["width"], p["scroll"]) for p in seen if p["scroll"] > p["width"]] == []


def test_nothing_is_fetched(seen: list[Seen]) -> None:
    assert [page["asked"] for page in seen if page["asked"]] == []


def test_the_dark_is_dark(seen: list[Seen]) -> None:
    for page in ("digest", "confirm"):
        light, dark = ((PICTURES / f"{page}-{scheme}-360.png").read_bytes() for scheme in ("light", "dark"))
        assert light.startswith(b"\x89PNG")
        assert light != dark
