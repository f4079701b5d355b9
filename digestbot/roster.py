"""Many subscribers at once: import and export of the written form as JSON Lines, a JSON list or CSV."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from digestbot.catalogue import Entry, Seen
from digestbot.errors import UsageError
from digestbot.model import (
    DropReport,
    Opinion,
    Paper,
    PaperId,
    PaperRecord,
    SlotOutcome,
    Status,
    Subscriber,
    Vote,
)
from digestbot.storage import Storage
from digestbot.storage.subscribers import email_key
from digestbot.subscriber_form import NOBODY, FormError, form_from_csv, overlay, to_form
from digestbot.subscriptions import Office
from digestbot.timestamps import timestamp

BLOCK = 1000
MAX_PROBLEMS = 100  # named before the rest is only counted
_ENDED = (Status.UNSUBSCRIBED, Status.SUPPRESSED)


@dataclass
class ImportReport:
    """Counts by what happened; addresses whose line asked for more than they consented to, or that a sync misses."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: list[dict[str, str]] = field(default_factory=list)  # email, and the status that it keeps
    missing: list[str] = field(default_factory=list)  # known, but not in the file


@dataclass(frozen=True, slots=True)
class Line:
    number: int  # 1-based, of the file
    form: Mapping[str, object]
    problem: str = ""  # why it is no form at all


def import_subscribers(office: Office, path: Path, *, sync: bool = False) -> ImportReport:
    """Adds and changes subscribers as the file says, all or nothing.

    Raises UsageError that names every wrong line; then nothing was changed.
    """
    count = check_file(path)
    report = ImportReport()
    with office.storage.transaction():
        lines = read_lines(path)
        for _ in range(0, count, BLOCK):
            _import_block(office, list(itertools.islice(lines, BLOCK)), report)
        if sync:
            named = {email_key(str(line.form["email"])) for line in read_lines(path)}
            everybody = office.storage.subscribers.everybody()
            report.missing = [s.email for s in everybody if email_key(s.email) not in named]
    return report


def check_file(path: Path) -> int:
    """The number of lines of a file without a mistake. Raises UsageError naming each wrong line otherwise."""
    problems: list[str] = []
    seen: dict[str, int] = {}
    count = 0
    for line in read_lines(path):
        count += 1
        try:
            if line.problem:
                raise FormError([line.problem])
            if "email" not in line.form:
                raise FormError(["email: is missing"])
            key = email_key(overlay(NOBODY, _plain(line.form)).email)
            if key in seen:
                raise FormError([f"email: is the same as in line {seen[key]}"])
            seen[key] = line.number
        except FormError as error:
            problems += [f"{path}: line {line.number}: {problem}" for problem in error.problems]
    if problems:
        rest = len(problems) - MAX_PROBLEMS
        more = [f"... and {rest} more"] if rest > 0 else []
        raise UsageError("\n".join([*problems[:MAX_PROBLEMS], *more, "nothing was imported"]))
    return count


def read_lines(path: Path) -> Iterator[Line]:
    """The forms of a file. Raises UsageError for one that is none of JSON Lines, a JSON list and CSV."""
    try:
        with _open(path) as file:
            first = _first_line(file)
            if first.lstrip().startswith("["):
                yield from _json_list(path, file.read())
            elif first.lstrip().startswith("{"):
                yield from _json_lines(path, file)
            elif "email" in next(csv.reader([first]), []):
                yield from _csv_rows(path, file)
            elif "email" in first.replace("\t", ";").strip().split(";"):
                raise UsageError(
                    f"{path}: line 1: separate the fields with commas; `;` is for topics and days"
                )
            elif first:
                raise UsageError(f"{path}: line 1: neither JSON nor a CSV header with a field `email`")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: line {_undecodable(path)}: is not UTF-8 text") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _open(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig", newline="")


def _open_bytes(path: Path) -> BinaryIO:
    """Unpacked; `.gz` is known by its first bytes."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.GzipFile(path)) if packed else path.open("rb")


def _undecodable(path: Path) -> int:
    """The first line that is no UTF-8: the error itself knows only its place in a block."""
    with _open_bytes(path) as file:
        lines = enumerate(file, 1)
        return next((number for number, line in lines if line.decode(errors="ignore").encode() != line), 1)


def _first_line(file: io.TextIOWrapper) -> str:
    """The first line that holds something, the file being at its begin again."""
    first = next((line for line in file if line.strip()), "")
    file.seek(0)
    if first.startswith("\ufeff"):
        first = first[1:]
    return first


def _json_list(path: Path, text: str) -> Iterator[Line]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not valid JSON: {error}") from error
    for number, item in enumerate(items, 1):
        yield _line(number, item)


def _json_lines(path: Path, file: io.TextIOWrapper) -> Iterator[Line]:
    for number, text in enumerate(file, 1):
        if text.strip():
            try:
                yield _line(number, json.loads(text.lstrip("\ufeff")))
            except (ValueError, RecursionError) as error:
                yield Line(number, {}, f"is not valid JSON: {error}")


def _csv_rows(path: Path, file: io.TextIOWrapper) -> Iterator[Line]:
    rows = csv.DictReader(file)
    try:
        for row in rows:
            if None in row:
                yield Line(rows.line_num, {}, "has more cells than the header")
                continue
            cells = {(name or "").lstrip("\ufeff").strip(): cell or "" for name, cell in row.items()}
            yield Line(rows.line_num, form_from_csv(cells))
    except csv.Error as error:
        raise UsageError(f"{path}: line {rows.line_num}: {error}") from error


def _line(number: int, item: object) -> Line:
    return Line(number, item) if isinstance(item, dict) else Line(number, {}, "is not a JSON object")


_LEDGER = ("votes", "slots", "sent")  # what `export --full` adds


def _plain(form: Mapping[str, object]) -> dict[str, object]:
    """The form without what `export --full` adds."""
    return {name: value for name, value in form.items() if name not in _LEDGER}


def _import_block(office: Office, lines: list[Line], report: ImportReport) -> None:
    store = office.storage.subscribers
    emails = [str(line.form["email"]) for line in lines]
    wanted = {email: overlay(NOBODY, {"email": email}).email for email in emails}
    known = store.find_many(list(wanted.values()))
    suppressed = office.storage.suppressions.among(list(wanted.values()))
    new: list[Subscriber] = []
    changes: list[tuple[Subscriber, Subscriber]] = []
    for line, email in zip(lines, emails, strict=True):
        key = email_key(wanted[email])
        before = known.get(key)
        if before is None:
            new.append(_new(line, key in suppressed, report))
            continue
        after = _changed(before, line, report)
        if after == before:
            report.unchanged += 1
        else:
            changes.append((before, after))
    added = office.enrol(new, how="import")
    changed = office.store_changes(changes)
    _adopt_ledgers(office, lines, [*known.values(), *added, *changed])
    report.added += len(new)
    report.changed += len(changes)


def _adopt_ledgers(office: Office, lines: list[Line], subscribers: list[Subscriber]) -> None:
    """Takes over votes, ended slots and what was sent, where the lines have them (`export --full`)."""
    full = [line for line in lines if any(name in line.form for name in _LEDGER)]
    if not full:
        return
    by_key = {email_key(s.email): s for s in subscribers}
    try:
        ledgers = [read_ledger(line.form) for line in full]
        names = {name for ledger in ledgers for name in ledger.papers}
        ids = _learn_papers(office, sorted(names, key=repr))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"votes, slots or sent are not as `export --full` writes them: {error!r}") from error
    for line, ledger in zip(full, ledgers, strict=True):
        subscriber = by_key[email_key(overlay(NOBODY, {"email": line.form["email"]}).email)]
        votes = [Vote(ids[name], opinion, at) for name, opinion, at in ledger.votes]
        office.storage.subscribers.vote(subscriber.id, votes)
        sent = {slot: [ids[name] for name in papers] for slot, papers in ledger.sent.items()}
        office.storage.transfer.adopt(subscriber.id, ledger.slots, sent, office.now)


def _learn_papers(office: Office, names: list[PaperRecord]) -> dict[PaperRecord, PaperId]:
    """Papers that a ledger names: known here, or learnt as a library's are, seen by nobody until a drop has them."""
    papers = office.storage.papers
    drop = papers.begin_drop("imported ledger", office.now)
    _, ids = papers.add(drop, [Entry.of(name) for name in names], Seen(None, mailable=False))
    papers.finish_drop(drop, "library", DropReport("imported ledger", "ledger"))
    return dict(zip(names, ids, strict=True))


@dataclass(frozen=True, slots=True)
class Ledger:
    """What `export --full` says of one subscriber beyond the form."""

    votes: tuple[tuple[PaperRecord, Opinion, datetime], ...]
    slots: dict[date, str]
    sent: dict[date, tuple[PaperRecord, ...]]

    @property
    def papers(self) -> Iterator[PaperRecord]:
        yield from (name for name, _, _ in self.votes)
        yield from itertools.chain.from_iterable(self.sent.values())


def read_ledger(form: Mapping[str, Any]) -> Ledger:
    """Raises KeyError, TypeError or ValueError where the form is not as `export --full` writes it."""
    return Ledger(
        votes=tuple(
            (_record(v["paper"]), Opinion(v["opinion"]), datetime.fromisoformat(v["at"]))
            for v in form.get("votes", ())
        ),
        slots={
            date.fromisoformat(slot): SlotOutcome(end).value for slot, end in form.get("slots", {}).items()
        },
        sent={
            date.fromisoformat(slot): tuple(_record(paper) for paper in papers)
            for slot, papers in form.get("sent", {}).items()
        },
    )


def _record(name: Mapping[str, Any]) -> PaperRecord:
    return PaperRecord(
        title=str(name["title"]),
        abstract=str(name["abstract"]),
        authors=tuple(map(str, name["authors"])),
        arxiv_id=name["arxiv_id"],
        doi=name["doi"],
    )


def _new(line: Line, is_suppressed: bool, report: ImportReport) -> Subscriber:
    subscriber = overlay(replace(NOBODY, status=Status.CONFIRMED), _plain(line.form))
    if is_suppressed and subscriber.status is not Status.SUPPRESSED:
        report.kept.append({"email": subscriber.email, "status": Status.SUPPRESSED.value})
        return replace(subscriber, status=Status.SUPPRESSED)
    return subscriber


def _changed(before: Subscriber, line: Line, report: ImportReport) -> Subscriber:
    after = replace(overlay(before, _plain(line.form)), email=before.email)
    if before.status in _ENDED and after.status in (Status.CONFIRMED, Status.UNCONFIRMED):
        if "status" in line.form:
            report.kept.append({"email": before.email, "status": before.status.value})
        return replace(after, status=before.status)
    return after


def export_subscribers(storage: Storage, *, full: bool = False) -> Iterator[dict[str, object]]:
    """Everybody's form; `full` adds votes, ended slots and what was sent, papers by title and ids."""
    everybody = storage.subscribers.everybody()
    while block := list(itertools.islice(everybody, BLOCK)):
        yield from _full_forms(storage, block) if full else map(to_form, block)


def export_one(storage: Storage, subscriber: Subscriber) -> dict[str, object]:
    """All that is known of one subscriber: the full form, and how consent came about."""
    consents = [
        {"at": timestamp(at), "how": how, "text": detail}
        for at, how, detail in storage.subscribers.consents(subscriber.id)
    ]
    [form] = _full_forms(storage, [subscriber])
    return {**form, "consents": consents}


def _full_forms(storage: Storage, block: list[Subscriber]) -> Iterator[dict[str, object]]:
    ids = [s.id for s in block]
    votes = storage.subscribers.votes(ids)
    sent = storage.transfer.sent(ids)
    named = {v.paper_id for said in votes.values() for v in said}
    named |= {paper for slots in sent.values() for papers in slots.values() for paper in papers}
    papers = {i: _paper_name(paper) for i, paper in storage.papers.papers(sorted(named)).items()}
    slots = storage.transfer.outcomes(ids)
    for s in block:
        yield {
            **to_form(s),
            "votes": [
                {"paper": papers[v.paper_id], "opinion": v.opinion, "at": timestamp(v.at)}
                for v in votes.get(s.id, ())
                if v.paper_id in papers
            ],
            "slots": {slot.isoformat(): outcome for slot, outcome in slots.get(s.id, {}).items()},
            "sent": {
                slot.isoformat(): [papers[paper] for paper in found if paper in papers]
                for slot, found in sent.get(s.id, {}).items()
            },
        }


def _paper_name(paper: Paper) -> dict[str, object]:
    """What tells a paper from all others, on whatever machine."""
    record = paper.record
    return {
        "title": record.title,
        "abstract": record.abstract,
        "authors": list(record.authors),
        "arxiv_id": record.arxiv_id,
        "doi": record.doi,
    }
