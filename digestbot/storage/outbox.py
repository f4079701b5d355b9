"""The ledger in the database: how each slot ended, who was sent what, and every mail on its way out.

States and their meaning stand in CONTRACT.md. An entry has an owner exactly while a delivery pass holds it: `sending`
before the server heard of it, `in_doubt` from the moment before MAIL until the reply is recorded. `now` is the time that
is decided and recorded, which --now may move; leases count on `real_now`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from digestbot.model import (
    COUNTS_AS_SENT,
    FINAL_STATES,
    Digest,
    EntryId,
    EntryKind,
    EntryState,
    OutboxEntry,
    Outcome,
    PaperId,
    SlotOutcome,
    SlotRecord,
    SubscriberId,
)
from digestbot.storage.database import (
    BLOCK,
    Database,
    Value,
    as_int,
    as_text,
    in_blocks,
    placeholders,
    take_ids,
    to_epoch,
)
from digestbot.storage.entries import SELECT_ENTRY, WAITING, read_entry
from digestbot.storage.limits import PUT_OFF
from digestbot.storage.packing import pack_digest, to_json, unpack_digest, unpack_ids

T = TypeVar("T")

LEASE = timedelta(seconds=60)
RETRIED_FOR = timedelta(hours=24)  # a digest of yesterday helps nobody
OTHER_KINDS_WAIT = timedelta(days=5)  # RFC 5321, 4.5.4.1: give up after 4 to 5 days
_FOREVER = 2**62

# Who may still be mailed: part of the statement that marks an entry in doubt, so that nobody is mailed who left before.
_MAY_BE_MAILED = """(kind = 'operator' OR EXISTS (
    SELECT 1 FROM subscribers s WHERE s.id = outbox.subscriber_id AND s.status <> 'suppressed'
    AND (outbox.kind NOT IN ('digest', 'welcome', 'quiet') OR s.status = 'confirmed')
    AND NOT EXISTS (SELECT 1 FROM suppressions p WHERE p.email_key = s.email_key)))"""

# Whose turn it is when there is not room for all: mails people wait for, whom the daily limit cost a digest, whose last
# digest is longest ago.
_LAST_SENT = """COALESCE((SELECT MAX(last.slot) FROM outbox last
    WHERE last.subscriber_id = outbox.subscriber_id AND last.slot IS NOT NULL AND last.state = 'sent'), '')"""
_TURN = f"""kind IN ('digest', 'quiet'), CASE WHEN EXISTS (SELECT 1 FROM outbox missed
    WHERE missed.subscriber_id = outbox.subscriber_id AND missed.slot > {_LAST_SENT}
    AND missed.state = 'cancelled' AND missed.reply = '{PUT_OFF}') THEN 0 ELSE 1 END, {_LAST_SENT}, due_at, id"""


@dataclass(frozen=True, slots=True)
class QueuedDigest:
    """A digest as composed, with what its mail will be known by."""

    digest: Digest
    message_id: str  # with angle brackets
    due_at: datetime  # the due instant of the slot


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail of another kind than digest; `payload["to"]`, if any, is its recipient, not the subscriber's address."""

    kind: EntryKind
    message_id: str
    composed_at: datetime
    payload: dict[str, str]
    subscriber_id: SubscriberId | None = None  # None: to the operator, who needs `payload["to"]`


class OutboxStore:
    """Slots, outbox and bounces. Every method is atomic; within a caller's transaction it joins that."""

    def __init__(self, db: Database) -> None:
        self.db = db

    # ---- composing -----------------------------------------------------------------------------------------------

    def store_decisions(
        self, records: Sequence[SlotRecord], digests: Sequence[QueuedDigest]
    ) -> list[SlotRecord]:
        """Stores how slots ended, and the digests among them; returns the records of slots that had not ended before.

        A slot that has ended before keeps its first end, and its digest is not stored again: calling it twice is
        harmless. `records` are those of the slots without a digest; those of the digests follow from them.
        """
        composed = [
            SlotRecord(d.digest.subscriber_id, d.digest.slot, SlotOutcome.COMPOSED, d.digest.composed_at)
            for d in digests
        ]
        with self.db.transaction():
            fresh = self.record_slots([*records, *composed])
            kept = [d for d in digests if (d.digest.subscriber_id, d.digest.slot) in fresh]
            ids = take_ids(self.db, "outbox", len(kept)) if kept else range(0)
            self.db.execute_many(
                "INSERT INTO outbox (id, kind, subscriber_id, slot, state, message_id, composed_at, due_at, papers, why,"
                " more) VALUES (?, 'digest', ?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
                [
                    (
                        entry_id,
                        d.digest.subscriber_id,
                        d.digest.slot.isoformat(),
                        d.message_id,
                        to_epoch(d.digest.composed_at),
                        to_epoch(d.due_at),
                        *pack_digest(d.digest),
                    )
                    for entry_id, d in zip(ids, kept, strict=True)
                ],
            )
        return [record for record in (*records, *composed) if (record.subscriber_id, record.slot) in fresh]

    def record_slots(self, records: Sequence[SlotRecord]) -> set[tuple[SubscriberId, date]]:
        """Records how slots ended, each once for ever; returns those that had not ended before."""
        fresh: set[tuple[SubscriberId, date]] = set()
        with self.db.transaction():
            for block in in_blocks(records):
                values: list[Value] = []
                for r in block:
                    values += (
                        r.subscriber_id,
                        r.slot.isoformat(),
                        r.outcome,
                        to_epoch(r.at),
                        r.cause,
                        r.best_score,
                    )
                for row in self.db.rows(
                    "INSERT INTO slots (subscriber_id, slot, outcome, at, cause, best_score) VALUES "
                    + ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(block))
                    + " ON CONFLICT (subscriber_id, slot) DO NOTHING RETURNING subscriber_id, slot",
                    values,
                ):
                    fresh.add((SubscriberId(as_int(row[0])), date.fromisoformat(as_text(row[1]))))
        return fresh

    def sent_papers(
        self, subscriber_ids: Sequence[SubscriberId], since_slot: date
    ) -> dict[SubscriberId, set[PaperId]]:
        """What counts as sent to each of them in slots from `since_slot` on; ids as stored, merges not resolved."""
        sent: dict[SubscriberId, set[PaperId]] = {subscriber_id: set() for subscriber_id in subscriber_ids}
        for block in in_blocks(subscriber_ids):
            for subscriber_id, papers in self.db.rows(
                f"SELECT subscriber_id, papers FROM outbox WHERE subscriber_id IN ({placeholders(len(block))})"
                f" AND slot >= ? AND state IN ({placeholders(len(COUNTS_AS_SENT))})",
                (*block, since_slot.isoformat(), *COUNTS_AS_SENT),
            ):
                sent[SubscriberId(as_int(subscriber_id))].update(unpack_ids(papers))
        return sent

    def fold(self, after: int, before: datetime) -> int | None:
        """Takes scores and reasons from the next thousand ended digests behind the entry `after` that were composed
        before an instant; slots and paper ids stay. Returns the last entry seen, None where all that old are done."""
        with self.db.transaction(durable=False, alone=False):
            rows = self.db.rows(
                "SELECT id FROM outbox WHERE id > ? AND composed_at < ? ORDER BY id LIMIT ?",
                (after, to_epoch(before), BLOCK),
            )
            last = as_int(rows[-1][0]) if rows else None
            if last is not None:
                self.db.execute(
                    "UPDATE outbox SET why = NULL WHERE id > ? AND id <= ? AND composed_at < ? AND why IS NOT NULL"
                    f" AND state IN ({placeholders(len(FINAL_STATES))})",
                    (after, last, to_epoch(before), *FINAL_STATES),
                )
        return last

    def find_digest(self, subscriber_id: SubscriberId, slot: date) -> tuple[Digest, EntryState] | None:
        row = self.db.row(
            "SELECT composed_at, papers, why, more, state FROM outbox WHERE subscriber_id = ? AND slot = ?",
            (subscriber_id, slot.isoformat()),
        )
        if row is None:
            return None
        composed_at, papers, why, more, state = row
        digest = unpack_digest(subscriber_id, slot, composed_at, papers=papers, why=why, more=more)
        return digest, EntryState(as_text(state))

    def queue(self, notice: Notice) -> None:
        """Queues a mail of another kind than digest, due at once."""
        with self.db.transaction():
            [entry_id] = take_ids(self.db, "outbox", 1)
            at = to_epoch(notice.composed_at)
            self.db.execute(
                "INSERT INTO outbox (id, kind, subscriber_id, state, message_id, composed_at, due_at, payload)"
                " VALUES (?, ?, ?, 'queued', ?, ?, ?, ?)",
                (
                    entry_id,
                    notice.kind,
                    notice.subscriber_id,
                    notice.message_id,
                    at,
                    at,
                    to_json(notice.payload),
                ),
            )

    # ---- delivering ----------------------------------------------------------------------------------------------

    def count_due(self, now: datetime) -> int:
        """How many entries a pass at this instant would try."""
        row = self.db.row(
            f"SELECT COUNT(*) FROM outbox WHERE {WAITING} AND COALESCE(next_attempt_at, 0) <= ?",
            (to_epoch(now),),
        )
        return as_int(row[0]) if row else 0

    def claim(
        self, now: datetime, owner: str, limit: int, *, real_now: datetime, in_turns: bool = False
    ) -> list[OutboxEntry]:
        """Takes at most `limit` due entries for `owner` until the lease ends, oldest due first; it is on disk then.

        in_turns: for when there is not room for all.
        """
        order = _TURN if in_turns else "due_at, id"
        with self.db.transaction(alone=False):
            rows = self.db.rows(
                f"WITH turn AS (SELECT id FROM outbox WHERE {WAITING} AND COALESCE(next_attempt_at, 0) <= ?"
                f" ORDER BY {order} LIMIT ? {self.db.skip_locked()})"
                " UPDATE outbox SET state = 'sending', owner = ?, lease_until = ?"
                " WHERE id IN (SELECT id FROM turn) RETURNING id",
                (to_epoch(now), limit, owner, to_epoch(real_now + LEASE)),
            )
        found = self._entries([as_int(row[0]) for row in rows])  # theirs now: nobody need wait meanwhile
        return self._by_turn(found) if in_turns else found

    def renew(self, owner: str, *, real_now: datetime) -> None:
        """Moves the end of all leases of a living owner."""
        self.db.mark("UPDATE outbox SET lease_until = ? WHERE owner = ?", (to_epoch(real_now + LEASE), owner))

    def begin_attempt(self, entry: OutboxEntry, owner: str, now: datetime) -> bool:
        """Marks an entry in doubt, right before MAIL; False: it must not be sent.

        The same statement requires that the owner still holds it and that the subscriber may still be mailed; where
        they may not the entry ends cancelled.
        """
        if self.db.mark(
            "UPDATE outbox SET state = 'in_doubt', attempts = attempts + 1"
            f" WHERE id = ? AND owner = ? AND state = 'sending' AND {_MAY_BE_MAILED}",
            (entry.id, owner),
        ):
            return True
        self.db.mark(
            "UPDATE outbox SET state = 'cancelled', owner = NULL, lease_until = NULL, finished_at = ?,"
            " reply = 'the recipient is not to be mailed any more' WHERE id = ? AND owner = ? AND state = 'sending'",
            (to_epoch(now), entry.id, owner),
        )
        return False

    def record(self, entry: OutboxEntry, outcome: Outcome, now: datetime, *, owner: str) -> None:
        """Records what an attempt came to, right after the reply, and frees the entry.

        From an owner who lost the entry meanwhile only `sent` counts: the next one need not send it, then.
        """
        finished = to_epoch(now) if outcome.state in FINAL_STATES else None
        again = None if outcome.next_attempt_at is None else to_epoch(outcome.next_attempt_at)
        anyhow = outcome.state is EntryState.SENT
        self.db.mark(
            "UPDATE outbox SET state = ?, reply = ?, next_attempt_at = ?, finished_at = ?, owner = NULL,"
            f" lease_until = NULL WHERE id = ? AND {'state NOT IN' if anyhow else 'owner = ? AND state NOT IN'}"
            f" ({placeholders(len(FINAL_STATES))})",
            (
                outcome.state,
                outcome.reply,
                again,
                finished,
                entry.id,
                *(() if anyhow else (owner,)),
                *FINAL_STATES,
            ),
        )

    def hand_back(self, entry_id: EntryId, owner: str) -> None:
        """Undoes `begin_attempt` for an entry that the server heard nothing of: it waits as before."""
        self.db.mark(
            "UPDATE outbox SET attempts = attempts - 1, owner = NULL, lease_until = NULL,"
            " state = CASE WHEN attempts > 1 THEN 'deferred' ELSE 'queued' END"
            " WHERE id = ? AND owner = ? AND state = 'in_doubt'",
            (entry_id, owner),
        )

    def release_claims(self, owner: str) -> None:
        """What an owner claimed and did not try waits again as before."""
        with self.db.transaction(durable=False):
            self._free_sending(owner, _FOREVER)

    def owners(self) -> list[str]:
        """Who holds entries, living or dead."""
        return [
            as_text(row[0])
            for row in self.db.rows("SELECT DISTINCT owner FROM outbox WHERE owner IS NOT NULL")
        ]

    def take_over(
        self, owner: str, *, resend: bool, all_doubtful: bool = False, leased_until: datetime | None = None
    ) -> list[EntryId]:
        """Frees what a dead owner held; returns the entries that were in doubt.

        `sending` waits again as before; `in_doubt` is queued again with `resend`, else held for the operator.
        `all_doubtful`: after a power cut, which loses marks, all that was claimed is in doubt. `leased_until`: frees only
        what has no longer lease than that; None: whatever the lease.
        """
        state = EntryState.QUEUED if resend else EntryState.HELD
        lease = _FOREVER if leased_until is None else to_epoch(leased_until)
        with self.db.transaction():
            if not all_doubtful:
                self._free_sending(owner, lease)
            rows = self.db.rows(
                "UPDATE outbox SET state = ?, owner = NULL, lease_until = NULL, reply = 'in doubt: the sender died'"
                " WHERE owner = ? AND lease_until <= ? RETURNING id",
                (state, owner, lease),
            )
        return [EntryId(as_int(row[0])) for row in rows]

    def expire(self, now: datetime, max_lateness: timedelta) -> Counter[EntryState]:
        """Ends what waited too long: never tried `cancelled`, else `failed`; returns how many of each.

        A digest is late `max_lateness` after its due instant, once tried 24 h after it, and a quiet week's note as long
        after it was composed; other kinds wait five days.
        """
        ended: Counter[EntryState] = Counter()
        rules = (
            ("attempts = 0 AND kind IN ('digest', 'quiet')", max_lateness, EntryState.CANCELLED),
            ("attempts > 0 AND kind IN ('digest', 'quiet')", RETRIED_FOR, EntryState.FAILED),
            ("attempts = 0 AND kind NOT IN ('digest', 'quiet')", OTHER_KINDS_WAIT, EntryState.CANCELLED),
            ("attempts > 0 AND kind NOT IN ('digest', 'quiet')", OTHER_KINDS_WAIT, EntryState.FAILED),
        )
        with self.db.transaction():
            for condition, wait, state in rules:
                ended[state] += self.db.execute(
                    "UPDATE outbox SET state = ?, finished_at = ?, next_attempt_at = NULL,"
                    f" reply = COALESCE(reply, 'too late') WHERE {WAITING} AND {condition} AND due_at < ?",
                    (state, to_epoch(now), to_epoch(now - wait)),
                )
        return +ended

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _by_turn(self, entries: list[OutboxEntry]) -> list[OutboxEntry]:
        ids = [entry.id for entry in entries]
        rows = self.db.rows(
            f"SELECT id FROM outbox WHERE id IN ({placeholders(len(ids))}) ORDER BY {_TURN}",
            ids,
        )
        turns = {row[0]: turn for turn, row in enumerate(rows)}
        return sorted(entries, key=lambda entry: turns[entry.id])

    def _entries(self, ids: Sequence[int]) -> list[OutboxEntry]:
        found: list[OutboxEntry] = []
        for block in in_blocks(ids):
            rows = self.db.rows(f"{SELECT_ENTRY} WHERE o.id IN ({placeholders(len(block))})", block)
            found += map(read_entry, rows)
        return sorted(found, key=lambda entry: (entry.due_at, entry.id))

    def _free_sending(self, owner: str, lease: int) -> None:
        self.db.execute(
            "UPDATE outbox SET state = CASE WHEN attempts > 0 THEN 'deferred' ELSE 'queued' END, owner = NULL,"
            " lease_until = NULL WHERE owner = ? AND state = 'sending' AND lease_until <= ?",
            (owner, lease),
        )
