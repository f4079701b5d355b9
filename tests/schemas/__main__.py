"""Keeps the state of this version's schema."""

from tests.schemas import keep

print(keep())
