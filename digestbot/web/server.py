"""Runs the pages. The only module that speaks uvicorn."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from digestbot.errors import DigestbotError, UsageError
from digestbot.settings import Settings
from digestbot.web.app import make_app
from digestbot.web.site import Site

HEAD_S = 20.0  # for a request's head to arrive, and for the next one on an open connection
START_S = 60.0
STOP_S = 10
CONNECTIONS = 2000  # more are told to come back


@dataclass(frozen=True, slots=True)
class Handle:
    """A running server. `url`: where it listens."""

    url: str
    _server: uvicorn.Server
    _thread: threading.Thread

    def stop(self) -> None:
        """Answers what was asked, then ends."""
        self._server.should_exit = True
        self._thread.join(STOP_S + 5)


def serve(
    settings: Settings, host: str, port: int, *, tell: Callable[[str], None] = lambda url: None
) -> None:
    """Serves until Ctrl-C or SIGTERM; `tell` gets the URL. Raises UsageError where it cannot listen, and as Site()."""
    site = Site(settings)
    listener = _listen(host, port)
    tell(_url(listener))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn raises it again once everything has ended
    _server(site).run(sockets=[listener])


def serve_in_thread(
    settings: Settings, host: str, port: int, *, clock: Callable[[], datetime] | None = None
) -> Handle:
    """Serves in a thread of its own until the handle is told to stop; returns once it answers. Port 0: any free one."""
    listener = _listen(host, port)
    server = _server(Site(settings, clock=clock))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    waiting = threading.Event()
    for _ in range(int(START_S * 100)):
        if server.started or not thread.is_alive():
            break
        waiting.wait(0.01)
    if not server.started:
        raise DigestbotError("the web pages did not start; the log says why")
    return Handle(_url(listener), server, thread)


def _url(listener: socket.socket) -> str:
    name, number = listener.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{number}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(found[4][:2], family=found[0], backlog=512)
    except OSError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    # Connections inherit it; asyncio would not set it on such sockets. Without: 43 pages a second, with: 600.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _server(site: Site) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            make_app(site),
            http=PatientProtocol,
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,  # URLs hold tokens
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=int(HEAD_S),
            timeout_graceful_shutdown=STOP_S,
        )
    )


class PatientProtocol(H11Protocol):
    """Ends connections whose request's head does not arrive, so that slow clients use up nothing."""

    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._until = self.loop.call_later(HEAD_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._until is not None:
            self._until.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Once a request is being answered its own limits hold, so it is looked at again later."""
        if self.conn.their_state in (h11.IDLE, h11.ERROR) and (
            self.cycle is None or self.cycle.response_complete
        ):
            self.transport.close()
        else:
            self._until = self.loop.call_later(HEAD_S, self._look)
