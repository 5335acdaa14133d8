"""Alpha Vantage's API: one path, the function as a parameter, HTTP 200 for everything.

`/query?function=…` with `GLOBAL_QUOTE`, `REALTIME_BULK_QUOTES`, `TIME_SERIES_{INTRADAY,DAILY,DAILY_ADJUSTED,WEEKLY,
WEEKLY_ADJUSTED,MONTHLY,MONTHLY_ADJUSTED}`, `CURRENCY_EXCHANGE_RATE`, `FX_DAILY`, `DIGITAL_CURRENCY_DAILY` and
`SYMBOL_SEARCH`. The key comes as `?apikey=`; any is good, one that begins with `premium` is paid for, and `demo` sees
IBM alone. Quotas are enforced, in a text that repeats the key as the real one does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.sandbox.alpha_vantage_listing import read_pair, read_symbol
from mdagent_mcp.sandbox.alpha_vantage_quotes import (
    DELAYED,
    REALTIME,
    bulk_quotes,
    bulk_symbols,
    exchange_rate,
    global_quote,
    symbol_search,
)
from mdagent_mcp.sandbox.alpha_vantage_replies import (
    CallBook,
    RefusedError,
    demo_only,
    invalid_call,
    is_premium,
    no_key,
    premium_only,
    refusal,
    reply,
    too_fast,
)
from mdagent_mcp.sandbox.alpha_vantage_series import (
    DAILY,
    MONTHLY,
    WEEKLY,
    coin_daily,
    fx_daily,
    intraday_series,
    listed,
)
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Endpoint, Query, Wire

_DEMO: Final = "demo"
_DEMO_SYMBOL: Final = "IBM"
_PAIRS: Final = (("from_currency", "to_currency"), ("from_symbol", "to_symbol"), ("symbol", "market"))


@dataclass(frozen=True, slots=True)
class _Function:
    """One function.

    Attributes:
        answer: makes the reply from the view, the parameters and the entitlement.
        premium: whether only a paid key may use it.
        premium_size: an `outputsize` that only a paid key may ask for.
    """

    answer: Callable[[VendorView, Query, str], Response]
    premium: bool = False
    premium_size: str = ""


_FUNCTIONS: Final = {
    "GLOBAL_QUOTE": _Function(global_quote),
    "REALTIME_BULK_QUOTES": _Function(bulk_quotes, premium=True),
    "TIME_SERIES_INTRADAY": _Function(intraday_series, premium=True),
    "TIME_SERIES_DAILY": _Function(listed(DAILY, "TIME_SERIES_DAILY", adjusted=False), premium_size="full"),
    "TIME_SERIES_DAILY_ADJUSTED": _Function(listed(DAILY, "TIME_SERIES_DAILY_ADJUSTED", adjusted=True), premium=True),
    "TIME_SERIES_WEEKLY": _Function(listed(WEEKLY, "TIME_SERIES_WEEKLY", adjusted=False)),
    "TIME_SERIES_WEEKLY_ADJUSTED": _Function(listed(WEEKLY, "TIME_SERIES_WEEKLY_ADJUSTED", adjusted=True)),
    "TIME_SERIES_MONTHLY": _Function(listed(MONTHLY, "TIME_SERIES_MONTHLY", adjusted=False)),
    "TIME_SERIES_MONTHLY_ADJUSTED": _Function(listed(MONTHLY, "TIME_SERIES_MONTHLY_ADJUSTED", adjusted=True)),
    "CURRENCY_EXCHANGE_RATE": _Function(exchange_rate),
    "FX_DAILY": _Function(fx_daily),
    "DIGITAL_CURRENCY_DAILY": _Function(coin_daily),
    "SYMBOL_SEARCH": _Function(symbol_search),
}


def _query(view: VendorView, request: Request) -> Response:
    try:
        return _served(view, request)
    except RefusedError as refused:
        return refusal(refused)


def _served(view: VendorView, request: Request) -> Response:
    query = request.query_params
    key, name = query.get("apikey", ""), query.get("function", "")
    if not key:
        raise no_key()
    if key == _DEMO and query.get("symbol") != _DEMO_SYMBOL:
        raise demo_only()
    _book(request).admit(key, view.now)
    function = _FUNCTIONS.get(name)
    if function is None:
        raise RefusedError("Error Message", f"This API function ({name[:40]}) does not exist.")
    return function.answer(view, query, _entitlement(function, name, query))


def _entitlement(function: _Function, name: str, query: Query) -> str:
    """The entitlement asked for, empty for none.

    Raises:
        RefusedError: when the key is not entitled to it, or to the function.
    """
    asked = query.get("entitlement", "")
    if asked not in ("", DELAYED, REALTIME):
        raise invalid_call(name)
    size = query.get("outputsize", "").lower()
    paid = function.premium or bool(asked) or (function.premium_size and size == function.premium_size)
    if paid and not is_premium(query.get("apikey", "")):
        raise premium_only()
    return asked


def _book(request: Request) -> CallBook:
    state = request.app.state
    if not hasattr(state, "alpha_vantage_calls"):
        state.alpha_vantage_calls = CallBook()
    book: CallBook = state.alpha_vantage_calls
    return book


def _symbols(request: Request) -> tuple[str, ...]:
    query = request.query_params
    for base, quoted in _PAIRS:
        if quoted in query:
            pair = read_pair(query.get(base, ""), query[quoted])
            return () if pair is None else (pair,)
    return tuple(symbol for text in bulk_symbols(query) if (symbol := read_symbol(text)) is not None)


def _throttled() -> Response:
    return refusal(too_fast())


def _broken(status: int) -> Response:
    return reply({"message": "Endpoint request timed out"}, status)


ALPHA_VANTAGE: Final = Wire(
    id="alpha_vantage",
    endpoints=(Endpoint("/query", _query, _symbols),),
    throttled=_throttled,
    broken=_broken,
)
"""Alpha Vantage as far as the sandbox speaks it."""
