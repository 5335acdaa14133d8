"""What is read as a series: days, adjustments, units, null rows, the running bar and refused replies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.vendor import HistoryQuery
from mdagent_mcp.vendors.yahoo import YAHOO
from vendors.yahoo_exchange import chart_of, load, reply_of, utc

RUNNING = "2026-03-18T15:04:11"
DAILY = HistoryQuery(
    parse_symbol("ACME"),
    Interval.DAY_1,
    date(2026, 3, 12),
    date(2026, 3, 18),
    Adjustment.SPLITS,
    extended_hours=False,
    now=utc(RUNNING),
)
MINUTES = replace(DAILY, interval=Interval.MIN_1, first=date(2026, 3, 17), last=date(2026, 3, 17))
WEEKLY = replace(DAILY, instrument=parse_symbol("VOD.L"), interval=Interval.WEEK_1, first=date(2026, 3, 11))


def read(query: HistoryQuery, payload: Any, received_at: str = RUNNING) -> History:
    """The series read from a payload."""
    assert YAHOO.history is not None
    return YAHOO.history.parse(query, reply_of(payload, received_at))


def refusal(query: HistoryQuery, payload: Any) -> tuple[FailureKind, str]:
    """Why a payload is refused."""
    with pytest.raises(SourceError) as raised:
        read(query, payload)
    return raised.value.kind, raised.value.detail


def midnight(day: int, month: int = 3) -> datetime:
    """A day of 2026 as daily bars are stamped."""
    return datetime(2026, month, day, tzinfo=UTC)


def starts(history: History) -> list[datetime]:
    """The starts of all bars."""
    return [bar.start for bar in history.bars]


SPLIT_DAILY = History(
    symbol="ACME",
    source="yahoo",
    interval=Interval.DAY_1,
    adjustment=Adjustment.SPLITS,
    timezone="America/New_York",
    received_at=utc(RUNNING),
    bars=(
        Bar(midnight(12), 39.0, 40.5, 38.4, 40.0, 3000000.0),
        Bar(midnight(16), 40.2, 42.0, 39.9, 41.0, 3600000.0),
        Bar(midnight(17), 41.1, 42.3, 40.8, 42.0, 900000.0),
        Bar(midnight(18), 41.8, 42.0, 41.2, 41.5, 450000.0),
    ),
    currency="USD",
    null_rows=(midnight(13),),
    partial_last_bar=True,
    dividends=(Dividend(date(2026, 3, 18), 0.3),),
    splits=(Split(date(2026, 3, 17), 3.0),),
)


def test_a_daily_series_is_served_as_sent_under_its_trading_dates() -> None:
    """A row without prices is listed and not served; the bar of the running session is partial."""
    assert read(DAILY, load("daily_split.json")) == SPLIT_DAILY


def test_prices_as_traded_undo_later_splits_in_prices_and_volumes() -> None:
    """The bar of the day the split takes effect is already in new shares."""
    query = replace(DAILY, adjustment=Adjustment.NONE)
    expected = replace(
        SPLIT_DAILY,
        adjustment=Adjustment.NONE,
        bars=(
            Bar(midnight(12), 117.0, 121.5, 38.4 * 3, 120.0, 1000000.0),
            Bar(midnight(16), 40.2 * 3, 126.0, 39.9 * 3, 123.0, 1200000.0),
            *SPLIT_DAILY.bars[2:],
        ),
    )
    assert read(query, load("daily_split.json")) == expected


def test_prices_as_traded_undo_a_split_after_the_asked_range_and_serve_only_the_range() -> None:
    """That is why such a request reaches up to now; the dividend comes on the same basis."""
    payload = load("daily_split.json")
    paid = chart_of(payload)["events"]["dividends"]
    paid["x"] = {"amount": 0.3, "date": int(utc("2026-03-12T13:30:00").timestamp())}
    query = replace(DAILY, adjustment=Adjustment.NONE, last=date(2026, 3, 13))
    history = read(query, payload)
    assert history.bars == (Bar(midnight(12), 117.0, 121.5, 38.4 * 3, 120.0, 1000000.0),)
    assert (history.null_rows, history.partial_last_bar) == ((midnight(13),), False)
    assert history.splits == (Split(date(2026, 3, 17), 3.0),)
    assert history.dividends == (Dividend(date(2026, 3, 12), 0.3 * 3), Dividend(date(2026, 3, 18), 0.3))


def test_full_adjustment_is_told_beside_prices_corrected_for_splits_and_not_applied() -> None:
    """It is checked against the dividends before anybody multiplies by it; a row without adjclose keeps its prices."""
    payload = load("daily_split.json")
    chart_of(payload)["indicators"]["adjclose"][0]["adjclose"][3] = None
    history = read(replace(DAILY, adjustment=Adjustment.ALL), payload)
    assert history.adjustment is Adjustment.SPLITS
    assert history.bars[0] == Bar(midnight(12), 39.0, 40.5, 38.4, 40.0, 3000000.0, 39.6)
    assert (starts(history), history.null_rows) == (
        [midnight(12), midnight(16), midnight(17), midnight(18)],
        (midnight(13),),
    )
    assert history.bars[2].adjusted_close is None


def test_full_adjustment_without_adjclose_is_refused() -> None:
    """Prices without dividends are not passed off as adjusted."""
    payload = load("daily_split.json")
    del chart_of(payload)["indicators"]["adjclose"]
    kind, detail = refusal(replace(DAILY, adjustment=Adjustment.ALL), payload)
    assert (kind, detail) == (FailureKind.MALFORMED_REPLY, "the chart has no adjclose to adjust for dividends by")


@pytest.mark.parametrize("adjustment", list(Adjustment))
def test_an_index_is_the_same_under_every_adjustment(adjustment: Adjustment) -> None:
    """It has neither splits nor dividends, whatever the reply holds beside."""
    payload = load("daily_split.json")
    chart_of(payload)["meta"]["symbol"] = "^GSPC"
    history = read(replace(DAILY, instrument=parse_symbol("^GSPC"), adjustment=adjustment), payload)
    assert (history.adjustment, history.bars) == (adjustment, SPLIT_DAILY.bars)


def test_a_midnight_two_hours_early_belongs_to_the_coming_day() -> None:
    """After a change of summer time some exchanges' daily stamps come out early; the running row's is a real time."""
    payload = load("daily_split.json")
    chart = chart_of(payload)
    chart["meta"] |= {"symbol": "PETR4.SA", "currency": "BRL", "exchangeTimezoneName": "America/Sao_Paulo"}
    chart["timestamp"] = [
        int(utc(f"2026-03-{d}:00:00").timestamp()) for d in ("12T02", "13T01", "16T03", "17T13", "18T01")
    ]
    history = read(replace(DAILY, instrument=parse_symbol("PETR4.SA")), payload)
    assert (starts(history), history.null_rows) == (
        [midnight(12), midnight(16), midnight(17)],
        (midnight(13),),
    )


def test_weeks_start_on_their_monday_in_pounds_with_the_running_day_joined_in() -> None:
    """The week cut by the asked range is served whole; the running day came as a row of its own."""
    expected = History(
        symbol="VOD.L",
        source="yahoo",
        interval=Interval.WEEK_1,
        adjustment=Adjustment.SPLITS,
        timezone="Europe/London",
        received_at=utc(RUNNING),
        bars=(
            Bar(midnight(9), 0.68, 70.5 / 100, 67.5 / 100, 0.7, 9000.0),
            Bar(midnight(16), 0.7, 72.5 / 100, 68.5 / 100, 71.5 / 100, 5700.0),
        ),
        currency="GBP",
        partial_last_bar=True,
        dividends=(Dividend(date(2026, 3, 12), 0.0225),),
        notes=("prices are quoted in GBp and were divided by 100",),
    )
    assert read(WEEKLY, load("weekly_pence.json")) == expected


def test_a_dividend_in_another_currency_is_left_out_with_a_note() -> None:
    """A dollar amount does not belong beside prices in pounds; one in pounds is not divided."""
    payload = load("weekly_pence.json")
    paid = chart_of(payload)["events"]["dividends"]
    (first,) = paid.values()
    paid["x"] = {"amount": 0.05, "date": first["date"], "currency": "USD"}
    paid["y"] = {"amount": 0.05, "date": first["date"], "currency": "GBP"}
    history = read(WEEKLY, payload)
    assert history.dividends == (Dividend(date(2026, 3, 12), 0.0225), Dividend(date(2026, 3, 12), 0.05))
    assert history.notes[1:] == ("the dividend of 2026-03-12 is in USD and was left out",)


def test_a_week_with_a_split_in_it_is_marked_when_prices_as_traded_are_asked() -> None:
    """Its prices from before the split cannot be told apart from those after it."""
    payload = load("weekly_pence.json")
    stamp = int(utc("2026-03-12T08:00:00").timestamp())
    chart_of(payload)["events"]["splits"] = {"s": {"date": stamp, "numerator": 1, "denominator": 10}}
    history = read(replace(WEEKLY, adjustment=Adjustment.NONE, first=date(2026, 3, 2)), payload)
    assert history.bars[0].close == 0.7
    assert history.notes[-1] == "the bar of 2026-03-09 contains a split and is in new shares throughout"


def test_minutes_are_cut_to_the_regular_hours_of_the_asked_day() -> None:
    """The point stamped with the closing bell is a print and no bar; the next morning was not asked for."""
    expected = History(
        symbol="ACME",
        source="yahoo",
        interval=Interval.MIN_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=utc(RUNNING),
        bars=(
            Bar(utc("2026-03-17T13:30:00"), 41.1, 41.3, 41.0, 41.2, 5000.0),
            Bar(utc("2026-03-17T19:59:00"), 41.9, 42.0, 41.8, 41.95, 9000.0),
        ),
        currency="USD",
        null_rows=(utc("2026-03-17T13:31:00"),),
    )
    assert read(MINUTES, load("minutes.json")) == expected


def test_extended_hours_keep_every_bar_of_the_day_and_say_what_their_volume_means() -> None:
    """From before the open to after the close."""
    history = read(replace(MINUTES, extended_hours=True), load("minutes.json"))
    assert [bar.start.strftime("%H:%M") for bar in history.bars] == ["13:15", "13:30", "19:59", "20:00"]
    assert history.extended_hours
    assert history.notes == ("outside regular hours Yahoo tells no volume and writes 0",)


def test_hours_of_a_market_without_calendar_are_those_the_chart_tells() -> None:
    """Tel Aviv is not in the packaged table."""
    payload = load("minutes.json")
    chart_of(payload)["meta"] |= {"symbol": "TEVA.TA", "currency": "ILA"}
    history = read(replace(MINUTES, instrument=parse_symbol("TEVA.TA")), payload)
    assert [bar.start.strftime("%H:%M") for bar in history.bars] == ["13:30", "19:59"]


def test_an_index_keeps_the_hours_of_its_own_that_the_chart_tells() -> None:
    """A yield is quoted before shares trade, and no longer when they close."""
    payload = load("minutes.json")
    meta = chart_of(payload)["meta"]
    start, end = (int(utc(f"2026-03-17T{t}").timestamp()) for t in ("12:20:00", "19:00:00"))
    meta |= {"symbol": "^TNX", "tradingPeriods": [[{"start": start, "end": end}]]}
    history = read(replace(MINUTES, instrument=parse_symbol("^TNX")), payload)
    assert [(bar.start.strftime("%H:%M"), bar.volume) for bar in history.bars] == [("13:15", None), ("13:30", 5000.0)]


def test_forex_minutes_belong_to_the_day_that_begins_at_17_new_york() -> None:
    """Sunday evening there is Monday's trading date, and Friday evening nobody's."""
    payload = load("minutes.json")
    chart = chart_of(payload)
    chart["meta"] |= {"symbol": "EURUSD=X", "exchangeTimezoneName": "Europe/London"}
    times = ("15T20:59", "15T21:00", "16T12:00", "16T20:59", "16T21:00", "20T21:30")
    chart["timestamp"] = [int(utc(f"2026-03-{t}:00").timestamp()) for t in times]
    query = replace(MINUTES, instrument=parse_symbol("EURUSD"), first=date(2026, 3, 16), last=date(2026, 3, 16))
    history = read(query, payload)
    assert (starts(history), history.null_rows) == (
        [utc("2026-03-15T21:00:00"), utc("2026-03-16T20:59:00")],
        (utc("2026-03-16T12:00:00"),),
    )
    assert {bar.volume for bar in history.bars} == {None}


def test_bars_of_another_length_than_asked_are_refused() -> None:
    """Yahoo answers long ranges with quarters of a year and calls that a success."""
    payload = load("daily_split.json")
    chart_of(payload)["meta"]["dataGranularity"] = "3mo"
    assert refusal(DAILY, payload) == (FailureKind.MALFORMED_REPLY, "answered with bars of 3mo, not 1d")


def test_a_series_of_another_symbol_is_refused() -> None:
    """Whatever it holds, it is not the answer."""
    payload = load("daily_split.json")
    chart_of(payload)["meta"]["symbol"] = "ACMF"
    assert refusal(DAILY, payload) == (FailureKind.MALFORMED_REPLY, "answered for another symbol: 'ACMF', not ACME")


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_columns_of_unequal_length_are_refused(column: str) -> None:
    """No telling which value belongs to which day."""
    payload = load("daily_split.json")
    chart_of(payload)["indicators"]["quote"][0][column].pop()
    kind, detail = refusal(DAILY, payload)
    assert kind is FailureKind.MALFORMED_REPLY
    assert f"{column} has 4 values for 5 time stamps" in detail


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"timestamp": None}, FailureKind.NO_DATA),
        ({"timestamp": []}, FailureKind.NO_DATA),
        ({"timestamp": [1e15] * 5}, FailureKind.MALFORMED_REPLY),
        ({"indicators": {"quote": []}}, FailureKind.MALFORMED_REPLY),
        ({"events": {"splits": {"s": {"date": 0, "numerator": 1, "denominator": 0}}}}, FailureKind.MALFORMED_REPLY),
        ({"events": {"dividends": {"d": {"date": 0}}}}, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_chart_without_rows_is_no_data_and_a_broken_one_is_malformed(
    change: dict[str, Any], kind: FailureKind
) -> None:
    """Nothing is guessed from what is left."""
    payload = load("daily_split.json")
    chart_of(payload).update(change)
    assert refusal(DAILY, payload)[0] is kind


def test_a_chart_without_a_bar_of_the_asked_range_is_no_data() -> None:
    """Rows beside the range, or rows without prices, are not served instead."""
    query = replace(DAILY, first=date(2026, 3, 13), last=date(2026, 3, 15))
    assert refusal(query, load("daily_split.json")) == (FailureKind.NO_DATA, "no bars in the range asked")


@pytest.mark.parametrize("name", ["Mars/Olympus", "../secret", "", "America"])
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    """Without it no row has a trading date."""
    payload = load("daily_split.json")
    chart_of(payload)["meta"]["exchangeTimezoneName"] = name
    kind, detail = refusal(DAILY, payload)
    assert (kind, "is no time zone" in detail) == (FailureKind.MALFORMED_REPLY, True)


def test_capital_gains_of_a_fund_are_listed_beside_its_dividends() -> None:
    """They are cash per share; whether the dividends hold them already is for validation to say."""
    payload = load("daily_split.json")
    stamp = int(utc("2026-03-16T13:30:00").timestamp())
    chart_of(payload)["events"]["capitalGains"] = {"g": {"date": stamp, "amount": 1.5}}
    history = read(DAILY, payload)
    assert history.dividends == (Dividend(date(2026, 3, 18), 0.3),)
    assert history.capital_gains == (Dividend(date(2026, 3, 16), 1.5),)


@pytest.mark.parametrize("currency", ["", "US Dollar", "£"])
def test_a_currency_that_is_no_code_is_refused_and_an_empty_one_is_none(currency: str) -> None:
    """What is not told stays untold."""
    payload = load("daily_split.json")
    chart_of(payload)["meta"]["currency"] = currency
    if currency:
        assert refusal(DAILY, payload)[0] is FailureKind.MALFORMED_REPLY
    else:
        assert read(DAILY, payload).currency is None


@pytest.mark.parametrize(("numerator", "denominator"), [(1e-300, 1e300), (1e300, 1e-300), (1e300, 1.0)])
def test_splits_that_leave_no_finite_price_are_refused(numerator: float, denominator: float) -> None:
    """Infinity and zero are no prices as traded."""
    payload = load("daily_split.json")
    (split,) = chart_of(payload)["events"]["splits"].values()
    split |= {"numerator": numerator, "denominator": denominator}
    chart_of(payload)["indicators"]["quote"][0]["high"][0] = 1e20
    assert refusal(replace(DAILY, adjustment=Adjustment.NONE), payload)[0] is FailureKind.MALFORMED_REPLY
