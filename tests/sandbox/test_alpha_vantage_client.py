"""The leading Python client of Alpha Vantage, led to the sandbox, reads value for value what our connector reads.

It has no option for another host; the constant that holds the URL is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from sandbox.loopback import OPEN
from sandbox.own_reading import OwnReader, threaded_sandbox

pytest.importorskip("alpha_vantage", reason="alpha_vantage is not installed")
from alpha_vantage.alphavantage import AlphaVantage
from alpha_vantage.cryptocurrencies import CryptoCurrencies
from alpha_vantage.foreignexchange import ForeignExchange
from alpha_vantage.timeseries import TimeSeries

NEW_YORK = ZoneInfo("America/New_York")
YESTERDAY = date(2026, 11, 23)
KEYS = count()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose clients' constant is replaced as long as it runs."""
    with threaded_sandbox(OPEN) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(AlphaVantage, "_ALPHA_VANTAGE_API_URL", f"{running.url_for('alpha_vantage')}/query?")
        yield running


@pytest.fixture
def paid() -> str:
    """A paid key of this test's own: the sandbox's clock stands still, so every key has one second's calls."""
    return f"premium1200-{next(KEYS)}"


@pytest.fixture
def free() -> Callable[[], str]:
    """Makes free keys, good for one call each."""
    return lambda: f"free-{next(KEYS)}"


def reader(sandbox: Sandbox, key: str) -> OwnReader:
    """Our connector."""
    return OwnReader(sandbox, ALPHA_VANTAGE, key, OPEN)


def bare(row: dict[str, str]) -> dict[str, str]:
    """A row under its labels' words."""
    return {label.partition(". ")[2]: value for label, value in row.items()}


def bars_of(table: dict[str, dict[str, str]], start_of: Callable[[str], datetime]) -> list[Bar]:
    """Rows as their client hands them out, as bars, oldest first."""
    rows = ((start_of(stamp), bare(row)) for stamp, row in table.items())
    return [
        Bar(
            start,
            float(row["open"]),
            float(row["high"]),
            float(row["low"]),
            float(row["close"]),
            float(row["volume"]) if "volume" in row else None,
        )
        for start, row in sorted(rows, key=lambda pair: pair[0])
    ]


def by_date(stamp: str) -> datetime:
    """The start of a daily bar."""
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC)


def by_week(stamp: str) -> datetime:
    """Their last day of a week, our first."""
    day = by_date(stamp)
    return day - timedelta(days=day.weekday())


def by_month(stamp: str) -> datetime:
    """Their last day of a month, our first."""
    return by_date(stamp).replace(day=1)


def by_minute(stamp: str) -> datetime:
    """Naive New York time."""
    return datetime.fromisoformat(stamp).replace(tzinfo=NEW_YORK).astimezone(UTC)


@pytest.mark.parametrize("symbol", ["IBM", "BRK.B", "SPY"])
def test_the_quote_of_a_listing(sandbox: Sandbox, free: Callable[[], str], symbol: str) -> None:
    """Yesterday's official close on a trading morning: price, range, previous close, volume, day."""
    told = bare(TimeSeries(key=free()).get_quote_endpoint(symbol=symbol)[0])
    quote = reader(sandbox, free()).quote(symbol)
    assert told["symbol"] == symbol
    assert {name: float(told[name]) for name in ("price", "open", "high", "low", "previous close", "volume")} == {
        "price": quote.price,
        "open": quote.open,
        "high": quote.high,
        "low": quote.low,
        "previous close": quote.previous_close,
        "volume": quote.volume,
    }
    assert quote.event_time is not None
    assert (told["latest trading day"], quote.event_time.date(), quote.session.value) == (
        str(YESTERDAY),
        YESTERDAY,
        "closed",
    )


def test_an_unknown_symbol_is_an_empty_quote(sandbox: Sandbox, free: Callable[[], str]) -> None:
    """Which their client hands out and ours names."""
    assert TimeSeries(key=free()).get_quote_endpoint(symbol="ZZZZ") == ({}, None)
    assert reader(sandbox, free()).failure("ZZZZ").kind is FailureKind.UNKNOWN_SYMBOL


def test_a_currency_and_a_coin(sandbox: Sandbox, free: Callable[[], str]) -> None:
    """Rate, book and time in UTC."""
    for base, symbol in (("EUR", "EURUSD"), ("BTC", "BTC-USD")):
        told = bare(ForeignExchange(key=free()).get_currency_exchange_rate(base, "USD")[0])
        quote = reader(sandbox, free()).quote(symbol)
        assert quote.event_time is not None
        assert (
            float(told["Exchange Rate"]),
            float(told["Bid Price"]),
            float(told["Ask Price"]),
            by_date(told["Last Refreshed"]),
        ) == (quote.price, quote.bid, quote.ask, quote.event_time)


def test_daily_bars_as_traded(sandbox: Sandbox, free: Callable[[], str]) -> None:
    """The last hundred days of a free key end with the last day that is over."""
    table, meta = TimeSeries(key=free()).get_daily("KO")
    bars = bars_of(table, by_date)
    # Ours leaves room for the running day, which another key may be sent.
    history = reader(sandbox, free()).history("KO", Interval.DAY_1, bars[1].day, YESTERDAY, Adjustment.NONE)
    assert (len(bars), bars[-1].day, bare(meta)["Last Refreshed"]) == (100, YESTERDAY, str(YESTERDAY))
    assert bars[1:] == list(history.bars)


def test_daily_bars_on_every_basis(sandbox: Sandbox, paid: str) -> None:
    """Theirs are as traded beside an adjusted close and the events; ours are on the basis asked for."""
    table, _ = TimeSeries(key=paid).get_daily_adjusted("NVDA", outputsize="full")
    rows = {day: bare(row) for day, row in table.items() if day >= "2026-01-02"}
    ours = {
        basis: reader(sandbox, paid).history("NVDA", Interval.DAY_1, date(2026, 1, 2), YESTERDAY, basis)
        for basis in Adjustment
    }
    closes = {basis: {str(bar.day): bar.close for bar in history.bars} for basis, history in ours.items()}
    assert closes[Adjustment.NONE] == {day: float(row["close"]) for day, row in rows.items()}
    adjusted = {day: float(row["adjusted close"]) for day, row in rows.items()}
    assert closes[Adjustment.ALL] == pytest.approx(adjusted, rel=1e-12)
    split = {day: float(row["close"]) / (4 if day < "2026-03-16" else 1) for day, row in rows.items()}
    assert closes[Adjustment.SPLITS] == pytest.approx(split, rel=1e-12)
    told = ours[Adjustment.SPLITS]
    paid_out = {day: float(row["dividend amount"]) for day, row in rows.items() if float(row["dividend amount"])}
    shares = {day: float(row["split coefficient"]) for day, row in rows.items() if row["split coefficient"] != "1.0"}
    assert shares == {str(split.day): split.ratio for split in told.splits} == {"2026-03-16": 4.0}
    assert {str(d.day): d.amount * (4 if d.day < date(2026, 3, 16) else 1) for d in told.dividends} == paid_out
    assert len(paid_out) == 4


@pytest.mark.parametrize(
    ("fetch", "interval", "start_of"),
    [("get_weekly", Interval.WEEK_1, by_week), ("get_monthly", Interval.MONTH_1, by_month)],
)
def test_weeks_and_months(
    sandbox: Sandbox,
    free: Callable[[], str],
    fetch: str,
    interval: Interval,
    start_of: Callable[[str], datetime],
) -> None:
    """Raw, and by the adjusted close."""
    first = date(2020, 6, 1)
    raw = bars_of(getattr(TimeSeries(key=free()), fetch)("KO")[0], start_of)
    history = reader(sandbox, free()).history("KO", interval, first, YESTERDAY, Adjustment.NONE)
    assert list(history.bars) == [bar for bar in raw if bar.day >= first]
    table = getattr(TimeSeries(key=free()), f"{fetch}_adjusted")("KO")[0]
    adjusted = {start_of(stamp): float(bare(row)["adjusted close"]) for stamp, row in table.items()}
    history = reader(sandbox, free()).history("KO", interval, first, YESTERDAY, Adjustment.ALL)
    told = {start: close for start, close in adjusted.items() if start.date() >= first}
    assert {bar.start: bar.close for bar in history.bars} == pytest.approx(told, rel=1e-12)


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize(("adjusted", "basis"), [("true", Adjustment.ALL), ("false", Adjustment.NONE)])
def test_intraday_bars(sandbox: Sandbox, paid: str, adjusted: str, basis: Adjustment, *, extended: bool) -> None:
    """A whole month, in which a dividend fell, through the change to winter time."""
    asked = {"interval": "60min", "outputsize": "full", "month": "2026-11", "adjusted": adjusted}
    table, meta = TimeSeries(key=paid).get_intraday("KO", extended_hours=str(extended).lower(), **asked)
    history = reader(sandbox, paid).history(
        "KO", Interval.HOUR_1, date(2026, 11, 1), YESTERDAY, basis, extended=extended
    )
    assert bare(meta)["Time Zone"] == "US/Eastern"
    assert bars_of(table, by_minute) == list(history.bars)


def test_daily_bars_of_pairs(sandbox: Sandbox, free: Callable[[], str]) -> None:
    """The running day included."""
    currency = bars_of(ForeignExchange(key=free()).get_currency_exchange_daily("EUR", "USD")[0], by_date)
    coin = bars_of(CryptoCurrencies(key=free()).get_digital_currency_daily("BTC", "USD")[0], by_date)
    for symbol, bars in (("EURUSD", currency), ("BTC-USD", coin)):
        first = bars[-60].day
        history = reader(sandbox, free()).history(symbol, Interval.DAY_1, first, OPEN.date())
        assert list(history.bars) == [bar for bar in bars if bar.day >= first]
        assert history.bars[-1].day == OPEN.date()


def test_refusals_are_what_both_take_them_for(sandbox: Sandbox, free: Callable[[], str]) -> None:
    """Status 200 and a text in every case: premium, unknown symbol, no key worth the name, too fast."""
    with pytest.raises(ValueError, match="This is a premium endpoint"):
        TimeSeries(key=free()).get_daily_adjusted("KO")
    assert refused(sandbox, free(), "KO", Adjustment.SPLITS) is FailureKind.NOT_ENTITLED
    with pytest.raises(ValueError, match="Invalid API call"):
        TimeSeries(key=free()).get_daily("ZZZZ")
    assert refused(sandbox, free(), "ZZZZ", Adjustment.NONE) is FailureKind.UNKNOWN_SYMBOL
    with pytest.raises(ValueError, match="demo purposes only"):
        TimeSeries(key="demo").get_daily("KO")
    assert refused(sandbox, "demo", "KO", Adjustment.NONE) is FailureKind.UNAUTHORIZED
    hasty = free()
    TimeSeries(key=hasty).get_quote_endpoint("KO")
    with pytest.raises(ValueError, match="1 request per second"):
        TimeSeries(key=hasty).get_quote_endpoint("KO")
    assert reader(sandbox, hasty).failure("KO").kind is FailureKind.THROTTLED


def refused(sandbox: Sandbox, key: str, symbol: str, basis: Adjustment) -> FailureKind:
    """Why our connector has no daily bars."""
    days = (date(2026, 11, 2), YESTERDAY)
    query = HistoryQuery(parse_symbol(symbol), Interval.DAY_1, *days, basis, extended_hours=False, now=OPEN)
    outcome = reader(sandbox, key).series(query)
    assert isinstance(outcome, Failure)
    return outcome.kind


def test_a_search_finds_listings_by_symbol_and_name(sandbox: Sandbox, free: Callable[[], str]) -> None:
    """Best first."""
    told = TimeSeries(key=free(), output_format="csv").get_symbol_search("boeing")[0]
    header, *rows = list(told)
    assert (header[0], [row[0] for row in rows]) == ("symbol", ["BA"])
