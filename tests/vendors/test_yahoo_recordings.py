"""Every real exchange with Yahoo that we have, read as the engine would; the expected values were read by eye.

The payloads lie beside the project and are not part of it; without them the tests are skipped. Of a quote are
written down: symbol, price, session, event time, currency, previous close, bid and declared delay. Of a series:
symbol, number of bars, the first and last bar, and what else the payload says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Quote, Split
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from mdagent_mcp.vendors.yahoo import YAHOO
from vendors.yahoo_exchange import utc

RECORDINGS: Final = Path(__file__).resolve().parents[2] / ".." / "shared" / "recordings" / "yahoo"
UNDATED: Final = datetime(2026, 9, 1, tzinfo=UTC)
"""For the exchange that is dated by a range of months only."""

QuoteRow = tuple[str, float, str, str, str | None, float | None, float | None, float]
FRIDAY_CLOSE: Final = "2025-02-14T21:00:00"


@dataclass(frozen=True)
class SeriesRow:
    """What a recorded series says."""

    symbol: str
    interval: Interval
    count: int
    first: Bar
    last: Bar
    currency: str
    timezone: str
    null_rows: tuple[datetime, ...] = ()
    extended_hours: bool = False
    dividends: tuple[Dividend, ...] = ()
    splits: tuple[Split, ...] = ()


def on(year: int, month: int, day: int) -> datetime:
    """A day as daily bars are stamped."""
    return datetime(year, month, day, tzinfo=UTC)


QUOTES: Final[Mapping[str, tuple[QuoteRow, ...]]] = {
    "quote_aapl_closed_2025.json": (
        ("AAPL", 244.6, "closed", FRIDAY_CLOSE, "USD", 241.53, None, 0),
        ("AAPL", 244.64, "post", "2025-02-15T00:59:58", "USD", 241.53, 244.44, 0),
    ),
    "quote_batch_aapl_baba_2025.json": (
        ("AAPL", 244.6, "closed", FRIDAY_CLOSE, "USD", 241.53, None, 0),
        ("AAPL", 244.64, "post", "2025-02-15T00:59:58", "USD", 241.53, 244.44, 0),
        ("BABA", 124.73, "closed", "2025-02-14T21:00:02", "USD", 119.54, None, 0),
        ("BABA", 124.81, "post", "2025-02-15T00:59:59", "USD", 119.54, 124.75, 0),
    ),
    "quote_otc_afraf.json": (("AFRAF", 8.46, "closed", "2025-02-14T20:00:00", "USD", None, 8.79, 0),),
    "quote_lse_ocdo_delayed15.json": (("OCDO.L", 3.088, "regular", "2025-02-17T10:38:44", "GBP", 3.152, 3.085, 900),),
    "quote_hist_lse_delayed20.json": (("OCDO.L", 26.31, "regular", "2021-02-10T09:36:41", "GBP", 27, 26.28, 1200),),
    "quote_oslo_azt_delayed15.json": (("AZT.OL", 19.54, "regular", "2025-02-17T10:38:10", "NOK", 19, 19.54, 900),),
    "quote_milan_ldo_delayed15.json": (("LDO.MI", 33.38, "regular", "2025-02-17T10:39:51", "EUR", 31.68, 33.35, 900),),
    "quote_copenhagen_orsted_realtime.json": (
        ("ORSTED.CO", 299.7, "regular", "2025-02-17T10:54:15", "DKK", 300.8, 299.6, 0),
    ),
    "quote_btcusd.json": (("BTC-USD", 96077.45, "regular", "2025-02-17T10:53:00", "USD", 96137.88, None, 0),),
    "quote_eurusd.json": (("EURUSD", 1.0489877, "regular", "2025-02-17T10:54:43", "USD", 1.0495383, 1.0489877, 0),),
    "quote_etf_qqq.json": (
        ("QQQ", 538.15, "closed", "2025-02-14T21:00:01", "USD", 535.9, None, 0),
        ("QQQ", 538.13, "post", "2025-02-15T00:59:51", "USD", 535.9, 538.1, 0),
    ),
    "quote_spot.json": (
        ("SPOT", 638.18, "closed", "2025-02-14T21:00:02", "USD", 648.32, None, 0),
        ("SPOT", 637.51, "post", "2025-02-15T00:58:07", "USD", 648.32, 637.51, 0),
    ),
    "quote_fields_subset.json": (("TSLA", 355.84, "closed", "2025-02-14T21:00:01", None, None, None, 0),),
}

SERIES: Final[Mapping[str, SeriesRow]] = {
    "chart_aapl_daily_2020q4_with_split_dividend.json": SeriesRow(
        "AAPL",
        Interval.DAY_1,
        49,
        Bar(on(2020, 8, 31), 127.580002, 131.0, 126.0, 129.039993, 225702700),
        Bar(on(2020, 11, 6), 118.32, 119.2, 116.129997, 118.690002, 114457900),
        "USD",
        "America/New_York",
        dividends=(Dividend(date(2020, 11, 6), 0.205),),
        splits=(Split(date(2020, 8, 31), 4.0),),
    ),
    "chart_aapl_default.json": SeriesRow(
        "AAPL",
        Interval.DAY_1,
        1,
        Bar(on(2022, 2, 22), 164.979996, 166.690002, 162.149994, 164.320007, 91162800),
        Bar(on(2022, 2, 22), 164.979996, 166.690002, 162.149994, 164.320007, 91162800),
        "USD",
        "America/New_York",
    ),
    "chart_btcusd_daily.json": SeriesRow(
        "BTC-USD",
        Interval.DAY_1,
        3,
        Bar(on(2020, 1, 1), 7194.89209, 7254.330566, 7174.944336, 7200.174316, 18565664997),
        Bar(on(2020, 1, 3), 6984.428711, 7413.715332, 6914.996094, 7344.884277, 28111481032),
        "USD",
        "UTC",
    ),
    "chart_lse_ocdo_daily.json": SeriesRow(
        "OCDO.L",
        Interval.DAY_1,
        1,
        Bar(on(2020, 1, 2), 12.795, 12.865699, 12.58, 12.595, 728520),
        Bar(on(2020, 1, 2), 12.795, 12.865699, 12.58, 12.595, 728520),
        "GBP",
        "Europe/London",
    ),
    "chart_qqq_daily.json": SeriesRow(
        "QQQ",
        Interval.DAY_1,
        1,
        Bar(on(2020, 1, 2), 214.4, 216.160004, 213.979996, 216.160004, 30969400),
        Bar(on(2020, 1, 2), 214.4, 216.160004, 213.979996, 216.160004, 30969400),
        "USD",
        "America/New_York",
    ),
    "chart_orsted_daily.json": SeriesRow(
        "ORSTED.CO",
        Interval.DAY_1,
        1,
        Bar(on(2020, 1, 2), 685.799988, 688.400024, 677.200012, 681.0, 340491),
        Bar(on(2020, 1, 2), 685.799988, 688.400024, 677.200012, 681.0, 340491),
        "DKK",
        "Europe/Copenhagen",
    ),
    "chart_wsu_de_daily.json": SeriesRow(
        "WSU.DE",
        Interval.DAY_1,
        3,
        Bar(on(2023, 8, 4), 34.25, 34.549999, 34.099998, 34.450001, 1251),
        Bar(on(2023, 8, 8), 34.049999, 34.200001, 32.900002, 33.200001, 10846),
        "EUR",
        "Europe/Berlin",
    ),
    "chart_msft_dividends_2021.json": SeriesRow(
        "MSFT",
        Interval.DAY_1,
        252,
        Bar(on(2021, 2, 1), 235.059998, 242.5, 232.429993, 239.649994, 33314200),
        Bar(on(2022, 1, 28), 300.230011, 308.480011, 294.450012, 308.26001, 49743700),
        "USD",
        "America/New_York",
        dividends=(
            Dividend(date(2021, 2, 17), 0.56),
            Dividend(date(2021, 5, 19), 0.56),
            Dividend(date(2021, 8, 18), 0.56),
            Dividend(date(2021, 11, 17), 0.62),
        ),
    ),
    "chart_hist_tsla_30m.json": SeriesRow(
        "TSLA",
        Interval.MIN_30,
        30,
        Bar(utc("2021-11-22T09:00:00"), 1148.51, 1168.8, 1147.0, 1168.7, 0),
        Bar(utc("2021-11-22T23:30:00"), 1155.19, 1159.0, 1153.33, 1156.49, 0),
        "USD",
        "America/New_York",
        extended_hours=True,
    ),
    # 391 rows: one is null, and the last is the price at the next day's closing bell.
    "chart_hist_aapl_1m_2024.json": SeriesRow(
        "AAPL",
        Interval.MIN_1,
        389,
        Bar(utc("2024-10-02T13:30:00"), 225.889999, 226.110001, 225.419998, 225.699997, 1205461),
        Bar(utc("2024-10-02T19:59:00"), 226.860001, 226.960098, 226.690094, 226.809998, 546314),
        "USD",
        "America/New_York",
        null_rows=(utc("2024-10-02T15:15:00"),),
    ),
}

FAILURES: Final[Mapping[str, FailureKind]] = {
    "quote_stub_simp.json": FailureKind.UNKNOWN_SYMBOL,
    "quote_dead_adh.json": FailureKind.NO_DATA,
    "quote_asx_aps.json": FailureKind.UNKNOWN_SYMBOL,
    "quote_option_expired.json": FailureKind.UNKNOWN_SYMBOL,
    "chart_aapl_1m_2025.json": FailureKind.NO_DATA,
    "chart_hist_404_mdly.json": FailureKind.UNKNOWN_SYMBOL,
    "search_aapl.json": FailureKind.UNSUPPORTED,
    "error_429_edge.txt": FailureKind.THROTTLED,
    "error_429_too_many.txt": FailureKind.THROTTLED,
}

TOKENS: Final = frozenset({"crumb_ok.txt"})


def _index() -> dict[str, dict[str, Any]]:
    path = RECORDINGS / "index.json"
    if not path.is_file():
        return {}
    return {entry["file"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))}


INDEX: Final = _index()
absent = pytest.mark.skipif(not INDEX, reason=f"the recordings are not at {RECORDINGS}")


def read(name: str) -> RecordedReading:
    """A recorded exchange read offline."""
    entry = INDEX[name]
    try:
        recorded = datetime.fromisoformat(entry["recorded"])
    except ValueError:
        recorded = UNDATED
    return read_recorded(
        YAHOO,
        entry["url"],
        (RECORDINGS / name).read_bytes(),
        status=entry["status"],
        received_at=recorded if recorded.tzinfo else recorded.replace(tzinfo=UTC),
        headers=entry["headers"],
    )


def _row(quote: Quote) -> tuple[object, ...]:
    assert quote.event_time is not None
    figures = (quote.previous_close, quote.bid, quote.declared_delay_s)
    return quote.symbol, quote.price, quote.session, f"{quote.event_time:%Y-%m-%dT%H:%M:%S}", quote.currency, *figures


@absent
@pytest.mark.parametrize("name", sorted(QUOTES))
def test_a_recorded_quote_reads_as_its_payload_says(name: str) -> None:
    """Each price under its own session and time."""
    reading = read(name)
    rows = [_row(quote) for quote in reading.quotes]
    assert [tuple(row) for row in rows] == [_close(expected) for expected in QUOTES[name]]
    assert (reading.failures, reading.failure, reading.history, reading.token) == ({}, None, None, False)


def _close(row: QuoteRow) -> tuple[object, ...]:
    return tuple(pytest.approx(value, rel=1e-12) if isinstance(value, float | int) else value for value in row)


@absent
@pytest.mark.parametrize("name", sorted(SERIES))
def test_a_recorded_series_reads_as_its_payload_says(name: str) -> None:
    """Bars under their own dates, events beside them; the prices are single-precision numbers."""
    reading, expected = read(name), SERIES[name]
    history = reading.history
    assert isinstance(history, History)
    assert (len(history.bars), reading.quotes, reading.failure) == (expected.count, (), None)
    for bar, written in ((history.bars[0], expected.first), (history.bars[-1], expected.last)):
        assert bar.start == written.start
        assert _values(bar) == pytest.approx(_values(written), rel=1e-7)
    told = SeriesRow(
        history.symbol,
        history.interval,
        len(history.bars),
        expected.first,
        expected.last,
        history.currency or "",
        history.timezone,
        history.null_rows,
        history.extended_hours,
        history.dividends,
        history.splits,
    )
    assert told == expected
    assert (history.adjustment, history.partial_last_bar) == (Adjustment.SPLITS, False)


def _values(bar: Bar) -> list[float | None]:
    return [bar.open, bar.high, bar.low, bar.close, bar.volume]


@absent
@pytest.mark.parametrize("name", sorted(FAILURES))
def test_a_recorded_refusal_reads_as_its_reason(name: str) -> None:
    """And never as a price."""
    reading = read(name)
    assert reading.failure is not None
    assert (reading.failure.kind, reading.quotes, reading.history) == (FAILURES[name], (), None)


@absent
@pytest.mark.parametrize("name", sorted(TOKENS))
def test_a_recorded_crumb_is_a_usable_token(name: str) -> None:
    """It is recognised by its path."""
    assert read(name) == RecordedReading(token=True)
