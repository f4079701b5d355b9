"""Reads the data of caniemail.com: which of the HTML and CSS that a mail uses is not supported where."""

from __future__ import annotations

import re
from pathlib import Path

READERS = (
    ("gmail", "desktop-webmail"),
    ("gmail", "ios"),
    ("gmail", "android"),
    ("outlook", "windows"),
    ("outlook", "outlook-com"),
    ("apple-mail", "macos"),
    ("apple-mail", "ios"),
)
_ALWAYS = {"html-doctype", "html-style"}
_IF_FOUND = {
    "css-at-media": r"@media",
    "css-at-media-prefers-color-scheme": r"prefers-color-scheme",
    "css-important": r"!important",
    "css-variables": r"var\(--",
    "css-unit-px": r"\dpx",
    "css-unit-percent": r"[:\s]\d+%",
    "css-unit-em": r"\dem\b",
    "css-unit-rem": r"\drem\b",
    "css-unit-vw": r"\dvw\b",
    "css-unit-calc": r"calc\(",
    "css-function-max": r"\bmax\(",
    "css-function-min": r"\bmin\(",
    "css-function-clamp": r"clamp\(",
    "css-rgba": r"rgba\(",
    "css-linear-gradient": r"linear-gradient",
    "css-display-flex": r"display:\s*flex",
    "css-display-grid": r"display:\s*grid",
    "css-background-image": r"background-image|background:[^;]*url",
    "css-pseudo-class-hover": r":hover",
    "html-h1-h6": r"<h[1-6]\b",
    "html-meta-color-scheme": r'name="color-scheme"',
    "html-lists": r"<[uo]l\b",
    "html-semantics": r"<(?:main|section|article|header|footer|nav|aside)\b",
}


def features(page: str, folder: Path) -> set[str]:
    """The names of all features (files of the data) that a page uses, Outlook's own comments apart."""
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    sheets = "".join(re.findall(r"<style[^>]*>(.*?)</style>", page, re.DOTALL))
    tags = " ".join(re.findall(r"<[^/!][^>]*>", page))
    inline = [double or single for double, single in re.findall(r"""style=(?:"([^"]*)"|'([^']*)')""", tags)]
    declarations = [
        *re.findall(r"[{;]\s*([a-z-]+)\s*:", sheets),
        *re.findall(r"([a-z-]+)\s*:", ";".join(inline)),
    ]
    names = {f"css-{name}" for name in declarations}
    names |= {f"html-{name}" for name in re.findall(r"<([a-z0-9]+)", tags)}
    names |= {f"html-{name}" for name in re.findall(r"\s([a-z-]+)=", tags)}
    names |= {
        f"css-selector-{'class' if sign == '.' else 'id'}"
        for sign in re.findall(r"(?:^|[\s,}])([.#])\w+[^;{}]*\{", sheets)
    }
    names |= _ALWAYS | {name for name, sign in _IF_FOUND.items() if re.search(sign, page)}
    return {name for name in names if (folder / f"{name}.md").exists()}


def unsupported(path: Path) -> list[str]:
    """The readers among READERS whose newest version does not support the feature of this file."""
    stats = _stats(path.read_text(encoding="utf-8"))
    return [
        f"{family} {platform}"
        for family, platform in READERS
        if (found := stats.get(f"{family} {platform}")) and found.startswith("n")
    ]


def _stats(text: str) -> dict[str, str]:
    """The last entry for each family and platform; the data is JavaScript-like, so it is read token by token."""
    tokens = re.findall(r'[{}]|"[^"\n]*"\s*:|[\w.-]+\s*:|"[^"\n]*"', text[text.index("stats:") + 6 :])
    path: list[str] = []
    key, found = "", {}
    for token in tokens:
        if token == "{":
            path.append(key)
        elif token == "}":
            path.pop()
            if not path:
                break
        elif token.endswith(":"):
            key = token[:-1].strip().strip('"')
        elif len(path) == 3:
            found[" ".join(path[1:])] = token.strip('"')
    return found
