"""The vendors' own clients, pointed at the sandbox, read what the simulated market holds.

They block, so the sandbox runs in a thread with an event loop of its own. Nothing leaves this machine: the yfinance
session has every Yahoo host mapped to the sandbox and refuses all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from anyio.from_thread import start_blocking_portal

from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.sandbox.clock import HeldClock
from mdagent_mcp.sandbox.server import Sandbox, running_sandbox
from mdagent_mcp.sandbox.venues import VENUES, VendorView
from sandbox.loopback import OPEN, SEED

finnhub = pytest.importorskip("finnhub", reason="finnhub-python is not installed")
requests = pytest.importorskip("requests", reason="requests is not installed")

own_warnings = pytest.mark.filterwarnings("ignore")
"""What yfinance and pandas deprecate among themselves is not ours to mend."""
YAHOO_HOSTS = {"query1.finance.yahoo.com", "query2.finance.yahoo.com", "fc.yahoo.com"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in a thread, its market held at a Tuesday morning."""
    with start_blocking_portal() as portal:
        serving = running_sandbox(HeldClock(SystemClock(), OPEN), seed=SEED)
        with portal.wrap_async_context_manager(serving) as running:
            yield running


class SandboxAdapter:
    """Sends what is meant for Yahoo's hosts to the sandbox, with one cookie jar for all of them."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http = requests.adapters.HTTPAdapter()
        self._cookies: dict[str, str] = {}

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Rewrite the host, keep the rest."""
        parts = urlsplit(request.url)
        if parts.hostname not in YAHOO_HOSTS:
            raise requests.exceptions.ConnectionError(f"{parts.hostname} is not Yahoo")
        request.url = f"{self._base_url}{parts.path}{'?' if parts.query else ''}{parts.query}"
        request.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        reply = self._http.send(request, **kwargs)
        self._cookies.update(reply.cookies.get_dict())
        return reply

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@pytest.fixture
def yfinance(sandbox: Sandbox, tmp_path: Path) -> Iterator[Any]:
    """The yfinance module with its caches in a temporary directory and its session led to the sandbox."""
    module = pytest.importorskip("yfinance", reason="yfinance is not installed")
    module.set_tz_cache_location(str(tmp_path))
    session = requests.Session()
    session.headers["User-Agent"] = "Mozilla/5.0 (compatible; test)"
    adapter = SandboxAdapter(sandbox.url_for("yahoo"))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    data = module.data.YfData(session=session)
    data._crumb = data._cookie = None
    yield module
    session.close()


@pytest.fixture
def finnhub_client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Finnhub's client with an entitled key."""
    monkeypatch.setattr(finnhub.Client, "API_URL", f"{sandbox.url_for('finnhub')}/api/v1")
    with finnhub.Client(api_key="premium-test") as client:
        yield client


def test_finnhubs_client_reads_the_quote(sandbox: Sandbox, finnhub_client: Any) -> None:
    """All numbers of the snapshot, and zeros for a symbol nobody knows."""
    view = VendorView(sandbox.market, VENUES["finnhub"], OPEN)
    security = view.find("MSFT")
    assert security is not None
    regular = view.snapshot(security).regular
    told = finnhub_client.quote("MSFT")
    assert {name: told[name] for name in ("c", "h", "l", "o", "pc", "t")} == {
        "c": regular.close,
        "h": regular.high,
        "l": regular.low,
        "o": regular.open,
        "pc": regular.previous_close,
        "t": int(regular.close_time.timestamp()),
    }
    assert finnhub_client.quote("ZZZZ")["t"] == 0


def test_finnhubs_client_reads_candles_and_market_status(sandbox: Sandbox, finnhub_client: Any) -> None:
    """A column of closes for a week; an open market."""
    first, last = date(2026, 11, 16), date(2026, 11, 20)
    bars = sandbox.market.daily_bars("KO", first, last)
    told = finnhub_client.stock_candles("KO", "D", int(bars[0].start.timestamp()), int(bars[-1].start.timestamp()))
    assert told["s"] == "ok"
    assert told["t"] == [int(bar.start.timestamp()) for bar in bars]
    assert told["c"] == [bar.close for bar in bars]
    assert told["v"] == [bar.volume for bar in bars]
    assert finnhub_client.market_status(exchange="US")["isOpen"] is True


def test_finnhubs_client_raises_what_it_raises_for_the_real_refusals(sandbox: Sandbox, finnhub_client: Any) -> None:
    """403 for candles with a free key, 429 when throttled."""
    finnhub_client.api_key = "free"
    with pytest.raises(finnhub.FinnhubAPIException) as refused:
        finnhub_client.stock_candles("KO", "D", 1_794_000_000, 1_795_000_000)
    sandbox.set_faults("finnhub=throttle")
    with pytest.raises(finnhub.FinnhubAPIException) as throttled:
        finnhub_client.quote("KO")
    assert (refused.value.status_code, throttled.value.status_code) == (403, 429)


@own_warnings
def test_yfinance_reads_daily_history_with_its_events(sandbox: Sandbox, yfinance: Any) -> None:
    """Prices, volumes, the split and the dividends of a year, through cookie and crumb."""
    frame = yfinance.Ticker("NVDA").history(start="2026-01-02", end="2026-11-21", auto_adjust=False)
    bars = sandbox.market.daily_bars("NVDA", date(2026, 1, 2), date(2026, 11, 20), until=OPEN)
    assert [stamp.date() for stamp in frame.index] == [bar.day for bar in bars]
    assert list(frame["Close"]) == [pytest.approx(bar.close, rel=1e-6) for bar in bars]
    assert list(frame["High"]) == [pytest.approx(bar.high, rel=1e-6) for bar in bars]
    assert list(frame["Volume"]) == [bar.volume for bar in bars]
    splits = {stamp.date(): ratio for stamp, ratio in frame["Stock Splits"].items() if ratio}
    assert splits == {date(2026, 3, 16): 4.0}
    paid = {stamp.date(): amount for stamp, amount in frame["Dividends"].items() if amount}
    told = sandbox.market.dividends("NVDA", date(2026, 1, 2), date(2026, 11, 20))
    assert paid == {dividend.day: pytest.approx(dividend.amount, abs=1e-5) for dividend in told}
    assert (frame["Adj Close"].iloc[0] < frame["Close"].iloc[0], sandbox.calls["yahoo"] > 2) == (True, True)


@own_warnings
def test_yfinance_reads_todays_minutes_and_the_price_of_now(sandbox: Sandbox, yfinance: Any) -> None:
    """The minutes of the session so far, and in the metadata the snapshot's price and time."""
    ticker = yfinance.Ticker("AAPL")
    frame = ticker.history(period="1d", interval="1m")
    view = VendorView(sandbox.market, VENUES["yahoo"], OPEN)
    security = view.find("AAPL")
    assert security is not None
    regular = view.snapshot(security).regular
    minutes = view.intraday_bars(security, date(2026, 11, 24), 60)
    read = {stamp.to_pydatetime().astimezone(UTC): close for stamp, close in frame["Close"].items()}
    assert len(read) >= len(minutes) - 2  # a minute may be null
    assert read == {bar.start: pytest.approx(bar.close, rel=1e-6) for bar in minutes if bar.start in read}
    meta = ticker.history_metadata
    assert (meta["regularMarketPrice"], meta["symbol"]) == (regular.close, "AAPL")
    market_time = meta["regularMarketTime"]
    stamp = market_time if isinstance(market_time, int) else int(datetime.fromisoformat(str(market_time)).timestamp())
    assert stamp == int(regular.close_time.timestamp())
