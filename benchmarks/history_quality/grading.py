"""Running part (a): cases judged as the engine judges them, counted against their labels."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from history_quality.faults import HELD_OUT_KINDS, LETTERS, TUNED, Case, Kind, evening_after
from history_quality.worlds import Truth, draw
from mdagent_mcp.consensus.history import HistoryContext, HistoryJudgement, judge_history
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, History, Interval
from mdagent_mcp.domain.questions import HistoryQuestion

TUNING_SEED: Final = 1
HELD_OUT_SEED: Final = 90210
"""Frozen: no rule or threshold was chosen by looking at cases of this seed."""
Z95: Final = 1.959963984540054


@dataclass
class Tally:
    """Cases of one side.

    Attributes:
        exact: by kind, cases with exactly the label's letter.
        total: by kind.
        over: cases graded better than the label.
        confused: how often a label was given another letter, by kind.
    """

    exact: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    over: int = 0
    confused: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def count(self, case: Case, grade: str) -> None:
        """One more case."""
        self.total[case.kind] += 1
        self.exact[case.kind] += grade == case.label
        self.over += LETTERS.index(grade) < LETTERS.index(case.label)
        if grade != case.label:
            self.confused[case.kind][f"{case.label} as {grade}"] += 1

    @property
    def accuracy(self) -> float:
        """Share with the exact letter."""
        return self.exact.total() / self.total.total()

    @property
    def macro(self) -> float:
        """The mean of the kinds' shares: easy kinds cannot dominate."""
        return sum(self.exact[kind] / self.total[kind] for kind in self.total) / len(self.total)

    @property
    def over_graded(self) -> float:
        """Share graded too well: the dangerous side."""
        return self.over / self.total.total()

    @property
    def wilson(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927)."""
        n, p = self.total.total(), self.accuracy
        centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * (p * (1 - p) / n + Z95**2 / (4 * n * n)) ** 0.5
        return centre - half, min(1.0, centre + half)


def measure(kinds: Sequence[Kind], per_kind: int, seed: int, *, tuning: bool) -> Tally:
    """Judge so many cases of every kind."""
    tally = Tally()
    for case, truth in cases(kinds, per_kind, seed, tuning=tuning):
        tally.count(case, judge(case, truth).assessment.grade.value)
    return tally


def cases(kinds: Sequence[Kind], per_kind: int, seed: int, *, tuning: bool) -> Iterator[tuple[Case, Truth]]:
    """The cases of a seed, each with its truth."""
    chance = random.Random(seed)
    for _ in range(per_kind):
        for kind in kinds:
            truth = draw(chance, tuning=tuning)
            yield kind(truth, chance), truth


def judge(case: Case, truth: Truth) -> HistoryJudgement:
    """The consensus about a case.

    Raises:
        ValueError: when no vendor has a usable bar.
    """
    instrument = parse_symbol("ACME")
    days = [s.day for s in calendar_named(instrument.calendar).sessions_between(truth.bars[0].day, truth.bars[-1].day)]
    now = case.now if case.now is not None else evening_after(days[-1])
    asked = HistoryQuestion(instrument, Interval.DAY_1, days[0], days[-1], case.adjustment, extended_hours=False)
    names = ("alpha", "beta", "gamma")
    histories = [
        History(
            symbol="ACME",
            source=name,
            interval=Interval.DAY_1,
            adjustment=Adjustment.SPLITS,
            timezone="America/New_York",
            received_at=now,
            bars=stated.bars,
            currency="USD",
            null_rows=stated.null_rows,
            dividends=stated.dividends,
            splits=stated.splits,
        )
        for name, stated in zip(names, case.stated, strict=False)
    ]
    judged = judge_history(asked, histories, {}, HistoryContext(now=now))
    if judged is None:
        raise ValueError(f"{case.kind}: no usable bar")
    return judged


ALL_KINDS: Final = (*TUNED, *HELD_OUT_KINDS)
