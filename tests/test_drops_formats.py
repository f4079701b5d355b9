"""Every format but pages: small invented samples, real files, hostile files, any bytes at all."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from digestbot.drops.identifiers import find_arxiv_id, read_arxiv_id, read_doi
from digestbot.drops.reading import DEFECT, DropReading, Format, read_drop, recognise
from digestbot.drops.source import MAX_LINE_BYTES, Source
from digestbot.drops.text import clean, clean_url, from_html, strip_markup
from digestbot.errors import DropError
from digestbot.model import PaperRecord, Rejection, Revision
from tests.catalogue_world import NOW, read, refusal, written
from tests.shared import shared

OWLS = PaperRecord(
    title="Owls at Noon: A $p<q$ Study",
    abstract="Do owls read at noon? Whether $a < b$ or not, they do not & will not.",
    authors=("Ada Nachtigall", "Bo Lerche, Jr."),
    author_count=2,
    published=date(2026, 11, 20),
    categories=("cs.LG", "q-bio.NC"),
    url="https://arxiv.org/abs/2611.01234v2",
    arxiv_id="2611.01234",
    arxiv_version=2,
    doi="10.5555/owl.1",
)

ATOM = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
<id>https://arxiv.org/api/x</id><title>arXiv Query</title>
<entry><id>http://arxiv.org/abs/2611.01234v2</id><title>Owls at Noon:
  A $p&lt;q$ Study</title><updated>2026-11-21T00:00:00Z</updated><published>2026-11-20T17:00:00Z</published>
<link href="https://arxiv.org/abs/2611.01234v2" rel="alternate" type="text/html"/>
<link href="https://arxiv.org/pdf/2611.01234v2" rel="related" title="pdf"/>
<summary>Do owls read at noon? Whether $a &lt; b$
or not, they do not &amp; will not.</summary>
<category term="cs.LG"/><category term="q-bio.NC"/><arxiv:doi>10.5555/OWL.1</arxiv:doi>
<author><name>Ada Nachtigall</name></author><author><name>Bo Lerche, Jr.</name></author></entry>
</feed>"""

RSS = """<?xml version='1.0' encoding='UTF-8'?>
<rss xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns:dc="http://purl.org/dc/elements/1.1/" version="2.0">
<channel><title>cs.LG updates on arXiv.org</title>
<item><title>Owls at Noon: A $p&lt;q$ Study</title><link>https://arxiv.org/abs/2611.01234</link>
<description>arXiv:2611.01234v2 Announce Type: KIND
Abstract: Do owls read at noon? Whether $a &lt; b$ or not, they do not &amp; will not.</description>
<guid isPermaLink="false">oai:arXiv.org:2611.01234v2</guid><category>cs.LG</category><category>q-bio.NC</category>
<pubDate>Fri, 20 Nov 2026 00:00:00 -0500</pubDate><arxiv:announce_type>KIND</arxiv:announce_type>
<dc:creator>Ada Nachtigall, Bo Lerche (Owl University, Attic)</dc:creator><arxiv:DOI>10.5555/owl.1</arxiv:DOI></item>
</channel></rss>"""

HUGGINGFACE = json.dumps(
    [
        {
            "paper": {
                "id": "2611.01234",
                "title": OWLS.title,
                "summary": OWLS.abstract.replace("? ", "?\n"),
                "authors": [{"name": "Ada Nachtigall", "hidden": False}, {"name": "Bo Lerche, Jr."}],
                "publishedAt": "2026-11-20T17:00:00.000Z",
                "upvotes": 41,
                "githubRepo": "https://github.com/owls/noon",
                "ai_keywords": ["owls"],
            },
            "numComments": 3,
            "submittedBy": {"name": "x"},
        },
        {"paper": {"id": "2611.09999"}},
        7,
    ]
)

BIBTEX = r"""
@string{j = {Journal of Owls}}
% a comment
@article{owl,
  title = {{Owls} at {N}oon: {\'E}tudes \& {$O(n^2)$} Questions},
  author = {Nachtigall, Ada and L{\"o}rche, Bo and {Owls and Larks Collaboration} and others},
  abstract = {Fifty \% of owls.},
  journal = j, year = 2026, date = {2026-11-20},
  eprint = {2611.01234v2}, archivePrefix = {arXiv}, primaryClass = {cs.LG},
  doi = {https://doi.org/10.5555/OWL\_1}
}
@misc{owl, title = "Second under the same key", url = {javascript:alert(1)}, journal = {arXiv preprint arXiv:2401.00002}}
@book{none, author = {Nobody}}
@article{open, title = {never closed
@article{after, title = {After the Broken One}}
"""

RIS = """1.
TY  - JOUR
TI  - Owls at Noon
AU  - Nachtigall, Ada
AU  - Lerche, Bo
AB  - Do owls read
at noon?
DA  - 2026/11/20/
DO  - 10.5555/OWL.1
UR  - https://example.org/owl; https://arxiv.org/abs/2611.01234v2
ER  -
TY  - JOUR
AU  - Nobody
ER  -
TY-JOUR
T1-Without Blanks
"""

CSV = (
    "\ufeffTitle;Abstract Note;Authors;DOI;Date;Upvotes\n"
    '"Owls ""at"" Noon";"Do owls read\nat noon?";Nachtigall, Ada;10.5555/owl.1;2026-11-20;41\n'
    ";no title;;;;\n"
    "\n"
    "Larks at Dawn;;;;2026;\n"
    "Too;many;fields;in;this;row;here\n"
    "Finches at Dusk;;;;;many\n"
)


def test_arxiv_atom(tmp_path: Path) -> None:
    assert read(written(tmp_path, ATOM)) == ("arxiv-atom", [OWLS], [])


@pytest.mark.parametrize(
    ("kind", "published"), [("new", date(2026, 11, 20)), ("cross", date(2026, 11, 20)), ("replace", None)]
)
def test_arxiv_rss(tmp_path: Path, kind: str, published: date | None) -> None:
    expected = replace(
        OWLS,
        authors=("Ada Nachtigall", "Bo Lerche (Owl University, Attic)"),
        published=published,
        url="https://arxiv.org/abs/2611.01234",
    )
    reading = read_drop(written(tmp_path, RSS.replace("KIND", kind)), received=NOW.date())
    assert reading.format == "arxiv-rss"
    assert list(reading) == [Revision(expected) if kind == "replace" else expected]


def test_an_error_of_arxivs_api_is_no_paper(tmp_path: Path) -> None:
    error = ATOM.replace("http://arxiv.org/abs/2611.01234v2</id>", "https://arxiv.org/api/errors#x</id>", 1)
    _, papers, rejected = read(written(tmp_path, error))
    assert (papers, rejected[0].reason[:23]) == ([], "arXiv answers: Do owls ")


def test_huggingface(tmp_path: Path) -> None:
    form, papers, rejected = read(written(tmp_path, HUGGINGFACE))
    expected = replace(
        OWLS, categories=(), url=None, arxiv_version=None, doi=None, upvotes=41, comments=3,
        code_url="https://github.com/owls/noon",
    )  # fmt: skip
    assert (form, papers) == ("huggingface", [expected])
    assert [(r.entry, r.reason) for r in rejected] == [(2, "no title"), (3, "no object with a paper")]


def test_a_feed_of_anybody(tmp_path: Path) -> None:
    text = """<rss version="2.0" xmlns:prism="http://prismstandard.org/namespaces/basic/2.0/"><channel><title>T</title>
    <item><title>Owls &amp;amp; &lt;i&gt;Larks&lt;/i&gt;</title><link>https://example.org/1</link>
    <description>&lt;p&gt;One.&lt;/p&gt;&lt;p&gt;Two.&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;</description>
    <prism:doi>10.5555/OWL</prism:doi></item><item><link>javascript:alert(1)</link></item>
    <item><title>A bad link</title><link>javascript:alert(1)</link></item></channel></rss>"""
    form, papers, rejected = read(written(tmp_path, text))
    assert form == "feed"
    assert [(p.title, p.abstract, p.url, p.doi) for p in papers] == [
        ("Owls & Larks", "One. Two.", "https://example.org/1", "10.5555/owl"),
        ("A bad link", "", None, None),
    ]
    assert [(r.entry, r.reason) for r in rejected] == [(2, "no title")]


def test_bibtex(tmp_path: Path) -> None:
    form, papers, rejected = read(written(tmp_path, BIBTEX))
    assert form == "bibtex"
    first, second, last = papers
    assert first == PaperRecord(
        title="Owls at Noon: Études & $O(n^2)$ Questions",
        abstract="Fifty % of owls.",
        authors=("Nachtigall, Ada", "Lörche, Bo", "Owls and Larks Collaboration"),
        author_count=3,
        published=date(2026, 11, 20),
        categories=("cs.LG",),
        arxiv_id="2611.01234",
        arxiv_version=2,
        doi="10.5555/owl_1",
    )
    assert (second.title, second.url, second.arxiv_id) == ("Second under the same key", None, "2401.00002")
    assert last.title == "After the Broken One"
    assert [r.line for r in rejected] == [13, 14]


def test_bibtex_joins_strings(tmp_path: Path) -> None:
    text = r"""
@string{noon = {Noon}}
@STRING(OWLS = "Owls at " # noon)
@article{a, title = "On " # owls # { and {D}awn, } # 7 # "
{"}Quoted{"}" , author = {A and B}, doi = noon # {}}
@article{b, title = unknown # " and " # noon, url = {https://example.org/#a "b"}}
@article{c, title = {Owls # Larks}, journal = "arXiv:" # "2401.00003"}
"""
    papers = read(written(tmp_path, text))[1]
    assert [p.title for p in papers] == [
        'On Owls at Noon and Dawn, 7 "Quoted"',
        "unknown and Noon",
        "Owls # Larks",
    ]
    assert (papers[0].authors, papers[0].doi, papers[2].arxiv_id) == (("A", "B"), None, "2401.00003")


def test_strings_of_strings_do_not_grow_without_end(tmp_path: Path) -> None:
    laughs = "@string{a0 = {ha}}" + "".join(
        f"\n@string{{a{n} = {' # '.join([f'a{n - 1}'] * 10)}}}" for n in range(1, 40)
    )
    _, papers, rejected = read(
        written(tmp_path, laughs + "\n@article{x, title = a39}\n@article{y, title = {Owls}}")
    )
    assert ([p.title for p in papers], [r.line for r in rejected]) == (["Owls"], [41])


def test_ris(tmp_path: Path) -> None:
    form, papers, rejected = read(written(tmp_path, RIS))
    assert form == "ris"
    assert papers[0] == PaperRecord(
        title="Owls at Noon",
        abstract="Do owls read at noon?",
        authors=("Nachtigall, Ada", "Lerche, Bo"),
        author_count=2,
        published=date(2026, 11, 20),
        url="https://example.org/owl",
        arxiv_id="2611.01234",
        arxiv_version=2,
        doi="10.5555/owl.1",
    )
    assert [p.title for p in papers] == ["Owls at Noon", "Without Blanks"]
    assert [(r.entry, r.reason) for r in rejected] == [(2, "no title")]


def test_csv(tmp_path: Path) -> None:
    form, papers, rejected = read(written(tmp_path, CSV))
    assert form == "csv"
    assert [(p.title, p.abstract, p.authors, p.doi, p.published, p.upvotes) for p in papers] == [
        (
            'Owls "at" Noon',
            "Do owls read at noon?",
            ("Nachtigall, Ada",),
            "10.5555/owl.1",
            date(2026, 11, 20),
            41,
        ),
        ("Larks at Dawn", "", (), None, None, None),
    ]
    assert [(r.line, r.reason) for r in rejected] == [
        (4, "no title"),
        (7, "7 fields under a header of 6"),
        (8, "upvotes must be a number from 0 on"),
    ]


@pytest.mark.parametrize(
    ("rows", "titles", "lines"),
    [
        ('Owls,"never closed\nLarks,two\nFinches,three\n', ["Larks", "Finches"], [2]),
        ('Owls,"closed by the next\nLarks,"two"\nFinches,three\n', ["Larks", "Finches"], [2]),
        ('Owls,"of\nthree\nlines\nLarks,two\n', ["Larks"], [2]),
        ('Owls,"of ""three""\n\nlines"\nLarks,two\n', ["Owls", "Larks"], []),
        ('Owls,in "the" attic\n"Larks" ,two\n', ["Owls", "Larks"], []),
        ('a","\n' * 3 + "Larks,two\n", ["Larks"], [2]),
        ('Owls,"' + "x\n" * 500 + 'Larks,two\n"', ["Larks"], [2]),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_row(
    tmp_path: Path, rows: str, titles: list[str], lines: list[int]
) -> None:
    form, papers, rejected = read(written(tmp_path, "title,abstract\n" + rows))
    assert (form, [p.title for p in papers], [r.line for r in rejected]) == ("csv", titles, lines)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_in_any_encoding_with_any_ends(tmp_path: Path, encoding: str, end: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    for form, text in (
        ("jsonl", mark + end.join(f'{{"title": "Eule \u0101 {n} der Nacht"}}' for n in range(3))),
        ("csv", mark + end.join(["title,abstract", *(f"Eule \u0101 {n} der Nacht,x" for n in range(3))])),
    ):
        found = read(written(tmp_path, text.encode(encoding)))
        assert (found[0], [p.title[-13:] for p in found[1]]) == (
            form,
            [f"\u0101 {n} der Nacht" for n in range(3)],
        )


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"bc", b"\r\r\n"])))
def test_lines_are_the_same_however_they_are_read(size: int, pieces: list[bytes]) -> None:
    data = b"x" + b"".join(pieces)
    assert list(Dribbling(data, size).lines()) == data.splitlines(keepends=True)


class Dribbling(Source):
    """A source that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self.head = data
        self._blocks = [data[at : at + size] for at in range(0, len(data), size)]

    def _read(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""


@pytest.mark.parametrize(
    ("text", "titles", "line"),
    [
        ('[{"title": "Owls"},\n{"title": "Larks"},\n{"title": "Fin', ["Owls", "Larks"], 3),
        ('[{"title": "Owls"}\n\n{"title": "Larks"}]', ["Owls"], 1),
        ('[{"title": "Owls"},\n' + "[" * 100_000, ["Owls"], 2),
        ('[{"title": "Owls"}]\nand more', ["Owls"], 1),
    ],
)
def test_a_broken_list_gives_what_came_before(
    tmp_path: Path, text: str, titles: list[str], line: int
) -> None:
    form, papers, rejected = read(written(tmp_path, text))
    assert (form, [p.title for p in papers], [r.line for r in rejected]) == ("json", titles, [line])


@pytest.mark.parametrize(("text", "line"), [('[\n{"title" "Owls"}]', 2), ("<rss>\n<channel>\n", 3)])
def test_what_cannot_be_read_at_all_says_where(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DropError) as error:
        read(written(tmp_path, text))
    assert error.value.line == line


def test_json_lines_take_what_papers_prints(tmp_path: Path) -> None:
    printed = {
        "id": 7, "title": OWLS.title, "abstract": OWLS.abstract, "authors": list(OWLS.authors), "author_count": 5,
        "published": "2026-11-20", "categories": list(OWLS.categories), "url": OWLS.url, "arxiv_id": "2611.01234",
        "doi": "10.5555/owl.1", "upvotes": 0, "comments": None, "first_seen": "2026-11-21T08:00:00Z", "excerpt": "Do",
    }  # fmt: skip
    expected = replace(OWLS, author_count=5, upvotes=0)
    for text, form in ((json.dumps(printed), "jsonl"), (json.dumps([printed], indent=2), "json")):
        assert read(written(tmp_path, text)) == (form, [expected], [])


@pytest.mark.parametrize("text", [ATOM, RSS, HUGGINGFACE, BIBTEX, RIS, CSV])
def test_gz_of_each_reads_the_same(tmp_path: Path, text: str) -> None:
    plain = read(written(tmp_path, text))
    assert read(written(tmp_path, gzip.compress(text.encode()))) == plain


def test_latin_1_is_understood(tmp_path: Path) -> None:
    (paper,) = read(written(tmp_path, "TY  - JOUR\nTI  - Über Eulen\nER  - \n".encode("latin-1")))[1]
    assert paper.title == "Über Eulen"


# ---- identifiers and text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2401.00001", ("2401.00001", None)),
        ("2401.00001v12", ("2401.00001", 12)),
        ("arXiv:2401.00001v1 [cs.LG]", ("2401.00001", 1)),
        ("http://arxiv.org/abs/2401.00001v2", ("2401.00001", 2)),
        ("https://arxiv.org/pdf/2401.00001v3.pdf", ("2401.00001", 3)),
        ("https://www.arxiv.org/abs/2401.00001?context=cs", ("2401.00001", None)),
        ("https://huggingface.co/papers/2401.00001", ("2401.00001", None)),
        ("https://doi.org/10.48550/arXiv.2401.00001", ("2401.00001", None)),
        ("10.48550/ARXIV.2401.00001", ("2401.00001", None)),
        ("oai:arXiv.org:0704.0001v1", ("0704.0001", 1)),
        ("http://arxiv.org/abs/math.GT/0309136v1", ("math/0309136", 1)),
        ("astro-ph/0601001", ("astro-ph/0601001", None)),
        ("2413.00001", None),
        ("24010.0001", None),
        ("https://example.org/2401.00001", None),
        ("", None),
    ],
)
def test_arxiv_ids_in_all_forms(text: str, expected: tuple[str, int | None] | None) -> None:
    assert read_arxiv_id(text) == expected


def test_an_arxiv_id_in_running_text_must_be_marked_as_one() -> None:
    assert find_arxiv_id("see arXiv:2401.00001v2, or not") == ("2401.00001", 2)
    assert find_arxiv_id("in 2401.00001 cases") is None
    assert find_arxiv_id("arXiv:2401.000011") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1145/3290605.3300233", "10.1145/3290605.3300233"),
        ("https://doi.org/10.1145/ABC.DEF", "10.1145/abc.def"),
        ("http://dx.doi.org/10.1/x", None),
        ("doi:10.1000/a%2Fb.", "10.1000/a/b"),
        ("10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2", "10.1175/1520-0469(1963)020<0130:dnf>2.0.co;2"),
        ("10.1002/x(1)1:2<3::AID-4>3.0.CO;2-2", "10.1002/x(1)1:2<3::aid-4>3.0.co;2-2"),
        ("https://doi.org/10.1002/x(1)1:2%3C3::aid-4%3E3.0.CO;2-2", "10.1002/x(1)1:2<3::aid-4>3.0.co;2-2"),
        ("10.1002/x(1)1:2&lt;3::aid-4&gt;3.0.CO;2-2", "10.1002/x(1)1:2<3::aid-4>3.0.co;2-2"),
        ("10.1234/a</a> and <b>more</b>", "10.1234/a"),
        ("11.1000/x", None),
        ("https://example.org/10.1145/x", None),
    ],
)
def test_dois_in_all_forms(text: str, expected: str | None) -> None:
    assert read_doi(text) == expected


def test_papers_of_one_issue_with_old_dois_stay_apart(tmp_path: Path) -> None:
    """Wiley and others named the issue first, and the article between angle brackets."""
    doi = "10.1002/(SICI)1521-396X(199901)171:1<{0}::AID-PSSA{0}>3.0.CO;2-1"
    entry = f"@article{{{{p{{0}}, title={{{{Owls in the dark, part {{0}}}}}}, doi={{{{{doi}}}}}}}}}"
    _, papers, rejected = read(written(tmp_path, "\n".join(entry.format(page) for page in (325, 401))))
    assert [paper.doi for paper in papers] == [doi.format(page).lower() for page in (325, 401)]
    assert not rejected


def test_names_of_authors_in_latex_are_names(tmp_path: Path) -> None:
    line = json.dumps(
        {"title": "Owls", "authors": ["Paul Erd\\H{o}s", 'G\\"unther \\L{}ukasz', "Zoë {Fern}"]}
    )
    _, [paper], _ = read(written(tmp_path, line))
    assert paper.authors == ("Paul Erdős", "Günther Łukasz", "Zoë {Fern}")


def test_text_without_what_no_reader_can_show() -> None:
    assert clean(" a\x00b\r\n\tc\ud800d\u202ee\u2066f\ufeffg\U000e0041 🧑‍🚀 ") == "a b cdefg 🧑‍🚀"
    assert clean("two  blanks stay") == "two  blanks stay"


def test_markup_goes_and_mathematics_stays() -> None:
    assert strip_markup("x<y and z>w, <a b>c") == "x<y and z>w, c"
    assert strip_markup("<jats:p>One.</jats:p><p>Two <b>three</b></p>").split() == ["One.", "Two", "three"]
    assert strip_markup("a<script>alert('<p>')</script>b<style>p{}</style>") == "a b "
    assert from_html("<p>A&nbsp;&lt;b&gt;\n c</p>") == "A <b> c"


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.org/a?b=c#d", True),
        ("HTTP://EXAMPLE.ORG", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.org", False),
        ("https://", False),
        ("https://user@example.org/", False),
        ("https://example.org:port/", False),
        ("https://[/", False),
        ('https://example.org/"onload=x', False),
        ("https://example.org/a b", False),
    ],
)
def test_only_web_links_are_links(url: str, good: bool) -> None:
    assert clean_url(url) == (url if good else None)


# ---- hostile files ----------------------------------------------------------------------------------------------

LAUGHS = '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS + "]><rss version='2.0'><channel><item><title>&i;</title></item></channel></rss>",
        "<?xml version='1.0'?><!DOCTYPE feed [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>&x;</title></entry></feed>",
        "<!DOCTYPE rss [<!ENTITY % x SYSTEM 'http://127.0.0.1/x.dtd'> %x;]><rss><channel/></rss>",
    ],
)
def test_xml_with_entities_of_its_own_is_refused(tmp_path: Path, text: str) -> None:
    for data in (text.encode(), text.encode("utf-16")):
        with pytest.raises(DropError, match=r"entities|no format"):
            read(written(tmp_path, data))
    with pytest.raises(DropError, match="entities"):
        read(written(tmp_path, text + "<unclosed>"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<rss>" * 90 + "\n" * 3 + "<a>" * 90, 6),
        ("<!DOCTYPE rss [\n<!ENTITY a 'ha'>]><rss/>", 4),
        ("<rss>\n<a " + " ".join(f"b{n}=''" for n in range(300)) + "/></rss>", 4),
    ],
)
def test_a_feed_that_is_refused_as_a_whole_names_the_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DropError, match="refused") as refused:
        read(written(tmp_path, "\n\n" + text))
    assert refused.value.line == line


@pytest.mark.parametrize("end", ["", "</channel></rss>"])
def test_deep_nesting_is_refused_at_once(tmp_path: Path, end: str) -> None:
    began = time.process_time()
    with pytest.raises(DropError, match=r"nested|not closed"):
        read(written(tmp_path, "<rss><channel>" + "<a>" * 300_000 + end))
    with pytest.raises(DropError, match=r"nested|not closed"):
        read(written(tmp_path, "<rss>&broken<channel>" + "<a>" * 300_000 + end))
    with pytest.raises(DropError, match="nested"):
        read(written(tmp_path, "[" * 300_000))
    assert time.process_time() - began < 3


def test_compression_bombs_are_refused_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(400):
            file.write(bytes(1024 * 1024))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in (
        ("json", b"{"),
        ("csv", b'Title,Abstract\n"'),
        ("xml", b"<rss>"),
        ("text", b"SubscribeA\n"),
    ):
        text = data + b" " * 200
        bomb = tmp_path / name
        bomb.write_bytes(gzip.compress(text * 400) + path.read_bytes())
        assert "compression bomb" in refusal(bomb)
    assert "compression bomb" in refusal(path)  # of no format, but that is not what is wrong with it
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024


def test_damaged_gz_keeps_what_came_before(tmp_path: Path) -> None:
    lines = "".join(
        json.dumps({"title": f"Owl number {n} of the wood", "abstract": str(n * 7919)}) + "\n"
        for n in range(9000)
    )
    packed = gzip.compress(lines.encode())
    _, papers, rejected = read(written(tmp_path, packed[: len(packed) // 2]))
    assert len(papers) > 1000
    assert "damaged or ends early" in rejected[-1].reason
    with pytest.raises(DropError, match="damaged"):
        read(written(tmp_path, packed[:15]))


def test_an_endless_line_spoils_itself_only(tmp_path: Path) -> None:
    good = json.dumps({"title": "Owls at Noon"}).encode() + b"\n"
    _, papers, rejected = read(
        written(tmp_path, good + b'{"title": "' + b"x" * (MAX_LINE_BYTES + 99) + b'"}\n' + good)
    )
    assert (len(papers), [r.line for r in rejected]) == (2, [2])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"title": "Owls", "abstract": "<!--" * 24_000}),
        json.dumps({"title": "Owls", "abstract": "<script>" * 12_000 + "<a " * 1000}),
        "TY  - JOUR\nTI  - x" + "\n continued" * 200_000,
        "<rss><channel><item " + " ".join(f'a{n}="x"' for n in range(100_000)) + "/></channel></rss>",
        "<rss>&<channel><item " + " ".join(f'a{n}="x"' for n in range(100_000)) + "></channel></rss>",
        "title,abstract\n" + 'a","\n' * 300_000,
        "@article{a, title = {" + "{" * 200_000 + "}" * 200_000 + "}}",
        "@article{" * 60_000,
        "SubscribeTitle\n" + "• 1 authors\n" * 100_000,
    ],
    ids=lambda text: text[:12],
)
def test_what_would_take_quadratic_time_takes_seconds(tmp_path: Path, text: str) -> None:
    began = time.process_time()
    refusal(written(tmp_path, text))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(gzip.compress(b'{"title": "Owls"}', mtime=0), mtime=0), "packed with gzip twice"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\0" * 9, "nothing but zeros"),
    ],
)
def test_what_is_no_text_says_what_it_is(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(written(tmp_path, data))


def test_what_follows_a_gz_takes_nothing_from_it(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"title": "Owls"}\n')
    for data in (packed + b"garbage", packed[:-8] + bytes(8)):
        _, papers, rejected = read(written(tmp_path, data))
        assert ([p.title for p in papers], len(rejected)) == (["Owls"], 1)


def test_numbers_that_no_column_holds_are_none(tmp_path: Path) -> None:
    page = f"SubscribeOwls at noon\nThey do not read at all.\n• {'9' * 30} authors · Nov 20 {'9' * 30}\n"
    (paper,) = read(written(tmp_path, page))[1]
    assert (paper.author_count, paper.comments) == (None, None)


# ---- real files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["arxiv", "bibtex", "ris", "feeds"])
def test_every_real_file_ends_as_papers_or_as_a_report(folder: str) -> None:
    for path in sorted(shared(f"corpora/{folder}").iterdir()):
        began = time.process_time()
        if path.name.startswith("LICENSE") or path.name in ("unrecognized.rss", "example_wos.ris"):
            assert refusal(path).startswith(("no format", "an HTML page")), path
        else:
            _, papers, rejected = read(path)
            assert all(p.title and p.title == clean(p.title) for p in papers), path
            assert all(r.reason and (r.line or r.entry) for r in rejected), path
        assert time.process_time() - began < 5, path


# ---- any bytes at all -------------------------------------------------------------------------------------------

SAMPLES = [
    ATOM,
    RSS.replace("KIND", "replace"),
    HUGGINGFACE,
    BIBTEX,
    RIS,
    CSV,
    json.dumps({"title": "Owls", "authors": ["A"]}) * 2,
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sample with pieces cut out, doubled or overwritten."""
    data = draw(st.sampled_from(SAMPLES)).encode()
    for _ in range(draw(st.integers(0, 6))):
        start, length = draw(st.integers(0, len(data))), draw(st.integers(0, 60))
        piece = draw(st.one_of(st.binary(max_size=8), st.just(data[start : start + length] * 2)))
        data = data[:start] + piece + data[start + length :]
    return data


def without_defects(reading: DropReading) -> Iterator[PaperRecord | Revision | Rejection]:
    try:
        yield from reading
    except DropError as error:
        if DEFECT in str(error):
            pytest.fail(str(error))
        raise


@given(st.one_of(st.binary(max_size=400), damaged(), damaged().map(gzip.compress)))
@example(b"@article{a,title={\\")
@example(b"title\n\r\r\x00")
def test_any_bytes_give_papers_or_a_report(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = written(tmp_path_factory.getbasetemp(), data, "any")
    with contextlib.suppress(DropError):
        for item in without_defects(read_drop(path, received=NOW.date())):
            if not isinstance(item, Rejection):
                item = item.record if isinstance(item, Revision) else item
                texts = (
                    item.title,
                    item.abstract,
                    *item.authors,
                    *item.categories,
                    item.url or "",
                    item.doi or "",
                )
                assert item.title
                assert "\0" not in " ".join(texts).encode().decode()  # no lone surrogate either
            else:
                assert item.reason
                assert DEFECT not in item.reason


@given(st.binary(max_size=200))
def test_recognition_answers_for_any_bytes(data: bytes) -> None:
    with contextlib.suppress(DropError):
        assert recognise(data).name


def test_a_defect_of_a_reader_is_a_reason_too(tmp_path: Path) -> None:
    def broken(_source: Source, _received: date) -> Iterator[PaperRecord]:
        yield OWLS
        raise OverflowError("a defect")

    form = Format("broken", lambda _: True, broken)
    with pytest.raises(DropError, match=r"please report it with the file \(OverflowError in broken\)"):
        list(DropReading(Source(written(tmp_path, "x")), form, NOW.date()))


def test_the_head_of_a_gz_stream_may_be_short(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        file.write(b"")
    with pytest.raises(DropError, match="empty"):
        read(written(tmp_path, packed.getvalue()))
