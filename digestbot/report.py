"""What one pass did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from digestbot.ingest import IngestPass
from digestbot.model import DropReport, EntryState, SubscriberId
from digestbot.outbox import DeliveryReport
from digestbot.timestamps import timestamp

REPORTED_STATES = (
    EntryState.SENT,
    EntryState.DEFERRED,
    EntryState.BOUNCED,
    EntryState.FAILED,
    EntryState.IN_DOUBT,
    EntryState.HELD,
    EntryState.CANCELLED,
)


@dataclass
class DigestCounts:
    composed: int = 0
    empty: int = 0
    late: int = 0
    paused: int = 0

    def add(self, other: DigestCounts) -> None:
        self.composed += other.composed
        self.empty += other.empty
        self.late += other.late
        self.paused += other.paused


@dataclass
class RunReport:
    """For people, and as CONTRACT.md's JSON."""

    now: datetime
    drops: IngestPass = field(default_factory=IngestPass)
    digests: DigestCounts = field(default_factory=DigestCounts)
    delivery: DeliveryReport | None = None  # None: nothing was to be delivered, as in a dry run
    damaged: Mapping[SubscriberId, str] | None = None  # who is due and cannot be read; None: nobody looked

    @property
    def rejected_drops(self) -> list[DropReport]:
        return [report for report in self.drops.reports if not report.usable and not report.held]

    @property
    def did_something(self) -> bool:
        digests, delivery = self.digests, self.delivery
        ended = digests.composed + digests.empty + digests.late + digests.paused
        return bool(self.drops.reports or ended or (delivery and (delivery.counts or delivery.stopped)))

    @property
    def is_complete(self) -> bool:
        """False: something was left undone, and the exit status says so."""
        rejected = any(report.rejected for report in self.drops.reports)
        return not (rejected or self.damaged) and (self.delivery is None or self.delivery.stopped is None)

    def to_json(self) -> dict[str, object]:
        reports, counts = self.drops.reports, self.delivery.counts if self.delivery else {}
        return {
            "now": timestamp(self.now),
            "drops": {"read": len(reports), "rejected": len(self.rejected_drops)},
            "papers": {
                "new": sum(report.new for report in reports),
                "known": sum(report.known for report in reports),
                "updated": sum(report.updated for report in reports),
                "rejected": sum(len(report.rejected) for report in reports),
            },
            "digests": {
                "composed": self.digests.composed,
                "empty": self.digests.empty,
                "late": self.digests.late,
            },
            "delivery": {state.value: counts.get(state, 0) for state in REPORTED_STATES},
        }
