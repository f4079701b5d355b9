"""Alerts and dashboard speak of metrics that exist, and of all of them; the alerts fire when they should."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import yaml

from digestbot.model import EntryState, Status
from tests.programs import program
from tests.web_world import NOW, World, running

ROOT = Path(__file__).resolve().parents[1]
ALERTS, DASHBOARD = ROOT / "deploy" / "alerts.yml", ROOT / "deploy" / "dashboard.json"
PATIENCE_S = 180
LABELS: dict[str, set[str]] = {"state": set(EntryState), "status": set(Status)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as world:
        yield world


def rules() -> list[dict[str, str]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, str]] = group["rules"]
    return found


def dashboard() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in dashboard():
        yield from (target["expr"] for target in panel["targets"])


def test_expressions_name_metrics_that_exist_and_all_of_them(world: World) -> None:
    told = set(re.findall(r"^(digestbot_\w+)", world.get("/metrics").text, re.MULTILINE))
    assert len(told) >= 7
    assert {name for text in expressions() for name in re.findall(r"digestbot_\w+", text)} == told


def test_expressions_name_labels_that_exist() -> None:
    for text in expressions():
        for label, values in re.findall(r'(\w+)=~?"([^"]+)"', text):
            assert set(values.split("|")) <= LABELS[label], text


@pytest.fixture
def prometheus(world: World, tmp_path: Path) -> Iterator[str]:
    """The URL of a server that scrapes the site twice a second and has the alerts."""
    assert world.handle
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": "d", "static_configs": [{"targets": [urlsplit(world.handle.url).netloc]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [program("prometheus"), f"--config.file={tmp_path}/prometheus.yml"]
    command += [f"--storage.tsdb.path={tmp_path}/metrics", f"--web.listen-address=127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}/api/v1/"
    process.terminate()
    process.wait(60)


def asked(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]
    except urllib.error.URLError:
        return {"result": []}  # not yet there


def test_prometheus_answers_every_panel_and_knows_the_alerts(prometheus: str, world: World) -> None:
    world.add("ada@example.org", "moss")
    with world.desk() as desk:
        desk.storage.operation.record_run(started_at=NOW, finished_at=NOW, report={})

    def answer(expression: str) -> list[object]:
        found: list[object] = asked(f"{prometheus}query?{urlencode({'query': expression})}")["result"]
        return found

    end = time.monotonic() + PATIENCE_S
    while not answer("delta(digestbot_papers[1m])"):  # two scrapes
        assert time.monotonic() < end
        time.sleep(0.5)
    panels = [target["expr"] for panel in dashboard() for target in panel["targets"]]
    empty = [expression for expression in panels if not answer(expression)]
    assert empty == [], "a panel shows nothing"
    [group] = asked(f"{prometheus}rules")["groups"]
    assert {rule["name"] for rule in group["rules"]} == {rule["alert"] for rule in rules()}
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}  # not evaluated yet


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
