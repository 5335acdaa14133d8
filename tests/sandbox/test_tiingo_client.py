"""A Tiingo client not written by us, pointed at the sandbox, reads value for value what our connector reads there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from math import prod
from typing import Any

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Session
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from mdagent_mcp.vendors.tiingo import TIINGO
from sandbox.loopback import OPEN, POST
from sandbox.own_reading import OwnReader, threaded_sandbox

tiingo = pytest.importorskip("tiingo", reason="tiingo is not installed")
requests = pytest.importorskip("requests", reason="requests is not installed")
restclient = pytest.importorskip("tiingo.restclient", reason="tiingo is not installed")

KEY = "power-key"
FIRST, LAST = date(2026, 2, 2), date(2026, 11, 23)
RAW = ("open", "high", "low", "close", "volume")
ADJUSTED = ("adjOpen", "adjHigh", "adjLow", "adjClose", "adjVolume")


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for all tests that switch no faults."""
    with threaded_sandbox(OPEN) as running:
        yield running


@pytest.fixture
def ours(shared: Sandbox) -> OwnReader:
    """Our connector."""
    return OwnReader(shared, TIINGO, KEY, OPEN)


@pytest.fixture
def client(shared: Sandbox) -> Any:
    """Theirs."""
    return client_of(shared, KEY)


def client_of(sandbox: Sandbox, key: str) -> Any:
    """Their client, led to the sandbox by its base URL; the key goes in its header."""
    made = tiingo.TiingoClient({"api_key": key})
    made._base_url = sandbox.url_for("tiingo")
    return made


def start_of(row: dict[str, Any]) -> datetime:
    """A row's date as an instant."""
    return datetime.fromisoformat(row["date"]).astimezone(UTC)


def bars_of(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[Bar]:
    """Rows as their client hands them out, as bars."""
    return [Bar(start_of(row), *(row[name] for name in names)) for row in rows]


def daily(client: Any, ticker: str, first: date = FIRST, **options: Any) -> list[dict[str, Any]]:
    """Rows from `first` to the present."""
    rows: list[dict[str, Any]] = client.get_ticker_price(ticker, startDate=str(first), endDate="2026-11-24", **options)
    return rows


def test_days_as_traded(client: Any, ours: OwnReader, shared: Sandbox) -> None:
    """Through a split, and equal to what the market holds."""
    told = bars_of(daily(client, "NVDA"), RAW)
    truth = shared.market.daily_bars("NVDA", FIRST, LAST, as_traded=True)
    assert told == list(ours.history("NVDA", Interval.DAY_1, FIRST, LAST, Adjustment.NONE).bars) == list(truth)


def test_days_adjusted_for_splits_and_dividends(client: Any, ours: OwnReader) -> None:
    """Their adjusted columns."""
    told = bars_of(daily(client, "NVDA"), ADJUSTED)
    assert told == list(ours.history("NVDA", Interval.DAY_1, FIRST, LAST, Adjustment.ALL).bars)


def test_days_adjusted_for_splits_alone(client: Any, ours: OwnReader, shared: Sandbox) -> None:
    """Neither column has that basis: it is reached with the split factors of all later rows."""
    rows = daily(client, "NVDA")
    told = []
    for number, row in enumerate(rows):
        factor = prod(later["splitFactor"] for later in rows[number + 1 :])
        opened, high, low, close = (row[name] / factor for name in RAW[:4])
        told.append(Bar(start_of(row), opened, high, low, close, row["volume"] * factor))
    read = ours.history("NVDA", Interval.DAY_1, FIRST, LAST)
    assert told == list(read.bars)
    truth = shared.market.daily_bars("NVDA", FIRST, LAST, until=OPEN)
    assert [bar.close for bar in read.bars] == pytest.approx([bar.close for bar in truth], abs=1e-5)


def test_events_of_the_rows(client: Any, ours: OwnReader) -> None:
    """Splits and dividends that our connector reads are those of their rows."""
    rows = daily(client, "NVDA")
    read = ours.history("NVDA", Interval.DAY_1, FIRST, LAST, Adjustment.NONE)
    splits = {start_of(row).date(): row["splitFactor"] for row in rows if row["splitFactor"] != 1}
    paid = {start_of(row).date(): row["divCash"] for row in rows if row["divCash"]}
    assert {split.day: split.ratio for split in read.splits} == splits == {date(2026, 3, 16): 4.0}
    assert {dividend.day: dividend.amount for dividend in read.dividends} == paid
    assert len(paid) == 4


def test_class_shares_and_csv(client: Any, ours: OwnReader) -> None:
    """A hyphen for them, and the same numbers in either format."""
    rows = daily(client, "BRK-B", date(2026, 11, 2))
    text = daily(client, "BRK-B", date(2026, 11, 2), fmt="csv")
    lines = str(text).splitlines()
    names = lines[0].split(",")
    parsed = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    assert [float(row["close"]) for row in parsed] == [row["close"] for row in rows]
    read = ours.history("BRK.B", Interval.DAY_1, date(2026, 11, 2), LAST, Adjustment.NONE)
    assert bars_of(rows, RAW) == list(read.bars)


@pytest.mark.parametrize(
    ("frequency", "interval"),
    [("1min", Interval.MIN_1), ("5min", Interval.MIN_5), ("30min", Interval.MIN_30), ("1hour", Interval.HOUR_1)],
)
def test_minutes(client: Any, ours: OwnReader, frequency: str, interval: Interval) -> None:
    """As traded, of a day that is over and of the running one."""
    first, last = date(2026, 11, 23), date(2026, 11, 24)
    told = client.get_ticker_price(
        "KO", startDate=str(first), endDate=str(last), frequency=frequency, columns=",".join(RAW)
    )
    read = ours.history("KO", interval, first, last, Adjustment.NONE)
    assert bars_of(told, RAW) == list(read.bars)
    assert (read.partial_last_bar, read.bars[-1].start.date()) == (True, last)


def test_days_of_crypto(client: Any, ours: OwnReader) -> None:
    """From midnight UTC, the running day included."""
    first, last = date(2026, 11, 2), date(2026, 11, 24)
    rows = client.get_crypto_price_history(
        tickers=["btcusd"], startDate=str(first), endDate=str(last), resampleFreq="1day"
    )
    read = ours.history("BTC-USD", Interval.DAY_1, first, last)
    assert bars_of(rows[0]["priceData"], RAW) == list(read.bars)


def test_the_top_of_crypto_and_the_description_of_a_share(client: Any, shared: Sandbox) -> None:
    """Our connector does not ask for these; what their client reads is the truth."""
    top = client.get_crypto_top_of_book(tickers=["btcusd"])[0]["topOfBookData"][0]
    view = VendorView(shared.market, VENUES["tiingo"], OPEN)
    security = view.find("BTC-USD")
    assert security is not None
    assert top["lastPrice"] == view.snapshot(security).price
    told = client.get_ticker_metadata("BRK-B", fmt="object")
    assert (told.ticker, told.startDate, told.endDate) == ("BRK-B", "2010-01-04", "2026-11-23")


def top_of(client: Any, tickers: str) -> dict[str, dict[str, Any]]:
    """Current prices: their client has no method for them, so this is its own request with its own headers."""
    rows = client._request("GET", "iex/", params={"tickers": tickers}).json()
    return {row["ticker"]: row for row in rows}


def test_current_prices_of_the_running_session(client: Any, ours: OwnReader) -> None:
    """The derived price and its time; the unknown one is missing for both."""
    told = top_of(client, "KO,BRK-B,ZZZZ")
    read = ours.quotes("KO", "BRK.B", "ZZZZ")
    assert set(told) == {"KO", "BRK-B"}
    for ticker, row in told.items():
        outcome = read[ticker.replace("-", ".")]
        assert isinstance(outcome, Answered)
        quote = outcome.value[0]
        event_time = datetime.fromisoformat(row["timestamp"][:26] + row["timestamp"][29:])
        assert (quote.price, quote.event_time, quote.session) == (row["tngoLast"], event_time, Session.REGULAR)
        assert (quote.open, quote.high, quote.low, quote.previous_close) == tuple(
            row[name] for name in ("open", "high", "low", "prevClose")
        )
        assert (quote.bid, quote.volume) == (None, None)
    unknown = read["ZZZZ"]
    assert isinstance(unknown, Failure)
    assert unknown.kind is FailureKind.UNKNOWN_SYMBOL


def test_current_prices_after_the_close() -> None:
    """The official close, at its own instant, with the whole market's volume."""
    with threaded_sandbox(POST) as sandbox:
        row = top_of(client_of(sandbox, KEY), "KO")["KO"]
        quote = OwnReader(sandbox, TIINGO, KEY, POST).quote("KO")
    assert (quote.price, quote.session, quote.volume) == (row["tngoLast"], Session.CLOSED, row["volume"])
    assert quote.event_time == datetime.fromisoformat(row["lastSaleTimestamp"])


@pytest.mark.parametrize(("count", "calls"), [(50, 1), (51, 2)])
def test_fifty_symbols_are_one_call(ours: OwnReader, shared: Sandbox, count: int, calls: int) -> None:
    """And no more."""
    symbols = [f"SIM{number:03}" for number in range(count)]
    before = dict(shared.calls_by_path["tiingo"])
    read = ours.quotes(*symbols)
    after = shared.calls_by_path["tiingo"]
    assert all(isinstance(outcome, Answered) for outcome in read.values())
    assert {path: number - before.get(path, 0) for path, number in after.items() if number != before.get(path, 0)} == {
        "/iex/": calls
    }


def test_the_five_hundred_and_first_symbol_of_a_month(shared: Sandbox) -> None:
    """A success in plain text, which their client cannot read; our connector knows that the quota is used up."""
    key = "free-month"
    reader = OwnReader(shared, TIINGO, key, OPEN)
    read = reader.quotes(*(f"SIM{number:03}" for number in range(500)))
    assert all(isinstance(outcome, Answered) for outcome in read.values())
    with pytest.raises(requests.exceptions.JSONDecodeError):
        client_of(shared, key).get_ticker_metadata("KO")
    assert reader.failure("KO").kind is FailureKind.QUOTA_EXHAUSTED


def days(symbol: str, first: date, last: date) -> HistoryQuery:
    """A question about days adjusted for splits."""
    return HistoryQuery(
        parse_symbol(symbol), Interval.DAY_1, first, last, Adjustment.SPLITS, extended_hours=False, now=OPEN
    )


@pytest.mark.parametrize(
    ("key", "ticker", "status", "kind"),
    [
        ("invalid", "KO", 403, FailureKind.UNAUTHORIZED),
        (KEY, "GONE", 404, FailureKind.UNKNOWN_SYMBOL),
        ("free-1", "KO", 429, FailureKind.QUOTA_EXHAUSTED),
    ],
)
def test_refusals(key: str, ticker: str, status: int, kind: FailureKind) -> None:
    """Where their client raises, our connector knows why."""
    with threaded_sandbox(OPEN) as sandbox:
        client, reader = client_of(sandbox, key), OwnReader(sandbox, TIINGO, key, OPEN)
        for _ in range(50 if status == 429 else 0):
            client.get_ticker_metadata("KO")
        with pytest.raises(restclient.RestClientError, match=str(status)):
            client.get_ticker_price(ticker, startDate="2026-11-02")
        outcome = reader.series(days(ticker, date(2026, 11, 2), LAST))
    assert isinstance(outcome, Failure)
    assert outcome.kind is kind
