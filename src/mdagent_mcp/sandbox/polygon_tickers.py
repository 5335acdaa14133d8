"""Polygon's names, plans and refusals: what its answers are made of whatever they are about.

Stocks are spelled as they are listed and in that case only; crypto, forex and indices have a prefix. A key's first word
is its plan (`starter`, `developer`, `advanced`; any other is `basic`); one that ends in `-stocks` is entitled to stocks
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.sandbox.universe import Security
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import canonical, json_reply

NEW_YORK: Final = ZoneInfo("America/New_York")
HOST: Final = "https://api.massive.com"
OLDER_HOST: Final = "https://api.polygon.io"
"""Named in `next_url` when the key came as `?apiKey=`, as older clients send it."""

_UPGRADE: Final = "Please upgrade your plan at https://massive.com/pricing"
NOT_ENTITLED: Final = f"You are not entitled to this data. {_UPGRADE}"
TOO_OLD: Final = f"Your plan doesn't include this data timeframe. {_UPGRADE}"
TODAY: Final = f"Attempted to request today's data before end of day. {_UPGRADE}"

_KINDS: Final = {"EQUITY": "stocks", "ETF": "stocks", "INDEX": "indices", "CRYPTOCURRENCY": "crypto", "CURRENCY": "fx"}
_INDICES: Final = {
    "I:SPX": "^GSPC",
    "I:NDX": "^NDX",
    "I:COMP": "^IXIC",
    "I:DJI": "^DJI",
    "I:RUT": "^RUT",
    "I:VIX": "^VIX",
}
_OWN_INDICES: Final = {symbol: name for name, symbol in _INDICES.items()}
_PAIR_LENGTH: Final = 6


@dataclass(frozen=True, slots=True)
class PolygonPlan:
    """What a key is entitled to.

    Attributes:
        name: of the plan.
        delay_s: how late its prices are.
        years: how far back its bars reach.
        calls_a_minute: how many it may make; None without a limit.
        status: of its successful answers.
        snapshots: whether it may ask for snapshots and for the running day.
        trades: whether it sees last trades.
        quotes: whether it sees the national best bid and offer.
        stocks_only: whether it is entitled to nothing but stocks.
    """

    name: str
    delay_s: float
    years: int
    calls_a_minute: int | None = None
    status: str = "OK"
    snapshots: bool = True
    trades: bool = False
    quotes: bool = False
    stocks_only: bool = False

    @property
    def timeframe(self) -> str:
        """How fresh its prices call themselves."""
        return "DELAYED" if self.delay_s else "REAL-TIME"


_PLANS: Final = {
    "basic": (0.0, 2, 5, "OK", False, False, False),
    "starter": (900.0, 5, None, "DELAYED", True, False, False),
    "developer": (900.0, 10, None, "DELAYED", True, True, False),
    "advanced": (0.0, 20, None, "OK", True, True, True),
}


def key_of(request: Request) -> str:
    """The key of a call, empty without one."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else request.query_params.get("apiKey", "")


def plan_of(request: Request) -> PolygonPlan:
    """The plan that a call's key stands for."""
    key = key_of(request)
    name = next((name for name in _PLANS if key.startswith(name)), "basic")
    return PolygonPlan(name, *_PLANS[name], stocks_only=key.endswith("-stocks"))


def seen_with(view: VendorView, plan: PolygonPlan) -> VendorView:
    """What a plan sees of the market."""
    return view.later(plan.delay_s) if plan.delay_s else view


def read_symbol(text: str) -> str | None:
    """The canonical symbol of a ticker; None when it is spelled like none."""
    prefix, colon, pair = text.partition(":")
    if not colon:
        symbol = canonical(text)
        return symbol if symbol == text else None
    if prefix == "X" and len(pair) >= _PAIR_LENGTH:
        return f"{pair[:-3]}-{pair[-3:]}"
    if prefix == "C" and len(pair) == _PAIR_LENGTH:
        return pair
    return _INDICES.get(text)


def find(view: VendorView, text: str) -> Security | None:
    """What a ticker names; None when there is none such."""
    symbol = read_symbol(text)
    security = None if symbol is None else view.find(symbol)
    if (
        security is None
        or security.exchange == "LSE"
        or ticker_of(security).partition(":")[1] != text.partition(":")[1]
    ):
        return None
    return security


def ticker_of(security: Security) -> str:
    """How Polygon spells it; the canonical symbol for what it does not have."""
    if security.kind == "CRYPTOCURRENCY":
        return f"X:{security.symbol.replace('-', '')}"
    if security.kind == "CURRENCY":
        return f"C:{security.symbol}"
    return _OWN_INDICES.get(security.symbol, security.symbol)


def asset_class(security: Security) -> str:
    """`stocks`, `indices`, `crypto` or `fx`."""
    return _KINDS[security.kind]


def zone_of(security: Security) -> ZoneInfo:
    """Where its days begin at midnight."""
    return ZoneInfo("UTC") if security.kind in ("CRYPTOCURRENCY", "CURRENCY") else NEW_YORK


def milliseconds(instant: datetime) -> int:
    """Of the epoch, exactly."""
    return nanoseconds(instant) // 1_000_000


def nanoseconds(instant: datetime) -> int:
    """Of the epoch, exactly."""
    return int(instant.timestamp()) * 1_000_000_000 + instant.microsecond * 1000


def told(view: VendorView, request: Request, payload: Mapping[str, Any], status: int = 200) -> Response:
    """A reply with its request id, in its head and in its body."""
    named = request_id(view, request)
    return json_reply({**payload, "request_id": named}, status, headers={"X-Request-Id": named})


def told_bare(view: VendorView, request: Request, payload: Mapping[str, Any]) -> Response:
    """A reply that tells its request id in its head alone."""
    return json_reply(payload, headers={"X-Request-Id": request_id(view, request)})


def request_id(view: VendorView, request: Request) -> str:
    """The id of a call."""
    drawn = (view.noise.number("polygon", request.url.path, view.now, half) for half in (1, 2))
    return "".join(f"{number:016x}" for number in drawn)


def unauthorized(view: VendorView, request: Request, text: str) -> Response:
    """403: the plan does not include it."""
    return told(view, request, {"status": "NOT_AUTHORIZED", "message": text}, 403)


def not_found(view: VendorView, request: Request, text: str) -> Response:
    """404."""
    return told(view, request, {"status": "NOT_FOUND", "message": text}, 404)


def mistaken(view: VendorView, request: Request, text: str) -> Response:
    """400."""
    return told(view, request, {"status": "ERROR", "error": text}, 400)
