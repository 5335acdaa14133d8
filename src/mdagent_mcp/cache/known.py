"""One source's series as far as it is known: what it covers, what a question still needs, how both are joined.

Bars of dates that are settled are reused for long, those after them only for a moment. What a source corrects for
splits or dividends it corrects afresh at every such event, all bars before it at once; so a part that is fetched later
overlaps what is known by at least a bar, and where both tell different prices for it nothing of the old is used.

The rule of this module: pure; a reply that is out of order or tells a bar twice is judged, but never kept.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from mdagent_mcp.cache.market_days import MarketDays
from mdagent_mcp.cache.ranges import Span, hull, missing, united
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval

SAME_PRICE: Final = 1e-6
"""Relative difference up to which two statements of one bar are the same: vendors keep prices as single precision."""
SILENCE: Final = timedelta(days=35)
"""A series that begins so much later than was asked may have been cut, so the time before it is only half known."""
PARTS_KEPT: Final = 12
"""Parts whose instants of arrival are told apart; of the oldest the older instant is kept for both."""
NOTES_KEPT: Final = 20
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Which series of which source.

    Attributes:
        source: source id.
        symbol: canonical symbol.
        interval: bar length.
        adjustment: the basis asked for.
        extended_hours: whether bars of the extended hours were asked for.
    """

    source: str
    symbol: str
    interval: Interval
    adjustment: Adjustment
    extended_hours: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Dates that were answered for, and when the answer had arrived."""

    span: Span
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSeries:
    """What is known of a series.

    Attributes:
        history: all bars, oldest first, each once; `received_at` is that of the newest part.
        settled: the dates that do not change any more, in disjoint parts, oldest first.
        tail: later dates that were answered for but may still change; None without any.
        tail_at: when the answer about the tail had arrived.
        silent_from: the source was asked from here on and had nothing before its first bar; None where that is no
            earlier.
        verified_at: when its basis was last seen to hold.
    """

    history: History
    settled: tuple[Part, ...]
    tail: Span | None
    tail_at: datetime
    silent_from: date | None
    verified_at: datetime

    @property
    def spans(self) -> tuple[Span, ...]:
        """The settled dates."""
        return united(part.span for part in self.settled)

    @property
    def oldest(self) -> datetime:
        """When the oldest part had arrived."""
        return min((part.received_at for part in self.settled), default=self.tail_at)


@dataclass(frozen=True, slots=True)
class ReuseLimits:
    """How long what is known is reused, seconds.

    Attributes:
        tail_s: dates that may still change.
        settled_s: settled dates.
    """

    tail_s: float
    settled_s: float


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What a question needs.

    Attributes:
        fetch: the one range to ask the source for; None when all is known.
        reuses: whether what is known takes part in the answer.
    """

    fetch: Span | None
    reuses: bool


def plan(
    known: KnownSeries | None, asked: Span, days: MarketDays, at: datetime, limits: ReuseLimits, *, adjusts: bool
) -> FetchPlan:
    """What has to be fetched for `asked`: nothing, a part that overlaps what is known by a bar, or all.

    Args:
        known: of the series; None when nothing is.
        asked: trading dates, beginning with a whole period.
        days: the market's dates.
        at: now, UTC.
        limits: how long what is known is reused.
        adjusts: whether prices of such an instrument are ever corrected for splits or dividends.
    """
    whole = FetchPlan(asked, reuses=False)
    if known is None or (at - known.oldest).total_seconds() >= limits.settled_s:
        return whole
    holes = [days.begun(gap, at) for gap in missing(asked, _usable(known, asked, at, limits))]
    hole = hull(gap for gap in holes if gap is not None)
    if hole is None and not _to_verify(known, days, at, adjusts=adjusts):
        return FetchPlan(None, reuses=True) if cut(known, asked, days) is not None else whole
    anchors = _settled_days(known, asked, days)
    if not anchors:
        return whole
    fetch = _overlapping(hole, anchors) if hole is not None else Span(anchors[-1], days.period(anchors[-1]).last)
    fetch = days.from_whole_period(fetch)
    return whole if fetch.first <= asked.first and fetch.last >= asked.last else FetchPlan(fetch, reuses=True)


def _usable(known: KnownSeries, asked: Span, at: datetime, limits: ReuseLimits) -> list[Span]:
    """The dates that are answered by what is known."""
    usable = list(known.spans)
    if known.silent_from is not None and usable and asked.last >= usable[-1].last:
        usable.append(Span(known.silent_from, usable[0].first))
    if known.tail is not None and (at - known.tail_at).total_seconds() < limits.tail_s:
        usable.append(known.tail)
    return usable


def _to_verify(known: KnownSeries, days: MarketDays, at: datetime, *, adjusts: bool) -> bool:
    """Whether a session has begun since the basis was last seen to hold: with it a split or a dividend may come."""
    if not adjusts or not _is_adjusted(known.history):
        return False
    latest = days.calendar.latest_opened(at)
    return known.verified_at.date() != at.date() if latest is None else known.verified_at < latest.open


def _is_adjusted(history: History) -> bool:
    return history.adjustment is not Adjustment.NONE or any(bar.adjusted_close is not None for bar in history.bars)


def _settled_days(known: KnownSeries, asked: Span, days: MarketDays) -> list[date]:
    """The asked dates that are settled and have a bar, in order."""
    within = [common for span in known.spans if (common := span.common(asked)) is not None]
    return sorted({days.day_of(bar.start) for span in within for bar in _bars_of(known.history, span, days)})


def _overlapping(hole: Span, anchors: Sequence[date]) -> Span:
    """The range to fetch, from the last settled bar before it on, or else up to the first one after it."""
    before, after = bisect_left(anchors, hole.first), bisect_right(anchors, hole.last)
    if before > 0:
        return Span(anchors[before - 1], hole.last)
    return Span(hole.first, anchors[after]) if after < len(anchors) else hole


def first_known(asked: Span, history: History, days: MarketDays) -> KnownSeries | None:
    """What an answer to `asked` makes known; None when it should not be used again."""
    bars = _in_order(history.bars)
    if not bars:
        return None
    through = min(asked.last, days.settled_through(history.received_at))
    last = days.period(days.day_of(bars[-1].start)).last
    if last < through and days.begun(Span(last + _DAY, through), history.received_at) is not None:
        through = last  # the source has not published the rest yet
    began = days.day_of(bars[0].start)
    cut_short = began - asked.first > SILENCE
    first = began if cut_short else asked.first
    settled = (Part(Span(first, through), history.received_at),) if first <= through else ()
    after = max(first, through + _DAY)
    return KnownSeries(
        history=replace(history, bars=bars),
        settled=settled,
        tail=Span(after, asked.last) if after <= asked.last else None,
        tail_at=history.received_at,
        silent_from=asked.first if cut_short else None,
        verified_at=history.received_at,
    )


def extended(known: KnownSeries, span: Span, fetched: History, days: MarketDays) -> KnownSeries | None:
    """What is known together with a part that was fetched for `span`; None when the two contradict each other."""
    new = first_known(span, fetched, days)
    if new is None or not _same_kind(known.history, fetched) or not _agree(known, new.history, days):
        return None
    kept = [bar for bar in known.history.bars if _stays(bar, known, span, days)]
    bars = {bar.start: bar for bar in (*kept, *new.history.bars)}
    history = _with_events(known.history, new.history, span, days)
    ordered = tuple(bars[start] for start in sorted(bars))
    newest = new.history.bars[-1].start == ordered[-1].start
    tail_stays = known.tail is not None and known.tail.common(span) is None
    return KnownSeries(
        history=replace(
            history,
            bars=ordered,
            received_at=max(known.history.received_at, fetched.received_at),
            partial_last_bar=fetched.partial_last_bar if newest else known.history.partial_last_bar,
        ),
        settled=_parts(known.settled, new.settled),
        tail=known.tail if tail_stays else new.tail,
        tail_at=known.tail_at if tail_stays else new.tail_at,
        silent_from=_earliest(known.silent_from, new.silent_from),
        verified_at=fetched.received_at,
    )


def cut(known: KnownSeries, asked: Span, days: MarketDays) -> History | None:
    """What is known of the asked dates as the source's series; None when there is not one bar.

    Its `received_at` is that of the newest part in it; a note tells when older bars had arrived.
    """
    bars = _bars_of(known.history, asked, days)
    if not bars:
        return None
    parts = [part for part in known.settled if part.span.common(asked) is not None]
    instants = [part.received_at for part in parts]
    if known.tail is not None and known.tail.common(asked) is not None:
        instants.append(known.tail_at)
    history, begin, end = known.history, days.begin(asked.first), days.end(asked.last)
    received_at = max(instants, default=history.received_at)
    return replace(
        history,
        bars=bars,
        received_at=received_at,
        null_rows=tuple(row for row in history.null_rows if begin <= row < end),
        partial_last_bar=history.partial_last_bar and bars[-1].start == history.bars[-1].start,
        dividends=tuple(d for d in history.dividends if d.day >= asked.first),
        splits=tuple(s for s in history.splits if s.day >= asked.first),
        capital_gains=tuple(g for g in history.capital_gains if g.day >= asked.first),
        notes=(*history.notes, *_provenance(parts, received_at)),
    )


def _provenance(parts: Iterable[Part], newest: datetime) -> list[str]:
    return [
        f"bars of {part.span.first} to {part.span.last} were received {part.received_at:%Y-%m-%d %H:%M:%S} UTC"
        for part in parts
        if part.received_at != newest
    ]


def _bars_of(history: History, span: Span, days: MarketDays) -> tuple[Bar, ...]:
    starts = history.bars
    first = bisect_left(starts, days.begin(days.period(span.first).first), key=lambda bar: bar.start)
    return starts[first : bisect_left(starts, days.end(span.last), key=lambda bar: bar.start)]


def _in_order(bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
    """The bars oldest first; none when they are neither in that order nor in the opposite one, or one is told twice."""
    if all(a.start < b.start for a, b in pairwise(bars)):
        return bars
    return bars[::-1] if all(a.start > b.start for a, b in pairwise(bars)) else ()


def _same_kind(known: History, fetched: History) -> bool:
    return (known.adjustment, known.currency, known.timezone, known.interval, known.extended_hours) == (
        fetched.adjustment,
        fetched.currency,
        fetched.timezone,
        fetched.interval,
        fetched.extended_hours,
    )


def _agree(known: KnownSeries, fetched: History, days: MarketDays) -> bool:
    """Whether the settled bars that both tell have the same prices.

    Without such a bar an adjusted series is of one basis only when no session began between the two answers.
    """
    if not _is_adjusted(known.history):
        return True  # as traded, a bar that is told anew is a correction
    before = {bar.start: bar for span in known.spans for bar in _bars_of(known.history, span, days)}
    both = [(before[bar.start], bar) for bar in fetched.bars if bar.start in before]
    if not both:
        return not _to_verify(known, days, fetched.received_at, adjusts=True)
    return all(_same_bar(old, new) for old, new in both)


def _same_bar(old: Bar, new: Bar) -> bool:
    if (old.adjusted_close is None) != (new.adjusted_close is None):
        return False
    pairs = [(old.open, new.open), (old.high, new.high), (old.low, new.low), (old.close, new.close)]
    if old.adjusted_close is not None and new.adjusted_close is not None:
        pairs.append((old.adjusted_close, new.adjusted_close))
    return all(math.isclose(a, b, rel_tol=SAME_PRICE) for a, b in pairs)


def _stays(bar: Bar, known: KnownSeries, span: Span, days: MarketDays) -> bool:
    """Whether a known bar is kept beside a later answer about `span`: all settled ones, others where not told anew."""
    day = days.day_of(bar.start)
    return day not in span or any(day in part.span for part in known.settled)


def _parts(old: Iterable[Part], new: Iterable[Part]) -> tuple[Part, ...]:
    """The parts, those of the new answer before the old ones; too many become fewer, and no younger."""
    newer = [part.span for part in new]
    kept = [Part(left, part.received_at) for part in old for left in missing(part.span, newer)]
    parts = sorted((*kept, *new), key=lambda part: part.span.first)
    while len(parts) > PARTS_KEPT:
        index = next((n for n, (a, b) in enumerate(pairwise(parts)) if a.span.last + _DAY == b.span.first), None)
        if index is None:
            return tuple(parts[-PARTS_KEPT:])
        a, b = parts[index], parts[index + 1]
        parts[index : index + 2] = [Part(Span(a.span.first, b.span.last), min(a.received_at, b.received_at))]
    return tuple(parts)


def _with_events(known: History, fetched: History, span: Span, days: MarketDays) -> History:
    begin, end = days.begin(span.first), days.end(span.last)
    rows = {row for row in known.null_rows if not begin <= row < end} | set(fetched.null_rows)
    return replace(
        known,
        null_rows=tuple(sorted(rows)),
        dividends=tuple(sorted({*known.dividends, *fetched.dividends}, key=lambda d: (d.day, d.amount))),
        splits=tuple(sorted({*known.splits, *fetched.splits}, key=lambda s: (s.day, s.ratio))),
        capital_gains=tuple(sorted({*known.capital_gains, *fetched.capital_gains}, key=lambda d: (d.day, d.amount))),
        notes=tuple(dict.fromkeys((*known.notes, *fetched.notes)))[:NOTES_KEPT],
    )


def _earliest(one: date | None, other: date | None) -> date | None:
    given = [day for day in (one, other) if day is not None]
    return min(given, default=None)
