"""Alerts and dashboard speak of metrics that exist, and of all of them; the alerts fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from digestbot.model import EntryState, Status
from tests.programs import program
from tests.web_world import World, running

ROOT = Path(__file__).resolve().parents[1]
ALERTS, DASHBOARD = ROOT / "deploy" / "alerts.yml", ROOT / "deploy" / "dashboard.json"
LABELS: dict[str, set[str]] = {"state": set(EntryState), "status": set(Status)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as world:
        yield world


def rules() -> list[dict[str, str]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, str]] = group["rules"]
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_expressions_name_metrics_that_exist_and_all_of_them(world: World) -> None:
    told = set(re.findall(r"^(digestbot_\w+)", world.get("/metrics").text, re.MULTILINE))
    assert len(told) >= 7
    assert {name for text in expressions() for name in re.findall(r"digestbot_\w+", text)} == told


def test_expressions_name_labels_that_exist() -> None:
    for text in expressions():
        for label, values in re.findall(r'(\w+)=~?"([^"]+)"', text):
            assert set(values.split("|")) <= LABELS[label], text


def test_what_to_do_is_said() -> None:
    for rule in rules():
        assert set(rule) >= {"alert", "expr", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "action"}


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked.stderr
    names = sorted(rule["alert"] for rule in rules())
    quiet = "".join(f"      - {{eval_time: 1d, alertname: {name}, exp_alerts: []}}\n" for name in names)
    firing = "".join(
        f"          - {{labels: '{{alertname=\"{name}\"}}', value: 1}}\n"
        for name in names
        if name != "DigestbotPagesDown"
    )
    text = (ROOT / "tests" / "alerts_test.yml").read_text()
    test = tmp_path / "test.yml"
    test.write_text(
        text.replace("ALERTS]", f"{ALERTS}]").replace("QUIET\n", quiet).replace("FIRING\n", firing)
    )
    done = promtool("test", "rules", test)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("broken", ["digestbot_papers >", "sum(digestbot_papers"])
def test_promtool_sees_a_broken_expression(tmp_path: Path, broken: str) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [{"alert": "A", "expr": broken}]}]}))
    assert promtool("check", "rules", bad).returncode != 0
