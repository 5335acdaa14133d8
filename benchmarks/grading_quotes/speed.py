"""How long one grade takes, beside a floor measured in the same run on the same machine."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

from grading_quotes.splits import TUNING_DAYS
from grading_quotes.world import INDEPENDENT, PAIR, Setting, open_world
from mdagent_mcp.consensus.quotes import judge_quote

BUDGET_US = 300.0
_ROUNDS = 40
_CALLS = 25


async def measure_speed() -> str:
    """A sentence: microseconds to judge six observations with everything learned, and the ratio to the floor."""
    async with open_world(Setting("SPY", TUNING_DAYS[0], 7, 0.3)) as world:
        quotes = [draft.quote() for draft in world.healthy(*INDEPENDENT, *PAIR)]
        context = world.parts.quote_context(world.instrument)

        def judge() -> None:
            judge_quote(world.instrument, quotes, {}, context)

        gc.collect()
        gc.freeze()  # the simulated world is the benchmark's, not the product's
        judged, floor = _in_turn(judge, _floor)
        gc.unfreeze()
    return (
        f"one grade from {len(quotes)} observations: {judged:.0f} us (budget {BUDGET_US:.0f} us), "
        f"{judged / floor:.1f} times the floor of {floor:.1f} us (sorting a thousand numbers)"
    )


def _floor() -> None:
    sorted(_NUMBERS)


_NUMBERS = [(n * 7919) % 1009 / 1009 for n in range(1000)]


def _in_turn(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """Median microseconds of processor time of both, measured in turn so that a busy machine hits both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for action, measured in zip((first, second), times, strict=True):
            started = time.process_time()
            for _ in range(_CALLS):
                action()
            measured.append((time.process_time() - started) / _CALLS * 1e6)
    return statistics.median(times[0]), statistics.median(times[1])
