"""Every recorded exchange of Polygon, read as the engine would read it.

Expected values are read off the payloads by hand; a recording that is not in these tables fails the test.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.vendors.polygon import POLYGON
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors.vendor_exchanges import at, recordings_of

LATER = "2026-08-12T15:00:00"
"""When a reply that does not tell is taken to have come."""

# When the reply came; then, by quote: symbol, price, session and event time, and the figures beside it.
QUOTES: dict[str, tuple[str, ...]] = {
    "real/2020_snapshot_v2_AAPL.json": (
        "2020-05-01T22:26:45",
        "AAPL 290.35 post 2020-05-01T22:25:16 b=290.05 a=290.4 o=286.25 h=299 l=285.85 pc=293.8 v=125419718",
        "AAPL 289.07 closed 2020-05-01T20:00:00 o=286.25 h=299 l=285.85 pc=293.8 v=125419718",
    ),
    "real/2020_prev_AAPL.json": (
        "2020-05-01T22:38:33",
        "AAPL 293.8 closed 2020-04-30T20:00:00 o=289.96 h=294.53 l=288.35 v=45755041",
    ),
    "real/2020_open_close_AAPL.json": (
        "2020-05-01T22:06:11",
        "AAPL 174.62 closed 2018-03-02T21:00:00 o=174.37 h=175.25 l=172.2 v=28738984",
    ),
    "real/2020_last_trade_v1_AAPL.json": ("2020-05-01T21:57:33", "AAPL 290.37 post 2020-05-01T21:57:32"),
    "real/2020_last_quote_v1_AAPL.json": (
        "2020-05-01T22:01:08",
        "AAPL 290.15 post 2020-05-01T22:01:01 b=290.15 a=290.25",
    ),
    "real/2020_snapshot_v2_crypto_XBTCUSD.json": (
        "2020-04-28T17:02:21",
        "BTC-USD 7723.54 regular 2020-04-28T17:02:19 o=7712.46 h=7775.09 l=7650 pc=7701.74 v=106026.47847933",
    ),
    "real/2020_last_quote_AUDUSD.json": (
        "2020-04-28T20:28:40",
        "AUDUSD 0.6494 regular 2020-04-28T20:28:37 b=0.6494 a=0.6498",
    ),
    "real/2022_snapshot_v2_AAPL_regular_hours.json": (
        "2022-04-29T17:05:49",
        "AAPL 159.99 regular 2022-04-29T17:05:48 b=159.98 a=159.99 o=161.84 h=166.2 l=159.8 pc=163.64 v=68840127",
    ),
    # Both previous closes are from before a reverse split.
    "real/2022_snapshot_v2_gainers.json": (
        "2022-04-29T17:05:49",
        "NVCN 6.42 regular 2022-04-29T16:55:34 b=6.4 a=6.43 o=6.81 h=6.99 l=6.4 v=115782",
        "BIOL 4.2116 regular 2022-04-29T17:03:09 b=4.21 a=4.22 o=4.31 h=4.95 l=4.21 v=453199",
    ),
    "real/2022_last_trade_v2_AAPL.json": (LATER, "AAPL 166.25 post 2022-04-28T20:55:19"),
    "real/2022_last_nbbo_v2_AAPL.json": (LATER, "AAPL 155.65 regular 2022-05-10T14:25:54 b=155.65 a=155.66"),
    "real/2022_prev_AAPL.json": (LATER, "AAPL 156.8 closed 2022-04-26T20:00:00 o=162.25 h=162.34 l=156.72 v=95595226"),
    "real/2020_grouped_daily_one_row.json": (
        LATER,
        "GIK 10.02 closed 2020-10-14T20:00:00 o=9.99 h=10.02 l=9.9 v=895345",
    ),
    "real/2021_open_close_AAPL.json": (
        LATER,
        "AAPL 123 closed 2021-04-01T20:00:00 o=123.66 h=124.18 l=122.49 v=75089134",
    ),
    "real/2022_last_crypto_BTCUSD.json": (LATER, "BTC-USD 39976.89682331 regular 2022-04-28T21:13:29"),
    "real_quoted/grouped_daily_2026_fractional_volume.json": (
        LATER,
        "XLRE 44.98 closed 2026-08-07T20:00:00 o=44.83 h=45.255 l=44.71 v=3863635.4",
    ),
    "real_quoted/prev_AAPL_2026.json": (
        LATER,
        "AAPL 308.26 closed 2026-08-10T20:00:00 o=306.83 h=308.26 l=304.61 v=44812494",
    ),
    "doc/snapshot_v2_all_sample.json": (
        LATER,
        "BCAT 20.506 regular 2020-11-12T14:54:54 b=20.5 a=20.6 o=20.64 h=20.64 l=20.506 pc=20.63 v=37216",
    ),
    "doc/massive_stocks_full_market_snapshot.json": (
        LATER,
        "BCAT 20.506 regular 2020-11-12T14:54:54 b=20.5 a=20.6 o=20.64 h=20.64 l=20.506 pc=20.63 v=37216",
    ),
    "doc/massive_stocks_single_ticker_snapshot.json": (
        LATER,
        "AAPL 120.47 regular 2020-11-12T15:45:18 b=120.46 a=120.47 o=119.62 h=120.53 l=118.81 pc=119.49 v=28727868",
    ),
    # The last trade of 0.05 in these samples is of a session that is over, whose close is given.
    "doc/snapshot_v3_unified_sample.json": (
        LATER,
        "AAPL 21.4 closed 2023-02-01T21:00:00 o=22.49 h=22.49 l=21.35 pc=22.45 v=37",
    ),
    "doc/massive_indices_unified_snapshot.json": (
        LATER,
        "AAPL 21.4 closed 2023-02-01T21:00:00 o=22.49 h=22.49 l=21.35 pc=22.45 v=37",
    ),
    "doc/massive_stocks_unified_snapshot.json": (
        LATER,
        "AAPL 21.4 closed 2023-02-01T21:00:00 o=22.49 h=22.49 l=21.35 pc=22.45 v=37",
    ),
    # The low of these two samples is above their high.
    "doc/snapshot_v3_indices_sample_with_errors.json": (LATER, "^GSPC 3822.39 closed untimed o=3827.38 pc=3812.19"),
    "doc/massive_indices_indices_snapshot.json": (
        LATER,
        "^DJI 3822.39 regular 2023-03-23T18:45:16 o=3827.38 pc=3812.19",
    ),
    "doc/summaries_sample.json": (
        LATER,
        "NCLH 22.3 closed untimed o=22.49 h=22.49 l=21.35 pc=22.45 v=37",
        "EURUSD 0.97989 regular untimed o=0.97889 h=0.98999 l=0.96689 pc=0.98001",
        "BTC-USD 32154.68 regular untimed o=31129.32 h=33124.28 l=28182.88 pc=33362.18",
    ),
    "doc/massive_crypto_daily_ticker_summary_ohlc.json": (
        LATER,
        "BTC-USD 11050.64 closed 2020-10-10T00:00:00 o=10932.44",
    ),
    "doc/massive_crypto_previous_day_bar_ohlc.json": (
        LATER,
        "BTC-USD 16035.9 closed 2020-11-16T00:00:00 o=15937.1 h=16180 l=15639.2 v=95045.16897951",
    ),
    "doc/massive_crypto_single_ticker_snapshot.json": (
        LATER,
        "BTC-USD 16242.31 regular 2020-11-13T19:03:50 o=16418.07 h=16428.4 l=15830.4 pc=16399.24 v=105008.84231068",
    ),
    "doc/massive_crypto_last_trade.json": (LATER, "BTC-USD 16835.42 regular 2020-11-16T21:08:05"),
    "doc/massive_forex_previous_day_bar_ohlc.json": (
        LATER,
        "EURUSD 1.06206 closed 2022-05-05T00:00:00 o=1.05252 h=1.0631 l=1.0505",
    ),
    "doc/massive_forex_last_quote.json": (LATER, "AUDUSD 0.73122 regular 2020-11-16T20:15:56 b=0.73122 a=0.73124"),
    "doc/massive_forex_single_ticker_snapshot.json": (
        LATER,
        "EURUSD 1.18403 regular 2020-11-23T20:35:59 b=1.18398 a=1.18403 o=1.18725 h=1.1906 l=1.18001 pc=1.18724",
    ),
    "doc/massive_indices_daily_ticker_summary_ohlc.json": (
        LATER,
        "^NDX 11830.28178808306 closed 2023-03-10T21:00:00 o=12001.69552583921 h=12069.62262033557 l=11789.85923449393",
    ),
    "doc/massive_indices_previous_day_bar_ohlc.json": (
        LATER,
        "^NDX 15070.14948566977 closed 2023-06-20T20:00:00 o=15036.48391066877 h=15127.4195807999 l=14946.7243781848",
    ),
    "doc/massive_stocks_daily_market_summary_ohlc.json": (
        LATER,
        "KIM.PL 25.9102 closed 2020-10-14T20:00:00 o=26.07 h=26.25 l=25.91 v=4369",
        "TANH 23.4 closed 2020-10-14T20:00:00 o=24.5 h=24.763 l=22.65 v=25933.6",
        "VSAT 34.24 closed 2020-10-14T20:00:00 o=34.9 h=35.47 l=34.21 v=312583",
    ),
    "doc/massive_stocks_daily_ticker_summary_ohlc.json": (
        LATER,
        "AAPL 325.12 closed 2023-01-09T21:00:00 o=324.66 h=326.2 l=322.3 v=26122646",
    ),
    "doc/massive_stocks_previous_day_bar_ohlc.json": (
        LATER,
        "AAPL 115.97 closed 2020-11-10T21:00:00 o=115.55 h=117.59 l=114.13 v=131704427",
    ),
    "doc/massive_stocks_last_quote.json": (LATER, "AAPL 127.96 post 2021-04-07T20:27:01 b=127.96 a=127.98"),
    "doc/massive_stocks_last_trade.json": (LATER, "AAPL 129.8473 regular 2021-04-08T17:02:22"),
}

ITEM_FAILURES: dict[str, dict[str, str]] = {
    "doc/snapshot_v3_unified_sample.json": {"O:NCLH221014C00005000": "unsupported", "TSLAAPL": "unknown_symbol"},
    "doc/massive_indices_unified_snapshot.json": {"O:NCLH221014C00005000": "unsupported", "TSLAAPL": "unknown_symbol"},
    "doc/massive_stocks_unified_snapshot.json": {"O:NCLH221014C00005000": "unsupported", "TSLAAPL": "unknown_symbol"},
    "doc/snapshot_v3_indices_sample_with_errors.json": {"APx": "unknown_symbol", "APy": "not_entitled"},
    "doc/massive_indices_indices_snapshot.json": {"APx": "unknown_symbol", "APy": "not_entitled"},
    "doc/summaries_sample.json": {"O:NCLH221014C00005000": "unsupported", "APx": "unknown_symbol"},
}

COINS = {
    "XVG-USD": 0.00295095,
    "CMT-USD": 0.0084,
    "CRPT-USD": 0.251154,
    "CTXC-USD": 0.0894,
    "AVT-USD": 0.054,
    "DTH-USD": 0.0017371,
    "LET-USD": 0.002335,
    "BCD-USD": 0.535,
    "NEXO-USD": 0.1198683,
    "STX-USD": 0.104,
}
ALL_COINS = "real/2020_snapshot_v2_crypto_all.json"

RANGE = "https://api.massive.com/v2/aggs/ticker/"
HISTORIES: dict[str, tuple[str | None, tuple[Any, ...]]] = {
    "real/2020_aggs_day_AAPL.json": (
        None,
        (
            "AAPL",
            21,
            ("2019-01-02", 154.89, 158.85, 154.23, 157.92, 37039737.0),
            ("2019-01-31", 166.11, 169.0, 164.56, 166.44, 40739649.0),
        ),
    ),
    "real/2024_aggs_day_AAPL.json": (
        None,
        (
            "AAPL",
            6,
            ("2023-01-03", 130.28, 130.9, 124.17, 125.07, 112117471.0),
            ("2023-01-10", 130.26, 131.2636, 128.12, 130.73, 63896155.0),
        ),
    ),
    "real/2024_aggs_day_XBTCUSD.json": (
        None,
        (
            "BTC-USD",
            10,
            ("2023-01-01", 16532.0, 16644.0, 16490.0, 16611.58, 12300.315533316923),
            ("2023-01-10", 17177.94, 17506.0, 17145.1, 17443.46, 28242.029977765436),
        ),
    ),
    # Of ten rows three are stubs of a Saturday and of two Sundays.
    "real/2024_aggs_day_CEURUSD.json": (
        None,
        (
            "EURUSD",
            7,
            ("2023-01-02", 1.07027, 1.071, 1.0645, 1.06764, None),
            ("2023-01-10", 1.07325, 1.07593, 1.071, 1.07383, None),
        ),
    ),
    "doc/massive_stocks_custom_bars_ohlc.json": (
        f"{RANGE}AAPL/range/1/day/2020-01-01/2020-01-10",
        (
            "AAPL",
            2,
            ("2020-01-02", 74.06, 75.15, 73.7975, 75.0875, 135647456.0),
            ("2020-01-03", 74.2875, 75.145, 74.125, 74.3575, 146535512.0),
        ),
    ),
    "doc/massive_crypto_custom_bars_ohlc.json": (
        f"{RANGE}X:BTCUSD/range/1/day/{{from}}/{{to}}",
        (
            "BTC-USD",
            2,
            ("2020-06-01", 9557.9, 10429.26, 9490.0, 10094.75, 303067.6562332156),
            ("2020-06-02", 10096.87, 10222.72, 9135.68, 9492.62, 323339.6922892879),
        ),
    ),
    "doc/massive_forex_custom_bars_ohlc.json": (
        f"{RANGE}C:EURUSD/range/1/day/2021-07-22/2021-07-22",
        (
            "EURUSD",
            1,
            ("2021-07-22", 1.17921, 1.18305, 1.1756, 1.17721, None),
            ("2021-07-22", 1.17921, 1.18305, 1.1756, 1.17721, None),
        ),
    ),
    "doc/massive_indices_custom_bars_ohlc.json": (
        f"{RANGE}I:NDX/range/1/day/2023-03-09/2023-03-10",
        (
            "^NDX",
            2,
            ("2023-03-09", 12230.83658266843, 12340.44936267155, 11970.34221717375, 11995.88235998666, None),
            ("2023-03-10", 12001.69552583921, 12069.62262033557, 11789.85923449393, 11830.28178808306, None),
        ),
    ),
}

FAILURES: dict[str, FailureKind] = {
    # A conversion is rounded to cents, and its rate is that of the inverse pair whatever its symbol says.
    "real/2020_conversion_AUDUSD.json": FailureKind.UNSUPPORTED,
    "real/2022_conversion_AUDUSD.json": FailureKind.UNSUPPORTED,
    "doc/massive_forex_currency_conversion.json": FailureKind.UNSUPPORTED,
    "real/2020_splits_AAPL.json": FailureKind.UNSUPPORTED,
    "doc/massive_stocks_splits.json": FailureKind.UNSUPPORTED,
    "doc/massive_stocks_market_status.json": FailureKind.UNSUPPORTED,
    "doc/massive_stocks_all_tickers.json": FailureKind.UNSUPPORTED,
    "real_quoted/error_403_not_entitled_2026.json": FailureKind.NOT_ENTITLED,
    "real_quoted/error_429_rate_limited.json": FailureKind.THROTTLED,
    "real_quoted/error_401_unknown_api_key.json": FailureKind.UNAUTHORIZED,
    "real_quoted/aggs_day_GGE_CORRUPT_foreign_row_2020.json": FailureKind.MALFORMED_REPLY,
}
FIGURES = {"b": "bid", "a": "ask", "o": "open", "h": "high", "l": "low", "pc": "previous_close", "v": "volume"}


def described(quote: Quote) -> tuple[Any, ...]:
    """A quote as the table describes it."""
    time = "untimed" if quote.event_time is None else f"{quote.event_time:%Y-%m-%dT%H:%M:%S}"
    told = {name: getattr(quote, name) for name in FIGURES.values() if getattr(quote, name) is not None}
    return quote.symbol, quote.price, quote.session.value, time, told


def expected(line: str) -> tuple[Any, ...]:
    """A line of the table."""
    symbol, price, session, time, *figures = line.split()
    told = {FIGURES[name]: float(value) for name, value in (figure.split("=") for figure in figures)}
    return symbol, float(price), session, time, told


def read(name: str, received_at: str = LATER, url: str | None = None) -> RecordedReading:
    """What a recording says; where its URL was not kept, the commonest call is taken."""
    folder = recordings_of("polygon")
    (entry,) = (e for e in json.loads((folder / "index.json").read_bytes()) if e["file"] == name)
    return read_recorded(
        POLYGON,
        url or entry.get("url", "https://api.massive.com/v2/aggs/ticker/AAPL/prev"),
        (folder / name).read_bytes(),
        status=entry["status"],
        received_at=at(received_at),
    )


@pytest.mark.parametrize("name", QUOTES)
def test_a_recorded_quote_says_what_its_payload_says(name: str) -> None:
    """With the session and the time of each price, and the reason of each symbol that has none."""
    received_at, *lines = QUOTES[name]
    reading = read(name, received_at)
    assert [described(quote) for quote in reading.quotes] == [expected(line) for line in lines]
    failures = {symbol: failure.kind.value for symbol, failure in (reading.failures or {}).items()}
    assert failures == ITEM_FAILURES.get(name, {})


def test_a_recorded_list_of_coins_has_the_last_trade_of_each() -> None:
    """In milliseconds, some of them days old; the snapshots' own stamps lie hours ahead."""
    received_at = "2020-04-28T16:06:23"
    quotes = read(ALL_COINS, received_at).quotes
    assert {q.symbol: q.price for q in quotes} == COINS
    assert all(q.event_time is not None and q.event_time < at(received_at) for q in quotes)


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_series_says_what_its_payload_says(name: str) -> None:
    """Oldest first, with its first and last bar."""
    url, (symbol, count, first, last) = HISTORIES[name]
    history = read(name, url=url).history
    assert history is not None
    ends = [
        (str(bar.day), bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in (history.bars[0], history.bars[-1])
    ]
    assert (history.symbol, len(history.bars), *ends) == (symbol, count, first, last)
    assert history.partial_last_bar is False


@pytest.mark.parametrize("name", FAILURES)
def test_a_recorded_refusal_has_its_public_code(name: str) -> None:
    """Calls that nobody reads are unsupported."""
    failure = read(name).failure
    assert failure is not None
    assert (failure.source, failure.kind) == ("polygon", FAILURES[name])


@pytest.mark.parametrize("name", [name for name, (url, _) in HISTORIES.items() if url is not None])
def test_a_documented_series_that_names_nothing_is_a_bad_request(name: str) -> None:
    """Neither symbol nor length are guessed."""
    failure = read(name).failure
    assert failure is not None
    assert failure.kind is FailureKind.BAD_REQUEST


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("real/2022_prev_AAPL.json", "/v2/aggs/ticker/MSFT/prev"),
        ("real/2022_last_trade_v2_AAPL.json", "/v2/last/trade/MSFT"),
        ("real/2022_snapshot_v2_AAPL_regular_hours.json", "/v2/snapshot/locale/us/markets/stocks/tickers/MSFT"),
        ("real/2024_aggs_day_AAPL.json", "/v2/aggs/ticker/MSFT/range/1/day/2023-01-01/2023-01-10"),
        ("real/2024_aggs_day_AAPL.json", "/v2/aggs/ticker/AAPL/range/1/day/2024-01-01/2024-01-10"),
        ("real/2020_open_close_AAPL.json", "/v1/open-close/MSFT/2018-03-02"),
    ],
)
def test_a_recorded_body_does_not_answer_another_question(name: str, url: str) -> None:
    """Another symbol, another range."""
    failure = read(name, url=f"https://api.massive.com{url}").failure
    assert failure is not None
    assert failure.kind is FailureKind.MALFORMED_REPLY


def test_every_recording_is_in_a_table() -> None:
    """A new recording has to be looked at."""
    entries = json.loads((recordings_of("polygon") / "index.json").read_bytes())
    listed = [ALL_COINS, *(name for table in (QUOTES, HISTORIES, FAILURES) for name in table)]
    assert sorted(entry["file"] for entry in entries) == sorted(listed)
