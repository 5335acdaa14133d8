"""The story of a quote: cache, plan, ask, agree, grade, remember.

What is kept in the cache are the sources' own quotes, not the answer: when it is served it is judged again, so that
its delay, its grade and its summary are true at that moment. Only a judgement of the last instant serves as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mdagent_mcp.cache import Entry, TimedStore
from mdagent_mcp.cache.quote_codec import Said
from mdagent_mcp.consensus.judgement import QuoteJudgement, answer, source_outcomes
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.consensus.wording import duration_text
from mdagent_mcp.domain.answers import QuoteAnswer, QuotesAnswer, SymbolFailure, Usage
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.events import Graded, Hedged, Judged
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.isolation import result_isolated, run_isolated
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.domain.questions import QuoteQuestion
from mdagent_mcp.domain.service import Progress
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.collection import Collection, CollectionHooks
from mdagent_mcp.engine.inquiry import Inquiry, InquiryKey, delays_told, is_complete, key_of
from mdagent_mcp.engine.kept_quotes import Fallbacks, KeptQuotes, is_of_this_instant
from mdagent_mcp.engine.load import QuestionLoad, shed
from mdagent_mcp.engine.parts import EngineParts, is_live
from mdagent_mcp.engine.quote_routing import QuoteRouting
from mdagent_mcp.engine.refusals import reasons, symbol_failure
from mdagent_mcp.engine.router import Heard
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.resilience.backoff import earn, new_budget
from mdagent_mcp.resilience.hedging import HEDGE_BUDGET, HedgeOptions, hedge_delay_s, spend_on_hedge

UNKNOWN_FOR_S: Final = 600.0
"""How long a symbol that nobody knew is not asked for again."""
_NOBODY_KNOWS: Final = frozenset({FailureKind.UNKNOWN_SYMBOL, FailureKind.UNSUPPORTED, FailureKind.RETIRED})
HEDGING: Final = HedgeOptions()
_UNUSABLE: Final = "what it said cannot be used"
_GRACE_S = 0.25
"""Time beyond the deadline that a collection gets to hand over what it has."""


class QuoteEngine:
    """Answers questions for current prices."""

    def __init__(self, parts: EngineParts, load: QuestionLoad | None = None, teacher: Teacher | None = None) -> None:
        self._parts = parts
        self._load = load or QuestionLoad(parts.clock, parts.shedding)
        self._kept: TimedStore[InquiryKey, KeptQuotes] = TimedStore(parts.freshness.entries)
        self._fallbacks = Fallbacks(parts.freshness.entries)
        self._teacher = teacher or Teacher(parts.emit)
        self._routing = QuoteRouting(parts)
        self._flights: dict[InquiryKey, tuple[Inquiry, Collection]] = {}
        self._unknown: TimedStore[InquiryKey, SymbolFailure] = TimedStore(parts.freshness.entries)
        self._hedges = new_budget(HEDGE_BUDGET, parts.clock.monotonic())

    async def answer(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Answer for every instrument asked; what has no answer is among the failures."""
        clock = self._parts.clock
        started = clock.monotonic()
        results: dict[str, QuoteAnswer | SymbolFailure] = {}
        asking: dict[str, Instrument] = {}
        for instrument in question.instruments:
            cached = self._from_cache(question, instrument) or self._known_unknown(question, instrument)
            if cached is None:
                asking[instrument.symbol] = instrument
            else:
                results[instrument.symbol] = cached
        await self._take_over(question, asking, results)
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
        now, asked = self._parts.clock.now(), key_of(question, instrument)
        for key in (asked,) if asked.min_grade is None else (asked, replace(asked, min_grade=None)):
            entry = self._kept.find(key)
            if entry is None or entry.age_s(now) >= self._max_age(question, instrument, entry, now):
                continue
            served = entry.value.still_serves(now) or self._judged_again(key, instrument, entry.value)
            if served is not None and at_least(served.grade, question.min_grade or Grade.F):
                return served
        return None

    async def _take_over(
        self, question: QuoteQuestion, asking: dict[str, Instrument], results: dict[str, QuoteAnswer | SymbolFailure]
    ) -> None:
        """Answer from what other replicas have found out, or are just finding out, and leave the rest to be asked."""
        sharing = self._parts.quote_sharing
        keys = {key_of(question, i): i for i in asking.values() if not self._is_asked(key_of(question, i))}
        if sharing is None or not keys or question.max_age_s == 0:
            return

        def accept(key: InquiryKey, said: Entry[Said]) -> bool:
            here = self._kept.find(key)
            if here is None or here.stored_at < said.stored_at:
                kept = KeptQuotes(said.value.quotes, said.value.failures, Grade.F, "")
                self._kept.store(key, kept, said.stored_at)
                self._fallbacks.heard(key, kept, said.stored_at)
            served = self._from_cache(question, keys[key])
            if served is not None:
                results[key.symbol] = served
                del asking[key.symbol]
            return served is not None

        await sharing.consult(tuple(keys), accept)

    def _share(self, inquiry: Inquiry, kept: KeptQuotes | None) -> None:
        """Leave for other replicas what an inquiry came to, for as long as it would be served here."""
        sharing, now = self._parts.quote_sharing, self._parts.clock.now()
        if sharing is None:
            return
        if kept is None:
            sharing.gave_up(inquiry.key)
            return
        kept_s = self._max_age(QuoteQuestion((inquiry.instrument,)), inquiry.instrument, Entry(kept, now), now)
        sharing.tell(inquiry.key, kept.quotes, kept.failures, kept_s)

    def _judged_again(self, key: InquiryKey, instrument: Instrument, kept: KeptQuotes) -> QuoteAnswer | None:
        """What the kept quotes come to now; None when none of them can be used any more."""
        judgement = self._judge(instrument, kept.quotes, {f.source: f for f in kept.failures})
        if judgement is None:
            return None
        same = judgement.grade is kept.grade and bool(kept.evidence_id)
        evidence_id = kept.evidence_id if same else self._parts.evidence_id("q")
        served = replace(answer(judgement, evidence_id), cached=True)
        if not same:
            self._parts.memory.keep(served)
        self._kept.amend(key, replace(kept, grade=served.grade, evidence_id=evidence_id, served=served))
        return served

    def _max_age(
        self, question: QuoteQuestion, instrument: Instrument, entry: Entry[KeptQuotes], now: datetime
    ) -> float:
        """How old the entry may be, seconds: a settled close does not change before the market trades again."""
        if question.max_age_s is not None:
            return question.max_age_s
        freshness = self._parts.freshness
        if is_live(instrument, now):
            return freshness.open_market_s
        settled = at_least(entry.value.grade, Grade.B) and self._settled(instrument, entry.stored_at, now)
        return math.inf if settled else freshness.closed_market_s

    def _settled(self, instrument: Instrument, then: datetime, now: datetime) -> bool:
        """Whether the official close was final at `then` and nothing has been traded since."""
        calendar = calendar_named(instrument.calendar)
        completed = calendar.latest_completed(then)
        if completed is None or calendar.latest_opened(now) != completed or is_live(instrument, then):
            return False
        return then >= completed.close + timedelta(seconds=self._parts.thresholds.settle_s)

    def _known_unknown(self, question: QuoteQuestion, instrument: Instrument) -> SymbolFailure | None:
        """That nobody knows a symbol, as everybody said a short while ago."""
        if question.max_age_s == 0:
            return None
        entry = self._unknown.fresh(key_of(question, instrument), self._parts.clock.now(), UNKNOWN_FOR_S)
        return None if entry is None else entry.value

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
        with self._load.place() as verdict:
            if verdict.allowed:
                return await self._ask_sources(question, instruments, results, progress)
        results.update({i.symbol: shed(i.symbol, verdict) for i in instruments})
        return 0

    async def _ask_sources(
        self,
        question: QuoteQuestion,
        instruments: Sequence[Instrument],
        results: dict[str, QuoteAnswer | SymbolFailure],
        progress: Progress | None,
    ) -> int:
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
        new = [Inquiry(key_of(question, i), i) for i in instruments if not self._is_asked(key_of(question, i))]
        if new:
            hooks = CollectionHooks(
                order=self._routing.order,
                wave=self._routing.wave,
                sent=self._parts.router.sent,
                judge=self._judge_inquiry,
                finished=self._finished,
                learn=self._learn,
                usual_s=self._parts.usual_s,
                hedge_after_s=self._hedge_after_s,
                may_hedge=self._may_hedge,
                explore=self._routing.explore,
            )
            parts = self._parts
            parts.probe_rested()
            self._hedges = earn(self._hedges, HEDGE_BUDGET, parts.clock.monotonic())
            collection = Collection(new, parts.sources, parts.clock, parts.collection, hooks)
            for inquiry in new:
                self._flights[inquiry.key] = (inquiry, collection)
            parts.spawn(run_isolated, "a quote collection", collection.run)
        return instruments

    def _is_asked(self, key: InquiryKey) -> bool:
        """Whether somebody is asking this whom one may join: not a collection that is being cancelled."""
        flight = self._flights.get(key)
        return flight is not None and not flight[1].is_abandoned

    def _join(self, question: QuoteQuestion, instrument: Instrument) -> tuple[Inquiry, Collection]:
        return self._flights[key_of(question, instrument)]

    def _result(self, inquiry: Inquiry) -> QuoteAnswer | SymbolFailure:
        if inquiry.answer is not None:
            return inquiry.answer
        # Whoever answered although there is no answer said something that no judgement could use.
        unusable = {q.source: Failure(q.source, FailureKind.MALFORMED_REPLY, _UNUSABLE) for q in inquiry.quotes}
        failure = symbol_failure(inquiry.key.symbol, unusable | inquiry.failures)
        if failure.kind is FailureKind.UNKNOWN_SYMBOL:
            if all(kind in _NOBODY_KNOWS for kind in failure.sources.values()):
                self._unknown.store(inquiry.key, failure, self._parts.clock.now())
            return failure
        return self._last_known(inquiry) or failure

    def _last_known(self, inquiry: Inquiry) -> QuoteAnswer | None:
        """During an outage what was known before it, at the grade of its age; None when that is not to be stated."""
        judged = [
            (entry, judgement)
            for entry in self._fallbacks.of(replace(inquiry.key, min_grade=None))
            if (judgement := self._judge(inquiry.instrument, entry.value.quotes, inquiry.failures)) is not None
        ]
        if not judged:
            return None
        entry, judgement = min(judged, key=lambda one: one[1].grade.value)
        if not at_least(judgement.grade, inquiry.key.min_grade or Grade.D):
            return None
        told = f"No source answers now; this is what was known {_ago(entry.age_s(judgement.judged_at))}. "
        known = replace(answer(judgement, self._parts.evidence_id("q")), cached=True)
        known = replace(known, summary=told + known.summary)
        self._parts.memory.keep(known)
        return known

    def _hedge_after_s(self, inquiry: Inquiry) -> float:
        """How long the sources that are awaited may take before others are asked as well."""
        awaited = inquiry.awaited
        return hedge_delay_s(map(self._parts.expected_p90_s, awaited), HEDGING) if awaited else HEDGING.longest_s

    def _may_hedge(self, inquiry: Inquiry) -> bool:
        now = self._parts.clock.monotonic()
        self._hedges, granted = spend_on_hedge(self._hedges, now, urgent=not inquiry.presentable)
        self._parts.emit(Hedged(inquiry.key.symbol, self._parts.clock.now(), granted))
        return granted

    def _judge_inquiry(self, inquiry: Inquiry) -> None:
        """Judge what an inquiry knows, unless a judgement of this instant knows the same."""
        known = (len(inquiry.quotes), dict(inquiry.failures))
        made = inquiry.judgement
        if made is not None and known == inquiry.judged_from and is_of_this_instant(made, self._parts.clock.now()):
            return
        inquiry.judgement = self._judge(inquiry.instrument, tuple(inquiry.quotes), inquiry.failures)
        inquiry.judged_from = known

    def _judge(
        self, instrument: Instrument, quotes: Sequence[Quote], failures: dict[str, Failure]
    ) -> QuoteJudgement | None:
        """What the quotes come to; None when nothing, and when the judging itself failed.

        A fault about one instrument must cost neither its askers the time until the deadline nor others their answers.
        """
        what = f"the judgement of {instrument.symbol}"
        found = result_isolated(what, self._judge_openly, instrument, quotes, failures)
        return None if found is None else found[0]

    def _judge_openly(
        self, instrument: Instrument, quotes: Sequence[Quote], failures: dict[str, Failure]
    ) -> QuoteJudgement | None:
        unknown_to = frozenset(s for s, failure in failures.items() if failure.kind is FailureKind.UNKNOWN_SYMBOL)
        context = replace(self._parts.quote_context(instrument), unknown_to=unknown_to)
        return judge_quote(instrument, quotes, reasons(failures), context)

    def _finished(self, inquiry: Inquiry) -> None:
        """Keep what an inquiry came to; called again when a late answer changed it."""
        flight = self._flights.get(inquiry.key)
        if flight is not None and flight[0] is inquiry:
            del self._flights[inquiry.key]
        self._judge_inquiry(inquiry)
        if inquiry.judgement is None:
            self._share(inquiry, None)
            return
        given = inquiry.answer
        served = answer(inquiry.judgement, given.evidence_id if given else self._parts.evidence_id("q"))
        kept = KeptQuotes(tuple(inquiry.quotes), tuple(inquiry.failures.values()), served.grade, served.evidence_id)
        if given is None:
            inquiry.answer = served
            self._kept.store(inquiry.key, kept, self._parts.clock.now())
            self._fallbacks.store(inquiry.key, kept, self._parts.clock.now())
            self._share(inquiry, kept)
            self._parts.memory.hold(served)
        else:
            self._kept.amend(inquiry.key, kept)
            self._fallbacks.amend(inquiry.key, kept, self._parts.clock.now())

    def _learn(self, inquiry: Inquiry) -> None:
        """Learn from what an inquiry came to: from an authority among its quotes once, and of each source's word."""
        if inquiry.judgement is None:
            return
        if not inquiry.taught:
            inquiry.taught = True
            if inquiry.answer is not None:
                self._parts.memory.learn_from(inquiry.answer)
            context = self._parts.quote_context(inquiry.instrument)
            self._teacher.hear(inquiry.instrument, tuple(inquiry.quotes), inquiry.judgement, context)
        self._tell_judged(inquiry, inquiry.judgement)

    def _tell_judged(self, inquiry: Inquiry, judgement: QuoteJudgement) -> None:
        """Tell what became of each source's word: once, also of those that answered when it was over."""
        live = is_live(inquiry.instrument, judgement.judged_at)
        delays = delays_told(judgement.explanation.voices) if live else {}
        asset_class = inquiry.instrument.asset_class
        stated = {q.source: is_complete(q, asset_class) for q in inquiry.quotes} if live else {}
        for told in source_outcomes(judgement):
            if told.source not in inquiry.told:
                inquiry.told.add(told.source)
                delay_s = delays.get(told.source)
                complete = stated.get(told.source)
                heard = Heard(told.agreed is not False, delay_s, complete, inquiry.took_s.get(told.source))
                self._routing.heard(inquiry, told.source, heard)
                self._parts.emit(
                    Judged(
                        source=told.source,
                        symbol=judgement.symbol,
                        endpoint=Endpoint.QUOTE,
                        at=judgement.judged_at,
                        agreed=told.agreed,
                        fault=told.fault,
                        delay_s=delay_s,
                        complete=complete,
                    )
                )

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
            grade, price = (result.grade, result.price) if isinstance(result, QuoteAnswer) else (None, None)
            cached = instrument.symbol not in asking
            self._parts.emit(Graded(instrument.symbol, Endpoint.QUOTE, now, grade, cached, elapsed, price))


def _ago(age_s: float) -> str:
    """How long ago, in words."""
    return f"{duration_text(age_s)} ago" if math.isfinite(age_s) else "before this machine's clock was set back"
