"""A small chaos run, and a defect planted against each invariant to see that it would be found."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import anyio
import pytest

import chaos_calls
import chaos_run
from chaos import missed, plan_of
from chaos_disk import DiskState
from chaos_network import LinkFault
from chaos_plan import SOURCES, Episode, episode
from chaos_run import Plan, run_plan
from mdagent_mcp import app
from mdagent_mcp.consensus import validation
from mdagent_mcp.domain.answers import QuoteAnswer, QuotesAnswer
from mdagent_mcp.domain.clock import Uptime
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.engine import refusals
from mdagent_mcp.engine.inquiry import Inquiry
from mdagent_mcp.engine.quote_routing import QuoteRouting
from mdagent_mcp.engine.quotes import QuoteEngine
from mdagent_mcp.resilience.quota import Admission, QuotaLog
from mdagent_mcp.sandbox.faults import FaultKind
from mdagent_mcp.server import tools
from mdagent_mcp.server.views import quotes_json
from mdagent_mcp.transport import budgets
from mdagent_mcp.transport.budget_file import FileStore
from mdagent_mcp.transport.budgets import Budget

CALM = Episode(25.0)
OTHERS_PRICES = Episode(60.0, ("finnhub=wrong_symbol:SIM077",))
SET_FORWARDS = tuple(Episode(8.0, offset_s=61.0 * n) for n in range(1, 30))
OUTAGE = Episode(40.0, links=dict.fromkeys(SOURCES, ((LinkFault.REFUSED, 1.0),)), outage=True)


def broken(plan: Plan) -> set[str]:
    """The invariants that did not hold."""
    return set(run_plan(plan).findings.violations)


def test_whatever_breaks_every_invariant_holds_and_the_same_seed_is_the_same_run() -> None:
    """The same code as `benchmarks/chaos.py` at length; what was found once can be looked at again."""
    run_plan(Plan(1, 2))  # what a process imports on the way costs rounds of its event loop, once
    first, again = (run_plan(plan_of(1, 24)) for _ in range(2))
    assert {name: first.findings.violations[name] for name in missed(first)} == {}
    assert first.findings.calls.total() == 24
    assert first.hit.total() > 0
    assert (first.findings, first.sent, first.hit) == (again.findings, again.sent, again.hit)


def test_with_scarce_quotas_every_invariant_holds_as_well() -> None:
    """None is exceeded, however calls fail."""
    outcome = run_plan(plan_of(2, 40))
    assert {name: outcome.findings.violations[name] for name in missed(outcome)} == {}
    assert outcome.sent.total() > 40


def test_a_wall_clock_that_is_set_again_and_again_exceeds_no_quota() -> None:
    """A minute forwards every eight seconds."""
    assert "quota" not in broken(Plan(1, 40, tight=True, episodes=SET_FORWARDS))


def test_another_companys_price_under_a_symbol_that_does_not_exist_is_not_stated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The source cannot be caught by itself, because its reply names no symbol; the others deny the symbol."""
    _ask_for_nothing(monkeypatch)
    outcome = run_plan(Plan(1, 4, episodes=(OTHERS_PRICES,)))
    assert outcome.findings.violations == {}
    assert outcome.findings.nameless == outcome.findings.grades["F"] > 0


def test_a_valkey_server_that_is_killed_changes_nothing_that_was_promised() -> None:
    """Budgets are decided from the mirror meanwhile; the server comes back empty."""
    there, gone = Episode(8.0), Episode(8.0, valkey_down=True)
    outcome = run_plan(Plan(5, 25, tight=True, valkey=True, episodes=(there, gone)))
    assert outcome.findings.violations == {}
    assert outcome.kills > 1


def test_a_disk_that_refuses_every_write_changes_no_answer() -> None:
    """Full, read-only and broken: what cannot be written waits, and nobody hears of it."""
    states = tuple(Episode(15.0, disk=state) for state in DiskState if state.value[0])
    outcome = run_plan(Plan(3, 18, episodes=states))
    assert outcome.findings.violations == {}
    assert outcome.disk_refused > 5
    assert outcome.findings.answered == outcome.findings.promised > 5


def _plant_wrong_price(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = QuoteEngine.answer

    async def wrong(self: QuoteEngine, *args: Any) -> QuotesAnswer:
        given = await honest(self, *args)
        return replace(given, quotes=tuple(map(_too_high, given.quotes)))

    monkeypatch.setattr(QuoteEngine, "answer", wrong)


def _too_high(quote: QuoteAnswer) -> QuoteAnswer:
    return replace(
        quote, price=quote.price * 1.02, price_low=quote.price_low * 1.02, price_high=quote.price_high * 1.02
    )


def _plant_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = QuoteEngine.answer

    async def slow(self: QuoteEngine, *args: Any) -> Any:
        await self._parts.clock.sleep(11.0)
        return await prompt(self, *args)

    monkeypatch.setattr(QuoteEngine, "answer", slow)


def _plant_endless_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: Any) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr(QuoteEngine, "answer", endless)


def _plant_task(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[asyncio.Task[None]] = []
    begin = app._begin_background

    def and_more(*args: Any) -> None:
        begin(*args)
        kept.append(asyncio.get_running_loop().create_task(anyio.sleep_forever()))

    monkeypatch.setattr(app, "_begin_background", and_more)


def _plant_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[FileStore] = []
    monkeypatch.setattr(FileStore, "close", kept.append)


def _plant_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_run, "RESTART_EVERY", 16)
    kept: list[list[list[int]]] = []
    prompt = QuoteEngine.answer

    async def hoarding(self: QuoteEngine, *args: Any) -> Any:
        kept.append([[n] for n in range(60_000)])
        return await prompt(self, *args)

    monkeypatch.setattr(QuoteEngine, "answer", hoarding)


def _plant_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(QuoteEngine, "_last_known", nothing)


def _plant_single_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_cboe(self: QuoteRouting, inquiry: Inquiry, *_: int) -> tuple[str, ...]:
        return () if inquiry.asked else ("cboe",)

    monkeypatch.setattr(QuoteRouting, "wave", only_cboe)
    monkeypatch.setattr(QuoteRouting, "order", only_cboe)


def _plant_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    async def raising(*_: Any) -> Any:
        raise KeyError("planted")

    monkeypatch.setattr(QuoteEngine, "answer", raising)


def _plant_isolated_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: Any) -> Any:
        raise KeyError("planted")

    monkeypatch.setattr(QuoteEngine, "_tell_judged", raising)


def _plant_code(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = quotes_json

    def renamed(*args: Any) -> dict[str, Any]:
        shown = honest(*args)
        return shown | {"failures": [failure | {"code": "oops"} for failure in shown["failures"]]}

    monkeypatch.setattr(tools, "quotes_json", renamed)


def _plant_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(failures: tuple[Failure, ...]) -> Failure | None:
        return replace(failures[0], kind=FailureKind.UNKNOWN_SYMBOL) if failures else None

    monkeypatch.setattr(refusals, "_naming", unknown)


def _plant_spending(monkeypatch: pytest.MonkeyPatch) -> None:
    async def allow(*_: Any) -> Admission:
        return Admission(allowed=True)

    monkeypatch.setattr(Budget, "admit", allow)


def _plant_credulity(monkeypatch: pytest.MonkeyPatch) -> None:
    _ask_for_nothing(monkeypatch)
    monkeypatch.setattr(validation, "CHECKS", tuple(c for c in validation.CHECKS if c is not validation.symbol_known))


def _ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_calls, "_symbol", lambda rng: rng.choice(chaos_calls.NAMELESS))


def _plant_trusted_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def believed(log: QuotaLog, told: float, _: Uptime, *, shared: bool = False) -> tuple[QuotaLog, float]:
        return log, told

    monkeypatch.setattr(budgets, "aligned", believed)


PLANTED = {
    "price": (_plant_wrong_price, Plan(1, 5, episodes=(CALM,))),
    "deadline: late": (_plant_slow_answer, Plan(1, 4, episodes=(CALM,))),
    "deadline: never": (_plant_endless_answer, Plan(1, 4, episodes=(CALM,))),
    "leak: task": (_plant_task, Plan(1, 3, episodes=(CALM,))),
    "leak: file": (_plant_open_file, Plan(1, 4, episodes=(CALM,))),
    "memory": (_plant_growth, Plan(1, 16, episodes=(CALM,))),
    "unanswered": (_plant_single_source, Plan(1, 10, episodes=(Episode(60.0, ("cboe=server_error",)),))),
    "outage": (_plant_forgetting, Plan(1, 40, episodes=(Episode(12.0), replace(OUTAGE, lasts_s=30.0)))),
    "no exception: escapes": (_plant_exception, Plan(1, 4, episodes=(CALM,))),
    "no exception: isolated": (_plant_isolated_exception, Plan(1, 4, episodes=(CALM,))),
    "codes": (_plant_code, Plan(1, 5, episodes=(OUTAGE,))),
    "unknown": (_plant_unknown, Plan(1, 5, episodes=(OUTAGE,))),
    "nameless": (_plant_credulity, Plan(1, 4, episodes=(OTHERS_PRICES,))),
    "quota: spent": (_plant_spending, Plan(1, 30, tight=True, episodes=(CALM,))),
    "quota: clock set": (_plant_trusted_wall_clock, Plan(1, 40, tight=True, episodes=SET_FORWARDS)),
}


@pytest.mark.parametrize("what", PLANTED)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_planted_defect_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a run of the same kind finds nothing: see the tests above."""
    plant, plan = PLANTED[what]
    plant(monkeypatch)
    assert what.partition(":")[0] in broken(plan)


def test_episodes_are_drawn_from_everything_there_is() -> None:
    """Every kind of fault of the sandbox and of the network comes up."""
    rng = random.Random(1)
    drawn = [episode(rng) for _ in range(600)]
    kinds = {fault.partition("=")[2].partition(":")[0].partition(",")[0] for e in drawn for fault in e.sandbox}
    assert kinds == set(FaultKind)
    assert {fault for e in drawn for pairs in e.links.values() for fault, _ in pairs} == set(LinkFault)
    assert {e.disk for e in drawn} == set(DiskState)
    assert {e.outage for e in drawn} == {e.valkey_down for e in drawn} == {True, False}
    assert len({e.offset_s for e in drawn}) > 8
