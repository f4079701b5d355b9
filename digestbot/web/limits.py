"""How often one network may do what costs others something: sliding windows in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass

NETWORKS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Rule:
    what: str  # rules of the same numbers are counted apart
    most: int
    per_s: float


SIGN_UPS = Rule("sign ups", 10, 3600)
LOGINS = Rule("logins", 10, 600)
PREVIEWS = Rule("previews", 120, 60)  # follow each key, after a pause in typing
SEARCHES = Rule("searches", 60, 60)
LIBRARIES = Rule("libraries", 10, 3600)  # of those who are subscribed; others are under SIGN_UPS


class Limits:
    """Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[Rule, str], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def allow(self, rule: Rule, network: str, at: float) -> bool:
        """Counts one; False where the rule is used up, and then nothing is counted."""
        with self._lock:
            times = self._seen.setdefault((rule, network), deque())
            self._seen.move_to_end((rule, network))
            while times and times[0] <= at - rule.per_s:
                times.popleft()
            while len(self._seen) > NETWORKS_KEPT:
                self._seen.popitem(last=False)
            if len(times) >= rule.most:
                return False
            times.append(at)
            return True
