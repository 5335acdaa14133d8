"""Twelve Data: quotes and bars of US listings, currencies and crypto with a free key, of other exchanges on paid plans.

The rule of this module: it says what is asked, what that costs and how a recorded URL is understood; what a reply says
is read in `twelve_data_quotes` and `twelve_data_history`. A call costs a credit for every symbol in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import (
    Endpoint,
    HistoryQuery,
    Key,
    Offer,
    Plan,
    Quota,
    QuoteQuery,
    RecordedUrl,
    Request,
    Vendor,
    recorded_instrument,
)
from mdagent_mcp.vendors.read_only import read_only_history, read_only_quotes
from mdagent_mcp.vendors.twelve_data_history import (
    EXCHANGE,
    INTERVALS,
    ZonedQuery,
    first_day_of,
    read_series,
    trading_date,
)
from mdagent_mcp.vendors.twelve_data_quotes import read_quote, read_quotes
from mdagent_mcp.vendors.twelve_data_readable import read_prices, read_rate, read_table, recognise_rate
from mdagent_mcp.vendors.twelve_data_replies import ERRORS, MARKETS, PAIRS, SOURCE, spelling_of

_BATCH: Final = 120
"""Symbols of a batch. Every one is charged: a free key, which has 8 credits a minute, pays for no more than 8."""
_ROW_LIMIT: Final = 5000
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_EARLIEST: Final = date(1970, 1, 1)
_FOREX_OPEN: Final = time(17)
_ROUND_THE_CLOCK_MIN: Final = 1440
_EXTENDED_MIN: Final = 960
_REGULAR_MIN: Final = 390
_ABROAD_MIN: Final = 540
"""Minutes a day may trade, for the number of bars in a range."""
_CODES: Final[Mapping[str, Interval]] = MappingProxyType({code: interval for interval, code in INTERVALS.items()})
_INTRADAY: Final = frozenset(code for interval, code in INTERVALS.items() if interval.is_intraday)
_SUFFIX_OF: Final[Mapping[str, str]] = MappingProxyType(
    {code: suffix for suffix, code in reversed(tuple(MARKETS.items()))}
)
_QUOTE_PATH: Final = re.compile(r"/quote$")
_SERIES_PATH: Final = re.compile(r"/time_series$")
_CLOSE_PATH: Final = re.compile(r"/eod$")
_PRICE_PATH: Final = re.compile(r"/price$")


def _not_carried(instrument: Instrument) -> str:
    return f"Twelve Data has shares, currencies and crypto under symbols we can spell, not {instrument.symbol}"


def _spelling(instrument: Instrument) -> str:
    spelling = spelling_of(instrument)
    if spelling is None:
        raise SourceError(FailureKind.UNSUPPORTED, _not_carried(instrument))
    return spelling


def _refuses_quote(query: QuoteQuery) -> str | None:
    return next((_not_carried(i) for i in query.instruments if spelling_of(i) is None), None)


def _refuses_quotes(query: QuoteQuery) -> str | None:
    abroad = next((i for i in query.instruments if i.asset_class is AssetClass.FOREIGN_EQUITY), None)
    if abroad is not None:
        return f"a list of symbols cannot name the exchange of {abroad.symbol}"
    return _refuses_quote(query)


def _refuses_history(query: HistoryQuery) -> str | None:
    if spelling_of(query.instrument) is None:
        return _not_carried(query.instrument)
    rows = _most_rows(query)
    if rows > _ROW_LIMIT:
        return f"Twelve Data sends at most {_ROW_LIMIT} bars at once; this range may have {rows}"
    return None


def _most_rows(query: HistoryQuery) -> int:
    """How many bars the range may have, holidays not counted out."""
    days = max(0, (query.last - query.first).days) + 1
    if query.instrument.asset_class is not AssetClass.CRYPTO:
        weeks, rest = divmod(days, 7)
        days = weeks * 5 + min(rest, 5)
    if query.interval.is_intraday:
        return days * -(-_minutes_of_day(query) // int(query.interval.length.total_seconds() // 60))
    return days if query.interval is Interval.DAY_1 else days // 5 + 2


def _minutes_of_day(query: HistoryQuery) -> int:
    if query.instrument.asset_class in PAIRS:
        return _ROUND_THE_CLOCK_MIN
    if query.extended_hours:
        return _EXTENDED_MIN
    return _REGULAR_MIN if query.instrument.is_us_listed else _ABROAD_MIN


def _naming(instrument: Instrument) -> tuple[tuple[str, str], ...]:
    named = (("symbol", _spelling(instrument)),)
    if instrument.asset_class is AssetClass.FOREIGN_EQUITY:
        return (*named, ("mic_code", MARKETS[instrument.suffix]))
    return named


def _build_quote(query: QuoteQuery) -> tuple[Request, ...]:
    return (Request("/quote", _naming(query.instruments[0])),)


def _build_quotes(query: QuoteQuery) -> tuple[Request, ...]:
    symbols = ",".join(map(_spelling, query.instruments))
    return (Request("/quote", (("symbol", symbols),), cost=len(query.instruments)),)


def _build_series(query: HistoryQuery) -> tuple[Request, ...]:
    start, end = _asked_span(query)
    intraday = query.interval.is_intraday
    parameters = [
        *_naming(query.instrument),
        ("interval", INTERVALS[query.interval]),
        ("start_date", f"{start:%Y-%m-%d %H:%M:%S}"),
        ("end_date", f"{end:%Y-%m-%d %H:%M:%S}"),
        ("timezone", "UTC" if intraday else EXCHANGE),
        ("order", "asc"),
        ("outputsize", str(_ROW_LIMIT)),
    ]
    if query.instrument.asset_class not in PAIRS:
        parameters.append(("adjust", query.adjustment.value))
    if intraday and query.extended_hours:
        parameters.append(("prepost", "true"))
    return (Request("/time_series", tuple(parameters)),)


def _asked_span(query: HistoryQuery) -> tuple[datetime, datetime]:
    """First and last second of the range: in UTC for intraday bars, else in the exchange's own time."""
    if not query.interval.is_intraday:
        first = first_day_of(query.interval, query.first)
        return datetime.combine(first, time(0), UTC), datetime.combine(query.last, time(23, 59, 59), UTC)
    return _begin_of(query.first, query.instrument), _begin_of(query.last + _DAY, query.instrument) - _SECOND


def _begin_of(day: date, instrument: Instrument) -> datetime:
    calendar = calendar_named(instrument.calendar)
    if calendar.name == "24/5":
        return datetime.combine(day - _DAY, _FOREX_OPEN, calendar.zone).astimezone(UTC)
    return datetime.combine(day, time(0), calendar.zone).astimezone(UTC)


def _recognise_quote(recorded: RecordedUrl) -> QuoteQuery | None:
    if not _is_asked(recorded, _QUOTE_PATH) or "," in recorded.query.get("symbol", ""):
        return None
    return QuoteQuery((_recorded(recorded.query.get("symbol", ""), recorded),), recorded.received_at)


def _recognise_quotes(recorded: RecordedUrl) -> QuoteQuery | None:
    names = [name for name in recorded.query.get("symbol", "").split(",") if name]
    if not _is_asked(recorded, _QUOTE_PATH) or not names:
        return None
    return QuoteQuery(tuple(_recorded(name, recorded) for name in names), recorded.received_at)


def _recognise_close(recorded: RecordedUrl) -> QuoteQuery | None:
    if not _is_asked(recorded, _CLOSE_PATH):
        return None
    return _listed(recorded)


def _recognise_prices(recorded: RecordedUrl) -> QuoteQuery | None:
    return _listed(recorded) if _PRICE_PATH.search(recorded.path) else None


def _listed(recorded: RecordedUrl) -> QuoteQuery:
    """What a URL names, which may be several, or what a person names where it does not."""
    names = [name for name in recorded.query.get("symbol", "").split(",") if name] or [""]
    return QuoteQuery(tuple(_recorded(name, recorded) for name in names), recorded.received_at)


def _recognise_series(recorded: RecordedUrl) -> HistoryQuery | None:
    return _series_query(recorded) if _is_asked(recorded, _SERIES_PATH) else None


def _recognise_table(recorded: RecordedUrl) -> HistoryQuery | None:
    return _series_query(recorded) if _SERIES_PATH.search(recorded.path) else None


def _series_query(recorded: RecordedUrl) -> HistoryQuery:
    asked = recorded.query
    code = asked.get("interval", INTERVALS[Interval.DAY_1])
    adjustment = asked.get("adjust", Adjustment.SPLITS.value)
    if code not in _CODES or adjustment not in set(Adjustment):
        raise SourceError(FailureKind.UNSUPPORTED, f"no {code} bars on the basis {adjustment!r} are asked for")
    instrument = _recorded(asked.get("symbol", "").partition(",")[0], recorded)
    return ZonedQuery(
        instrument=instrument,
        interval=_CODES[code],
        first=_recorded_day(recorded, "start_date", instrument, _EARLIEST),
        last=_recorded_day(recorded, "end_date", instrument, recorded.received_at.date()),
        adjustment=Adjustment(adjustment),
        extended_hours=asked.get("prepost", "false").lower() == "true",
        now=recorded.received_at,
        timezone=asked.get("timezone", EXCHANGE),
    )


def _is_asked(recorded: RecordedUrl, path: re.Pattern[str]) -> bool:
    """Whether a URL is one of an endpoint, and not asked for as a table, which we never do."""
    return path.search(recorded.path) is not None and recorded.query.get("format", "JSON").upper() == "JSON"


def _recorded(name: str, recorded: RecordedUrl) -> Instrument:
    """The instrument that a URL names, by symbol and market, or the one a person names where it does not."""
    symbol, _, market = name.partition(":")
    suffix = _SUFFIX_OF.get((market or recorded.query.get("mic_code", "")).upper())
    return recorded_instrument(f"{symbol}.{suffix}" if suffix and symbol else symbol, recorded.instrument)


def _recorded_day(recorded: RecordedUrl, name: str, instrument: Instrument, otherwise: date) -> date:
    text = recorded.query.get(name)
    if text is None:
        return otherwise
    try:
        told = datetime.fromisoformat(text)
        if len(text) == 10 or recorded.query.get("interval", "1day") not in _INTRADAY:
            return told.date()
        calendar = calendar_named(instrument.calendar)
        return trading_date(told.replace(tzinfo=_recorded_zone(recorded, calendar.zone)), calendar)
    except (ValueError, KeyError, OSError, OverflowError) as error:
        raise SourceError(FailureKind.BAD_REQUEST, f"{name} of the URL is no date") from error


def _recorded_zone(recorded: RecordedUrl, exchange: tzinfo) -> tzinfo:
    name = recorded.query.get("timezone", EXCHANGE)
    return exchange if name == EXCHANGE else ZoneInfo(name)


TWELVE_DATA: Final = Vendor(
    id=SOURCE,
    title="Twelve Data",
    docs_url="https://twelvedata.com/docs",
    terms="Free key for personal, non-commercial use; showing data to others needs a business plan.",
    hosts=MappingProxyType({"api": "https://api.twelvedata.com"}),
    quote=Offer(Endpoint.QUOTE, _refuses_quote, _build_quote, read_quote, _recognise_quote),
    quotes=Offer(Endpoint.QUOTES, _refuses_quotes, _build_quotes, read_quotes, _recognise_quotes, max_batch=_BATCH),
    history=Offer(Endpoint.HISTORY, _refuses_history, _build_series, read_series, _recognise_series),
    errors=ERRORS,
    plans=MappingProxyType(
        {
            "basic": Plan(
                quotas=(Quota(8, 60.0, "minute"), Quota(800, 86400.0, "day", resets="day")), cost_per_call=0.13
            ),
            "grow": Plan(quotas=(Quota(377, 60.0, "minute"),), cost_per_call=0.003),
            "pro": Plan(quotas=(Quota(1597, 60.0, "minute"),), cost_per_call=0.001),
            "ultra": Plan(quotas=(Quota(10946, 60.0, "minute"),), cost_per_call=0.0001),
        }
    ),
    key=Key(
        ("TWELVE_DATA_API_KEY", "TWELVEDATA_API_KEY"),
        "header",
        "Authorization",
        prefix="apikey ",
        signup_url="https://twelvedata.com/register",
    ),
    readable=(
        read_only_quotes(read_quotes, _recognise_close),
        read_only_quotes(read_prices, _recognise_prices),
        read_only_quotes(read_rate, recognise_rate),
        read_only_history(read_table, _recognise_table),
    ),
    timeout_s=4.0,
    rest_after_throttle_s=60.0,
    weight=0.8,
    remaining_headers=MappingProxyType({"minute": "api-credits-left"}),
)
"""Twelve Data, as the engine knows it."""
