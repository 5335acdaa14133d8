"""Whole answers, read by a real MCP client: one story per situation an agent may find."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from story.simulated_world import POST, REGULAR, WEEKEND, Unreachable, World, first_text, turning, world

LATE_EVENING = datetime(2026, 11, 25, 0, 20, 20, tzinfo=UTC)
"""Tuesday 19:20:20 in New York: trading after hours goes on until eight."""


async def ask(world_: World, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers, as structured content; both channels must carry the grade."""
    result = await world_.client.call_tool(tool, arguments)
    content = result.structured_content
    assert content is not None
    for quote in content.get("quotes", []):
        assert f"grade {quote['grade']}" in first_text(result).lower() or quote["grade"] in first_text(result)
    return dict(content)


async def quote(world_: World, symbol: str = "AAPL", **arguments: Any) -> dict[str, Any]:
    """The one quote of an answer."""
    answer = await ask(world_, "get_quote", symbols=[symbol], **arguments)
    (only,) = answer["quotes"]
    return dict(only)


async def test_in_regular_trading_independent_sources_make_an_a_close_to_the_truth() -> None:
    """Finnhub and Nasdaq's feed agree within seconds."""
    async with world(REGULAR) as w:
        found = await quote(w)
        truth = w.market.snapshot("AAPL", REGULAR).price
    assert found["session"] == "regular"
    assert found["grade"] in {"A", "B"}
    assert found["price"] == pytest.approx(truth, rel=0.001)
    assert found["price_low"] <= found["price"] <= found["price_high"]
    assert {"finnhub"} < set(found["sources_used"])


async def test_after_hours_the_answer_is_the_after_hours_print_and_says_so() -> None:
    """The regular close is another thing."""
    async with world(POST) as w:
        found = await quote(w)
        close = w.market.snapshot("AAPL", POST)
    assert found["session"] == "post"
    assert found["price_time"] > "2026-11-24T21:00:00Z"
    assert close is not None


async def test_on_a_weekend_the_official_close_of_friday_is_an_a() -> None:
    """Three independent groups state the same close; nothing newer can be had."""
    async with world(WEEKEND) as w:
        found = await quote(w)
    assert (found["session"], found["grade"]) == ("closed", "A")
    assert found["price_time"].startswith("2026-11-20T")
    assert {"finnhub", "nasdaq", "cboe"} <= set(found["sources_used"])


@pytest.mark.parametrize(("at", "skew_s"), [(LATE_EVENING, 3600.0), (REGULAR, -3600.0), (REGULAR, 86_400.0)])
async def test_by_a_clock_that_is_wrong_nothing_is_better_than_a_d_and_the_answer_says_so(
    at: datetime, skew_s: float
) -> None:
    """By a clock an hour ahead the evening's trading is over and the last close looks like an A; replies are dated."""
    async with world(at, skew_s=skew_s) as w:
        found = await quote(w)
        again = await quote(w)
        checks = (await ask(w, "explain_quality", evidence_id=found["evidence_id"]))["checks"]
    assert {found["grade"], again["grade"]} <= {"D", "F"}
    (told,) = [check["detail"] for check in checks["failed"] if check["rule"] == "machine_clock"]
    way = "ahead of" if skew_s > 0 else "behind"
    assert told.endswith(f"{way} the vendors' servers, so no age can be told: set the clock")


async def test_by_a_clock_that_is_right_within_seconds_nothing_is_taken_off() -> None:
    """Half a minute is what servers' dates can tell."""
    async with world(WEEKEND, skew_s=5.0) as w:
        assert (await quote(w))["grade"] == "A"


async def test_one_source_refusing_and_one_wrong_do_not_change_the_price() -> None:
    """Yahoo throttles, Nasdaq is a hundred times too high: Finnhub's price is served and Nasdaq is named."""
    async with world(REGULAR, "yahoo=throttle", "nasdaq=unit:100") as w:
        found = await quote(w, detail="full")
        truth = w.market.snapshot("AAPL", REGULAR).price
    assert found["price"] == pytest.approx(truth, rel=0.001)
    assert found["sources_rejected"] == ["nasdaq"]
    assert found["grade"] in {"C", "D"}
    causes = {o["source"]: o["cause"] for o in found["observations"]}
    assert "unit" in causes["nasdaq"]


async def test_a_stale_feed_with_honest_stamps_is_not_taken_for_now() -> None:
    """Finnhub serves Friday's close on Tuesday: it is left out, and the rest is graded for what it is."""
    async with world(REGULAR, "finnhub=stale:4d") as w:
        found = await quote(w, detail="full")
    assert "finnhub" not in found["sources_used"]
    assert {o["source"]: o["verdict"] for o in found["observations"]}["finnhub"] == "stale"


async def test_alone_with_a_stale_source_the_answer_is_an_f() -> None:
    """Friday's close on a trading Tuesday must not be stated as fact."""
    async with world(REGULAR, "finnhub=stale:4d") as w:
        found = await quote(w, sources=["finnhub"])
    assert found["grade"] == "F"


async def test_another_companys_answer_is_refused() -> None:
    """A reply that names another symbol is malformed, not a price."""
    async with world(REGULAR, "yahoo=wrong_symbol:MSFT", "nasdaq=wrong_symbol:MSFT") as w:
        found = await quote(w)
        truth = w.market.snapshot("AAPL", REGULAR).price
    assert found["price"] == pytest.approx(truth, rel=0.001)


@pytest.mark.parametrize("fault", ["malformed", "server_error", "missing", "throttle"])
async def test_every_way_of_failing_leaves_the_others_standing(fault: str) -> None:
    """Two sources fail the same way; the answer comes from the rest."""
    async with world(WEEKEND, f"yahoo={fault}", f"finnhub={fault}") as w:
        found = await turning(w.clock, lambda: quote(w))
    assert (found["session"], found["grade"]) == ("closed", "A")
    assert set(found["sources_used"]) == {"nasdaq", "cboe"}


async def test_without_a_network_every_source_is_named_and_the_server_lives_on() -> None:
    """The answer comes within its budget, says not to estimate, and the next call is served too."""
    async with world(REGULAR, web=lambda _: Unreachable()) as w:
        quotes = await turning(w.clock, lambda: w.client.call_tool("get_quote", {"symbols": "AAPL"}), limit_s=10.5)
        status = await w.client.call_tool("source_status", {})
    assert quotes.structured_content is not None
    assert quotes.is_error
    (failure,) = quotes.structured_content["failures"]
    assert failure["code"] == "network"
    assert failure["sources"] == dict.fromkeys(("cboe", "finnhub", "nasdaq", "yahoo"), "network")
    assert "Do not estimate" in first_text(quotes)
    assert not status.is_error


async def test_a_second_call_costs_nothing_and_fifty_at_once_cost_one_per_source() -> None:
    """Equal questions share the vendors' quota."""
    async with world(WEEKEND) as w:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(quote, w)
        calls = w.calls()
        assert {v: n for v, n in calls.items() if n and v != "yahoo"} == {"nasdaq": 1, "cboe": 1, "finnhub": 1}
        again = await ask(w, "get_quote", symbols=["AAPL"], max_age_s=60)
        assert again["usage"]["vendor_calls"] == 0
        assert w.calls() == calls


async def test_a_history_is_confirmed_by_an_independent_source() -> None:
    """Bars of two groups agree; the calendar says that none is missing."""
    async with world(WEEKEND) as w:
        answer = await ask(w, "get_history", symbol="AAPL", start="2026-10-01", end="2026-11-20")
        closes = {str(bar.day): bar.close for bar in w.market.daily_bars("AAPL", *_days("2026-10-01", "2026-11-20"))}
    assert {bar[0]: bar[4] for bar in answer["bars"]} == pytest.approx(closes)
    assert (answer["coverage"]["expected"], answer["coverage"]["present"]) == (37, 37)
    assert answer["grade"] == "A"


async def test_an_answer_is_explained_after_a_restart(tmp_path: Path) -> None:
    """The evidence lies in the database; a new process reads it."""
    async with world(WEEKEND, data_dir=tmp_path) as w:
        before = await quote(w)
    async with world(WEEKEND, data_dir=tmp_path) as w:
        by_id = await ask(w, "explain_quality", evidence_id=before["evidence_id"])
        by_symbol = await ask(w, "explain_quality", symbol="AAPL")
        assert w.calls() == dict.fromkeys(w.calls(), 0)
        status = await ask(w, "source_status")
    assert by_id["grade"] == before["grade"]
    assert by_id["evidence"] == by_symbol["evidence"]
    assert {voice["source"] for voice in by_id["evidence"]} >= {"finnhub", "nasdaq", "cboe"}
    assert status["overall"]["memory"]["sessions"] == 2


async def test_one_hundred_symbols_are_answered_at_once() -> None:
    """Batches are used where there are any; what a limiter refuses costs no symbol its answer."""
    symbols = [f"SIM{n:03}" for n in range(100)]
    async with world(WEEKEND) as w:
        answer = await turning(w.clock, lambda: ask(w, "get_quote", symbols=symbols))
    assert [q["symbol"] for q in answer["quotes"]] == symbols
    assert answer["usage"]["elapsed_ms"] <= 10_250


async def test_both_protocol_eras_give_the_same_answer() -> None:
    """A host of last year and one of this year read the same."""
    async with world(WEEKEND) as modern, world(WEEKEND, era="legacy") as legacy:
        new, old = await quote(modern), await quote(legacy)
    assert new == old


def _days(first: str, last: str) -> tuple[Any, Any]:
    from datetime import date  # noqa: PLC0415

    return date.fromisoformat(first), date.fromisoformat(last)
