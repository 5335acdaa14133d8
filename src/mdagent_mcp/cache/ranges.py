"""Arithmetic of date ranges: what is known of what was asked, and what has to be fetched.

The rule of this module: dates only, both ends included, pure. What a date means (a session, a week, a bar) is known
to `known` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The dates from `first` to `last`, both included; never empty.

    Attributes:
        first: the first date.
        last: the last date.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"a span needs first <= last, got {self.first} to {self.last}")

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def common(self, other: Span) -> Span | None:
        """The dates that both have; None without any."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Span(first, last) if first <= last else None


def united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same dates in as few spans as possible, in order; spans that touch become one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.first <= _after(result[-1].last):
            result[-1] = Span(result[-1].first, max(result[-1].last, span.last))
        else:
            result.append(span)
    return tuple(result)


def missing(asked: Span, known: Iterable[Span]) -> tuple[Span, ...]:
    """The dates of `asked` that no known span has, in order."""
    result: list[Span] = []
    at: date | None = asked.first
    for span in united(known):
        if at is None or at > asked.last:
            break
        if span.last < at:
            continue
        if span.first > at:
            result.append(Span(at, min(asked.last, span.first - _DAY)))
        at = None if span.last >= date.max else span.last + _DAY
    if at is not None and at <= asked.last:
        result.append(Span(at, asked.last))
    return tuple(span for span in result if span.first <= asked.last)


def hull(spans: Iterable[Span]) -> Span | None:
    """The smallest span that holds all of them, which one request can fetch; None without any."""
    listed = tuple(spans)
    return Span(min(s.first for s in listed), max(s.last for s in listed)) if listed else None


def _after(day: date) -> date:
    return day if day >= date.max else day + _DAY
