"""A small mail server on a loopback port that keeps what it is given: the demo's inbox, and no relay.

It speaks RFC 5321 with PIPELINING (2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531) and ENHANCEDSTATUSCODES
(2034), and strictly, as servers do that fight smuggling: lines end in CRLF, and in nothing else.
"""

from __future__ import annotations

import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

MAX_COMMAND = 2048  # octets with CRLF; RFC 5321 4.5.3.1.4 asks for 512, the extensions for more
MAX_LINE = 1000  # of text, with CRLF (RFC 5321 4.5.3.1.6)
MAX_RECIPIENTS = 100  # in one transaction
MAX_ERRORS = 20  # in one connection
MAX_CONNECTIONS = 50
IDLE_S = 60.0

_COMMAND = re.compile(r"([A-Za-z]{4})(?: +(.*?))? *\Z")
_PATH = re.compile(r"<([^<>\s\x00-\x1f\x7f]*)>((?: +[A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~]+)?)*)\Z")
_ADDRESS = re.compile(r"[^@]{1,64}@[^@\[\]]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Received:
    """One mail as it came: the envelope, and the message with CRLF line ends and without dot-stuffing."""

    sender: str  # '': the null sender of bounces
    recipients: tuple[str, ...]
    data: bytes


class MailboxServer:
    """A running server between `with` and its end. `on_mail` is told of each mail, one at a time, before the 250.

    If `on_mail` raises OSError (a full disk) the mail is refused with 452 and not kept; any other error of it ends the
    session, and is raised at the end of `with`.
    """

    def __init__(
        self, *, on_mail: Callable[[Received], None] | None = None, max_bytes: int = 10 * 1024 * 1024
    ) -> None:
        self.max_bytes = max_bytes
        self._on_mail = on_mail
        self._mails: list[Received] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> MailboxServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()
        if self._server.failure and not error:
            raise self._server.failure

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def mails(self) -> tuple[Received, ...]:
        """All mails so far, in the order in which they were taken."""
        with self._lock:
            return tuple(self._mails)

    def keep(self, mail: Received) -> None:
        """Tells `on_mail` and keeps the mail; raises OSError where that cannot take it."""
        with self._lock:
            if self._on_mail:
                self._on_mail(mail)
            self._mails.append(mail)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False  # so that server_close waits for all sessions
    request_queue_size = 64

    def __init__(self, mailbox: MailboxServer) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mailbox = mailbox
        self.failure: BaseException | None = None  # of `on_mail`
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def verify_request(self, request: object, client_address: object) -> bool:
        with self._lock:
            return len(self._open) < MAX_CONNECTIONS

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A session that broke is over; the client sees its connection closed, and `with` raises at its end."""
        self.failure = sys.exception()

    def hang_up(self) -> None:
        """Cuts all connections; their sessions end at once."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Close(Exception):
    """The session ends after what was said."""


class _Session(socketserver.StreamRequestHandler):
    """One connection: commands in, replies out."""

    timeout = IDLE_S
    disable_nagle_algorithm = True
    server: _Server
    _sender: str | None  # None: no MAIL yet
    _utf8: bool
    _recipients: list[str]

    def setup(self) -> None:
        super().setup()
        self._mailbox = self.server.mailbox
        self._errors = 0
        self._greeted = False
        self._reset()

    def handle(self) -> None:
        with suppress(_Close, OSError):
            self._say(220, "localhost ESMTP, a mailbox and no relay")
            while True:
                self._one_command()

    def _one_command(self) -> None:
        line = self._read_line(MAX_COMMAND)
        if len(line) > MAX_COMMAND:
            self._fail(500, "5.5.6 line too long")
            return
        try:
            found = _COMMAND.match(line[:-2].decode()) if line.endswith(b"\r\n") else None
        except UnicodeDecodeError:
            found = None
        if not found or "\x00" in found[0]:
            self._fail(500, "5.5.2 not understood")
            return
        verb, argument = found[1].upper(), found[2] or ""
        command = _COMMANDS.get(verb)
        if command is None:
            self._fail(502, "5.5.1 not known here")
        elif verb in ("MAIL", "RCPT", "DATA") and not self._greeted:
            self._fail(503, "5.5.1 say EHLO first")
        else:
            command(self, argument)

    # ---- commands ------------------------------------------------------------------------------------------------

    def _ehlo(self, argument: str) -> None:
        size = f"SIZE {self._mailbox.max_bytes}"
        self._greet(argument, "localhost", "PIPELINING", size, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")

    def _helo(self, argument: str) -> None:
        self._greet(argument, "localhost")

    def _greet(self, argument: str, *lines: str) -> None:
        if not argument:
            self._fail(501, "5.5.4 say who you are")
            return
        self._reset()
        self._greeted = True
        self._write(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    def _mail(self, argument: str) -> None:
        if self._sender is not None:
            self._fail(503, "5.5.1 one sender a mail")
            return
        found = self._path(argument, "FROM:")
        if not found:
            return
        address, parameters = found
        problem = self._wrong_parameter(parameters)
        if problem:
            self._fail(*problem)
        elif address and not self._acceptable(address, utf8="SMTPUTF8" in parameters):
            self._fail(553, "5.1.7 not a sender's address")
        else:
            self._utf8 = "SMTPUTF8" in parameters
            self._sender = address
            self._say(250, "2.1.0 ok")

    def _rcpt(self, argument: str) -> None:
        if self._sender is None:
            self._fail(503, "5.5.1 say MAIL first")
            return
        found = self._path(argument, "TO:")
        if not found:
            return
        address, parameters = found
        if parameters:
            self._fail(555, "5.5.4 parameters not known here")
        elif not self._acceptable(address, utf8=self._utf8):
            self._fail(553, "5.1.3 not a recipient's address")
        elif len(self._recipients) >= MAX_RECIPIENTS:
            self._fail(452, "4.5.3 too many recipients")
        else:
            self._recipients.append(address)
            self._say(250, "2.1.5 ok")

    def _data(self, argument: str) -> None:
        if argument:
            self._fail(501, "5.5.4 DATA takes nothing")
            return
        if self._sender is None or not self._recipients:
            self._fail(503, "5.5.1 say MAIL and RCPT first")
            return
        self._say(354, "go on, and end with a dot")
        refusal, data = self._read_text()
        mail = Received(self._sender, tuple(self._recipients), data)
        self._reset()
        if refusal:
            self._fail(*refusal)
            return
        try:
            self._mailbox.keep(mail)
        except OSError:
            self._fail(452, "4.3.1 cannot be kept")
            return
        self._say(250, "2.0.0 kept")

    def _rset(self, argument: str) -> None:
        self._reset()
        self._say(250, "2.0.0 ok")

    def _noop(self, argument: str) -> None:
        self._say(250, "2.0.0 ok")

    def _vrfy(self, argument: str) -> None:
        self._say(252, "2.5.0 send something and see")

    def _quit(self, argument: str) -> None:
        self._say(221, "2.0.0 goodbye")
        raise _Close

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._sender = None
        self._utf8 = False
        self._recipients = []

    def _path(self, argument: str, keyword: str) -> tuple[str, dict[str, str]] | None:
        """Address and parameters of MAIL or RCPT; None: refused already."""
        given = argument[: len(keyword)].upper() == keyword
        found = _PATH.match(argument[len(keyword) :].lstrip(" ")) if given else None
        if not found:
            self._fail(501, f"5.5.4 it is {keyword}<address>")
            return None
        pairs = (word.partition("=") for word in found[2].split())
        return found[1], {name.upper(): value for name, _, value in pairs}

    def _wrong_parameter(self, parameters: dict[str, str]) -> tuple[int, str] | None:
        for name, value in parameters.items():
            if name == "SIZE" and re.fullmatch(r"[0-9]{1,20}", value):
                if int(value) > self._mailbox.max_bytes:
                    return 552, "5.3.4 too large"
            elif not (name == "BODY" and value.upper() in ("7BIT", "8BITMIME")) and (name, value) != (
                "SMTPUTF8",
                "",
            ):
                return 555, "5.5.4 parameter not known here"
        return None

    @staticmethod
    def _acceptable(address: str, *, utf8: bool) -> bool:
        return bool(_ADDRESS.match(address)) and (utf8 or address.isascii())

    def _read_text(self) -> tuple[tuple[int, str] | None, bytes]:
        """The text up to the dot, and why it is refused. What is refused is read to its end, and not kept."""
        lines: list[bytes] = []
        size = 0
        refusal: tuple[int, str] | None = None
        at_start = True  # of a line: behind CRLF, and behind nothing else
        while True:
            line = self._read_line(MAX_LINE + 1)  # a stuffed dot does not count
            if at_start and line == b".\r\n":
                return refusal, b"".join(lines)
            at_start = line.endswith(b"\r\n")
            if b"\r" in line.removesuffix(b"\r\n") or not at_start:
                refusal = refusal or (554, "5.6.0 a line end that is not CRLF")
                continue
            line = line.removeprefix(b".")
            size += len(line)
            if len(line) > MAX_LINE:
                refusal = refusal or (554, "5.6.0 a line is too long")
            elif size > self._mailbox.max_bytes:
                refusal = refusal or (552, "5.3.4 too large")
            if refusal:
                lines.clear()
            else:
                lines.append(line)

    def _read_line(self, most: int) -> bytes:
        """The next line, up to a newline. Of one with more than `most` octets, its first `most` and its last two.

        Raises _Close at the end of the connection, whatever stands before it.
        """
        line = chunk = self.rfile.readline(most + 1)
        while chunk and not chunk.endswith(b"\n"):
            chunk = self.rfile.readline(65536)
            line = line[:most] + (line + chunk)[-2:]
        if not chunk:
            raise _Close
        return line

    def _say(self, code: int, text: str) -> None:
        self._write(f"{code} {text}")

    def _fail(self, code: int, text: str) -> None:
        """Refuses a command; who errs too often is sent away."""
        self._errors += 1
        self._say(code, text)
        if self._errors >= MAX_ERRORS:
            self._say(421, "4.7.0 too many errors")
            raise _Close

    def _write(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))


_COMMANDS: dict[str, Callable[[_Session, str], None]] = {
    "EHLO": _Session._ehlo,
    "HELO": _Session._helo,
    "MAIL": _Session._mail,
    "RCPT": _Session._rcpt,
    "DATA": _Session._data,
    "RSET": _Session._rset,
    "NOOP": _Session._noop,
    "VRFY": _Session._vrfy,
    "QUIT": _Session._quit,
}
