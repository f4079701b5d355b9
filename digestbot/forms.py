"""Rendered templates with holes: laid out, inlined and encoded once, filled as bytes many times.

A template is rendered with an opaque word in the place of each personal value. The result is split at these words, and
each piece between them is made quoted-printable so that it can be joined with any value. The only module that speaks
premailer.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import itemgetter

from digestbot import quoted
from digestbot.errors import TemplateError

_DOCTYPE = "<!DOCTYPE html>\n"  # premailer drops it


_RULE = re.compile(r"[^{}]+\{[^{}]*\}")
_CLASS = re.compile(r"\.([\w-]+)")
_CLASSES = re.compile(r'class="([^"]*)"')


class Holes:
    """Opaque words for one process. They hold a random part, so that no paper's text can contain one."""

    def __init__(self) -> None:
        self._nonce = "q" + secrets.token_hex(8)
        self._word = re.compile(self._nonce + r"([a-z_]+)0")

    def word(self, name: str) -> str:
        """What stands for the value of `name` (small letters and `_`) in a template."""
        return f"{self._nonce}{name}0"

    def words(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self.word(name) for name in names}

    def split(self, text: str) -> Form:
        """The form of a rendered template."""
        pieces = self._word.split(text)
        literals, names = pieces[::2], pieces[1::2]
        return Form(
            tuple(_shared(quoted.encode(literal)) for literal in literals),
            tuple(names),
            sum(len(literal.encode()) + literal.count("\n") for literal in literals),
        )


@lru_cache(512)  # what recurs in every card stays in it
def _shared(piece: bytes) -> bytes:
    """The same object for equal pieces: half of a card's bytes are those of every card."""
    return piece


@dataclass(frozen=True, slots=True)
class Form:
    """Pieces of quoted-printable text with named holes between them. A name may occur several times."""

    pieces: tuple[bytes, ...]  # one more than names
    names: tuple[str, ...]
    size: int  # bytes of the decoded pieces, newlines as CRLF
    _frame: list[bytes] = field(init=False, repr=False, compare=False)  # the pieces with room between them
    _values: Callable[[Mapping[str, bytes]], tuple[bytes, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        frame = [b""] * (2 * len(self.names) + 1)
        frame[::2] = self.pieces
        object.__setattr__(self, "_frame", frame)
        object.__setattr__(self, "_values", _values_of(self.names))

    def filled(self, values: Mapping[str, bytes]) -> list[bytes]:
        """The whole as parts to be joined, each hole filled with its quoted-printable value (as quoted.encode makes
        it). There are some twenty forms in a mail, so this is two steps without a loop."""
        parts = self._frame.copy()
        parts[1::2] = self._values(values)
        return parts


def _values_of(names: tuple[str, ...]) -> Callable[[Mapping[str, bytes]], tuple[bytes, ...]]:
    """What takes the values of these names out of a mapping; can be pickled."""
    return itemgetter(*names) if len(names) > 1 else partial(_pick, names)


def _pick(names: tuple[str, ...], values: Mapping[str, bytes]) -> tuple[bytes, ...]:
    return tuple(values[name] for name in names)


def inline_page(html: str) -> str:
    """A whole document with its sheets in style attributes, but for `<style data-premailer="ignore">`."""
    return _DOCTYPE + _transform(html).removeprefix(_DOCTYPE)


def inline_fragments(fragments: Sequence[str], sheet: str) -> list[str]:
    """Several fragments of block elements, styled by one sheet as if they stood in a page of their own."""
    mark = f"<!--{secrets.token_hex(8)}-->"
    body = mark.join(["", *fragments, ""])
    page = _transform(f"<html><head><style>{_used(sheet, body)}</style></head><body>{body}</body></html>")
    return [part.strip() + "\n" for part in page.split(mark)[1:-1]]


def _used(sheet: str, body: str) -> str:
    """The sheet without the rules for classes that the body has not: premailer searches it once for each rule."""
    classes = {name for names in _CLASSES.findall(body) for name in names.split()}
    return "".join(
        rule for rule in _RULE.findall(sheet) if set(_CLASS.findall(rule.partition("{")[0])) <= classes
    )


def _transform(html: str) -> str:
    import premailer  # with what reads style sheets, a sixth of a second: only where a mail is made

    try:
        result = premailer.Premailer(
            html,
            keep_style_tags=False,
            strip_important=False,
            allow_network=False,
            allow_loading_external_files=False,
            disable_validation=True,
            disable_link_rewrites=True,
            disable_basic_attributes=["bgcolor", "align", "valign", "width", "height", "border"],
            cssutils_logging_level=logging.CRITICAL,
        ).transform(pretty_print=False)
    except Exception as error:  # whatever lxml or cssutils make of an operator's template or sheet
        raise TemplateError(f"a mail's styles cannot be inlined: {error}") from error
    return str(result)
