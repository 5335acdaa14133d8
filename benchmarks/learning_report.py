"""Figures of the learning benchmark: regret against the oracle, paired over worlds, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any, Final

import numpy as np

FIRST: Final = 30
RESAMPLES: Final = 10_000
LEARNERS: Final = ("persist", "cold", "shuffled")
PARTS: Final = 3
"""Parts that the sessions after the first are told in, so that what becomes of memory later is seen by itself."""
WINDOW: Final = 20
"""Questions that the curve after the swap is averaged over."""

Row = Mapping[str, Any]
Sessions = Sequence[Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over worlds with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass
class Figures:
    """What the report and the plot show.

    Attributes:
        text: the report as Markdown.
        by_session: arm -> regret per request in each session.
        after_swap: arm -> regret per request after the swap, over windows.
        differences: what was compared -> paired difference.
    """

    text: str = ""
    by_session: dict[str, list[float]] = field(default_factory=dict)
    after_swap: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, Interval] = field(default_factory=dict)


def interval(differences: Sequence[float], seed: int = 1) -> Interval:
    """Mean and 95 % percentile bootstrap interval, resampling worlds."""
    values = np.asarray(differences)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def regrets(world: Mapping[str, Any], arm: str) -> list[list[float]]:
    """Session by session, what each answer was worth less than the oracle's."""
    best, own = world["arms"]["oracle"], world["arms"][arm]
    return [
        [b["worth"] - o["worth"] for b, o in zip(bests, owns, strict=True)]
        for bests, owns in zip(best, own, strict=True)
    ]


def report(results: Sequence[Mapping[str, Any]]) -> Figures:
    """Everything that is claimed."""
    plain = sorted((r for r in results if not r["swap"]), key=lambda r: r["seed"])
    swapped = sorted((r for r in results if r["swap"]), key=lambda r: r["seed"])
    figures = Figures()
    lines: list[str] = []
    if plain:
        lines += _learning(plain, figures)
    if swapped:
        lines += _harm(swapped, figures)
    figures.text = "\n".join(lines)
    return figures


def _learning(worlds: Sequence[Mapping[str, Any]], figures: Figures) -> list[str]:
    sessions = len(worlds[0]["arms"]["cold"])
    asked = len(worlds[0]["arms"]["cold"][0])
    whole = {arm: [fmean(_flat(regrets(w, arm)[1:])) for w in worlds] for arm in LEARNERS}
    first = {arm: [fmean(_flat([s[:FIRST] for s in regrets(w, arm)[1:]])) for w in worlds] for arm in LEARNERS}
    for arm in LEARNERS:
        by_session = [[fmean(s) for s in regrets(w, arm)] for w in worlds]
        figures.by_session[arm] = [fmean(column) for column in zip(*by_session, strict=True)]
    lines = [
        f"{len(worlds)} worlds, {sessions} sessions of {asked} questions; those after the first session:",
        "",
        "| arm | regret | first 30 | calls per A | cost per question | wait p95, s | graded right | false alarms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm in (*LEARNERS, "oracle"):
        rows = _flat(_flat([w["arms"][arm][1:] for w in worlds]))
        regret = "0 | 0" if arm == "oracle" else f"{fmean(whole[arm]):.4f} | {fmean(first[arm]):.4f}"
        lines.append(f"| {arm} | {regret} | {_quality(rows)} |")
    lines += ["", "| paired difference | regret | first 30 |", "|---|---|---|"]
    for other in ("cold", "shuffled"):
        both = [_less(each, other) for each in (whole, first)]
        figures.differences[f"regret:{other}"], figures.differences[f"first:{other}"] = both
        lines.append(f"| persist less {other} | {both[0]} | {both[1]} |")
    return [*lines, "", *_by_part(worlds, sessions), ""]


def _by_part(worlds: Sequence[Mapping[str, Any]], sessions: int) -> list[str]:
    """The same by how many sessions had passed."""
    lines = [
        "| sessions | persist | cold | persist less cold | its first 30 | persist less shuffled |",
        "|---|---|---|---|---|---|",
    ]
    bounds = [1 + (sessions - 1) * part // PARTS for part in range(PARTS + 1)]
    for begin, end in pairwise(bounds):
        if begin == end:
            continue
        part = {arm: [regrets(w, arm)[begin:end] for w in worlds] for arm in LEARNERS}
        whole = {arm: [fmean(_flat(each)) for each in part[arm]] for arm in LEARNERS}
        first = {arm: [fmean(_flat([s[:FIRST] for s in each])) for each in part[arm]] for arm in LEARNERS}
        told = [f"{fmean(whole['persist']):.4f}", f"{fmean(whole['cold']):.4f}", f"{_less(whole, 'cold')}"]
        told += [f"{_less(first, 'cold')}", f"{_less(whole, 'shuffled')}"]
        lines.append(f"| {begin + 1} to {end} | {' | '.join(told)} |")
    return lines


def _less(regret: Mapping[str, Sequence[float]], other: str) -> Interval:
    return interval([a - b for a, b in zip(regret["persist"], regret[other], strict=True)])


def _quality(rows: Sequence[Row]) -> str:
    excellent = sum(r["grade"] == "A" for r in rows)
    # A grade of C or better promises a price that can be stated, D and F and no answer say that there is none.
    rightly = fmean((r["grade"] in {"A", "B", "C"}) == r["right"] for r in rows)
    rejected, falsely = sum(r["rejected"][0] for r in rows), sum(r["rejected"][1] for r in rows)
    waits = np.quantile([r["elapsed_s"] for r in rows], 0.95)
    calls, cost = sum(r["calls"] for r in rows), fmean(r["cost"] for r in rows)
    return f"{calls / max(excellent, 1):.2f} | {cost:.4f} | {waits:.3f} | {rightly:.2%} | {falsely} of {rejected}"


def _harm(worlds: Sequence[Mapping[str, Any]], figures: Figures) -> list[str]:
    after = {arm: [w["arms"][arm][-1] for w in worlds] for arm in ("persist", "cold", "oracle")}
    short = {arm: [[1.0 - r["worth"] for r in rows] for rows in each] for arm, each in after.items()}
    questions = len(short["cold"][0])
    for arm in ("persist", "cold"):
        lost = [
            [s - b for s, b in zip(own, best, strict=True)]
            for own, best in zip(short[arm], short["oracle"], strict=True)
        ]
        curve = [fmean(column) for column in zip(*lost, strict=True)]
        figures.after_swap[arm] = [fmean(curve[n : n + WINDOW]) for n in range(questions - WINDOW + 1)]
    lines = [
        f"{len(worlds)} worlds in which the best become the worst; what answers fall short of free instant ones:",
        "",
        "| questions after the swap | persist | cold | persist over cold | paired difference |",
        "|---|---|---|---|---|",
    ]
    for begin, end in _blocks(questions):
        own, other = (_means(short[arm], begin, end) for arm in ("persist", "cold"))
        apart = interval([a - b for a, b in zip(own, other, strict=True)])
        figures.differences[f"swap:{begin}"] = apart
        ratio = fmean(own) / fmean(other)
        lines.append(f"| {begin + 1} to {end} | {fmean(own):.4f} | {fmean(other):.4f} | {ratio:.3f} | {apart} |")
    back = _back_after(short["persist"], short["cold"])
    is_back = back <= questions - WINDOW + 1
    told = f"Within 10 % of cold from question {back} on" if is_back else "Not within 10 % of cold for good"
    return [*lines, "", f"{told} (means over {WINDOW} questions).", ""]


def _blocks(questions: int) -> list[tuple[int, int]]:
    bounds = [n for n in (0, 25, 50, 75, 100) if n < questions]
    return list(zip(bounds, [*bounds[1:], questions], strict=True))


def _back_after(persist: Sequence[Sequence[float]], cold: Sequence[Sequence[float]]) -> int:
    """The first question from which on every window's mean is within 10 % of cold's."""
    questions = len(cold[0])
    back = 0
    for begin in range(questions - WINDOW + 1):
        own, other = (fmean(_means(each, begin, begin + WINDOW)) for each in (persist, cold))
        if own > 1.1 * other:
            back = begin + 1
    return back + 1


def _means(each: Sequence[Sequence[float]], begin: int, end: int) -> list[float]:
    return [fmean(rows[begin:end]) for rows in each]


def _flat(lists: Sequence[Sequence[Any]]) -> list[Any]:
    return [each for inner in lists for each in inner]


def ratio(figures: Figures, other: str) -> float:
    """The regret of `persist` over that of another arm, sessions after the first."""
    return fmean(figures.by_session["persist"][1:]) / fmean(figures.by_session[other][1:])
