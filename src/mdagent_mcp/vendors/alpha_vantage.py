"""Alpha Vantage: end-of-day prices with a free key; adjusted and intraday series on paid plans.

The rule of this module: a free key has 25 calls a day, so what cannot be served is refused before it costs one. Every
reply has status 200; the order of the error table tells apart notices that quote each other's words.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import (
    AnswerT,
    Endpoint,
    Entitlement,
    ErrorRule,
    HistoryQuery,
    Key,
    Offer,
    Plan,
    QueryT,
    Quota,
    QuoteQuery,
    Request,
    Vendor,
)
from mdagent_mcp.vendors.alpha_vantage_bulk import BULK, FUNCTION
from mdagent_mcp.vendors.alpha_vantage_functions import (
    FUNCTIONS,
    INTRADAY,
    recognise_extended,
    recognise_history,
    recognise_other_series,
    recognise_quote,
    recognise_quote_table,
    recognise_series_table,
    recognise_unnamed,
)
from mdagent_mcp.vendors.alpha_vantage_quotes import read_quote
from mdagent_mcp.vendors.alpha_vantage_readable import (
    read_extended,
    read_quote_table,
    read_series_table,
    read_unnamed,
)
from mdagent_mcp.vendors.alpha_vantage_reply import (
    LONDON,
    SOURCE,
    is_pair,
    not_carried,
    spelt,
)
from mdagent_mcp.vendors.alpha_vantage_series import NEW_YORK, read_series
from mdagent_mcp.vendors.read_only import read_only_history, read_only_quotes, refuse_sending

_PATH: Final = "/query"
_QUERY: Final = re.compile(r"(?:^|/)query$")
_COMPACT: Final = 100
_COMPACT_DAYS: Final = 200
"""No 100 trading days take this long."""
_RECENT: Final = timedelta(days=29)
_EARLIEST: Final = date(1970, 1, 1)
_END_OF_DAY_S: Final = 86_400.0
_BURST_WAIT_S: Final = 5.0
_MINUTE_S: Final = 60.0
_QUARTER_HOUR_S: Final = 900.0
# When it resets is not stated. A quarter of a day means four vain calls a day at most, and six hours lost at most.
_QUOTA_WAIT_S: Final = 21_600.0
# A premium notice is about one function or size, not about all series: with a wait the others stay askable.
_PREMIUM_WAIT_S: Final = 86_400.0


def _refuses_quote(query: QuoteQuery) -> str | None:
    return next((reason for i in query.instruments if (reason := not_carried(i)) is not None), None)


def _refuses_history(query: HistoryQuery) -> str | None:
    instrument = query.instrument
    reason = not_carried(instrument)
    if reason is not None:
        return reason
    if is_pair(instrument):
        # A currency has neither splits nor dividends: its prices are the same on every basis.
        return None if query.interval is Interval.DAY_1 else f"Alpha Vantage's bars of {instrument.symbol} are daily"
    if instrument.asset_class is AssetClass.FOREIGN_EQUITY and instrument.suffix == LONDON:
        return "Alpha Vantage does not say whether a London series is in pence, pounds or dollars"
    if (query.interval, query.adjustment) not in FUNCTIONS:
        return f"Alpha Vantage has no {query.interval} bars on the basis '{query.adjustment}'"
    return _refuses_intraday(query) if query.interval.is_intraday else None


def _refuses_intraday(query: HistoryQuery) -> str | None:
    if query.instrument.asset_class is not AssetClass.US_EQUITY:
        return f"Alpha Vantage's intraday bars are of US listings, not of {query.instrument.symbol}"
    one_month = (query.first.year, query.first.month) == (query.last.year, query.last.month)
    if not one_month and not _is_recent(query):
        return "Alpha Vantage sends the intraday bars of one month, or of the last 30 days"
    return None


def _is_recent(query: HistoryQuery) -> bool:
    return query.first >= query.now.astimezone(NEW_YORK).date() - _RECENT


def _build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    instrument = query.instruments[0]
    if is_pair(instrument):
        pair = (("from_currency", instrument.root), ("to_currency", instrument.suffix))
        return (Request(_PATH, (("function", "CURRENCY_EXCHANGE_RATE"), *pair)),)
    return (Request(_PATH, (("function", "GLOBAL_QUOTE"), ("symbol", spelt(instrument)))),)


def _build_history(query: HistoryQuery) -> tuple[Request, ...]:
    instrument = query.instrument
    if instrument.asset_class is AssetClass.CRYPTO:
        pair = (("symbol", instrument.root), ("market", instrument.suffix))
        return (Request(_PATH, (("function", "DIGITAL_CURRENCY_DAILY"), *pair)),)
    if instrument.asset_class is AssetClass.FOREX:
        pair = (("from_symbol", instrument.root), ("to_symbol", instrument.suffix))
        return (Request(_PATH, (("function", "FX_DAILY"), *pair, _size(query))),)
    function = FUNCTIONS.get((query.interval, query.adjustment))
    if function is None:
        raise SourceError(FailureKind.UNSUPPORTED, f"no {query.interval} bars on the basis '{query.adjustment}'")
    parameters = (("function", function), ("symbol", spelt(instrument)))
    if query.interval.is_intraday:
        return (Request(_PATH, parameters + _intraday_parameters(query)),)
    return (Request(_PATH, (*parameters, _size(query)) if query.interval is Interval.DAY_1 else parameters),)


def _size(query: HistoryQuery) -> tuple[str, str]:
    """The last 100 days, which every key may ask for, where they reach back to the first day wanted."""
    calendar = calendar_named(query.instrument.calendar)
    today = query.now.astimezone(calendar.zone).date()
    days = (today - query.first).days + 1
    if days > _COMPACT_DAYS:
        return "outputsize", "full"
    if calendar.known and not is_pair(query.instrument):
        days = len(calendar.sessions_between(query.first, today))
    return "outputsize", "compact" if days <= _COMPACT else "full"


def _intraday_parameters(query: HistoryQuery) -> tuple[tuple[str, str], ...]:
    parameters = (
        ("interval", INTRADAY[query.interval]),
        ("adjusted", "false" if query.adjustment is Adjustment.NONE else "true"),
        ("extended_hours", "true" if query.extended_hours else "false"),
        ("outputsize", "full"),
    )
    return parameters if _is_recent(query) else (*parameters, ("month", f"{query.first:%Y-%m}"))


def _premium(per_minute: int) -> Plan:
    """A paid plan. Its burst limit was seen to be 5 calls a second; faster plans must allow more."""
    return Plan(
        quotas=(Quota(per_minute, _MINUTE_S, "minute"), Quota(max(5, per_minute // 60), 1.0, "second")),
        declared_delay_s=_END_OF_DAY_S,
        cost_per_call=0.01,
    )


def _entitled(offer: Offer[QueryT, AnswerT], name: str) -> Offer[QueryT, AnswerT]:
    """An offer whose calls about listings say what the key was cleared for; pairs need no clearance."""

    def build(query: QueryT) -> tuple[Request, ...]:
        return tuple(
            replace(request, query=(*request.query, ("entitlement", name)))
            if dict(request.query)["function"] in _CLEARED
            else request
            for request in offer.build(query)
        )

    return replace(offer, build=build)


_CLEARED: Final = frozenset({"GLOBAL_QUOTE", FUNCTION, *FUNCTIONS.values()})
_QUOTE: Final = Offer(Endpoint.QUOTE, _refuses_quote, _build_quote, read_quote, recognise_quote)
_HISTORY: Final = Offer(Endpoint.HISTORY, _refuses_history, _build_history, read_series, recognise_history)
_DELAYED: Final = "delayed"
_REALTIME: Final = "realtime"

ALPHA_VANTAGE: Final = Vendor(
    id=SOURCE,
    title="Alpha Vantage",
    docs_url="https://www.alphavantage.co/documentation/",
    terms="Personal, non-commercial use with a free key.",
    hosts=MappingProxyType({"api": "https://www.alphavantage.co"}),
    quote=_QUOTE,
    history=_HISTORY,
    errors=(
        # The notice of a burst also speaks of the day's limit and of premium plans, that of the day of premium plans.
        ErrorRule(FailureKind.THROTTLED, contains=b"burst pattern", retry_after_s=_BURST_WAIT_S),
        ErrorRule(FailureKind.THROTTLED, contains=b"spreading out", retry_after_s=_BURST_WAIT_S),
        ErrorRule(FailureKind.THROTTLED, contains=b"per second", retry_after_s=_BURST_WAIT_S),
        # Until 2023 one notice stood for both limits of a free key; the minute's is the one that is met first.
        ErrorRule(FailureKind.THROTTLED, contains=b"per minute", retry_after_s=_MINUTE_S),
        ErrorRule(FailureKind.QUOTA_EXHAUSTED, contains=b"per day", retry_after_s=_QUOTA_WAIT_S),
        ErrorRule(FailureKind.THROTTLED, contains=b"higher api call", retry_after_s=_MINUTE_S),
        ErrorRule(FailureKind.NOT_ENTITLED, contains=b"premium endpoint", retry_after_s=_PREMIUM_WAIT_S),
        ErrorRule(FailureKind.NOT_ENTITLED, contains=b"alphavantage.co/premium", retry_after_s=_PREMIUM_WAIT_S),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b"demo purposes"),
        ErrorRule(FailureKind.UNAUTHORIZED, contains=b"apikey is invalid"),
        # Our parameters are right, so what is invalid is the symbol.
        ErrorRule(FailureKind.UNKNOWN_SYMBOL, contains=b"invalid api call"),
        ErrorRule(FailureKind.BAD_REQUEST, contains=b'"error message"'),
    ),
    plans=MappingProxyType(
        {
            "free": Plan(
                quotas=(Quota(25, 86_400.0, "day"), Quota(1, 1.0, "second")),
                declared_delay_s=_END_OF_DAY_S,
                cost_per_call=0.9,
                excluded=frozenset({Endpoint.QUOTES}),
            ),
            **{f"premium_{n}": _premium(n) for n in (75, 150, 300, 600, 1200)},
        }
    ),
    entitlements=MappingProxyType(
        {
            _DELAYED: Entitlement(
                _QUARTER_HOUR_S,
                {Endpoint.QUOTE: _entitled(_QUOTE, _DELAYED), Endpoint.HISTORY: _entitled(_HISTORY, _DELAYED)},
            ),
            _REALTIME: Entitlement(
                0.0,
                {
                    Endpoint.QUOTE: _entitled(_QUOTE, _REALTIME),
                    Endpoint.QUOTES: _entitled(BULK, _REALTIME),
                    Endpoint.HISTORY: _entitled(_HISTORY, _REALTIME),
                },
            ),
        }
    ),
    key=Key(
        ("ALPHAVANTAGE_API_KEY", "ALPHA_VANTAGE_API_KEY"),
        "query",
        "apikey",
        signup_url="https://www.alphavantage.co/support/#api-key",
    ),
    readable=(
        Offer(Endpoint.QUOTE, refuse_sending, lambda _query: (), read_unnamed, recognise_unnamed),
        read_only_quotes(read_quote_table, recognise_quote_table),
        read_only_history(read_series, recognise_other_series),
        read_only_history(read_series_table, recognise_series_table),
        read_only_history(read_extended, recognise_extended),
    ),
    timeout_s=5.0,
    rest_after_throttle_s=_MINUTE_S,
    weight=0.7,
)
"""Alpha Vantage, as the engine knows it."""
