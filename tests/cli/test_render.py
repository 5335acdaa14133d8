"""The answers drawn for a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from mdagent_mcp.cli.render import Shown, render_failures, render_quotes, render_sources
from mdagent_mcp.cli.render_explanation import render_explanation
from mdagent_mcp.cli.render_history import render_history

_QUOTE: dict[str, Any] = {
    "symbol": "AAPL",
    "price": 189.84,
    "currency": "USD",
    "price_low": 189.82,
    "price_high": 189.86,
    "change_percent": 0.641,
    "session": "regular",
    "delay_s": 1.3,
    "grade": "A",
    "score": 94.2,
    "summary": "2 independent sources agree within 1.1 bp; 1.3 s old.",
    "sources_used": ["finnhub", "nasdaq"],
    "sources_rejected": ["yahoo"],
    "cached": False,
    "evidence_id": "q-1",
}
_VOICE: dict[str, Any] = {
    "source": "yahoo",
    "upstream_group": "yahoo",
    "price": 18984.0,
    "event_time": "2026-01-05T15:00:00Z",
    "delay_s": 2.0,
    "weight": 0.0,
    "verdict": "outlier",
    "cause": "unit: 100x",
}
_FAILURE: dict[str, Any] = {
    "symbol": "ZZZZ",
    "code": "unknown_symbol",
    "message": "No source that was asked knows this symbol.",
    "hint": "Check the spelling.",
    "sources": {"finnhub": "unknown_symbol", "nasdaq": "unknown_symbol"},
}
_USAGE = {"vendor_calls": 3, "cache_hits": 0, "elapsed_ms": 212.4}
_EMPTY_SOURCE: dict[str, Any] = {
    "state": "live",
    "reason": "",
    "next_retry_at": None,
    "circuit": {"source": "closed"},
    "reliability": None,
    "latency_ms": {"p50": None, "p95": None},
    "budget": [],
    "weight": 0.5,
    "last_error": None,
    "successors": [],
    "learned": [],
}


def _drawn(render: Any, shown: Shown, width: int = 80, *, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        markup=False,
        highlight=False,
        emoji=False,
    )
    render(console, shown)
    return out.getvalue()


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 120])
def test_a_quote_stands_in_one_row_with_its_summary_below(width: int) -> None:
    """At both usual widths."""
    text = _drawn(render_quotes, {"quotes": [_QUOTE], "failures": [], "usage": _USAGE}, width)
    assert max(map(len, text.splitlines())) <= width
    row = next(line for line in text.splitlines() if line.startswith("AAPL"))
    assert row.split()[:9] == ["AAPL", "189.84", "USD", "+0.64", "%", "regular", "1.3", "s", "A"]
    assert "AAPL 2 independent sources agree within 1.1 bp; 1.3 s old." in _words(text)
    assert "sure of 189.82 to 189.86; rejected: yahoo; evidence q-1" in _words(text)
    assert "3 vendor calls, 0 from the cache, 212 ms" in text


def test_what_a_quote_does_not_know_is_a_dash() -> None:
    """Never a zero."""
    unknown = {**_QUOTE, "currency": None, "change_percent": None, "delay_s": None}
    text = _drawn(render_quotes, {"quotes": [unknown], "failures": [], "usage": _USAGE})
    row = next(line for line in text.splitlines() if line.startswith("AAPL"))
    assert row.split()[:6] == ["AAPL", "189.84", "?", "-", "regular", "-"]


def test_every_sources_word_is_drawn_where_it_was_asked_for() -> None:
    """With what became of it and why."""
    shown = {"quotes": [{**_QUOTE, "observations": [_VOICE]}], "failures": [], "usage": _USAGE}
    text = _drawn(render_quotes, shown)
    row = next(line for line in text.splitlines() if line.startswith("yahoo"))
    assert _words(row) == "yahoo 18,984.00 2.0 s 0.0 % outlier: unit: 100x"


def test_sources_of_one_upstream_are_told_to_count_once() -> None:
    """Agreement among them proves nothing."""
    voices = [{**_VOICE, "source": source, "upstream_group": "tape"} for source in ("nasdaq", "yahoo")]
    shown = {"quotes": [{**_QUOTE, "observations": [*voices, _VOICE]}], "failures": [], "usage": _USAGE}
    assert "nasdaq and yahoo have one upstream (tape) and count once" in _words(_drawn(render_quotes, shown))


def test_intraday_bars_show_their_time_and_daily_ones_their_date() -> None:
    """The heading says which."""
    daily = _history(2)
    assert "Date " in _drawn(render_history, daily)
    bars = [["2026-01-05T14:30:00Z", 1.0, 1.0, 1.0, 1.0, None], ["2026-01-05T14:31:30Z", 1.0, 1.0, 1.0, 1.0, None]]
    text = _words(_drawn(render_history, {**daily, "interval": "1m", "bars": bars}))
    assert "Time (UTC)" in text
    assert "2026-01-05 14:30 1.00 1.00 1.00 1.00 - 2026-01-05 14:31:30 1.00" in text


def test_a_failure_is_drawn_with_its_code_and_its_hint() -> None:
    """And with when to ask again."""
    text = _words(_drawn(render_failures, {"failures": [{**_FAILURE, "retry_after_s": 30.0}]}))
    assert text == (
        "ZZZZ unknown_symbol: No source that was asked knows this symbol. Check the spelling. ask again in 30 s"
    )


@pytest.mark.parametrize(("grade", "code"), [("A", "1;32"), ("B", "32"), ("C", "33"), ("F", "1;31")])
def test_a_grade_has_its_colour_on_a_terminal(grade: str, code: str) -> None:
    """From green to red."""
    shown = {"quotes": [{**_QUOTE, "grade": grade}], "failures": [], "usage": _USAGE}
    assert f"\x1b[{code}m{grade} 94" in _drawn(render_quotes, shown, colour=True)


def test_a_pipe_gets_no_escape_codes() -> None:
    """Letters and words say all that colours say."""
    shown = {"quotes": [_QUOTE], "failures": [_FAILURE], "usage": _USAGE}
    assert "\x1b" not in _drawn(render_quotes, shown)


def test_text_of_vendors_is_not_read_as_markup() -> None:
    """Brackets are printed as they are."""
    shown = {"failures": [{**_FAILURE, "message": "[bold red]x[/] [link=http://e]y[/link] :smile:", "hint": "[/]"}]}
    text = _words(_drawn(render_failures, shown))
    assert "[bold red]x[/] [link=http://e]y[/link] :smile: [/]" in text


@pytest.mark.parametrize("width", [80, 120])
def test_sources_are_drawn_with_what_is_the_matter(width: int) -> None:
    """Figures in the table, reasons below it."""
    live = {
        **_EMPTY_SOURCE,
        "source": "nasdaq",
        "reliability": {"estimate": 0.934, "lower_bound": 0.9, "observations": 21.0},
        "latency_ms": {"p50": 12.4, "p95": 55.0},
    }
    throttled = {
        **_EMPTY_SOURCE,
        "source": "yahoo",
        "state": "throttled",
        "reason": "asked us to slow down",
        "next_retry_at": "2026-01-05T15:01:00Z",
        "budget": [{"window": "minute", "limit": 60, "used": 1, "resets_at": None}],
        "weight": 0.0,
        "circuit": {"source": "closed", "quote": "open"},
        "last_error": "HTTP 429",
    }
    overall = {
        "availability_24h": 0.995,
        "cache_hit_rate": None,
        "cache_state": "ok",
        "memory": {"state": "ok", "sessions": 3, "symbols": 2, "observations": 9},
    }
    text = _drawn(render_sources, {"sources": [live, throttled], "overall": overall}, width)
    assert max(map(len, text.splitlines())) <= width
    rows = {
        line.split()[0]: _words(line) for line in text.splitlines() if line.split()[1:2] in (["live"], ["throttled"])
    }
    assert rows == {
        "nasdaq": "nasdaq live 93.4 % (n=21) 12/55 - 50.0 % closed",
        "yahoo": "yahoo throttled - - 1/60 0.0 % quote open",
    }
    flat = _words(text)
    assert "yahoo: asked us to slow down yahoo: tried again at 2026-01-05T15:01:00Z" in flat
    assert "yahoo: last error: HTTP 429" in flat
    assert "Answered in 24 h: 99.5 %, from the cache: -. Memory ok: 3 sessions, 2 symbols, 9 observations." in flat


def _history(bars: int) -> dict[str, Any]:
    return {
        "symbol": "MSFT",
        "interval": "1d",
        "currency": "USD",
        "adjustment": "splits",
        "bars": [[f"2026-01-{day:02}", 10.0, 12.0, 9.0, 10.0 + day, 1_500_000] for day in range(1, bars + 1)],
        "coverage": {"expected": bars + 1, "present": bars, "missing": ["2026-01-30"]},
        "summary_stats": {
            "first": 11.0,
            "last": 10.0 + bars,
            "change_percent": 12.5,
            "high": 30.0,
            "low": 9.0,
            "average_volume": 1_500_000,
        },
        "issues": [{"rule": "missing_bars", "severity": "minor", "time": "2026-01-30", "detail": "1 session missing"}],
        "repairs": [
            {
                "rule": "unit",
                "time": "2026-01-02",
                "field": "close",
                "before": 1200.0,
                "after": 12.0,
                "why": "nasdaq has 12.00",
            }
        ],
        "partial_last_bar": True,
        "truncated": False,
        "grade": "B",
        "score": 84.0,
        "summary": "2 sources agree.",
        "sources_used": ["yahoo", "nasdaq"],
        "sources_rejected": [],
        "evidence_id": "h-1",
    }


@pytest.mark.parametrize("width", [80, 120])
def test_a_history_is_drawn_as_a_line_figures_and_its_last_bars(width: int) -> None:
    """With what is missing, wrong and repaired."""
    text = _drawn(render_history, _history(15), width)
    assert max(map(len, text.splitlines())) <= width
    flat = _words(text)
    assert flat.startswith("MSFT 1d bars in USD, 2026-01-01 to 2026-01-15 B 84 ▁▁▂▃▃▃▄▅▅▅▆▇▇▇█ first 11.00 ")
    assert "first 11.00 last 25.00 +12.50 % low 9.00 high 30.00 volume 1.5 M a bar" in flat
    assert "15 of 16 expected bars; missing 2026-01-30; adjusted: splits; the last bar is not finished" in flat
    assert "minor missing bars 2026-01-30: 1 session missing" in flat
    assert "repaired 2026-01-02 close 1,200.00 to 12.00: nasdaq has 12.00" in flat
    assert "the last 10 of 15 bars:" in flat
    assert "2026-01-15 10.00 12.00 9.00 25.00 1.5 M" in flat
    assert "2026-01-05 10.00" not in flat
    assert "from yahoo, nasdaq; evidence h-1" in flat


@pytest.mark.parametrize("width", [80, 120])
def test_an_explanation_leads_from_the_verdict_to_the_advice(width: int) -> None:
    """In the order in which a person needs it."""
    check = {"rule": "price_jump", "dimension": "plausibility", "detail": "3 % in a minute"}
    shown = {
        "symbol": "AAPL",
        "evidence_id": "q-1",
        "grade": "B",
        "score": 88.7,
        "headline": "AAPL 189.84 USD, 1.3 s old, one independent source.",
        "limited_by": {
            "dimension": "corroboration",
            "score": 89.0,
            "because": "finnhub only",
            "raises_to": "A with a second source",
        },
        "dimensions": {"timeliness": 93.0, "corroboration": 89.0},
        "evidence": [_VOICE],
        "dissent": ["yahoo says 18,984: 100 times the others"],
        "unanswered": {"cboe": "HTTP 503"},
        "checks": {
            "passed": [{**check, "rule": "positive"}],
            "failed": [{**check, "severity": "minor"}],
            "not_run": [{**check, "rule": "crossed_book"}],
        },
        "learned": {"volatility": "usual range 1 %"},
        "use": {"display": "yes", "order_decision": "confirm first"},
        "market": {"state": "open", "session": "regular", "as_of": "2026-01-05T15:00:02Z", "next_open": None},
    }
    text = _drawn(render_explanation, shown, width)
    assert max(map(len, text.splitlines())) <= width
    flat = _words(text)
    wanted = [
        "AAPL B 89 AAPL 189.84 USD, 1.3 s old, one independent source.",
        "limited by corroboration: finnhub only",
        "would rise to A with a second source",
        "93 corroboration █████████████████████▍·· 89 <- decides",
        "yahoo 18,984.00 2.0 s 0.0 % outlier: unit: 100x",
        "dissent yahoo says 18,984: 100 times the others",
        "no answer cboe: HTTP 503",
        "failed price jump (minor): 3 % in a minute",
        "not checked crossed book",
        "passed positive",
        "learned volatility: usual range 1 %",
        "use display: yes",
        "use order decision: confirm first",
        "market open, price of the regular session, judged 2026-01-05T15:00:02Z; evidence q-1",
    ]
    positions = [flat.find(part) for part in wanted]
    assert -1 not in positions, [part for part, at in zip(wanted, positions, strict=True) if at < 0]
    assert positions == sorted(positions)
