"""From drops to the catalogue: read, recognise, take what is new, and say what became of every entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from statistics import median

from digestbot.catalogue import Effect, Entry, Seen
from digestbot.crew import make_ahead
from digestbot.drops.folder import DropFolder, Waiting, shown
from digestbot.errors import DigestbotError, DropError, UsageError
from digestbot.model import DropId, DropReport, PaperId, PaperRecord, Rejection
from digestbot.storage.drops import DropStore
from digestbot.storage.papers import PaperStore

BATCH = 500  # entries decided and written at once
AHEAD_FROM_BYTES = 2**20  # larger drops are read by a process of their own
MAX_REJECTIONS = 100_000  # a drop with more is read no further
HOLD_FACTOR = 5  # times the usual number of papers
HOLD_FROM_DROP = 5  # what is usual takes some drops to know
USUAL_DROPS = 10

Progress = Callable[[Path, int, int], None]  # the drop, bytes read, bytes altogether


@dataclass(frozen=True, slots=True)
class IngestPass:
    """What one look into the drop folder came to. growing: names that are still being written and were left;
    folders: names of folders, which are left alone; stuck: why a drop that was read is still there, one each."""

    reports: tuple[DropReport, ...] = ()
    growing: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises DigestbotError where a drop is stuck: a person must mend that."""
        if self.stuck:
            more = f" (and {len(self.stuck) - 1} more)" if len(self.stuck) > 1 else ""
            raise DigestbotError(self.stuck[0] + more)


@dataclass(slots=True)
class _Tally:
    """What became of the entries so far."""

    effects: dict[Effect, int] = field(default_factory=lambda: dict.fromkeys(Effect, 0))
    rejected: list[Rejection] = field(default_factory=list)
    papers: dict[PaperId, None] = field(default_factory=dict)

    def report(self, path: str, form: str | None, held: str | None = None) -> DropReport:
        return DropReport(
            path,
            form,
            new=self.effects[Effect.NEW],
            known=self.effects[Effect.KNOWN],
            updated=self.effects[Effect.UPDATED],
            rejected=tuple(self.rejected),
            held=held,
        )


def ingest_file(
    papers: PaperStore, path: Path, *, now: datetime, backfill: bool = False, progress: Progress | None = None
) -> DropReport:
    """Takes one drop, which stays where it is, wholly or not at all (one transaction). Never holds it."""
    seen = Seen(now, mailable=not backfill)
    return _ingest(papers, path, Purpose(now, seen, follow=True, progress=progress))[0]


def learn_library(papers: PaperStore, path: Path, now: datetime) -> tuple[list[PaperId], DropReport]:
    """The papers of a subscriber's library, in its order. Those nobody had before stay unseen by others."""
    report, found = _ingest(
        papers, path, Purpose(now, Seen(None, mailable=False), state="library", follow=True)
    )
    return found, report


def ingest_waiting(
    papers: PaperStore,
    folder: DropFolder,
    *,
    now: datetime,
    backfill: bool = False,
    progress: Progress | None = None,
    move: bool = True,
) -> IngestPass:
    """Takes every settled drop of `incoming`, each in its own transaction, and moves it where it belongs.

    One that cannot be moved is read again the next time; what it said already is reported and counted once.
    With move=False nothing on disk changes and no lock is taken; for use in a rehearsal of the storage.
    """
    purpose = Purpose(now, Seen(now, mailable=not backfill), careful=not backfill, progress=progress)
    if not move:
        waiting = folder.look()
        return _passed(waiting, [_ingest(papers, path, purpose)[0] for path in waiting.settled])
    folder.make()
    with folder.reading():
        waiting = folder.look()
        reports: list[DropReport] = []
        growing: list[str] = []
        stuck: list[str] = []
        for path in waiting.settled:
            before = folder.stamp(path)
            if before is None:
                continue
            report, _ = _ingest(papers, path, purpose)
            if folder.stamp(path) != before:  # replaced or longer by now: it stays, and is read again
                growing.append(shown(path.name))
                reports.append(report)
                continue
            try:
                target = _put_away(folder, path, report)
            except DigestbotError as error:
                stuck.append(str(error))
                if not report.again and not report.held:  # nothing of a held one is read
                    reports.append(report)
                continue
            if report.held:
                papers.rename_held(shown(path.name), shown(target.name))
                report = replace(report, path=shown(target))  # the name that `drops release` wants
            reports.append(report)
    found = _passed(waiting, reports)
    return replace(found, growing=(*found.growing, *growing), stuck=tuple(stuck))


def _passed(waiting: Waiting, reports: Sequence[DropReport]) -> IngestPass:
    growing, folders = (
        tuple(shown(path.name) for path in some) for some in (waiting.growing, waiting.folders)
    )
    return IngestPass(tuple(reports), growing, folders)


def hold_waiting(papers: PaperStore, folder: DropFolder, name: str, *, now: datetime) -> Path:
    """Moves a drop that waits in `incoming` to `held`, unread; raises UsageError where none of the name waits."""
    folder.make()
    with folder.reading():
        target = folder.move(_named(folder.incoming, name), folder.held)
        with papers.transaction():
            drop = papers.begin_drop(shown(target.name), now)
            papers.finish_drop(drop, "held", DropReport(shown(target.name), None, held="by the operator"))
    return target


def release_held(
    papers: PaperStore, drops: DropStore, folder: DropFolder, name: str, *, now: datetime
) -> DropReport:
    """Takes a held drop however odd it looks; raises UsageError where none of the name is held."""
    folder.make()
    with folder.reading():
        path = _named(folder.held, name)
        with papers.transaction():
            drops.forget_held(shown(path.name))
            report = _ingest(papers, path, Purpose(now, Seen(now)))[0]
        _put_away(folder, path, report)
    return report


def _named(folder: Path, name: str) -> Path:
    """The file of a folder that is shown under this name: a name with bytes that are no text has no other."""
    found = [path for path in folder.iterdir() if shown(path.name) == name and not path.is_dir()]
    if not found:
        raise UsageError(f"{folder}: holds no drop named {name}")
    return found[0]


def _put_away(folder: DropFolder, path: Path, report: DropReport) -> Path:
    if report.held:
        return folder.move(path, folder.held)
    if report.usable:
        return folder.move(path, folder.done)
    return folder.move(path, folder.rejected, report=report_json(report))


def report_json(report: DropReport) -> dict[str, object]:
    """A report in the form that `ingest --json` prints and rejected drops have beside them."""
    packed: dict[str, object] = {
        "path": report.path,
        "format": report.format,
        "new": report.new,
        "known": report.known,
        "updated": report.updated,
        "rejected": [_rejection_json(rejection) for rejection in report.rejected],
    }
    return {**packed, "held": report.held} if report.held else packed


def _rejection_json(rejection: Rejection) -> dict[str, object]:
    places = {"line": rejection.line, "entry": rejection.entry}
    where = {name: place for name, place in places.items() if place is not None}
    return {**(where or {"line": 1}), "reason": rejection.reason}  # a drop as a whole: where it begins


# ---- one drop ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why and when a drop is read."""

    now: datetime
    seen: Seen
    state: str = "done"
    careful: bool = False  # whether to hold what looks wrong as a whole
    follow: bool = False  # whether the path may be a link
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some entries of a drop, ready for the catalogue. There is always a first one, without entries, and a last."""

    form: str
    size: int  # of the drop in bytes
    position: int  # how many of them are read
    entries: tuple[Entry, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    sha256: str = ""  # of the drop, in the last


def _ingest(papers: PaperStore, path: Path, purpose: Purpose) -> tuple[DropReport, list[PaperId]]:
    """One drop in one transaction; a drop that cannot be read is recorded with the reason."""
    from digestbot.drops.reading import DAILY, PAGES  # its parsers take a tenth of a second to load

    tally = _Tally()
    held = form = None
    sha256 = ""
    with papers.transaction():
        drop = papers.begin_drop(shown(path.name), purpose.now, backfill=not purpose.seen.mailable)
        try:
            batches = _read(path.resolve() if purpose.follow else path, purpose.now.date())
            first = next(batches)
            form = first.form
            if purpose.careful and form in DAILY:
                listed = list(batches)
                records = [e.record for batch in listed for e in batch.entries]
                held = _suspicion(papers, records, is_page=form in PAGES)
                batches = iter(listed[-1:] if held else listed)
            for batch in batches:
                if purpose.progress:
                    purpose.progress(path, batch.position, batch.size)
                if not _take(papers, drop, batch, purpose.seen, tally):
                    break
                sha256 = batch.sha256
        except DropError as error:
            tally.rejected.append(Rejection(str(error), error.line, error.entry))
        report = tally.report(shown(path), form, held)
        if not held and not tally.rejected and not report.usable:
            tally.rejected.append(Rejection("the file holds no papers"))
            report = tally.report(shown(path), form)
        state = "held" if held else purpose.state if report.usable else "rejected"
        papers.finish_drop(drop, state, report, sha256=sha256)
        if not held and not report.new + report.updated and papers.is_repeated(drop):
            report = replace(report, again=True)
            if (
                state == "done" and sha256
            ):  # else its papers count as seen once more, and outlive its withdrawal
                papers.forget_drop(drop)
    return report, list(tally.papers)


def _read(path: Path, received: date) -> Iterator[_Batch]:
    """The drop in batches; raises DropError where it cannot be read, or no further."""
    batches = _batches(path, received)
    try:
        is_large = path.lstat().st_size >= AHEAD_FROM_BYTES
    except (OSError, ValueError):  # whoever opens it says why
        is_large = False
    return make_ahead(batches) if is_large else batches


def _batches(path: Path, received: date) -> Iterator[_Batch]:
    from digestbot.drops.reading import read_drop

    reading = read_drop(path, received=received)
    yield _Batch(reading.format, reading.size, 0)
    items = iter(reading)
    while some := tuple(islice(items, BATCH)):
        rejected = tuple(item for item in some if isinstance(item, Rejection))
        entries = tuple(Entry.of(item) for item in some if not isinstance(item, Rejection))
        yield _Batch(reading.format, reading.size, reading.position, entries, rejected)
    yield _Batch(reading.format, reading.size, reading.size, sha256=reading.sha256)


def _take(papers: PaperStore, drop: DropId, batch: _Batch, seen: Seen, tally: _Tally) -> bool:
    """Takes a batch into the catalogue; whether to read on."""
    tally.rejected += batch.rejected
    if batch.entries:
        effects, ids = papers.add(drop, batch.entries, seen)
        for effect in effects:
            tally.effects[effect] += 1
        tally.papers.update(dict.fromkeys(ids))
    if len(tally.rejected) < MAX_REJECTIONS:
        return True
    tally.rejected.append(Rejection("too many entries are bad; the rest was not read"))
    return False


def _suspicion(papers: PaperStore, records: Sequence[PaperRecord], *, is_page: bool) -> str | None:
    """Why a daily drop should wait for the operator; None: nothing is odd about it."""
    if not records:
        return None
    if is_page and median(len(r.title) for r in records) > median(len(r.abstract) for r in records):
        return "its titles are longer than its abstracts: a line too many or too few, perhaps"
    sizes = papers.usual_sizes(USUAL_DROPS)
    if len(sizes) >= HOLD_FROM_DROP - 1 and len(records) > HOLD_FACTOR * median(sizes):
        return f"{len(records)} papers, where the last {len(sizes)} drops had {median(sizes):g} as a rule"
    return None
