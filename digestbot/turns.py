"""Whose turn it is: what is due, claimed a block at a time and handed out in that order, each with its mail and a place
under the daily limit. Shared by the threads of one pass."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from digestbot.model import OutboxEntry, SubscriberId
from digestbot.smtp import Mail
from digestbot.storage import Storage

CLAIM = 200  # entries claimed at once: what a power cut can put in doubt
MADE = 16  # mails made in a row: a fifth less work than each between two waits, when the processor has forgotten how


class Mails(Protocol):
    """Where the mails come from; used by several threads, one at a time."""

    def prepare(self, entries: Sequence[OutboxEntry]) -> None:
        """These entries were claimed, and will be made next."""

    def make(self, entry: OutboxEntry) -> Mail | None:
        """None: nothing is left to send, and the entry is cancelled."""


@dataclass(frozen=True, slots=True)
class Turn:
    entry: OutboxEntry
    mail: Mail | None
    at: datetime  # when a place under the daily limit was taken for it


class Turns:
    """Where `is_ending` says so nothing more is handed out."""

    def __init__(
        self,
        storage: Storage,
        mails: Mails,
        owner: str,
        now: Callable[[], datetime],
        *,
        most: int | None,
        daily_limit: int | None,
        is_ending: Callable[[], bool],
    ) -> None:
        """most: entries to claim at all; None: all that are due now."""
        self._store, self._limits, self._mails = storage.outbox, storage.limits, mails
        self._owner, self._now, self.started_at = owner, now, now()
        self._most, self._daily_limit, self._is_ending = most, daily_limit, is_ending
        self._changed = threading.Condition(threading.RLock())  # guards what follows
        self._claimed: deque[OutboxEntry] = deque()
        self._made: deque[tuple[OutboxEntry, Mail | None]] = deque()
        self._taken = 0  # claimed, ever
        self._under_way = 0  # handed out and not done
        self._is_full = False  # the daily limit is reached
        self._owed: set[SubscriberId | None] = set(
            self._limits.owed(self.started_at) if daily_limit is not None else ()
        )

    def next(self) -> Turn | None:
        """None: nothing is left, or the daily limit is reached.

        Places are taken in the order of the claim, so chance has no say in who gets the last one; while mails are under
        way that may yet be refused, and give theirs back, the next one waits.
        """
        with self._changed:
            while not self._is_ending() and not self._is_full:
                if not self._made:
                    self._make()
                if not self._made:
                    return None
                turn = Turn(*self._made[0], self._now())
                if self._take_place(turn):
                    self._under_way += 1
                    self._made.popleft()
                    return turn
                if self._under_way:
                    self._changed.wait(0.2)
                else:
                    self._is_full = True
            return None

    def done(self, turn: Turn, *, used: bool) -> None:
        """Every turn ends here. used: a server took the message, or may have; else its place is free again."""
        if not used and self._daily_limit is not None:
            self._limits.return_message(turn.at)
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def put_back(self, turn: Turn) -> None:
        """It is the next one again; done() is still to be called."""
        with self._changed:
            self._made.appendleft((turn.entry, turn.mail))

    def release(self) -> None:
        """Frees what was claimed and not handed out, or put back."""
        self._store.release_claims(self._owner)

    def mark_put_off(self) -> int:
        """Marks, after release(), the digests that wait for the daily limit alone; returns how many."""
        return self._limits.mark_put_off(self.started_at) if self._is_full else 0

    def _claim(self) -> None:
        most = CLAIM if self._most is None else min(CLAIM, self._most - self._taken)
        if most <= 0:
            return
        in_turns = self._daily_limit is not None
        real_now = datetime.now(UTC)
        found = self._store.claim(self.started_at, self._owner, most, real_now=real_now, in_turns=in_turns)
        self._taken += len(found)
        self._mails.prepare(found)
        self._claimed.extend(found)

    def _make(self) -> None:
        """Makes some mails; what one of them raises is raised when it is the first."""
        if not self._claimed:
            self._claim()
        while self._claimed and len(self._made) < MADE:
            try:
                mail = self._mails.make(self._claimed[0])
            except Exception:
                if self._made:
                    return
                raise
            self._made.append((self._claimed.popleft(), mail))

    def _take_place(self, turn: Turn) -> bool:
        """Whether there is one; those whom the limit cost a digest before have theirs kept free."""
        if self._daily_limit is None:
            return True
        is_first = turn.entry.digest is None or turn.entry.subscriber_id in self._owed
        reserved = 0 if is_first else len(self._owed)
        if not self._limits.reserve_message(self._daily_limit - reserved, turn.at):
            return False
        self._owed -= {turn.entry.subscriber_id}
        return True
