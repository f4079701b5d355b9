"""The long forms of tests/test_outbox_mishaps.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile_mails import deliver_hostile_digests
from tests.household import Household, household
from tests.mishaps import fill_the_disk, kill_again_and_again, kill_the_server, lock_the_database

__all__ = ["household"]

pytestmark = pytest.mark.torture


def test_200_kills_of_the_sender(tmp_path: Path) -> None:
    held = kill_again_and_again(tmp_path, digests=2000, kills=200)
    print(f"{sum(held.values()) - 2000} held twice")


def test_50_deaths_of_the_mail_server(tmp_path: Path) -> None:
    kill_the_server(tmp_path, digests=2000, kills=50)


def test_the_database_is_locked_for_30_seconds(tmp_path: Path) -> None:
    lock_the_database(tmp_path, digests=200, seconds=30.0)


def test_the_disk_is_full_at_many_moments(household: Household) -> None:
    fill_the_disk(household, people=1000, more_room=1.25)


def test_1000_hostile_digests_arrive_byte_for_byte(tmp_path: Path) -> None:
    deliver_hostile_digests(tmp_path, 1000)
