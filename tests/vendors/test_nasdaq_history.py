"""Daily bars of Nasdaq."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, Request
from mdagent_mcp.vendors.nasdaq import NASDAQ
from vendors.vendor_exchanges import at, fixture, reply

BASIS = "the source does not state its basis; its prices are known to be adjusted for splits only"


def query(symbol: str = "ACME", first: str = "2026-08-17", last: str = "2026-08-20") -> HistoryQuery:
    """Daily bars of a range."""
    return HistoryQuery(
        instrument=parse_symbol(symbol),
        interval=Interval.DAY_1,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=at("2026-08-20T22:00:00"),
    )


def read(content: Any, asked: HistoryQuery | None = None, received_at: str = "2026-08-20T22:00:00") -> History:
    """What a reply says."""
    assert NASDAQ.history is not None
    return NASDAQ.history.parse(asked or query(), reply(content, received_at))


def test_rows_come_oldest_first_with_empty_ones_apart() -> None:
    """Dates are trading dates; volume may be missing; a row without prices is no bar."""
    assert read(fixture("nasdaq", "historical.json")) == History(
        symbol="ACME",
        source="nasdaq",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=at("2026-08-20T22:00:00"),
        bars=(
            Bar(at("2026-08-17"), 1049.5, 1058.105, 1048.0, 1056.25, 1204400.0),
            Bar(at("2026-08-19"), 1052.0, 1063.0, 1050.0, 1060.5, None),
            Bar(at("2026-08-20"), 1058.0, 1061.25, 1044.0, 1048.75, 845120.0),
        ),
        currency="USD",
        null_rows=(at("2026-08-18"),),
        notes=(BASIS, "the source holds 5 rows and sent 4"),
    )


def test_the_bar_of_a_running_session_is_partial() -> None:
    """Its day is not over at the time of receipt."""
    assert read(fixture("nasdaq", "historical.json"), received_at="2026-08-20T19:00:00").partial_last_bar


def test_rows_beyond_the_range_are_left_out() -> None:
    """Asked dates are asked dates."""
    history = read(fixture("nasdaq", "historical.json"), query(first="2026-08-18", last="2026-08-19"))
    assert [bar.day for bar in history.bars] == [date(2026, 8, 19)]
    assert history.notes[1] == "left out 2 rows beyond the range asked"


def test_rows_already_oldest_first_keep_their_order() -> None:
    """The order is looked at, not assumed."""
    page = fixture("nasdaq", "historical.json")
    page["data"]["tradesTable"]["rows"].reverse()
    assert read(page).bars == read(fixture("nasdaq", "historical.json")).bars


def test_both_asset_classes_are_tried_for_a_listing() -> None:
    """The second is sent when the first does not know the symbol; the slash of a share class is encoded twice."""
    assert NASDAQ.history is not None
    span = (("fromdate", "2026-08-17"), ("todate", "2026-08-20"), ("limit", "9999"))
    assert NASDAQ.history.build(query("BRK.B")) == (
        Request("/api/quote/BRK%25sl%25B/historical", (("assetclass", "stocks"), *span)),
        Request("/api/quote/BRK%25sl%25B/historical", (("assetclass", "etf"), *span)),
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (query(), None),
        (query("^IXIC"), None),
        (query("BTC-USD"), None),
        (query(first="2000-01-03"), None),
        (query("VOD.L"), "Nasdaq shows US listings, COMP, NDX and crypto in US dollars, not VOD.L"),
        (replace(query(), interval=Interval.WEEK_1), "Nasdaq has daily bars only, not 1wk"),
        (
            replace(query(), adjustment=Adjustment.ALL),
            "Nasdaq's bars are adjusted for splits, not on the basis 'all'",
        ),
        (query(first="2000-01-03", last="2016-08-01"), "Nasdaq keeps ten years of daily bars"),
    ],
)
def test_what_it_cannot_serve_is_refused_without_a_call(asked: HistoryQuery, reason: str | None) -> None:
    """The reason is for people."""
    assert NASDAQ.history is not None
    assert NASDAQ.history.refuses(asked) == reason


def _page(**data: Any) -> Any:
    page = fixture("nasdaq", "historical.json")
    page["data"] |= data
    return page


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (fixture("nasdaq", "unknown_symbol.json"), FailureKind.UNKNOWN_SYMBOL),
        ({"data": None, "status": {"rCode": 200}}, FailureKind.NO_DATA),
        (_page(tradesTable=None, totalRecords=0), FailureKind.NO_DATA),
        (_page(tradesTable={"rows": None}, totalRecords=0), FailureKind.NO_DATA),
        (_page(tradesTable={"rows": []}, totalRecords=0), FailureKind.NO_DATA),
        (_page(symbol="OTHER"), FailureKind.MALFORMED_REPLY),
        (_page(tradesTable={"rows": [{"date": "2026-08-20", "close": "$1.00"}]}), FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_reply_without_bars_is_a_failure_with_its_reason(page: Any, kind: FailureKind) -> None:
    """No rows, no table and no data all mean that there is nothing in the range."""
    with pytest.raises(SourceError) as raised:
        read(page)
    assert raised.value.kind is kind
