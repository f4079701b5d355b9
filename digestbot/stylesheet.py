"""Style for mails: colours by name from a theme, once for light and once for dark. Pure.

Mail readers know no CSS variables, so `var(--name)` is replaced here. From the same rules follows the dark sheet: every
declaration whose colour the theme changes in the dark, with `!important`, since it has to win over inlined styles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from digestbot.errors import TemplateError

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_VARIABLE = re.compile(r"--([\w-]+)\s*:\s*([^;{}]+)")
_USE = re.compile(r"var\(--([\w-]+)\)")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
DARK = "@media (prefers-color-scheme: dark)"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A style sheet and where it comes from."""

    path: str
    text: str

    def without_comments(self) -> Sheet:
        """Its lines stay where they are."""
        return Sheet(self.path, _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), self.text))

    def place(self, match: re.Match[str]) -> str:
        """Path and line of what was found in its text."""
        return f"{self.path}, line {self.text.count(chr(10), 0, match.start()) + 1}"


def resolve(style: Sheet, theme: Sheet) -> tuple[str, str]:
    """The sheet to inline, and the one to keep in a `<style>` element: media rules of `style`, then the dark colours.

    Raises TemplateError for an unknown name, and for what would load or close something (`@import`, `<`).
    """
    style, theme = style.without_comments(), theme.without_comments()
    for sheet in (style, theme):
        if found := re.search(r"@import|<|url\(", sheet.text):
            raise TemplateError(
                f"{sheet.place(found)}: {found[0]} is not allowed in mails; write the rules here"
            )
        if sheet.text.count("{") != sheet.text.count("}"):
            raise TemplateError(f"{sheet.path}: has not as many }} as {{; look for a rule that is not closed")
    light_part, _, dark_part = theme.text.partition(DARK)
    light, dark = _values(light_part), _values(dark_part)
    for use in _USE.finditer(style.text):
        if use[1] not in light:
            raise TemplateError(f"{style.place(use)}: uses --{use[1]}, which {theme.path} does not set")
    everywhere, media, narrow = style.text.partition("@media")
    return _fill(everywhere, light), _fill(media + narrow, light) + _dark_sheet(everywhere, dark)


def _values(part: str) -> dict[str, str]:
    return {name: value.strip() for name, value in _VARIABLE.findall(part)}


def _fill(style: str, values: Mapping[str, str]) -> str:
    return _USE.sub(lambda use: values[use[1]], style)


def _dark_sheet(style: str, dark: Mapping[str, str]) -> str:
    rules = []
    for selector, body in _RULE.findall(style):
        changed = [
            _fill(declaration.strip(), dark) + " !important"
            for declaration in body.split(";")
            if (names := _USE.findall(declaration)) and all(name in dark for name in names)
        ]
        if changed:
            rules.append(f"{' '.join(selector.split())} {{ {'; '.join(changed)} }}\n")
    return f"{DARK} {{\n{''.join(rules)}}}\n" if rules else ""
