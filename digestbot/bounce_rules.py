"""When bounces cost an address its place: the rules over the evidence."""

from __future__ import annotations

from datetime import timedelta

from digestbot.storage.bounces import BounceRecord, BounceStore

SOFT_SLOTS = 5
SOFT_WINDOW = timedelta(days=30)


def suppression_reason(store: BounceStore, bounce: BounceRecord) -> str | None:
    """Why the address of this (already stored) bounce is to be suppressed; None: it is not.

    A hard bounce or complaint does at once; soft ones of five different slots in 30 days; a refusal that names no cause
    when the digest before met the same.
    """
    if bounce.kind in ("hard", "complaint"):
        return f"{bounce.kind} {bounce.status or ''}".strip()
    if bounce.slot is None:
        return None
    evidence = store.of_subscriber(bounce.subscriber_id, since=bounce.at - SOFT_WINDOW)
    slots = {other.slot for other in evidence if other.kind == bounce.kind and other.slot is not None}
    if bounce.kind == "soft" and len(slots) >= SOFT_SLOTS:
        return f"{len(slots)} soft bounces in 30 days"
    if bounce.kind == "refused" and store.slot_before(bounce.subscriber_id, bounce.slot) in slots:
        return "refused twice in a row"
    return None
