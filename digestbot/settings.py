"""The settings of CONTRACT.md, from the process environment, else from `.env` in the working directory.

A wrong one stops who reads it, with a message that names all wrong ones. `repr` leaves out fields with secrets.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parseaddr
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import urlsplit

import dotenv
from dotenv.parser import parse_stream

from digestbot.addresses import check_address
from digestbot.errors import SettingsError, in_short, line_of

T = TypeVar("T")
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
        if name.removeprefix(PREFIX) not in _PARSERS
    ]


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Names in the process environment that look like one of ours; others with the prefix may be somebody else's."""
    names = [name for name in environ if name.startswith(PREFIX) and _closest(name)]
    return [f"environment: {problem}" for problem in unknown_names(names)]


def _closest(name: str) -> str | None:
    return next(iter(difflib.get_close_matches(name.removeprefix(PREFIX), _PARSERS, n=1, cutoff=0.7)), None)


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
    for name, (target, parse) in _PARSERS.items():
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


# ---- one parser a kind of value; each raises ValueError with what to write instead ---------------------------------


def _number(kind: Callable[[str], T], lowest: float, highest: float, what: str) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {what}") from None
        if not lowest <= value <= highest:  # type: ignore[operator]
            raise ValueError(f"{text} must be from {lowest:g} to {highest:,.0f}")
        return value

    return parse


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} must be one of {', '.join(choices)}")
        return text

    return parse


def _mailbox(text: str) -> str:
    """`Name <address>` or an address alone, with its domain as mail servers want it."""
    if re.search(r"[,;:]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        raise ValueError(
            f"{text!r} must be one address; a name with a comma, colon or semicolon stands in double quotes"
        )
    address = parseaddr(text)[1]
    if re.search(r"[\r\n\x00]", text) or "@" not in address:
        raise ValueError(f"{text!r} is not an address such as 'Name <name@example.org>'")
    return text.replace(address, _checked(address))


def _checked(address: str) -> str:
    checked = check_address(address)
    if not checked.isascii():
        raise ValueError(f"{address!r} must be ASCII before the @: not every mail server takes more")
    return checked


def _address(text: str) -> str:
    if parseaddr(text)[1] != text:
        raise ValueError(f"{text!r} must be a plain address such as bounce@example.org")
    return _checked(text)


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is not a URL such as https://papers.example.org")
    if re.search(r"[\s<>\"']", text) or parts.username:
        raise ValueError("must hold neither white space, quotes nor a user")
    _host(parts.hostname)
    _ = parts.port  # raises ValueError for a port out of range
    return text.rstrip("/")


def _smtp_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtp+starttls", "smtps"):
        raise ValueError("must begin with smtp://, smtp+starttls:// or smtps://")
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(
            "has no valid port; percent-encode special characters of user and password"
        ) from None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "must be SCHEME://[user:password@]HOST[:PORT], with special characters percent-encoded"
        )
    _host(host)
    return text


def _database(text: str) -> str:
    if not re.match(r"sqlite:///.|postgres(ql)?://", text):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if text.startswith("sqlite") and _found(Path(text.removeprefix("sqlite:///")).is_dir):
        raise ValueError(f"{text} is a folder; name a file in it")
    if text.startswith("postgres") and (text.count("@") > 1 or re.search(r"\s", text)):
        raise ValueError("percent-encode special characters of user and password")
    return text


def _secrets(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if not keys or min(map(len, keys)) < 16:
        raise ValueError("each key needs 16 characters or more; `digestbot init` makes one")
    return keys


def _signup(text: str) -> str:
    if text in ("open", "closed") or re.fullmatch(r"domains:[^\s,]+(,[^\s,]+)*", text):
        return text
    raise ValueError(f"{text!r} must be open, closed or domains:example.org,... without blanks")


def _dns_name(text: str) -> str:
    """A selector or a domain, as it stands in a signature and in DNS."""
    try:
        name = text.encode("idna").decode()
    except UnicodeError:
        name = ""
    if len(name) > 200 or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name):
        raise ValueError(f"{in_short(text)} must be letters, digits, hyphens and dots, as in DNS")
    return name


def _host(text: str) -> None:
    if ":" not in text:  # else it is an address of IPv6, which urlsplit looked at
        _dns_name(text)


def _networks(text: str) -> tuple[str, ...]:
    networks = tuple(part.strip() for part in text.split(",") if part.strip())
    for network in networks:
        ipaddress.ip_network(network, strict=False)  # its ValueError says what is wrong
    return networks


def _found(look: Callable[[], bool]) -> bool:
    """What a look at a path finds; False where one may not look, which `doctor` tells better."""
    try:
        return look()
    except OSError:
        return False


def _state(text: str) -> Path:
    """The state folder may be made yet."""
    if _found(Path(text).is_file):
        raise ValueError(f"{text} is a file, not a folder")
    return Path(text)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ValueError(f"{text} is not a folder")
    return path


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text} is not a file")
    return path


def _model(text: str) -> str:
    """A folder's files are looked at; whether the hub has a name only the hub knows."""
    folder = Path(text).expanduser()
    if not folder.is_dir():
        if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", text):
            return text
        raise ValueError(f"{text} is neither a folder nor a name such as organisation/model")
    kinds = (("tokenizer.json",), ("model.onnx", "onnx/model.onnx"), ("1_Pooling/config.json",))
    for names in kinds:
        if not any((folder / name).is_file() for name in names):
            raise ValueError(f"{text} has no {' or '.join(names)}")
    return text


_PARSERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "STATE": ("state", _state),
    "DATABASE": ("database", _database),
    "SMTP_URL": ("smtp_url", _smtp_url),
    "SMTP_CONNECTIONS": ("smtp_connections", _number(int, 1, 1000, "a whole number")),
    "SMTP_RATE": ("smtp_rate", _number(float, 0.001, 1e6, "a number")),
    "SMTP_DAILY_LIMIT": ("smtp_daily_limit", _number(int, 1, 10**9, "a whole number")),
    "FROM": ("from_", _mailbox),
    "REPLY_TO": ("reply_to", _mailbox),
    "BOUNCE_ADDRESS": ("bounce_address", _address),
    "OPERATOR": ("operator", _address),
    "POSTAL_ADDRESS": ("postal_address", str),
    "BASE_URL": ("base_url", _base_url),
    "SECRET_KEY": ("secret_keys", _secrets),
    "SIGNUP": ("signup", _signup),
    "ADMIN_PASSWORD": ("admin_password", str),
    "TRUSTED_PROXIES": ("trusted_proxies", _networks),
    "TEMPLATES": ("templates", _folder),
    "WINDOW_DAYS": ("window_days", _number(int, 1, 36_500, "a whole number")),
    "MAX_LATENESS_HOURS": ("max_lateness_hours", _number(float, 0, 876_000, "a number")),
    "EXPECT_DROP_HOURS": ("expect_drop_hours", _number(float, 0, 876_000, "a number")),
    "ON_DOUBT": ("on_doubt", _choice("resend", "hold")),
    "DKIM_KEY": ("dkim_key", _file),
    "DKIM_SELECTOR": ("dkim_selector", _dns_name),
    "DKIM_DOMAIN": ("dkim_domain", _dns_name),
    "EMBEDDING_MODEL": ("embedding_model", _model),
}
