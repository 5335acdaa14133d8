"""Reading Cboe's chart files: every daily bar since 2004, and the minutes of the last session.

The rule of this module: a daily row's date is a trading date; a minute is stamped in New York wall time with the
bar's end, so its start is one minute earlier.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from mdagent_mcp.domain.calendar import MarketState, calendar_named
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Bar, History
from mdagent_mcp.domain.reading import Json, countable, positive, price_time
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, Reply
from mdagent_mcp.vendors.cboe_quotes import MINUTE, NEW_YORK, SOURCE, divisor_of, number, require_symbol, wall_time

_Row = tuple[datetime, Bar | None]
"""The start of a bar and the bar, None where the row has no prices."""

_DAILY_NOTES: Final = (
    "adjusted for splits, not for dividends; prices of shares are rounded to cents",
    "volume is in Cboe's own scope and not comparable with the consolidated one",
)
_MINUTE_NOTES: Final = (
    "one session's minutes as traded; the same on the split-adjusted basis until the next split",
    "volume is in Cboe's own scope; minutes without a print of Cboe's own have no prices",
)


def read_history(query: HistoryQuery, reply: Reply) -> History:
    """Read `charts/historical/{symbol}.json` or `charts/intraday/{symbol}.json`, as the interval asked says.

    Raises:
        SourceError: NO_DATA without bars in the range asked, MALFORMED_REPLY.
    """
    root = Json.parse(reply.body)
    instrument = query.instrument
    require_symbol(root.find("symbol"), instrument)
    rows = _minutes(root, query) if query.interval.is_intraday else _days(root, query)
    bars, null_rows = bars_and_null_rows(rows)
    intraday = query.interval.is_intraday
    return History(
        symbol=instrument.symbol,
        source=SOURCE,
        interval=query.interval,
        adjustment=query.adjustment if intraday else Adjustment.SPLITS,
        timezone=calendar_named(instrument.calendar).timezone,
        received_at=reply.received_at,
        bars=bars,
        currency=instrument.currency,
        null_rows=null_rows,
        partial_last_bar=not intraday and _is_unfinished(bars[-1], instrument, reply.received_at),
        notes=_MINUTE_NOTES if intraday else _DAILY_NOTES,
    )


def _days(root: Json, query: HistoryQuery) -> list[_Row]:
    rows = []
    for row in root.get("data").items():
        start = wall_time(row.get("date")).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
        if query.first <= start.date() <= query.last:
            rows.append((start, _bar(row, start, countable(number(row, "volume")), query.instrument)))
    return rows


def _minutes(root: Json, query: HistoryQuery) -> list[_Row]:
    """The minutes of regular trading; indices are computed beyond it."""
    calendar = calendar_named(query.instrument.calendar)
    rows = []
    for row in root.get("data").items():
        stamp = row.get("datetime")
        start = price_time(wall_time(stamp).replace(tzinfo=NEW_YORK).astimezone(UTC) - MINUTE, stamp.path)
        day = start.astimezone(NEW_YORK).date()
        if query.first <= day <= query.last and calendar.state_at(start) is MarketState.OPEN:
            volume = row.find("volume")
            shares = None if volume is None else countable(number(volume, "stock_volume"))
            rows.append((start, _bar(row.get("price"), start, shares, query.instrument)))
    return rows


def _bar(prices: Json, start: datetime, volume: float | None, instrument: Instrument) -> Bar | None:
    divisor = divisor_of(instrument)
    values = [number(prices, name) for name in ("open", "high", "low", "close")]
    opened, high, low, close = (None if v is None else positive(round(v / divisor, 6)) for v in values)
    if opened is None or high is None or low is None or close is None:
        return None
    return Bar(start, opened, high, low, close, None if instrument.asset_class is AssetClass.INDEX else volume)


def _is_unfinished(bar: Bar, instrument: Instrument, received_at: datetime) -> bool:
    session = calendar_named(instrument.calendar).session_on(bar.day)
    return session is not None and session.close > received_at
