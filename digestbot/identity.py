"""Which records speak of the same paper, and what they say together (pure).

A paper has aliases: its ids, its title, and keys under which nearly equal titles meet. Records that share one are
compared; those found to be the same are merged, in any order to the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from digestbot.model import PaperRecord
from digestbot.titles import abstract_key, author_key, title_key, title_words

SHORT_TITLE_WORDS = 4  # titles with fewer need a common author or the same abstract
NEAR_RATIO = 94.0  # of 100: two letters in thirty
_MAX_COMPANY = 20  # authors under which a short title is found
_KEY_LENGTH = 160  # database indexes hold no endless keys


# ---- identity ---------------------------------------------------------------------------------------------------


def aliases_of(record: PaperRecord) -> tuple[str, ...]:
    """Under what names this record's paper can be found, ids first. Sharing one is needed, not enough: `same_work`."""
    words = title_words(record.title)
    aliases = list(ids_of(record))
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


def ids_of(record: PaperRecord) -> Iterable[str]:
    """The aliases that are ids."""
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
    ids_a, ids_b = frozenset(ids_of(a)), frozenset(ids_of(b))
    return bool(ids_a & ids_b) or (not contradict(ids_a, ids_b) and same_title(a, b))


def contradict(a: Iterable[str], b: Iterable[str]) -> bool:
    """Whether both hold ids of one kind and none in common."""
    for kind in ("arxiv:", "doi:"):
        ids_a = {alias for alias in a if alias.startswith(kind)}
        ids_b = {alias for alias in b if alias.startswith(kind)}
        if ids_a and ids_b and not ids_a & ids_b:
            return True
    return False


def same_title(a: PaperRecord, b: PaperRecord) -> bool:
    """Whether the titles are the same or nearly so, and what else has to agree does."""
    key_a, key_b = title_key(a.title), title_key(b.title)
    shortest = min(len(title_words(a.title)), len(title_words(b.title)))
    if key_a == key_b and shortest >= SHORT_TITLE_WORDS:
        return True
    if key_a != key_b and not _nearly_equal(key_a, key_b):
        return False
    return _agree(a, b)


def _nearly_equal(a: str, b: str) -> bool:
    """Whether two title keys differ by a slip of the pen. Other numbers make another paper (part I, part II)."""
    from rapidfuzz import fuzz

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
