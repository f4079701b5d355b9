"""The settings of CONTRACT.md, from the process environment, else from `.env` in the working directory.

A wrong one stops who reads it, with a message that names all wrong ones. `repr` leaves out fields with secrets.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parseaddr
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import dotenv
from dotenv.parser import parse_stream

from digestbot.errors import SettingsError, line_of
from digestbot.setting_values import PARSERS

PREFIX = "DIGESTBOT_"
DKIM = {"dkim_key", "dkim_selector", "dkim_domain"}  # all or none


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked one by one. Field names are the variables' without prefix, in lower case.

    Fields of wrong settings have no value; reading one raises SettingsError.
    """

    state: Path = Path("state")
    database: str = field(default="", repr=False)  # URL; '': the SQLite file in the state folder
    smtp_url: str = field(default="smtp://127.0.0.1:25", repr=False)
    smtp_connections: int = 4
    smtp_rate: float | None = None  # messages a second
    smtp_daily_limit: int | None = None  # messages in any 24 h
    from_: str = "Digestbot <digestbot@localhost>"
    reply_to: str | None = None
    bounce_address: str = ""  # '': From's address
    operator: str | None = None
    postal_address: str = ""
    base_url: str = "http://127.0.0.1:8025"
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    signup: str = "open"
    admin_password: str | None = field(default=None, repr=False)
    trusted_proxies: tuple[str, ...] = ()
    templates: Path | None = None
    window_days: int = 14
    max_lateness_hours: float = 12.0
    expect_drop_hours: float = 96.0
    on_doubt: str = "resend"
    dkim_key: Path | None = None
    dkim_selector: str | None = None
    dkim_domain: str | None = None
    embedding_model: str | None = None
    problems: tuple[str, ...] = ()  # wrong settings and slips, one line each
    slips: tuple[str, ...] = ()  # names that are no setting, lines that are none

    if not TYPE_CHECKING:  # else every name would be one

        def __getattr__(self, name: str) -> NoReturn:
            """Only asked for what has no value."""
            if name in self.__dataclass_fields__:
                raise SettingsError(list(self.problems))
            raise AttributeError(name)

    def check(self) -> None:
        """Raises SettingsError where anything is wrong, for programs that use all of it."""
        if self.problems:
            raise SettingsError(list(self.problems))

    @property
    def incoming(self) -> Path:
        return self.state / "drops" / "incoming"

    @property
    def drops(self) -> Path:
        return self.state / "drops"

    @property
    def sqlite_path(self) -> Path | None:
        """The database file; None: the database is not SQLite."""
        if not self.database:
            return self.state / "digestbot.db"
        if self.database.startswith("sqlite:///"):
            return Path(self.database.removeprefix("sqlite:///"))
        return None

    @property
    def from_address(self) -> str:
        return _address_of(self.from_)

    @property
    def is_secure(self) -> bool:
        return self.base_url.startswith("https://")


@lru_cache(8)
def _address_of(mailbox: str) -> str:
    return parseaddr(mailbox)[1]


def load_settings(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings of the process environment, else of `.env` in `folder` (default: the working directory).

    Raises SettingsError that names every wrong one.
    """
    settings = read_settings(folder, environ)
    settings.check()
    return settings


def read_settings(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """As load_settings(), but a wrong one only raises where it is read; all are in `problems`."""
    environ = os.environ if environ is None else environ
    path = (folder or Path.cwd()) / ".env"
    slips = [*_bad_lines(path), *_misspelt(environ)]
    return _parse(current_values(folder, environ), slips)


def _bad_lines(path: Path) -> list[str]:
    """Lines of an .env file that are none, and names of ours that do not exist."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        bindings = list(parse_stream(file))
    problems = [
        f"{path}: line {binding.original.line}: is not NAME=VALUE"
        for binding in bindings
        if binding.error or (binding.key and binding.value is None)
    ]
    names = [binding.key for binding in bindings if binding.key and binding.key.startswith(PREFIX)]
    return problems + [f"{path}: {problem}" for problem in unknown_names(names)]


def unknown_names(names: Iterable[str]) -> list[str]:
    """What to say of each name that is no setting."""
    return [
        f"there is no setting {name}" + (f"; {PREFIX}{close} is meant?" if (close := _closest(name)) else "")
        for name in names
        if name.removeprefix(PREFIX) not in PARSERS
    ]


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Names in the process environment that look like one of ours; others with the prefix may be somebody else's."""
    names = [name for name in environ if name.startswith(PREFIX) and _closest(name)]
    return [f"environment: {problem}" for problem in unknown_names(names)]


def _closest(name: str) -> str | None:
    return next(iter(difflib.get_close_matches(name.removeprefix(PREFIX), PARSERS, n=1, cutoff=0.7)), None)


def current_values(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables as they are set, by name, unchecked: the process environment's over those of `.env`."""
    environ = os.environ if environ is None else environ
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    return {**read_env_file((folder or Path.cwd()) / ".env"), **ours}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of one .env file, literally: no ${...} expansion. A missing file has none."""
    if path.is_dir():  # containers make one where the file to be mounted is missing
        raise SettingsError([f"{path}: is a folder; remove it, and `digestbot init` writes the file"])
    if not path.is_file():
        return {}
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # _bad_lines() names them
    try:
        found = dotenv.dotenv_values(path, interpolate=False, encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: line {line_of(error)}: is not UTF-8; save it as that"]) from error
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from error
    return {name: value for name, value in found.items() if name.startswith(PREFIX) and value is not None}


def parse_settings(values: Mapping[str, str]) -> Settings:
    """Settings from variables; an empty value counts as not set, names that are none of ours are passed over.

    Raises SettingsError that names every wrong one.
    """
    settings = _parse(values, [])
    settings.check()
    return settings


def _parse(values: Mapping[str, str], slips: Sequence[str]) -> Settings:
    given = {name: value.strip() for name, value in values.items() if value.strip()}
    problems = list(slips)
    found: dict[str, object] = {}
    wrong: set[str] = set()
    for name, (target, parse) in PARSERS.items():
        if PREFIX + name in given:
            try:
                found[target] = parse(given[PREFIX + name])
            except ValueError as error:
                problems.append(f"{PREFIX}{name}: {error}")
                wrong.add(target)
    missing = {name for name in DKIM if name not in found}
    if missing < DKIM and not missing & wrong:
        problems += [
            f"{PREFIX}{name.upper()}: is missing; DKIM needs key, selector and domain"
            for name in sorted(missing)
        ]
        wrong |= DKIM if missing else set()
    settings = Settings(**found, problems=tuple(problems), slips=tuple(slips))  # type: ignore[arg-type]
    for name in wrong:
        object.__delattr__(settings, name)
    return settings
