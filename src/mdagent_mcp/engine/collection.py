"""Asking sources in waves until every inquiry of a question is answered or nothing is left to ask.

A wave asks the best few sources at once. The next wave starts when the last one has ended without reaching the wanted
grade, or earlier when it is slower than its sources usually are (a hedge). An inquiry ends as soon as its grade is
reached, when patience runs out with something presentable in hand, or when everybody has been asked. Sources that
answer after that are still read: they have been paid for, and feed cache and memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.isolation import call_isolated
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.engine.flight import Spawn
from mdagent_mcp.engine.inquiry import Inquiry
from mdagent_mcp.engine.ports import AskedSource

SMALLEST_WAIT_S: Final = 0.001
SHORTEST_PATIENCE_S: Final = 0.2
PATIENCE_FACTOR: Final = 1.5
"""Of the usual time of a silent source; beyond it what is in hand is given, where it can be."""
VOICES_OF_AN_A: Final = 2
"""Sources that have to say the same before an answer can be an A."""
ROUNDS_OF_AN_ANSWER: Final = 24
"""Rounds of the event loop that an answer takes on its way out, which learning from it lets go first.

Up to 22 until standard output has taken it, which is done in a thread: learning would keep that from the interpreter.
"""
ROUNDS_OF_A_REQUEST: Final = 3
"""Rounds until the first wave's requests are on their way, which thinking about the next one lets go first."""
SETTLE_S: Final = 0.1
"""How long a confirmed answer waits for sources that were asked at the same time and may be fresher still."""


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """How widely and how long sources are asked.

    Attributes:
        deadline_s: time budget of a question, seconds.
        patience_s: after this a presentable answer is given although sources are silent.
        hedge_after_s: after this without the wanted grade the next wave starts.
        first_wave: sources asked at once to begin with.
        hedging: whether others are asked early, within a budget, while those asked are slower than usual.
    """

    deadline_s: float = 10.0
    patience_s: float = 0.45
    hedge_after_s: float = 0.8
    first_wave: int = 3
    hedging: bool = True

    def __post_init__(self) -> None:
        if min(self.deadline_s, self.patience_s, self.hedge_after_s) <= 0 or self.first_wave < 1:
            raise ValueError("deadline, patience and hedge delay must be positive, the first wave at least 1")


@dataclass(frozen=True, slots=True)
class CollectionHooks:
    """What a collection needs from its owner.

    Attributes:
        order: whom to ask next about an inquiry, best first; those already asked are left out.
        wave: whom of them to ask at once, at most so many; nobody only where nobody is left.
        sent: told which sources a round of calls goes to.
        judge: brings `inquiry.judgement` up to date.
        finished: told once when an inquiry ends, and again when a late answer changed its quotes.
        learn: told after each `finished`, once the askers have got the answer.
        usual_s: within which time nine calls in ten to those awaited are answered; None where unknown.
        hedge_after_s: how long the sources that were asked last may take before others are asked as well.
        may_hedge: whether asking others about an inquiry while those are silent is within the budget; charges it.
        explore: whom to ask when the inquiry has ended, only to learn; None for nobody.
    """

    order: Callable[[Inquiry], tuple[str, ...]]
    wave: Callable[[Inquiry, int], tuple[str, ...]]
    sent: Callable[[Iterable[str]], None]
    judge: Callable[[Inquiry], None]
    finished: Callable[[Inquiry], None]
    learn: Callable[[Inquiry], None]
    usual_s: Callable[[Inquiry], float | None]
    hedge_after_s: Callable[[Inquiry], float]
    may_hedge: Callable[[Inquiry], bool]
    explore: Callable[[Inquiry], str | None]


class Collection:
    """Asks on behalf of several inquiries at once, so that one batch call can serve them all.

    Attributes:
        calls: HTTP requests made so far.
    """

    def __init__(
        self,
        inquiries: Sequence[Inquiry],
        sources: Mapping[str, AskedSource],
        clock: Clock,
        options: CollectionOptions,
        hooks: CollectionHooks,
    ) -> None:
        self.calls = 0
        self._inquiries = tuple(inquiries)
        self._sources = sources
        self._clock = clock
        self._options = options
        self._hooks = hooks
        self._started = clock.monotonic()
        self._changed = anyio.Event()
        self._scope = anyio.CancelScope()
        self._unlearned: list[Inquiry] = []

    @property
    def is_abandoned(self) -> bool:
        """Whether it has stopped asking because nobody waited any more."""
        return self._scope.cancel_called

    def cancel_when_abandoned(self) -> None:
        """Stop asking when nobody waits any more for any inquiry that is not answered yet."""
        open_inquiries = [i for i in self._inquiries if not i.done.is_set()]
        if open_inquiries and not any(i.waiters for i in open_inquiries):
            self._scope.cancel()

    async def run(self) -> None:
        """Ask until every inquiry has ended and every call has come back."""
        try:
            with self._scope:
                async with anyio.create_task_group() as calls:
                    await self._ask_in_waves(calls.start_soon)
        finally:
            for inquiry in self._inquiries:
                self._end(inquiry)
            self._learn()

    async def _ask_in_waves(self, start: Spawn) -> None:
        for inquiry in self._inquiries:
            inquiry.wave_started = self._clock.monotonic()
        self._dispatch({i: self._next_wave(i) for i in self._inquiries}, start)
        await _rounds(ROUNDS_OF_A_REQUEST)
        while open_inquiries := [i for i in self._inquiries if not self._ended(i)]:
            self._dispatch({i: self._next_wave(i) for i in open_inquiries if self._wants_more(i)}, start)
            still_open = [i for i in open_inquiries if not self._ended(i)]
            if self._unlearned:
                start(self._learn_behind)
            if still_open:
                await self._wait_for_change(self._next_deadline(still_open))
        start(self._learn_behind)
        explored = {i: self._hooks.explore(i) for i in self._inquiries}
        self._dispatch({i: (source,) for i, source in explored.items() if source is not None}, start, background=True)

    def _ended(self, inquiry: Inquiry) -> bool:
        if inquiry.done.is_set():
            return True
        if not self._may_wait(inquiry):
            self._judge(inquiry)
        now = self._clock.monotonic()
        elapsed = now - self._started
        shown = inquiry.presentable and inquiry.key.min_grade is None
        exhausted = not inquiry.satisfied and not inquiry.pending and not self._hooks.order(inquiry)
        impatient = shown and elapsed >= self._patience_s(inquiry)
        settled = inquiry.good_enough_at is not None and now >= inquiry.good_enough_at + SETTLE_S
        if inquiry.satisfied or exhausted or impatient or settled or elapsed >= self._options.deadline_s:
            self._end(inquiry)
        return inquiry.done.is_set()

    def _end(self, inquiry: Inquiry) -> None:
        if not inquiry.done.is_set():
            for source in inquiry.pending:
                inquiry.failures[source] = Failure(source, FailureKind.TIMEOUT, "no answer before the deadline")
            self._finish(inquiry)
            inquiry.done.set()
            self._unlearned.append(inquiry)

    async def _learn_behind(self) -> None:
        """Learn from what ended, after whoever asked has got the answer."""
        try:
            await _rounds(ROUNDS_OF_AN_ANSWER)
        finally:
            self._learn()

    def _learn(self) -> None:
        ended, self._unlearned = self._unlearned, []
        for inquiry in ended:
            call_isolated(f"learning from an answer about {inquiry.key.symbol}", self._hooks.learn, inquiry)

    def _finish(self, inquiry: Inquiry) -> None:
        """Tell the owner; the askers are answered whatever becomes of what it keeps and learns."""
        call_isolated(f"the keeping of an answer about {inquiry.key.symbol}", self._hooks.finished, inquiry)

    def _wants_more(self, inquiry: Inquiry) -> bool:
        """Whether to ask the next sources: those asked have all answered, or are slower than usual.

        What is slower than usual is hedged within a budget; what is slower than the options allow always is.
        """
        if not inquiry.awaited:
            return True
        waited = self._clock.monotonic() - inquiry.wave_started
        if waited >= self._options.hedge_after_s:
            return True
        if not self._options.hedging or inquiry.hedged or waited < self._hooks.hedge_after_s(inquiry):
            return False
        inquiry.hedged = True
        self._judge(inquiry)
        return bool(self._hooks.order(inquiry)) and self._hooks.may_hedge(inquiry)

    def _next_wave(self, inquiry: Inquiry) -> tuple[str, ...]:
        self._judge(inquiry)
        answered = {quote.source for quote in inquiry.quotes}
        return self._hooks.wave(inquiry, max(1, self._options.first_wave - len(answered)))

    def _dispatch(self, waves: Mapping[Inquiry, tuple[str, ...]], start: Spawn, *, background: bool = False) -> None:
        """Start one task per source with all inquiries that ask it in this round."""
        by_source: defaultdict[str, list[Inquiry]] = defaultdict(list)
        for inquiry, wave in waves.items():
            inquiry.wave_started = self._clock.monotonic()
            inquiry.hedged = False
            silent = {source for source in wave if self._sources[source].is_silent}
            if inquiry.awaited or inquiry.presentable or not silent.issuperset(wave):
                inquiry.unawaited |= silent
            for source in wave:
                by_source[source].append(inquiry)
                inquiry.asked.append(source)
                inquiry.sent_at[source] = inquiry.wave_started
                inquiry.pending.add(source)
        self._hooks.sent(by_source)
        for source, asking in by_source.items():
            start(self._ask, self._sources[source], tuple(asking), background)

    async def _ask(self, source: AskedSource, inquiries: tuple[Inquiry, ...], background: bool) -> None:  # noqa: FBT001 - passed by the spawner
        name = source.vendor.id
        budget = self._options.deadline_s - (self._clock.monotonic() - self._started)
        instruments: tuple[Instrument, ...] = tuple(i.instrument for i in inquiries)
        rested = any(map(source.rests_quote, instruments)) or any(i.is_asked_again(name) for i in inquiries)
        asked = await source.quotes(instruments, budget, last_resort=rested, background=background)
        self.calls += asked.calls
        missing = Failure(name, FailureKind.NO_DATA, "not in the reply")
        for inquiry in inquiries:
            self._take(inquiry, name, asked.answer.get(inquiry.instrument.symbol, missing))
        self._changed.set()

    def _take(self, inquiry: Inquiry, source: str, outcome: Outcome[tuple[Quote, ...]]) -> None:
        inquiry.pending.discard(source)
        if isinstance(outcome, Failure):
            inquiry.failures[source] = outcome
            return
        inquiry.failures.pop(source, None)
        inquiry.took_s[source] = self._clock.monotonic() - inquiry.sent_at[source]
        inquiry.quotes.extend(outcome.value)
        inquiry.unjudged = True
        if inquiry.done.is_set():
            self._finish(inquiry)
            self._unlearned.append(inquiry)
            self._learn()

    def _may_wait(self, inquiry: Inquiry) -> bool:
        """Whether nothing hangs on a judgement yet: one source alone earns no A, and others are still expected."""
        alone = len({quote.source for quote in inquiry.quotes}) < VOICES_OF_AN_A
        early = self._clock.monotonic() - self._started < SHORTEST_PATIENCE_S
        return alone and early and bool(inquiry.awaited) and inquiry.key.min_grade is None

    def _judge(self, inquiry: Inquiry) -> None:
        """Judge what has come since the last time: replies that arrive together are judged once, not one by one."""
        if not inquiry.unjudged:
            return
        inquiry.unjudged = False
        self._hooks.judge(inquiry)
        if not inquiry.good_enough:
            inquiry.good_enough_at = None
        elif inquiry.good_enough_at is None:
            inquiry.good_enough_at = self._clock.monotonic()

    def _patience_s(self, inquiry: Inquiry) -> float:
        """How long those not heard yet are waited for although something can be shown: a little over their usual time.

        Whoever is silent gets no more than that time, where nothing is known either.
        """
        usual = self._hooks.usual_s(inquiry)
        if usual is None:
            only_silent = inquiry.pending and not inquiry.awaited
            return self._options.patience_s / (PATIENCE_FACTOR if only_silent else 1.0)
        return min(max(SHORTEST_PATIENCE_S, usual * PATIENCE_FACTOR), self._options.patience_s)

    def _next_deadline(self, inquiries: Iterable[Inquiry]) -> float:
        now = self._clock.monotonic()
        instants = [self._started + self._options.deadline_s]
        for inquiry in inquiries:
            usual = self._options.hedge_after_s if inquiry.hedged else self._hooks.hedge_after_s(inquiry)
            instants.append(inquiry.wave_started + min(usual, self._options.hedge_after_s))
            if inquiry.presentable and inquiry.key.min_grade is None:
                instants.append(self._started + self._patience_s(inquiry))
            if inquiry.unjudged:
                instants.append(self._started + SHORTEST_PATIENCE_S)
            if inquiry.good_enough_at is not None:
                instants.append(inquiry.good_enough_at + SETTLE_S)
        return max(SMALLEST_WAIT_S, min(instants) - now)

    async def _wait_for_change(self, seconds: float) -> None:
        try:
            with self._clock.limit(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed = anyio.Event()


async def _rounds(count: int) -> None:
    """Let everything else that can run go first, so many times."""
    for _ in range(count):
        await checkpoint()
