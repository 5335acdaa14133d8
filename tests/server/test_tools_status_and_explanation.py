"""Answers of source_status and explain_quality through a real client: whole values in both channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.server.text import status_text
from mdagent_mcp.server.views import status_json
from server.fake_market_data import OVERALL, STATUS, FakeMarketData
from server.test_tools_answers import Era, both_eras, call

FINNHUB_JSON = {
    "source": "finnhub",
    "title": "Finnhub",
    "state": "live",
    "since": "2026-11-23T15:00:00Z",
    "reason": "answering",
    "next_retry_at": None,
    "capabilities": ["quote"],
    "circuit": {"source": "closed"},
    "reliability": {"estimate": 0.97, "lower_bound": 0.91, "observations": 40.0},
    "latency_ms": {"p50": 120.0, "p95": 310.0},
    "clock_offset_s": 0.2,
    "budget": [{"window": "minute", "limit": 60, "used": 3, "resets_at": "2026-11-23T15:05:00Z"}],
    "cost_per_call": 0.0,
    "weight": 0.41,
    "weight_parts": {
        "source": "finnhub",
        "upstream_group": "finnhub",
        "chance_right": 0.96,
        "current": 0.9,
        "fresh": 0.85,
        "complete": 0.75,
        "latency_s": 0.16,
        "cost_per_call": 0.017,
        "scarcity": 0.5,
        "price": 0.0355,
        "wait_s": 0.0,
        "load": 4.0,
        "utility": 0.8333,
    },
    "upstream_group": "finnhub",
    "last_success_at": "2026-11-23T15:04:12.5Z",
    "last_error": None,
    "successors": [],
    "learned": [],
}
EXPLANATION_JSON = {
    "symbol": "AAPL",
    "evidence_id": "q-1",
    "grade": "A",
    "score": 94.2,
    "headline": "AAPL 189.84 USD, 1.3 s old, two independent sources.",
    "limited_by": {
        "dimension": "timeliness",
        "score": 93.5,
        "because": "1.3 s behind",
        "raises_to": "a higher score below 1 s",
    },
    "dimensions": {"timeliness": 93.5, "corroboration": 95.0},
    "evidence": [
        {
            "source": "finnhub",
            "upstream_group": "finnhub",
            "price": 189.84,
            "event_time": "2026-11-23T15:04:11.2Z",
            "delay_s": 1.3,
            "weight": 0.6,
            "verdict": "served",
            "cause": None,
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
        },
    ],
    "dissent": ["yahoo said 18984: unit, 100x."],
    "unanswered": {"cboe": "timeout after 4 s"},
    "checks": {
        "passed": [{"rule": "price_positive", "dimension": "validity", "detail": "189.84 > 0"}],
        "failed": [
            {"rule": "crossed", "dimension": "validity", "detail": "bid 190 > ask 189", "severity": "minor"},
        ],
        "not_run": [{"rule": "daily_sigma", "dimension": "plausibility", "detail": "no memory of AAPL yet"}],
    },
    "learned": {"reliability": "finnhub 0.97 after 40 observations"},
    "use": {"display": "yes", "analysis": "yes", "order_decision": "yes"},
    "market": {
        "state": "open",
        "session": "regular",
        "as_of": "2026-11-23T15:04:12.5Z",
        "next_open": "2026-11-24T14:30:00Z",
    },
}
EXPLANATION_TEXT = """\
AAPL grade A (94.2): AAPL 189.84 USD, 1.3 s old, two independent sources.
Limited by timeliness (93.5): 1.3 s behind. Raises to a higher score below 1 s.
Dimensions: timeliness 93.5, corroboration 95.
finnhub 189.84 at 2026-11-23T15:04:11.2Z, 1.3 s delay, weight 0.6: served
yahoo [nasdaq_basic] 18984 at unknown time, weight 0: outlier (unit: 100x)
Dissent: yahoo said 18984: unit, 100x.
No answer from cboe: timeout after 4 s
Failed check crossed (minor): bid 190 > ask 189
Not checked (1): daily_sigma (no memory of AAPL yet).
Passed checks: price_positive.
Learned reliability: finnhub 0.97 after 40 observations
Use: display: yes; analysis: yes; order_decision: yes.
Market open, price of the regular session, judged 2026-11-23T15:04:12.5Z.
Evidence q-1."""


@both_eras
async def test_a_source_is_told_whole_in_both_channels(era: Era) -> None:
    """State, circuit, budget, reliability, latency and the engine as a whole."""
    fake = FakeMarketData()
    assert await call(fake, "source_status", {"source": "finnhub"}, era) == (
        False,
        (
            "finnhub (Finnhub): live since 2026-11-23T15:00:00Z; answering; latency p50 120 ms, p95 310 ms; "
            "reliability 0.97 (at least 0.91 after 40 observations); 3/60 calls per minute; "
            "weight 0.41, cost 0 a call; offers quote; circuit source closed; last success 2026-11-23T15:04:12.5Z\n"
            "Overall: availability in 24 h 99.5 %, cache hits not known yet; "
            "memory ok: 3 sessions, 12 symbols, 340 observations."
        ),
        {
            "sources": [FINNHUB_JSON],
            "overall": {
                "availability_24h": 0.995,
                "cache_hit_rate": None,
                "cache_state": "ok",
                "memory": {"state": "ok", "sessions": 3, "symbols": 12, "observations": 340},
                "settings": "ok",
            },
        },
    )
    assert fake.questions == [("source_status", "finnhub")]


def test_a_retired_source_says_what_takes_its_place() -> None:
    """Nothing that is unknown is shown as a figure."""
    retired = replace(
        STATUS,
        state=SourceState.RETIRED,
        reason="shut down",
        reliability=None,
        latency_p50_ms=None,
        budget=(),
        capabilities=(),
        circuit={},
        last_success_at=None,
        last_error="410",
        successors=("tiingo", "polygon"),
    )
    assert status_text(status_json((retired,), OVERALL)).split("\n")[0] == (
        "finnhub (Finnhub): retired since 2026-11-23T15:00:00Z; shut down; weight 0.41, cost 0 a call; "
        "last error 410; use instead tiingo, polygon"
    )


@both_eras
@pytest.mark.parametrize("arguments", [{"symbol": "AAPL"}, {"evidence_id": "q-1"}])
async def test_a_grade_is_explained_whole_in_both_channels(era: Era, arguments: dict[str, Any]) -> None:
    """By symbol and by evidence id alike; a check that could not run never reads as passed."""
    answer = await call(FakeMarketData(), "explain_quality", arguments, era)
    assert answer == (False, EXPLANATION_TEXT, EXPLANATION_JSON)


async def test_a_series_is_explained_by_its_evidence_id() -> None:
    """Without the voices that only a quote has."""
    _, _, shown = await call(FakeMarketData(), "explain_quality", {"evidence_id": "h-1"})
    assert shown == EXPLANATION_JSON | {"evidence": [], "grade": "B", "score": 85.0, "evidence_id": "h-1"}


@both_eras
@pytest.mark.parametrize(
    ("arguments", "asked", "symbol", "what", "tool"),
    [
        ({"symbol": "MSFT"}, ("explain_symbol", "MSFT", "quote"), "MSFT", "a quote of MSFT", "get_quote"),
        (
            {"symbol": "AAPL", "kind": "history"},
            ("explain_symbol", "AAPL", "history"),
            "AAPL",
            "a history of AAPL",
            "get_history",
        ),
        ({"evidence_id": "q-9"}, ("explain_evidence", "q-9"), "", "evidence id 'q-9'", "get_quote"),
    ],
)
async def test_what_is_not_kept_is_an_error_that_says_what_to_call_first(
    era: Era, arguments: dict[str, Any], asked: object, symbol: str, what: str, tool: str
) -> None:
    """The engine was asked; the result still keeps the output schema."""
    fake = FakeMarketData()
    is_error, text, shown = await call(fake, "explain_quality", arguments, era)
    message = f"No answer is kept for {what}."
    hint = f"Call {tool} first, then explain it."
    told = f"{message} Do not estimate this price or reuse an older one."
    assert is_error
    assert text == f"{symbol or 'Request'}: no answer (no_data). {told} Hint: {hint}"
    assert shown == {
        "headline": message,
        "failures": [{"symbol": symbol, "code": "no_data", "message": told, "hint": hint, "sources": {}}],
    }
    assert fake.questions == [asked]
