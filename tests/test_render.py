"""What a digest's two parts show, how big they get, and that cards are made once."""

from __future__ import annotations

import html
import os
import re
import threading
import unicodedata
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digestbot.cards import MAIL_BYTES, contents, find_links, fit, paper_url, public_url
from digestbot.errors import TemplateError
from digestbot.links import Links
from digestbot.model import CardLength, Digest, Paper, PaperId, Reason, ReasonKind, SubscriberId
from digestbot.sample_mails import try_templates
from digestbot.wording import clean
from tests.mail_samples import (
    ADA,
    LINKS,
    SLOT,
    make_choice,
    make_digest,
    make_paper,
    make_renderer,
    render,
    sample_digest,
    sample_papers,
    shared_renderer,
)


def unescaped(body: str) -> str:
    """The words of a page, without tags."""
    return html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", "", body, flags=re.DOTALL))


# ---- what is shown ------------------------------------------------------------------------------------------------


def test_each_card_shows_what_a_reader_decides_by() -> None:
    paper = make_paper()
    mail = render([paper])
    for body in (unescaped(mail.html_body()), " ".join(mail.text_body().split())):
        assert paper.record.title in body
        assert "Ada Byron, Grace Hopper and Emmy Noether · 18 Nov 2026" in body
        assert "mentions sock pairing" in body
        assert "we propose SockNet" in body
    for body in (mail.html_body(), mail.text_body()):
        assert "https://arxiv.org/abs/2611.00001" in body
        assert "https://arxiv.org/pdf/2611.00001" in body
        assert "https://github.com/example/socknet" in body
        assert len(set(re.findall(r"https://digest\.example\.org/feedback/[\w-]+", body))) == 3
        assert LINKS.unsubscribe(ADA.id) in body
        assert LINKS.preferences(ADA.id) in body
        assert LINKS.digest(ADA.id, SLOT) in body
        assert LINKS.bibtex(ADA.id, SLOT) in body


def test_an_address_in_latex_is_linked_whole() -> None:
    abstract = r"Moss grows. Code: \url{https://github.com/moss/grow\_fast}."
    assert '"https://github.com/moss/grow_fast"' in render([make_paper(abstract=abstract)]).html_body()
    assert '/grow"' not in render([make_paper(abstract=abstract)]).html_body()


def test_marks_piled_upon_a_letter_are_not_drawn_over_the_rest() -> None:
    assert clean("Z" + "\u0301" * 500 + "algo") == "Z" + "\u0301" * 4 + "algo"
    for word in ("Việt", "बद्ध", "שָׁלוֹם", "مُحَمَّدٌ", "ที่นี่", "བསྒྲུབས", "👩🏽‍🚀"):
        assert clean(word) == word


@pytest.mark.parametrize(
    "title",
    [
        "<script>alert(1)</script>",
        "A & B",
        "one\nline",
        "\U0001f9e6 socks",
        "quotes \" and '",
        "&amp; already",
        "a\x00b\u202ec",
    ],
)
def test_hostile_titles_arrive_escaped_and_whole_in_both_parts(title: str) -> None:
    mail = render([make_paper(title=title)])
    shown = " ".join(re.sub(r"[\x00\u202e]", " ", title).split())
    assert shown in mail.text_body()
    assert shown in unescaped(mail.html_body())
    assert "<script" not in mail.html_body()
    assert "\n" not in mail.subject
    assert mail.subject.isprintable()


def test_a_template_word_in_a_paper_is_only_text() -> None:
    mail = render([make_paper(title="{{ name }} {% if %}", abstract="{{ 7 * 7 }} is what we propose.")])
    assert "{{ name }} {% if %}" in mail.text_body()
    assert "{{ 7 * 7 }}" in mail.html_body()


@pytest.mark.parametrize("name", ["Trending", "Like what you liked"])
def test_a_topic_that_is_called_as_a_section_of_ours_has_one_of_its_own(name: str) -> None:
    papers = [make_paper(1), make_paper(2)]
    chosen = (make_choice(papers[0], topic=name), make_choice(papers[1], topic=None))
    mail = render(papers, replace(make_digest(papers), papers=chosen))
    headings = [unescaped(h) for h in re.findall(r"<h2.*?</h2>", mail.html_body())]
    assert headings[0] == f"“{name}”"
    assert len(headings) == 2


def test_sections_follow_the_digest_and_trending_comes_last() -> None:
    papers = sample_papers()
    mail = render(papers, sample_digest(papers))
    headings = [unescaped(h) for h in re.findall(r"<h2.*?</h2>", mail.html_body())]
    assert headings == ["laundry", "breakfast & tea", "Trending"]
    body = mail.text_body()
    assert body.index("\nlaundry\n") < body.index("\nbreakfast & tea\n") < body.index("\nTrending\n")
    assert [int(n) for n in re.findall(r"^ *(\d+)\. ", body, flags=re.MULTILINE)] == list(range(1, 14))
    assert "Five papers on laundry, four on breakfast & tea and four trending" in " ".join(body.split())


def test_papers_that_did_not_fit_are_counted() -> None:
    papers = [make_paper()]
    assert "more on the web" not in unescaped(render(papers).html_body())
    mail = render(papers, make_digest(papers, more=9))
    assert "9 more on the web" in unescaped(mail.html_body())
    assert "9 more on the web" in mail.text_body()


def test_every_title_and_link_of_the_page_is_in_the_text() -> None:
    papers = sample_papers()
    mail = render(papers, sample_digest(papers))
    text = mail.text_body()
    flat = " ".join(text.split())
    links = {html.unescape(url) for url in re.findall(r'href="([^"]+)"', mail.html_body())}
    assert {url for url in links if url not in text} <= {LINKS.home()}
    for paper in papers:
        assert "".join(contents(paper, LINKS)[0].title.split()) in "".join(flat.split())


def test_text_lines_are_short_but_for_web_addresses() -> None:
    papers = sample_papers()
    reasons = (Reason(ReasonKind.TERM, "a long reason " * 12),)
    digest = sample_digest(papers)
    digest = replace(digest, papers=tuple(chosen._replace(reasons=reasons) for chosen in digest.papers))
    for line in render(papers, digest).text_body().splitlines():
        assert len(line) <= 72 or "https://" in line
        assert line == line.rstrip()


def test_right_to_left_abstracts_say_so() -> None:
    body = render([make_paper(11, title="Plain", abstract="אנו מציעים דגם חדש. הוא עובד היטב.")]).html_body()
    assert re.search(r'<p class="said rtl" dir="rtl"[^>]*text-align:\s*right', body)
    assert 'dir="rtl"' not in render([make_paper()]).html_body()


def test_deciding_words_are_set_off_and_the_sentence_stays_whole() -> None:
    body = render([make_paper()]).html_body()
    keys = re.findall(r'<b class="key"[^>]*>([^<]+)</b>', body)
    assert {"we propose", "SockNet", "12.5%"} & set(keys)
    assert len(keys) <= 5
    assert "we propose SockNet, which learns an embedding of socks" in unescaped(body)


# ---- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"url": "https://example.com/p"}, "https://example.com/p"),
        ({"url": None, "doi": "10.1000/182"}, "https://arxiv.org/abs/2611.00001"),
        ({"arxiv_id": None, "doi": "10.1002/(sici)1<2>3"}, "https://doi.org/10.1002/(sici)1%3C2%3E3"),
        ({"arxiv_id": None}, "https://digest.example.org/paper/1"),
        ({"url": "javascript:alert(1)", "arxiv_id": None}, "https://digest.example.org/paper/1"),
        ({"url": "http://127.0.0.1/x", "arxiv_id": None}, "https://digest.example.org/paper/1"),
        ({"url": "#", "arxiv_id": None}, "https://digest.example.org/paper/1"),
        ({"url": "", "arxiv_id": None}, "https://digest.example.org/paper/1"),
    ],
)
def test_a_title_leads_somewhere(fields: dict[str, Any], url: str) -> None:
    assert paper_url(make_paper(**fields), LINKS) == url


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "https://", "https://localhost/", "http://10.0.0.1/", "https://[::1]/", "https://a b.com/",
     "https://x.local/", 'https://example.com/"onclick=', "https://2130706433/", "https://[broken/", "data:text/html,x"],
)  # fmt: skip
def test_only_addresses_the_public_can_reach_become_links(url: str) -> None:
    assert public_url(url) is None


def test_addresses_in_an_abstract_are_links_without_the_full_stop() -> None:
    runs = find_links("See https://example.org/a_(b). And (http://example.com/x), too.")
    assert [run.url for run in runs if run.url] == ["https://example.org/a_(b", "http://example.com/x"]
    assert (
        "".join(run.text for run in runs) == "See https://example.org/a_(b). And (http://example.com/x), too."
    )


# ---- subject and preheader ----------------------------------------------------------------------------------------


def test_the_subject_names_the_strongest_paper_the_rest_and_the_day() -> None:
    papers = [make_paper(1, title="Weak"), make_paper(2, title="Strong Socks")]
    digest = Digest(
        ADA.id,
        SLOT,
        make_digest(papers).composed_at,
        (make_choice(papers[0], score=0.2), make_choice(papers[1])),
    )
    assert render(papers, digest).subject == "Strong Socks and 1 more · 20 Nov 2026"
    assert "Also: Weak" in render(papers, digest).html_body()


def test_the_subject_names_a_trending_paper_only_where_there_is_no_other() -> None:
    papers = [make_paper(1, title="Own"), make_paper(2, title="Loud"), make_paper(3, title="Louder")]
    trending = [make_choice(paper, score=0.9 + paper.id / 100, topic=None) for paper in papers[1:]]
    digest = replace(make_digest(papers), papers=(make_choice(papers[0], score=0.2), *trending))
    mail = render(papers, digest)
    assert mail.subject.startswith("Own and 2 more")
    assert "Also: Loud; Louder" in mail.html_body()
    assert render(papers, replace(digest, papers=tuple(trending))).subject.startswith("Louder and 1 more")


@settings(max_examples=30)
@given(st.text(max_size=300), st.integers(1, 30))
def test_subjects_are_one_line_under_70_characters(title: str, count: int) -> None:
    papers = [make_paper(1, title=title), *(make_paper(2, title="x") for _ in range(count - 1))]
    subject = render(papers, make_digest(papers)).subject
    assert 0 < len(subject) < 70
    assert not {unicodedata.category(letter) for letter in subject} & {"Cc", "Cs", "Zl", "Zp"}


def test_subjects_differ_from_day_to_day_even_of_equal_titles() -> None:
    papers = [
        make_paper(title="The very same and very long title of a paper that comes again every single day")
    ]
    days = [SLOT + timedelta(days=n) for n in range(1000)]
    subjects = {render(papers, make_digest(papers, slot=day)).subject for day in days}
    assert len(subjects) == len(days)


# ---- size ---------------------------------------------------------------------------------------------------------

HEAVY = st.text(alphabet=st.sampled_from("ab \"'&<>é語\U0001f9e6"), min_size=1, max_size=900)


@settings(max_examples=10)
@given(st.integers(1, 45), HEAVY, HEAVY, HEAVY)
def test_a_digest_that_fits_stays_under_its_limit(count: int, title: str, abstract: str, topic: str) -> None:
    papers = [
        make_paper(n, title=f"{title} {n % 3}", abstract=abstract + ". " + abstract) for n in range(count)
    ]
    renderer = shared_renderer()
    lengths = renderer.fit(papers)
    reasons = (Reason(ReasonKind.TERM, topic),)
    chosen = tuple(
        make_choice(paper, topic=f"{topic} {paper.id}", length=length)._replace(reasons=reasons)
        for paper, length in zip(papers, lengths, strict=False)
    )
    if chosen:
        digest = Digest(ADA.id, SLOT, make_digest(papers).composed_at, chosen, more=10**6)
        mail = renderer.digest(digest, ADA.email, {paper.id: paper for paper in papers})
        assert len(mail.html_body().replace("\n", "\r\n").encode()) < MAIL_BYTES


def test_twenty_ordinary_papers_fit_whole_and_sixty_with_shorter_excerpts() -> None:
    renderer = shared_renderer()
    assert set(renderer.fit([make_paper(n) for n in range(16)])) == {CardLength.FULL}
    many = renderer.fit([make_paper(n) for n in range(60)])
    assert len(many) >= 25
    assert CardLength.TITLE in many


@given(
    st.lists(
        st.tuples(*[st.integers(1, 500)] * 3).map(lambda s: tuple(sorted(s, reverse=True))), max_size=12
    ),
    st.integers(0, 3000),
)
def test_fitting_keeps_the_order_and_shortens_from_the_end(sizes: list[tuple[int, ...]], room: int) -> None:
    lengths = fit(sizes, room)
    assert sum(size[length] for size, length in zip(sizes, lengths, strict=False)) <= room
    assert list(lengths) == sorted(lengths)
    if len(lengths) < len(sizes):
        assert set(lengths) <= {CardLength.TITLE}
        assert sum(size[CardLength.TITLE] for size in sizes[: len(lengths) + 1]) > room
    if sum(size[CardLength.FULL] for size in sizes) <= room:
        assert lengths == (CardLength.FULL,) * len(sizes)


def test_shorter_cards_are_shorter_and_never_cut_a_word() -> None:
    paper = make_paper()
    full, short, title = shared_renderer().cards([paper])[paper.id].sizes
    assert full > short > title
    words = set(paper.record.abstract.split())
    for content in contents(paper, LINKS):
        assert set(content.excerpt.replace("…", " ").split()) <= words


# ---- made once ----------------------------------------------------------------------------------------------------


def test_a_card_is_made_once_for_everybody_and_anew_when_the_paper_changes() -> None:
    renderer = make_renderer()
    papers = sample_papers()
    by_id = {paper.id: paper for paper in papers}
    for reader in range(50):
        digest = replace(sample_digest(papers), subscriber_id=SubscriberId(reader))
        renderer.digest(digest, ADA.email, by_id)
    assert renderer.cards_made == len(papers)
    changed = make_paper(1, title="A better title")
    assert (
        "A better title"
        in renderer.digest(make_digest([changed]), ADA.email, {PaperId(1): changed}).text_body()
    )
    assert renderer.cards_made == len(papers) + 1


def test_cards_are_kept_within_their_bytes_and_while_their_papers_can_be_mailed() -> None:
    renderer = make_renderer()
    papers = [make_paper(i, title=f"Paper {i}") for i in range(1, 7)]
    one = renderer.cards(papers[:1])[papers[0].id].kept_bytes
    assert one > 1000
    renderer.cards_bytes = 4 * one + one // 2  # room for four
    renderer.cards(papers)
    renderer.cards(papers[2:])
    assert renderer.cards_made == 6
    renderer.cards(papers[:1])  # in the place of the oldest, the third
    renderer.cards(papers[3:])
    assert renderer.cards_made == 7
    renderer.keep_only(papers[4:])
    renderer.cards(papers[4:])
    assert renderer.cards_made == 7
    renderer.cards(papers[3:4])
    assert renderer.cards_made == 8


def test_pieces_that_all_cards_have_are_kept_once() -> None:
    papers = [make_paper(i, title=f"Paper {i}") for i in range(1, 7)]
    cards = shared_renderer().cards(papers).values()
    pieces = [piece for card in cards for form in (*card.html, *card.text) for piece in form.pieces]
    assert sum(len(piece) for piece in {id(piece): piece for piece in pieces}.values()) < 0.7 * sum(
        map(len, pieces)
    )


def test_threads_share_the_cards_and_make_the_same_bytes() -> None:
    renderer, papers = make_renderer(), sample_papers()
    by_id = {paper.id: paper for paper in papers}
    made: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: made.append(renderer.digest(sample_digest(papers), ADA.email, by_id).html)
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert renderer.cards_made == len(papers)
    assert len(made) == 6
    assert len(set(made)) == 1


def test_the_same_inputs_give_the_same_bytes_in_every_process() -> None:
    papers = sample_papers()
    by_id = {paper.id: paper for paper in papers}
    first, second = (make_renderer().digest(sample_digest(papers), ADA.email, by_id) for _ in range(2))
    assert first == second


def test_nothing_personal_is_left_of_another_reader() -> None:
    papers = sample_papers()
    first = render(papers, sample_digest(papers))
    other = render(
        papers,
        replace(sample_digest(papers), subscriber_id=SubscriberId(8)),
        replace(ADA, id=SubscriberId(8), email="bob@example.net"),
    )
    tokens = re.compile(r"/(?:feedback|unsubscribe|preferences|digest)/[\w-]+")
    assert not set(tokens.findall(first.html_body())) & set(tokens.findall(other.html_body()))
    assert "ada@example.org" not in other.html_body() + other.text_body()


# ---- templates of one's own ----------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_a_folder_overrides_file_by_file(tmp_path: Path) -> None:
    write(tmp_path, "email/digest/subject.txt", "Today: {{ title }}")
    mail = make_renderer(tmp_path).digest(make_digest([make_paper()]), ADA.email, {PaperId(1): make_paper()})
    assert mail.subject.startswith("Today: SockNet 1")
    assert "more like this" in mail.html_body().lower()


def test_a_theme_is_one_small_sheet(tmp_path: Path) -> None:
    packaged = Path(__file__).parents[1] / "templates" / "email" / "theme.css"
    sheet = (
        packaged.read_text()
        .replace("--accent: #0b5a68", "--accent: #123456")
        .replace("--accent: #86c9d3", "--accent: #abcdef")
    )
    write(tmp_path, "email/theme.css", sheet)
    body = (
        make_renderer(tmp_path)
        .digest(make_digest([make_paper()]), ADA.email, {PaperId(1): make_paper()})
        .html_body()
    )
    assert re.search(r'class="brand"[^>]*color:\s*#123456', body)
    assert re.search(r"\.brand \{ color: #abcdef !important", body)
    assert "#0b5a68" not in body


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("email/card.html", "<p>\n{{ paper.titel }}</p>", r"card\.html, line 2: .*titel"),
        ("email/card.html", "<p>\n{% if %}</p>", r"card\.html, line 2: "),
        ("email/card.html", "{{ paper.title | shout }}", r"card\.html, line 1: .*shout"),
        ("email/digest/body.txt", "\n\n{{ 1 / 0 }}", r"body\.txt, line 3: .*zero"),
        ("email/digest/body.html", "{% extends 'email/bse.html' %}", r"bse\.html"),
        ("email/card.txt", "\n{{ paper.titel }}", r"card\.txt, line 2: .*titel"),
        (
            "email/digest/subject.txt",
            "{{ title }}{% if others %} {{ other }}{% endif %}",
            r"subject\.txt, line 1: ",
        ),
        ("email/digest/more.html", "{{ counts }}", r"more\.html, line 1: .*counts"),
        ("email/welcome/body.html", "{% if topics %}{{ topic }}{% endif %}", r"body\.html, line 1: .*topic"),
        (
            "email/theme.css",
            ":root { --ink: #000; }",
            r"/style\.css, line 2: uses --page, .*/theme\.css ",
        ),
        (
            "email/theme.css",
            "/* one\ntwo */\n:root { --ink: #000; }}",
            r"/theme\.css: has not as many } as {",
        ),
        ("email/style.css", "/* one\ntwo */\n@import 'x.css';", r"/style\.css, line 3: @import"),
        (
            "email/style.css",
            ".a {}\n.b { color: var(--nothing); }",
            r"/style\.css, line 2: uses --nothing, .*/theme\.css ",
        ),
    ],
)
def test_a_broken_template_is_named_with_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    write(tmp_path, name, text)
    with pytest.raises(TemplateError, match=said):
        try_templates(make_renderer(tmp_path))


def test_a_file_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "email/card.html", "") / "email/card.html"
    path.write_bytes(b"<p>\n\xff</p>")
    with pytest.raises(TemplateError, match=rf"^{path}, line 2: is not UTF-8"):
        try_templates(make_renderer(tmp_path))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """And its files are not taken for files that are not there."""
    write(tmp_path, "email/card.txt", "mine")
    (tmp_path / "email").chmod(0)
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.chdir(tmp_path)  # below folders that are root's alone
            tmp_path.chmod(0o755)
            if os.geteuid() == 0:
                os.setuid(65534)
            make_renderer(Path())
        except TemplateError as error:
            said = str(error)
        finally:
            os._exit(0 if said.startswith("email: cannot be read") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (tmp_path / "email").chmod(0o700)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="nowhere"):
        make_renderer(tmp_path / "nowhere")


# ---- preview ------------------------------------------------------------------------------------------------------


def test_long_base_urls_stay_whole() -> None:
    links = Links("https://" + "a-rather-long-name." * 4 + "example.org", [b"k" * 32])
    paper: Paper = make_paper()
    mail = make_renderer(links=links).digest(make_digest([paper]), ADA.email, {paper.id: paper})
    assert links.unsubscribe(ADA.id) in mail.html_body()
    assert links.unsubscribe(ADA.id) in mail.text_body()
    assert all(len(line) <= 76 for line in (mail.html + mail.text).split(b"\r\n"))
