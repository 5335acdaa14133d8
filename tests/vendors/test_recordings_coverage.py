"""Every recorded reply of every folder is in a table: with its values, with its failure, or with why it has none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, Quote, Session
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors import (
    test_alpha_vantage_recordings,
    test_iex_cloud_recordings,
    test_keyless_recordings,
    test_twelve_data_recordings,
    test_yahoo_recordings,
)
from vendors.recorded_corpus import BY_ID, FOLDERS
from vendors.vendor_exchanges import RECORDINGS, at, recordings_of

SYMBOLS: Final = "a list of symbols"
STATUS: Final = "whether a market is open"
DESCRIPTION: Final = "a description without a price"
USAGE: Final = "how much of a quota is used"
OTHER_SERVICE: Final = "a service that no source of ours is"

NEITHER_PRICE_NOR_BARS: Final[dict[str, str]] = {
    "yahoo/search_aapl.json": SYMBOLS,
    "alpha_vantage/symbol_search_ba.json": SYMBOLS,
    "cboe/index_definitions_first20_2026.json": DESCRIPTION,
    "finnhub/real_quoted/market_status_US_regular.json": STATUS,
    "finnhub/doc/swagger_sample_stock_market_status.json": f"documentation: {STATUS}",
    "finnhub/doc/swagger_sample_stock_bidask.json": "documentation: a book without a price",
    "finnhub/doc/swagger_sample_forex_rates.txt": "documentation that is no JSON: rates without a time",
    "finnhub/doc/swagger_sample_search.json": f"documentation: {SYMBOLS}",
    "finnhub/doc/swagger_sample_stock_symbol.json": f"documentation: {SYMBOLS}",
    "finnhub/doc/swagger_sample_crypto_symbol.json": f"documentation: {SYMBOLS}",
    "finnhub/doc/swagger_sample_forex_symbol.json": f"documentation: {SYMBOLS}",
    "iex_cloud/real/refdata_isin.json": SYMBOLS,
    "iex_cloud/real/stats_MSFT.json": DESCRIPTION,
    "iex_cloud/doc/apperate_historical_AAPL_array.json": "documentation: a user's own table, whose columns are his",
    "tiingo/meta_googl_2017.json": DESCRIPTION,
    "tiingo/crypto_meta_2017.json": DESCRIPTION,
    "twelvedata/real/2021_api_usage_basic_plan.json": USAGE,
    "twelvedata/real/2021_api_usage_basic_plan_csv.csv": USAGE,
    "twelvedata/synthetic/post_batch_mixed.json": "several calls in one POST, under names that only its sender knows",
    "iex_successors/real/intrinio_realtime_AAPL_source_iex.json": OTHER_SERVICE,
    "iex_successors/doc/massive_websocket_feeds.json": "documentation: names of feeds",
    "cnbc/excerpt_quote_vix_2026.json": OTHER_SERVICE,
}
"""Recordings that say nothing we could tell, and what they are instead."""

DELEGATED: Final = frozenset({"polygon"})
"""Folders that have their tables and their test of completeness in a file of their own."""

LISTING: Final = "the reply names no currency; it is that of the listing"
UNTIMED: Final = "the reply gives no time; the session is the one at receipt"

READ_ONLY_QUOTES: Final[dict[str, tuple[str, tuple[Quote, ...]]]] = {
    "twelvedata/real/2021_price_IBM_csv.csv": (
        "2021-07-01T17:23:00",
        (
            Quote(
                symbol="IBM",
                source="twelve_data",
                price=146.55,
                session=Session.REGULAR,
                received_at=at("2021-07-01T17:23:00"),
                currency="USD",
                notes=(LISTING, UNTIMED),
            ),
        ),
    ),
    "twelvedata/real/2025_currency_conversion.json": (
        "2025-08-07T08:36:40",
        (
            Quote(
                symbol="EURUSD",
                source="twelve_data",
                price=1.16844,
                session=Session.REGULAR,
                received_at=at("2025-08-07T08:36:40"),
                event_time=at("2025-08-07T08:36:00"),
                event_time_resolution_s=60.0,
                currency="USD",
            ),
        ),
    ),
    "tiingo/crypto_top_2019.json": (
        "2019-10-13T20:20:05",
        (
            Quote(
                symbol="BTC-USD",
                source="tiingo",
                price=8220.83,
                session=Session.REGULAR,
                received_at=at("2019-10-13T20:20:05"),
                event_time=at("2019-10-13T20:20:03.712"),
                currency="USD",
                bid=10160.51,
                ask=8209.92,
            ),
            Quote(
                symbol="FLDC-BTC",
                source="tiingo",
                price=5e-08,
                session=Session.REGULAR,
                received_at=at("2019-10-13T20:20:05"),
                event_time=at("2019-10-13T07:45:21.210"),
                currency="BTC",
                bid=4e-08,
                ask=8e-08,
            ),
        ),
    ),
    "iex_cloud/real/crypto_quote_BTCUSDT.json": (
        "2019-04-05T03:12:28",
        (
            Quote(
                symbol="BTC-USDT",
                source="iex_cloud",
                price=3563.22,
                session=Session.REGULAR,
                received_at=at("2019-04-05T03:12:28"),
                event_time=at("2019-01-22T15:00:40.296"),
                currency="USDT",
                bid=3562.94,
                ask=3563.22,
                open=3527.79,
                high=3590.51,
                low=3434.85,
                previous_close=3527.79,
                volume=28053.196533,
            ),
        ),
    ),
    "iex_cloud/real/fx_latest_1.json": (
        "2021-07-23T13:10:30",
        (
            Quote(
                symbol="USDCAD",
                source="iex_cloud",
                price=1.25674,
                session=Session.REGULAR,
                received_at=at("2021-07-23T13:10:30"),
                event_time=at("2021-07-23T13:10:29.863"),
                currency="CAD",
            ),
        ),
    ),
    "iex_cloud/real/ohlc_MSFT.json": (
        "2019-04-05T03:00:00",
        (
            Quote(
                symbol="MSFT",
                source="iex_cloud",
                price=119.36,
                session=Session.CLOSED,
                received_at=at("2019-04-05T03:00:00"),
                event_time=at("2019-04-04T20:00:00.193"),
                currency="USD",
                open=120.0,
                high=120.23,
                low=118.38,
                notes=(LISTING,),
            ),
        ),
    ),
}
"""Prices of calls that we never send."""

Ends = tuple[str, Adjustment, int, Bar, Bar, tuple[str, ...]]
"""Symbol, basis, number of bars, the first and the last of them, and notes."""

READ_ONLY_SERIES: Final[dict[str, tuple[str | None, Ends]]] = {
    "twelvedata/real/2021_time_series_1day_IBM_csv.csv": (
        None,
        (
            "IBM",
            Adjustment.SPLITS,
            30,
            Bar(at("2021-05-20"), 143.17, 144.89999, 142.16, 143.87, 3666726.0),
            Bar(at("2021-07-01"), 146.96001, 147.5, 146.55, 146.84, 2665427.0),
            (LISTING,),
        ),
    ),
    "cboe/index_daily_csv_2026.csv": (
        None,
        (
            "^AAVE10RP",
            Adjustment.SPLITS,
            277,
            Bar(at("2021-11-21"), 260.9566, 260.9566, 260.9566, 260.9566),
            Bar(at("2022-10-24"), 87.2928, 87.2928, 87.2928, 87.2928),
            ("the file holds one level a day, which stands for all four prices",),
        ),
    ),
    "finnhub/doc/swagger_sample_crypto_candle.json": (
        "BTC-USD",
        (
            "BTC-USD",
            Adjustment.SPLITS,
            4,
            Bar(at("2019-09-16"), 1.0996, 1.1074, 1.09897, 1.10713, 75789.0),
            Bar(at("2019-09-19"), 1.10398, 1.10595, 1.10101, 1.10182, 5138.0),
            (),
        ),
    ),
    # A forex day begins at 17:00 in New York, on the evening before.
    "finnhub/doc/swagger_sample_forex_candle.json": (
        "EURUSD",
        (
            "EURUSD",
            Adjustment.SPLITS,
            4,
            Bar(at("2019-09-17"), 1.0996, 1.1074, 1.09897, 1.10713, 75789.0),
            Bar(at("2019-09-20"), 1.10398, 1.10595, 1.10101, 1.10182, 5138.0),
            (),
        ),
    ),
}
"""Bars of calls that we never send, with the symbol to name where the URL does not."""


def read(name: str, received_at: datetime, symbol: str | None = None) -> RecordedReading:
    """What a recording says, to the vendor whose folder it lies in."""
    folder, _, file = name.partition("/")
    entries = json.loads((recordings_of(folder) / "index.json").read_bytes())
    (entry,) = (e for e in entries if e["file"] == file)
    return read_recorded(
        BY_ID[FOLDERS.get(folder, folder)],
        entry.get("url") or "",
        (RECORDINGS / folder / file).read_bytes(),
        status=200,
        received_at=received_at,
        instrument=None if symbol is None else parse_symbol(symbol),
    )


@pytest.mark.parametrize("name", READ_ONLY_QUOTES)
def test_a_recorded_price_of_a_call_that_is_never_sent_is_read(name: str) -> None:
    """Whole values, as the payload tells them."""
    received_at, quotes = READ_ONLY_QUOTES[name]
    assert read(name, at(received_at)).quotes == quotes


@pytest.mark.parametrize("name", READ_ONLY_SERIES)
def test_recorded_bars_of_a_call_that_is_never_sent_are_read(name: str) -> None:
    """Oldest first."""
    symbol, expected = READ_ONLY_SERIES[name]
    history = read(name, datetime(2026, 11, 20, 15, tzinfo=UTC), symbol).history
    assert isinstance(history, History)
    ends = (history.bars[0], history.bars[-1])
    assert (history.symbol, history.adjustment, len(history.bars), *ends, history.notes) == expected
    assert (history.interval, history.partial_last_bar) == (Interval.DAY_1, False)
    assert list(history.bars) == sorted(history.bars, key=lambda bar: bar.start)


@pytest.mark.parametrize("name", [n for n in NEITHER_PRICE_NOR_BARS if not n.startswith("cnbc/")])
def test_a_recording_without_price_or_bars_is_unsupported(name: str) -> None:
    """It is not misread as one of the calls that we know."""
    failure = read(name, datetime(2026, 11, 20, 15, tzinfo=UTC), "AAPL").failure
    assert failure is not None
    assert failure.kind is FailureKind.UNSUPPORTED


def _tables() -> set[str]:
    """Every recording that a table of these tests names, with its folder."""
    keyless, iex, yahoo = test_keyless_recordings, test_iex_cloud_recordings, test_yahoo_recordings
    named = {*NEITHER_PRICE_NOR_BARS, *READ_ONLY_QUOTES, *READ_ONLY_SERIES}
    for table in (keyless.QUOTES, keyless.HISTORIES, keyless.FAILURES, iex.QUOTES, iex.HISTORIES, iex.FAILURES):
        named |= set(table)
    for own in (yahoo.QUOTES, yahoo.SERIES, yahoo.FAILURES, yahoo.TOKENS):
        named |= {f"yahoo/{name}" for name in own}
    alpha, twelve = test_alpha_vantage_recordings, test_twelve_data_recordings
    for of_alpha in (alpha.QUOTES, alpha.FAILURES, (alpha.DAILY, alpha.EXTENDED)):
        named |= {f"alpha_vantage/{name}" for name in of_alpha}
    for of_twelve in (twelve.QUOTES, twelve.HISTORIES, twelve.FAILURES):
        named |= {f"twelvedata/{name}" for name in of_twelve}
    return named


def _recorded(folder: Path) -> set[str]:
    return {f"{folder.name}/{entry['file']}" for entry in json.loads((folder / "index.json").read_bytes())}


def test_every_recording_of_every_folder_is_in_a_table() -> None:
    """A new recording, or a new folder, has to be looked at."""
    folders = [index.parent for index in RECORDINGS.glob("*/index.json") if index.parent.name not in DELEGATED]
    if not folders:
        pytest.skip("THE SHARED RECORDINGS ARE NOT BESIDE THE PROJECT: none is checked")
    recorded = set().union(*(_recorded(folder) for folder in folders))
    assert recorded == _tables()


def test_every_file_of_a_folder_is_in_its_index() -> None:
    """No reply lies there unread because nobody wrote down what it is."""
    for index in RECORDINGS.glob("*/index.json"):
        folder = index.parent
        files = {f"{folder.name}/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}
        unlisted = files - _recorded(folder) - {f"{folder.name}/index.json"}
        assert {name for name in unlisted if "/spec/" not in name} == set()
