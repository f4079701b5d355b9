"""Which records speak of the same paper, what they say together, and what a batch of records changes (pure).

A paper has aliases: its ids, its title, and keys under which nearly equal titles meet. Records that share one are
compared; those found to be the same become one paper. The result never depends on the order of arrival, for all
different things ever said of a paper are kept (`versions`) and merged anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from rapidfuzz import fuzz

from digestbot.model import Paper, PaperId, PaperRecord, Revision
from digestbot.titles import abstract_key, author_key, title_key, title_words

SHORT_TITLE_WORDS = 4  # titles with fewer need a common author or the same abstract
NEAR_RATIO = 94.0  # of 100: two letters in thirty
MAX_NAMESAKES = 100  # a title or abstract that more papers have (`Editorial`) tells nothing
MAX_VERSIONS = 200  # different things said of one paper; more are an accident or an attack
_MAX_COMPANY = 20  # authors under which a short title is found
_KEY_LENGTH = 160  # database indexes hold no endless keys


# ---- identity ---------------------------------------------------------------------------------------------------


def aliases_of(record: PaperRecord) -> tuple[str, ...]:
    """Under what names this record's paper can be found, ids first. Sharing one is needed, not enough: `same_work`."""
    words = title_words(record.title)
    aliases = list(_ids(record))
    if len(words) >= SHORT_TITLE_WORDS:
        aliases.append("title:" + _bounded(title_key(record.title)))
    if len(words) < 2 * SHORT_TITLE_WORDS:  # with a hyphen more it may be short elsewhere
        aliases += _short_title(record, _MAX_COMPANY if len(words) < SHORT_TITLE_WORDS else 1)
    if abstract := abstract_key(record.abstract):
        aliases.append("abstract:" + _bounded(abstract, 0))
    if record.authors and len(words) >= SHORT_TITLE_WORDS:
        author = _bounded(author_key(record.authors[0]), 40)
        aliases.append(f"near:{author}:" + _bounded(" ".join(words[:3]), 60))
        aliases.append(f"near:{author}:" + _bounded(" ".join(words[-3:]), 60))
    return tuple(dict.fromkeys(aliases))


def _short_title(record: PaperRecord, authors: int) -> Iterable[str]:
    """A title of few words together with what has to agree: an author, else the abstract, else all there is."""
    title = "short:" + _bounded(title_key(record.title), 60)
    for name in record.authors[:authors]:
        yield f"{title}:{_bounded(author_key(name), 40)}"
    yield f"{title}:{_bounded(record.abstract or f'{record.url} {record.published}', 0)}"


def _ids(record: PaperRecord) -> Iterable[str]:
    if record.doi:
        yield "doi:" + record.doi
    if record.arxiv_id:
        yield "arxiv:" + record.arxiv_id


def _bounded(key: str, length: int = _KEY_LENGTH) -> str:
    """The key itself, or its beginning and a hash where it is longer than `length` characters."""
    if len(key) <= length:
        return key
    return key[:length] + "~" + hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=9).hexdigest()


def same_work(a: PaperRecord, b: PaperRecord) -> bool:
    """Whether two records speak of one paper: a common DOI or arXiv id; or the same title, unless both have
    different ids of one kind. Short and nearly equal titles need a common author or the same abstract."""
    ids_a, ids_b = frozenset(_ids(a)), frozenset(_ids(b))
    return bool(ids_a & ids_b) or (not _conflict(ids_a, ids_b) and _same_title(a, b))


def _conflict(a: Iterable[str], b: Iterable[str]) -> bool:
    """Whether both hold ids of one kind and none in common."""
    for kind in ("arxiv:", "doi:"):
        ids_a = {alias for alias in a if alias.startswith(kind)}
        ids_b = {alias for alias in b if alias.startswith(kind)}
        if ids_a and ids_b and not ids_a & ids_b:
            return True
    return False


def _same_title(a: PaperRecord, b: PaperRecord) -> bool:
    key_a, key_b = title_key(a.title), title_key(b.title)
    shortest = min(len(title_words(a.title)), len(title_words(b.title)))
    if key_a == key_b and shortest >= SHORT_TITLE_WORDS:
        return True
    if key_a != key_b and not _nearly_equal(key_a, key_b):
        return False
    return _agree(a, b)


def _nearly_equal(a: str, b: str) -> bool:
    """Whether two title keys differ by a slip of the pen. Other numbers make another paper (part I, part II)."""
    return _numerals(a) == _numerals(b) and fuzz.ratio(a, b, score_cutoff=NEAR_RATIO) > 0


def _numerals(key: str) -> tuple[str, str]:
    digits = "".join(character for character in key if character.isdigit())
    return digits, key[len(key.rstrip("ivx")) :]


def _agree(a: PaperRecord, b: PaperRecord) -> bool:
    if bare(a) == bare(b):
        return True
    abstract = abstract_key(a.abstract)
    if abstract and abstract == abstract_key(b.abstract):
        return True
    if a.abstract and a.abstract == b.abstract:
        return True
    return bool({author_key(name) for name in a.authors} & {author_key(name) for name in b.authors} - {""})


# ---- merging ----------------------------------------------------------------------------------------------------


def merge(records: Sequence[PaperRecord]) -> PaperRecord:
    """What several records say of one paper, field by field: of the highest version that says anything, the longest,
    then the smallest. Counts are the largest. Whatever the order of the records, the result is the same."""
    if len(records) == 1:
        return records[0]

    def best(values: Iterable[tuple[PaperRecord, str]]) -> PaperRecord | None:
        said = [
            (-(record.arxiv_version or 0), -len(text), text, i)
            for i, (record, text) in enumerate(values)
            if text
        ]
        return records[min(said)[3]] if said else None

    def text(name: str) -> str | None:
        chosen = best((record, str(getattr(record, name) or "")) for record in records)
        return getattr(chosen, name) if chosen else None

    def names(name: str) -> tuple[str, ...]:
        most = max(len(getattr(record, name)) for record in records)
        packed = [(r, "\n".join(getattr(r, name)) if len(getattr(r, name)) == most else "") for r in records]
        chosen = best(packed)
        return getattr(chosen, name) if chosen else ()

    def largest(name: str) -> int | None:
        return max(
            (value for record in records if (value := getattr(record, name)) is not None), default=None
        )

    dated = best((record, record.published.isoformat() if record.published else "") for record in records)
    numbered = best((record, record.arxiv_id or "") for record in records)
    return PaperRecord(
        title=text("title") or records[0].title,
        abstract=text("abstract") or "",
        authors=names("authors"),
        author_count=largest("author_count"),
        published=dated.published if dated else None,
        categories=names("categories"),
        url=text("url"),
        code_url=text("code_url"),
        arxiv_id=numbered.arxiv_id if numbered else None,
        arxiv_version=_version(records, numbered),
        doi=text("doi"),
        upvotes=largest("upvotes"),
        comments=largest("comments"),
    )


def _version(records: Sequence[PaperRecord], numbered: PaperRecord | None) -> int | None:
    if numbered is None:
        return None
    versions = [r.arxiv_version for r in records if r.arxiv_id == numbered.arxiv_id and r.arxiv_version]
    return max(versions, default=None)


def bare(record: PaperRecord) -> PaperRecord:
    """The record without its counts, which grow by the hour: what makes one version differ from another."""
    if record.upvotes is None and record.comments is None:
        return record
    return PaperRecord(  # dataclasses.replace takes five times as long
        record.title,
        record.abstract,
        record.authors,
        record.author_count,
        record.published,
        record.categories,
        record.url,
        record.code_url,
        record.arxiv_id,
        record.arxiv_version,
        record.doi,
    )


def version_key(version: PaperRecord) -> int:
    """A hash of 63 bits of what a bare record says, its counts aside."""
    said = "\x1e".join(
        (
            version.title,
            version.abstract,
            "\x1f".join(version.authors),
            "\x1f".join(version.categories),
            f"{version.author_count}\x1e{version.published}\x1e{version.url}\x1e{version.code_url}",
            f"{version.arxiv_id}\x1e{version.arxiv_version}\x1e{version.doi}",
        )
    )
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big") >> 1


# ---- what a batch changes ---------------------------------------------------------------------------------------


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
        if matches:
            work = index.join(matches)
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
    if one.key not in work.versions and len(work.versions) < MAX_VERSIONS:
        work.versions[one.key] = one.version
        work.record = _merge_versions(work, before, entry)
    elif _largest(before.upvotes, entry.upvotes) != before.upvotes or (
        _largest(before.comments, entry.comments) != before.comments
    ):
        upvotes, comments = _largest(before.upvotes, entry.upvotes), _largest(before.comments, entry.comments)
        work.record = replace(before, upvotes=upvotes, comments=comments)
    if work.first_seen is None and seen.at is not None:  # so far only in somebody's library
        work.first_seen, work.mailable = seen.at, seen.mailable and one.mailable
        return Effect.NEW
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
        """All works that this entry proves to be one."""
        namesakes = [works for alias in entry.aliases if (works := self._works.get(alias))]
        if not namesakes:
            return []
        candidates = dict.fromkeys(
            work for works in namesakes if len(works) <= MAX_NAMESAKES for work in works
        )
        ids = set(_ids(entry.record))
        matches = [work for work in candidates if ids & work.aliases]
        for work in matches:
            ids |= {alias for alias in work.aliases if alias.startswith(("doi:", "arxiv:"))}
        others = [work for work in candidates if work not in matches]
        # In a fixed order, for a title without ids fits the first of several papers that contradict each other.
        for work in sorted(others, key=lambda work: sorted(work.aliases)):
            if not _conflict(ids, work.aliases) and any(
                _same_title(entry.record, one) for one in work.versions.values()
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
        first.aliases |= work.aliases
        first.versions.update(work.versions)
        first.record = _merge_versions(first, first.record, work.record)
        seen = [w for w in (first, work) if w.first_seen is not None]
        if seen:
            earliest = min(seen, key=lambda w: (w.first_seen, not w.mailable))
            first.first_seen, first.mailable = earliest.first_seen, earliest.mailable
        for alias in work.aliases:
            self._works[alias].pop(work, None)
        self.put(first, work.aliases)
        work.into = first


def _survivor(work: Work) -> Work:
    while work.into is not None:
        work = work.into
    return work
