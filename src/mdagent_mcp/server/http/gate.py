"""The gate in front of everything that is served over HTTP: whoever is not let in costs no more than this.

The rule of this module: checks run from the cheapest to the dearest, each path through them is bounded in time and
memory, and Host and Origin are checked for every path.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.server.http.bodies import (
    ClientGoneError,
    declared_too_large,
    read_body,
    refusal_of_message,
    too_large,
)
from mdagent_mcp.server.http.hosts import CallerRules
from mdagent_mcp.server.http.rates import ClientRates, client_of
from mdagent_mcp.server.http.refusals import (
    DRAINING,
    NO_SUCH_PATH,
    NO_TOKEN,
    TOO_SLOW,
    WRONG_HOST,
    WRONG_ORIGIN,
    WRONG_TOKEN,
    Refusal,
    too_often,
)
from mdagent_mcp.server.http.tokens import TokenBook, bearer_of
from mdagent_mcp.server.http.traffic import Traffic

MCP_PATH: Final = "/mcp"
_READ: Final = frozenset({"host", "origin", "authorization", "content-length"})
_ONCE: Final = frozenset({"host", "origin", "authorization"})
"""Headers that mean nothing good when they come twice: two readers could each believe another one."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may be.

    Attributes:
        body_bytes: of its body.
        json_depth: levels of nesting.
        receive_s: time for it to arrive.
    """

    body_bytes: int
    json_depth: int
    receive_s: float


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let in.

    Attributes:
        rules: Host and Origin.
        tokens: who may call.
        rates: how often.
    """

    rules: CallerRules
    tokens: TokenBook
    rates: ClientRates


class Gate:
    """Lets requests through to an application, or refuses them.

    Args:
        app: what is behind it.
        admission: who is let in.
        limits: how much.
        traffic: what is under way.
        clock: time.
        protected: paths beside the protocol's own that need a token where any is set.
        open_paths: paths that everybody may read who may reach the server.
    """

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        limits: RequestLimits,
        *,
        traffic: Traffic,
        clock: Clock,
        protected: Collection[str] = (),
        open_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._admission = admission
        self._limits = limits
        self._traffic = traffic
        self._clock = clock
        self._protected = frozenset(protected) | {MCP_PATH}
        self._open_paths = frozenset(open_paths)

    def admit_by(self, admission: Admission, limits: RequestLimits) -> None:
        """Let requests in by other rules from now on; those that are let in already go on."""
        self._admission = admission
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's life."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        refusal = self._refusal_of(scope)
        if refusal is not None:
            await refusal.send(send)
        elif scope["path"] != MCP_PATH:
            await self._app(scope, receive, send)
        elif scope["method"] == "POST":
            async with self._traffic.under_way(send, standing=False) as watched:
                await self._serve_call(scope, receive, watched)
        else:
            async with self._traffic.under_way(send, standing=True) as watched:
                await self._app(scope, receive, watched)

    def _refusal_of(self, scope: Scope) -> Refusal | None:
        """Why a request is turned away by its headers alone; None when it is not."""
        headers, repeated = _headers_of(scope)
        if repeated or not self._admission.rules.admit_host(headers.get("host", "")):
            return WRONG_HOST
        if "origin" in headers and not self._admission.rules.admit_origin(headers["origin"]):
            return WRONG_ORIGIN
        path = scope["path"]
        if path in self._open_paths:
            return None
        if path not in self._protected:
            return NO_SUCH_PATH
        refusal = self._refusal_of_caller(scope, headers)
        if refusal is None and path == MCP_PATH and self._traffic.refusing:
            return DRAINING
        if refusal is None and declared_too_large(headers.get("content-length"), self._limits.body_bytes):
            return too_large(self._limits.body_bytes)
        return refusal

    def _refusal_of_caller(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        """Who calls, written into the scope, and whether that is too often.

        Guesses at a token count against the address they come from.
        """
        address = scope["client"][0] if scope.get("client") else ""
        client, refusal = f"address {client_of(address)}", None
        if not self._admission.tokens.is_empty:
            token = bearer_of(headers.get("authorization", ""))
            name = None if token is None else self._admission.tokens.name_of(token)
            if name is None:
                refusal = NO_TOKEN if token is None else WRONG_TOKEN
            else:
                client = f"token {name}"
                # The SDK binds a session to whoever opened it by this.
                scope["user"] = AuthenticatedUser(AccessToken(token=name, client_id=name, scopes=[]))
        wait_s = self._admission.rates.draw(client)
        return too_often(wait_s) if wait_s else refusal

    async def _serve_call(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._clock.limit(self._limits.receive_s):
                body = await read_body(receive, self._limits.body_bytes)
        except TimeoutError:
            await TOO_SLOW.send(send)
            return
        except ClientGoneError:
            return
        if isinstance(body, Refusal):
            await body.send(send)
            return
        refusal = refusal_of_message(body, self._limits.json_depth)
        if refusal is not None:
            await refusal.send(send)
            return
        await self._app(scope, _replayed(body, receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, and then what is left, which is the client's going away."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


def _headers_of(scope: Scope) -> tuple[dict[str, str], bool]:
    """The headers that decide, and whether one that must be alone came twice."""
    found: dict[str, str] = {}
    repeated = False
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in _READ:
            repeated = repeated or (name in found and name in _ONCE)
            found[name] = raw_value.decode("latin-1")
    return found, repeated
