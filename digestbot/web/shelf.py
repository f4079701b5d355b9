"""The candidates of now, prepared once for all visitors, and what follows from them: previews, likeness, suggestions."""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

from digestbot import ranking
from digestbot.choosing import Candidates
from digestbot.model import Opinion, Paper, PaperId, Scored, Subscriber, TopicProfile, Vote
from digestbot.ranking.words import STOP_WORDS
from digestbot.schedule import zone_of
from digestbot.semantics import model_name, stored_embeddings
from digestbot.storage import Storage

FORTNIGHT_DAYS = 14
OLDEST = timedelta(minutes=10)  # candidates are gathered anew after that, since the window moves on
ALIKE = 6  # papers of *more like this*
LIKENESS_KEPT = 500
FITTED_HERE = 500  # papers, up to which a page fits the statistics itself
FITTED_AT_MOST = 2000  # the newest, where the scheduler has stored none
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


@dataclass(frozen=True, slots=True)
class _State:
    mark: object
    candidates: Candidates


@dataclass(frozen=True, slots=True)
class _Terms:
    mark: object
    terms: Sequence[str]


class Shelf:
    """Shared by threads. What it knows is at most ten minutes old, and never older than the last drop."""

    def __init__(self, window_days: int, embedder: ranking.Embedder | None = None) -> None:
        """`embedder`: the mails' one, None where they are ranked by words alone."""
        self._embedder = embedder
        self._window = timedelta(days=window_days)
        self._lock = threading.Lock()
        self.ranking = (
            threading.Lock()
        )  # held while ranking: rankers remember what they read, and two threads disturb it
        self._state: _State | None = None
        self._model: ranking.Model | None = None
        self._terms: _Terms | None = None
        self._alike: OrderedDict[tuple[object, PaperId], list[PaperId]] = OrderedDict()

    def candidates(self, storage: Storage, now: datetime) -> Candidates:
        return self._current(storage, now).candidates

    def suggest(self, storage: Storage, now: datetime, begun: str) -> list[str]:
        """Terms of the last papers that go on from what was typed, the commonest first; of nothing, the commonest."""
        wanted = " ".join(begun.casefold().split())
        known, mark = self._terms, storage.browsing.mark()
        if known is None or known.mark != mark:
            papers = storage.papers.candidates(since=now - self._window, until=now)
            known = self._terms = _Terms(mark, suggestible(papers))
        return list(islice((term for term in known.terms if _begins(term, wanted)), SUGGESTIONS))

    def more_like(self, storage: Storage, paper: Paper, now: datetime) -> list[PaperId]:
        """The papers of the window most like this one, best first."""
        state = self._current(storage, now)
        key = (state.mark, paper.id)
        found = self._alike.get(key)
        if found is None:
            with self.ranking:
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
        embedder = self._embedder if model.encoder else None
        known = stored_embeddings(storage, embedder, papers)
        index = ranking.index(model, papers, embedder=embedder, embeddings=known)
        return Candidates(tuple(papers), model, index, trending, now)

    def _fitted(self, storage: Storage) -> ranking.Model:
        """Statistics as the scheduler stored them last: fitting takes 2 ms a paper, too long for who waits for a page."""
        count = storage.papers.count()
        model = _load(storage.models.find(model_name(self._embedder))) or self._model
        is_current = model is not None and model.is_current(count)
        if model is None or (count <= FITTED_HERE and not is_current):
            encoder = self._embedder.fingerprint if self._embedder else None
            vectors = storage.models.vectors(encoder) if encoder else None
            model = ranking.fit(storage.browsing.newest(FITTED_AT_MOST), encoder=encoder, embeddings=vectors)
        self._model = model
        return model


def fortnight(
    candidates: Candidates, ranker: ranking.Ranker, subscriber: Subscriber, votes: Sequence[Vote]
) -> Fortnight:
    """What the subscriber's topics and votes would have brought, sent before or not.

    ranker: of the candidates, with what the votes are on.
    """
    now = candidates.now
    profile = TopicProfile(subscriber.preferences.topics, tuple(votes))
    [found] = ranker.rank([profile], [set()], now=now, depth=len(candidates.papers))
    zone = zone_of(subscriber.schedule.timezone)
    since = now - timedelta(days=FORTNIGHT_DAYS)
    by_day: dict[date, list[PaperId]] = {}
    for scored in found.scored:
        seen = candidates.by_id[scored.paper_id].first_seen
        if scored.score > subscriber.preferences.min_score and seen is not None and seen > since:
            by_day.setdefault(seen.astimezone(zone).date(), []).append(scored.paper_id)
    most = subscriber.preferences.max_papers
    return Fortnight([(day, by_day[day][:most]) for day in sorted(by_day, reverse=True)])


def suggestible(papers: Iterable[Paper]) -> tuple[str, ...]:
    """Phrases of two or three words that stand in at least two titles, and categories; the commonest first."""
    counted: Counter[str] = Counter()
    for paper in papers:
        found = set(paper.record.categories)
        found.update(_phrases(paper.record.title))
        counted.update(found)
    return tuple(term for term, count in counted.most_common(3000) if count > 1)


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
    ranker = candidates.ranker.with_others([paper])
    profile = TopicProfile(votes=(Vote(paper.id, Opinion.MORE, now),))
    [found] = ranker.rank([profile], [set()], now=now, depth=ALIKE)
    return [scored.paper_id for scored in found.scored]


def _load(stored: object) -> ranking.Model | None:
    try:
        return ranking.load(stored) if isinstance(stored, bytes) else None
    except ranking.StaleModel:
        return None
