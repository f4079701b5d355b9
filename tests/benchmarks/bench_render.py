"""CPU per digest, from the composed digest to the finished bytes of its mail, and per card.

python -m tests.benchmarks.bench_render
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from digestbot.mail import Mailbox, digest_mail
from digestbot.model import Digest, Subscriber, SubscriberId
from tests.mail_samples import ADA, AT, LETTERHEAD, LINKS, SLOT, make_choice, make_paper, make_renderer

PAPERS = 10
READERS = 2000


def main() -> None:
    renderer = make_renderer()
    papers = [make_paper(number) for number in range(200)]
    by_id = {paper.id: paper for paper in papers}
    blocks = [papers[start : start + 10] for start in range(0, len(papers), 10)]
    card_us = _per(len(papers), lambda: [renderer.cards(block) for block in blocks])
    print(f"a card, its three lengths in both forms: {card_us:.0f} us")
    pairs = [_reader(number) for number in range(READERS)]

    def make() -> int:
        size = 0
        for digest, subscriber in pairs:
            rendered = renderer.digest(digest, subscriber.email, by_id)
            message_id = f"<{LINKS.digest_message_id(subscriber.id, SLOT)}@example.org>"
            to = Mailbox("", subscriber.email)
            mail = digest_mail(digest, to, rendered, message_id=message_id, letterhead=LETTERHEAD)
            size += len(mail.data)
        return size

    def sign() -> None:
        for digest, _ in pairs:
            LINKS.feedback_tokens(digest.subscriber_id, SLOT, [chosen.paper_id for chosen in digest.papers])

    print(f"a digest of {PAPERS} papers, from ledger to bytes: {_per(READERS, make):.0f} us")
    print(f"  of these the {3 * PAPERS} signed feedback links: {_per(READERS, sign):.0f} us")
    print(f"  a mail is {make() / READERS / 1000:.1f} kB; {renderer.cards_made} cards were made")


def _reader(number: int) -> tuple[Digest, Subscriber]:
    """A reader with papers of their own among the 200."""
    chosen = tuple(
        make_choice(
            make_paper((number * 7 + 11 * place) % 200),
            score=round(0.9 - 0.07 * place, 2),
            topic=f"topic {number % 50}",
        )
        for place in range(PAPERS)
    )
    subscriber = replace(ADA, id=SubscriberId(number + 1), email=f"reader{number}@example.net")
    return Digest(subscriber.id, SLOT, AT, chosen, more=number % 5), subscriber


def _per(count: int, work: Callable[[], object]) -> float:
    """Microseconds of CPU per piece, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
        if count < 1000:
            break  # cards are kept: only the first round makes them
    return best / count * 1e6


if __name__ == "__main__":
    main()
