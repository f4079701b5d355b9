"""From a drop to digests accepted by a mail server, beside what only sends and beside the usual way.

Run: python -m tests.benchmarks.bench_endtoend [READERS] [ROUNDS]   (default: 20,000 readers, 3 rounds; needs Debian's
postfix for smtp-sink and smtp-source)

Each round sends with smtp-source, then with us, so that a busy machine slows both: what counts is the ratio. Ours is
`digestbot run --once` from ingesting the drop on, everybody with three topics of 20,000 and ten papers of 300. The
reference sends as many messages of the same size over as many connections, all the same. The usual way makes
the same digest anew for everybody: it renders our own templates with Jinja2, inlines the page with premailer, builds an
EmailMessage and sends it with smtplib, 300 mails over one connection.
"""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from digestbot.cards import contents
from digestbot.links import Links
from digestbot.mailroom import MailRoom
from digestbot.model import CardLength, EntryState, Opinion, Paper, PaperId, SubscriberId
from digestbot.render import SYSTEM_VALUES
from digestbot.stylesheet import Sheet, resolve
from digestbot.templating import Templates
from digestbot.wording import wrap
from tests.benchmarks.town import NOW, open_town, paper_lines, town_environ, town_settings

PAPERS, CONNECTIONS, USUAL = 300, 4, 300
VOTES = ("more", "less", "save")


def main() -> None:
    readers = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    usual, usual_bytes = usual_rate()
    print(f"the usual way: {usual:.0f} mails/s of {usual_bytes / 1000:.1f} kB ({USUAL} mails)")
    for kind in ("none", "ed25519", "rsa"):
        found = [one_round(readers, kind) for _ in range(rounds)]
        ours, source, cpu_us, size = (statistics.median(values) for values in zip(*found, strict=True))
        print(
            f"DKIM {kind:8} {ours:6.0f}/s of {size / 1000:.1f} kB, {statistics.median(a / b for a, b, *_ in found):.2f}"
            f" of smtp-source's {source:.0f}/s, {ours / usual:.0f} times the usual way,"
            f" {cpu_us:.0f} us of CPU a digest"
        )


def one_round(readers: int, dkim: str) -> tuple[float, float, float, float]:
    """(ours a second, smtp-source's a second, CPU per digest in us, bytes of a mail)."""
    with tempfile.TemporaryDirectory() as name, sink() as port:
        environ = {"DIGESTBOT_SMTP_CONNECTIONS": str(CONNECTIONS), **key_settings(Path(name), dkim)}
        settings = town_settings(Path(name), f"smtp://127.0.0.1:{port}", **environ)
        incoming = settings.drops / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        (incoming / "today.jsonl").write_text("".join(paper_lines(PAPERS)), encoding="utf-8")
        with open_town(settings, readers=readers, papers=0):
            pass  # seconds after the drop came: one that may still grow would be waited for
        seconds, cpu_s, sent = run_once(town_environ(Path(name), settings.smtp_url, **environ))
        size = mail_bytes(settings)
        return sent / seconds, source_rate(readers, size, port), cpu_s / sent * 1e6, size


def run_once(environ: Mapping[str, str]) -> tuple[float, float, int]:
    """Seconds and CPU seconds of the whole program, and the digests that were sent."""
    command = [sys.executable, "-m", "digestbot", "--now", NOW.isoformat(), "run", "--once", "--json"]
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(command, check=True, env=dict(environ), capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu_s, int(json.loads(done.stdout)["delivery"]["sent"])


def mail_bytes(settings: object) -> int:
    """The size of a digest's mail, of the median of some."""
    from digestbot.desk import open_desk
    from digestbot.settings import Settings

    assert isinstance(settings, Settings)
    with open_desk(settings) as desk:
        room = MailRoom(settings, desk.storage, desk.links, desk.renderer)
        made = [room.make(entry) for entry in desk.storage.entries.list_entries([EntryState.SENT], limit=50)]
        return int(statistics.median(len(mail.data) for mail in made if mail))


def source_rate(count: int, size: int, port: int) -> float:
    command = ["smtp-source", "-d", "-s", str(CONNECTIONS), "-m", str(count), "-l", str(size)]
    began = time.perf_counter()
    subprocess.run(
        [*command, "-f", "a@example.org", "-t", "b@example.net", f"127.0.0.1:{port}"],
        check=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
    )
    return count / (time.perf_counter() - began)


def usual_rate() -> tuple[float, int]:
    """Mails a second, and the bytes of one, where a digest as ours is made anew for everybody: Jinja2 for its cards, its
    page and its text, premailer for the page, EmailMessage and smtplib."""
    import premailer
    from markupsafe import Markup

    links = Links("https://papers.example.org", [b"key"])
    templates = Templates(filters={"wrap": wrap})
    sheet, kept_sheet = resolve(
        *(Sheet(*templates.source(f"email/{name}.css")) for name in ("style", "theme"))
    )
    cards = [contents(paper, links)[CardLength.FULL] for paper in usual_papers()]
    page = dict.fromkeys(SYSTEM_VALUES, "") | {
        "name": "Papers",
        "lang": "en",
        "postal_address": "",
        "sheet": sheet,
        "kept_sheet": kept_sheet,
        "subject": "Ten papers",
        "preheader": "Nine more",
        "day": "Friday, 20 November",
        "summary": "Ten papers",
        **{
            f"{name}_url": links.digest(SubscriberId(1), NOW.date())
            for name in ("home", "web", "bibtex", "pause")
        },
    }
    votes = {
        f"{name}_url": links.feedback(SubscriberId(1), NOW.date(), PaperId(1), Opinion.MORE) for name in VOTES
    }
    with sink() as port, smtplib.SMTP("127.0.0.1", port) as smtp:
        began = time.perf_counter()
        for number in range(USUAL):
            page["email"] = f"reader{number}@example.net"

            def filled(name: str) -> str:
                shown = [
                    templates.render(
                        f"email/card.{name}",
                        {
                            "paper": card,
                            "number": place,
                            "dots": "●●●○",
                            "percent": "81 %",
                            "why": "it is",
                            **votes,
                        },
                    )
                    for place, card in enumerate(cards, start=1)
                ]
                return templates.render(
                    f"email/digest/body.{name}", page | {"papers": Markup("".join(shown))}
                )

            mail = EmailMessage()
            mail["From"], mail["To"] = "Papers <digests@example.org>", page["email"]
            mail["Subject"] = "Ten papers"
            mail.set_content(filled("txt"))
            mail.add_alternative(premailer.transform(filled("html")), subtype="html")
            smtp.send_message(mail)
        return USUAL / (time.perf_counter() - began), len(mail.as_bytes())


def usual_papers() -> list[Paper]:
    with (
        tempfile.TemporaryDirectory() as name,
        open_town(town_settings(Path(name)), readers=0, papers=10) as desk,
    ):
        return list(desk.storage.papers.papers([PaperId(i) for i in range(1, 11)]).values())


def key_settings(folder: Path, kind: str) -> dict[str, str]:
    if kind == "none":
        return {}
    key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if kind == "ed25519"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    path = folder / "dkim.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {
        "DIGESTBOT_DKIM_KEY": str(path),
        "DIGESTBOT_DKIM_SELECTOR": "bench",
        "DIGESTBOT_DKIM_DOMAIN": "example.org",
    }


@contextmanager
def sink() -> Iterator[int]:
    """smtp-sink on a free port of this machine."""
    program = shutil.which("smtp-sink", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("smtp-sink is missing: install postfix, which need not run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    process = subprocess.Popen([program, *user, f"127.0.0.1:{port}", "1000"])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
