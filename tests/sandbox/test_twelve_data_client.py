"""Twelve Data's own Python client, pointed at the sandbox, reads value for value what our connector reads there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, Quote
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from sandbox.loopback import OPEN
from sandbox.own_reading import OwnReader, threaded_sandbox

twelvedata = pytest.importorskip("twelvedata", reason="twelvedata is not installed")

PAID = "ultra-key"
MORNING = date(2026, 11, 24)
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for all tests that use a paid key and switch no faults."""
    with threaded_sandbox(OPEN) as running:
        yield running


@pytest.fixture
def ours(shared: Sandbox) -> OwnReader:
    """Our connector."""
    return OwnReader(shared, TWELVE_DATA, PAID, OPEN)


@pytest.fixture
def client(shared: Sandbox) -> Any:
    """Theirs."""
    return client_of(shared, PAID)


def client_of(sandbox: Sandbox, key: str) -> Any:
    """Their client, led to the sandbox by its own option."""
    return twelvedata.TDClient(apikey=key, base_url=sandbox.url_for("twelve_data"))


def figures(told: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a quote as their client hands them out, read as numbers."""
    volume = told.get("volume")
    return {
        "price": float(told["close"]),
        "open": float(told["open"]),
        "high": float(told["high"]),
        "low": float(told["low"]),
        "previous_close": float(told["previous_close"]),
        "volume": None if volume is None else float(volume),
        "event_time": datetime.fromtimestamp(told["last_quote_at"], UTC),
        "session": "regular" if told["is_market_open"] else "closed",
    }


def our_figures(quote: Quote) -> dict[str, Any]:
    """The same of ours."""
    return {name: getattr(quote, name) for name in ("price", "open", "high", "low", "previous_close", "volume")} | {
        "event_time": quote.event_time,
        "session": quote.session.value,
    }


def bars_of(values: list[dict[str, str]], form: str) -> list[Bar]:
    """Rows as their client hands them out, oldest first, as bars."""
    return [
        Bar(
            datetime.strptime(row["datetime"], form).replace(tzinfo=UTC),
            float(row["open"]),
            float(row["high"]),
            float(row["low"]),
            float(row["close"]),
            float(row["volume"]) if "volume" in row else None,
        )
        for row in values
    ]


@pytest.mark.parametrize(("theirs", "symbol"), [("AAPL", "AAPL"), ("BRK.B", "BRK.B"), ("EUR/USD", "EURUSD")])
def test_a_single_quote(client: Any, ours: OwnReader, theirs: str, symbol: str) -> None:
    """Price, range, previous close, volume, time and session."""
    assert figures(client.quote(symbol=theirs).as_json()) == our_figures(ours.quote(symbol))


def test_a_batch_of_quotes_with_an_unknown_symbol(client: Any, ours: OwnReader, shared: Sandbox) -> None:
    """Shares, a fund, a coin and a currency in one call each; the unknown one alone is an error."""
    names = {"AAPL": "AAPL", "SPY": "SPY", "BTC/USD": "BTC-USD", "EUR/USD": "EURUSD", "ZZZZ": "ZZZZ"}
    before = shared.calls_by_path["twelve_data"].get("/quote", 0)
    told = client.quote(symbol=list(names)).as_json()
    read = ours.quotes(*names.values())
    assert shared.calls_by_path["twelve_data"]["/quote"] - before == 2
    assert list(told) == list(names)
    for theirs, symbol in names.items():
        outcome = read[symbol]
        if symbol == "ZZZZ":
            assert (told[theirs]["code"], told[theirs]["status"]) == (400, "error")
            assert isinstance(outcome, Failure)
            assert outcome.kind is FailureKind.UNKNOWN_SYMBOL
        else:
            assert isinstance(outcome, Answered)
            assert figures(told[theirs]) == our_figures(outcome.value[0])


def test_a_london_share_is_found_by_its_market_and_divided_into_pounds(client: Any, ours: OwnReader) -> None:
    """Their client shows pence; ours a hundredth of it."""
    told = client.quote(symbol="AZN", mic_code="XLON").as_json()
    quote = ours.quote("AZN.L")
    assert (told["currency"], quote.currency) == ("GBp", "GBP")
    assert quote.price == float(told["close"]) / 100


@pytest.mark.parametrize("adjustment", list(Adjustment))
@pytest.mark.parametrize(
    ("code", "interval"), [("1day", Interval.DAY_1), ("1week", Interval.WEEK_1), ("1month", Interval.MONTH_1)]
)
def test_daily_and_longer_bars_on_every_basis(
    client: Any, ours: OwnReader, code: str, interval: Interval, adjustment: Adjustment
) -> None:
    """Through a split and several dividends, the running bar included."""
    first = date(2026, 1, 5) if interval is not Interval.MONTH_1 else date(2026, 1, 1)
    asked = {"symbol": "NVDA", "interval": code, "start_date": str(first), "end_date": str(MORNING), "outputsize": 5000}
    told = client.time_series(**asked, adjust=adjustment.value, order="asc").as_json()
    history = ours.history("NVDA", interval, first, MORNING, adjustment)
    assert bars_of(told, "%Y-%m-%d") == list(history.bars)
    assert (history.partial_last_bar, history.currency) == (True, "USD")
    before_split, after_split = history.bars[0].close, history.bars[-1].close
    assert (before_split / after_split > 2) is (adjustment is Adjustment.NONE)


@pytest.mark.parametrize(
    ("code", "interval"),
    [
        ("1min", Interval.MIN_1),
        ("5min", Interval.MIN_5),
        ("15min", Interval.MIN_15),
        ("30min", Interval.MIN_30),
        ("1h", Interval.HOUR_1),
    ],
)
def test_intraday_bars_in_both_orders_and_zones(client: Any, ours: OwnReader, code: str, interval: Interval) -> None:
    """The default is newest first in New York time; asked for, it is UTC and oldest first."""
    span = {"start_date": "2026-11-23 14:30:00", "end_date": "2026-11-24 23:59:59"}
    utc = client.time_series(symbol="KO", interval=code, timezone="UTC", order="asc", outputsize=5000, **span).as_json()
    history = ours.history("KO", interval, date(2026, 11, 23), MORNING)
    assert bars_of(utc, "%Y-%m-%d %H:%M:%S") == list(history.bars)
    newest = client.time_series(symbol="KO", interval=code, outputsize=2).as_json()
    stamps = [bar.start.astimezone(NEW_YORK) for bar in reversed(history.bars[-2:])]
    assert [row["datetime"] for row in newest] == [f"{stamp:%Y-%m-%d %H:%M:%S}" for stamp in stamps]


def test_intraday_bars_of_the_morning_and_the_evening(client: Any, ours: OwnReader) -> None:
    """`prepost=true`, from four in the morning to eight in the evening."""
    span = {"start_date": "2026-11-23 09:00:00", "end_date": "2026-11-24 00:59:59"}
    asked = {"symbol": "KO", "interval": "5min", "timezone": "UTC", "order": "asc", "outputsize": 5000}
    told = client.time_series(**asked, **span, prepost="true").as_json()
    monday = date(2026, 11, 23)
    history = ours.history("KO", Interval.MIN_5, monday, monday, extended=True)
    assert bars_of(told, "%Y-%m-%d %H:%M:%S") == list(history.bars)
    assert (len(history.bars), history.extended_hours) == (16 * 12, True)


@pytest.mark.parametrize(
    ("theirs", "symbol", "start"),
    [("EUR/USD", "EURUSD", "2026-11-22 22:00:00"), ("BTC/USD", "BTC-USD", "2026-11-23 00:00:00")],
)
def test_intraday_bars_of_pairs(client: Any, ours: OwnReader, theirs: str, symbol: str, start: str) -> None:
    """In UTC without being asked: a currency's Monday begins on Sunday evening, a coin's at midnight."""
    asked = {"symbol": theirs, "interval": "30min", "order": "asc", "start_date": start, "outputsize": 5000}
    told = client.time_series(**asked, end_date="2026-11-24 23:59:59").as_json()
    history = ours.history(symbol, Interval.MIN_30, date(2026, 11, 23), MORNING)
    assert bars_of(told, "%Y-%m-%d %H:%M:%S") == list(history.bars)
    assert told[0]["datetime"] == start


def test_pairs_have_series_without_volume(client: Any, ours: OwnReader) -> None:
    """Coins every day, currencies on weekdays."""
    for theirs, symbol in (("BTC/USD", "BTC-USD"), ("EUR/USD", "EURUSD")):
        span = {"start_date": "2026-11-16", "end_date": "2026-11-24", "order": "asc"}
        told = client.time_series(symbol=theirs, interval="1day", **span).as_json()
        history: History = ours.history(symbol, Interval.DAY_1, date(2026, 11, 16), MORNING)
        assert bars_of(told, "%Y-%m-%d") == list(history.bars)
        assert {bar.volume for bar in history.bars} == {None}


def test_a_batch_of_series_leaves_out_the_unknown_symbol(client: Any, ours: OwnReader) -> None:
    """Their client collects what is good."""
    asked = {"interval": "1day", "start_date": "2026-11-16", "end_date": "2026-11-24", "order": "asc"}
    told = client.time_series(symbol=["AAPL", "ZZZZ", "KO"], **asked).as_json()
    assert list(told) == ["AAPL", "KO"]
    for symbol, rows in told.items():
        history = ours.history(symbol, Interval.DAY_1, date(2026, 11, 16), MORNING)
        assert bars_of(list(rows), "%Y-%m-%d") == list(history.bars)


def test_tables_of_text_hold_the_same_rows(client: Any) -> None:
    """`format=CSV`, with semicolons."""
    asked = {"symbol": "KO", "interval": "1day", "start_date": "2026-11-16", "end_date": "2026-11-20"}
    rows = client.time_series(**asked).as_json()
    header, *lines = client.custom_endpoint(name="time_series", **asked).as_csv()
    assert [dict(zip(header, line, strict=True)) for line in lines] == list(rows)


def test_the_other_current_prices_agree_with_the_quote(client: Any, ours: OwnReader) -> None:
    """`/price`, `/eod`, `/exchange_rate`."""
    quote, rate = ours.quote("AAPL"), ours.quote("EURUSD")
    assert float(client.price(symbol="AAPL").as_json()["price"]) == quote.price
    assert float(client.eod(symbol="AAPL").as_json()["close"]) == quote.previous_close
    assert client.exchange_rate(symbol="EUR/USD").as_json()["rate"] == rate.price


def test_refusals_are_what_both_take_them_for(client: Any, shared: Sandbox, ours: OwnReader) -> None:
    """Unknown symbol, bad key, a symbol that the plan does not cover, credits used up."""
    errors = twelvedata.exceptions
    with pytest.raises(errors.BadRequestError, match="not found"):
        client.quote(symbol="ZZZZ").as_json()
    assert ours.failure("ZZZZ").kind is FailureKind.UNKNOWN_SYMBOL
    with pytest.raises(errors.InvalidApiKeyError):
        client_of(shared, "invalid-key").quote(symbol="AAPL").as_json()
    assert OwnReader(shared, TWELVE_DATA, "invalid-key", OPEN).failure("AAPL").kind is FailureKind.UNAUTHORIZED
    with pytest.raises(errors.TwelveDataError, match="This symbol is available"):
        client_of(shared, "basic-key").quote(symbol="AZN", mic_code="XLON").as_json()
    basic = OwnReader(shared, TWELVE_DATA, "basic-key", OPEN)
    assert basic.failure("AZN.L").kind is FailureKind.NOT_ENTITLED
    for _ in range(8):
        client_of(shared, "basic-key").price(symbol="AAPL").as_json()
    with pytest.raises(errors.TwelveDataError, match="run out of API credits for the current minute"):
        client_of(shared, "basic-key").price(symbol="AAPL").as_json()
    failure = basic.failure("AAPL")
    assert (failure.kind, failure.retry_after_s) == (FailureKind.THROTTLED, 60.0)
