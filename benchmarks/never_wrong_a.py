"""Never an A on a wrong price: simulated answers in which at most a minority of independent groups is wrong.

    python benchmarks/never_wrong_a.py [--answers 100000] [--seed 7] [--processes 2] [--dangerous] [--remembered]

Every answer is made by the product's `judge_quote` from two to six simulated sources of two to five upstream groups:
honest ones late by up to a minute, and a minority that is wrong in one of ten ways, alone or all in the same way. The
oracle knows the hidden price at every instant. Wrong is a served price that lies further from the truth at its stated
time than the tolerance of the symbol's true volatility and spread. Reported are wrong prices by grade, with the upper
end of the 95 % Wilson interval, and how often the nominal 95 % interval covers the truth at the instant of judging.

With `--dangerous` only those of the simulated answers are judged in which a wrong price lies within 60 bp of a right
one or of another wrong group's: only there a wrong price can be confirmed. They are one in nine, so that millions can
be looked through; shares of letters and coverage are then those of these answers. With `--remembered` memory also has
a price that was confirmed within the last minute, of every symbol that it knows.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fusion_report import wilson
from mdagent_mcp.consensus.context import QuoteContext, SymbolKnowledge
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.consensus.tolerance import tolerance_for
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session

NOW = datetime(2026, 11, 23, 16, 4, 12, tzinfo=UTC)
CHUNK = 5_000
SOURCES = 6
FAULTS = (
    "hundredfold",
    "hundredth",
    "tenfold",
    "tick_off",
    "percent_off",
    "small_off",
    "previous_close",
    "stale_with_lying_stamp",
    "other_instrument",
    "digit",
)
_SYMBOL = parse_symbol("ACME")
_CALENDAR = calendar_named("XNYS")
_SPREAD = 2e-4
_TICK = 0.01
_NEAR = 60e-4
"""More than twice the greatest distance at which two simulated prices confirm each other."""


@dataclass
class Tally:
    """What came out, added up over chunks."""

    grades: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    wrong_a_kinds: Counter[str] = field(default_factory=Counter)
    covered: Counter[int] = field(default_factory=Counter)
    intervals: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    simulated: int = 0

    def add(self, other: Tally) -> None:
        """Take over another tally."""
        for mine, theirs in (
            (self.grades, other.grades),
            (self.wrong, other.wrong),
            (self.wrong_a_kinds, other.wrong_a_kinds),
            (self.covered, other.covered),
            (self.intervals, other.intervals),
        ):
            mine.update(theirs)  # type: ignore[arg-type]  # counters of different keys in one loop
        self.seconds += other.seconds
        self.simulated += other.simulated


@dataclass(frozen=True)
class World:
    """Arrays over answers and sources: what is true and what is said."""

    sigma: NDArray[np.float64]
    truth: NDArray[np.float64]
    then: NDArray[np.float64]
    said: NDArray[np.float64]
    age: NDArray[np.float64]
    previous: NDArray[np.float64]
    groups: NDArray[np.int64]
    group_of: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    kind: NDArray[np.int64]
    known: NDArray[np.bool_]
    believed: NDArray[np.float64]
    bare: NDArray[np.bool_]
    last: NDArray[np.float64]
    last_age: NDArray[np.float64]


def build(n: int, rng: np.random.Generator) -> World:
    """Simulate `n` instants with up to `SOURCES` sources each."""
    price = np.exp(rng.uniform(math.log(12), math.log(600), n))
    sigma = np.exp(rng.uniform(math.log(0.3e-4), math.log(1.6e-4), n))
    age = np.where(
        rng.random((n, SOURCES)) < 0.75, rng.uniform(0.1, 2.0, (n, SOURCES)), rng.uniform(2, 60, (n, SOURCES))
    )
    stale = np.exp(rng.uniform(math.log(60), math.log(3600), (n, 1)))
    instants = np.concatenate([age, np.broadcast_to(stale, (n, 1)) + age[:, :1]], axis=1)
    path = _path(price, sigma, instants, rng)
    last, last_age = _earlier(np.c_[price, path], np.c_[np.zeros(n), instants], sigma, rng.spawn(1)[0])
    then, old = path[:, :SOURCES], path[:, SOURCES:]
    previous = np.round(price * np.exp(rng.normal(0, 150, n) * sigma), 2)
    groups = rng.integers(2, 6, n)
    group_of = rng.integers(0, groups[:, None], (n, SOURCES))
    group_of[:, :5] = np.where(np.arange(5) < groups[:, None], np.arange(5), group_of[:, :5])
    wrong = group_of >= (groups - _minority(group_of, groups, age, rng))[:, None]
    together = rng.random(n) < 0.5
    kind = rng.integers(0, len(FAULTS), (n, SOURCES))
    kind = np.where(together[:, None], kind[:, :1], kind)
    said = np.where(wrong, _faulty(kind, then, old, previous, together, rng), then)
    return World(
        sigma=sigma,
        truth=np.round(price, 2).astype(np.float64),
        then=then,
        said=np.maximum(np.round(said, 2), 0.01),
        age=age,
        previous=previous,
        groups=groups,
        group_of=group_of,
        wrong=wrong,
        kind=kind,
        known=rng.random(n) < 0.5,
        believed=sigma * np.exp(rng.normal(0, 0.2, n)),
        bare=rng.random(n) < 0.3,
        last=last,
        last_age=last_age,
    )


def _minority(
    group_of: NDArray[np.int64], groups: NDArray[np.int64], age: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """How many groups (the last ones) are wrong: fewer than the right ones that are fresh enough to confirm."""
    numbers = np.arange(5)
    asked = np.arange(SOURCES) < _asked(groups)[:, None]
    fresh = np.stack([((group_of == g) & (age <= 30.0) & asked).any(axis=1) for g in numbers], axis=1)
    # with k wrong groups, the groups below groups - k are right
    most = np.zeros(len(groups), dtype=np.int64)
    for k in (1, 2):
        right = (fresh & (numbers < (groups - k)[:, None])).sum(axis=1)
        most = np.where(right > k, k, most)
    return (rng.random(len(groups)) * (most + 1)).astype(np.int64)


def _asked(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many sources answer: every other time all of them, else one of each group."""
    return np.where(np.arange(len(groups)) % 2 == 1, groups, SOURCES)


def _path(
    price: NDArray[np.float64], sigma: NDArray[np.float64], instants: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The price at each of the instants (seconds ago): a random walk with fat tails, on the grid of the step."""
    order = np.argsort(instants, axis=1)
    steps = np.diff(np.take_along_axis(instants, order, 1), axis=1, prepend=0.0)
    fat = np.where(rng.random(steps.shape) < 0.1, 2.0, 0.8)
    moves = np.cumsum(rng.normal(size=steps.shape) * fat * np.sqrt(steps) * sigma[:, None], axis=1)
    walked = np.empty_like(moves)
    np.put_along_axis(walked, order, moves, 1)
    return np.round(price[:, None] * np.exp(walked), 2)


def _earlier(
    path: NDArray[np.float64], instants: NDArray[np.float64], sigma: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The price at one more instant of the last minute: a bridge between its neighbours of the path."""
    rows, age = np.arange(len(path)), np.exp(rng.uniform(0.0, math.log(60.0), len(path)))
    before = np.argmax(np.where(instants <= age[:, None], instants, -1.0), axis=1)
    after = np.argmin(np.where(instants > age[:, None], instants, np.inf), axis=1)
    start, end = instants[rows, before], instants[rows, after]
    share = (age - start) / (end - start)
    middle = (1 - share) * np.log(path[rows, before]) + share * np.log(path[rows, after])
    deviation = sigma * np.sqrt((age - start) * (1 - share))
    return np.round(np.exp(middle + rng.normal(size=len(path)) * deviation), 2), age


def _faulty(  # noqa: PLR0917 - one array per fact of the world
    kind: NDArray[np.int64],
    then: NDArray[np.float64],
    old: NDArray[np.float64],
    previous: NDArray[np.float64],
    together: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    sign = np.where(rng.random(then.shape) < 0.5, -1.0, 1.0)
    size = np.exp(rng.uniform(math.log(0.02), math.log(0.10), then.shape))
    small = np.exp(rng.uniform(math.log(0.0008), math.log(0.02), then.shape))
    for drawn in (sign, size, small):
        drawn[together] = drawn[together][:, :1]
    other = np.exp(rng.uniform(math.log(5), math.log(800), (then.shape[0], 1)))
    digit = then + sign * 10.0 ** np.floor(np.log10(then) - 1)
    choices = [
        then * 100,
        then / 100,
        then * 10,
        then * (1 + sign * size),
        then * (1 + sign * 0.01),
        then * (1 + sign * small),
        np.broadcast_to(previous[:, None], then.shape),
        np.broadcast_to(old, then.shape),
        np.broadcast_to(other, then.shape),
        digit,
    ]
    return np.choose(kind, choices)


def run(job: tuple[int, int], *, only_dangerous: bool = False, remembered: bool = False) -> Tally:
    """Judge one chunk: how many answers, and the seed."""
    count, seed = job
    world = build(count, np.random.default_rng(seed))
    tally = Tally(simulated=count)
    started = time.perf_counter()
    for i in np.nonzero(dangerous(world))[0] if only_dangerous else range(count):
        judge_answer(world, int(i), tally, remembered=remembered)
    tally.seconds = time.perf_counter() - started
    return tally


def dangerous(world: World) -> NDArray[np.bool_]:
    """Which answers have a wrong price that another group might confirm: within `_NEAR` of it."""
    asked = np.arange(SOURCES) < _asked(world.groups)[:, None]
    logs, wrong = np.log(world.said), world.wrong & asked
    found = np.zeros(len(world.groups), dtype=np.bool_)
    for first in range(SOURCES):
        for other in range(SOURCES):
            near = np.abs(logs[:, first] - logs[:, other]) < _NEAR
            apart = world.group_of[:, first] != world.group_of[:, other]
            found |= wrong[:, first] & asked[:, other] & near & apart
    return found


def judge_answer(world: World, i: int, tally: Tally, *, remembered: bool = False) -> None:
    """Judge one of the answers and count what came of it; `remembered` when memory has a price confirmed last."""
    context = QuoteContext(
        now=NOW,
        calendar=_CALENDAR,
        groups={f"s{j}": f"g{world.group_of[i, j]}" for j in range(SOURCES)},
        learned=_knowledge(world, i, remembered=remembered),
    )
    judged = judge_quote(_SYMBOL, _quotes(world, i), {}, context)
    if judged is None or judged.price_time is None:
        tally.grades["none"] += 1
        return
    j = int(judged.sources_used[0][1:])
    grade = judged.grade.value
    true = tolerance_for(
        _SYMBOL,
        float(world.then[i, j]),
        SymbolKnowledge(volatility_per_sqrt_s=float(world.sigma[i]), relative_spread=_SPREAD, tick=_TICK),
    )
    off = abs(math.log(judged.price / world.then[i, j]))
    tally.grades[grade] += 1
    if off > true.agreement(float(world.age[i, j])):
        tally.wrong[grade] += 1
        if grade == "A":
            tally.wrong_a_kinds[FAULTS[world.kind[i, j]]] += 1
    confirmed = min(len({world.group_of[i, int(s[1:])] for s in judged.sources_used}), 3)
    tally.intervals[confirmed] += 1
    tally.covered[confirmed] += judged.price_low <= world.truth[i] <= judged.price_high


def _knowledge(world: World, i: int, *, remembered: bool) -> SymbolKnowledge | None:
    if not world.known[i]:
        return None
    return SymbolKnowledge(
        observations=300,
        volatility_per_sqrt_s=float(world.believed[i]),
        relative_spread=_SPREAD,
        tick=_TICK,
        previous_official_close=float(world.previous[i]),
        last_price=float(world.last[i]) if remembered else None,
        last_price_time=NOW - timedelta(seconds=float(world.last_age[i])) if remembered else None,
    )


def _quotes(world: World, i: int) -> list[Quote]:
    quotes = []
    for j in range(int(world.groups[i]) if i % 2 else SOURCES):
        price = float(world.said[i, j])
        unit = price / float(world.then[i, j])
        unit = unit if unit > 5 or unit < 0.2 else 1.0
        full = not world.bare[i]
        quotes.append(
            Quote(
                symbol="ACME",
                source=f"s{j}",
                price=price,
                session=Session.REGULAR,
                received_at=NOW,
                event_time=NOW - timedelta(seconds=float(world.age[i, j])),
                currency="USD",
                bid=round(price * 0.9999, 2) if full else None,
                ask=round(price * 1.0001, 2) if full else None,
                previous_close=float(world.previous[i]) * unit if full or j % 2 else None,
                volume=1e6,
            )
        )
    return quotes


def main() -> None:
    """Parse the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dangerous", action="store_true", help="judge only answers that could become a wrong A")
    parser.add_argument("--remembered", action="store_true", help="memory also has a price that was confirmed last")
    options = parser.parse_args()
    judge = partial(run, only_dangerous=options.dangerous, remembered=options.remembered)
    jobs = [
        (min(CHUNK, options.answers - at), options.seed * 1_000_003 + at) for at in range(0, options.answers, CHUNK)
    ]
    tally = Tally()
    with ProcessPoolExecutor(options.processes) as pool:
        for part in pool.map(judge, jobs):
            tally.add(part)
    report(tally)


def report(tally: Tally) -> None:
    """Print the tally."""
    total = sum(tally.grades.values())
    each_us = tally.seconds / max(1, total) * 1e6
    print(f"{tally.simulated} simulated answers, {total} of them judged, {each_us:.0f} us each")
    for grade in ("A", "B", "C", "D", "F", "none"):
        n = tally.grades[grade]
        if n:
            _, high = wilson(tally.wrong[grade], n)
            print(f"  {grade:4} {n:8}  wrong {tally.wrong[grade]:6}  (at most {high:.6f})")
    for kind, n in tally.wrong_a_kinds.most_common():
        print(f"  wrong A by {kind}: {n}")
    covered, intervals = sum(tally.covered.values()), sum(tally.intervals.values())
    low, high = wilson(covered, intervals)
    print(f"nominal 95 % interval covers {covered / intervals:.4f} ({low:.4f} to {high:.4f})")
    for groups in sorted(tally.intervals):
        share = tally.covered[groups] / tally.intervals[groups]
        print(f"  with {groups}{'+' if groups == 3 else ''} agreeing groups: {share:.4f} of {tally.intervals[groups]}")


if __name__ == "__main__":
    main()
