"""Alpha Vantage's functions: which of them serves what, and what a recorded URL asked for.

The rule of this module: a URL that does not name its function is about whatever its reply holds.
"""

from __future__ import annotations

import calendar as month_lengths
import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, RecordedUrl, recorded_instrument
from mdagent_mcp.vendors.alpha_vantage_reply import canonical, is_pair

EARLIEST: Final = date(1970, 1, 1)
"""The first date of a recorded question that names none."""
INTRADAY: Final[Mapping[Interval, str]] = MappingProxyType(
    {
        Interval.MIN_1: "1min",
        Interval.MIN_5: "5min",
        Interval.MIN_15: "15min",
        Interval.MIN_30: "30min",
        Interval.HOUR_1: "60min",
    }
)
"""Bar lengths as Alpha Vantage writes them."""
FUNCTIONS: Final[Mapping[tuple[Interval, Adjustment], str]] = MappingProxyType(
    {
        (Interval.DAY_1, Adjustment.NONE): "TIME_SERIES_DAILY",
        (Interval.DAY_1, Adjustment.ALL): "TIME_SERIES_DAILY_ADJUSTED",
        # Last of its function, so that a recorded URL of it is read on the basis that is everybody's default.
        (Interval.DAY_1, Adjustment.SPLITS): "TIME_SERIES_DAILY_ADJUSTED",
        (Interval.WEEK_1, Adjustment.NONE): "TIME_SERIES_WEEKLY",
        (Interval.WEEK_1, Adjustment.ALL): "TIME_SERIES_WEEKLY_ADJUSTED",
        (Interval.MONTH_1, Adjustment.NONE): "TIME_SERIES_MONTHLY",
        (Interval.MONTH_1, Adjustment.ALL): "TIME_SERIES_MONTHLY_ADJUSTED",
        **dict.fromkeys(((i, a) for i in INTRADAY for a in (Adjustment.NONE, Adjustment.ALL)), "TIME_SERIES_INTRADAY"),
    }
)
"""The function that has the bars of an interval on a basis."""
EXTENDED: Final = "TIME_SERIES_INTRADAY_EXTENDED"
"""Two years of intraday bars, as tables only; retired in 2023."""

_QUERY: Final = re.compile(r"(?:^|/)query$")
_LISTED: Final[Mapping[str, tuple[Interval, Adjustment]]] = MappingProxyType(
    {function: key for key, function in FUNCTIONS.items() if not key[0].is_intraday}
)
_FOREX_NAMES: Final = ("from_symbol", "to_symbol")
_CRYPTO_NAMES: Final = ("symbol", "market")
_PAIRS: Final[Mapping[str, tuple[tuple[str, str], Interval]]] = MappingProxyType(
    {"FX_DAILY": (_FOREX_NAMES, Interval.DAY_1), "DIGITAL_CURRENCY_DAILY": (_CRYPTO_NAMES, Interval.DAY_1)}
)
"""Series of pairs that are asked for: the parameters that name them, and the length of their bars."""
_OTHER_PAIRS: Final[Mapping[str, tuple[tuple[str, str], Interval]]] = MappingProxyType(
    {
        "FX_WEEKLY": (_FOREX_NAMES, Interval.WEEK_1),
        "FX_MONTHLY": (_FOREX_NAMES, Interval.MONTH_1),
        "DIGITAL_CURRENCY_WEEKLY": (_CRYPTO_NAMES, Interval.WEEK_1),
        "DIGITAL_CURRENCY_MONTHLY": (_CRYPTO_NAMES, Interval.MONTH_1),
    }
)
"""Series of pairs that are only read."""


def recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    """What a URL of a current price asked for."""
    function = _function_of(recorded)
    if _is_table(recorded):
        return None
    if function == "CURRENCY_EXCHANGE_RATE":
        return QuoteQuery((_pair(recorded, ("from_currency", "to_currency")),), recorded.received_at)
    return QuoteQuery((_share(recorded),), recorded.received_at) if function == "GLOBAL_QUOTE" else None


def recognise_history(recorded: RecordedUrl) -> HistoryQuery | None:
    """What a URL of a series that is asked for asked for."""
    function = _function_of(recorded)
    if function is None or _is_table(recorded):
        return None
    return _series_of(recorded, function, _PAIRS)


def recognise_other_series(recorded: RecordedUrl) -> HistoryQuery | None:
    """What a URL of the series of a pair that is only read asked for."""
    function = _function_of(recorded)
    if function is None or _is_table(recorded):
        return None
    return _series_of(recorded, function, _OTHER_PAIRS) if function in _OTHER_PAIRS else None


def recognise_quote_table(recorded: RecordedUrl) -> QuoteQuery | None:
    """What a URL of a current price as a table asked for."""
    if _function_of(recorded) != "GLOBAL_QUOTE" or not _is_table(recorded):
        return None
    return QuoteQuery((_share(recorded),), recorded.received_at)


def recognise_series_table(recorded: RecordedUrl) -> HistoryQuery | None:
    """What a URL of a series as a table asked for."""
    function = _function_of(recorded)
    if function is None or function == EXTENDED or not _is_table(recorded):
        return None
    return _series_of(recorded, function, {**_PAIRS, **_OTHER_PAIRS})


def recognise_extended(recorded: RecordedUrl) -> HistoryQuery | None:
    """What a URL of the retired two-year intraday series asked for."""
    return _intraday(recorded) if _function_of(recorded) == EXTENDED else None


def recognise_unnamed(recorded: RecordedUrl) -> QuoteQuery | None:
    """A URL without its function: about the symbol it names, or else about the one its reply names."""
    if not _QUERY.search(recorded.path) or "function" in recorded.query:
        return None
    named = "symbol" in recorded.query or recorded.instrument is not None
    return QuoteQuery((_share(recorded),) if named else (), recorded.received_at)


def _function_of(recorded: RecordedUrl) -> str | None:
    return recorded.query.get("function") if _QUERY.search(recorded.path) else None


def _is_table(recorded: RecordedUrl) -> bool:
    return recorded.query.get("datatype", "json").lower() == "csv"


def _series_of(
    recorded: RecordedUrl, function: str, pairs: Mapping[str, tuple[tuple[str, str], Interval]]
) -> HistoryQuery | None:
    if function in pairs:
        names, interval = pairs[function]
        return _dated(recorded, _pair(recorded, names), (interval, Adjustment.NONE))
    if function in _LISTED:
        return _dated(recorded, _share(recorded), _LISTED[function])
    return _intraday(recorded) if function == "TIME_SERIES_INTRADAY" else None


def _intraday(recorded: RecordedUrl) -> HistoryQuery:
    code = recorded.query.get("interval", "")
    interval = next((i for i, theirs in INTRADAY.items() if theirs == code), None)
    if interval is None:
        raise SourceError(FailureKind.BAD_REQUEST, f"interval of the URL is none: {code!r}")
    # Without the parameter their bars are adjusted for everything.
    raw = recorded.query.get("adjusted") == "false"
    return _dated(recorded, _share(recorded), (interval, Adjustment.NONE if raw else Adjustment.ALL))


def _dated(recorded: RecordedUrl, instrument: Instrument, kind: tuple[Interval, Adjustment]) -> HistoryQuery:
    zone = calendar_named(instrument.calendar).zone
    # A recording may be known by its date only: it counts as whole in both zones.
    first, last = EARLIEST, max(recorded.received_at.date(), recorded.received_at.astimezone(zone).date())
    month = recorded.query.get("month")
    if month is not None:
        first, last = _days_of(month)
    return HistoryQuery(
        instrument=instrument,
        interval=kind[0],
        first=first,
        last=last,
        adjustment=kind[1],
        extended_hours=kind[0].is_intraday and recorded.query.get("extended_hours") != "false",
        now=recorded.received_at,
    )


def _days_of(month: str) -> tuple[date, date]:
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise SourceError(FailureKind.BAD_REQUEST, "month of the URL is none") from error
    return first, first.replace(day=month_lengths.monthrange(first.year, first.month)[1])


def _share(recorded: RecordedUrl) -> Instrument:
    return recorded_instrument(canonical(recorded.query.get("symbol", "")), recorded.instrument)


def _pair(recorded: RecordedUrl, names: tuple[str, str]) -> Instrument:
    base, quote = (recorded.query.get(name, "") for name in names)
    instrument = recorded_instrument(f"{base}/{quote}" if base and quote else "", recorded.instrument)
    if not is_pair(instrument):
        raise SourceError(FailureKind.BAD_REQUEST, f"the URL names no currency pair: {base}/{quote}")
    return instrument
