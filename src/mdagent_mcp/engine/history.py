"""The story of a history: cache, plan, ask two independent sources, compare, grade, remember; more where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import anyio

from mdagent_mcp.cache import TimedStore
from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement, answer, judge_history
from mdagent_mcp.domain.answers import HistoryAnswer, SymbolFailure, Usage
from mdagent_mcp.domain.events import Graded, Judged
from mdagent_mcp.domain.failures import Failure
from mdagent_mcp.domain.prices import History
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.domain.service import Progress
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery
from mdagent_mcp.engine.flight import SingleFlight
from mdagent_mcp.engine.parts import EngineParts, allowed, not_asked
from mdagent_mcp.engine.refusals import reasons, symbol_failure
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.routing.planning import asking_order

FIRST_WAVE: Final = 2
"""Independent series that a history is compared across to begin with."""
ENOUGH: Final = Grade.B
"""The grade that ends the asking when the asker wants none in particular."""


class HistoryEngine:
    """Answers questions for past prices."""

    def __init__(self, parts: EngineParts, teacher: Teacher | None = None) -> None:
        self._parts = parts
        self._teacher = teacher or Teacher(parts.emit)
        self._kept: TimedStore[HistoryQuestion, HistoryAnswer] = TimedStore(max(1, parts.freshness.entries // 50))
        self._flights: SingleFlight[HistoryQuestion, HistoryAnswer | SymbolFailure] = SingleFlight(parts.spawn)

    async def answer(
        self, question: HistoryQuestion, progress: Progress | None = None
    ) -> HistoryAnswer | SymbolFailure:
        """The series, or why there is none; ends within the deadline."""
        clock = self._parts.clock
        started = clock.monotonic()
        entry = self._kept.fresh(question, clock.now(), self._parts.freshness.history_s)
        if entry is not None:
            result: HistoryAnswer | SymbolFailure = replace(entry.value, cached=True)
        else:
            result = await self._flights.run(question, lambda: self._collect(question, progress))
        elapsed = clock.monotonic() - started
        grade = result.grade if isinstance(result, HistoryAnswer) else None
        symbol = question.instrument.symbol
        self._parts.emit(Graded(symbol, Endpoint.HISTORY, clock.now(), grade, entry is not None, elapsed))
        if isinstance(result, SymbolFailure):
            return result
        calls = 0 if entry is not None else result.usage.vendor_calls
        return replace(result, usage=Usage(calls, int(entry is not None), round(elapsed * 1000.0, 1)))

    async def _collect(self, question: HistoryQuestion, progress: Progress | None) -> HistoryAnswer | SymbolFailure:
        collected = _HistoryCollection(self._parts, question)
        await collected.run(progress)
        judgement = collected.judgement
        if judgement is None:
            return symbol_failure(question.instrument.symbol, collected.failures)
        served = replace(answer(judgement, self._parts.evidence_id("h")), usage=Usage(collected.calls, 0, 0.0))
        self._kept.store(question, served, self._parts.clock.now())
        self._parts.memory.keep(served)
        self._tell_judged(served)
        if question.interval.is_intraday:
            context = self._parts.quote_context(question.instrument)
            self._teacher.hear_bars(question.instrument, served, context)
        return served

    def _tell_judged(self, served: HistoryAnswer) -> None:
        for source in (*served.sources_used, *served.sources_rejected):
            agreed = source in served.sources_used
            known = agreed if len(served.sources_used) > 1 else None
            fault = "" if agreed else "history"
            self._parts.emit(
                Judged(
                    source, served.symbol, Endpoint.HISTORY, served.judged_at, known, fault if known is False else ""
                )
            )


class _HistoryCollection:
    """Asks for one series in waves of independent sources until it is good enough."""

    def __init__(self, parts: EngineParts, question: HistoryQuestion) -> None:
        self._parts = parts
        self._question = question
        self._query = HistoryQuery(
            question.instrument,
            question.interval,
            question.first,
            question.last,
            question.adjustment,
            question.extended_hours,
            parts.clock.now(),
        )
        self._asked: list[str] = []
        self._series: list[History] = []
        self.failures: dict[str, Failure] = {}
        self.judgement: HistoryJudgement | None = None
        self.calls = 0

    async def run(self, progress: Progress | None) -> None:
        ends = self._parts.clock.monotonic() + self._parts.collection.deadline_s
        while (left := ends - self._parts.clock.monotonic()) > 0:
            order = self._order()
            wave = order[: FIRST_WAVE if not self._asked else 1]
            if not wave or self._good_enough():
                return
            self._asked.extend(wave)
            await self._ask(wave, left)
            self._judge()
            if progress is not None:
                await progress(len(self._asked), len(self._asked) + len(order) - len(wave), ", ".join(wave))

    def _good_enough(self) -> bool:
        wanted = self._question.min_grade or ENOUGH
        return self.judgement is not None and at_least(self.judgement.assessment.grade, wanted)

    def _order(self) -> tuple[str, ...]:
        parts, instrument = self._parts, self._question.instrument
        candidates = []
        for name, source in allowed(parts.sources, self._question.sources).items():
            if name in self._asked:
                continue
            refusal = source.refuses_history(self._query)
            failure = not_asked(source, refusal, named=bool(self._question.sources))
            if failure is not None:
                self.failures.setdefault(name, failure)
            elif source.is_askable:
                candidates.append(parts.candidate(source, instrument))
        groups = {parts.sources[name].group_of(instrument) for name in self._asked}
        cheapest = self._question.min_grade is not None and bool(self._asked)
        return asking_order(candidates, live=False, asked_groups=groups, cheapest_first=cheapest)

    async def _ask(self, wave: Sequence[str], budget_s: float) -> None:
        async with anyio.create_task_group() as calls:
            for name in wave:
                calls.start_soon(self._ask_one, name, budget_s)

    async def _ask_one(self, name: str, budget_s: float) -> None:
        asked = await self._parts.sources[name].history(self._query, budget_s)
        self.calls += asked.calls
        if isinstance(asked.answer, Failure):
            self.failures[name] = asked.answer
        else:
            self._series.append(asked.answer.value)

    def _judge(self) -> None:
        parts, instrument = self._parts, self._question.instrument
        context = HistoryContext(
            now=parts.clock.now(),
            groups=parts.groups(instrument),
            weights=parts.trusts(),
            suggestions=parts.suggestions(instrument),
        )
        self.judgement = judge_history(self._question, self._series, reasons(self.failures), context)
