"""Twelve Data's API: prices as text, several symbols in one call, a credit for each of them.

`/quote`, `/price`, `/time_series`, `/eod`, `/exchange_rate` and `/currency_conversion` take up to 120 symbols; besides
them `/api_usage`, `/market_state`, `/symbol_search` and `/technical_indicators` (empty: their client asks for it
first). The key comes as `Authorization: apikey K` or as `?apikey=`; any key is good but those that begin with
`invalid`, and `grow`, `pro` or `ultra` at its beginning is its plan. Credits are counted and enforced.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.sandbox.call_windows import windows_of
from mdagent_mcp.sandbox.twelve_data_credits import CreditBook, Plan, plan_of
from mdagent_mcp.sandbox.twelve_data_listing import MARKETS, is_pair, own_symbol, read_symbol, type_of
from mdagent_mcp.sandbox.twelve_data_quote import currency_conversion, end_of_day, exchange_rate, price, quote
from mdagent_mcp.sandbox.twelve_data_series import RefusedError, series
from mdagent_mcp.sandbox.universe import DELISTED, Security, securities
from mdagent_mcp.sandbox.venues import VendorView
from mdagent_mcp.sandbox.wire import Answer, Endpoint, Query, Wire, json_reply

_MOST_SYMBOLS: Final = 120
_BAD_KEY: Final = "invalid"
_SCHEME: Final = "apikey "
_UNAUTHORIZED: Final = (
    "**apikey** parameter is incorrect or not specified. You can get your free API Key instantly following this link: "
    "https://twelvedata.com/pricing. If you believe that everything is correct, you can email us at "
    "apikey@twelvedata.com"
)
_FOUND_BY_DEFAULT: Final = 30

ItemAnswer = Callable[[VendorView, Security, Query, Plan], dict[str, Any]]
WholeAnswer = Callable[[VendorView, Query, "_Account"], Any]


@dataclass(frozen=True, slots=True)
class _Account:
    """A key with the book that its credits are kept in."""

    key: str
    book: CreditBook

    @classmethod
    def of(cls, view: VendorView, request: Request) -> _Account:
        """The account of a call, at the present minute."""
        return cls(_key(request), CreditBook(windows_of(request), view.now))

    @property
    def plan(self) -> Plan:
        """What the key may do."""
        return plan_of(self.key)

    def signed(self, response: Response) -> Response:
        """The reply with what the minute has cost so far."""
        used = self.book.used(self.key)
        response.headers["api-credits-used"] = str(used)
        response.headers["api-credits-left"] = str(self.plan.per_minute - used)
        return response


def _key(request: Request) -> str:
    header = request.headers.get("authorization", "")
    if header.lower().startswith(_SCHEME):
        return header[len(_SCHEME) :].strip()
    return request.query_params.get("apikey", "")


def _refuses(request: Request) -> Response | None:
    key = _key(request)
    return _error(401, _UNAUTHORIZED) if not key or key.startswith(_BAD_KEY) else None


def _error(code: int, message: str) -> Response:
    return json_reply(_envelope(code, message), code)


def _envelope(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "status": "error"}


def _per_symbol(item: ItemAnswer) -> Answer:
    """One symbol is answered as it is, several as an object by the symbols as they were written."""

    def answer(view: VendorView, request: Request) -> Response:
        account, names = _Account.of(view, request), _names(request)
        if not names:
            return account.signed(_error(400, "**symbol** parameter is missing."))
        if len(names) > _MOST_SYMBOLS:
            return account.signed(_error(414, f"Too many symbols: at most {_MOST_SYMBOLS} are taken at once."))
        if (refusal := account.book.refusal(account.key, len(names))) is not None:
            return account.signed(_error(429, refusal))
        told = {name: _item(item, view, request, account, name) for name in names}
        if len(told) == 1:
            return account.signed(_single(request, next(iter(told.values()))))
        return account.signed(json_reply(told, headers={"Is_batch": "true"}))

    return answer


def _item(item: ItemAnswer, view: VendorView, request: Request, account: _Account, name: str) -> dict[str, Any]:
    """What is told about one symbol, an error included; charged when it is none."""
    if (refusal := account.book.refusal(account.key, 1)) is not None:
        return _envelope(429, refusal)
    symbol = read_symbol(name, _venue(request))
    security = None if symbol is None else view.find(symbol)
    try:
        if security is None or own_symbol(security) is None:
            text = f"**symbol** not found: {name[:40]}. Please specify it correctly according to API Documentation."
            raise RefusedError(400, text)  # noqa: TRY301 - every refusal of an item is told in one place
        if not account.plan.is_paid and security.exchange == "LSE":
            raise RefusedError(403, "This symbol is available starting with Grow or Venture plan. Consider upgrading.")  # noqa: TRY301 - as above
        told = item(view, security, request.query_params, account.plan)
    except RefusedError as refused:
        return _envelope(refused.code, refused.message)
    account.book.charge(account.key)
    return told


def _single(request: Request, told: dict[str, Any]) -> Response:
    if told.get("status") == "error":
        return json_reply(told, told["code"])
    if request.query_params.get("format", "JSON").upper() != "CSV":
        return json_reply(told)
    rows = told.get("values") or [{name: value for name, value in told.items() if not isinstance(value, dict)}]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), delimiter=request.query_params.get("delimiter", ";")[:1] or ";")
    writer.writeheader()
    writer.writerows(rows)
    # A bare content type: their client compares it as a whole.
    return Response(table.getvalue().replace("\r\n", "\n").encode(), headers={"Content-Type": "text/csv"})


def _per_request(whole: WholeAnswer) -> Answer:
    """A call that is about no symbol costs one credit."""

    def answer(view: VendorView, request: Request) -> Response:
        account = _Account.of(view, request)
        if (refusal := account.book.refusal(account.key, 1)) is not None:
            return account.signed(_error(429, refusal))
        account.book.charge(account.key)
        return account.signed(json_reply(whole(view, request.query_params, account)))

    return answer


def _api_usage(view: VendorView, query: Query, account: _Account) -> dict[str, Any]:
    del query
    plan = account.plan
    usage = {
        "timestamp": f"{view.now.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        "current_usage": account.book.used(account.key),
        "plan_limit": plan.per_minute,
    }
    if plan.per_day is not None:
        usage |= {"daily_usage": account.book.used_today(account.key), "plan_daily_limit": plan.per_day}
    return usage | {"plan_category": plan.name}


def _market_state(view: VendorView, query: Query, account: _Account) -> list[dict[str, Any]]:
    del account
    rows = []
    for calendar, market in (("XNYS", MARKETS["NYQ"]), ("XNYS", MARKETS["NMS"]), ("XLON", MARKETS["LSE"])):
        row = {"name": market.name, "code": market.mic_code, "country": market.country, **_hours(view.now, calendar)}
        asked = ((query.get("exchange"), "name"), (query.get("code"), "code"), (query.get("country"), "country"))
        if all(value is None or value.lower() == str(row[name]).lower() for value, name in asked):
            rows.append(row)
    return rows


def _hours(now: datetime, calendar_name: str) -> dict[str, Any]:
    calendar = calendar_named(calendar_name)
    session, opens = calendar.latest_opened(now), calendar.next_open(now)
    is_open = calendar.state_at(now) is MarketState.OPEN and session is not None
    return {
        "is_market_open": is_open,
        "time_after_open": _span(now - session.open) if is_open and session is not None else _span(timedelta(0)),
        "time_to_open": _span(timedelta(0) if is_open or opens is None else opens - now),
        "time_to_close": _span(session.close - now) if is_open and session is not None else _span(timedelta(0)),
    }


def _span(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _symbol_search(view: VendorView, query: Query, account: _Account) -> dict[str, Any]:
    del view, account
    wanted = query.get("symbol", "").strip().upper()
    count = query.get("outputsize", "")
    most = int(count[:4]) if count.isdecimal() else _FOUND_BY_DEFAULT
    carried = [s for s in securities().values() if own_symbol(s) is not None and s.symbol != DELISTED]
    begins = [s for s in carried if wanted and str(own_symbol(s)).startswith(wanted)]
    named = [s for s in carried if wanted and wanted in s.name.upper() and s not in begins]
    return {"data": [_found(security) for security in (*begins, *named)][:most], "status": "ok"}


def _found(security: Security) -> dict[str, str]:
    market = None if is_pair(security) else MARKETS[security.exchange]
    return {
        "symbol": own_symbol(security) or security.symbol,
        "instrument_name": security.name,
        "exchange": "" if market is None else market.name,
        "mic_code": "" if market is None else market.mic_code,
        "exchange_timezone": "UTC" if market is None else market.timezone,
        "instrument_type": type_of(security),
        "country": "" if market is None else market.country,
        "currency": security.quoted_in,
    }


def _technical_indicators(view: VendorView, query: Query, account: _Account) -> dict[str, Any]:
    del view, query, account
    return {"data": {}, "status": "ok"}


def _no_page(view: VendorView, request: Request) -> Response:
    del view, request
    return PlainTextResponse("404 page not found", 404)


def _names(request: Request) -> list[str]:
    names = (name.strip() for name in request.query_params.get("symbol", "").split(","))
    return list(dict.fromkeys(name for name in names if name))


def _venue(request: Request) -> str:
    return request.query_params.get("mic_code") or request.query_params.get("exchange", "")


def _symbols(request: Request) -> tuple[str, ...]:
    venue = _venue(request)
    return tuple(symbol for name in _names(request) if (symbol := read_symbol(name, venue)) is not None)


def _throttled() -> Response:
    text = "You have run out of API credits for the current minute. Wait for the next minute."
    return _error(429, text)


def _broken(status: int) -> Response:
    return _error(status, "Internal server error")


TWELVE_DATA: Final = Wire(
    id="twelve_data",
    endpoints=(
        Endpoint("/quote", _per_symbol(quote), _symbols),
        Endpoint("/price", _per_symbol(price), _symbols),
        Endpoint("/time_series", _per_symbol(series), _symbols),
        Endpoint("/eod", _per_symbol(end_of_day), _symbols),
        Endpoint("/exchange_rate", _per_symbol(exchange_rate), _symbols),
        Endpoint("/currency_conversion", _per_symbol(currency_conversion), _symbols),
        Endpoint("/api_usage", _per_request(_api_usage)),
        Endpoint("/market_state", _per_request(_market_state)),
        Endpoint("/symbol_search", _per_request(_symbol_search)),
        Endpoint("/technical_indicators", _per_request(_technical_indicators)),
        Endpoint("/{unknown:path}", _no_page),
    ),
    throttled=_throttled,
    broken=_broken,
    refuses=_refuses,
)
"""Twelve Data as far as the sandbox speaks it."""
