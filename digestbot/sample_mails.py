"""One mail of each kind, about invented papers: templates are tried on them before anybody's mail is made. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from digestbot.model import (
    Digest,
    DigestPaper,
    EntryKind,
    Paper,
    PaperId,
    PaperRecord,
    Reason,
    ReasonKind,
    SubscriberId,
)
from digestbot.render import SYSTEM_VALUES, Renderer

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_PAPERS = (
    PaperRecord(
        "A Sample",
        abstract="We show a sample: see https://github.com/example/sample. It is small.",
        authors=("Ada Example",),
        published=_AT.date(),
        arxiv_id="2601.00001",
    ),
    PaperRecord("דגם"),  # of which only a title is known, from right to left
)


def try_templates(renderer: Renderer) -> None:
    """Makes a mail of each kind. Raises TemplateError for the first template that is wrong."""
    papers = {PaperId(n): Paper(PaperId(n), record, _AT) for n, record in enumerate(_PAPERS, 1)}
    reasons = (Reason(ReasonKind.TERM, "sample"),)
    chosen = tuple(DigestPaper(number, 0.5, "samples", reasons) for number in papers)
    renderer.digest(Digest(SubscriberId(1), _AT.date(), _AT, chosen, more=1), "ada@example.org", papers)
    for kind in EntryKind:
        if kind is not EntryKind.DIGEST:
            renderer.system(kind, dict.fromkeys(SYSTEM_VALUES, "a sample"))
