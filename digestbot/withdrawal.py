"""Takes a bad drop back: out of the catalogue, out of the digests that wait, and a list of who got it already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from digestbot.choosing import choose, gather
from digestbot.compose import Nothing
from digestbot.desk import Desk
from digestbot.errors import UsageError
from digestbot.model import Digest, EntryId, EntryState, PaperId, SlotOutcome, SlotRecord, SubscriberId
from digestbot.storage.recall import GONE_OUT, WAITING

BLOCK = 1000
Entry = tuple[EntryId, SubscriberId, date]


@dataclass(frozen=True, slots=True)
class WithdrawalReport:
    """gone: papers that left the catalogue; kept: those other drops had, too. already: it was withdrawn before."""

    gone: int
    kept: int
    recomposed: int  # digests that wait with other papers now
    emptied: int  # digests for which nothing is left
    recipients: tuple[
        tuple[str, date], ...
    ]  # (address, slot) of those who got one of the papers, or may have
    already: bool = False


def withdraw(desk: Desk, name: str, now: datetime) -> WithdrawalReport:
    """All or nothing. Raises UsageError for a drop nobody knows, or one that took nothing."""
    storage = desk.storage
    with storage.transaction():
        drop = storage.drops.find(name)
        if drop is None:
            raise UsageError(f"{name!r} is no drop; `digestbot drops list` shows them")
        if drop.state == "withdrawn":
            return WithdrawalReport(0, 0, 0, 0, (), already=True)
        if drop.state != "done":
            raise UsageError(f"{name!r} is {drop.state}: none of its papers is in the catalogue")
        since = drop.received_at.date() - timedelta(days=2)
        taken = storage.drops.withdraw(drop.id)
        if not taken.gone:
            return WithdrawalReport(0, len(taken.kept), 0, 0, ())
        storage.models.forget_all()  # statistics of a catalogue that is no more
        for entry_id, *_ in list(storage.recall.digests_with(taken.gone, (EntryState.SENDING,), since)):
            storage.recall.cancel_claimed(entry_id, now)
        waiting = list(storage.recall.digests_with(taken.gone, WAITING, since))
        # Their former papers must not count as sent while they are chosen from again.
        for entry_id, subscriber_id, slot in waiting:
            storage.recall.recompose(entry_id, Digest(subscriber_id, slot, now, ()))
        emptied = sum(_compose_anew(desk, block, now) for block in _blocks(waiting))
        recipients = _recipients(desk, taken.gone, since)
    return WithdrawalReport(
        len(taken.gone), len(taken.kept), len(waiting) - emptied, emptied, tuple(recipients)
    )


def _blocks(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Oldest slot first, nobody twice in a block: what one digest takes the next one must not."""
    rounds: list[list[Entry]] = []
    before: Counter[SubscriberId] = Counter()
    for entry in sorted(entries, key=lambda entry: entry[2]):
        number = before[entry[1]]
        before[entry[1]] += 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(entry)
    for one in rounds:
        yield from (one[i : i + BLOCK] for i in range(0, len(one), BLOCK))


def _compose_anew(desk: Desk, entries: list[Entry], now: datetime) -> int:
    """Gives waiting digests, of as many subscribers, other papers; returns how many ended empty."""
    ids = [subscriber_id for _, subscriber_id, _ in entries]
    people = desk.storage.subscribers.get_many(ids)
    chosen = choose(
        desk,
        gather(desk, now),
        [people[i] for i in ids if i in people],
        {subscriber_id: slot for _, subscriber_id, slot in entries},
    )
    emptied = 0
    for entry_id, subscriber_id, slot in entries:
        result = chosen.get(subscriber_id)
        if isinstance(result, Digest):
            desk.storage.recall.recompose(entry_id, result)
            continue
        cause, best = (result.cause, result.best_score) if isinstance(result, Nothing) else (None, None)
        record = SlotRecord(subscriber_id, slot, SlotOutcome.EMPTY, now, cause, best)
        desk.storage.recall.empty(entry_id, record)
        emptied += 1
    return emptied


def _recipients(desk: Desk, papers: tuple[PaperId, ...], since: date) -> list[tuple[str, date]]:
    states: tuple[EntryState, ...] = GONE_OUT
    found = list(desk.storage.recall.digests_with(papers, states, since))
    people = desk.storage.subscribers.get_many({subscriber_id for _, subscriber_id, _ in found})
    return sorted((people[i].email, slot) for _, i, slot in found if i in people)
