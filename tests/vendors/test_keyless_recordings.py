"""Every recorded exchange of Nasdaq, Cboe and Finnhub, read as the engine would read it.

Expected values are read off the payloads by hand; `test_recordings_coverage` fails for a recording that is in no table.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.vendors.cboe import CBOE
from mdagent_mcp.vendors.finnhub import FINNHUB
from mdagent_mcp.vendors.nasdaq import NASDAQ
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors.vendor_exchanges import RECORDINGS, at, recordings_of

PRE, REGULAR, POST, CLOSED = Session.PRE, Session.REGULAR, Session.POST, Session.CLOSED
MINUTE, DATE = 60.0, 86400.0

Row = tuple[str, float, Session, str | None, float, dict[str, float | None]]
"""Symbol, price, session, event time, its resolution, and every other figure that the reply tells."""

QUOTES: dict[str, tuple[str, tuple[Row, ...]]] = {
    "nasdaq/old2019_info_premarket.json": (
        "2019-11-19T14:27:30",
        (
            ("AAPL", 267.85, PRE, "2019-11-19T14:27:00", MINUTE, {}),
            ("AAPL", 267.10, CLOSED, "2019-11-18T21:00:00", MINUTE, {}),
        ),
    ),
    "nasdaq/old2019_info_open.json": (
        "2019-11-19T15:33:30",
        (
            (
                "AAPL",
                266.782,
                REGULAR,
                "2019-11-19T15:33:00",
                MINUTE,
                {"open": 267.96, "previous_close": 267.10, "volume": 2492507.0},
            ),
        ),
    ),
    "nasdaq/old2019_info_closed.json": (
        "2019-11-20T02:00:00",
        (
            (
                "AAPL",
                266.29,
                CLOSED,
                "2019-11-19T21:00:00",
                DATE,
                {"open": 267.96, "previous_close": 267.10, "volume": 19069597.0},
            ),
        ),
    ),
    "nasdaq/info_aapl_afterhours_2023.json": (
        "2023-12-21T22:13:30",
        (
            (
                "AAPL",
                194.83,
                POST,
                "2023-12-21T22:13:00",
                MINUTE,
                {
                    "bid": 194.82,
                    "ask": 194.84,
                    "high": 197.07,
                    "low": 193.51,
                    "previous_close": 194.83,
                    "volume": 45191237.0,
                },
            ),
            (
                "AAPL",
                194.68,
                CLOSED,
                "2023-12-21T21:00:00",
                MINUTE,
                {"high": 197.07, "low": 193.51, "previous_close": 194.83},
            ),
        ),
    ),
    "nasdaq/excerpt_info_mrvl_premarket_2026.json": (
        "2026-08-18T11:20:00",
        (
            ("MRVL", 222.25, PRE, "2026-08-18T11:20:00", MINUTE, {}),
            ("MRVL", 234.33, CLOSED, "2026-08-17T20:00:00", MINUTE, {}),
        ),
    ),
    "nasdaq/excerpt_info_aapl_open_bidask_2026.json": (
        "2026-10-07T16:52:30",
        (
            (
                "AAPL",
                336.13,
                REGULAR,
                "2026-10-07T16:52:00",
                MINUTE,
                {"bid": 336.11, "ask": 336.16, "volume": 14590589.0},
            ),
        ),
    ),
    "nasdaq/excerpt_info_iren_afterhours_2026.json": (
        "2026-09-03T22:15:00",
        (
            (
                "IREN",
                41.2907,
                POST,
                "2026-09-03T22:14:00",
                MINUTE,
                {
                    "bid": 41.24,
                    "ask": 41.31,
                    "high": 41.82,
                    "low": 39.03,
                    "previous_close": 39.60,
                    "volume": 44902322.096396,
                },
            ),
            (
                "IREN",
                41.65,
                CLOSED,
                "2026-09-03T20:00:00",
                MINUTE,
                {"high": 41.82, "low": 39.03, "previous_close": 39.60},
            ),
        ),
    ),
    "nasdaq/excerpt_info_aapl_closed_2026.json": (
        "2026-07-25T12:00:00",
        (
            (
                "AAPL",
                333.02,
                CLOSED,
                "2026-07-24T20:00:00",
                DATE,
                {"previous_close": 321.66, "volume": 47489726.0},
            ),
        ),
    ),
    "nasdaq/excerpt_watchlist_2026.json": (
        "2026-09-25T18:40:30",
        (
            (
                "SENS",
                10.185,
                REGULAR,
                "2026-09-25T18:40:00",
                MINUTE,
                {"previous_close": 10.4, "volume": 344650.0},
            ),
            ("UNC", 1.0, REGULAR, None, 1.0, {"previous_close": 1.0}),
            ("AACG", 0.86, CLOSED, "2026-09-24T20:00:00", DATE, {"previous_close": 0.8256}),
        ),
    ),
    "cboe/quote_aapl_weekend_2026.json": (
        "2026-07-25T21:25:50",
        (
            (
                "AAPL",
                333.02,
                CLOSED,
                "2026-07-24T19:59:59",
                1.0,
                {"open": 321.76, "high": 334.37, "low": 321.62, "previous_close": 321.66, "volume": 47489415.0},
            ),
        ),
    ),
    "cboe/excerpt_quote_vix_live_2026.json": (
        "2026-06-04T15:43:30",
        (
            (
                "^VIX",
                15.66,
                REGULAR,
                "2026-06-04T15:28:16",
                1.0,
                {"open": 16.44, "high": 16.44, "low": 15.62, "previous_close": 16.06},
            ),
        ),
    ),
    "cboe/excerpt_quote_tnx_degenerate_2026.json": (
        "2026-08-18T11:20:00",
        (("^TNX", 4.724, CLOSED, "2026-08-17T20:00:00", DATE, {}),),
    ),
    "cboe/excerpt_quote_mrvl_premarket_2026.json": (
        "2026-08-18T11:20:00",
        (
            (
                "MRVL",
                234.33,
                CLOSED,
                "2026-08-17T19:59:59",
                1.0,
                {"open": 227.56, "high": 240.18, "low": 226.89, "previous_close": 222.02},
            ),
        ),
    ),
    "finnhub/real_quoted/quote_intraday_2023.json": (
        "2023-10-18T17:41:43",
        (
            (
                "AAPL",
                176.495,
                REGULAR,
                "2023-10-18T17:41:42",
                1.0,
                {"open": 175.58, "high": 177.57, "low": 175.4242, "previous_close": 177.15},
            ),
        ),
    ),
    "finnhub/real_quoted/quote_stale_node_A_2020.json": (
        "2020-03-13T19:30:00",
        (
            (
                "MSFT",
                155.25,
                REGULAR,
                None,
                1.0,
                {"open": 147.5, "high": 161.91, "low": 140.73, "previous_close": 139.06},
            ),
        ),
    ),
    "finnhub/real_quoted/quote_stale_node_B_2020.json": (
        "2020-03-13T19:30:00",
        (
            (
                "MSFT",
                158.83,
                REGULAR,
                None,
                1.0,
                {"open": 147.5, "high": 161.91, "low": 140.73, "previous_close": 139.06},
            ),
        ),
    ),
    "finnhub/doc/swagger_sample_quote.json": (
        "2020-02-25T15:00:00",
        (
            (
                "AAPL",
                261.74,
                REGULAR,
                "2020-02-25T14:30:00",
                1.0,
                {"open": 261.07, "high": 263.31, "low": 260.68, "previous_close": 259.45},
            ),
        ),
    ),
}

HISTORIES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "nasdaq/historical_capr_2026.json": (
        "2026-08-15T12:00:00",
        (
            "CAPR",
            10,
            ("2026-08-03", 3.775, 4.2, 3.658, 4.2, 5166955.0),
            ("2026-08-14", 7.66, 8.15, 6.04, 6.65, 66333880.0),
        ),
    ),
    "cboe/history_daily_aapl_tail30_2026.json": (
        "2026-07-25T21:25:39",
        (
            "AAPL",
            30,
            ("2026-06-10", 290.74, 294.75, 287.38, 291.58, 52793266.0),
            ("2026-07-23", 321.8, 323.3, 319.35, 321.66, 40840778.0),
        ),
    ),
    "finnhub/doc/swagger_sample_stock_candle.json": (
        "2019-09-27T12:00:00",
        (
            "AAPL",
            3,
            ("2019-09-24", 221.03, 222.49, 217.19, 217.68, 33463820.0),
            ("2019-09-26", 220.0, 220.94, 218.83, 219.89, 20730608.0),
        ),
    ),
}

FAILURES: dict[str, FailureKind] = {
    "nasdaq/error_unknown_symbol.json": FailureKind.UNKNOWN_SYMBOL,
    "cboe/index_definitions_first20_2026.json": FailureKind.UNSUPPORTED,
    "finnhub/real_quoted/quote_unknown_symbol.json": FailureKind.UNKNOWN_SYMBOL,
    "finnhub/real_quoted/market_status_US_regular.json": FailureKind.UNSUPPORTED,
    "finnhub/real_quoted/error_403_no_access.json": FailureKind.NOT_ENTITLED,
    "finnhub/real_quoted/error_429_limit.json": FailureKind.THROTTLED,
    "finnhub/doc/swagger_sample_stock_bidask.json": FailureKind.UNSUPPORTED,
    "finnhub/doc/swagger_sample_stock_market_status.json": FailureKind.UNSUPPORTED,
    "finnhub/doc/swagger_sample_forex_rates.txt": FailureKind.UNSUPPORTED,
    "finnhub/doc/swagger_sample_search.json": FailureKind.UNSUPPORTED,
    "finnhub/doc/swagger_sample_stock_symbol.json": FailureKind.UNSUPPORTED,
    "finnhub/doc/swagger_sample_crypto_symbol.json": FailureKind.UNSUPPORTED,
    "finnhub/doc/swagger_sample_forex_symbol.json": FailureKind.UNSUPPORTED,
}

VENDORS: dict[str, Vendor] = {vendor.id: vendor for vendor in (NASDAQ, CBOE, FINNHUB)}
FIGURES = ("bid", "ask", "open", "high", "low", "previous_close", "volume")


def read(name: str, received_at: str) -> RecordedReading:
    """What a recording says; AAPL where its URL names no symbol."""
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
        instrument=parse_symbol("AAPL"),
    )


def row_of(quote: Quote) -> tuple[Any, ...]:
    """A quote as the table writes it."""
    event_time = None if quote.event_time is None else f"{quote.event_time:%Y-%m-%dT%H:%M:%S}"
    figures = {name: value for name in FIGURES if (value := getattr(quote, name)) is not None}
    return (quote.symbol, quote.price, quote.session, event_time, quote.event_time_resolution_s, figures)


@pytest.mark.parametrize("name", QUOTES)
def test_a_recorded_quote_says_what_its_payload_says(name: str) -> None:
    """Price, session, time and every figure beside them; what the payload does not tell is absent."""
    received_at, rows = QUOTES[name]
    reading = read(name, received_at)
    assert tuple(row_of(quote) for quote in reading.quotes) == rows
    assert {(q.source, q.received_at) for q in reading.quotes} == {(name.partition("/")[0], at(received_at))}
    currencies = {q.symbol: q.currency for q in reading.quotes}
    assert currencies == {symbol: None if symbol.startswith("^") else "USD" for symbol in currencies}


def test_a_recorded_watchlist_tells_which_row_has_no_price() -> None:
    """Beside the rows that have one."""
    reading = read("nasdaq/excerpt_watchlist_2026.json", "2026-09-25T18:40:30")
    assert reading.failures is not None
    assert {symbol: failure.kind for symbol, failure in reading.failures.items()} == {"BAD": FailureKind.NO_DATA}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_series_says_what_its_payload_says(name: str) -> None:
    """Oldest first, with its first and last bar."""
    received_at, (symbol, count, first, last) = HISTORIES[name]
    history = read(name, received_at).history
    assert history is not None
    ends = tuple(
        (f"{bar.start:%Y-%m-%d}", bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in (history.bars[0], history.bars[-1])
    )
    assert (history.symbol, len(history.bars), *ends) == (symbol, count, first, last)
    assert list(history.bars) == sorted(history.bars, key=lambda bar: bar.start)
    assert (history.partial_last_bar, history.currency, history.null_rows) == (False, "USD", ())


@pytest.mark.parametrize("name", FAILURES)
def test_a_recorded_refusal_has_its_public_code(name: str) -> None:
    """Endpoints that are not asked are unsupported."""
    failure = read(name, "2026-08-20T15:00:00").failure
    assert failure is not None
    assert (failure.source, failure.kind) == (name.partition("/")[0], FAILURES[name])


def test_the_official_close_is_the_same_at_two_sources() -> None:
    """Two recordings of one evening: Nasdaq's page and Cboe's file, an independent venue."""
    if not RECORDINGS.is_dir():
        pytest.skip("the shared recordings are not beside the project")
    (nasdaq,) = read("nasdaq/excerpt_info_aapl_closed_2026.json", "2026-07-25T21:25:50").quotes
    (cboe,) = read("cboe/quote_aapl_weekend_2026.json", "2026-07-25T21:25:50").quotes
    assert (nasdaq.price, nasdaq.previous_close) == (cboe.price, cboe.previous_close)
