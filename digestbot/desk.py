"""What the parts of the pipeline work with, whoever runs it: settings, storage, links, renderer, embedder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parseaddr
from typing import TYPE_CHECKING

from digestbot.errors import SettingsError
from digestbot.links import Links, derive_key
from digestbot.relay import SmtpSettings
from digestbot.render import Look, Renderer
from digestbot.semantics import find_embedder
from digestbot.settings import Settings
from digestbot.storage import Storage, open_storage
from digestbot.subscriptions import missing_secret

if TYPE_CHECKING:
    from digestbot import ranking


@dataclass(frozen=True, slots=True)
class Desk:
    """All that one process or thread needs to do the work, with a connection of its own to the storage."""

    settings: Settings
    storage: Storage
    links: Links
    renderer: Renderer
    embedder: ranking.Embedder | None = None  # None: ranking is lexical
    keeps_embeddings: bool = True  # False: new ones are made and forgotten, nothing is written

    @property
    def mail_domain(self) -> str:
        return self.settings.from_address.rpartition("@")[2]


def make_renderer(settings: Settings, links: Links) -> Renderer:
    """Raises TemplateError where a template is wrong."""
    name = parseaddr(settings.from_)[0] or settings.from_address
    return Renderer(templates=settings.templates, links=links, look=Look(name, settings.postal_address))


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """A desk with its own connection to the storage. Raises SettingsError, StorageError or TemplateError."""
    keys = [derive_key(key) for key in settings.secret_keys]
    if not keys:
        raise missing_secret()
    links = Links(settings.base_url, keys)
    with open_storage(settings) as storage:
        yield Desk(settings, storage, links, make_renderer(settings, links), find_embedder(settings))


def check_relay(settings: Settings) -> None:
    """Raises SettingsError where mails would go to the world with links that are not https (RFC 8058)."""
    if not settings.is_secure and not SmtpSettings.from_url(settings.smtp_url).is_loopback:
        raise SettingsError(
            [
                f"DIGESTBOT_BASE_URL: is {settings.base_url}, but mails leave this machine:"
                " one-click unsubscribe needs https (RFC 8058)"
            ]
        )
