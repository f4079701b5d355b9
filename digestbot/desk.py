"""What the parts of the pipeline work with, whoever runs it: settings, storage, links, renderer, embedder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parseaddr
from typing import TYPE_CHECKING

from digestbot.errors import SettingsError
from digestbot.links import Links, derive_key
from digestbot.mailroom import make_signer
from digestbot.relay import SmtpSettings
from digestbot.render import Look, Renderer
from digestbot.sample_mails import try_templates
from digestbot.semantics import find_embedder
from digestbot.settings import Settings
from digestbot.storage import Storage, open_storage, rehearse
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
    """Raises TemplateError where one of the operator's own templates is wrong; the packaged ones are not looked at."""
    name = parseaddr(settings.from_)[0] or settings.from_address
    renderer = Renderer(templates=settings.templates, links=links, look=Look(name, settings.postal_address))
    if settings.templates is not None:
        try_templates(renderer)
    return renderer


@contextmanager
def open_desk(settings: Settings, *, rehearsal: bool = False) -> Iterator[Desk]:
    """A desk with its own connection to the storage, or on a rehearsal of it.

    Raises SettingsError, TemplateError or UsageError before anything is opened, StorageError where that cannot be.
    """
    keys = [derive_key(key) for key in settings.secret_keys]
    if not keys:
        raise missing_secret()
    links = Links(settings.base_url, keys)
    renderer, embedder = make_renderer(settings, links), find_embedder(settings)
    with rehearse(settings, writing=True) if rehearsal else open_storage(settings) as storage:
        yield Desk(settings, storage, links, renderer, embedder)


def check_sending(settings: Settings) -> None:
    """Raises SettingsError where mails would go to the world with links that are not https (RFC 8058), and for a DKIM key
    that cannot be used."""
    if not settings.is_secure and not SmtpSettings.from_url(settings.smtp_url).is_loopback:
        raise SettingsError(
            [
                f"DIGESTBOT_BASE_URL: is {settings.base_url}, but mails leave this machine:"
                " one-click unsubscribe needs https (RFC 8058)"
            ]
        )
    make_signer(settings)
