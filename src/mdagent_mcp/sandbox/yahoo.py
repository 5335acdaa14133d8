"""Yahoo's host: the cookie, the crumb, the edge that refuses, and the two data endpoints.

Everything stands under one base URL: the cookie host's `GET /`, `/v1/test/getcrumb`, `/v7/finance/quote` and
`/v8/finance/chart/{symbol}`. A call without a User-Agent, or with that of a bare command-line client, is refused with
429 in plain text.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Endpoint, Wire, json_reply
from mdagent_mcp.sandbox.yahoo_chart import MEDIA_TYPE, chart
from mdagent_mcp.sandbox.yahoo_listing import read_symbol
from mdagent_mcp.sandbox.yahoo_quote import asked_symbols, quote

COOKIE: Final = "A3"
_YEAR_S: Final = 31_536_000
_REFUSED_AGENTS: Final = ("curl/", "python-requests/")


def _cookie(view: VendorView, request: Request) -> Response:
    del request
    value = f"d={view.noise.number('cookie', view.now.isoformat()):016x}&S=sandbox"
    cookie = f"{COOKIE}={value}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=lax"
    return Response("", 404, {"Set-Cookie": cookie}, "text/html")


def _crumb_of(cookie: str) -> str:
    return blake2b(cookie.encode(), digest_size=8).hexdigest()[:11]


def _unauthorized(description: str) -> Response:
    error = {"code": "Unauthorized", "description": description}
    return json_reply({"finance": {"result": None, "error": error}}, 401, media_type=MEDIA_TYPE)


def _getcrumb(view: VendorView, request: Request) -> Response:
    del view
    cookie = request.cookies.get(COOKIE)
    return _unauthorized("Invalid Cookie") if not cookie else PlainTextResponse(_crumb_of(cookie))


def _quote(view: VendorView, request: Request) -> Response:
    cookie = request.cookies.get(COOKIE)
    if not cookie or request.query_params.get("crumb") != _crumb_of(cookie):
        return _unauthorized("Invalid Crumb")
    return quote(view, request)


def _refuses(request: Request) -> Response | None:
    agent = request.headers.get("user-agent", "")
    return _throttled() if not agent or agent.startswith(_REFUSED_AGENTS) else None


def _throttled() -> Response:
    return PlainTextResponse("Too Many Requests\r\n", 429)


def _broken(status: int) -> Response:
    error: dict[str, Any] = {"code": "Internal Server Error", "description": "The service failed"}
    return json_reply({"finance": {"result": None, "error": error}}, status, media_type=MEDIA_TYPE)


def _chart_symbols(request: Request) -> tuple[str, ...]:
    symbol = read_symbol(request.path_params["symbol"])
    return () if symbol is None else (symbol,)


def _quote_symbols(request: Request) -> tuple[str, ...]:
    return tuple(symbol for text in asked_symbols(request) if (symbol := read_symbol(text)) is not None)


YAHOO: Final = Wire(
    id="yahoo",
    endpoints=(
        Endpoint("/", _cookie),
        Endpoint("/v1/test/getcrumb", _getcrumb),
        Endpoint("/v7/finance/quote", _quote, _quote_symbols),
        Endpoint("/v8/finance/chart/{symbol}", chart, _chart_symbols),
    ),
    throttled=_throttled,
    broken=_broken,
    refuses=_refuses,
)
"""Yahoo Finance as far as the sandbox speaks it."""
