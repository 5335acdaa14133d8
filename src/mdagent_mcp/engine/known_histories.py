"""Asking a source for a series, but only for what is not known of it yet.

The rule of this module: what is reused are the source's own bars with the instants at which they arrived, never an
answer; the judgement about them is made anew every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from mdagent_mcp.cache.histories import HistoryCache
from mdagent_mcp.cache.known import (
    FetchPlan,
    KnownSeries,
    ReuseLimits,
    SeriesKey,
    cut,
    extended,
    first_known,
    plan,
)
from mdagent_mcp.cache.market_days import MarketDays
from mdagent_mcp.cache.ranges import Span
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.domain.prices import History
from mdagent_mcp.domain.questions import Asked
from mdagent_mcp.domain.vendor import HistoryQuery, Storing
from mdagent_mcp.engine.ports import AskedSource

_EARLIEST: Final = date(1900, 1, 1)
_LATEST: Final = date(2199, 12, 31)
BRIEF_S: Final = 3600.0
"""How long bars are reused whose source forbids storing, seconds: in memory, and no longer than a sitting."""
_NEVER_ADJUSTED: Final = frozenset({AssetClass.CRYPTO, AssetClass.FOREX, AssetClass.INDEX})


@dataclass(frozen=True, slots=True)
class Told:
    """What asking for a series came to.

    Attributes:
        answer: the series, or why there is none.
        calls: HTTP requests it took.
        reused: whether bars that were known before are in it.
    """

    answer: Outcome[History]
    calls: int
    reused: bool


class KnownHistories:
    """What is known of the series that one question is about.

    Args:
        cache: what is known of all.
        clock: time.
        limits: how long what is known is reused.
        query: what is asked.
        corrected: told when a source's prices turn out to have been corrected since they were kept.
    """

    def __init__(
        self,
        cache: HistoryCache,
        clock: Clock,
        limits: ReuseLimits,
        query: HistoryQuery,
        corrected: Callable[[str], None],
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._limits = limits
        self._query = query
        self._corrected = corrected
        self._brief: set[str] = set()
        self._days = MarketDays(calendar_named(query.instrument.calendar), query.interval, query.extended_hours)
        first, last = max(query.first, _EARLIEST), min(query.last, _LATEST)
        self._asked = None if last < first else self._days.from_whole_period(Span(first, last))

    async def recall(self, sources: Iterable[AskedSource]) -> dict[str, History]:
        """The series of these sources that answer the question without a call."""
        names = []
        for source in sources:
            names.append(source.vendor.id)
            self._note_terms(source)
        asked = self._asked
        if asked is None:
            return {}
        if any(self._plan(name, asked).fetch is not None for name in names):
            await self._cache.recall([self._key(name) for name in names])
        found = {name: self._known_cut(name, asked) for name in names if self._plan(name, asked).fetch is None}
        return {name: history for name, history in found.items() if history is not None}

    def whatever_is_known(self, sources: Iterable[str]) -> dict[str, History]:
        """What is known of the question however old it is, for an hour in which nobody answers."""
        if self._asked is None:
            return {}
        found = {name: self._known_cut(name, self._asked) for name in sources}
        return {name: history for name, history in found.items() if history is not None}

    def distrust(self, source: str) -> None:
        """The judgement found a source's series wrong: it is asked for anew next time."""
        self._cache.drop(self._key(source))

    async def ask(self, source: AskedSource, budget_s: float) -> Told:
        """The series of a source, of which only what is missing is fetched."""
        ends = self._clock.monotonic() + budget_s
        self._note_terms(source)
        if self._asked is None:
            told = await source.history(self._query, budget_s)
            return Told(told.answer, told.calls, reused=False)
        step = self._plan(source.vendor.id, self._asked)
        if step.fetch is None or not step.reuses:
            return await self._ask_whole(source, self._asked, budget_s)
        narrowed = self._narrowed(step.fetch)
        if source.refuses_history(narrowed) is not None:
            return await self._ask_whole(source, self._asked, budget_s)
        part = await source.history(narrowed, budget_s)
        if isinstance(part.answer, Failure) and part.answer.kind is not FailureKind.NO_DATA:
            return Told(part.answer, part.calls, reused=False)
        joined = self._joined(source.vendor.id, self._asked, step.fetch, part)
        if joined is not None:
            return Told(Answered(joined), part.calls, reused=True)
        whole = await self._ask_whole(source, self._asked, ends - self._clock.monotonic())
        return replace(whole, calls=whole.calls + part.calls)

    async def _ask_whole(self, source: AskedSource, asked: Span, budget_s: float) -> Told:
        told = await source.history(self._narrowed(asked), budget_s)
        if isinstance(told.answer, Answered):
            self._keep(source.vendor.id, asked, told.answer.value)
        return Told(told.answer, told.calls, reused=False)

    def _keep(self, source: str, asked: Span, history: History) -> None:
        key = self._key(source)
        if history.interval is not key.interval or history.symbol != key.symbol:
            return
        before = self._cache.find(key)
        if before is not None and not self._has_aged(source, before):
            known = extended(before, asked, history, self._days) or first_known(asked, history, self._days)
        else:
            known = first_known(asked, history, self._days)
        if known is None:
            self._cache.drop(key)
        else:
            self._cache.keep(key, known)

    def _joined(self, source: str, asked: Span, span: Span, part: Asked[Outcome[History]]) -> History | None:
        """What was known with the part that was fetched; None when they cannot be joined."""
        key = self._key(source)
        known = self._cache.find(key)
        if known is None or isinstance(part.answer, Failure):
            return None
        together = extended(known, span, part.answer.value, self._days)
        if together is None:
            self._cache.forget(key.symbol)
            self._corrected(key.symbol)
            return None
        self._cache.keep(key, together)
        return cut(together, asked, self._days)

    def _note_terms(self, source: AskedSource) -> None:
        """What may not be stored is reused for a short time only."""
        if source.vendor.storing is Storing.FORBIDDEN:
            self._brief.add(source.vendor.id)

    def _limits_of(self, source: str) -> ReuseLimits:
        if source not in self._brief:
            return self._limits
        return replace(self._limits, settled_s=min(self._limits.settled_s, BRIEF_S))

    def _has_aged(self, source: str, known: KnownSeries) -> bool:
        return (self._clock.now() - known.oldest).total_seconds() >= self._limits_of(source).settled_s

    def _plan(self, source: str, asked: Span) -> FetchPlan:
        adjusts = self._query.instrument.asset_class not in _NEVER_ADJUSTED
        known = self._cache.find(self._key(source))
        return plan(known, asked, self._days, self._clock.now(), self._limits_of(source), adjusts=adjusts)

    def _known_cut(self, source: str, asked: Span) -> History | None:
        known = self._cache.find(self._key(source))
        return None if known is None else cut(known, asked, self._days)

    def _narrowed(self, span: Span) -> HistoryQuery:
        return replace(self._query, first=span.first, last=span.last, now=self._clock.now())

    def _key(self, source: str) -> SeriesKey:
        query = self._query
        return SeriesKey(source, query.instrument.symbol, query.interval, query.adjustment, query.extended_hours)
