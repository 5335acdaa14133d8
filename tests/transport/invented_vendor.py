"""A vendor that does not exist, with everything a declaration can have, and a web that answers for it."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import anyio
import httpx

from mdagent_mcp.domain.events import Event
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    Key,
    Offer,
    Quota,
    QuoteQuery,
    Reply,
    Request,
    SessionToken,
    Vendor,
)
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
SECRET = "k3y-that-must-not-leak"
AAPL = parse_symbol("AAPL")


def quote(symbol: str, price: float) -> Quote:
    """A quote as this vendor's reply is read."""
    return Quote(symbol=symbol, source="invented", price=price, session=Session.REGULAR, received_at=NOON)


def _build(query: QuoteQuery) -> tuple[Request, ...]:
    symbol = query.instruments[0].symbol
    return tuple(Request(f"/{kind}/{symbol}", (("fields", "all"),)) for kind in ("stock", "fund"))


def _build_batch(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request("/batch", (("symbols", ",".join(i.symbol for i in query.instruments)),)),)


def _parse(query: QuoteQuery, reply: Reply) -> Mapping[str, Outcome[tuple[Quote, ...]]]:
    prices = Json.parse(reply.body)
    read: dict[str, Outcome[tuple[Quote, ...]]] = {}
    for instrument in query.instruments:
        found = prices.find(instrument.symbol)
        read[instrument.symbol] = (
            Failure("invented", FailureKind.UNKNOWN_SYMBOL, "not listed")
            if found is None
            else Answered((quote(instrument.symbol, found.number()),))
        )
    return read


def _parse_token(reply: Reply) -> str:
    text = reply.body.decode()
    if not text or " " in text:
        raise SourceError(FailureKind.UNAUTHORIZED, "no usable token")
    return text


INVENTED = Vendor(
    id="invented",
    title="Invented",
    docs_url="https://docs.invalid/",
    terms="none",
    hosts={"api": "http://one.invalid", "second": "http://two.invalid"},
    quote=Offer(Endpoint.QUOTE, lambda _: None, _build, _parse, lambda _: None),
    quotes=Offer(Endpoint.QUOTES, lambda _: None, _build_batch, _parse, lambda _: None, max_batch=2),
    errors=(
        ErrorRule(FailureKind.UNAUTHORIZED, status=401),
        ErrorRule(FailureKind.THROTTLED, contains=b"slow down", retry_after_s=30.0),
    ),
    key=Key(("INVENTED_KEY",), "header", "X-Key", prefix="Bearer "),
    headers=(("User-Agent", "test"),),
    token=SessionToken(frozenset({Endpoint.QUOTES}), Request("/cookie"), Request("/token"), _parse_token, "crumb"),
)

Handler = Callable[[httpx.Request], Awaitable[httpx.Response] | httpx.Response]


class Web(httpx.AsyncBaseTransport):
    """Answers requests by a handler and remembers them."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[httpx.Request] = []

    @property
    def paths(self) -> list[str]:
        """Host and path of every request, in order."""
        return [f"{r.url.host}{r.url.path}" for r in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.requests.append(request)
        answer = self.handler(request)
        return answer if isinstance(answer, httpx.Response) else await answer


def prices(**by_symbol: float) -> Handler:
    """A handler that knows these prices under every path."""
    return lambda _request: httpx.Response(200, content=json.dumps(by_symbol).encode())


class BrokenBatches:
    """A handler whose batches fail on the vendor's side; single quotes are answered by another one."""

    def __init__(self, singles: Handler) -> None:
        self.singles = singles

    def __call__(self, request: httpx.Request) -> httpx.Response | Awaitable[httpx.Response]:
        """Answer one request."""
        return httpx.Response(503) if request.url.path == "/batch" else self.singles(request)


async def never(_request: httpx.Request) -> httpx.Response:
    """A handler that never answers."""
    await anyio.Event().wait()
    raise AssertionError


class Bench:
    """An invented source on a hand-turned clock."""

    def __init__(
        self,
        handler: Handler,
        *,
        quotas: tuple[Quota, ...] = (),
        vendor: Vendor = INVENTED,
        declared_delay_s: float = 0.0,
        gather_s: float = 0.0,
    ) -> None:
        self.clock = ManualClock(NOON)
        self.web = Web(handler)
        self.events: list[Event] = []
        client = VendorClient(vendor, host_sets(vendor), SECRET, self.clock, lambda _: self.web)
        self.source = Source(
            vendor,
            SourceOptions(timeout_s=4.0, quotas=quotas, declared_delay_s=declared_delay_s, gather_s=gather_s),
            client,
            clock=self.clock,
            emit=self.events.append,
            rng=random.Random(1),
        )

    async def ask(self, *symbols: str, budget_s: float = 10.0) -> Mapping[str, Outcome[tuple[Quote, ...]]]:
        """What the source says about these symbols."""
        asked = await self.source.quotes(tuple(map(parse_symbol, symbols)), budget_s)
        return asked.answer
