"""Where papers can be fetched: arXiv's query API and Hugging Face's daily papers, over HTTP.

An answer that is not what the source documents is an outage, never an empty day. Waiting is done on real time.
arXiv asks for three seconds between requests: https://info.arxiv.org/help/api/tou.html
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

from digestbot import __version__
from digestbot.errors import DigestbotError, UsageError

ARXIV_URL = "https://export.arxiv.org/api/query"
HUGGINGFACE_URL = "https://huggingface.co/api/daily_papers"
DAYS = 3  # read anew each time: sources deliver late
PAGE = 500  # entries asked for at once
MAX_PAGES = 40
MAX_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 60.0
ARXIV_PAUSE_S = 3.0
MAX_WAIT_S = 90.0  # a source that wants more is left for the next time
ATTEMPTS = 4

_CATEGORY = re.compile(r"[a-z]+(?:-[a-z]+)?(?:\.(?:[A-Za-z]{2}|[a-z]+(?:-[a-z]+)?|\*))?")


class Outage(DigestbotError):
    """A source did not answer, or not as it should; nothing is known of its day."""


class ComeBackLater(Outage):
    """A source asks for a longer pause."""

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source answered. body None: nothing new since `validator`, which is to be shown the next time."""

    url: str
    body: bytes | None
    validator: str = ""

    @property
    def mark(self) -> str:
        """What is to be remembered of it; '' where the source gave nothing to ask with."""
        return f"{self.url} {self.validator}" if self.validator else ""


@dataclass(frozen=True, slots=True)
class Client:
    """How to talk to sources; tests give it a loopback server and no patience."""

    pause_s: float = ARXIV_PAUSE_S
    max_wait_s: float = MAX_WAIT_S
    timeout_s: float = TIMEOUT_S
    sleep: Callable[[float], None] = time.sleep

    def get(self, url: str, validator: str = "") -> Answer:
        """One document, asked for with the validator of the last time ('': none). Waits as long as a 429 or 503 asks
        for, tries again after a broken connection; raises Outage."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._get(url, validator)
            except ComeBackLater as late:
                if late.wait_s > self.max_wait_s or attempt == ATTEMPTS:
                    raise
                self.sleep(late.wait_s)
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS:
                    raise Outage(
                        f"{url}: {getattr(error, 'reason', None) or error}; it is tried again the next time"
                    ) from error
                self.sleep(min(2.0**attempt, self.max_wait_s))
        raise AssertionError("unreachable")

    def _get(self, url: str, validator: str) -> Answer:
        request = urllib.request.Request(url, headers=_headers(validator))  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as reply:  # noqa: S310
                body = reply.read(MAX_BYTES + 1)
                if len(body) > MAX_BYTES:
                    raise Outage(f"{url}: answers more than {MAX_BYTES // 2**20} MiB")
                if reply.length:  # fewer bytes came than were announced
                    raise http.client.IncompleteRead(body, reply.length)
                return Answer(url, body, _validator(reply.headers))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.client.NOT_MODIFIED and validator:
                    return Answer(url, None, validator)
                if error.code in (429, 503):
                    wait_s = _wait_s(error.headers.get("Retry-After"))
                    raise ComeBackLater(
                        f"{url}: asks to come back in {wait_s:.0f} s (HTTP {error.code})", wait_s
                    ) from error
                raise Outage(f"{url}: answers HTTP {error.code} {error.reason}") from error


def _headers(validator: str) -> dict[str, str]:
    headers = {"User-Agent": f"digestbot/{__version__}", "Accept-Encoding": "identity"}
    kind, _, value = validator.partition(" ")
    if kind == "etag":
        headers["If-None-Match"] = value
    elif kind == "modified":
        headers["If-Modified-Since"] = value
    return headers


def _validator(headers: http.client.HTTPMessage) -> str:
    if etag := headers.get("ETag"):
        return f"etag {etag}"
    modified = headers.get("Last-Modified")
    return f"modified {modified}" if modified else ""


def _wait_s(text: str | None) -> float:
    """Seconds of a Retry-After (RFC 9110 10.2.3), which is a number of them or a date; 10 where none is given."""
    if text and re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text).replace(tzinfo=UTC) if text else None  # always GMT (RFC 9110 5.6.7)
    except ValueError:
        at = None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at else 10.0


# ---- arXiv ------------------------------------------------------------------------------------------------------


def read_categories(texts: Sequence[str]) -> list[str]:
    """Categories of arXiv, as `cs.LG stat.ML` or `cs.LG,stat.ML`; raises UsageError for what is none."""
    names = [name for text in texts for name in re.split(r"[,\s]+", text) if name]
    wrong = [name for name in names if not _CATEGORY.fullmatch(name)]
    if wrong or not names:
        raise UsageError(
            f"{', '.join(wrong) or 'no category'}: give categories of arXiv such as cs.LG or stat.ML"
        )
    return list(dict.fromkeys(names))


def arxiv_pages(
    client: Client, categories: Sequence[str], today: date, *, known: str = "", url: str = ARXIV_URL
) -> Iterator[Answer]:
    """The pages of what was submitted in the last three days, newest first; raises Outage.

    known: `mark` of the only page of the last time ('': there were several, or none). Where it did not change it
    comes without a body.
    arXiv's API now and then answers an empty page in the middle of a list: that is an outage, too.
    """
    asked, _, validator = known.partition(" ")
    begin = today - timedelta(days=DAYS)
    anywhere = " OR ".join(f"cat:{category}" for category in categories)
    when = f"submittedDate:[{begin:%Y%m%d}0000 TO {today:%Y%m%d}2359]"
    start = total = 0
    for number in range(MAX_PAGES):
        if number:
            client.sleep(client.pause_s)
        query = urlencode(
            {
                "search_query": f"({anywhere}) AND {when}",
                "sortBy": "submittedDate",
                "sortOrder": "descending",
                "start": start,
                "max_results": PAGE,
            }
        )
        address = f"{url}?{query}"
        answer = client.get(address, validator if address == asked and not number else "")
        if answer.body is None:
            yield answer
            return
        entries, total = _count_arxiv(answer)
        if not entries and start < total:
            raise Outage(f"{url}: answers none of {total} entries from the {start + 1}. on")
        yield answer
        start += entries
        if start >= total:
            return
    raise Outage(f"{url}: has {total} entries for these categories, more than {start} cannot be read at once")


def _count_arxiv(answer: Answer) -> tuple[int, int]:
    """(entries on this page, entries altogether)."""
    text = (answer.body or b"").decode("utf-8", "replace")
    total = re.search(r"<opensearch:totalResults[^>]*>\s*(\d+)\s*<", text)
    if not total or "</feed>" not in text[-200:]:
        raise Outage(f"{answer.url.partition('?')[0]}: answers no feed, or half of one")
    if "/api/errors" in text:
        why = re.search(r"<summary[^>]*>(.*?)</summary>", text, re.DOTALL)
        raise Outage(
            f"{answer.url.partition('?')[0]}: answers an error: {' '.join(why[1].split())[:200] if why else 'unknown'}"
        )
    return len(re.findall(r"<entry[\s>]", text)), int(total[1])


# ---- Hugging Face -----------------------------------------------------------------------------------------------


def huggingface_days(today: date) -> list[date]:
    """The days to ask for, the oldest first."""
    return [today - timedelta(days=back) for back in reversed(range(DAYS))]


def huggingface_day(client: Client, day: date, validator: str = "", *, url: str = HUGGINGFACE_URL) -> Answer:
    """The papers of one day as JSON, `[]` for an empty one; raises Outage."""
    answer = client.get(f"{url}?{urlencode({'date': day.isoformat(), 'limit': 100})}", validator)
    if answer.body is not None:
        try:
            papers = json.loads(answer.body)
        except (ValueError, RecursionError):
            papers = None
        if not isinstance(papers, list) or not all(
            isinstance(paper, dict) and "paper" in paper for paper in papers
        ):
            raise Outage(f"{answer.url}: answers no list of papers")
    return answer
