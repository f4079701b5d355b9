"""What other settings, another model or other templates would change for everybody, before anybody is mailed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from digestbot.cards import MAIL_BYTES
from digestbot.choosing import gather
from digestbot.desk import Desk, make_renderer
from digestbot.errors import SettingsError
from digestbot.links import Links, derive_key
from digestbot.model import Digest, PaperId
from digestbot.previews import Preview, preview, rendered
from digestbot.semantics import find_embedder
from digestbot.settings import PREFIX, Settings, current_values, parse_settings, unknown_names

BLOCK = 1000
EXAMPLES = 20  # named for each kind of change


@dataclass
class Plan:
    """Counts of subscribers, and some of their addresses for each kind."""

    subscribers: int = 0
    same: int = 0
    other_papers: int = 0  # a digest before and after, with other papers or another order
    other_looks: int = 0  # the same papers, another mail
    emptied: int = 0  # a digest before, none after
    filled: int = 0  # none before, a digest after
    over_size: int = 0  # HTML over 80 KiB after
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, email: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        named = self.examples.setdefault(kind, [])
        if kind != "same" and len(named) < EXAMPLES:
            named.append(email)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "examples": {kind: named for kind, named in self.examples.items() if named}}


def other_settings(changes: Sequence[str], templates: Path | None) -> Settings:
    """The settings of now with some changed, `NAME=VALUE` each. Raises SettingsError naming what is wrong."""
    wrong = [change for change in changes if "=" not in change]
    if wrong:
        raise SettingsError([f"--set {change}: must be NAME=VALUE" for change in wrong])
    pairs = [change.partition("=") for change in changes]
    given = {f"{PREFIX}{name.upper().removeprefix(PREFIX)}": value for name, _, value in pairs}
    unknown = unknown_names(given)
    if unknown:
        raise SettingsError([f"--set: {problem}" for problem in unknown])
    values = {**current_values(), **given}
    if templates is not None:
        values["DIGESTBOT_TEMPLATES"] = str(templates)
    return parse_settings(values)


def make_plan(
    desk: Desk, other: Settings, now: datetime, *, progress: Callable[[int, int], None] | None = None
) -> Plan:
    """Everybody's next digest under the desk's settings and under others; for use in a rehearsal."""
    after_desk = _desk_with(desk, other)
    whole = sum(desk.storage.subscribers.count_by_status().values())
    before, after = gather(desk, now), gather(after_desk, now)
    plan = Plan()
    everybody = desk.storage.subscribers.everybody()
    while block := list(islice(everybody, BLOCK)):
        pairs = zip(preview(desk, before, block), preview(after_desk, after, block), strict=True)
        for old, new in pairs:
            plan.subscribers += 1
            for kind in _changes(desk, after_desk, old, new):
                plan.note(kind, old.subscriber.email)
        if progress:
            progress(plan.subscribers, whole)
    return plan


def _desk_with(desk: Desk, settings: Settings) -> Desk:
    links = Links(settings.base_url, [derive_key(key) for key in settings.secret_keys])
    return replace(
        desk,
        settings=settings,
        links=links,
        renderer=make_renderer(settings, links),
        embedder=find_embedder(settings),
    )


def _changes(desk: Desk, after_desk: Desk, old: Preview, new: Preview) -> Iterator[str]:
    if not isinstance(new.result, Digest):
        yield "emptied" if isinstance(old.result, Digest) else "same"
        return
    mail = rendered(after_desk, new)
    if not isinstance(old.result, Digest):
        yield "filled"
    elif _papers(old.result) != _papers(new.result):
        yield "other_papers"
    elif rendered(desk, old) != mail:
        yield "other_looks"
    else:
        yield "same"
    if len(mail.html_body().encode()) > MAIL_BYTES:
        yield "over_size"


def _papers(digest: Digest) -> list[PaperId]:
    return [chosen.paper_id for chosen in digest.papers]
