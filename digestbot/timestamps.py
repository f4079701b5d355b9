"""Instants as programs read them: ISO 8601 in UTC, whole seconds, with `Z`. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(at: datetime) -> str:
    """Such as 2026-11-21T07:00:00Z."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def find_timestamp(at: datetime | None) -> str | None:
    return None if at is None else timestamp(at)
