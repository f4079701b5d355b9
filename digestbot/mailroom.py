"""From a ledger entry to the bytes of its mail: fetches what the entry names, renders, and puts it into an envelope."""

from __future__ import annotations

from digestbot.links import Links
from digestbot.mail import Mail
from digestbot.model import OutboxEntry
from digestbot.render import Renderer
from digestbot.settings import Settings
from digestbot.storage import Storage


class MailRoom:
    """Makes mails one by one, from several threads; the same entry gives the same bytes."""

    def __init__(self, settings: Settings, storage: Storage, links: Links, renderer: Renderer) -> None:
        self._storage = storage
        self._links = links
        self._renderer = renderer

    def make(self, entry: OutboxEntry) -> Mail | None:
        """The mail of an entry; None where nothing is left to send (papers withdrawn, subscriber gone)."""
        raise NotImplementedError
