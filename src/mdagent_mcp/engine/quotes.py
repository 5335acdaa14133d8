"""The story of a quote: cache, plan, ask, agree, grade, remember.

What is kept in the cache are the sources' own quotes, not the answer: every time it is served it is judged again, so
that its delay, its grade and its summary are true at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mdagent_mcp.cache import TimedStore
from mdagent_mcp.consensus.quotes import QuoteJudgement, answer, judge_quote, source_outcomes
from mdagent_mcp.domain.answers import QuoteAnswer, QuotesAnswer, SymbolFailure, Usage
from mdagent_mcp.domain.events import Graded, Judged
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.service import Progress
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.collection import Collection, CollectionHooks
from mdagent_mcp.engine.inquiry import Inquiry, InquiryKey
from mdagent_mcp.engine.parts import EngineParts, allowed, is_live, not_asked
from mdagent_mcp.engine.refusals import reasons, symbol_failure
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.routing.planning import asking_order

_GRACE_S = 0.25
"""Time beyond the deadline that a collection gets to hand over what it has."""


@dataclass(frozen=True, slots=True)
class KeptQuotes:
    """What sources said about an instrument.

    Attributes:
        quotes: theirs.
        failures: of the sources that had nothing.
        grade: of the answer last given from it.
        evidence_id: under which that answer was kept.
    """

    quotes: tuple[Quote, ...]
    failures: tuple[Failure, ...]
    grade: Grade
    evidence_id: str


class QuoteEngine:
    """Answers questions for current prices."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._kept: TimedStore[InquiryKey, KeptQuotes] = TimedStore(parts.freshness.entries)
        self._teacher = Teacher(parts.emit)
        self._flights: dict[InquiryKey, tuple[Inquiry, Collection]] = {}

    async def answer(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Answer for every instrument asked; what has no answer is among the failures."""
        clock = self._parts.clock
        started = clock.monotonic()
        results: dict[str, QuoteAnswer | SymbolFailure] = {}
        asking: dict[str, Instrument] = {}
        for instrument in question.instruments:
            cached = self._from_cache(question, instrument)
            if cached is None:
                asking[instrument.symbol] = instrument
            else:
                results[instrument.symbol] = cached
        hits = len(results)
        calls = await self._ask(question, tuple(asking.values()), results, progress)
        elapsed = clock.monotonic() - started
        self._tell(question, results, asking, elapsed)
        ordered = [results[i.symbol] for i in question.instruments]
        return QuotesAnswer(
            tuple(r for r in ordered if isinstance(r, QuoteAnswer)),
            tuple(r for r in ordered if isinstance(r, SymbolFailure)),
            Usage(calls, hits, round(elapsed * 1000.0, 1)),
        )

    def _from_cache(self, question: QuoteQuestion, instrument: Instrument) -> QuoteAnswer | None:
        now = self._parts.clock.now()
        max_age = self._max_age(question, instrument, now)
        for key in dict.fromkeys((_key(question, instrument), replace(_key(question, instrument), min_grade=None))):
            entry = self._kept.fresh(key, now, max_age)
            if entry is None:
                continue
            failures = {f.source: f for f in entry.value.failures}
            judgement = self._judge(instrument, entry.value.quotes, failures)
            if judgement is None or not at_least(judgement.grade, question.min_grade or Grade.F):
                continue
            same = judgement.grade is entry.value.grade
            evidence_id = entry.value.evidence_id if same else self._parts.evidence_id("q")
            served = replace(answer(judgement, evidence_id), cached=True)
            if not same:
                self._parts.memory.keep(served)
                self._kept.amend(key, replace(entry.value, grade=served.grade, evidence_id=evidence_id))
            return served
        return None

    def _max_age(self, question: QuoteQuestion, instrument: Instrument, now: datetime) -> float:
        if question.max_age_s is not None:
            return question.max_age_s
        freshness = self._parts.freshness
        return freshness.open_market_s if is_live(instrument, now) else freshness.closed_market_s

    async def _ask(
        self,
        question: QuoteQuestion,
        instruments: Sequence[Instrument],
        results: dict[str, QuoteAnswer | SymbolFailure],
        progress: Progress | None,
    ) -> int:
        """Fill `results` for the instruments that have to be asked about; returns the vendor calls it took."""
        if not instruments:
            return 0
        flights = [self._join(question, instrument) for instrument in self._start(question, instruments)]
        for inquiry, _ in flights:
            inquiry.waiters += 1
        try:
            with self._parts.clock.limit(self._parts.collection.deadline_s + _GRACE_S):
                for count, (inquiry, _) in enumerate(flights, start=1):
                    await inquiry.done.wait()
                    if progress is not None:
                        await progress(count, len(flights), inquiry.key.symbol)
        except TimeoutError:
            pass
        finally:
            for inquiry, collection in flights:
                inquiry.waiters -= 1
                collection.cancel_when_abandoned()
        for inquiry, _ in flights:
            results[inquiry.key.symbol] = self._result(inquiry)
        return sum(collection.calls for collection in {id(c): c for _, c in flights}.values())

    def _start(self, question: QuoteQuestion, instruments: Sequence[Instrument]) -> Sequence[Instrument]:
        """Begin a collection for what is not being asked about already."""
        new = [Inquiry(_key(question, i), i) for i in instruments if _key(question, i) not in self._flights]
        if new:
            hooks = CollectionHooks(self._order, self._judge_inquiry, self._finished)
            parts = self._parts
            collection = Collection(new, parts.sources, parts.clock, parts.collection, hooks)
            for inquiry in new:
                self._flights[inquiry.key] = (inquiry, collection)
            parts.spawn(run_isolated, "a quote collection", collection.run)
        return instruments

    def _join(self, question: QuoteQuestion, instrument: Instrument) -> tuple[Inquiry, Collection]:
        return self._flights[_key(question, instrument)]

    def _result(self, inquiry: Inquiry) -> QuoteAnswer | SymbolFailure:
        return inquiry.answer if inquiry.answer is not None else symbol_failure(inquiry.key.symbol, inquiry.failures)

    def _order(self, inquiry: Inquiry) -> tuple[str, ...]:
        parts = self._parts
        named = bool(inquiry.key.sources)
        candidates = []
        for name, source in allowed(parts.sources, inquiry.key.sources).items():
            if name in inquiry.asked:
                continue
            refusal = source.refuses_quote(inquiry.instrument)
            failure = (
                not_asked(source, named=named) if refusal is None else Failure(name, FailureKind.UNSUPPORTED, refusal)
            )
            if failure is not None:
                inquiry.failures.setdefault(name, failure)
            elif source.is_askable:
                candidates.append(parts.candidate(source, inquiry.instrument))
        groups = {parts.sources[name].group_of(inquiry.instrument) for name in inquiry.asked}
        live = is_live(inquiry.instrument, parts.clock.now())
        cheapest = inquiry.key.min_grade is not None and bool(inquiry.asked)
        return asking_order(candidates, live=live, asked_groups=groups, cheapest_first=cheapest)

    def _judge_inquiry(self, inquiry: Inquiry) -> None:
        inquiry.judgement = self._judge(inquiry.instrument, tuple(inquiry.quotes), inquiry.failures)

    def _judge(
        self, instrument: Instrument, quotes: Sequence[Quote], failures: dict[str, Failure]
    ) -> QuoteJudgement | None:
        return judge_quote(instrument, quotes, reasons(failures), self._parts.quote_context(instrument))

    def _finished(self, inquiry: Inquiry) -> None:
        """Keep what an inquiry came to; called again when a late answer changed it."""
        self._flights.pop(inquiry.key, None)
        self._judge_inquiry(inquiry)
        if inquiry.judgement is None:
            return
        given = inquiry.answer
        served = answer(inquiry.judgement, given.evidence_id if given else self._parts.evidence_id("q"))
        kept = KeptQuotes(tuple(inquiry.quotes), tuple(inquiry.failures.values()), served.grade, served.evidence_id)
        if given is None:
            inquiry.answer = served
            self._kept.store(inquiry.key, kept, self._parts.clock.now())
            self._parts.memory.keep(served)
            self._tell_judged(inquiry.judgement)
            context = self._parts.quote_context(inquiry.instrument)
            self._teacher.hear(inquiry.instrument, kept.quotes, inquiry.judgement, context)
        else:
            self._kept.amend(inquiry.key, kept)

    def _tell_judged(self, judgement: QuoteJudgement) -> None:
        for told in source_outcomes(judgement):
            symbol, at = judgement.symbol, judgement.judged_at
            self._parts.emit(Judged(told.source, symbol, Endpoint.QUOTE, at, told.agreed, told.fault))

    def _tell(
        self,
        question: QuoteQuestion,
        results: dict[str, QuoteAnswer | SymbolFailure],
        asking: dict[str, Instrument],
        elapsed: float,
    ) -> None:
        now = self._parts.clock.now()
        for instrument in question.instruments:
            result = results[instrument.symbol]
            grade = result.grade if isinstance(result, QuoteAnswer) else None
            cached = instrument.symbol not in asking
            self._parts.emit(Graded(instrument.symbol, Endpoint.QUOTE, now, grade, cached, elapsed))


def _key(question: QuoteQuestion, instrument: Instrument) -> InquiryKey:
    return InquiryKey(instrument.symbol, tuple(sorted(question.sources)), question.min_grade)
