"""Daily and minute bars of Cboe, what is asked for them, and which recorded URLs are understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, Plan, Quota, QuoteQuery, RecordedUrl, Request
from mdagent_mcp.vendors.cboe import CBOE
from mdagent_mcp.vendors.cboe_charts import read_history
from vendors.vendor_exchanges import at, fixture, reply

NOW = at("2026-08-20T22:00:00")


def daily(symbol: str = "ACME", first: str = "2026-08-17", last: str = "2026-08-20") -> HistoryQuery:
    """Daily bars of a range."""
    return HistoryQuery(
        instrument=parse_symbol(symbol),
        interval=Interval.DAY_1,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=NOW,
    )


def minutes(first: str = "2026-08-20", last: str = "2026-08-20") -> HistoryQuery:
    """Minutes of a range."""
    return replace(daily(first=first, last=last), interval=Interval.MIN_1)


def read(asked: HistoryQuery, content: Any, received_at: str = "2026-08-20T22:00:00") -> History:
    """What a reply says."""
    return read_history(asked, reply(content, received_at))


def test_daily_bars_are_filtered_to_the_range_asked() -> None:
    """The file holds every day since 2004; a row of zeros is no bar."""
    history = read(daily(last="2026-08-19"), fixture("cboe", "historical.json"))
    assert replace(history, notes=()) == History(
        symbol="ACME",
        source="cboe",
        interval=Interval.DAY_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=(
            Bar(at("2026-08-17"), 1049.5, 1058.11, 1048.0, 1056.25, 1004400.0),
            Bar(at("2026-08-19"), 1052.0, 1063.0, 1050.0, 1060.5, 990310.0),
        ),
        currency="USD",
        null_rows=(at("2026-08-18"),),
    )
    assert "Cboe's own scope" in history.notes[1]


def test_bars_of_an_index_are_text_and_have_no_volume() -> None:
    """Its file writes numbers as strings."""
    history = read(daily("^VIX", "2026-08-19"), fixture("cboe", "historical_index.json"))
    assert history.bars == (Bar(at("2026-08-19"), 17.3, 17.35, 16.01, 16.22, None),)
    assert (history.symbol, history.currency) == ("^VIX", None)


def test_bars_of_a_yield_are_divided_by_ten() -> None:
    """As its quote is."""
    file = fixture("cboe", "historical_index.json") | {"symbol": "_TNX"}
    history = read(daily("^TNX", "2026-08-19"), file)
    assert history.bars == (Bar(at("2026-08-19"), 1.73, 1.735, 1.601, 1.622, None),)


def test_the_bar_of_a_running_session_is_partial() -> None:
    """Its day is not over at the time of receipt."""
    file = fixture("cboe", "historical.json")
    assert read(daily(), file, "2026-08-20T19:59:00").partial_last_bar
    assert not read(daily(), file, "2026-08-20T20:00:00").partial_last_bar


def test_minutes_are_stamped_with_their_end() -> None:
    """Their start is one minute earlier; what lies outside regular trading is left out; zeros are no bar."""
    history = read(minutes(), fixture("cboe", "intraday.json"))
    assert replace(history, notes=()) == History(
        symbol="ACME",
        source="cboe",
        interval=Interval.MIN_1,
        adjustment=Adjustment.SPLITS,
        timezone="America/New_York",
        received_at=NOW,
        bars=(
            Bar(at("2026-08-20T13:30:00"), 1058.0, 1059.5, 1057.2, 1058.4, 5400.0),
            Bar(at("2026-08-20T13:32:00"), 1058.1, 1058.2, 1056.0, 1056.6, 2300.0),
            Bar(at("2026-08-20T19:59:00"), 1050.5, 1051.0, 1050.1, 1050.9, 9800.0),
        ),
        currency="USD",
        null_rows=(at("2026-08-20T13:31:00"),),
    )


def test_minutes_as_traded_are_the_same_minutes() -> None:
    """Within one session there is no split between the two bases; the answer carries the one asked."""
    asked = replace(minutes(), adjustment=Adjustment.NONE)
    assert read(asked, fixture("cboe", "intraday.json")).adjustment is Adjustment.NONE


@pytest.mark.parametrize(
    ("asked", "file", "kind"),
    [
        (minutes("2026-08-21", "2026-08-21"), fixture("cboe", "intraday.json"), FailureKind.NO_DATA),
        (daily(first="2026-08-21", last="2026-08-24"), fixture("cboe", "historical.json"), FailureKind.NO_DATA),
        (daily("OTHER"), fixture("cboe", "historical.json"), FailureKind.MALFORMED_REPLY),
        (daily(), {"data": [{"date": "soon"}], "symbol": "ACME"}, FailureKind.MALFORMED_REPLY),
        (daily(), {"symbol": "ACME"}, FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_file_without_bars_is_a_failure_with_its_reason(asked: HistoryQuery, file: Any, kind: FailureKind) -> None:
    """The minutes of a thin share can be weeks old."""
    with pytest.raises(SourceError) as raised:
        read(asked, file)
    assert raised.value.kind is kind


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("ACME", "ACME"), ("BRK.B", "BRK.B"), ("^GSPC", "_SPX"), ("^VIX", "_VIX"), ("^TNX", "_TNX")],
)
def test_there_is_one_file_per_symbol_and_kind(symbol: str, name: str) -> None:
    """Indices are spelt with an underscore."""
    folder = "/api/global/delayed_quotes"
    assert CBOE.history is not None
    assert CBOE.quote.build(QuoteQuery((parse_symbol(symbol),), NOW)) == (Request(f"{folder}/quotes/{name}.json"),)
    assert CBOE.history.build(daily(symbol)) == (Request(f"{folder}/charts/historical/{name}.json"),)
    asked = replace(daily(symbol), interval=Interval.MIN_1)
    assert CBOE.history.build(asked) == (Request(f"{folder}/charts/intraday/{name}.json"),)


@pytest.mark.parametrize("symbol", ["^DJI", "^FTSE", "VOD.L", "EURUSD", "BTC-USD"])
def test_what_is_not_carried_is_refused_without_a_call(symbol: str) -> None:
    """Only the indices that were seen there count as carried."""
    reason = f"Cboe shows US listings and some of its indices, not {symbol}"
    assert CBOE.history is not None
    assert CBOE.quote.refuses(QuoteQuery((parse_symbol(symbol),), NOW)) == reason
    assert CBOE.history.refuses(daily(symbol)) == reason
    with pytest.raises(SourceError) as raised:
        CBOE.history.build(daily(symbol))
    assert raised.value.kind is FailureKind.UNSUPPORTED


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (daily(), None),
        (minutes(), None),
        (minutes("2026-08-10", "2026-08-20"), None),
        (replace(minutes(), adjustment=Adjustment.NONE), None),
        (replace(daily(), adjustment=Adjustment.NONE), "Cboe's daily bars are adjusted for splits only"),
        (replace(daily(), adjustment=Adjustment.ALL), "Cboe's daily bars are adjusted for splits only"),
        (replace(daily(), interval=Interval.WEEK_1), "Cboe has daily and one-minute bars, not 1wk"),
        (replace(daily(), interval=Interval.MIN_5), "Cboe has daily and one-minute bars, not 5m"),
        (replace(minutes(), adjustment=Adjustment.ALL), "Cboe's bars are not adjusted for dividends"),
        (replace(minutes(), extended_hours=True), "Cboe's minutes cover regular trading only"),
        (minutes("2026-08-18", "2026-08-19"), "Cboe keeps the minutes of the last session only"),
    ],
)
def test_bars_it_does_not_have_are_refused_without_a_call(asked: HistoryQuery, reason: str | None) -> None:
    """The reason is for people."""
    assert CBOE.history is not None
    assert CBOE.history.refuses(asked) == reason


def test_before_its_file_turns_over_yesterdays_minutes_may_be_asked() -> None:
    """In the first quarter of an hour the file is still that of the session before."""
    asked = replace(minutes("2026-08-19", "2026-08-19"), now=at("2026-08-20T13:40:00"))
    assert CBOE.history is not None
    assert CBOE.history.refuses(asked) is None


def recorded(path: str, instrument: Instrument | None = None) -> RecordedUrl:
    """A recorded URL."""
    return RecordedUrl(path, {}, instrument, NOW)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("AAPL", "AAPL"), ("BRK.A", "BRK.A"), ("_SPX", "^GSPC"), ("_VIX9D", "^VIX9D"), ("_FOO", "^FOO")],
)
def test_a_recorded_file_names_its_instrument(name: str, symbol: str) -> None:
    """Under any host and any prefix of the path."""
    instrument = parse_symbol(symbol)
    folder = "/cboe/api/global/delayed_quotes"
    assert CBOE.history is not None
    assert CBOE.quote.recognise(recorded(f"{folder}/quotes/{name}.json")) == QuoteQuery((instrument,), NOW)
    everything = replace(daily(symbol, "1970-01-01"), last=NOW.date())
    assert CBOE.history.recognise(recorded(f"{folder}/charts/historical/{name}.json")) == everything
    assert CBOE.history.recognise(recorded(f"{folder}/charts/intraday/{name}.json")) == replace(
        everything, interval=Interval.MIN_1, adjustment=Adjustment.NONE
    )
    assert CBOE.history.recognise(recorded(f"{folder}/quotes/{name}.json")) is None
    assert CBOE.quote.recognise(recorded(f"{folder}/options/{name}.json")) is None


def test_a_recorded_url_without_a_symbol_needs_it_named() -> None:
    """The person's word is taken where the URL has none."""
    url = "/api/global/delayed_quotes/quotes/%20.json"
    named = parse_symbol("AAPL")
    assert CBOE.quote.recognise(recorded(url, named)) == QuoteQuery((named,), NOW)
    with pytest.raises(SourceError) as raised:
        CBOE.quote.recognise(recorded(url))
    assert raised.value.kind is FailureKind.BAD_REQUEST


def test_the_declaration_has_a_second_host_and_says_its_delay() -> None:
    """Both hosts serve the same files; nobody passes on Cboe's data but Cboe."""
    assert dict(CBOE.hosts) == {"api": "https://cdn-api.cboe.com", "second": "https://cdn.cboe.com"}
    quotas = (Quota(120, 60.0, "minute"), Quota(3600, 3600.0, "hour"))
    assert dict(CBOE.plans) == {"free": Plan(quotas=quotas, declared_delay_s=900.0)}
    assert CBOE.group_of(parse_symbol("AAPL")) == "cboe"
    assert (CBOE.id, CBOE.weight, CBOE.key, CBOE.quotes) == ("cboe", 0.75, None, None)
