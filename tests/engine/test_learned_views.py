"""What the engine makes of recurring faults and copies, and what it shows of its memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from engine.scripted_source import OPEN_MARKET, Desk, ScriptedSource, question, quote_desk
from mdagent_mcp.domain.answers import VoiceVerdict
from mdagent_mcp.domain.events import Compared
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.learned import GRAPH_BYTES, graph_view, symbol_view
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import fetched
from memory.voice_samples import Said, answered

AAPL, VOD = parse_symbol("AAPL"), parse_symbol("VOD.L")
BOTH_OPEN = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    """An open market that stands still."""
    return ManualClock(OPEN_MARKET, settle_rounds=10)


async def teach_faults(desk: Desk, *wrong: str) -> None:
    """These sources were wrong by a unit in London twenty times, and right in New York; two of them erred alike."""
    right = {"x": Said(100.0, VoiceVerdict.SERVED), "y": Said(100.0)}
    for n in range(20):
        at = BOTH_OPEN - timedelta(days=1, seconds=n)
        outlier = Said(10_000.0 + n, VoiceVerdict.OUTLIER, "unit: 100x the served price")
        desk.parts.memory.keep(
            answered({**dict.fromkeys(wrong, outlier), **right}, "VOD.L", at=at, evidence_id=f"l{n}")
        )
        for source in wrong[:2] if len(wrong) > 1 and n < 12 else ():
            error = 0.05 + n / 1000
            desk.parts.memory.listen(Compared(source, f"M{n}", "price", at, error, 5e-4, 50e-4, 1e-8, 1.0))
        fine = Said(100.0)
        desk.parts.memory.keep(answered({**dict.fromkeys(wrong, fine), **right}, "AAPL", at=at, evidence_id=f"n{n}"))
    await desk.parts.memory.flush()


async def test_a_source_is_trusted_less_where_its_fault_recurs_and_only_there(clock: ManualClock) -> None:
    """Before it is asked and before it votes; without patterns trust is what it was."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5, "VOD.L": 0.75}) for name in ("one", "two")]
    async with quote_desk(clock, *sources) as desk:
        before = desk.parts.trusts(VOD)
        assert (
            before == desk.parts.trusts(AAPL) == {name: desk.parts.trust(s) for name, s in desk.parts.sources.items()}
        )
        await teach_faults(desk, "one")
        book = desk.parts.memory.patterns()
        caution = book.caution("one", ["venue:XLON"])
        assert caution is not None
        after = desk.parts.trusts(VOD)
        assert after["one"] == pytest.approx(before["one"] * (1 - caution))
        assert after["two"] == before["two"]
        assert desk.parts.trusts(AAPL)["one"] == pytest.approx(before["one"])
        one, router = desk.parts.sources["one"], desk.parts.router
        expected = router.expected(one, VOD, Endpoint.QUOTE, router.limit_s(None))
        assert router.candidate(one, VOD, Endpoint.QUOTE).trust == pytest.approx(expected.trust * (1 - caution))


async def test_what_recurs_is_told_with_the_answer(clock: ManualClock) -> None:
    """To whoever asks why, and only about sources that had a say."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5, "VOD.L": 0.75}) for name in ("one", "two")]
    async with quote_desk(clock, *sources) as desk:
        await teach_faults(desk, "one")
        (london,) = (await desk.engine.answer(question("VOD.L"))).quotes
        (new_york,) = (await desk.engine.answer(question("AAPL"))).quotes
    assert "one shows unit on XLON: " in london.explanation.learned["recurring_faults"]
    assert "recurring_faults" not in new_york.explanation.learned


async def test_two_that_make_the_same_errors_do_not_confirm_each_other(clock: ManualClock) -> None:
    """Their agreement is one voice's, and it is said why."""
    sources = [ScriptedSource(name, clock, {"AAPL": 189.5}) for name in ("one", "two")]
    async with quote_desk(clock, *sources) as desk:
        (plain,) = (await desk.engine.answer(question("AAPL"))).quotes
        await teach_faults(desk, "one", "two")
        groups = desk.parts.quote_context(AAPL).groups
        (wary,) = (await desk.engine.answer(question("AAPL", max_age_s=0.0))).quotes
    assert groups["one"] == groups["two"]
    assert plain.summary.startswith("2 independent sources agree")
    assert wary.summary.startswith("1 independent source (")
    assert "two makes the same errors as one" in wary.explanation.learned["recurring_faults"]


async def test_the_graph_is_bounded_and_says_what_it_leaves_out(clock: ManualClock) -> None:
    """However many instruments are known: the most used ones, as many as fit."""
    right = {"x": Said(100.0, VoiceVerdict.SERVED), "y": Said(100.0), "z": Said(100.0)}
    async with open_memory(None, clock) as memory:
        for n in range(300):
            for k in range(3 if n < 25 else 1):
                memory.keep(answered(right, f"S{n}", at=OPEN_MARKET, evidence_id=f"q-{n}-{k}"))
                memory.listen(fetched("x", None, f"S{n}", at=OPEN_MARKET))
        whole = await graph_view(memory)
        small = await graph_view(memory, 6_000)
        tiny = await graph_view(memory, 10)
    shown = {node["id"] for node in whole["nodes"] if node["kind"] == "symbol"}
    assert len(shown) == 20
    assert shown <= {f"symbol:S{n}" for n in range(25)}
    assert whole["left_out"]["symbols"] == 280
    assert whole["left_out"]["edges_of_shown_symbols"] > 0
    assert whole["totals"]["symbols"] == 300
    assert len(json.dumps(whole)) < GRAPH_BYTES
    assert len(json.dumps(small, separators=(",", ":"))) <= 6_000
    assert 280 < small["left_out"]["symbols"] < 300
    assert tiny["left_out"]["symbols"] == 300
    assert {node["id"] for node in tiny["nodes"] if node["kind"] == "source"} == {"source:x", "source:y", "source:z"}


async def test_one_instrument_is_shown_whole(clock: ManualClock) -> None:
    """With what the graph left out; one that nobody asked for is not known."""
    right = {
        "x": Said(100.0, VoiceVerdict.SERVED),
        "y": Said(100.0),
        "z": Said(100.5, VoiceVerdict.OUTLIER, "digit: 1"),
    }
    async with open_memory(None, clock) as memory:
        memory.keep(answered(right, "AAPL", at=OPEN_MARKET))
        memory.listen(fetched("x", None, "AAPL", at=OPEN_MARKET))
        view = await symbol_view(memory, "AAPL")
        assert await symbol_view(memory, "MSFT") is None
    assert view is not None
    assert view["symbol"] == "AAPL"
    assert {edge["kind"] for edge in view["edges"]} == {"SERVES", "BIAS_ON", "HAD", "ON"}
    assert {(e["from"], e["to"]) for e in view["edges"] if e["kind"] == "HAD"} == {("symbol:AAPL", "fault:digit")}


async def test_a_wrong_unit_on_one_exchange_is_learned_from_real_judgements_and_stops_to_matter() -> None:
    """A trusted source that counts pence as pounds in London alone; its word weighs less there from then on."""
    clock = ManualClock(BOTH_OPEN + timedelta(minutes=45), settle_rounds=10)
    good = [ScriptedSource(name, clock, {"AAPL": 189.5, "VOD.L": 0.75}) for name in ("one", "two")]
    pence = ScriptedSource("pence", clock, {"AAPL": 189.5, "VOD.L": 75.0}, weight=0.95)
    async with quote_desk(clock, *good, pence) as desk:
        before = desk.parts.trusts(VOD)["pence"]
        for _ in range(25):
            for symbol in ("AAPL", "AAPL", "VOD.L"):
                await desk.engine.answer(question(symbol))
                await desk.clock.advance(5.0)
        await desk.parts.memory.flush()
        patterns = desk.parts.memory.patterns().all
        (answer,) = (await desk.engine.answer(question("VOD.L", max_age_s=0.0))).quotes
        weights = {voice.source: voice.weight for voice in answer.explanation.voices}
        (fine,) = (await desk.engine.answer(question("AAPL", max_age_s=0.0))).quotes
        after = desk.parts.trusts(VOD)["pence"]
    assert {(p.source, p.fault, p.context) for p in patterns} >= {("pence", "unit", "venue:XLON")}
    assert {p.source for p in patterns} == {"pence"}
    assert after < before / 2
    assert (answer.price, answer.sources_rejected) == (0.75, ("pence",))
    assert weights["pence"] < min(weights["one"], weights["two"])
    assert "pence shows unit on XLON" in answer.explanation.learned["recurring_faults"]
    assert fine.sources_rejected == ()
