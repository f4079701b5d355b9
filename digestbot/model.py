"""The values everything is made of: frozen, comparable, without behaviour that touches the outside.

Times are aware `datetime`s in UTC, dates are plain `date`s; a `None` says what its field's comment says.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time
from operator import attrgetter
from typing import NamedTuple, NewType

PaperId = NewType("PaperId", int)
SubscriberId = NewType("SubscriberId", int)
EntryId = NewType("EntryId", int)
DropId = NewType("DropId", int)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # in the order of date.weekday()


# ---- papers and drops -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaperRecord:
    """What one entry of a drop says of one paper. Text is kept as it came, but for characters no reader can show."""

    title: str
    abstract: str = ""
    authors: tuple[str, ...] = ()
    author_count: int | None = None  # None: unknown; at least len(authors) otherwise
    published: date | None = None
    categories: tuple[str, ...] = ()
    url: str | None = None  # http(s) only
    code_url: str | None = None
    arxiv_id: str | None = None  # without its version
    arxiv_version: int | None = None
    doi: str | None = None  # lower case, without resolver
    upvotes: int | None = None
    comments: int | None = None

    def __reduce__(self) -> tuple[type[PaperRecord], tuple[object, ...]]:
        """Between processes: in a third of the time that a dataclass with slots takes by itself."""
        return PaperRecord, _FIELDS_OF_RECORD(self)


_FIELDS_OF_RECORD = attrgetter(*(one.name for one in fields(PaperRecord)))


@dataclass(frozen=True, slots=True)
class Revision:
    """A record of a paper that its source announced earlier and has revised now: nothing new, even where no drop
    had it so far."""

    record: PaperRecord


@dataclass(frozen=True, slots=True)
class Paper:
    """One scholarly work in the catalogue, merged from all its records by identity.py's fixed rule."""

    id: PaperId
    record: PaperRecord
    first_seen: datetime | None  # None: known only from a subscriber's library, never shown to others
    mailable: bool = True  # False: from a backfill or a revision, for ranking and search only
    sightings: int = 1  # drops that had it


@dataclass(frozen=True, slots=True)
class Rejection:
    """One entry of a drop that could not be taken, or (neither line nor entry) the drop as a whole."""

    reason: str
    line: int | None = None  # 1-based, for formats of lines
    entry: int | None = None  # 1-based, for formats of records


@dataclass(frozen=True, slots=True)
class DropReport:
    """What became of one drop: new + known + updated + len(rejected) is the number of its entries."""

    path: str
    format: str | None  # None: not recognised
    new: int = 0
    known: int = 0
    updated: int = 0
    rejected: tuple[Rejection, ...] = ()
    held: str | None = None  # why it waits for the operator
    again: bool = False  # the same bytes under the same name were read before, and said the same

    @property
    def usable(self) -> bool:
        return self.new + self.known + self.updated > 0


# ---- subscribers ------------------------------------------------------------------------------------------------


class Status(enum.StrEnum):
    UNCONFIRMED = "unconfirmed"
    CONFIRMED = "confirmed"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Topic:
    """A named interest. Terms of several words are phrases; an excluded term bars a paper from the subscriber."""

    name: str
    terms: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When digests are due: at local wall-clock time `send_at` on `days` in `timezone` (an IANA name)."""

    timezone: str = "UTC"
    send_at: time = time(8, 0)
    days: tuple[str, ...] = WEEKDAYS
    paused_until: date | None = None  # the first local date with digests again; date.max: until resumed


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a subscriber chose of the digest's content."""

    max_papers: int = 10
    min_score: float = 0.0
    trending_share: float = 0.0
    topics: tuple[Topic, ...] = ()
    quiet_week: bool = True  # a short note after a week without a digest


@dataclass(frozen=True, slots=True)
class Subscriber:
    id: SubscriberId
    email: str  # as given, IDN domain as A-label
    name: str | None = None
    status: Status = Status.CONFIRMED
    schedule: Schedule = field(default_factory=Schedule)
    preferences: Preferences = field(default_factory=Preferences)
    confirmed_at: datetime | None = None
    next_due_at: datetime | None = None  # None: nothing is due until something changes


class Opinion(enum.StrEnum):
    """What a subscriber said of a paper."""

    MORE = "more"
    LESS = "less"
    SAVE = "save"
    LIBRARY = "library"  # came with an imported library: a like, and never sent


@dataclass(frozen=True, slots=True)
class Vote:
    paper_id: PaperId
    opinion: Opinion
    at: datetime


@dataclass(frozen=True, slots=True)
class TopicProfile:
    """All a ranker knows of one subscriber."""

    topics: tuple[Topic, ...] = ()
    votes: tuple[Vote, ...] = ()


# ---- ranking and digests ----------------------------------------------------------------------------------------


class ReasonKind(enum.StrEnum):
    TERM = "term"  # detail: the matched terms
    AUTHOR = "author"  # detail: the followed author
    SIMILAR_TOPIC = "similar"  # detail: the topic's name; matched by meaning, without a term
    LIKED = "liked"  # detail: title of the liked paper it resembles
    CATEGORY = "category"  # detail: the category
    TRENDING = "trending"  # detail: e.g. "41 upvotes"


class Reason(
    NamedTuple
):  # these three are made by the dozen for every digest, which tuples are twice as fast at
    kind: ReasonKind
    detail: str


class Scored(NamedTuple):
    """One candidate for one subscriber. score in (0, 1]; 0 is no evidence and never stands here."""

    paper_id: PaperId
    score: float
    topic: str | None  # name of the topic that speaks loudest; None: votes or trending alone
    reasons: tuple[Reason, ...]


class CardLength(enum.IntEnum):
    """The fixed lengths in which a paper's card exists; `render.py` knows their sizes."""

    FULL = 0
    SHORT = 1
    TITLE = 2


class DigestPaper(NamedTuple):
    paper_id: PaperId
    score: float
    topic: str | None
    reasons: tuple[Reason, ...]
    length: CardLength = CardLength.FULL


@dataclass(frozen=True, slots=True)
class Digest:
    """The decision for one (subscriber, slot). Mail is made from it, and only from it, at the moment of sending."""

    subscriber_id: SubscriberId
    slot: date
    composed_at: datetime  # the mail's Date
    papers: tuple[DigestPaper, ...]  # in the order shown
    more: int = 0  # further papers above the minimum that did not fit


# ---- outbox -----------------------------------------------------------------------------------------------------


class EntryKind(enum.StrEnum):
    DIGEST = "digest"
    CONFIRM = "confirm"
    WELCOME = "welcome"
    GOODBYE = "goodbye"
    LINK = "link"
    OPERATOR = "operator"
    QUIET = "quiet"


class EntryState(enum.StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt"
    HELD = "held"
    SENT = "sent"
    BOUNCED = "bounced"
    FAILED = "failed"
    CANCELLED = "cancelled"


COUNTS_AS_SENT = (
    EntryState.QUEUED,
    EntryState.SENDING,
    EntryState.DEFERRED,
    EntryState.IN_DOUBT,
    EntryState.HELD,
    EntryState.SENT,
)
FINAL_STATES = (EntryState.SENT, EntryState.BOUNCED, EntryState.FAILED, EntryState.CANCELLED)


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A mail on its way out, as claimed for delivery."""

    id: EntryId
    kind: EntryKind
    state: EntryState
    recipient: str  # address at the moment of claiming; '': the subscriber is gone
    subscriber_id: SubscriberId | None  # None: to the operator
    message_id: str  # with angle brackets; never changes
    composed_at: datetime  # the mail's Date; never changes
    digest: Digest | None  # of kind digest only
    payload: dict[str, str]  # values for the template of the other kinds
    due_at: datetime  # the due instant of the slot, else composed_at
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_reply: str | None = None  # what the server said last, one line
    recipient_name: str = ""  # '': not known


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to: the entry's next state, with what the server said."""

    state: EntryState
    reply: str  # e.g. "250 2.0.0 Ok: queued as 4FZ"; for the ledger and the operator
    next_attempt_at: datetime | None = None  # of deferred only


class SlotOutcome(enum.StrEnum):
    """How a due slot ended; each (subscriber, slot) has exactly one, for ever."""

    COMPOSED = "composed"
    EMPTY = "empty"
    LATE = "late"
    PAUSED = "paused"
    SKIPPED = "skipped"  # by the subscriber's or the operator's `skip`, or done before a restore


class Cause(enum.StrEnum):
    """Why somebody got nothing on a date; `explain` answers with exactly one."""

    UNCONFIRMED = "unconfirmed"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    PAUSED = "paused"
    NO_SENDING_DAY = "no sending day"
    NOT_YET_DUE = "not yet due"
    LATE = "late"
    NO_NEW_PAPER = "no new paper"
    ALL_SENT = "all sent already"
    ALL_EXCLUDED = "all excluded"
    BELOW_MINIMUM = "all below the minimum"
    DEFERRED = "deferred"
    IN_DOUBT = "in doubt"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class SlotRecord:
    subscriber_id: SubscriberId
    slot: date
    outcome: SlotOutcome
    at: datetime  # when it was decided
    cause: Cause | None = None  # of empty, late and paused
    best_score: float | None = None  # of empty: the best that any candidate reached
