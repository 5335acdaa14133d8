"""The story of a history: cache, plan, ask two independent sources, compare, grade, remember; more where needed.

A source is asked only for what is not known of its series yet (`known_histories`); the judgement is made anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import anyio

from mdagent_mcp.cache import TimedStore
from mdagent_mcp.cache.known import ReuseLimits
from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement, answer, judge_history
from mdagent_mcp.consensus.wording import duration_text
from mdagent_mcp.domain.answers import HistoryAnswer, SymbolFailure, Usage
from mdagent_mcp.domain.events import Graded, Judged
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.prices import History
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.domain.questions import HistoryQuestion
from mdagent_mcp.domain.service import Progress
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery
from mdagent_mcp.engine.flight import SingleFlight
from mdagent_mcp.engine.known_histories import KnownHistories
from mdagent_mcp.engine.load import QuestionLoad, shed
from mdagent_mcp.engine.parts import OUT_OF_USE, EngineParts, allowed, not_asked
from mdagent_mcp.engine.refusals import reasons, symbol_failure
from mdagent_mcp.engine.router import AskedFor
from mdagent_mcp.engine.shared_flight import SharedFlight
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.routing.planning import Candidate
from mdagent_mcp.routing.waves import Need

FIRST_WAVE: Final = 2
"""Independent series that a history is compared across to begin with."""
ENOUGH: Final = Grade.B
"""The grade that ends the asking when the asker wants none in particular."""
_DOUBTFUL: Final = frozenset({"fatal", "major"})
"""Severities of what is wrong with a series that make it be fetched anew for the next question."""


class HistoryEngine:
    """Answers questions for past prices."""

    def __init__(self, parts: EngineParts, load: QuestionLoad | None = None, teacher: Teacher | None = None) -> None:
        self._parts = parts
        self._load = load or QuestionLoad(parts.clock, parts.shedding)
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
            result = await self._asked(question, progress)
        elapsed = clock.monotonic() - started
        grade = result.grade if isinstance(result, HistoryAnswer) else None
        symbol = question.instrument.symbol
        cached = isinstance(result, HistoryAnswer) and result.cached
        self._parts.emit(Graded(symbol, Endpoint.HISTORY, clock.now(), grade, cached, elapsed))
        if isinstance(result, SymbolFailure):
            return result
        spent = Usage(0, 1, 0.0) if entry is not None else result.usage
        return replace(result, usage=replace(spent, elapsed_ms=round(elapsed * 1000.0, 1)))

    async def _asked(self, question: HistoryQuestion, progress: Progress | None) -> HistoryAnswer | SymbolFailure:
        with self._load.place() as verdict:
            if verdict.allowed:
                return await self._flights.run(question, lambda: self._collect(question, progress))
        return shed(question.instrument.symbol, verdict)

    async def _collect(self, question: HistoryQuestion, progress: Progress | None) -> HistoryAnswer | SymbolFailure:
        """The series, asked for by one replica at a time, so that the next one finds it known."""
        flight, collected = self._parts.history_flight, _HistoryCollection(self._parts, question)
        await collected.recall()
        if flight is None or collected.good_enough:
            await collected.run(progress)
            return self._answered(collected)
        name = _name(question)
        await flight.consult([name], lambda _name, _found: True)
        try:
            collected = _HistoryCollection(self._parts, question)
            await collected.recall()
            await collected.run(progress)
        finally:
            self._parts.spawn(run_isolated, f"the sharing of {name}", self._release, flight, name)
        return self._answered(collected)

    async def _release(self, flight: SharedFlight, name: str) -> None:
        await self._parts.histories.flush()
        flight.tell(name, None, kept_s=0.0)

    def _answered(self, collected: _HistoryCollection) -> HistoryAnswer | SymbolFailure:
        """The answer that a collection comes to, kept and told."""
        question = collected.question
        judgement = collected.judgement
        if judgement is None:
            failure = symbol_failure(question.instrument.symbol, collected.failures)
            return failure if failure.kind is FailureKind.UNKNOWN_SYMBOL else self._last_known(collected) or failure
        served = replace(
            answer(judgement, self._parts.evidence_id("h")),
            usage=Usage(collected.calls, int(collected.reused), 0.0),
            cached=collected.reused and not collected.calls,
        )
        collected.distrust_doubtful(served)
        self._kept.store(question, served, self._parts.clock.now())
        self._parts.memory.keep(served)
        self._tell_judged(served, collected.fetched)
        if question.interval.is_intraday:
            context = self._parts.quote_context(question.instrument)
            self._teacher.hear_bars(question.instrument, served, context)
        return served

    def _last_known(self, collected: _HistoryCollection) -> HistoryAnswer | None:
        """During an outage what was known before it, at the grade of what is missing; None when that is an F."""
        judgement, received_at = collected.judge_whatever_is_known()
        if judgement is None or not at_least(judgement.assessment.grade, Grade.D):
            return None
        age = (judgement.judged_at - received_at).total_seconds()
        told = f"No source answers now; this is what was known {duration_text(age)} ago. "
        known = answer(judgement, self._parts.evidence_id("h"))
        known = replace(known, summary=told + known.summary, cached=True, usage=Usage(collected.calls, 1, 0.0))
        self._parts.memory.keep(known)
        return known

    def _tell_judged(self, served: HistoryAnswer, fetched: Collection[str]) -> None:
        """What was fetched for this answer counts; what was known before has counted already."""
        for source in (*served.sources_used, *served.sources_rejected):
            if source not in fetched:
                continue
            agreed = source in served.sources_used
            known = agreed if len(served.sources_used) > 1 else None
            fault = "" if agreed else "history"
            self._parts.emit(
                Judged(
                    source, served.symbol, Endpoint.HISTORY, served.judged_at, known, fault if known is False else ""
                )
            )


def _name(question: HistoryQuestion) -> str:
    """What makes two questions the same for all replicas."""
    hours = "extended" if question.extended_hours else "regular"
    range_ = f"{question.first}|{question.last}|{question.interval}|{question.adjustment}|{hours}"
    return f"{question.instrument.symbol}|{range_}|{','.join(sorted(question.sources))}|{question.min_grade or ''}"


class _HistoryCollection:
    """Asks for one series in waves of independent sources until it is good enough."""

    def __init__(self, parts: EngineParts, question: HistoryQuestion) -> None:
        self._parts = parts
        self.question = question
        self._query = HistoryQuery(
            question.instrument,
            question.interval,
            question.first,
            question.last,
            question.adjustment,
            question.extended_hours,
            parts.clock.now(),
        )
        freshness = parts.freshness
        limits = ReuseLimits(freshness.history_s, freshness.completed_s)
        self._known = KnownHistories(parts.histories, parts.clock, limits, self._query, parts.corrected)
        self._asked: list[str] = []
        self._series: list[History] = []
        self.failures: dict[str, Failure] = {}
        self.judgement: HistoryJudgement | None = None
        self.calls = 0
        self.reused = False
        self.fetched: set[str] = set()

    async def run(self, progress: Progress | None) -> None:
        ends = self._parts.clock.monotonic() + self._parts.collection.deadline_s
        while (left := ends - self._parts.clock.monotonic()) > 0:
            candidates = self._candidates()
            if not candidates or self.good_enough:
                return
            wave = self._wave(candidates)
            self._asked.extend(wave)
            await self._ask(wave, left)
            self._judge()
            if progress is not None:
                await progress(len(self._asked), len(self._asked) + len(candidates) - len(wave), ", ".join(wave))

    async def recall(self) -> None:
        """Begin with the series that need no call, of the sources that may be asked at all."""
        usable = [
            source
            for source in allowed(self._parts.sources, self.question.sources).values()
            if source.state() not in OUT_OF_USE and source.refuses_history(self._query) is None
        ]
        for name, history in (await self._known.recall(usable)).items():
            self._asked.append(name)
            self._series.append(history)
            self.reused = True
        if self._series:
            self._judge()

    def distrust_doubtful(self, served: HistoryAnswer) -> None:
        """Where something is wrong, or sources contradict each other, everybody is asked anew for the next answer.

        To keep but one side of a contradiction would hide it.
        """
        if served.sources_rejected or any(issue.severity in _DOUBTFUL for issue in served.issues):
            for source in (*served.sources_used, *served.sources_rejected):
                self._known.distrust(source)

    def judge_whatever_is_known(self) -> tuple[HistoryJudgement | None, datetime]:
        """What the known parts come to, however old they are, and when the newest had arrived."""
        self._series = list(self._known.whatever_is_known(allowed(self._parts.sources, self.question.sources)).values())
        if self._series:
            self._judge()
        return self.judgement, max((h.received_at for h in self._series), default=self._query.now)

    @property
    def good_enough(self) -> bool:
        """Whether nobody else needs to be asked."""
        wanted = self.question.min_grade or ENOUGH
        return self.judgement is not None and at_least(self.judgement.assessment.grade, wanted)

    def _wave(self, candidates: Sequence[Candidate]) -> tuple[str, ...]:
        """Two independent series to compare to begin with, then one more at a time."""
        question, router = self.question, self._parts.router
        heard = frozenset(self._parts.sources[h.source].group_of(question.instrument) for h in self._series)
        lacking = max(1, FIRST_WAVE - len(heard))
        need = Need(lacking, fresh=False, covered=heard, live=False, urgent=question.min_grade is not None)
        most = 1 if self._asked else FIRST_WAVE
        wave = router.wave(AskedFor(question.instrument, Endpoint.HISTORY, question.min_grade), candidates, need, most)
        router.sent(wave)
        return wave

    def _candidates(self) -> list[Candidate]:
        parts, instrument = self._parts, self.question.instrument
        candidates = []
        for name, source in allowed(parts.sources, self.question.sources).items():
            if name in self._asked:
                continue
            refusal = source.refuses_history(self._query)
            failure = not_asked(source, refusal, named=bool(self.question.sources))
            if failure is not None:
                self.failures.setdefault(name, failure)
            elif source.is_askable:
                candidates.append(parts.router.candidate(source, instrument, Endpoint.HISTORY))
        return candidates

    async def _ask(self, wave: Sequence[str], budget_s: float) -> None:
        async with anyio.create_task_group() as calls:
            for name in wave:
                calls.start_soon(self._ask_one, name, budget_s)

    async def _ask_one(self, name: str, budget_s: float) -> None:
        told = await self._known.ask(self._parts.sources[name], budget_s)
        self.calls += told.calls
        if isinstance(told.answer, Failure):
            self.failures[name] = told.answer
        else:
            self.fetched.add(name)
            self._series.append(told.answer.value)
            self.reused = self.reused or told.reused

    def _judge(self) -> None:
        parts, instrument = self._parts, self.question.instrument
        context = HistoryContext(
            now=parts.clock.now(),
            groups=parts.groups(instrument),
            weights=parts.trusts(instrument),
            suggestions=parts.suggestions(instrument),
            clock_error_s=parts.clock_error_s(),
        )
        self.judgement = judge_history(self.question, self._series, reasons(self.failures), context)
