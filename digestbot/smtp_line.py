"""A worker's way to the relay, over as many connections as the relay makes it take."""

from __future__ import annotations

import threading

from digestbot.relay import ServerRefused, SmtpSettings, Timeouts
from digestbot.smtp import Connection, Handover, Mail
from digestbot.smtp_replies import Stage, Verdict


class Line:
    """A worker's way to the relay: one connection at a time, opened when needed."""

    def __init__(
        self, relay: SmtpSettings, timeouts: Timeouts, stop: threading.Event, *, cool_down_s: float
    ) -> None:
        """cool_down_s: pause before the next connection after the relay broke one off; doubles up to a minute."""
        self._relay, self._timeouts, self._stop, self._cool_down_s = relay, timeouts, stop, cool_down_s
        self._connection: Connection | None = None
        self._cool_s = 0.0
        self.is_working = True

    def open(self) -> Connection:
        """Raises ServerRefused; the line is of no use then."""
        if self._connection is None or not self._connection.is_open:
            if self._cool_s:
                self._stop.wait(self._cool_s)
            try:
                self._connection = Connection(self._relay, self._timeouts, give_up=self._stop)
            except ServerRefused:
                self.is_working = False
                raise
        return self._connection

    def hand_over(self, mail: Mail, envelope_id: str) -> Handover:
        """As Connection does; a connection that was used before and broke before the text is replaced once.

        Servers close idle connections, and those that carried as many messages as they allow.
        """
        connection = self.open()
        used = connection.delivered > 0
        handover = connection.hand_over(mail, envelope_id)
        if used and handover.stage is Stage.MAIL and handover.verdict in (Verdict.LOST, Verdict.CLOSING):
            handover = self.open().hand_over(mail, envelope_id)
        if handover.verdict in (Verdict.CLOSING, Verdict.LOST):
            self._cool_s = min(max(self._cool_s * 2, self._cool_down_s), 60)
        else:
            self._cool_s = 0.0
        return handover

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.hang_up()

    def close(self) -> None:
        self.is_working = False
        if self._connection is not None:
            self._connection.close()
