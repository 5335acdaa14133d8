"""Massive's own client (once Polygon's), pointed at the sandbox, reads value for value what our connector reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Quote, Session
from mdagent_mcp.domain.vendor import HistoryQuery, Vendor
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from mdagent_mcp.vendors.polygon import POLYGON
from sandbox.loopback import CLOSED, OPEN, POST, PRE
from sandbox.own_reading import OwnReader, threaded_sandbox

massive = pytest.importorskip("massive", reason="massive is not installed")
exceptions = pytest.importorskip("massive.exceptions", reason="massive is not installed")

NEW_YORK = ZoneInfo("America/New_York")
FIRST, LAST = date(2026, 2, 2), date(2026, 11, 23)
BASIC: Vendor = POLYGON.offering(POLYGON.plans["basic"].offers)


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for all tests that use a paid key."""
    with threaded_sandbox(OPEN) as running:
        yield running


@pytest.fixture
def ours(shared: Sandbox) -> OwnReader:
    """Our connector."""
    return OwnReader(shared, POLYGON, "advanced", OPEN)


@pytest.fixture
def client(shared: Sandbox) -> Iterator[Any]:
    """Theirs."""
    with client_of(shared, "advanced") as made:
        yield made


@contextmanager
def client_of(sandbox: Sandbox, key: str) -> Iterator[Any]:
    """Their client, led to the sandbox by its own option; it does not repeat what was refused."""
    options = {"retries": False}
    made = massive.RESTClient(key, base=sandbox.url_for("polygon"), connection_pool_kw=options)
    yield made
    made.client.clear()
    made.vx.client.clear()


def instant(nanoseconds: int) -> datetime:
    """To the microsecond."""
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC) + timedelta(
        microseconds=nanoseconds % 1_000_000_000 // 1000
    )


def bars_of(aggs: list[Any], zone: ZoneInfo | None = None, *, volume: bool = True) -> list[Bar]:
    """Aggregates as their client hands them out, as bars; of days by their date in a zone."""
    made = []
    for agg in aggs:
        start = datetime.fromtimestamp(agg.timestamp / 1000, UTC)
        if zone is not None:
            day = start.astimezone(zone).date()
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        made.append(Bar(start, agg.open, agg.high, agg.low, agg.close, agg.volume if volume else None))
    return made


@pytest.mark.parametrize("adjustment", [Adjustment.SPLITS, Adjustment.NONE])
def test_days_on_both_bases(client: Any, ours: OwnReader, shared: Sandbox, adjustment: Adjustment) -> None:
    """Through a split, and equal to what the market holds."""
    adjusted = adjustment is Adjustment.SPLITS
    told = bars_of(client.get_aggs("NVDA", 1, "day", str(FIRST), str(LAST), adjusted=adjusted), NEW_YORK)
    truth = shared.market.daily_bars("NVDA", FIRST, LAST, until=OPEN, as_traded=not adjusted)
    assert told == list(ours.history("NVDA", Interval.DAY_1, FIRST, LAST, adjustment).bars) == list(truth)


@pytest.mark.parametrize(("span", "interval"), [("week", Interval.WEEK_1), ("month", Interval.MONTH_1)])
def test_weeks_and_months(client: Any, ours: OwnReader, span: str, interval: Interval) -> None:
    """Their weeks are dated by Sunday, ours by the first trading day; the prices are the same."""
    told = bars_of(client.get_aggs("KO", 1, span, "2026-09-01", "2026-11-24"), NEW_YORK)
    read = ours.history("KO", interval, date(2026, 9, 1), date(2026, 11, 24))
    assert [replace(bar, start=own.start) for bar, own in zip(told, read.bars, strict=True)] == list(read.bars)
    gaps = [own.start - bar.start for bar, own in zip(told, read.bars, strict=True)]
    assert all(timedelta(0) <= gap <= timedelta(days=3) for gap in gaps)
    assert read.partial_last_bar is True


@pytest.mark.parametrize(
    ("multiplier", "span", "interval"),
    [
        (1, "minute", Interval.MIN_1),
        (5, "minute", Interval.MIN_5),
        (15, "minute", Interval.MIN_15),
        (30, "minute", Interval.MIN_30),
        (1, "hour", Interval.HOUR_1),
    ],
)
@pytest.mark.parametrize("extended", [True, False])
def test_intraday_bars(
    client: Any, ours: OwnReader, multiplier: int, span: str, interval: Interval, extended: bool
) -> None:
    """From four to eight, or the regular session: the hour from nine holds its first half hour too."""
    first, last = date(2026, 11, 23), date(2026, 11, 24)
    told = bars_of(client.get_aggs("KO", multiplier, span, str(first), str(last), limit=50_000))
    read = ours.history("KO", interval, first, last, extended=extended)
    if not extended:
        local = [bar.start.astimezone(NEW_YORK) for bar in told]
        earliest = 9 * 60 if interval is Interval.HOUR_1 else 9 * 60 + 30
        told = [bar for bar, at in zip(told, local, strict=True) if earliest <= 60 * at.hour + at.minute < 16 * 60]
    assert told == list(read.bars)
    assert read.partial_last_bar is True


def test_crypto_forex_and_indices(client: Any, ours: OwnReader) -> None:
    """Days of UTC, without the stubs on Sundays for us; an index has no volume and what forex calls one is none."""
    first, last = date(2026, 11, 9), date(2026, 11, 23)
    coin = bars_of(client.get_aggs("X:BTCUSD", 1, "day", str(first), str(last)))
    pair = bars_of(client.get_aggs("C:EURUSD", 1, "day", str(first), str(last)), volume=False)
    index = bars_of(client.get_aggs("I:SPX", 1, "day", str(first), str(last)), NEW_YORK)
    assert coin == list(ours.history("BTC-USD", Interval.DAY_1, first, last).bars)
    assert [bar for bar in pair if bar.day.weekday() < 5] == list(
        ours.history("EURUSD", Interval.DAY_1, first, last).bars
    )
    assert len(pair) == len([bar for bar in pair if bar.day.weekday() < 5]) + 2
    assert index == list(ours.history("^GSPC", Interval.DAY_1, first, last).bars)


def test_pages_of_a_long_series(client: Any, ours: OwnReader, shared: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both follow the link by path and query, on their own host with their own key."""
    monkeypatch.setattr("mdagent_mcp.vendors.polygon_calls.PAGE", 1_000)
    first, last = date(2026, 11, 18), date(2026, 11, 20)
    before = sum(shared.calls_by_path["polygon"].values())
    told = bars_of(list(client.list_aggs("KO", 1, "hour", str(first), str(last), limit=1_000)))
    between = sum(shared.calls_by_path["polygon"].values())
    read = ours.history("KO", Interval.HOUR_1, first, last, extended=True)
    assert told == list(read.bars)
    assert len(told) == 3 * 16
    assert (between - before, sum(shared.calls_by_path["polygon"].values()) - between) == (3, 3)


def figures(quote: Quote) -> dict[str, Any]:
    """What a quote says."""
    names = ("price", "open", "high", "low", "previous_close", "volume", "bid", "ask", "event_time", "session")
    return {name: getattr(quote, name) for name in names}


def test_a_share_in_the_session(client: Any, ours: OwnReader) -> None:
    """Trade, book, day and previous close."""
    told = client.get_snapshot_ticker("stocks", "KO")
    assert figures(ours.quote("KO")) == {
        "price": told.last_trade.price,
        "open": told.day.open,
        "high": told.day.high,
        "low": told.day.low,
        "previous_close": told.prev_day.close,
        "volume": told.day.volume,
        "bid": told.last_quote.bid_price,
        "ask": told.last_quote.ask_price,
        "event_time": instant(told.last_trade.sip_timestamp),
        "session": Session.REGULAR,
    }


@pytest.mark.parametrize(
    ("at", "sessions"),
    [
        (PRE, (Session.PRE, Session.CLOSED)),
        (POST, (Session.POST, Session.CLOSED)),
        (CLOSED, (Session.POST, Session.CLOSED)),
    ],
)
def test_a_share_outside_the_session(at: datetime, sessions: tuple[Session, ...]) -> None:
    """The newest trade, and beside it the official close: of the day shown, or of the previous one once cleared."""
    with threaded_sandbox(at) as sandbox, client_of(sandbox, "advanced") as client:
        told = client.get_snapshot_ticker("stocks", "KO")
        outcome = OwnReader(sandbox, POLYGON, "advanced", at).quotes("KO")["KO"]
        truth = sandbox.market.snapshot("KO", at).regular
    assert isinstance(outcome, Answered)
    newest, official = outcome.value
    assert (newest.session, official.session) == sessions
    assert (newest.price, newest.event_time) == (told.last_trade.price, instant(told.last_trade.sip_timestamp))
    assert official.price == (told.day.close or told.prev_day.close) == truth.close
    assert official.event_time == truth.close_time


def test_a_level_and_a_rate_at_the_weekend_have_no_previous_close() -> None:
    """Their day is cleared, so what is told as the previous close is the very close that is quoted."""
    names = {"I:SPX": "^GSPC", "C:EURUSD": "EURUSD"}
    with threaded_sandbox(CLOSED) as sandbox, client_of(sandbox, "advanced") as client:
        told = {item.ticker: item for item in client.list_universal_snapshots(ticker_any_of=list(names))}
        reader = OwnReader(sandbox, POLYGON, "advanced", CLOSED)
        quotes = {ticker: reader.quote(symbol) for ticker, symbol in names.items()}
    for ticker, quote in quotes.items():
        session = told[ticker].session
        assert (session.close, session.previous_close) == (None, quote.price)
        assert (quote.session, quote.previous_close) == (Session.CLOSED, None)


def test_a_list_of_every_class_with_an_unknown_ticker(client: Any, ours: OwnReader) -> None:
    """One call each; an error stands in place of the unknown one."""
    names = {"KO": "KO", "SPY": "SPY", "C:EURUSD": "EURUSD", "X:BTCUSD": "BTC-USD", "I:SPX": "^GSPC", "ZZZZ": "ZZZZ"}
    told = {item.ticker: item for item in client.list_universal_snapshots(ticker_any_of=list(names), limit=250)}
    read = ours.quotes(*names.values())
    assert set(told) == set(names)
    for ticker, symbol in names.items():
        outcome, item = read[symbol], told[ticker]
        if ticker == "ZZZZ":
            assert (item.error, isinstance(outcome, Failure)) == ("NOT_FOUND", True)
            continue
        assert isinstance(outcome, Answered)
        quote = outcome.value[0]
        price = item.value or (item.last_trade.price if item.last_trade else item.session.price)
        assert (quote.price, quote.previous_close) == (price, item.session.previous_close)
        assert (quote.open, quote.high, quote.low) == (item.session.open, item.session.high, item.session.low)
        assert (quote.bid, quote.ask) == (
            (item.last_quote.bid, item.last_quote.ask) if item.last_quote else (None, None)
        )
    unknown = read["ZZZZ"]
    assert isinstance(unknown, Failure)
    assert unknown.kind is FailureKind.UNKNOWN_SYMBOL


@pytest.mark.parametrize("key", ["starter", "developer"])
def test_delayed_plans(shared: Sandbox, key: str) -> None:
    """Declared as a quarter of an hour late, with or without the trade."""
    with client_of(shared, key) as client:
        told = client.get_snapshot_ticker("stocks", "KO")
        quote = OwnReader(shared, POLYGON, key, OPEN).quote("KO")
    assert quote.declared_delay_s == 900
    assert (told.last_trade is None, told.last_quote) == (key == "starter", None)
    if told.last_trade is None:
        minute = datetime.fromtimestamp(told.min.timestamp / 1000, UTC)
        assert (quote.price, quote.event_time, quote.event_time_resolution_s) == (told.min.close, minute, 60)
    else:
        assert (quote.price, quote.event_time) == (told.last_trade.price, instant(told.last_trade.sip_timestamp))


def test_what_a_free_key_gets(shared: Sandbox) -> None:
    """The previous day of one symbol, and of many one call about the whole market."""
    with client_of(shared, "free-1") as client:
        told = client.get_previous_close_agg("KO")[0]
        grouped = {row.ticker: row for row in client.get_grouped_daily_aggs("2026-11-23", adjusted=True)}
        status = client.get_market_status()
    reader = OwnReader(shared, BASIC, "free-2", OPEN)
    quote = reader.quote("KO")
    read = reader.quotes("KO", "BRK.B", "SPY", "AAPL", "MSFT")
    assert (quote.price, quote.open, quote.high, quote.low, quote.volume, quote.session) == (
        told.close,
        told.open,
        told.high,
        told.low,
        told.volume,
        Session.CLOSED,
    )
    assert quote.event_time == datetime.fromtimestamp(told.timestamp / 1000, UTC)
    for symbol, outcome in read.items():
        assert isinstance(outcome, Answered)
        assert (outcome.value[0].price, outcome.value[0].volume) == (grouped[symbol].close, grouped[symbol].volume)
    assert status.market == "open"


def test_what_only_their_client_asks_for(client: Any, shared: Sandbox) -> None:
    """Last trade, last quote, a day's summary and the indices are the market's."""
    view = VendorView(shared.market, VENUES["polygon"], OPEN)
    security, index = view.find("KO"), view.find("^GSPC")
    assert security is not None
    assert index is not None
    seen = view.snapshot(security)
    trade, quote = client.get_last_trade("KO"), client.get_last_quote("KO")
    assert (trade.price, instant(trade.sip_timestamp)) == (seen.price, seen.event_time)
    assert (quote.bid_price, quote.ask_price) == (seen.bid, seen.ask)
    summary = client.get_daily_open_close_agg("KO", "2026-11-20")
    day = shared.market.daily_bars("KO", date(2026, 11, 20), date(2026, 11, 20))[0]
    assert (summary.open, summary.close, summary.volume) == (day.open, day.close, day.volume)
    assert client.get_snapshot_indices(ticker_any_of="I:SPX")[0].value == view.snapshot(index).price
    assert {row.ticker for row in client.get_snapshot_all("stocks", ["KO", "ZZZZ"])} == {"KO"}


@pytest.mark.parametrize(
    ("key", "vendor", "path"), [("advanced", POLYGON, "/v3/snapshot"), ("free-3", BASIC, "grouped")]
)
def test_fifty_symbols_are_one_call(shared: Sandbox, key: str, vendor: Vendor, path: str) -> None:
    """On a paid plan a snapshot of 250 at most, on the free one a day of the whole market."""
    symbols = [f"SIM{number:03}" for number in range(50)]
    before = dict(shared.calls_by_path["polygon"])
    read = OwnReader(shared, vendor, key, OPEN).quotes(*symbols)
    made = {p: n - before.get(p, 0) for p, n in shared.calls_by_path["polygon"].items() if n != before.get(p, 0)}
    assert all(isinstance(outcome, Answered) for outcome in read.values())
    assert [(path in used, count) for used, count in made.items()] == [(True, 1)]


def days(symbol: str, first: date, last: date) -> HistoryQuery:
    """A question about days adjusted for splits."""
    return HistoryQuery(
        parse_symbol(symbol), Interval.DAY_1, first, last, Adjustment.SPLITS, extended_hours=False, now=OPEN
    )


@pytest.mark.parametrize(
    ("span", "interval"), [("day", Interval.DAY_1), ("week", Interval.WEEK_1), ("month", Interval.MONTH_1)]
)
def test_bars_of_a_free_key_end_with_yesterday(shared: Sandbox, span: str, interval: Interval) -> None:
    """Their client that asks for today is refused; ours asks for less, also when the week or the month goes on."""
    key = f"free-{span}"
    with client_of(shared, key) as client:
        with pytest.raises(exceptions.BadResponse, match="before end of day"):
            client.get_aggs("KO", 1, span, "2026-11-02", "2026-11-24")
        told = bars_of(client.get_aggs("KO", 1, span, "2026-11-02", "2026-11-23"), NEW_YORK)
    read = OwnReader(shared, BASIC, key, OPEN).history("KO", interval, date(2026, 11, 2), date(2026, 11, 24))
    assert [bar.close for bar in told] == [bar.close for bar in read.bars]
    yesterday = shared.market.daily_bars("KO", date(2026, 11, 23), date(2026, 11, 23))[0]
    assert read.bars[-1].close == yesterday.close
    assert read.partial_last_bar is (interval is not Interval.DAY_1)


def test_tickers_outside_the_plan_fail_alone(shared: Sandbox) -> None:
    """Errors in a successful list: the shares beside them are priced."""
    names = {"KO": None, "SPY": None, "^GSPC": "I:SPX", "BTC-USD": "X:BTCUSD", "EURUSD": "C:EURUSD"}
    with client_of(shared, "advanced-stocks") as client:
        tickers = [ticker or symbol for symbol, ticker in names.items()]
        told = {item.ticker: item.error for item in client.list_universal_snapshots(ticker_any_of=tickers)}
    read = OwnReader(shared, POLYGON, "advanced-stocks", OPEN).quotes(*names)
    for symbol, ticker in names.items():
        outcome = read[symbol]
        assert told[ticker or symbol] == (None if ticker is None else "NOT_ENTITLED")
        assert (outcome.kind if isinstance(outcome, Failure) else None) == (
            None if ticker is None else FailureKind.NOT_ENTITLED
        )


def test_refusals(shared: Sandbox) -> None:
    """Where their client raises with the vendor's text, our connector knows what it means."""
    cases = {
        "unknown": ("Unknown API Key", FailureKind.UNAUTHORIZED),
        "free-4": ("You are not entitled to this data", FailureKind.NOT_ENTITLED),
    }
    for key, (text, kind) in cases.items():
        with client_of(shared, key) as client, pytest.raises(exceptions.BadResponse, match=text):
            client.get_snapshot_ticker("stocks", "KO")
        assert OwnReader(shared, POLYGON, key, OPEN).failure("KO").kind is kind
    reader = OwnReader(shared, POLYGON, "free-5", OPEN)
    today = reader.series(days("KO", date(2026, 11, 20), date(2026, 11, 24)))
    old = reader.series(days("KO", date(2023, 11, 20), date(2023, 11, 24)))
    assert isinstance(today, Failure)
    assert isinstance(old, Failure)
    with client_of(shared, "free-5") as client:
        for _ in range(3):
            client.get_market_status()
        with pytest.raises(exceptions.BadResponse, match="exceeded the maximum requests per minute"):
            client.get_market_status()
    assert reader.failure("KO").kind is FailureKind.THROTTLED
