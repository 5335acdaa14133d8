"""What the engine tells the judgement of an instrument's past, learned from its own answers."""

from __future__ import annotations

import random

import pytest

from engine.scripted_source import OPEN_MARKET, Desk, ScriptedSource, question, quote_desk
from mdagent_mcp.consensus.context import SourceTrace
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.testing import ManualClock

AAPL = parse_symbol("AAPL")


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET, settle_rounds=10)


async def ask_while_it_moves(desk: Desk, sources: list[ScriptedSource], times: int, rng: random.Random) -> None:
    """Ask every ten seconds; the sources' common price makes steps of two to five cents."""
    for _ in range(times):
        price = round(float(str(sources[0].prices["AAPL"])) + rng.choice((-1, 1)) * rng.uniform(0.02, 0.05), 2)
        for source in sources:
            source.prices["AAPL"] = price
        await desk.engine.answer(question("AAPL"))
        await desk.clock.advance(10.0)


async def test_after_forty_answers_the_instruments_behaviour_is_learned(clock: ManualClock) -> None:
    """Volatility, spread and price step; last confirmed price; what every source said last. Nothing before."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5}) for name in ("one", "two")]
    async with quote_desk(clock, *sources) as desk:
        assert desk.parts.learned(AAPL) is None
        await ask_while_it_moves(desk, sources, 10, random.Random(5))
        young = desk.parts.learned(AAPL)
        assert young is not None
        assert (young.volatility_per_sqrt_s, young.relative_spread, young.tick) == (None, None, None)
        await ask_while_it_moves(desk, sources, 30, random.Random(6))
        known = desk.parts.learned(AAPL)
        assert known is not None
        assert known.volatility_per_sqrt_s == pytest.approx(1.2533 * 0.035 / 189.5 / 10**0.5, rel=0.15)
        assert known.relative_spread == pytest.approx(0.02 / 189.5, rel=0.01)
        assert (known.tick, known.last_price, known.gap_q95_s) == (0.01, sources[0].prices["AAPL"], {})
        assert known.range_low is not None
        assert set(known.traces) == {"one", "two"}
        assert isinstance(known.traces["one"], SourceTrace)
        answered = (await desk.engine.answer(question("AAPL", max_age_s=0.0))).quotes[0]
    assert answered.explanation.learned["tolerance"].endswith("learned volatility, spread and price step")


async def test_a_source_that_freezes_under_fresh_stamps_is_found_out(clock: ManualClock) -> None:
    """While two others move on; afterwards it is not believed when it stands alone."""
    moving = [ScriptedSource(name, clock, {"AAPL": 189.5}) for name in ("one", "two")]
    frozen = ScriptedSource("three", clock, {"AAPL": 189.5})
    async with quote_desk(clock, *moving, frozen) as desk:
        await ask_while_it_moves(desk, [*moving, frozen], 40, random.Random(5))
        await ask_while_it_moves(desk, moving, 12, random.Random(6))
        alone = (await desk.engine.answer(question("AAPL", sources=("three",)))).quotes[0]
        together = (await desk.engine.answer(question("AAPL", max_age_s=0.0))).quotes[0]
    assert alone.grade is Grade.D
    assert alone.delay_s == pytest.approx(130.0, abs=11.0)
    assert "unchanged for" in next(f.detail for f in alone.explanation.assessment.findings if f.rule == "price_moves")
    assert (together.grade, "three" in together.sources_used) == (Grade.A, False)
