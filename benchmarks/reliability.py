"""How often and how fast there is an answer while sources are in trouble, by a hand-turned clock.

    python benchmarks/reliability.py [--calls 2000] [--questions 1000] [--seed 1]

The real engine over six sources of the sandbox, in one process; the delays of calls are drawn from a log-normal
distribution with stalls. Printed are

- availability: any four of the six are down at random, others every few minutes (server errors, silence, unreadable
  replies, no connection). At least 99.9 % of the questions must get an answer, and no A or B may be wrong by more than
  its own interval and `TOLERANCE`;
- one source hung, each of the six in turn: the p99 must grow by less than 20 % over all healthy;
- hedging on and off with one source that is now and then slow: at most 10 % more calls.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from mdagent_mcp.domain.quality import Grade, at_least
from reliability_world import SIX, SixSources, six_sources

SYMBOLS: Final = tuple(f"SIM{n:03}" for n in range(40))
DOWN_AT_ONCE: Final = 4
OUTAGE_S: Final = (120.0, 300.0)
KINDS: Final = ("server_error", "hang", "malformed", "unreachable")
PAUSE_S: Final = (1.0, 4.0)
TOLERANCE: Final = 1e-3
"""Share of the price: what it may have moved since a price that counts as current."""
LEARNING_QUESTIONS: Final = 60
"""Asked before anything is measured, so that it is known how long sources usually take."""
NO_CACHE: Final = {"MDAGENT_CACHE__OPEN_MARKET_S": "0"}


@dataclass
class Report:
    """What became of the questions.

    Attributes:
        grades: how many answers of each grade; those without an answer under None.
        took_s: by the hand-turned clock.
        calls: requests to vendors.
        unanswered: why there was no answer.
        wrong: answers of grade A or B that were wrong.
    """

    grades: Counter[str | None] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    calls: int = 0
    unanswered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def answered(self) -> float:
        """Share of the questions that got an answer."""
        return 1.0 - self.grades[None] / self.grades.total()

    def quantile_s(self, share: float) -> float:
        """The time within which that share of the questions was answered."""
        ordered = sorted(self.took_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        grades = ", ".join(f"{n} {grade or 'none'}" for grade, n in sorted(self.grades.items(), key=str))
        p50, p99 = 1000 * self.quantile_s(0.5), 1000 * self.quantile_s(0.99)
        calls = self.calls / len(self.took_s)
        return f"p50 {p50:4.0f} ms  p99 {p99:4.0f} ms  {calls:.2f} calls a question  {grades}"


async def ask_once(world: SixSources, rng: random.Random, report: Report) -> None:
    """One question for one symbol, then a pause."""
    symbol = rng.choice(SYMBOLS)
    before = world.network.calls
    answer = await world.ask(symbol)
    report.calls += world.network.calls - before
    report.took_s.append(answer.usage.elapsed_ms / 1000.0)
    for failure in answer.failures:
        report.grades[None] += 1
        report.unanswered.append(failure.message)
    for quote in answer.quotes:
        report.grades[quote.grade.value] += 1
        truth = world.truth(symbol, quote.judged_at)
        within = quote.price_low * (1 - TOLERANCE) <= truth <= quote.price_high * (1 + TOLERANCE)
        if at_least(quote.grade, Grade.B) and not within:
            report.wrong.append(f"{symbol} {quote.grade} {quote.price} instead of {truth}")
    await world.clock.advance(rng.uniform(*PAUSE_S))


def strike(world: SixSources, rng: random.Random) -> None:
    """Take other sources down, and bring the rest back."""
    down = {source: rng.choice(KINDS) for source in rng.sample(SIX, DOWN_AT_ONCE)}
    world.network.unreachable = {source for source, kind in down.items() if kind == "unreachable"}
    world.set_faults(*(f"{source}={kind}" for source, kind in down.items() if kind != "unreachable"))


async def availability(calls: int, seed: int) -> Report:
    """Any four of six sources are down, others every few minutes."""
    rng, report, until = random.Random(seed), Report(), 0.0
    async with six_sources(seed=seed) as world:
        while len(report.took_s) < calls:
            if world.clock.monotonic() >= until:
                until = world.clock.monotonic() + rng.uniform(*OUTAGE_S)
                strike(world, rng)
            await ask_once(world, rng, report)
    return report


async def with_faults(faults: Sequence[str], questions: int, seed: int, *, hedging: bool = True) -> Report:
    """Faults that begin after the sources' usual times were learned."""
    rng, report = random.Random(seed), Report()
    settings = {**NO_CACHE, "MDAGENT_ENGINE__HEDGING": str(hedging).lower()}
    async with six_sources(seed=seed, settings=settings) as world:
        learning = Report()
        for _ in range(LEARNING_QUESTIONS):
            await ask_once(world, rng, learning)
        world.set_faults(*faults)
        for _ in range(questions):
            await ask_once(world, rng, report)
    return report


async def measure(calls: int, questions: int, seed: int) -> None:
    """Run and print."""
    started = time.perf_counter()
    report = await availability(calls, seed)
    print(
        f"any {DOWN_AT_ONCE} of {len(SIX)} down, {calls} questions ({time.perf_counter() - started:.0f} s of real time)"
    )
    print(f"  {report}\n  answered {report.answered:.4%}, wrong A or B: {len(report.wrong)}")
    for text in (*report.unanswered[:5], *report.wrong[:5]):
        print(f"  {text}")
    healthy = await with_faults((), questions, seed)
    print(f"{questions} questions each\n{'all healthy':32} {healthy}")
    for source in SIX:
        hung = await with_faults((f"{source}=hang",), questions, seed)
        growth = hung.quantile_s(0.99) / healthy.quantile_s(0.99) - 1.0
        print(f"{source + ' hung':32} {hung}  p99 {growth:+.0%}")
    for fault in ("finnhub=delay:1.2,chance=0.05", "all=delay:1.2,chance=0.05"):
        for hedging in (False, True):
            slow = await with_faults((fault,), questions, seed, hedging=hedging)
            print(f"{fault.partition(',')[0]} 5 %, hedging {'on' if hedging else 'off':4} {slow}")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    anyio.run(measure, options.calls, options.questions, options.seed)


if __name__ == "__main__":
    main()
