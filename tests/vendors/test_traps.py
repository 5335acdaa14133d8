"""Traps that several vendors set, or that no other file is about: each fails when its handling is taken away."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Adjustment
from mdagent_mcp.domain.vendor import RecordedUrl, Reply
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors.exchange_spoiling import places
from vendors.recorded_corpus import BY_ID, Exchange, fixtures
from vendors.vendor_exchanges import at, fixture

VOLUMES: Final = frozenset(
    [
        *"volume v latestvolume stock_volume uvolume adjvolume regularmarketvolume totalvolume".split(),
        *("5. volume", "6. volume", "06. volume"),
    ]
)
REFUSING: Final = frozenset({"polygon"})
"""Vendors of whose replies nothing is read when a volume is below zero."""
WITHOUT_EPOCHS: Final = frozenset({"alpha_vantage", "cboe", "nasdaq", "tiingo"})
"""Vendors whose times are words, not numbers."""
CHART: Final = "https://x.example/v8/finance/chart/ACME?interval=1d"


def read(exchange: Exchange) -> RecordedReading:
    """What an exchange says."""
    return read_recorded(exchange.vendor, exchange.url, exchange.body, status=200, received_at=exchange.received_at)


def negative(value: Any) -> Any:
    """A number, written as it was, below zero."""
    if isinstance(value, list):
        return [negative(element) for element in value]
    if isinstance(value, dict):
        return {key: negative(member) for key, member in value.items()}
    if isinstance(value, str):
        return f"-{value.lstrip('+-')}" if value[:1].isdigit() and value.strip("0.,") else value
    return -value if isinstance(value, int | float) and value else value


def volumes_of(reading: RecordedReading) -> list[float | None]:
    """Every volume that a reading tells."""
    bars = () if reading.history is None else reading.history.bars
    return [*(quote.volume for quote in reading.quotes), *(bar.volume for bar in bars)]


@pytest.mark.parametrize("vendor", BY_ID)
def test_a_volume_below_zero_is_no_volume(vendor: str) -> None:
    """It costs neither the price nor the bar, or it costs the whole reply; zero stays zero."""
    told = 0
    for exchange in fixtures(vendor):
        if exchange.body[:1] not in {b"{", b"["}:
            continue
        value = json.loads(exchange.body)
        for holder, key in places(value):
            if str(key).lower() in VOLUMES:
                holder[key] = negative(holder[key])
        before, after = read(exchange), read(replace(exchange, body=json.dumps(value).encode()))
        if vendor in REFUSING and after.failure is not None:
            assert after.failure.kind is FailureKind.MALFORMED_REPLY
            told += 1
            continue
        assert len(after.quotes) == len(before.quotes), exchange.name
        assert [v for v in volumes_of(after) if v] == [], exchange.name
        told += sum(1 for v in volumes_of(before) if v)
    assert told > 0


def scaled(value: Any, factor: float) -> bool:
    """Whether there were epochs, which are now in another unit."""
    found = False
    for holder, key in places(value):
        number = holder[key]
        if (
            isinstance(number, int)
            and not isinstance(number, bool)
            and (1.5e9 < number < 2e9 or 1.5e12 < number < 2e12)
        ):
            holder[key] = int(number * factor)
            found = True
    return found


@pytest.mark.parametrize("factor", [1000, 1_000_000, 0.001, 0.000_001])
@pytest.mark.parametrize("vendor", [v for v in BY_ID if v not in WITHOUT_EPOCHS])
def test_an_epoch_in_another_unit_dates_no_price(vendor: str, factor: float) -> None:
    """Seconds for milliseconds would make a fresh price one of 1970, or of a year that is none."""
    checked = 0
    for exchange in fixtures(vendor):
        if exchange.body[:1] not in {b"{", b"["}:
            continue
        value = json.loads(exchange.body)
        if not scaled(value, factor):
            continue
        reading = read(replace(exchange, body=json.dumps(value).encode()))
        times = [q.event_time for q in reading.quotes if q.event_time is not None]
        if reading.history is not None and reading.history.interval.is_intraday:
            times += [bar.start for bar in reading.history.bars]
        assert all(abs(time.year - 2026) < 5 for time in times), (exchange.name, times)
        checked += 1
    assert checked > 0


def daily_chart(**columns: list[Any]) -> Any:
    """Three days of Yahoo's chart, with some columns replaced."""
    quote = {
        "open": [10.0, 11.0, 12.0],
        "high": [12.0, 13.0, 14.0],
        "low": [9.0, 10.0, 11.0],
        "close": [11.0, 12.0, 13.0],
        "volume": [100, 200, 300],
    }
    adjusted = columns.pop("adjclose", [10.0, 11.0, 13.0])
    return {
        "chart": {
            "result": [
                {
                    "meta": {
                        "symbol": "ACME",
                        "currency": "USD",
                        "exchangeTimezoneName": "America/New_York",
                        "dataGranularity": "1d",
                    },
                    "timestamp": [1787059800, 1787146200, 1787232600],
                    "events": {"dividends": {"1": {"amount": 0.5, "date": 1787146200}}},
                    "indicators": {"quote": [{**quote, **columns}], "adjclose": [{"adjclose": adjusted}]},
                }
            ],
            "error": None,
        }
    }


def read_chart(content: Any) -> RecordedReading:
    """What Yahoo's chart says, long after its days."""
    body = json.dumps(content).encode()
    return read_recorded(BY_ID["yahoo"], CHART, body, status=200, received_at=at("2026-09-01T12:00:00"))


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("price", [0, -0.0, -11.5])
def test_a_row_of_yahoos_with_a_price_of_zero_or_less_is_a_row_without_prices(column: str, price: float) -> None:
    """Its known faults include prices of zero; the day is told as one without prices."""
    content = daily_chart()
    content["chart"]["result"][0]["indicators"]["quote"][0][column][1] = price
    history = read_chart(content).history
    assert history is not None
    assert [bar.start for bar in history.bars] == [at("2026-08-18"), at("2026-08-20")]
    assert history.null_rows == (at("2026-08-19"),)


@pytest.mark.parametrize("amount", [0, -0.5])
def test_a_dividend_of_nothing_is_left_out_with_a_note(amount: float) -> None:
    """And never divides or moves a price."""
    content = daily_chart()
    assert [d.amount for d in _history(content).dividends] == [0.5]
    content["chart"]["result"][0]["events"]["dividends"]["1"]["amount"] = amount
    history = _history(content)
    assert history.dividends == ()
    assert f"the dividend of 2026-08-19 is of {amount:g} and was left out" in history.notes


def _history(content: Any) -> Any:
    return read_chart(content).history


@pytest.mark.parametrize("adjusted", [0, -0.0, -1.0, None])
def test_a_bar_that_cannot_be_adjusted_is_no_bar_on_that_basis(adjusted: float | None) -> None:
    """An adjusted close of zero would make every price of the bar zero."""
    offer = BY_ID["yahoo"].history
    assert offer is not None
    recorded = RecordedUrl("/v8/finance/chart/ACME", {"interval": "1d"}, None, at("2026-09-01T12:00:00"))
    query = offer.recognise(recorded)
    assert query is not None
    body = json.dumps(daily_chart(adjclose=[10.0, adjusted, 13.0])).encode()
    history = offer.parse(replace(query, adjustment=Adjustment.ALL), Reply(200, {}, body, query.now))
    assert [bar.close for bar in history.bars] == [10.0, 13.0]
    assert history.null_rows == (at("2026-08-19"),)


def test_nanoseconds_are_cut_to_microseconds() -> None:
    """Tiingo stamps to the nanosecond, in New York's offset."""
    rows = fixture("tiingo", "iex.json")
    for row in rows:
        row["lastSaleTimestamp"] = "2026-08-20T11:26:29.123456789-04:00"
    url = "https://x.example/iex/?tickers=ACME"
    reading = read_recorded(
        BY_ID["tiingo"], url, json.dumps(rows).encode(), status=200, received_at=at("2026-08-20T15:26:30")
    )
    assert [quote.event_time for quote in reading.quotes] == [at("2026-08-20T15:26:29.123456")]


@pytest.mark.parametrize(
    ("vendor", "name", "url", "path"),
    [
        ("iex_cloud", "quote.json", "/stable/stock/ACME/quote", ("changePercent",)),
        (
            "cboe",
            "quote_after_close.json",
            "/api/global/delayed_quotes/quotes/ACME.json",
            ("data", "price_change_percent"),
        ),
        ("finnhub", "quote.json", "/api/v1/quote?symbol=ACME", ("dp",)),
        ("finnhub", "quote.json", "/api/v1/quote?symbol=ACME", ("d",)),
    ],
)
@pytest.mark.parametrize("value", [None, 0, -0.00508, -0.508, 1e9])
def test_a_change_is_never_taken_from_the_reply(
    vendor: str, name: str, url: str, path: tuple[str, ...], value: float | None
) -> None:
    """Fractions here and hundredths there, or of the wrong close: it follows from two prices, and from nothing else."""
    content = fixture(vendor, name)
    changed = copy.deepcopy(content)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value

    def told(what: Any) -> RecordedReading:
        body = json.dumps(what).encode()
        received_at: datetime = at("2026-08-21T02:00:00")
        return read_recorded(BY_ID[vendor], url, body, status=200, received_at=received_at)

    assert told(content).quotes
    assert told(changed) == told(content)


def test_an_unknown_symbol_of_cboes_is_no_matter_of_keys() -> None:
    """A file that is not there is refused like a door without a key."""
    url = "https://x.example/api/global/delayed_quotes/quotes/NOSUCH.json"
    body = (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", b"<html>blocked</html>")
    kinds = [
        read_recorded(BY_ID["cboe"], url, page, status=403, received_at=at("2026-08-20T15:00:00")).failure
        for page in body
    ]
    assert [failure.kind for failure in kinds if failure is not None] == [
        FailureKind.UNKNOWN_SYMBOL,
        FailureKind.THROTTLED,
    ]


def test_minutes_in_another_unit_are_no_bars() -> None:
    """Without a range in the URL nothing else would tell that they are of 1970."""
    content = daily_chart()
    result = content["chart"]["result"][0]
    result["meta"]["dataGranularity"] = "5m"
    url, received_at = CHART.replace("1d", "5m"), at("2026-08-20T15:00:00")
    result["timestamp"] = [1787146200, 1787146500, 1787146800]
    body = json.dumps(content).encode()
    assert read_recorded(BY_ID["yahoo"], url, body, status=200, received_at=received_at).history is not None
    result["timestamp"] = [1787146, 1787446, 1787746]
    body = json.dumps(content).encode()
    failure = read_recorded(BY_ID["yahoo"], url, body, status=200, received_at=received_at).failure
    assert failure is not None
    assert failure.kind is FailureKind.MALFORMED_REPLY
