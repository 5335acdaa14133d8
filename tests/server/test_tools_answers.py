"""Answers of the four tools through a real client, in both eras of the protocol: whole values in both channels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from mdagent_mcp.domain.answers import Repair
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Interval
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.server.server import build_server
from mdagent_mcp.testing import ManualClock
from server.fake_market_data import BARS, HISTORY, NOW, OUTAGE, QUOTE, FakeMarketData

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")
both_eras = pytest.mark.parametrize("era", ERAS)


@asynccontextmanager
async def client_of(fake: FakeMarketData, era: Era = "auto") -> AsyncIterator[Client]:
    """A client of a server over the fake engine."""
    server = build_server(fake.opener(), ManualClock(NOW), "0.0.1")
    async with Client(server, mode=era, raise_exceptions=True) as client:
        yield client


async def call(
    fake: FakeMarketData, name: str, arguments: dict[str, Any], era: Era = "auto"
) -> tuple[bool, str, dict[str, Any]]:
    """One call: whether it is an error, the text, the structured content. The client checks the output schema."""
    async with client_of(fake, era) as client:
        result = await client.call_tool(name, arguments)
    assert isinstance(result, CallToolResult)
    assert len(result.content) == 1
    assert isinstance(result.content[0], TextContent)
    assert isinstance(result.structured_content, dict)
    return bool(result.is_error), result.content[0].text, result.structured_content


AAPL_JSON = {
    "symbol": "AAPL",
    "price": 189.84,
    "currency": "USD",
    "price_low": 189.82,
    "price_high": 189.86,
    "change": 1.21,
    "change_percent": 0.641,
    "open": 188.9,
    "high": 190.1,
    "low": 188.2,
    "previous_close": 188.63,
    "volume": 41233000,
    "bid": 189.83,
    "ask": None,
    "session": "regular",
    "price_time": "2026-11-23T15:04:11.2Z",
    "delay_s": 1.3,
    "grade": "A",
    "score": 94.2,
    "summary": "2 independent sources agree within 1.1 bp; 1.3 s old.",
    "sources_used": ["finnhub", "nasdaq"],
    "sources_rejected": ["yahoo"],
    "cached": False,
    "evidence_id": "q-1",
}
AAPL_TEXT = (
    "AAPL 189.84 USD | grade A (94.2) | regular 2026-11-23T15:04:11.2Z, 1.3 s delay"
    " | 2 independent sources agree within 1.1 bp; 1.3 s old. | consensus interval 189.82 to 189.86"
    " | change 1.21 (+0.641 %), open 188.9, high 190.1, low 188.2, previous_close 188.63, volume 41233000, bid 189.83"
    " | from finnhub, nasdaq (rejected: yahoo) | evidence q-1"
)
NO_ESTIMATE = "Do not estimate this price or reuse an older one."
ZZZZ_JSON = {
    "symbol": "ZZZZ",
    "code": "timeout",
    "message": f"No source answered in time. {NO_ESTIMATE}",
    "hint": "Try again shortly; nothing is wrong with the symbol.",
    "sources": {"finnhub": "timeout", "yahoo": "circuit_open"},
    "retry_after_s": 30.0,
}
ZZZZ_TEXT = (
    f"ZZZZ: no answer (timeout). No source answered in time. {NO_ESTIMATE} "
    "Hint: Try again shortly; nothing is wrong with the symbol. "
    "Sources: finnhub: timeout, yahoo: circuit_open. Retry after 30 s."
)
USAGE_JSON = {"vendor_calls": 3, "cache_hits": 0, "elapsed_ms": 212.4}
USAGE_TEXT = "[3 vendor calls, 0 cache hits, 212.4 ms]"


@both_eras
async def test_one_quote_is_told_whole_in_both_channels(era: Era) -> None:
    """Price, currency, time, age, grade and summary stand in the text and in the structured content."""
    answer = await call(FakeMarketData(), "get_quote", {"symbols": ["AAPL"]}, era)
    assert answer == (
        False,
        f"{AAPL_TEXT}\n{USAGE_TEXT}",
        {"quotes": [AAPL_JSON], "failures": [], "usage": USAGE_JSON},
    )


@both_eras
async def test_partial_success_is_a_normal_result_and_names_each_failure(era: Era) -> None:
    """One symbol answered, one failed, one that is no symbol: the last never reaches the engine."""
    fake = FakeMarketData(failing=frozenset({"ZZZZ"}))
    answer = await call(fake, "get_quote", {"symbols": "AAPL, ZZZZ, ../../etc"}, era)
    not_a_symbol = "'../../etc' is not a symbol; write it like AAPL, BRK.B, VOD.L, ^GSPC, BTC-USD or EURUSD"
    hint = "Correct this entry of symbols; no source was asked about it."
    refused = {"symbol": "../../etc", "code": "bad_request", "message": not_a_symbol, "hint": hint, "sources": {}}
    assert answer == (
        False,
        f"{AAPL_TEXT}\n{ZZZZ_TEXT}\n../../etc: no answer (bad_request). {not_a_symbol}. Hint: {hint}\n{USAGE_TEXT}",
        {"quotes": [AAPL_JSON], "failures": [ZZZZ_JSON, refused], "usage": USAGE_JSON},
    )
    assert fake.questions == [QuoteQuestion((parse_symbol("AAPL"), parse_symbol("ZZZZ")))]


@both_eras
async def test_when_every_symbol_fails_the_result_is_an_error_with_the_same_structure(era: Era) -> None:
    """The whole diagnosis stands in the first text block, because some hosts show no more of an error."""
    fake = FakeMarketData(failing=frozenset({"ZZZZ"}))
    assert await call(fake, "get_quote", {"symbols": ["ZZZZ"]}, era) == (
        True,
        f"{ZZZZ_TEXT}\n{USAGE_TEXT}",
        {"quotes": [], "failures": [ZZZZ_JSON], "usage": USAGE_JSON},
    )


async def test_full_detail_adds_what_every_source_said() -> None:
    """In the structured content and as a line per source in the text."""
    _, text, shown = await call(FakeMarketData(), "get_quote", {"symbols": ["AAPL"], "detail": "full"})
    assert shown["quotes"] == [
        AAPL_JSON
        | {
            "observations": [
                {
                    "source": "finnhub",
                    "upstream_group": "finnhub",
                    "price": 189.84,
                    "event_time": "2026-11-23T15:04:11.2Z",
                    "delay_s": 1.3,
                    "weight": 0.6,
                    "verdict": "served",
                    "cause": None,
                    "currency": "USD",
                    "session": "regular",
                    "received_at": "2026-11-23T15:04:12Z",
                },
                {
                    "source": "yahoo",
                    "upstream_group": "nasdaq_basic",
                    "price": 18984.0,
                    "event_time": None,
                    "delay_s": None,
                    "weight": 0.0,
                    "verdict": "outlier",
                    "cause": "unit: 100x",
                    "currency": None,
                    "session": "regular",
                    "received_at": "2026-11-23T15:04:12Z",
                },
            ]
        }
    ]
    assert text.split("\n") == [
        AAPL_TEXT,
        "  finnhub 189.84 USD at 2026-11-23T15:04:11.2Z, 1.3 s delay, weight 0.6: served",
        "  yahoo [nasdaq_basic] 18984 at unknown time, weight 0: outlier (unit: 100x)",
        USAGE_TEXT,
    ]


async def test_what_a_quote_does_not_know_is_null_and_said_to_be_unknown() -> None:
    """Nothing turns into zero, and a volume of zero stays one."""
    bare = replace(
        QUOTE,
        currency=None,
        price_time=None,
        delay_s=None,
        change=None,
        change_percent=None,
        open=None,
        high=None,
        low=None,
        previous_close=None,
        volume=0.0,
        bid=None,
        sources_rejected=(),
        cached=True,
    )
    _, text, shown = await call(FakeMarketData(quote_answer=bare), "get_quote", {"symbols": "AAPL"})
    absent = dict.fromkeys(
        "currency price_time delay_s change change_percent open high low previous_close bid ask".split()
    )
    assert shown["quotes"] == [AAPL_JSON | absent | {"volume": 0, "sources_rejected": [], "cached": True}]
    assert text.split("\n")[0] == (
        "AAPL 189.84 (currency unknown) | grade A (94.2) | regular time unknown, age unknown"
        " | 2 independent sources agree within 1.1 bp; 1.3 s old. | consensus interval 189.82 to 189.86"
        " | volume 0 | from finnhub, nasdaq, cached | evidence q-1"
    )


@pytest.mark.parametrize(
    ("grade", "caution"),
    [(Grade.C, ""), (Grade.D, " State this defect with the number."), (Grade.F, " Do not state this number as fact.")],
)
async def test_a_low_grade_obliges_the_agent_in_both_channels(grade: Grade, caution: str) -> None:
    """The summary says what must be done with a D or an F."""
    poor = replace(QUOTE, grade=grade, summary="12 days old.")
    is_error, text, shown = await call(FakeMarketData(quote_answer=poor), "get_quote", {"symbols": "AAPL"})
    assert not is_error
    assert shown["quotes"][0]["summary"] == f"12 days old.{caution}"
    assert f"| grade {grade} (94.2) |" in text
    assert f"| 12 days old.{caution} |" in text


HISTORY_JSON = {
    "symbol": "AAPL",
    "interval": "1d",
    "currency": "USD",
    "timezone": "America/New_York",
    "adjustment": "splits",
    "columns": ["time", "open", "high", "low", "close", "volume"],
    "bars": [
        ["2026-11-16", 100.0, 102.0, 99.5, 101.0, 1000],
        ["2026-11-17", 101.0, 103.0, 100.5, 102.0, 1010],
        ["2026-11-18", 102.0, 104.0, 101.5, 103.0, 1020],
        ["2026-11-19", 103.0, 105.0, 102.5, 104.0, 1030],
        ["2026-11-20", 104.0, 106.0, 103.5, 105.0, 1040],
    ],
    "coverage": {"expected": 6, "present": 5, "missing": ["2026-11-13"]},
    "summary_stats": {
        "first": 101.0,
        "last": 105.0,
        "change_percent": 3.96,
        "high": 106.0,
        "low": 99.5,
        "average_volume": 1020,
    },
    "issues": [{"rule": "gap", "severity": "minor", "time": "2026-11-13", "detail": "1 session missing"}],
    "repairs": [
        {
            "rule": "ten_fold",
            "time": "2026-11-18",
            "field": "close",
            "before": 1030.0,
            "after": 103.0,
            "why": "10x its neighbours",
        }
    ],
    "partial_last_bar": True,
    "truncated": False,
    "resource_uri": "mdagent://history/h-1",
    "grade": "B",
    "score": 85.0,
    "summary": "5 of 6 sessions; one cell repaired.",
    "sources_used": ["yahoo"],
    "sources_rejected": [],
    "evidence_id": "h-1",
    "usage": {"vendor_calls": 1, "cache_hits": 0, "elapsed_ms": 80.2},
}
HISTORY_TEXT = [
    (
        "AAPL 1d bars in USD, adjusted: splits, exchange zone America/New_York, 5 bars 2026-11-16 to 2026-11-20. "
        "Grade B (85). 5 of 6 sessions; one cell repaired."
    ),
    (
        "Whole series (first and last are closes): first 101, last 105, change percent 3.96, high 106, low 99.5, "
        "average volume 1020."
    ),
    "Coverage: 5 of 6 expected bars; missing 2026-11-13. The last bar is not finished.",
    "Issues (1): gap (minor) at 2026-11-13: 1 session missing.",
    "Repaired (1): close at 2026-11-18 1030 -> 103, ten_fold: 10x its neighbours.",
    "Sources: yahoo. Evidence h-1.",
    "time,open,high,low,close,volume",
    "2026-11-16,100.0,102.0,99.5,101.0,1000",
    "2026-11-17,101.0,103.0,100.5,102.0,1010",
    "2026-11-18,102.0,104.0,101.5,103.0,1020",
    "2026-11-19,103.0,105.0,102.5,104.0,1030",
    "2026-11-20,104.0,106.0,103.5,105.0,1040",
    "[1 vendor calls, 0 cache hits, 80.2 ms]",
]


@both_eras
async def test_a_series_is_told_whole_in_both_channels(era: Era) -> None:
    """Verdict, figures, coverage, issues, repairs and bars."""
    answer = await call(FakeMarketData(), "get_history", {"symbol": "AAPL"}, era)
    assert answer == (False, "\n".join(HISTORY_TEXT), HISTORY_JSON)


async def test_the_newest_bars_are_shown_and_the_rest_has_an_address() -> None:
    """Figures keep describing the whole series."""
    _, text, shown = await call(FakeMarketData(), "get_history", {"symbol": "AAPL", "max_bars": 2})
    bars = [
        ["2026-11-19", 103.0, 105.0, 102.5, 104.0, 1030],
        ["2026-11-20", 104.0, 106.0, 103.5, 105.0, 1040],
    ]
    assert shown == HISTORY_JSON | {"bars": bars, "truncated": True}
    assert text.split("\n")[-5:] == [
        "time,open,high,low,close,volume",
        "2026-11-19,103.0,105.0,102.5,104.0,1030",
        "2026-11-20,104.0,106.0,103.5,105.0,1040",
        "Older bars are left out; the whole series: resource mdagent://history/h-1 (CSV).",
        "[1 vendor calls, 0 cache hits, 80.2 ms]",
    ]


@pytest.mark.parametrize(("detail", "lines"), [("brief", 16), ("full", 40)])
async def test_a_long_series_is_abridged_in_the_text_unless_all_of_it_is_wanted(detail: str, lines: int) -> None:
    """Three bars, a line that counts what is left out, twelve bars; or every bar."""
    hour = Interval.HOUR_1
    bars = tuple(replace(HISTORY.bars[0], start=datetime(2026, 11, 2 + n // 24, n % 24, tzinfo=UTC)) for n in range(40))
    fake = FakeMarketData(history_answer=replace(HISTORY, interval=hour, bars=bars))
    arguments = {"symbol": "AAPL", "interval": "1h", "detail": detail}
    _, text, shown = await call(fake, "get_history", arguments)
    table = text[text.index("time,open") :].split("\n")[1 : lines + 1]
    assert len(shown["bars"]) == 40
    assert table[0] == "2026-11-02T00:00:00Z,100.0,102.0,99.5,101.0,1000"
    assert table[-1] == "2026-11-03T15:00:00Z,100.0,102.0,99.5,101.0,1000"
    assert ("... 25 bars left out of this text" in table) is (detail == "brief")


async def test_full_detail_shows_repaired_bars_as_they_were_stated_and_a_stretch_is_told_once() -> None:
    """Only those among the shown bars; brief leaves them out."""
    repair = Repair("unit_error", BARS[0].start, "prices", 10100.0, 101.0, "100 times", BARS[3].start, 4)
    stated = tuple(replace(b, open=b.open * 100, close=b.close * 100) for b in BARS[:4])
    fake = FakeMarketData(history_answer=replace(HISTORY, repairs=(repair,), unrepaired=stated))
    _, text, shown = await call(fake, "get_history", {"symbol": "AAPL", "max_bars": 2, "detail": "full"})
    _, _, brief = await call(fake, "get_history", {"symbol": "AAPL", "max_bars": 2})
    assert shown["unrepaired"] == [["2026-11-19", 10300.0, 105.0, 102.5, 10400.0, 1030]]
    assert shown["repairs"] == [
        {
            "rule": "unit_error",
            "time": "2026-11-16",
            "field": "prices",
            "before": 10100.0,
            "after": 101.0,
            "why": "100 times",
            "until": "2026-11-19",
            "bars": 4,
        }
    ]
    assert "prices at 2026-11-16 to 2026-11-19 (4 bars) 10100 -> 101, unit_error: 100 times" in text
    assert "unrepaired" not in brief


@both_eras
async def test_a_series_that_cannot_be_had_is_an_error_that_forbids_estimating(era: Era) -> None:
    """The structured content keeps the output schema's required fields."""
    failure = replace(OUTAGE, kind=FailureKind.NO_DATA, message="No bars", retry_after_s=None, sources={})
    answer = await call(FakeMarketData(history_answer=failure), "get_history", {"symbol": "ZZZZ"}, era)
    message, hint = f"No bars. {NO_ESTIMATE}", "Try again shortly; nothing is wrong with the symbol."
    assert answer == (
        True,
        f"ZZZZ: no answer (no_data). {message} Hint: {hint}",
        {
            "symbol": "ZZZZ",
            "columns": ["time", "open", "high", "low", "close", "volume"],
            "bars": [],
            "summary": message,
            "failures": [{"symbol": "ZZZZ", "code": "no_data", "message": message, "hint": hint, "sources": {}}],
        },
    )
