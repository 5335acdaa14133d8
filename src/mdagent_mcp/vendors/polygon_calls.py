"""What Polygon is asked, by instrument and by plan.

The rule of this module: what a plan cannot serve is refused before it costs one of a free key's five calls a minute.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, Request
from mdagent_mcp.vendors.polygon_days import grouped_day
from mdagent_mcp.vendors.polygon_history import (
    NEVER_ADJUSTED,
    PAGE,
    SPANS,
    asked_span,
    first_day_of,
    last_day_of,
)
from mdagent_mcp.vendors.polygon_replies import PAIRS, ticker_of

BATCH: Final = 250
"""Tickers of one v3 snapshot; without a limit in the request only ten are answered."""
MOST_PAGES: Final = 20
FREE_PAGES: Final = 4
"""Pages of one series that fit into a minute of a free key, with a call to spare."""
_STOCKS: Final = "/v2/snapshot/locale/us/markets/stocks/tickers"
_UNIFIED: Final = "/v3/snapshot"
_GROUPED: Final = "/v2/aggs/grouped/locale/us/market/stocks"
_DAY: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FREE_YEARS: Final = 2
_ROUND_THE_CLOCK_MIN: Final = 1440
_EXTENDED_MIN: Final = 960


def _not_carried(instrument: Instrument) -> str | None:
    if ticker_of(instrument) is not None:
        return None
    return f"Polygon has US listings, US indices, currencies and crypto, not {instrument.symbol}"


def _ticker(instrument: Instrument) -> str:
    ticker = ticker_of(instrument)
    if ticker is None:
        raise SourceError(FailureKind.UNSUPPORTED, f"Polygon does not carry {instrument.symbol}")
    return ticker


def refuses_quotes(query: QuoteQuery) -> str | None:
    """Why a snapshot cannot be asked."""
    return next((reason for i in query.instruments if (reason := _not_carried(i)) is not None), None)


def refuses_closes(query: QuoteQuery) -> str | None:
    """Why a plan without snapshots cannot serve: markets that never close have no close that is a current price."""
    pair = next((i.symbol for i in query.instruments if i.asset_class in PAIRS), None)
    if pair is not None:
        return f"the Basic plan has prices of yesterday at best, and {pair} trades around the clock"
    return refuses_quotes(query)


def refuses_grouped(query: QuoteQuery) -> str | None:
    """Why a day of the whole market does not hold an instrument."""
    other = next((i.symbol for i in query.instruments if not i.is_us_listed), None)
    return None if other is None else f"a day of the whole market holds US listings, not {other}"


def refuses_bars(query: HistoryQuery) -> str | None:
    """Why bars cannot be asked."""
    instrument = query.instrument
    reason = _not_carried(instrument)
    if reason is not None:
        return reason
    if query.adjustment is Adjustment.ALL and instrument.asset_class not in NEVER_ADJUSTED:
        return "Polygon adjusts its bars for splits and never for dividends"
    if instrument.asset_class is AssetClass.CRYPTO and query.interval is Interval.WEEK_1:
        return "Polygon's weeks begin on Sunday, those of crypto elsewhere on Monday"
    return _too_long(query, MOST_PAGES)


def refuses_free_bars(query: HistoryQuery) -> str | None:
    """Why bars cannot be asked with a free key: two years, no day before it is over, and few calls."""
    yesterday = _yesterday(query)
    if query.first > yesterday:
        return "the Basic plan has no bars of a day before that day is over"
    if first_day_of(query.interval, query.first) < _years_before(yesterday + _DAY, _FREE_YEARS):
        return f"the Basic plan reaches back {_FREE_YEARS} years"
    return refuses_bars(query) or _too_long(query, FREE_PAGES)


def _too_long(query: HistoryQuery, pages: int) -> str | None:
    # Bars of hours and minutes are counted by the minutes they are made of.
    days = max(0, (query.last - query.first).days) + 1
    if query.interval.is_intraday:
        pair = query.instrument.asset_class in PAIRS
        days = days * (_ROUND_THE_CLOCK_MIN if pair else _EXTENDED_MIN * 5 // 7)
    needed = -(-days // PAGE)
    return None if needed <= pages else f"this range takes {needed} calls of {PAGE} minutes, more than the {pages} made"


def _yesterday(query: HistoryQuery) -> date:
    zone = UTC if query.instrument.asset_class in PAIRS else calendar_named(query.instrument.calendar).zone
    return query.now.astimezone(zone).date() - _DAY


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)


def build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    """The snapshot of one instrument: of shares in the older shape, which says more of its day."""
    instrument = query.instruments[0]
    if instrument.is_us_listed:
        return (Request(f"{_STOCKS}/{_ticker(instrument)}"),)
    return build_quotes(query)


def build_quotes(query: QuoteQuery) -> tuple[Request, ...]:
    """One snapshot of instruments of any market."""
    tickers = ",".join(map(_ticker, query.instruments))
    return (Request(_UNIFIED, (("ticker.any_of", tickers), ("limit", str(BATCH)))),)


def build_previous(query: QuoteQuery) -> tuple[Request, ...]:
    """The bar of the last day that is over."""
    return (Request(f"/v2/aggs/ticker/{_ticker(query.instruments[0])}/prev", (("adjusted", "true"),)),)


def build_grouped(query: QuoteQuery) -> tuple[Request, ...]:
    """One day of every US listing, in one call however many are asked."""
    return (Request(f"{_GROUPED}/{grouped_day(query.now)}", (("adjusted", "true"),)),)


def build_bars(query: HistoryQuery) -> tuple[Request, ...]:
    """The first page of a series; days by date, shorter bars by the millisecond, so that no zone is guessed."""
    return _build_bars(query, last_day_of(query.interval, query.last))


def _build_bars(query: HistoryQuery, last: date) -> tuple[Request, ...]:
    size, span = SPANS[query.interval]
    if query.interval.is_intraday:
        first, after = asked_span(query)
        bounds = (_milliseconds(first), _milliseconds(after - _MILLISECOND))
    else:
        bounds = (str(first_day_of(query.interval, query.first)), str(last))
    parameters = (
        ("adjusted", "false" if query.adjustment is Adjustment.NONE else "true"),
        ("sort", "asc"),
        ("limit", str(PAGE)),
    )
    return (Request(f"/v2/aggs/ticker/{_ticker(query.instrument)}/range/{size}/{span}/{'/'.join(bounds)}", parameters),)


def build_free_bars(query: HistoryQuery) -> tuple[Request, ...]:
    """The same up to yesterday: a free key that asks for today is refused altogether."""
    yesterday = _yesterday(query)
    query = replace(query, last=min(query.last, yesterday))
    return _build_bars(query, min(last_day_of(query.interval, query.last), yesterday))


def _milliseconds(at: datetime) -> str:
    return str(int(at.timestamp() * 1000))
