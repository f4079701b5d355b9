"""The candidates of now, prepared once for all visitors, and what follows from them: previews, likeness, suggestions."""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from digestbot import ranking
from digestbot.choosing import LEXICAL, REFIT_AT, Candidates
from digestbot.model import Opinion, Paper, PaperId, Scored, Subscriber, TopicProfile, Vote
from digestbot.ranking.words import STOP_WORDS
from digestbot.storage import Storage

FORTNIGHT_DAYS = 14
OLDEST = timedelta(minutes=10)  # candidates are gathered anew after that, since the window moves on
ALIKE = 6  # papers of *more like this*
AMONG = 300  # the newest papers, among which those like an old one are looked for
LIKENESS_KEPT = 500
SUGGESTIONS = 12
_TERM_WORD = re.compile(r"[^\W_][\w+#-]*")


@dataclass(frozen=True, slots=True)
class Fortnight:
    """What a profile would have brought in the last 14 days: as many papers a day as wanted, the last day first."""

    by_day: Sequence[tuple[date, Sequence[PaperId]]]

    @property
    def days(self) -> int:
        return len(self.by_day)

    @property
    def papers(self) -> int:
        return sum(len(papers) for _, papers in self.by_day)


@dataclass(frozen=True)
class _State:
    mark: object
    candidates: Candidates

    @cached_property
    def terms(self) -> tuple[tuple[str, int], ...]:
        return suggestible(self.candidates.papers)


class Shelf:
    """Shared by threads. What it knows is at most ten minutes old, and never older than the last drop."""

    def __init__(self, window_days: int) -> None:
        self._window = timedelta(days=window_days)
        self._lock = threading.Lock()
        self._state: _State | None = None
        self._model: ranking.Model | None = None
        self._alike: OrderedDict[tuple[object, PaperId], list[PaperId]] = OrderedDict()

    def candidates(self, storage: Storage, now: datetime) -> Candidates:
        return self._current(storage, now).candidates

    def suggest(self, storage: Storage, now: datetime, begun: str) -> list[str]:
        """Terms of the last papers that go on from what was typed, the commonest first; of nothing, the commonest."""
        wanted = " ".join(begun.casefold().split())
        found = [term for term, _ in self._current(storage, now).terms if _begins(term, wanted)]
        return found[:SUGGESTIONS]

    def more_like(self, storage: Storage, paper: Paper, now: datetime) -> list[PaperId]:
        """The papers of the window most like this one, best first."""
        state = self._current(storage, now)
        key = (state.mark, paper.id)
        found = self._alike.get(key)
        if found is None:
            found = self._alike[key] = _alike(state.candidates, paper, now)
            while len(self._alike) > LIKENESS_KEPT:
                self._alike.popitem(last=False)
        return found

    def _current(self, storage: Storage, now: datetime) -> _State:
        mark = storage.browsing.mark()
        with self._lock:
            state = self._state
            if (
                state is None
                or state.mark != mark
                or not timedelta(0) <= now - state.candidates.now <= OLDEST
            ):
                state = self._state = _State(mark, self._gather(storage, now))
            return state

    def _gather(self, storage: Storage, now: datetime) -> Candidates:
        """As the pipeline gathers them, but for the statistics: those stored may be older, new ones are not stored."""
        papers = storage.papers.candidates(since=now - self._window, until=now)
        model = self._fitted(storage)
        trending = tuple(
            Scored(paper_id, score, None, (reason,))
            for paper_id, score, reason in ranking.trending(papers, now)
        )
        return Candidates(tuple(papers), model, ranking.index(model, papers), trending, now)

    def _fitted(self, storage: Storage) -> ranking.Model:
        count = storage.papers.count()
        stored = storage.models.find(LEXICAL)
        for model in (_load(stored), self._model):
            if model is not None and model.papers <= count <= model.papers * REFIT_AT:
                self._model = model
                return model
        self._model = ranking.fit(storage.papers.catalogue())
        return self._model


def fortnight(
    candidates: Candidates, subscriber: Subscriber, votes: Sequence[Vote], now: datetime
) -> Fortnight:
    """What the subscriber's topics and votes would have brought, sent before or not."""
    profile = TopicProfile(subscriber.preferences.topics, tuple(votes))
    [found] = ranking.rank(candidates.index, [profile], [set()], now=now, depth=len(candidates.papers))
    zone = ZoneInfo(subscriber.schedule.timezone)
    since = now - timedelta(days=FORTNIGHT_DAYS)
    by_day: dict[date, list[PaperId]] = {}
    for scored in found.scored:
        seen = candidates.by_id[scored.paper_id].first_seen
        if scored.score > subscriber.preferences.min_score and seen is not None and seen > since:
            by_day.setdefault(seen.astimezone(zone).date(), []).append(scored.paper_id)
    most = subscriber.preferences.max_papers
    return Fortnight([(day, by_day[day][:most]) for day in sorted(by_day, reverse=True)])


def suggestible(papers: Iterable[Paper]) -> tuple[tuple[str, int], ...]:
    """Phrases of two or three words that stand in at least two titles, and categories; the commonest first."""
    counted: Counter[str] = Counter()
    for paper in papers:
        found = set(paper.record.categories)
        found.update(_phrases(paper.record.title))
        counted.update(found)
    return tuple((term, count) for term, count in counted.most_common(3000) if count > 1)


def _phrases(title: str) -> Iterable[str]:
    for part in re.split(r"[:;,.?!()/|]", title.casefold()):
        words = _TERM_WORD.findall(part)
        for size in (2, 3):
            for start in range(len(words) - size + 1):
                some = words[start : start + size]
                if some[0] not in STOP_WORDS and some[-1] not in STOP_WORDS:
                    yield " ".join(some)


def _begins(term: str, wanted: str) -> bool:
    return term.casefold().startswith(wanted) or f" {wanted}" in term


def _alike(candidates: Candidates, paper: Paper, now: datetime) -> list[PaperId]:
    index = candidates.index
    if paper.id not in index.row_of:
        newest = sorted(candidates.papers, key=lambda p: -p.id)[:AMONG]
        index = ranking.index(candidates.model, newest, [paper])
    profile = TopicProfile(votes=(Vote(paper.id, Opinion.MORE, now),))
    [found] = ranking.rank(index, [profile], [set()], now=now, depth=ALIKE)
    return [scored.paper_id for scored in found.scored]


def _load(stored: object) -> ranking.Model | None:
    try:
        return ranking.load(stored) if isinstance(stored, bytes) else None
    except ranking.StaleModel:
        return None
