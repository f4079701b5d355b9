"""Papers as BibTeX and RIS, read back by other people's parsers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from digestbot.bibliography import bibtex, citation_meta, ris
from digestbot.drops.reading import read_drop
from digestbot.links import Links, derive_key
from digestbot.model import Paper, PaperId, PaperRecord

LINKS = Links("https://papers.example.org", [derive_key("a secret of many letters")])
SEEN = datetime(2026, 11, 21, tzinfo=UTC)


def paper(number: int = 1, **fields: object) -> Paper:
    record = PaperRecord(**{"title": "Moss & ferns: 50% of $\\alpha_1$ {x}", **fields})  # type: ignore[arg-type]
    return Paper(PaperId(number), record, SEEN)


FULL = paper(
    abstract="It grows.",
    authors=("Ada Moss", "Fern, Ben"),
    author_count=3,
    published=date(2026, 11, 2),
    arxiv_id="2611.00001",
    doi="10.1234/m_1",
)


def test_bibtex_is_what_tex_takes() -> None:
    text = bibtex([FULL, FULL], LINKS)
    assert text.startswith("@misc{moss2026moss,\n")
    assert "@misc{moss2026moss-2," in text
    assert r"title = {{Moss \& ferns: 50\% of \$\textbackslash{}alpha\_1\$ \{x\}}}" in text
    assert "author = {Ada Moss and Fern, Ben and others}" in text
    assert "eprint = {2611.00001}" in text


def test_keys_keep_letters_with_accents() -> None:
    assert bibtex([paper(authors=("Paul Erdős",))], LINKS).startswith("@misc{erdosmoss,")


def test_ris_has_a_tag_a_line() -> None:
    lines = ris([FULL], LINKS).split("\r\n")
    assert lines[0] == "TY  - GEN"
    assert lines[-2:] == ["ER  - ", ""]
    assert "AU  - Moss, Ada" in lines
    assert "AU  - Fern, Ben" in lines
    assert "DO  - 10.1234/m_1" in lines


def test_citation_metadata_names_what_reference_managers_read() -> None:
    meta = citation_meta(FULL, LINKS)
    assert ("citation_publication_date", "2026/11/02") in meta
    assert ("citation_pdf_url", "https://arxiv.org/pdf/2611.00001") in meta
    assert meta[0][0] == "citation_title"


def test_what_is_written_is_read_back_as_a_drop(tmp_path: Path) -> None:
    for name, text in (("a.bib", bibtex([FULL], LINKS)), ("a.ris", ris([FULL], LINKS))):
        (tmp_path / name).write_text(text, "utf-8")
        [found] = [
            item for item in read_drop(tmp_path / name, received=SEEN.date()) if isinstance(item, PaperRecord)
        ]
        assert (found.doi, found.title.split(":")[0]) == ("10.1234/m_1", "Moss & ferns")


@given(st.text(max_size=80), st.lists(st.text(max_size=30), max_size=3))
def test_no_text_breaks_out_of_its_field(title: str, authors: list[str]) -> None:
    hostile = paper(title=title, authors=tuple(authors), abstract=title)
    written = bibtex([hostile], LINKS).replace("\\{", "").replace("\\}", "")
    assert written.count("{") == written.count("}")
    assert written.count("@misc{") - title.count("@misc{") <= 1
    for line in ris([hostile], LINKS).split("\r\n")[:-1]:
        assert line[2:6] == "  - "
