"""The sandbox as one HTTP application: every vendor under `/<vendor>`, its own pages under `/sandbox`.

The rule of this module: it decides when a call is answered and whether at all (faults, counting, waiting); what the
answer says is the wire formats' business. Every reply says in a header that prices are not real.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from email.utils import format_datetime
from ipaddress import ip_address
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.sandbox.alpha_vantage import ALPHA_VANTAGE
from mdagent_mcp.sandbox.cboe import CBOE
from mdagent_mcp.sandbox.faults import Fault, FaultBoard, FaultKind, Faults, InvalidFaultError
from mdagent_mcp.sandbox.finnhub import FINNHUB
from mdagent_mcp.sandbox.iex_cloud import IEX_CLOUD
from mdagent_mcp.sandbox.market import SimulatedMarket
from mdagent_mcp.sandbox.nasdaq import NASDAQ
from mdagent_mcp.sandbox.polygon import POLYGON
from mdagent_mcp.sandbox.tiingo import TIINGO
from mdagent_mcp.sandbox.twelve_data import TWELVE_DATA
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from mdagent_mcp.sandbox.wire import Endpoint, Wire
from mdagent_mcp.sandbox.yahoo import YAHOO

WIRES: Final = (YAHOO, NASDAQ, CBOE, FINNHUB, TWELVE_DATA, ALPHA_VANTAGE, TIINGO, POLYGON, IEX_CLOUD)
"""The vendors the sandbox speaks for."""
HEADER: Final = "X-Simulated-Market"
NOTICE: Final = "mdagent-mcp sandbox, prices are not real"

_LARGEST_BODY: Final = 65_536


@dataclass(slots=True)
class Desk:
    """What a running sandbox knows beside its market.

    Attributes:
        market: the truth.
        clock: tells the present and waits.
        board: faults in force.
        calls: calls received by vendor and path template.
        closing: set when the server goes down, so that hanging calls end.
    """

    market: SimulatedMarket
    clock: Clock
    board: FaultBoard
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    closing: anyio.Event = field(default_factory=anyio.Event)

    def calls_by_vendor(self) -> dict[str, dict[str, int]]:
        """Calls received, by vendor and then by path template."""
        table: dict[str, dict[str, int]] = {wire.id: {} for wire in WIRES}
        for (vendor, path), count in sorted(self.calls.items()):
            table[vendor][path] = count
        return table


def build_app(market: SimulatedMarket, clock: Clock, faults: Iterable[str | Fault] = ()) -> Starlette:
    """The application, to be served or called in process.

    Args:
        market: what it tells about.
        clock: tells the present; delays wait on it.
        faults: in force from the start, as texts or faults.

    Raises:
        InvalidFaultError: when a text describes no fault.
    """
    return app_of(Desk(market, clock, FaultBoard(Faults.parse(faults), market.seed)))


def app_of(desk: Desk) -> Starlette:
    """The application over a desk that the caller keeps."""
    mounts = [Mount(f"/{wire.id}", routes=[_route(desk, wire, e) for e in wire.endpoints]) for wire in WIRES]
    routes = [
        Route("/sandbox", _about(desk)),
        Route("/sandbox/calls", _calls(desk)),
        Route("/sandbox/faults", _faults(desk), methods=["GET", "PUT"]),
        *mounts,
    ]
    return Starlette(routes=routes, middleware=[Middleware(_Notice, clock=desk.clock)])


class _Notice:
    """Marks every reply as simulated, dates it by the sandbox's clock and reads `//` in a path as `/`."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = format_datetime(self._clock.now(), usegmt=True)
                added = ((HEADER.lower(), NOTICE), ("date", date))
                headers = [(name.encode(), value.encode()) for name, value in added]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        while "//" in scope["path"]:
            scope["path"] = scope["path"].replace("//", "/")
        await self._app(scope, receive, marked)


def _route(desk: Desk, wire: Wire, endpoint: Endpoint) -> Route:
    async def answer(request: Request) -> Response:
        desk.calls[wire.id, endpoint.path] += 1
        if (refusal := wire.refuses(request)) is not None:
            return refusal
        faults = desk.board.draw(wire.id, endpoint.symbols(request))
        if wire.ignores(request) or _find(faults, FaultKind.HANG) is not None:
            await desk.closing.wait()
            return wire.broken(503)
        if (delay := _find(faults, FaultKind.DELAY)) is not None:
            await desk.clock.sleep(delay.amount or 0.0)
        return _answered(desk, wire, endpoint, request, faults)

    return Route(endpoint.path, answer, methods=["GET"])


def _answered(desk: Desk, wire: Wire, endpoint: Endpoint, request: Request, faults: tuple[Fault, ...]) -> Response:
    if (throttle := _find(faults, FaultKind.THROTTLE)) is not None:
        response = wire.throttled()
        if throttle.amount is not None:
            response.headers["Retry-After"] = f"{throttle.amount:.0f}"
        return response
    if (failure := _find(faults, FaultKind.SERVER_ERROR)) is not None:
        return wire.broken(int(failure.amount or 503))
    view = VendorView(desk.market, VENUES[wire.id], desk.clock.now(), faults)
    response = endpoint.answer(view, request)
    malformed = _find(faults, FaultKind.MALFORMED)
    return response if malformed is None else _spoilt(response, malformed)


def _spoilt(response: Response, fault: Fault) -> Response:
    if fault.word == "html":
        return HTMLResponse("<!DOCTYPE html><html><body><h1>Will be right back...</h1></body></html>")
    half = bytes(response.body)[: max(1, len(response.body) // 2)]
    return Response(half, response.status_code, media_type=response.media_type or "application/json")


def _find(faults: tuple[Fault, ...], kind: FaultKind) -> Fault | None:
    return next((fault for fault in faults if fault.kind is kind), None)


Handler = Callable[[Request], Awaitable[Response]]


def _about(desk: Desk) -> Handler:
    async def about(request: Request) -> Response:
        del request
        return JSONResponse(
            {
                "what": "A sandbox that imitates market data vendors.",
                "warning": "ALL PRICES ARE SIMULATED. Nothing here is a real price of any instrument.",
                "seed": desk.market.seed,
                "now": desk.clock.now().isoformat(),
                "vendors": {wire.id: [endpoint.path for endpoint in wire.endpoints] for wire in WIRES},
                "faults": list(desk.board.faults.texts),
            }
        )

    return about


def _calls(desk: Desk) -> Handler:
    async def calls(request: Request) -> Response:
        del request
        return JSONResponse(desk.calls_by_vendor())

    return calls


def _faults(desk: Desk) -> Handler:
    async def faults(request: Request) -> Response:
        if request.method == "PUT":
            refusal = await _replace_faults(desk, request)
            if refusal is not None:
                return refusal
        return JSONResponse(list(desk.board.faults.texts))

    return faults


async def _replace_faults(desk: Desk, request: Request) -> Response | None:
    if not is_loopback(request.url.hostname or ""):
        return JSONResponse({"error": "faults are changed from this machine only"}, 403)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return JSONResponse({"error": "the list of faults is too long"}, 413)
    try:
        desk.board.replace(Faults.parse(_texts(body)))
    except (InvalidFaultError, RecursionError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return None


def _texts(body: bytes) -> list[str]:
    try:
        texts = json.loads(body)
    except ValueError:
        raise InvalidFaultError('send a JSON list of texts such as ["yahoo=throttle"]') from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidFaultError('send a JSON list of texts such as ["yahoo=throttle"]')
    return texts


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
