"""Tiingo's bars on every basis, built from daily rows where they are longer than a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.vendor import HistoryQuery, RecordedUrl, Request
from mdagent_mcp.vendors.tiingo import TIINGO
from vendors.vendor_exchanges import at, fixture, reply

NOW = at("2026-08-20T22:00:00")
LISTING = "the reply names no currency; it is that of the listing"
FACTORS = "prices as traded, divided by the split factors that the source sends with later rows"
BUILT = "bars of weeks and months are built from the source's daily rows"


def query(interval: Interval = Interval.DAY_1, first: str = "2026-08-17", last: str = "2026-08-20") -> HistoryQuery:
    """Bars of a range adjusted for splits."""
    return HistoryQuery(
        instrument=parse_symbol("ACME"),
        interval=interval,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=NOW,
    )


def on(adjustment: Adjustment, asked: HistoryQuery | None = None) -> HistoryQuery:
    """The query on another basis."""
    return replace(asked or query(), adjustment=adjustment)


def read(content: Any, asked: HistoryQuery, received_at: str = "2026-08-20T22:00:00") -> History:
    """What a reply says."""
    assert TIINGO.history is not None
    return TIINGO.history.parse(asked, reply(content, received_at))


def daily() -> Any:
    """Four days; four new shares for an old one on the third."""
    return fixture("tiingo", "daily_split.json")


def flat(*days: str, **changes: Any) -> list[dict[str, Any]]:
    """Rows of plain days, each a little above the one before."""
    columns = ("open", "high", "low", "close")
    return [
        {"date": f"{day}T00:00:00+00:00", "splitFactor": 1.0, "volume": 10, "divCash": 0.0}
        | {name: 10.0 + n + offset for name, offset in zip(columns, (0.0, 2.0, -1.0, 1.0), strict=True)}
        | changes
        for n, day in enumerate(days)
    ]


def starts(history: History) -> list[str]:
    """The starts of a series' bars."""
    return [f"{bar.start:%Y-%m-%dT%H:%M}" for bar in history.bars]


def test_days_before_a_split_are_divided_by_it() -> None:
    """Volume is multiplied; a dividend is on the basis of the prices."""
    assert read(daily(), query()) == History(
        symbol="ACME",
        source="tiingo",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=(
            Bar(at("2026-08-17"), 1000.0, 1025.0, 990.0, 1020.0, 4000.0),
            Bar(at("2026-08-18"), 1020.0, 1040.0, 1010.0, 1030.0, 4400.0),
            Bar(at("2026-08-19"), 1032.0, 1064.0, 1020.0, 1060.5, 4600.0),
            Bar(at("2026-08-20"), 1058.0, 1061.25, 1044.0, 1048.75, 4500.0),
        ),
        currency="USD",
        dividends=(Dividend(date(2026, 8, 17), 2.0), Dividend(date(2026, 8, 20), 0.5)),
        splits=(Split(date(2026, 8, 19), 4.0),),
        notes=(LISTING, FACTORS),
    )


def test_a_split_after_the_range_counts_too() -> None:
    """The reply reaches the present; days beyond the range are left out."""
    history = read(daily(), query(last="2026-08-18"))
    assert [(bar.close, bar.volume) for bar in history.bars] == [(1020.0, 4000.0), (1030.0, 4400.0)]
    assert history.splits == (Split(date(2026, 8, 19), 4.0),)


def test_several_splits_multiply() -> None:
    """A reverse split as well; the row of the day itself is on the new basis."""
    rows = flat("2026-08-17", "2026-08-18", "2026-08-19")
    rows[1]["splitFactor"], rows[2]["splitFactor"] = 0.1, 4.0
    assert [bar.close for bar in read(rows, query()).bars] == [pytest.approx(11 / 0.4), 3.0, 13.0]


def test_prices_as_traded_and_adjusted_for_dividends_are_the_sources_own() -> None:
    """Each basis has columns of its own; as traded, a dividend is as it was paid."""
    raw = read(daily(), on(Adjustment.NONE))
    assert raw.bars[0] == Bar(at("2026-08-17"), 4000.0, 4100.0, 3960.0, 4080.0, 1000.0)
    assert (raw.adjustment, raw.dividends[0], raw.notes) == (
        Adjustment.NONE,
        Dividend(date(2026, 8, 17), 8.0),
        (LISTING,),
    )
    adjusted = read(daily(), on(Adjustment.ALL))
    assert adjusted.bars[0] == Bar(at("2026-08-17"), 990.0, 1015.0, 980.0, 1010.0, 4000.0)
    assert (adjusted.adjustment, adjusted.dividends[0].amount) == (Adjustment.ALL, 2.0)


def test_rows_without_prices_are_no_bars() -> None:
    """Null and zero both."""
    rows = flat("2026-08-17", "2026-08-18", "2026-08-19")
    rows[0]["close"], rows[1]["open"] = None, 0
    history = read(rows, query())
    assert (starts(history), history.null_rows) == (["2026-08-19T00:00"], (at("2026-08-17"), at("2026-08-18")))


def test_weeks_are_built_from_days() -> None:
    """They begin with their first session, and a split within one does not tear it."""
    rows = flat("2026-08-21", "2026-08-24", "2026-08-25", "2026-08-31")
    rows[2]["splitFactor"] = 2.0
    history = read(rows, query(Interval.WEEK_1, "2026-08-26", "2026-08-28"), "2026-08-31T22:00:00")
    assert history.bars == (Bar(at("2026-08-24"), 5.5, 14.0, 5.0, 13.0, 30.0),)
    assert (history.notes, history.partial_last_bar) == ((LISTING, FACTORS, BUILT), True)
    whole = read(flat("2026-08-24", "2026-08-28"), query(Interval.WEEK_1, "2026-08-26", "2026-08-28"), "2026-08-31")
    assert whole.partial_last_bar is False


def test_a_month_with_a_hole_is_no_bar() -> None:
    """The missing day may have held its high."""
    rows = flat("2026-06-30", "2026-07-01", "2026-07-31", "2026-08-03")
    rows[2]["low"] = None
    history = read(rows, query(Interval.MONTH_1, "2026-06-01"))
    assert (starts(history), history.null_rows) == (["2026-06-01T00:00", "2026-08-03T00:00"], (at("2026-07-01"),))


def test_rows_that_are_weeks_already_stay_as_they_are() -> None:
    """The source dates them by their last day."""
    history = read(flat("2026-09-04", "2026-09-11"), query(Interval.WEEK_1, "2026-08-31", "2026-09-11"), "2026-09-14")
    assert (starts(history), history.partial_last_bar) == (["2026-08-31T00:00", "2026-09-08T00:00"], False)
    assert history.notes == (LISTING, FACTORS)


@pytest.mark.parametrize(("received_at", "partial"), [("2026-08-20T19:59:59", True), ("2026-08-20T20:00:00", False)])
def test_a_day_is_partial_until_its_close(received_at: str, *, partial: bool) -> None:
    """Not longer."""
    assert read(flat("2026-08-20"), query(), received_at).partial_last_bar is partial


def test_a_table_is_read_like_its_json() -> None:
    """As a recorded exchange may hold it."""
    table = b"date,close,high,low,open,volume,splitFactor\r\n2026-08-20,11.0,12.0,9.0,10.0,100,1.0\r\n"
    assert read(table, query()).bars == (Bar(at("2026-08-20"), 10.0, 12.0, 9.0, 11.0, 100.0),)


def test_minutes_are_trades_at_one_venue_within_regular_hours() -> None:
    """A row without a trade is a hole."""
    history = read(fixture("tiingo", "minutes.json"), query(Interval.MIN_5, "2026-08-20"))
    assert history.bars == (
        Bar(at("2026-08-20T13:30"), 1058.0, 1060.0, 1057.0, 1059.5, 900.0),
        Bar(at("2026-08-20T19:55"), 1049.0, 1049.5, 1048.0, 1048.75, 1200.0),
    )
    assert (history.null_rows, history.partial_last_bar) == ((at("2026-08-20T13:35"),), False)
    assert history.notes == (LISTING, "bars and volume are of trades at IEX alone")
    early = read(fixture("tiingo", "minutes.json"), query(Interval.MIN_5, "2026-08-20"), "2026-08-20T19:59:59")
    assert early.partial_last_bar is True


def test_crypto_has_days_in_utc() -> None:
    """In the currency of the pair."""
    asked = replace(query(), instrument=parse_symbol("BTC-USD"))
    history = read(fixture("tiingo", "crypto.json"), asked, "2026-08-19T12:00:00")
    assert history.bars[-1] == Bar(at("2026-08-19"), 90950.75, 92000.0, 90500.0, 91875.5, 640.25)
    assert (len(history.bars), history.currency, history.partial_last_bar) == (2, "USD", True)
    with pytest.raises(SourceError) as raised:
        read(fixture("tiingo", "crypto.json"), replace(asked, instrument=parse_symbol("ETH-USD")))
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ([], FailureKind.NO_DATA),
        (flat("2026-08-24"), FailureKind.NO_DATA),
        (flat("2026-08-20", close="11"), FailureKind.MALFORMED_REPLY),
        (flat("2026-08-20", splitFactor=0), FailureKind.MALFORMED_REPLY),
        (flat("2026-08-20", splitFactor=None), FailureKind.MALFORMED_REPLY),
        (flat("2026-08-18", "2026-08-19", "2026-08-20", splitFactor=1e5), FailureKind.MALFORMED_REPLY),
        (flat("2026-08-20", date="2026-08-20T04:00:00Z"), FailureKind.MALFORMED_REPLY),
        (flat("2026-08-20", date="0001-01-01"), FailureKind.MALFORMED_REPLY),
        ([{k: v for k, v in flat("2026-08-20")[0].items() if k != "low"}], FailureKind.MALFORMED_REPLY),
        ({"detail": "Something."}, FailureKind.SOURCE_ERROR),
        (b"date,close\n2026-08-20,11.0,12.0\n", FailureKind.MALFORMED_REPLY),
        (b"date,close\n2026-08-20,eleven\n", FailureKind.MALFORMED_REPLY),
        (b"date,\xff", FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_reply_without_bars_is_a_failure_with_its_reason(body: Any, kind: FailureKind) -> None:
    """A stamp that is not midnight is no trading date."""
    with pytest.raises(SourceError) as raised:
        read(body, query())
    assert raised.value.kind is kind


def test_a_row_without_a_split_factor_reaches_no_basis_of_splits() -> None:
    """As traded it is good enough."""
    rows = [{k: v for k, v in flat("2026-08-20")[0].items() if k != "splitFactor"}]
    with pytest.raises(SourceError, match="splitFactor is missing"):
        read(rows, query())
    assert len(read(rows, on(Adjustment.NONE)).bars) == 1


@pytest.mark.parametrize(
    ("asked", "path", "parameters"),
    [
        (query(last="2026-08-18"), "/tiingo/daily/ACME/prices", "2026-08-17 2026-08-20 daily"),
        (on(Adjustment.ALL, query(last="2026-08-18")), "/tiingo/daily/ACME/prices", "2026-08-17 2026-08-20 daily"),
        (on(Adjustment.NONE, query(last="2026-08-18")), "/tiingo/daily/ACME/prices", "2026-08-17 2026-08-18 daily"),
        (
            on(Adjustment.NONE, query(Interval.WEEK_1, "2026-07-08", "2026-07-08")),
            "/tiingo/daily/ACME/prices",
            "2026-07-06 2026-07-12 daily",
        ),
        (
            on(Adjustment.NONE, query(Interval.MONTH_1, "2026-02-08", "2026-02-09")),
            "/tiingo/daily/ACME/prices",
            "2026-02-01 2026-02-28 daily",
        ),
        (query(Interval.HOUR_1, "2026-08-20"), "/iex/ACME/prices", "2026-08-20 2026-08-20 1hour"),
        (
            replace(query(last="2026-08-18"), instrument=parse_symbol("BRK.B")),
            "/tiingo/daily/BRK-B/prices",
            "2026-08-17 2026-08-20 daily",
        ),
    ],
)
def test_whole_periods_are_asked_and_later_splits_with_them(asked: HistoryQuery, path: str, parameters: str) -> None:
    """Prices as traded need no later rows."""
    assert TIINGO.history is not None
    (request,) = TIINGO.history.build(asked)
    span = dict(request.query)
    assert (request.path, f"{span['startDate']} {span['endDate']} {span['resampleFreq']}") == (path, parameters)


def test_columns_are_named_where_volume_is_not_sent_by_itself() -> None:
    """Pairs are written without a separator."""
    assert TIINGO.history is not None
    span = (("startDate", "2026-08-20"), ("endDate", "2026-08-20"))
    columns = ("columns", "open,high,low,close,volume")
    assert TIINGO.history.build(query(Interval.MIN_1, "2026-08-20")) == (
        Request("/iex/ACME/prices", (*span, ("resampleFreq", "1min"), columns)),
    )
    assert TIINGO.history.build(replace(query(first="2026-08-20"), instrument=parse_symbol("BTC-USD"))) == (
        Request("/tiingo/crypto/prices", (("tickers", "btcusd"), *span, ("resampleFreq", "1day"))),
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (query(), None),
        (on(Adjustment.ALL, query(Interval.MONTH_1)), None),
        (query(Interval.MIN_5, "2026-08-20"), None),
        (on(Adjustment.NONE, query(Interval.MIN_5)), None),
        (query(Interval.MIN_5), "Tiingo's intraday bars are as traded, not on the basis 'splits'"),
        (
            on(Adjustment.ALL, query(Interval.MIN_5, "2026-08-20")),
            "Tiingo's intraday bars are as traded, not on the basis 'all'",
        ),
        (
            replace(on(Adjustment.NONE, query(Interval.MIN_5)), extended_hours=True),
            "Tiingo's intraday bars are asked for regular hours only",
        ),
        (replace(query(), instrument=parse_symbol("BTC-USD")), None),
        (
            replace(query(Interval.WEEK_1), instrument=parse_symbol("BTC-USD")),
            "Tiingo is asked for daily bars of crypto only",
        ),
        (
            replace(query(), instrument=parse_symbol("VOD.L")),
            "Tiingo has bars of US listings and of crypto, not of VOD.L",
        ),
    ],
)
def test_what_it_cannot_serve_is_refused_without_a_call(asked: HistoryQuery, reason: str | None) -> None:
    """Minutes of the running trading date are on the basis of splits as they are."""
    assert TIINGO.history is not None
    assert TIINGO.history.refuses(asked) == reason


@pytest.mark.parametrize(
    ("path", "parameters", "interval", "symbol"),
    [
        ("/tiingo/daily/brk-b/prices", {}, Interval.DAY_1, "BRK.B"),
        ("/gateway/tiingo/daily/ACME/prices", {"resampleFreq": "Monthly"}, Interval.MONTH_1, "ACME"),
        ("/iex/ACME/prices", {"resampleFreq": "30Min"}, Interval.MIN_30, "ACME"),
        ("/tiingo/crypto/prices", {"resampleFreq": "1day", "tickers": "ethusdt,btcusd"}, Interval.DAY_1, "ETH-USDT"),
    ],
)
def test_a_recorded_url_is_understood(path: str, parameters: dict[str, str], interval: Interval, symbol: str) -> None:
    """Its plain columns are as traded."""
    assert TIINGO.history is not None
    url = RecordedUrl(path, parameters | {"startDate": "2026-08-17"}, None, NOW)
    expected = replace(on(Adjustment.NONE), instrument=parse_symbol(symbol), interval=interval)
    assert TIINGO.history.recognise(url) == expected


def test_a_recorded_url_with_odd_parameters_is_told() -> None:
    """Another path is nobody's."""
    assert TIINGO.history is not None
    url = RecordedUrl("/tiingo/daily/ACME/prices", {"resampleFreq": "annually"}, None, NOW)
    for odd, kind in (({"resampleFreq": "annually"}, "unsupported"), ({"endDate": "August"}, "bad_request")):
        with pytest.raises(SourceError) as raised:
            TIINGO.history.recognise(replace(url, query=odd))
        assert raised.value.kind == kind
    assert TIINGO.history.recognise(replace(url, path="/tiingo/daily/ACME")) is None
