"""Cboe's files that are never asked for and can be read: the daily levels of its indices as tables.

The rule of this module: a table of one level a day is told as bars whose four prices are that level, and says so.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final
from urllib.parse import unquote

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.reading import Json, display_number, malformed, positive
from mdagent_mcp.domain.rows import bars_and_null_rows
from mdagent_mcp.domain.vendor import HistoryQuery, RecordedUrl, Reply, recorded_instrument
from mdagent_mcp.vendors.cboe_quotes import CANONICAL, SOURCE, divisor_of
from mdagent_mcp.vendors.read_only import table_rows

_PATH: Final = re.compile(r"/us_indices/daily_prices/(?P<symbol>[^/]+)_History\.csv$")
_EARLIEST: Final = date(1970, 1, 1)
_PRICES: Final = ("open", "high", "low", "close")
_NAMES: Final = {ours: theirs.removeprefix("_") for theirs, ours in CANONICAL.items()}
"""What the tables call an index whose canonical symbol is another."""
_LEVEL_NOTE: Final = "the file holds one level a day, which stands for all four prices"


def recognise_index_table(recorded: RecordedUrl) -> HistoryQuery | None:
    """The index of a URL of `us_indices/daily_prices/{symbol}_History.csv`."""
    match = _PATH.search(recorded.path)
    if match is None:
        return None
    name = unquote(match["symbol"]).upper()
    return HistoryQuery(
        instrument=recorded_instrument(CANONICAL.get(f"_{name}", f"^{name}"), recorded.instrument),
        interval=Interval.DAY_1,
        first=_EARLIEST,
        last=recorded.received_at.date(),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=recorded.received_at,
    )


def read_index_table(query: HistoryQuery, reply: Reply) -> History:
    """Read the daily levels of an index: `DATE,OPEN,HIGH,LOW,CLOSE`, or `DATE` and the name of the index.

    Raises:
        SourceError: NO_DATA without rows in the range, MALFORMED_REPLY.
    """
    rows = list(table_rows(reply.body, frozenset({"date"})))
    names = _columns(rows[0], query) if rows else _PRICES
    read = [(start, _bar(row, start, names, query)) for row in rows if _is_wanted(start := _start(row), query)]
    bars, null_rows = bars_and_null_rows(read)
    calendar = calendar_named(query.instrument.calendar)
    session = calendar.session_on(bars[-1].day)
    return History(
        symbol=query.instrument.symbol,
        source=SOURCE,
        interval=Interval.DAY_1,
        adjustment=query.adjustment,
        timezone=calendar.timezone,
        received_at=reply.received_at,
        bars=bars,
        null_rows=null_rows,
        partial_last_bar=session is not None and session.close > reply.received_at,
        notes=() if names == _PRICES else (_LEVEL_NOTE,),
    )


def _columns(row: Json, query: HistoryQuery) -> tuple[str, ...]:
    if set(_PRICES) <= set(row.value):
        return _PRICES
    own = [name for name in row.value if name != "date"]
    spelt = _NAMES.get(query.instrument.symbol, query.instrument.root)
    if own != [spelt.lower()]:
        raise malformed(f"the table is not about {query.instrument.symbol}")
    return (own[0],) * 4


def _start(row: Json) -> datetime:
    cell = row.get("date")
    try:
        start = datetime.strptime(cell.text(40), "%m/%d/%Y").replace(tzinfo=UTC)
    except ValueError as error:
        raise malformed(f"{cell.path} is no date") from error
    if not 1900 <= start.year <= 2099:
        raise malformed(f"{cell.path} is no date of a market")
    return start


def _is_wanted(start: datetime, query: HistoryQuery) -> bool:
    return query.first <= start.date() <= query.last


def _bar(row: Json, start: datetime, names: tuple[str, ...], query: HistoryQuery) -> Bar | None:
    cells = [row.get(name) for name in names]
    told = [positive(display_number(cell.text(), cell.path)) for cell in cells]
    divisor = divisor_of(query.instrument)
    opened, high, low, close = (None if value is None else positive(round(value / divisor, 8)) for value in told)
    if opened is None or high is None or low is None or close is None:
        return None
    return Bar(start, opened, high, low, close)
