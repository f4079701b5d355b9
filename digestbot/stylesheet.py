"""Style for mails: colours by name from a theme, once for light and once for dark. Pure.

Mail readers know no CSS variables, so `var(--name)` is replaced here. From the same rules follows the dark sheet: every
declaration whose colour the theme changes in the dark, with `!important`, since it has to win over inlined styles.
"""

from __future__ import annotations

import re

from digestbot.errors import TemplateError

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_VARIABLE = re.compile(r"--([\w-]+)\s*:\s*([^;{}]+)")
_USE = re.compile(r"var\(--([\w-]+)\)")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
DARK = "@media (prefers-color-scheme: dark)"


def resolve(style: str, theme: str) -> tuple[str, str]:
    """The sheet to inline, and the one to keep in a `<style>` element: media rules of `style`, then the dark colours.

    Raises TemplateError for an unknown name, and for what would load or close something (`@import`, `<`).
    """
    style, theme = _COMMENT.sub("", style), _COMMENT.sub("", theme)
    for text in (style, theme):
        if found := re.search(r"@import|<|url\(", text):
            raise TemplateError(
                f"style.css or theme.css: {found[0]} is not allowed in mails; write the rules here"
            )
    light_part, _, dark_part = theme.partition(DARK)
    light = {name: value.strip() for name, value in _VARIABLE.findall(light_part)}
    dark = {name: value.strip() for name, value in _VARIABLE.findall(dark_part)}
    everywhere, media, narrow = style.partition("@media")
    return _fill(everywhere, light), _fill(media + narrow, light) + _dark_sheet(everywhere, dark)


def _fill(style: str, values: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise TemplateError(f"theme.css: --{match[1]} is missing; style.css uses it")
        return values[match[1]]

    return _USE.sub(value, style)


def _dark_sheet(style: str, dark: dict[str, str]) -> str:
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
