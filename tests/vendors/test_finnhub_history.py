"""Bars of Finnhub's paid plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, RecordedUrl, Request
from mdagent_mcp.vendors.finnhub import FINNHUB
from vendors.vendor_exchanges import at, fixture, reply

NOW = at("2026-08-20T22:00:00")


def query(interval: Interval = Interval.DAY_1, first: str = "2026-08-18", last: str = "2026-08-20") -> HistoryQuery:
    """Bars of a range on the basis the vendor has."""
    return HistoryQuery(
        instrument=parse_symbol("ACME"),
        interval=interval,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=Adjustment.NONE if interval.is_intraday else Adjustment.SPLITS,
        extended_hours=False,
        now=NOW,
    )


def read(content: Any, asked: HistoryQuery | None = None, received_at: str = "2026-08-20T22:00:00") -> History:
    """What a reply says."""
    assert FINNHUB.history is not None
    return FINNHUB.history.parse(asked or query(), reply(content, received_at))


def columns(*starts: str) -> dict[str, Any]:
    """A reply with one plain bar per start."""
    count = len(starts)
    stamps = [int(at(start).timestamp()) for start in starts]
    prices = {"o": [10.0] * count, "h": [12.0] * count, "l": [9.0] * count, "c": [11.0] * count}
    return {"s": "ok", "t": stamps, **prices, "v": [100] * count}


def starts(history: History) -> list[str]:
    """The starts of a series' bars."""
    return [f"{bar.start:%Y-%m-%dT%H:%M}" for bar in history.bars]


def test_daily_stamps_are_dates() -> None:
    """At midnight UTC they name the trading date themselves."""
    history = read(fixture("finnhub", "candle_daily.json"))
    assert history == History(
        symbol="ACME",
        source="finnhub",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=(
            Bar(at("2026-08-18"), 1052.0, 1063.0, 1050.0, 1060.5, 1200000.0),
            Bar(at("2026-08-19"), 1053.5, 1064.0, 1049.0, 1059.0, 1100000.0),
            Bar(at("2026-08-20"), 1058.0, 1061.25, 1044.0, 1048.75, 845120.0),
        ),
        currency="USD",
        notes=("the reply names no currency; it is that of the listing",),
    )


def test_stamps_at_midnight_in_new_york_are_the_same_dates() -> None:
    """Older replies were stamped so."""
    assert starts(read(columns("2026-08-18T04:00", "2026-08-19T04:00"))) == ["2026-08-18T00:00", "2026-08-19T00:00"]


def test_days_beyond_the_range_are_left_out() -> None:
    """Asked dates are asked dates."""
    assert starts(read(columns("2026-08-17", "2026-08-18", "2026-08-21"))) == ["2026-08-18T00:00"]


@pytest.mark.parametrize(
    ("interval", "start", "received_at", "partial"),
    [
        (Interval.DAY_1, "2026-08-20", "2026-08-20T19:59:59", True),
        (Interval.DAY_1, "2026-08-20", "2026-08-20T20:00:00", False),
        (Interval.WEEK_1, "2026-08-17", "2026-08-21T19:59:59", True),
        (Interval.WEEK_1, "2026-08-17", "2026-08-21T20:00:00", False),
        (Interval.MONTH_1, "2026-08-01", "2026-08-31T19:59:59", True),
        (Interval.MONTH_1, "2026-08-01", "2026-08-31T20:00:00", False),
        (Interval.MIN_5, "2026-08-20T15:00", "2026-08-20T15:04:59", True),
        (Interval.MIN_5, "2026-08-20T15:00", "2026-08-20T15:05:00", False),
    ],
)
def test_a_bar_is_partial_until_its_period_is_over(
    interval: Interval, start: str, received_at: str, *, partial: bool
) -> None:
    """A week ends with its last session, a month with its own."""
    assert read(columns(start), query(interval), received_at).partial_last_bar is partial


def test_intraday_bars_outside_regular_trading_are_left_out() -> None:
    """An hour that begins before the open holds its first half hour."""
    moments = ("2026-08-20T12:00", "2026-08-20T13:00", "2026-08-20T14:00", "2026-08-20T19:00", "2026-08-20T20:00")
    history = read(columns(*moments), query(Interval.HOUR_1))
    assert starts(history) == ["2026-08-20T13:00", "2026-08-20T14:00", "2026-08-20T19:00"]
    assert (history.adjustment, history.extended_hours) == (Adjustment.NONE, False)


def test_extended_hours_are_kept_when_asked() -> None:
    """And the series says so."""
    asked = replace(query(Interval.MIN_1), extended_hours=True)
    history = read(columns("2026-08-20T12:00", "2026-08-20T14:00", "2026-08-20T20:30"), asked)
    assert (len(history.bars), history.extended_hours) == (3, True)


def test_rows_without_prices_are_no_bars() -> None:
    """Null and zero both; volume may be missing altogether."""
    body = columns("2026-08-18", "2026-08-19", "2026-08-20")
    body["c"][0], body["o"][1] = None, 0
    del body["v"]
    history = read(body)
    assert history.bars == (Bar(at("2026-08-20"), 10.0, 12.0, 9.0, 11.0, None),)
    assert history.null_rows == (at("2026-08-18"), at("2026-08-19"))


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in columns("2026-08-18").items() if key != name}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"s": "no_data"}, FailureKind.NO_DATA),
        (columns(), FailureKind.NO_DATA),
        (columns("2026-08-24"), FailureKind.NO_DATA),
        (columns("2026-08-18") | {"s": "error"}, FailureKind.MALFORMED_REPLY),
        (columns("2026-08-18") | {"c": [1.0, 2.0]}, FailureKind.MALFORMED_REPLY),
        (columns("2026-08-18") | {"v": []}, FailureKind.MALFORMED_REPLY),
        (columns("2026-08-18") | {"t": [1787011200000]}, FailureKind.MALFORMED_REPLY),
        (_without("l"), FailureKind.MALFORMED_REPLY),
        (_without("s"), FailureKind.MALFORMED_REPLY),
        ({"error": "Wrong resolution."}, FailureKind.SOURCE_ERROR),
    ],
)
def test_a_reply_without_bars_is_a_failure_with_its_reason(body: Any, kind: FailureKind) -> None:
    """Columns of unequal length would shift every price to another day."""
    with pytest.raises(SourceError) as raised:
        read(body)
    assert raised.value.kind is kind


def test_daily_bars_are_asked_by_utc_days_and_minutes_by_new_york_days() -> None:
    """Both ends belong to the range."""
    assert FINNHUB.history is not None
    path, symbol = "/api/v1/stock/candle", ("symbol", "ACME")
    assert FINNHUB.history.build(query()) == (
        Request(path, (symbol, ("resolution", "D"), ("from", "1787011200"), ("to", "1787270399"))),
    )
    assert FINNHUB.history.build(query(Interval.MIN_15)) == (
        Request(path, (symbol, ("resolution", "15"), ("from", "1787025600"), ("to", "1787284799"))),
    )


@pytest.mark.parametrize(
    ("interval", "resolution"), list(zip(Interval, ("1", "5", "15", "30", "60", "D", "W", "M"), strict=True))
)
def test_every_interval_has_its_resolution(interval: Interval, resolution: str) -> None:
    """And is understood again from a recorded URL."""
    assert FINNHUB.history is not None
    (request,) = FINNHUB.history.build(query(interval))
    assert ("resolution", resolution) in request.query
    understood = FINNHUB.history.recognise(RecordedUrl(request.path, dict(request.query), None, NOW))
    assert understood == replace(query(interval), extended_hours=interval.is_intraday)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (query(), None),
        (query(Interval.MIN_1, "2026-07-21"), None),
        (replace(query(), adjustment=Adjustment.ALL), "Finnhub's 1d bars are on the basis 'splits', not 'all'"),
        (
            replace(query(Interval.MIN_1), adjustment=Adjustment.SPLITS),
            "Finnhub's 1m bars are on the basis 'none', not 'splits'",
        ),
        (query(Interval.MIN_1, "2026-07-20"), "Finnhub sends at most a month of intraday bars"),
        (
            replace(query(), instrument=parse_symbol("VOD.L")),
            "Finnhub's plans for individuals quote US listings, not VOD.L",
        ),
    ],
)
def test_what_it_cannot_serve_is_refused_without_a_call(asked: HistoryQuery, reason: str | None) -> None:
    """Intraday bars are as traded and no other."""
    assert FINNHUB.history is not None
    assert FINNHUB.history.refuses(asked) == reason


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [({"resolution": "45"}, FailureKind.UNSUPPORTED), ({"from": "August"}, FailureKind.BAD_REQUEST)],
)
def test_a_recorded_url_with_odd_parameters_is_told(parameters: dict[str, str], kind: FailureKind) -> None:
    """Another path is nobody's."""
    assert FINNHUB.history is not None
    url = RecordedUrl("/api/v1/stock/candle", {"symbol": "ACME"} | parameters, None, NOW)
    with pytest.raises(SourceError) as raised:
        FINNHUB.history.recognise(url)
    assert raised.value.kind is kind
    assert FINNHUB.history.recognise(replace(url, path="/api/v1/crypto/candle")) is None


def test_a_recorded_url_without_parameters_is_a_daily_series_of_any_range() -> None:
    """As the vendor's documentation shows it."""
    assert FINNHUB.history is not None
    named = parse_symbol("ACME")
    understood = FINNHUB.history.recognise(RecordedUrl("/api/v1/stock/candle", {}, named, NOW))
    assert understood == query(first="1970-01-01")
