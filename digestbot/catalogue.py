"""What a batch of records changes in the catalogue (pure).

Records that identity.py proves to be the same become one paper. The result never depends on the order of arrival, for
all different things ever said of a paper are kept (`versions`) and merged anew. Drops say what a paper is; anybody may
upload a library, so that names papers and says nothing of what a drop has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from digestbot.identity import (
    aliases_of,
    bare,
    contradict,
    ids_of,
    merge,
    same_title,
    version_key,
)
from digestbot.model import Paper, PaperId, PaperRecord, Revision

MAX_NAMESAKES = 100  # a title or abstract that more papers have (`Editorial`) tells nothing
MAX_VERSIONS = 200  # different things said of one paper; more are an accident or an attack


class Effect(StrEnum):
    """What one entry did to the catalogue."""

    NEW = "new"  # a paper that no drop had before
    UPDATED = "updated"  # a stored field changed, or two papers proved to be one
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Known:
    """A paper of the catalogue with all its names and all different things said of it (bare records by version_key)."""

    paper: Paper
    aliases: frozenset[str]
    versions: Mapping[int, PaperRecord]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a batch with what is needed of it more than once."""

    record: PaperRecord
    aliases: tuple[str, ...]
    version: PaperRecord  # bare
    key: int  # of the version
    mailable: bool = True  # False: a revision

    def __reduce__(self) -> tuple[type[Entry], tuple[object, ...]]:
        fields = self.record, self.aliases, self.version, self.key, self.mailable
        return Entry, fields  # as PaperRecord's

    @classmethod
    def of(cls, item: PaperRecord | Revision) -> Entry:
        record = item.record if isinstance(item, Revision) else item
        version = bare(record)
        return cls(record, aliases_of(record), version, version_key(version), mailable=record is item)


@dataclass(frozen=True, slots=True)
class Seen:
    """The circumstances of a batch. at None: from a subscriber's library."""

    at: datetime | None
    mailable: bool = True


@dataclass(slots=True, eq=False)
class Work:
    """One paper after the batch. The storage writes what `was` is not."""

    record: PaperRecord
    first_seen: datetime | None
    mailable: bool
    aliases: set[str]
    versions: dict[int, PaperRecord]  # bare, by key
    was: list[Known] = field(
        default_factory=list
    )  # none: new; several: merged into the one of the smallest id
    into: Work | None = None  # what took this one up, while a batch is decided

    @property
    def id(self) -> PaperId | None:
        return self.was[0].paper.id if self.was else None

    @property
    def is_hidden(self) -> bool:
        """Whether only libraries have it so far."""
        return self.first_seen is None

    @property
    def is_revealed(self) -> bool:
        """Whether the batch has what only a library had: of what the library said nothing is left."""
        return not self.is_hidden and any(known.paper.first_seen is None for known in self.was)

    @property
    def is_unchanged(self) -> bool:
        """Whether there is nothing to write of it."""
        if len(self.was) != 1:
            return False
        (was,) = self.was
        return (
            self.record == was.paper.record
            and (self.first_seen, self.mailable) == (was.paper.first_seen, was.paper.mailable)
            and len(self.versions) == len(was.versions)  # both only grow
            and len(self.aliases) == len(was.aliases)
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What a batch changes: the works it touched, and for each entry its effect and its work."""

    works: tuple[Work, ...]
    effects: tuple[Effect, ...]
    work_of_entry: tuple[Work, ...]


def decide(known: Iterable[Known], entries: Sequence[Entry], seen: Seen) -> Change:
    """What the entries change, given all known papers that share an alias with one of them. Stores nothing."""
    index = _Index(known)
    effects: list[Effect] = []
    works: list[Work] = []
    for entry in entries:
        matches = index.find(entry)
        if matches and seen.at is None:
            works.append(matches[0])
            effects.append(Effect.KNOWN)
            continue
        if matches:
            work = index.join(matches)
            if work.is_hidden:
                index.forget(work)
            effects.append(_add(work, entry, seen, merged=len(matches) > 1))
        else:
            mailable = seen.mailable and entry.mailable
            work = Work(entry.record, seen.at, mailable, set(entry.aliases), {entry.key: entry.version})
            effects.append(Effect.NEW)
        if entry.key in work.versions:
            work.aliases.update(entry.aliases)
            index.put(work, entry.aliases)
        works.append(work)
    final = [_survivor(work) for work in works]
    return Change(tuple(dict.fromkeys(final)), tuple(effects), tuple(final))


def _add(work: Work, one: Entry, seen: Seen, *, merged: bool) -> Effect:
    """Takes one more record of a known paper into it."""
    before, entry = work.record, one.record
    if work.is_hidden:
        work.record, work.versions = entry, {one.key: one.version}
        work.first_seen, work.mailable = seen.at, seen.mailable and one.mailable
        return Effect.NEW
    if one.key not in work.versions and len(work.versions) < MAX_VERSIONS:
        work.versions[one.key] = one.version
        work.record = _merge_versions(work, before, entry)
    elif _largest(before.upvotes, entry.upvotes) != before.upvotes or (
        _largest(before.comments, entry.comments) != before.comments
    ):
        upvotes, comments = _largest(before.upvotes, entry.upvotes), _largest(before.comments, entry.comments)
        work.record = replace(before, upvotes=upvotes, comments=comments)
    if seen.at is not None and work.first_seen is not None and seen.at < work.first_seen:
        work.first_seen = seen.at
    return Effect.UPDATED if merged or work.record != before else Effect.KNOWN


def _merge_versions(work: Work, *counted: PaperRecord) -> PaperRecord:
    merged = merge(tuple(work.versions.values()))
    upvotes = comments = None
    for record in counted:
        upvotes, comments = _largest(upvotes, record.upvotes), _largest(comments, record.comments)
    return replace(merged, upvotes=upvotes, comments=comments)


def _largest(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)


class _Index:
    """Works by alias, while a batch is decided."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._works: dict[str, dict[Work, None]] = {}
        for one in known:
            paper = one.paper
            aliases, versions = set(one.aliases), dict(one.versions)
            work = Work(paper.record, paper.first_seen, paper.mailable, aliases, versions, [one])
            self.put(work, one.aliases)

    def put(self, work: Work, aliases: Iterable[str]) -> None:
        for alias in aliases:
            self._works.setdefault(alias, {})[work] = None

    def find(self, entry: Entry) -> list[Work]:
        """All works that this entry proves to be one, those that drops have first: what a library said of the others
        tells nothing about them."""
        namesakes = [works for alias in entry.aliases if (works := self._works.get(alias))]
        if not namesakes:
            return []
        candidates = dict.fromkeys(
            work for works in namesakes if len(works) <= MAX_NAMESAKES for work in works
        )
        matches: list[Work] = []
        for hidden in (False, True):
            matches += self._same(entry, matches, [work for work in candidates if work.is_hidden is hidden])
        return matches

    def _same(self, entry: Entry, known: Sequence[Work], candidates: Sequence[Work]) -> list[Work]:
        """Those that the entry, together with the works that are `known` to be the same, proves to be one."""
        ids = set(ids_of(entry.record))
        matches = [work for work in candidates if ids & work.aliases]
        for work in (*known, *matches):
            ids |= {alias for alias in work.aliases if alias.startswith(("doi:", "arxiv:"))}
        others = [work for work in candidates if work not in matches]
        # In a fixed order, for a title without ids fits the first of several papers that contradict each other.
        for work in sorted(others, key=lambda work: sorted(work.aliases)):
            if not contradict(ids, work.aliases) and any(
                same_title(entry.record, one) for one in work.versions.values()
            ):
                matches.append(work)
                ids |= {alias for alias in work.aliases if alias.startswith(("doi:", "arxiv:"))}
        return matches

    def join(self, works: list[Work]) -> Work:
        """One work of several; the paper of the smallest id survives, and how it came first decides of mailing."""
        works = sorted(works, key=lambda work: (work.id is None, work.id or 0))
        first, *rest = works
        for work in rest:
            self._absorb(first, work)
        return first

    def _absorb(self, first: Work, work: Work) -> None:
        first.was += work.was
        if first.is_hidden and not work.is_hidden:
            self.forget(first)
            first.aliases, first.versions, first.record = set(work.aliases), dict(work.versions), work.record
        elif first.is_hidden == work.is_hidden:
            first.aliases |= work.aliases
            first.versions.update(work.versions)
            first.record = _merge_versions(first, first.record, work.record)
        seen = [w for w in (first, work) if w.first_seen is not None]
        if seen:
            earliest = min(seen, key=lambda w: (w.first_seen, not w.mailable))
            first.first_seen, first.mailable = earliest.first_seen, earliest.mailable
        self.forget(work)
        self.put(first, first.aliases)
        work.into = first

    def forget(self, work: Work) -> None:
        """Takes all its names from a work, which is found no more."""
        for alias in work.aliases:
            self._works[alias].pop(work, None)
        work.aliases = set()


def _survivor(work: Work) -> Work:
    while work.into is not None:
        work = work.into
    return work
