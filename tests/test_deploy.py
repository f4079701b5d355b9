"""What lies in deploy/: units, image and compose file, looked at by the tools that know them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from digestbot.cli import cli
from digestbot.settings import parse_settings
from tests.programs import program

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE, CLUSTER = DEPLOY / "compose.yml", DEPLOY / "compose.cluster.yml"


def names(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("unit", UNITS, ids=names)
def test_units_are_hardened(unit: Path) -> None:
    command = [
        program("systemd-analyze"),
        "security",
        "--offline=true",
        "--threshold=20",
        "--no-pager",
        str(unit),
    ]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-300:] + rated.stderr  # 20 is an exposure of 2.0


@pytest.mark.parametrize("unit", [*UNITS, DOCKERFILE, COMPOSE, CLUSTER], ids=names)
def test_what_is_deployed_can_be_called(unit: Path) -> None:
    called = re.findall(
        r"(?:bin/digestbot |ENTRYPOINT \[\"digestbot\"\]\nCMD \[\"|command: \[\"|CMD \[\"digestbot\", \")([a-z]+)",
        unit.read_text(encoding="utf-8"),
    )
    assert called
    assert set(called) <= set(cli.list_commands(click.Context(cli)))


def test_the_dockerfile_passes_its_linter() -> None:
    command = [program("hadolint"), str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", [COMPOSE, CLUSTER], ids=names)
def test_the_compose_files_are_as_the_specification_wants_them(file: Path) -> None:
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_holds_what_it_copies_and_runs_as_nobody_special() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (DEPLOY.parent / name).exists(), name
    [user] = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert user.split(":")[0].isdigit()
    assert int(user.split(":")[0]) >= 1000
    assert "HEALTHCHECK" in text


@pytest.mark.parametrize("file", [COMPOSE, CLUSTER], ids=names)
def test_services_of_the_compose_files_may_do_little(file: Path) -> None:
    services = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    assert {"run", "serve"} <= set(services)
    for service in (found for found in services.values() if found["image"] == "digestbot"):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert (DEPLOY / f"{service['env_file']}.example").is_file()
    assert services["serve"]["healthcheck"]["test"][0] == "CMD"


def test_the_cluster_has_what_it_needs() -> None:
    found = yaml.safe_load(CLUSTER.read_text(encoding="utf-8"))
    services = found["services"]
    assert {"postgres", "relay", "run", "worker", "serve"} == set(services)
    assert (services["run"]["deploy"]["replicas"], services["worker"]["deploy"]["replicas"]) == (2, 3)
    for service in services.values():
        for volume in service["volumes"]:
            assert volume.split(":")[0] in found["volumes"]
    ours = parse_settings(
        {k: v for k, v in services["worker"]["environment"].items() if k.startswith("DIGESTBOT_")}
    )
    assert ours.sqlite_path is None
    assert "[cluster]" in DOCKERFILE.read_text(encoding="utf-8")
