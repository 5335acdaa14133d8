"""A client that outlived IEX Cloud, pointed at the sandbox, reads value for value what our connector reads there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Session
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.vendors.iex_cloud import IEX_CLOUD
from sandbox.loopback import OPEN, POST
from sandbox.own_reading import OwnReader, threaded_sandbox

base = pytest.importorskip("iexfinance.base", reason="iexfinance is not installed")
stocks = pytest.importorskip("iexfinance.stocks", reason="iexfinance is not installed")
errors = pytest.importorskip("iexfinance.utils.exceptions", reason="iexfinance is not installed")
requests = pytest.importorskip("requests", reason="requests is not installed")

NEW_YORK = ZoneInfo("America/New_York")
TOKEN = "pk_test"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for all tests of a running session."""
    with threaded_sandbox(OPEN) as running:
        yield running


@pytest.fixture
def ours(shared: Sandbox) -> OwnReader:
    """Our connector, with a base URL as it must have one."""
    return OwnReader(shared, IEX_CLOUD, TOKEN, OPEN)


class Theirs:
    """Their client, led to a sandbox by the table of its base URLs."""

    def __init__(self, sandbox: Sandbox, patch: pytest.MonkeyPatch, session: Any, token: str = TOKEN) -> None:
        patch.delenv("IEX_API_VERSION", raising=False)
        patch.setitem(base._IEXBase._URLS, "stable", f"{sandbox.url_for('iex_cloud')}/stable/")
        self._options = {
            "token": token,
            "output_format": "json",
            "session": session,
            "retry_count": 0,
            "pause": 0,
        }

    def stock(self, *symbols: str) -> Any:
        """Of one symbol or several."""
        return stocks.Stock(list(symbols), **self._options)

    def minutes(self, symbol: str, day: date) -> list[dict[str, Any]]:
        """Of a date."""
        rows: list[dict[str, Any]] = stocks.get_historical_intraday(symbol, day, **self._options)
        return rows


@pytest.fixture
def session() -> Iterator[Any]:
    """One to be closed."""
    with requests.Session() as opened:
        yield opened


@pytest.fixture
def client(shared: Sandbox, monkeypatch: pytest.MonkeyPatch, session: Any) -> Theirs:
    """Theirs."""
    return Theirs(shared, monkeypatch, session)


def instant(milliseconds: int) -> datetime:
    """A stamp."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.mark.parametrize("symbol", ["KO", "AAPL", "BRK.B"])
def test_a_quote_of_the_running_session(client: Theirs, ours: OwnReader, symbol: str) -> None:
    """Price, time and previous close; the nulls of Nasdaq's listings are nothing for us either."""
    told = client.stock(symbol).get_quote()
    quote = ours.quote(symbol)
    assert (quote.price, quote.event_time, quote.session) == (
        told["latestPrice"],
        instant(told["latestUpdate"]),
        Session.REGULAR,
    )
    assert (quote.open, quote.previous_close) == (told["open"], told["previousClose"])
    assert quote.declared_delay_s == 0


def test_quotes_after_the_close(monkeypatch: pytest.MonkeyPatch, session: Any) -> None:
    """The official close at its instant."""
    with threaded_sandbox(POST) as sandbox:
        told = Theirs(sandbox, monkeypatch, session).stock("KO", "AAPL").get_quote()
        read = OwnReader(sandbox, IEX_CLOUD, TOKEN, POST).quotes("KO", "AAPL")
    for symbol in ("KO", "AAPL"):
        outcome = read[symbol]
        assert isinstance(outcome, Answered)
        official = next(quote for quote in outcome.value if quote.session is Session.CLOSED)
        assert (official.price, official.event_time) == (
            told[symbol]["latestPrice"],
            instant(told[symbol]["latestUpdate"]),
        )


def test_a_batch_with_an_unknown_symbol(client: Theirs, ours: OwnReader) -> None:
    """Keyed by symbol; the unknown one is missing."""
    told = client.stock("KO", "BRK.B", "SPY", "MSFT", "ZZZZ").get_quote()
    read = ours.quotes("KO", "BRK.B", "SPY", "MSFT", "ZZZZ")
    assert list(told) == ["KO", "BRK.B", "SPY", "MSFT"]
    for symbol, row in told.items():
        outcome = read[symbol]
        assert isinstance(outcome, Answered)
        assert (outcome.value[0].price, outcome.value[0].event_time) == (
            row["latestPrice"],
            instant(row["latestUpdate"]),
        )
    unknown = read["ZZZZ"]
    assert isinstance(unknown, Failure)
    assert unknown.kind is FailureKind.UNKNOWN_SYMBOL


@pytest.mark.parametrize(
    ("adjustment", "names"),
    [
        (Adjustment.SPLITS, ("open", "high", "low", "close", "volume")),
        (Adjustment.NONE, ("uOpen", "uHigh", "uLow", "uClose", "uVolume")),
    ],
)
def test_days_on_both_bases(client: Theirs, ours: OwnReader, adjustment: Adjustment, names: tuple[str, ...]) -> None:
    """Through a split."""
    rows = chart(client, "NVDA", "ytd")
    told = [
        Bar(datetime.fromisoformat(row["date"]).replace(tzinfo=UTC), *(row[name] for name in names)) for row in rows
    ]
    read = ours.history("NVDA", Interval.DAY_1, date(2026, 1, 2), date(2026, 11, 23), adjustment)
    assert told == list(read.bars)


def chart(client: Theirs, symbol: str, span: str) -> list[dict[str, Any]]:
    """Rows of days as their client hands them out in JSON."""
    told = client.stock(symbol).get_historical_prices(range=span)
    rows: list[dict[str, Any]] = told if isinstance(told, list) else told["chart"]
    return rows


def test_minutes_with_their_nulls(client: Theirs, ours: OwnReader) -> None:
    """In New York's time for them; a null is a null for both."""
    day = date(2026, 11, 20)
    rows = client.minutes("KO", day)
    told: dict[datetime, Bar | None] = {}
    for row in rows:
        local = datetime.fromisoformat(f"{row['date']}T{row['minute']}").replace(tzinfo=NEW_YORK)
        start = local.astimezone(UTC)
        opened, high, low, close = (row[name] for name in ("open", "high", "low", "close"))
        told[start] = None if close is None else Bar(start, opened, high, low, close, row["volume"])
    read = ours.history("KO", Interval.MIN_1, day, day, Adjustment.NONE)
    assert [bar for bar in told.values() if bar is not None] == list(read.bars)
    assert [start for start, bar in told.items() if bar is None] == list(read.null_rows) != []


@pytest.mark.parametrize(("count", "calls"), [(50, 1), (101, 2)])
def test_fifty_symbols_are_one_call(ours: OwnReader, shared: Sandbox, count: int, calls: int) -> None:
    """And no more."""
    before = dict(shared.calls_by_path["iex_cloud"])
    read = ours.quotes(*(f"SIM{number:03}" for number in range(count)))
    used = {p: n - before.get(p, 0) for p, n in shared.calls_by_path["iex_cloud"].items() if n != before.get(p, 0)}
    assert all(isinstance(outcome, Answered) for outcome in read.values())
    assert used == {"/{version}/stock/market/batch": calls}


@pytest.mark.parametrize(
    ("token", "status", "kind"),
    [("invalid", 403, FailureKind.UNAUTHORIZED), ("spent", 402, FailureKind.QUOTA_EXHAUSTED)],
)
def test_refusals(
    shared: Sandbox, monkeypatch: pytest.MonkeyPatch, session: Any, token: str, status: int, kind: FailureKind
) -> None:
    """Their client raises with the vendor's text; our connector knows what it means."""
    with pytest.raises(errors.IEXQueryError) as caught:
        Theirs(shared, monkeypatch, session, token).stock("KO").get_quote()
    assert caught.value.status == status
    assert OwnReader(shared, IEX_CLOUD, token, OPEN).failure("KO").kind is kind
