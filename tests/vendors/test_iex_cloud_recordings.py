"""Every recorded exchange of Tiingo and of IEX Cloud, read as the engine would read it.

Expected values are read off the payloads by hand; `test_recordings_coverage` fails for a recording that is in no table.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Adjustment, Interval, Quote, Session
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from mdagent_mcp.vendors.tiingo import TIINGO
from vendors.vendor_exchanges import at, recordings_of

FIGURES = ("bid", "ask", "open", "high", "low", "previous_close", "volume")
VENDORS: dict[str, Vendor] = {"tiingo": TIINGO, "iex_cloud": IEX_CLOUD, "iex_successors": TIINGO}
DAY, WEEK, MINUTE, HALF = Interval.DAY_1, Interval.WEEK_1, Interval.MIN_1, Interval.MIN_30
RAW, SPLITS = Adjustment.NONE, Adjustment.SPLITS
APPERATE = "iex_cloud/doc/apperate_core_quote_AAPL_array.json"
LEAKED = "iex_cloud/real_quoted/batch_filtered_CORRUPT_latestPrice_high_2021.json"

Row = tuple[str, float, Session, str | None, float, bool, dict[str, float]]
"""Symbol, price, session, event time, declared delay, whether one venue's, and every other figure that is told."""


def undated(symbol: str, price: float, high: float, low: float, volume: float) -> Row:
    """A row of the batch whose filter left out source and time."""
    return (symbol, price, Session.REGULAR, None, 0.0, False, {"high": high, "low": low, "volume": volume})


UNLICENSED: tuple[str, tuple[Row, ...]] = (
    "2026-06-03T10:52:55",
    (("AAPL", 312.27, Session.PRE, "2026-06-03T10:52:50", 0.0, True, {}),),
)

QUOTES: dict[str, tuple[str, tuple[Row, ...]]] = {
    "tiingo/excerpt_iex_unlicensed_2026.json": UNLICENSED,
    "iex_successors/real_quoted/tiingo_iex_AAPL_2026_not_entitled.json": UNLICENSED,
    APPERATE: (
        "2022-10-28T13:00:00",
        (
            (
                "AAPL",
                144.8,
                Session.CLOSED,
                "2022-10-27T20:00:00.311",
                0.0,
                False,
                {"high": 149.046, "low": 144.13, "previous_close": 149.35, "volume": 1825515.0},
            ),
            ("AAPL", 144.94, Session.PRE, "2022-10-28T12:56:59.242", 0.0, True, {}),
        ),
    ),
    "iex_cloud/real_quoted/quote_AAPL_iextrading_v1_2017.json": (
        "2017-09-18T21:27:00",
        (("AAPL", 158.66, Session.POST, "2017-09-18T20:59:31.879", 900.0, False, {"volume": 28173737.0}),),
    ),
    LEAKED: (
        "2021-01-11T18:00:00",
        (
            undated("AHC", 90.105, 3152.31, 0.65, 1805570.0),
            undated("JP", 843.3, 854.43, 0.64, 22005731.0),
            undated("MIN", 45.865, 853.23, 0.548, 7584634.0),
            undated("IRR", 259.59, 854.43, 0.714, 9571522.0),
            undated("JTA", 15.685, 853.23, 5.06, 25744180.0),
            undated("BKT", 10.55, 853.23, 0.4551, 335642.0),
            undated("CMSA", 838.89, 853.23, 0.633, 17219424.0),
        ),
    ),
}

LATEST = ("2018-04-12T00:00", 1031.47, 1044.65, 1026.05, 1037.29, 1644794.0)
NEWEST = ("2024-10-22T00:00", 162.98, 165.77, 162.98, 165.14, 16568121.0)
OPENING = ("2019-08-09T13:30", 138.72, 138.72, 138.5, 138.68, 3673.0)
JULY = ("2019-07-10T00:00", 137.13, 138.58, 137.02, 137.85, 24204362.0)
AUGUST = ("2019-08-09T00:00", 138.61, 139.38, 136.46, 137.71, 23466701.0)
NOVEMBER = ("2020-11-10T00:00", 214.5, 216.5, 209.72, 211.01, 44045120.0)

HISTORIES: dict[str, tuple[Any, ...]] = {
    "tiingo/daily_googl_latest_2018.json": ("GOOGL", DAY, RAW, 1, LATEST, LATEST),
    "tiingo/daily_googl_2015.csv": (
        *("GOOGL", DAY, RAW, 2),
        ("2015-01-02T00:00", 532.6, 535.8, 527.88, 529.55, 1327870.0),
        ("2015-01-05T00:00", 527.15, 527.9899, 517.75, 519.46, 2059119.0),
    ),
    "tiingo/daily_googl_2018.json": (
        *("GOOGL", DAY, RAW, 10),
        ("2018-01-05T00:00", 1103.45, 1113.58, 1101.8, 1110.29, 1493389.0),
        ("2018-01-19T00:00", 1138.03, 1143.78, 1132.5, 1143.5, 1418376.0),
    ),
    "tiingo/daily_googl_columns_2024.json": ("GOOGL", DAY, RAW, 1, NEWEST, NEWEST),
    "tiingo/weekly_googl_2018.json": (
        *("GOOGL", WEEK, RAW, 3),
        ("2018-01-02T00:00", 1053.02, 1113.58, 1053.02, 1110.29, 5889084.0),
        ("2018-01-16T00:00", 1140.31, 1148.88, 1123.49, 1135.97, 4470611.0),
    ),
    "tiingo/weekly_aapl_rec2018_before_split.json": (
        *("AAPL", WEEK, RAW, 3),
        ("2018-01-02T00:00", 170.16, 175.37, 169.26, 175.0, 99095223.0),
        ("2018-01-16T00:00", 177.9, 180.1, 175.07, 179.26, 92146251.0),
    ),
    "tiingo/iex_intraday_googl_30min_2018.json": (
        *("GOOGL", HALF, RAW, 13),
        ("2018-01-02T14:30", 1057.47, 1061.91, 1054.17, 1061.91, None),
        ("2018-01-02T20:30", 1073.83, 1075.87, 1073.23, 1073.315, None),
    ),
    "tiingo/crypto_history_2019.json": (
        *("BTC-USD", DAY, RAW, 2),
        (
            "2019-05-01T00:00",
            5367.348827845256,
            5443.811868611532,
            5358.100876910302,
            5420.0896708474575,
            27749.729226739997,
        ),
        (
            "2019-05-02T00:00",
            5441.491804492167,
            5590.235084334595,
            5426.033480300644,
            5545.697488248552,
            40036.510605330004,
        ),
    ),
    "iex_cloud/real/chart_default_1m_MSFT.json": ("MSFT", DAY, SPLITS, 23, JULY, AUGUST),
    "iex_cloud/real/chart_dynamic_MSFT.json": ("MSFT", DAY, SPLITS, 23, JULY, AUGUST),
    "iex_cloud/real/chart_1d_minutes_MSFT.json": (
        *("MSFT", MINUTE, RAW, 388, OPENING),
        ("2019-08-09T19:59", 137.65, 137.795, 137.59, 137.77, 12385.0),
    ),
    "iex_cloud/real/chart_1d_chartInterval10_MSFT.json": (
        *("MSFT", MINUTE, RAW, 39, OPENING),
        ("2019-08-09T19:50", 138.13, 138.195, 138.1, 138.1, 1282.0),
    ),
    "iex_cloud/real/historical_default_MSFT.json": (
        *("MSFT", DAY, SPLITS, 23),
        ("2020-10-07T00:00", 207.06, 210.11, 206.72, 209.83, 25681054.0),
        ("2020-11-06T00:00", 222.26, 224.36, 218.03, 223.72, 25231895.0),
    ),
    "iex_cloud/real/historical_5d_MSFT.json": (
        *("MSFT", DAY, SPLITS, 5),
        ("2020-11-04T00:00", 214.02, 218.32, 212.42, 216.39, 42311777.0),
        NOVEMBER,
    ),
    "iex_cloud/real/historical_date_chartByDay_MSFT.json": ("MSFT", DAY, SPLITS, 1, NOVEMBER, NOVEMBER),
    "iex_cloud/real/historical_date_20201110_minutes_MSFT.json": (
        *("MSFT", MINUTE, RAW, 40),
        ("2020-11-10T14:30", 214.43, 215.09, 214.38, 214.95, 13060.0),
        ("2020-11-10T20:59", 211.09, 211.15, 210.65, 211.0, 7239.0),
    ),
}

NULL_ROWS = {"iex_cloud/real/chart_1d_minutes_MSFT.json": (at("2019-08-09T15:47"), at("2019-08-09T15:56"))}

FAILURES: dict[str, FailureKind] = {
    "tiingo/meta_googl_2017.json": FailureKind.UNSUPPORTED,
    "tiingo/crypto_meta_2017.json": FailureKind.UNSUPPORTED,
    "tiingo/error_403_invalid_token.json": FailureKind.UNAUTHORIZED,
    "tiingo/error_429_hourly.json": FailureKind.QUOTA_EXHAUSTED,
    "tiingo/error_404_ticker.json": FailureKind.UNKNOWN_SYMBOL,
    "iex_cloud/real/price_unknown_symbol_404.txt": FailureKind.UNKNOWN_SYMBOL,
    "iex_cloud/real/fx_unknown_404.txt": FailureKind.UNKNOWN_SYMBOL,
    "iex_cloud/real/historical_invalid_date_400.txt": FailureKind.BAD_REQUEST,
    "iex_cloud/real/historical_invalid_range_403.txt": FailureKind.UNAUTHORIZED,
    "iex_cloud/real/refdata_isin.json": FailureKind.UNSUPPORTED,
    "iex_cloud/real/stats_MSFT.json": FailureKind.UNSUPPORTED,
    "iex_cloud/doc/apperate_historical_AAPL_array.json": FailureKind.UNSUPPORTED,
}


def read(name: str, received_at: str = "2026-11-23T12:00:00") -> RecordedReading:
    """What a recording says."""
    vendor, _, file = name.partition("/")
    folder = recordings_of(vendor)
    (entry,) = (e for e in json.loads((folder / "index.json").read_bytes()) if e["file"] == file)
    return read_recorded(
        VENDORS[vendor],
        entry["url"],
        (folder / file).read_bytes(),
        status=entry["status"],
        received_at=at(received_at),
        headers=entry.get("headers"),
    )


def row_of(quote: Quote) -> Row:
    """A quote as the table writes it."""
    event_time = None if quote.event_time is None else quote.event_time.isoformat().removesuffix("+00:00")
    if event_time is not None and "." in event_time:
        event_time = event_time.rstrip("0")
    figures = {name: value for name in FIGURES if (value := getattr(quote, name)) is not None}
    placed = (quote.session, event_time, quote.declared_delay_s, quote.venue_only)
    return (quote.symbol, quote.price, *placed, figures)


@pytest.mark.parametrize("name", QUOTES)
def test_a_recorded_quote_says_what_its_payload_says(name: str) -> None:
    """Price, session, time, scope and every figure beside them; what the payload does not tell is absent."""
    received_at, rows = QUOTES[name]
    reading = read(name, received_at)
    assert tuple(row_of(quote) for quote in reading.quotes) == rows
    assert not reading.failures
    assert {q.currency for q in reading.quotes} == {"USD"}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_series_says_what_its_payload_says(name: str) -> None:
    """Oldest first, with its first and last bar."""
    symbol, interval, adjustment, count, first, last = HISTORIES[name]
    history = read(name).history
    assert history is not None
    ends = tuple(
        (f"{bar.start:%Y-%m-%dT%H:%M}", bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in (history.bars[0], history.bars[-1])
    )
    assert (history.symbol, history.interval, history.adjustment) == (symbol, interval, adjustment)
    assert (len(history.bars), *ends) == (count, first, last)
    assert list(history.bars) == sorted(history.bars, key=lambda bar: bar.start)
    assert (history.partial_last_bar, history.currency) == (False, "USD")
    assert history.null_rows == NULL_ROWS.get(name, ())


@pytest.mark.parametrize("name", FAILURES)
def test_a_recorded_refusal_has_its_public_code(name: str) -> None:
    """Endpoints that are not asked are unsupported."""
    failure = read(name).failure
    assert failure is not None
    assert failure.kind is FAILURES[name]
