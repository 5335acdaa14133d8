"""Calls that are never sent and can be read: each says what a made-up reply says, and none of them is ever planned."""

from __future__ import annotations

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors.read_only_exchanges import RECEIVED, Bars, ReadOnly
from vendors.read_only_prices import PRICES
from vendors.read_only_series import SERIES
from vendors.recorded_corpus import BY_ID


def read(vendor: str, url: str, body: str, symbol: str | None = None) -> RecordedReading:
    """What a reply says."""
    instrument = None if symbol is None else parse_symbol(symbol)
    return read_recorded(BY_ID[vendor], url, body.encode(), status=200, received_at=RECEIVED, instrument=instrument)


@pytest.mark.parametrize("exchange", [*PRICES, *SERIES], ids=lambda e: f"{e.vendor} {e.url[:60]}")
def test_a_reply_to_a_call_that_is_never_sent_is_read(exchange: ReadOnly) -> None:
    """Whole values; the vendor's own number, time, unit and basis."""
    reading = read(exchange.vendor, exchange.url, exchange.body)
    assert reading.failure is None
    if not isinstance(exchange.says, Bars):
        assert (reading.quotes, reading.failures) == (exchange.says, {})
        return
    history = reading.history
    assert history is not None
    assert exchange.says == Bars(
        history.symbol, history.interval, history.adjustment, history.bars, history.notes, history.currency
    )
    assert history.partial_last_bar is False


@pytest.mark.parametrize("vendor", BY_ID)
def test_a_call_that_is_only_read_refuses_every_question_and_builds_nothing(vendor: str) -> None:
    """Whoever plans one by mistake gets no request."""
    for offer in BY_ID[vendor].readable:
        assert offer.refuses(None)
        assert offer.build(None) == ()
        assert offer not in BY_ID[vendor].offers


@pytest.mark.parametrize(
    ("vendor", "url", "body", "kind"),
    [
        ("twelve_data", "/price?symbol=VOD.L", '{"price":"71.5"}', FailureKind.MALFORMED_REPLY),
        ("twelve_data", "/price?symbol=ACME", '{"price":"0.00000"}', FailureKind.NO_DATA),
        ("twelve_data", "/price?symbol=ACME", '{"price":"-1.5"}', FailureKind.MALFORMED_REPLY),
        ("twelve_data", "/price?symbol=ACME&format=CSV", "price\n1\n2\n", FailureKind.MALFORMED_REPLY),
        (
            "twelve_data",
            "/price?symbol=ACME",
            '{"code":429,"message":"You have run out of API credits for the current minute.","status":"error"}',
            FailureKind.THROTTLED,
        ),
        (
            "twelve_data",
            "/exchange_rate?symbol=EUR/USD",
            '{"symbol":"GBP/USD","rate":1.3,"timestamp":1787239561}',
            FailureKind.MALFORMED_REPLY,
        ),
        (
            "twelve_data",
            "/time_series?symbol=VOD.L&interval=1day&format=CSV",
            "datetime;open;high;low;close\n2026-08-19;71;72;70;71.5\n",
            FailureKind.MALFORMED_REPLY,
        ),
        (
            "alpha_vantage",
            "/query?function=TIME_SERIES_DAILY&symbol=ACME&datatype=csv",
            '{"Information":"standard API rate limit is 25 requests per day"}',
            FailureKind.QUOTA_EXHAUSTED,
        ),
        (
            "alpha_vantage",
            "/query?function=TIME_SERIES_DAILY&symbol=ACME&datatype=csv",
            "timestamp,open,high,low,close,volume\n2026-08-19,1,1,1,1,1\n2026-08-19,2,2,2,2,2\n",
            FailureKind.MALFORMED_REPLY,
        ),
        (
            "alpha_vantage",
            "/query?function=TIME_SERIES_DAILY&symbol=ACME&datatype=csv",
            "timestamp,open,high,low\n2026-08-19,1,1,1\n",
            FailureKind.MALFORMED_REPLY,
        ),
        ("tiingo", "/tiingo/crypto/top?tickers=btcusd", "[]", FailureKind.UNKNOWN_SYMBOL),
        ("tiingo", "/tiingo/fx/top?tickers=eurusd", '{"detail":"Not today."}', FailureKind.SOURCE_ERROR),
        ("tiingo", "/tiingo/crypto/top?tickers=acme", "[]", FailureKind.BAD_REQUEST),
        ("iex_cloud", "/stable/stock/ACME/price", "0", FailureKind.NO_DATA),
        ("iex_cloud", "/stable/stock/ACME/price", '"Unknown symbol"', FailureKind.MALFORMED_REPLY),
        (
            "iex_cloud",
            "/stable/stock/ACME/ohlc",
            '{"symbol":"BOLT","close":{"price":1.5,"time":1787169600000}}',
            FailureKind.MALFORMED_REPLY,
        ),
        ("iex_cloud", "/stable/stock/ACME/ohlc", '{"symbol":"ACME","close":null}', FailureKind.NO_DATA),
        ("iex_cloud", "/stable/fx/latest?symbols=EURUSD", "[]", FailureKind.UNKNOWN_SYMBOL),
        ("finnhub", "/api/v1/crypto/candle?symbol=BINANCE:BTCUSDT", '{"s":"no_data"}', FailureKind.NO_DATA),
        ("finnhub", "/api/v1/crypto/candle?symbol=ACME", '{"s":"no_data"}', FailureKind.BAD_REQUEST),
        (
            "cboe",
            "/api/global/us_indices/daily_prices/VIX_History.csv",
            "DATE,SPX\n08/19/2026,6500.25\n",
            FailureKind.MALFORMED_REPLY,
        ),
        (
            "nasdaq",
            "/api/quote/ACME/chart?assetclass=stocks",
            '{"data":null,"status":{"rCode":200}}',
            FailureKind.NO_DATA,
        ),
        (
            "yahoo",
            "/v7/finance/spark?symbols=ACME",
            '{"spark":{"result":[{"symbol":"BOLT","response":[]}],"error":null}}',
            FailureKind.UNKNOWN_SYMBOL,
        ),
        (
            "yahoo",
            "/v10/finance/quoteSummary/ACME?modules=price",
            '{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}',
            FailureKind.UNAUTHORIZED,
        ),
    ],
)
def test_what_is_no_such_reply_has_its_public_code(vendor: str, url: str, body: str, kind: FailureKind) -> None:
    """Units that are not told, prices of zero, other symbols, errors in place of tables."""
    failure = read(vendor, url, body).failure
    assert failure is not None
    assert failure.kind is kind
