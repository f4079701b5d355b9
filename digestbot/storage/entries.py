"""Outbox entries as they come out of the database."""

from __future__ import annotations

import json
from datetime import date

from digestbot.model import EntryId, EntryKind, EntryState, OutboxEntry, SubscriberId
from digestbot.storage.database import Row, Value, from_epoch
from digestbot.storage.packing import unpack_digest

SELECT_ENTRY = """SELECT o.id, o.kind, o.state, s.email, o.subscriber_id, o.slot, o.message_id, o.composed_at, o.papers,
    o.payload, o.due_at, o.attempts, o.next_attempt_at, o.reply
    FROM outbox o LEFT JOIN subscribers s ON s.id = o.subscriber_id"""


def read_entry(row: Row) -> OutboxEntry:
    (
        entry_id,
        kind,
        state,
        email,
        subscriber,
        slot,
        message_id,
        composed,
        papers,
        payload,
        due,
        attempts,
        again,
        reply,
    ) = row
    subscriber_id = None if subscriber is None else SubscriberId(_int(subscriber))
    values: dict[str, str] = {} if payload is None else json.loads(_text(payload))
    digest = None
    if papers is not None and subscriber_id is not None:
        digest = unpack_digest(subscriber_id, date.fromisoformat(_text(slot)), composed, _text(papers))
    return OutboxEntry(
        id=EntryId(_int(entry_id)),
        kind=EntryKind(_text(kind)),
        state=EntryState(_text(state)),
        recipient=values.get("to") or ("" if email is None else _text(email)),
        subscriber_id=subscriber_id,
        message_id=_text(message_id),
        composed_at=from_epoch(composed),
        digest=digest,
        payload=values,
        due_at=from_epoch(due),
        attempts=_int(attempts),
        next_attempt_at=None if again is None else from_epoch(again),
        last_reply=None if reply is None else _text(reply),
    )


def _int(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _text(value: Value) -> str:
    assert isinstance(value, str)
    return value
