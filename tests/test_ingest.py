"""From drop files to the catalogue, and the drop folder around it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from digestbot.drops.folder import DropFolder
from digestbot.errors import DigestbotError, UsageError
from digestbot.ingest import hold_waiting, ingest_file, ingest_waiting, learn_library, release_held
from digestbot.model import Paper
from digestbot.storage.drops import DropStore
from digestbot.storage.papers import PaperStore
from tests.catalogue_world import NOW, counts, database, store, written
from tests.shared import shared

ABSTRACT = (
    "We measure how moss grows on bridges and find that it follows the handrail, whatever the weather. " * 4
)
PAGE = f"SubscribeMoss on Bridges of the North\n{ABSTRACT}\nFerns under Railway Arches Today\n{ABSTRACT}A second one.\n"


def line(title: str, **fields: object) -> str:
    return json.dumps({"title": title, **fields}) + "\n"


def all_papers(papers: PaperStore) -> list[Paper]:
    return list(papers.catalogue())


@pytest.fixture
def folder(tmp_path: Path) -> DropFolder:
    found = DropFolder(tmp_path / "drops")
    found.make()
    return found


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_the_three_real_pages() -> None:
    papers = store()
    pages = [shared(f"drops/page-{name}.txt") for name in "abc"]
    assert [counts(ingest_file(papers, page, now=NOW)) for page in pages] == [
        (38, 0, 0, 0),
        (196, 4, 0, 0),
        (46, 12, 0, 0),
    ]
    assert papers.count() == len(all_papers(papers)) == 280
    assert [counts(ingest_file(papers, page, now=NOW)) for page in pages] == [
        (0, 38, 0, 0),
        (0, 200, 0, 0),
        (0, 58, 0, 0),
    ]
    texts = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert all(p.record.title in texts and p.record.abstract in texts for p in all_papers(papers))


def test_the_same_pages_the_other_way_round_make_the_same_catalogue() -> None:
    def catalogue(names: str) -> set[object]:
        papers = store()
        for name in names:
            ingest_file(papers, shared(f"drops/page-{name}.txt"), now=NOW)
        return {(p.record, p.sightings) for p in all_papers(papers)}

    assert catalogue("abc") == catalogue("cba") == catalogue("bca")


def test_good_lines_are_taken_and_bad_ones_reported(tmp_path: Path) -> None:
    text = line("Owls at Noon Do Not Read") + "{not json\n\n" + line("") + "[1]\n" + line("Larks", upvotes=-1)
    report = ingest_file(store(), written(tmp_path, text), now=NOW)
    assert (report.format, counts(report)) == ("jsonl", (1, 0, 0, 4))
    assert [(r.line, r.reason.split(":")[0].split(" (")[0]) for r in report.rejected] == [
        (2, "not JSON"),
        (4, "no title"),
        (5, "not an object with the fields of a paper"),
        (6, "upvotes must be a number from 0 on"),
    ]


def test_a_changed_field_is_an_update_and_the_same_again_is_known(tmp_path: Path) -> None:
    papers = store()
    for text, effect in (
        (line("Owls at Noon Do Not Read", upvotes=3), (1, 0, 0, 0)),
        (line("Owls at noon do not read!", upvotes=3), (0, 0, 1, 0)),  # the longer title is kept
        (line("Owls at Noon Do Not Read", upvotes=2), (0, 1, 0, 0)),
        (line("Owls at Noon Do Not Read", upvotes=9), (0, 0, 1, 0)),
        (line("Owls at Noon Do Not Read", upvotes=9, doi="10.5555/OWL"), (0, 0, 1, 0)),
        (line("Another Title Altogether", doi="https://doi.org/10.5555/owl"), (0, 1, 0, 0)),
    ):
        assert counts(ingest_file(papers, written(tmp_path, text), now=NOW)) == effect, text
    (paper,) = all_papers(papers)
    assert (paper.record.title, paper.record.upvotes, paper.record.doi, paper.sightings) == (
        "Owls at noon do not read!",
        9,
        "10.5555/owl",
        6,
    )


def test_first_seen_stays_the_earliest_and_bounds_candidates(tmp_path: Path) -> None:
    papers = store()
    drop = written(tmp_path, line("Owls at Noon Do Not Read"))
    for later in (2, 0, 5):
        ingest_file(papers, drop, now=NOW + timedelta(days=later))
    assert [p.first_seen for p in all_papers(papers)] == [NOW]
    assert len(papers.candidates(NOW, NOW)) == 1
    assert papers.candidates(NOW + timedelta(seconds=1), NOW + timedelta(days=9)) == []
    assert papers.newest() == NOW


def test_a_backfill_is_never_mailed_but_is_in_the_catalogue(tmp_path: Path) -> None:
    papers = store()
    old, new = (
        written(tmp_path, line("Old Owls in Old Oaks"), "a"),
        written(tmp_path, line("New Owls in Old Oaks"), "b"),
    )
    ingest_file(papers, old, now=NOW, backfill=True)
    ingest_file(papers, new, now=NOW)
    ingest_file(papers, old, now=NOW)
    ingest_file(papers, new, now=NOW, backfill=True)
    assert [p.record.title for p in papers.candidates(NOW, NOW)] == ["New Owls in Old Oaks"]
    assert len(all_papers(papers)) == 2


def announced(kind: str, number: int = 1) -> str:
    return f"""<?xml version='1.0'?><rss xmlns:arxiv="http://arxiv.org/schemas/atom" version="2.0"><channel>
<item><title>Owls at Noon Do Not Read</title><guid>oai:arXiv.org:2611.0000{number}v2</guid>
<description>arXiv:2611.0000{number}v2 Announce Type: {kind}\nAbstract: They do not.</description>
<arxiv:announce_type>{kind}</arxiv:announce_type></item></channel></rss>"""


def test_what_arxiv_replaced_is_no_paper_of_the_day(tmp_path: Path) -> None:
    for kind, mailable in (("new", 1), ("cross", 1), ("replace", 0), ("replace-cross", 0)):
        papers = store()
        assert counts(ingest_file(papers, written(tmp_path, announced(kind)), now=NOW)) == (1, 0, 0, 0)
        assert (len(papers.candidates(NOW, NOW)), papers.count()) == (mailable, 1), kind


def test_a_replacement_updates_the_paper_that_was_announced(tmp_path: Path) -> None:
    papers = store()
    old = announced("new").replace("v2", "v1").replace("They do not.", "They do.")
    ingest_file(papers, written(tmp_path, old), now=NOW)
    later = NOW + timedelta(days=1)
    assert counts(ingest_file(papers, written(tmp_path, announced("replace")), now=later)) == (0, 0, 1, 0)
    (paper,) = papers.candidates(NOW, NOW)
    assert (paper.record.abstract, paper.record.arxiv_version) == ("They do not.", 2)


def test_a_replacement_stays_unmailed_when_another_drop_is_taken_back(tmp_path: Path) -> None:
    db = database()
    papers, drops = PaperStore(db), DropStore(db)
    ingest_file(papers, written(tmp_path, announced("replace"), "first"), now=NOW)
    ingest_file(papers, written(tmp_path, announced("replace").replace("Noon", "noon"), "second"), now=NOW)
    second = drops.find("second")
    assert second is not None
    drops.withdraw(second.id)
    assert (papers.candidates(NOW, NOW), papers.count()) == ([], 1)


def test_the_same_bytes_twice_are_all_known_however_little_they_say(tmp_path: Path) -> None:
    papers = store()
    text = (
        line("Owls") + line("Owls", url="https://example.org/1") + line("Owls", authors=["A B"]) + line("???")
    )
    drop = written(tmp_path, text)
    assert counts(ingest_file(papers, drop, now=NOW)) == (4, 0, 0, 0)
    assert counts(ingest_file(papers, drop, now=NOW)) == (0, 4, 0, 0)
    assert [p.sightings for p in all_papers(papers)] == [1] * 4, "seen in one drop, not in two"


def test_what_is_usual_is_what_came_last(tmp_path: Path) -> None:
    papers = store()
    for size in (1, 2, 3):
        text = "".join(line(f"Owls of the year {1900 + 10 * size + n}") for n in range(size))
        ingest_file(papers, written(tmp_path, text), now=NOW)
    assert papers.usual_sizes(2) == [3, 2]


def test_namesakes_cost_no_more_than_others(tmp_path: Path) -> None:
    """Compared each with each, these would take minutes."""
    papers = store()
    texts = (
        "".join(line("Editorial", url=f"https://example.org/{n}") for n in range(5000)),
        "".join(line("Front Matter of the Journal", doi=f"10.5555/{n}") for n in range(5000)),
        "".join(
            line(f"Title number {n} of one paper", arxiv_id="2401.00001", upvotes=n) for n in range(2000)
        ),
    )
    began = time.process_time()
    found = [counts(ingest_file(papers, written(tmp_path, text), now=NOW)) for text in texts]
    assert time.process_time() - began < 30
    assert [sum(count) for count in found] == [5000, 5000, 2000]
    assert (found[0][0], found[1][0], found[2][0]) == (5000, 5000, 1)
    assert counts(ingest_file(papers, written(tmp_path, texts[1]), now=NOW)) == (0, 5000, 0, 0)


def test_a_paper_of_more_versions_than_are_kept_can_be_taken_back(tmp_path: Path) -> None:
    db = database()
    papers, store_of_drops = PaperStore(db), DropStore(db)
    for name, first in (("a", 0), ("b", 1000)):
        text = "".join(
            line(f"Title number {n} of one paper", arxiv_id="2401.00001") for n in range(first, first + 300)
        )
        ingest_file(papers, written(tmp_path, text, name), now=NOW)
    drop = store_of_drops.find("a")
    assert drop is not None
    assert store_of_drops.withdraw(drop.id).kept
    assert [p.sightings for p in all_papers(papers)] == [1]


def test_a_library_teaches_papers_that_nobody_else_sees(tmp_path: Path) -> None:
    papers = store()
    ingest_file(papers, written(tmp_path, line("Known Owls of the Woods"), "a"), now=NOW)
    library = written(tmp_path, line("Private Owls of the Attic") + line("Known Owls of the Woods"), "b")
    found, report = learn_library(papers, library, NOW)
    assert counts(report) == (1, 1, 0, 0)
    assert [papers.papers(found)[i].record.title for i in found] == [
        "Private Owls of the Attic",
        "Known Owls of the Woods",
    ]
    assert len(all_papers(papers)) == 1
    assert counts(ingest_file(papers, library, now=NOW)) == (1, 1, 0, 0)  # now a drop has it, too
    assert len(papers.candidates(NOW, NOW)) == 2


def test_two_papers_that_prove_to_be_one_merge_and_the_old_id_lives_on(tmp_path: Path) -> None:
    papers = store()
    first = line("Owls at Noon Do Not Read", doi="10.5555/owl")
    second = line("Strigiformes and the Printed Page", arxiv_id="2401.00001")
    both = line("Strigiformes and the Printed Page", arxiv_id="2401.00001v3", doi="10.5555/owl")
    ingest_file(papers, written(tmp_path, first + second), now=NOW)
    one, two = all_papers(papers)
    assert counts(ingest_file(papers, written(tmp_path, both), now=NOW)) == (0, 0, 1, 0)
    (paper,) = all_papers(papers)
    assert paper.id == one.id
    assert paper.sightings == 2
    assert papers.resolve([one.id, two.id]) == {one.id: one.id, two.id: one.id}
    assert papers.papers([two.id])[two.id] == paper
    assert (paper.record.doi, paper.record.arxiv_id, paper.record.arxiv_version) == (
        "10.5555/owl",
        "2401.00001",
        3,
    )


# ---- the folder -------------------------------------------------------------------------------------------------


def test_waiting_drops_are_taken_and_put_away(folder: DropFolder) -> None:
    db = database()
    papers = PaperStore(db)
    written(folder.incoming, PAGE, "good.txt")
    written(folder.incoming, "nothing to see", "bad.txt")
    for name in (".hidden", "half.part", "half.tmp"):
        written(folder.incoming, PAGE, name)
    (folder.incoming / "subfolder").mkdir()
    found = ingest_waiting(papers, folder, now=NOW)
    assert {Path(r.path).name: counts(r) for r in found.reports} == {
        "good.txt": (2, 0, 0, 0),
        "bad.txt": (0, 0, 0, 1),
    }
    assert sorted(p.name for p in folder.incoming.iterdir()) == [
        ".hidden",
        "half.part",
        "half.tmp",
        "subfolder",
    ]
    assert [p.name for p in folder.done.iterdir()] == ["good.txt"]
    assert sorted(p.name for p in folder.rejected.iterdir()) == ["bad.txt", "bad.txt.report.json"]
    report = json.loads((folder.rejected / "bad.txt.report.json").read_text())
    assert (report["format"], report["new"], len(report["rejected"])) == (None, 0, 1)
    assert report["path"] == str(folder.rejected / "bad.txt")
    assert found.folders == ("subfolder",)
    assert {drop.report.path: drop.state for drop in DropStore(db).last()} == {
        "good.txt": "done",
        "bad.txt": "rejected",
    }


def test_nothing_is_ever_written_over(folder: DropFolder) -> None:
    papers = store()
    written(folder.rejected, "mine", "bad.txt.report.json")
    for number in range(3):
        written(folder.incoming, PAGE, "good.txt")
        written(folder.incoming, f"nothing {number}", "bad.txt")
        ingest_waiting(papers, folder, now=NOW)
    assert sorted(p.name for p in folder.done.iterdir()) == ["good-2.txt", "good-3.txt", "good.txt"]
    assert (folder.rejected / "bad.txt.report.json").read_text() == "mine"
    assert sorted(p.read_text() for p in folder.rejected.glob("bad*.txt")) == [
        "nothing 0",
        "nothing 1",
        "nothing 2",
    ]


def test_a_move_that_fails_leaves_nothing_behind(folder: DropFolder) -> None:
    with pytest.raises(DigestbotError, match="was read, but cannot be moved"):
        folder.move(folder.incoming / "gone.txt", folder.rejected, report={})
    assert list(folder.rejected.iterdir()) == []


def test_a_held_drop_that_cannot_be_moved_is_told_as_that(folder: DropFolder) -> None:
    papers = store()
    upside_down = "Subscribe" + "".join(f"{ABSTRACT}{n}\nBird {n} sings on the wire\n" for n in range(3))
    written(folder.incoming, upside_down, "odd.txt")
    folder.held.rmdir()
    folder.held.symlink_to("/proc")  # where even root can make nothing
    found = ingest_waiting(papers, folder, now=NOW)
    assert (found.reports, len(found.stuck)) == ((), 1)
    folder.held.unlink()
    [report] = ingest_waiting(papers, folder, now=NOW).reports
    assert "titles are longer" in (report.held or "")


def test_a_file_that_still_grows_is_left_until_it_has_settled(folder: DropFolder) -> None:
    papers = store()
    path = written(folder.incoming, PAGE[:200], "slow.txt")
    written(folder.incoming, PAGE, "ready.txt")
    grow = threading.Timer(0.4, lambda: path.write_text(PAGE, encoding="utf-8"))
    grow.start()
    first = ingest_waiting(papers, folder, now=NOW)
    grow.join()
    assert ([Path(r.path).name for r in first.reports], first.growing) == (["ready.txt"], ("slow.txt",))
    second = ingest_waiting(papers, folder, now=NOW)
    assert [counts(r) for r in second.reports] == [(0, 2, 0, 0)]


def test_a_file_that_changes_while_it_is_read_stays_and_is_read_again(folder: DropFolder) -> None:
    papers = store()
    first = written(folder.incoming, line("Owls at Noon Do Not Read"), "drop.jsonl")
    gone = written(folder.incoming, line("Larks at Dawn Do Not Read"), "gone.jsonl")
    os.utime(first, (1, 1))

    def meanwhile(path: Path, read: int, size: int) -> None:
        if path == first and read == size:
            replacement = written(folder.path, line("Finches at Dusk Do Not Read"), "other")
            replacement.replace(first)
            gone.unlink(missing_ok=True)

    found = ingest_waiting(papers, folder, now=NOW, progress=meanwhile)
    assert ([counts(r) for r in found.reports], found.growing) == ([(1, 0, 0, 0)], ("drop.jsonl",))
    assert not list(folder.done.iterdir())
    assert [counts(r) for r in ingest_waiting(papers, folder, now=NOW).reports] == [(1, 0, 0, 0)]
    assert [p.name for p in folder.done.iterdir()] == ["drop.jsonl"]
    assert papers.count() == 2


def test_links_and_pipes_are_refused(folder: DropFolder, tmp_path: Path) -> None:
    outside = written(tmp_path, PAGE, "outside.txt")
    (folder.incoming / "link.txt").symlink_to(outside)
    os.mkfifo(folder.incoming / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder.incoming / "socket"))
    found = ingest_waiting(store(), folder, now=NOW)
    assert {Path(r.path).name: r.rejected[0].reason for r in found.reports} == {
        "link.txt": "a link; put the file itself here",
        "pipe": "not a file",
        "socket": "not a file",
    }
    assert outside.read_text() == PAGE
    assert (folder.rejected / "link.txt").is_symlink()


def test_odd_names_are_shown_and_kept(folder: DropFolder) -> None:
    papers = store()
    names = ["new\nline.txt", "x" * 255, "a." + "b" * 253, "é" * 120 + ".a.jsonl", "-rf", "näme \u202e.txt"]
    for name in names:
        written(folder.incoming, "nothing", name)
    written(folder.incoming, "nothing", os.fsdecode(b"bad\xff.txt"))
    found = ingest_waiting(papers, folder, now=NOW)
    assert len(found.reports) == 7
    assert all(Path(r.path).name.isprintable() for r in found.reports)
    assert len(list(folder.rejected.iterdir())) == 14
    assert not list(folder.incoming.iterdir())


def test_a_rehearsal_reads_but_changes_nothing_on_disk(folder: DropFolder) -> None:
    written(folder.incoming, PAGE, "good.txt")
    before = tree(folder.path)
    found = ingest_waiting(store(), folder, now=NOW, move=False)
    assert [counts(r) for r in found.reports] == [(2, 0, 0, 0)]
    assert tree(folder.path) == before
    assert ingest_waiting(store(), DropFolder(folder.path / "nowhere"), now=NOW, move=False).reports == ()
    assert not (folder.path / "nowhere").exists()


def test_a_page_out_of_step_is_held_and_a_flood_too(folder: DropFolder, tmp_path: Path) -> None:
    papers = store()
    for number in range(4):
        ingest_file(papers, written(tmp_path, PAGE.replace("Moss", f"Moss{number}")), now=NOW)
    flood = "Subscribe" + "".join(f"Bird {n} sings on the wire\n{ABSTRACT}{n}\n" for n in range(11))
    upside_down = "Subscribe" + "".join(f"{ABSTRACT}{n}\nBird {n} sings on the wire\n" for n in range(3))
    usual = "Subscribe" + "".join(f"Cat {n} walks on the wire\n{ABSTRACT}{n} cats\n" for n in range(10))
    for name, text in (("flood", flood), ("upside-down", upside_down), ("usual", usual)):
        written(folder.incoming, text, name)
    found = {Path(r.path).name: r for r in ingest_waiting(papers, folder, now=NOW).reports}
    assert found["flood"].held == "11 papers, where the last 4 drops had 2 as a rule"
    assert "titles are longer" in (found["upside-down"].held or "")
    assert (found["usual"].held, found["usual"].new) == (None, 10)
    assert sorted(p.name for p in folder.held.iterdir()) == ["flood", "upside-down"]
    assert counts(found["flood"]) == (0, 0, 0, 0)
    assert counts(ingest_file(papers, folder.held / "flood", now=NOW)) == (11, 0, 0, 0)  # PATH never holds


def test_held_drops_are_released_under_their_own_names(folder: DropFolder, tmp_path: Path) -> None:
    db = database()
    papers, drops = PaperStore(db), DropStore(db)
    upside_down = "Subscribe" + "".join(f"{ABSTRACT}{n}\nBird {n} sings on the wire\n" for n in range(3))
    for number in range(2):
        written(folder.incoming, upside_down + f"{ABSTRACT}\nOne more {number}\n", "page.txt")
        ingest_waiting(papers, folder, now=NOW)
    written(folder.incoming, PAGE, "mine.txt")
    hold_waiting(papers, folder, "mine.txt", now=NOW)
    assert {drop.report.path: drop.state for drop in drops.last()} == dict.fromkeys(
        ("page.txt", "page-2.txt", "mine.txt"), "held"
    )
    assert papers.count() == 0
    assert counts(release_held(papers, drops, folder, "page-2.txt", now=NOW)) == (4, 0, 0, 0)
    assert counts(release_held(papers, drops, folder, "mine.txt", now=NOW)) == (2, 0, 0, 0)
    assert {drop.report.path: drop.state for drop in drops.last()} == {
        "page.txt": "held",
        "page-2.txt": "done",
        "mine.txt": "done",
    }
    assert sorted(p.name for p in folder.done.iterdir()) == ["mine.txt", "page-2.txt"]
    with pytest.raises(UsageError, match=r"holds no drop named \.\./x"):
        release_held(papers, drops, folder, "../x", now=NOW)


CHILD = """
import sys
from pathlib import Path
from digestbot.drops.folder import DropFolder
from digestbot.ingest import ingest_waiting
from digestbot.storage.drops import DropStore
from digestbot.storage.papers import PaperStore
from digestbot.storage.sqlite import SqliteDatabase
from datetime import UTC, datetime
papers = PaperStore(SqliteDatabase(Path(sys.argv[1])))
found = ingest_waiting(papers, DropFolder(Path(sys.argv[2])), now=datetime(2026, 11, 21, tzinfo=UTC))
print(len(found.reports), flush=True)
"""


def start_child(database: Path, folder: DropFolder) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(database), str(folder.path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )


def on_disk(path: Path) -> PaperStore:
    from digestbot.storage.migrations import migrate
    from digestbot.storage.sqlite import SqliteDatabase

    db = SqliteDatabase(path)
    migrate(db)
    return PaperStore(db)


def test_two_processes_never_read_one_drop_twice(folder: DropFolder, tmp_path: Path) -> None:
    papers = on_disk(tmp_path / "db")
    for number in range(40):
        written(folder.incoming, line(f"Owl number {number} of the wood"), f"{number}.jsonl")
    children = [start_child(tmp_path / "db", folder) for _ in range(3)]
    read = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(read) == 40
    assert [p.sightings for p in all_papers(papers)] == [1] * 40


def test_a_killed_reader_leaves_nothing_or_the_whole_drop(folder: DropFolder, tmp_path: Path) -> None:
    papers = on_disk(tmp_path / "db")
    drop = written(
        folder.incoming, "".join(line(f"Owl {n} of the wood tonight") for n in range(30_000)), "big.jsonl"
    )
    for delay in (1.4, 1.9, 2.6):
        child = start_child(tmp_path / "db", folder)
        time.sleep(delay)
        child.kill()
        child.communicate()
        assert papers.count() == 0 or papers.count() == 30_000
        if papers.count():
            break
        assert drop.exists()
    found = ingest_waiting(papers, folder, now=NOW)
    assert papers.count() == 30_000
    assert [p.name for p in folder.done.iterdir()] == ["big.jsonl"]
    assert all(r.new + r.known == 30_000 for r in found.reports)
