"""Notices that a resource has changed, to whoever subscribed to it, in either era of the protocol.

The rule of this module: a publisher says only which address changed; who hears it and how is decided here. Clients
since 2026-07-28 open a stream of their own choice (`subscriptions/listen`, served by the SDK from the bus). Earlier
ones name a resource on their session (`resources/subscribe`), which the SDK leaves to its user. A client that does not
read loses its subscription rather than holding up the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
)
from mcp.shared.uri_template import UriTemplate
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.instruments import echo

SUBSCRIPTIONS_PER_SESSION: Final = 100
"""Resources one client before 2026-07-28 may subscribe to."""
LISTENERS: Final = 1_024
"""Streams of clients since 2026-07-28 that may be open at once."""
TELLING_LIMIT_S: Final = 5.0
"""How long a client may take to accept a notice."""

_Context = ServerRequestContext[Any, Any]


class _Bus(InMemorySubscriptionBus):
    """The SDK's bus, which also tells how many listen."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed
        self.listeners = 0

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Add a listener; what is returned removes it, once."""
        remove = super().subscribe(listener)
        self.listeners += 1
        self._changed()
        left = [remove]

        def unsubscribe() -> None:
            if left:
                left.pop()()
                self.listeners -= 1

        return unsubscribe


@dataclass(eq=False)
class _Session:
    """A client before 2026-07-28 and what it subscribed to."""

    connection: Connection
    uris: set[str] = field(default_factory=set)


class ResourceNotices:
    """Subscriptions of one server.

    Args:
        clock: limits how long a client may take to accept a notice.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[int, _Session] = {}
        self._somebody = anyio.Event()
        self._bus = _Bus(self._wake)
        self._listening = ListenHandler(self._bus, max_subscriptions=LISTENERS)

    @property
    def bus(self) -> SubscriptionBus:
        """Where notices pass on their way to listening streams."""
        return self._bus

    @property
    def are_wanted(self) -> bool:
        """Whether anybody is subscribed to anything."""
        return bool(self._bus.listeners) or any(session.uris for session in self._sessions.values())

    async def until_wanted(self) -> None:
        """Wait for a subscriber; at once while there is one."""
        while not self.are_wanted:
            self._somebody = anyio.Event()
            await self._somebody.wait()

    async def publish(self, uri: str) -> None:
        """Tell every subscriber of a resource that it has changed."""
        await self._bus.publish(ResourceUpdated(uri=uri))
        async with anyio.create_task_group() as tasks:
            for session in [s for s in self._sessions.values() if uri in s.uris]:
                tasks.start_soon(self._tell, session, uri)

    def end_streams(self) -> None:
        """End every listening stream in good order: what waits is delivered, then the client is told that it ends."""
        self._listening.close()

    def serve_on(self, server: MCPServer[Any], *, sessions: bool) -> None:
        """Answer subscription requests on a server.

        Args:
            server: whose resources can be subscribed to.
            sessions: whether its clients before 2026-07-28 have a session that a notice could reach; without one
                nothing is promised to them.
        """
        # MCPServer offers no registration of these two methods, and none of a listening handler of one's own.
        lowlevel = server._lowlevel_server  # noqa: SLF001 - see above
        lowlevel.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listening)
        if sessions:
            lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribing(server))
            lowlevel.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    def _wake(self) -> None:
        self._somebody.set()

    def _subscribing(
        self, server: MCPServer[Any]
    ) -> Callable[[_Context, SubscribeRequestParams], Awaitable[EmptyResult]]:
        async def subscribe(ctx: _Context, params: SubscribeRequestParams) -> EmptyResult:
            uri = str(params.uri)
            if not await _exists(server, uri):
                raise MCPError(code=INVALID_PARAMS, message=f"There is no resource '{echo(uri)}' to subscribe to.")
            self._add(_connection_of(ctx), uri)
            return EmptyResult()

        return subscribe

    def _add(self, connection: Connection, uri: str) -> None:
        session = self._sessions.get(id(connection))
        if session is None:
            session = self._sessions[id(connection)] = _Session(connection)
            connection.exit_stack.callback(self._sessions.pop, id(connection), None)
        if len(session.uris) >= SUBSCRIPTIONS_PER_SESSION and uri not in session.uris:
            raise MCPError(
                code=INVALID_PARAMS, message=f"At most {SUBSCRIPTIONS_PER_SESSION} resources can be subscribed to."
            )
        session.uris.add(uri)
        self._wake()

    async def _unsubscribe(self, ctx: _Context, params: UnsubscribeRequestParams) -> EmptyResult:
        session = self._sessions.get(id(_connection_of(ctx)))
        if session is not None:
            session.uris.discard(str(params.uri))
        return EmptyResult()

    async def _tell(self, session: _Session, uri: str) -> None:
        try:
            with self._clock.limit(TELLING_LIMIT_S):
                await session.connection.send_resource_updated(uri)
        except TimeoutError:
            session.uris.clear()


def _connection_of(ctx: _Context) -> Connection:
    """The connection that a request came on, which outlives the request."""
    return ctx.session._connection  # noqa: SLF001 - the SDK offers no other way to what lives as long as the client


async def _exists(server: MCPServer[Any], uri: str) -> bool:
    if any(resource.uri == uri for resource in await server.list_resources()):
        return True
    templates = [template.uri_template for template in await server.list_resource_templates()]
    return any(UriTemplate.parse(template).match(uri) is not None for template in templates)
