"""The long form of tests/test_cluster.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster_world import stop_a_worker, torture_round

pytestmark = pytest.mark.torture


@pytest.mark.parametrize("seed", range(20))
def test_20_rounds_of_20000_digests_with_kills(tmp_path: Path, seed: int) -> None:
    killed = torture_round(tmp_path, people=20_000, kills=8, seed=100 + seed, pause_s=8.0)
    assert killed.total() >= 4


def test_a_worker_stopped_past_its_lease(tmp_path: Path) -> None:
    stop_a_worker(tmp_path, people=4000, wait_s=65)
