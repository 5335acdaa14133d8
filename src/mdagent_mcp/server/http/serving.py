"""Serving the application: the socket, uvicorn, and an end that loses no call.

The rule of this module: the first signal begins the drain, a second one ends the process without waiting. uvicorn is
told to stop only after the last call has ended, because everything that streams stops at once when it is.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import anyio
import uvicorn
from starlette.types import ASGIApp

from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.server.http.traffic import Traffic
from mdagent_mcp.server.http.wire import bounded

_log: Final = logging.getLogger(__name__)
_AFTER_DRAIN_S: Final = 2
"""What uvicorn may take to close connections once all calls have ended, seconds."""
_SPARE_FILES: Final = 256
"""Descriptors that vendors' connections, the store and the log need beside those of clients."""


class SignalledServer(uvicorn.Server):
    """A uvicorn whose signals begin a drain.

    Attributes:
        signals: those received, in order.
        ending: set by the first.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.signals: list[int] = []
        self.ending = anyio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """The first signal is noted, the second ends everything."""
        self.signals.append(sig)
        if len(self.signals) > 1:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: a handler of signals may not touch the event loop, so that it is told here."""
        if self.signals:
            self.ending.set()
        return await super().on_tick(counter)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to an address, so that an address in use is told before anything is opened.

    Raises:
        OSError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol; with it a reply takes 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def url_of(listening: socket.socket) -> str:
    """Where a client of this machine finds the server."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve_http(
    app: ASGIApp,
    settings: HttpSettings,
    listening: socket.socket,
    *,
    traffic: Traffic,
    clock: Clock,
    end_streams: Callable[[], None],
) -> bool:
    """Serve until a signal, then drain.

    Args:
        app: what is served.
        settings: validated.
        listening: bound.
        traffic: what is under way.
        clock: time.
        end_streams: ends subscriptions in good order, once no new ones are taken.

    Returns:
        Whether every call under way came to its end.
    """
    _raise_file_limit(settings.max_connections + _SPARE_FILES)
    server = SignalledServer(_config(app, settings))
    drained = True

    async def end_after_signal() -> None:
        nonlocal drained
        await server.ending.wait()
        drained = await traffic.drain(clock, settings.drain_notice_s, settings.drain_s, end_streams)
        if not drained:
            _log.warning("calls were still under way after %g s and have been cut short", settings.drain_s)
        server.should_exit = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_after_signal)
        await server.serve(sockets=[listening])
        tasks.cancel_scope.cancel()
    return drained


def _config(app: ASGIApp, settings: HttpSettings) -> uvicorn.Config:
    proxies = list(settings.trusted_proxies)
    return uvicorn.Config(
        app,
        http=bounded(settings.max_header_bytes, settings.receive_s),
        ws="none",
        lifespan="on",
        loop="asyncio",
        access_log=False,
        log_config=None,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        server_header=False,
        workers=1,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=_AFTER_DRAIN_S,
    )


def _raise_file_limit(needed: int) -> None:
    """Allow as many open files as there may be connections, as far as the system lets us."""
    try:
        import resource  # noqa: PLC0415 - POSIX only
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= needed:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == unlimited else min(needed, hard), hard))
    if hard != unlimited and hard < needed:
        _log.warning("only %d files may be open, too few for %d connections; raise `ulimit -n`", hard, needed)
