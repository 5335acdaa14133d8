"""Accuracy of the quotes' grades against a hidden truth, and the time one grade takes.

    python benchmarks/grading.py [--held-out] [--rounds 1.0] [--skew 0.3 1.0 2.0]

Simulated afternoons stream through the product's own memory and `judge_quote`, in the contexts that its engine makes;
the right grade of every case comes from what was injected and what was true (`grading_quotes.oracle`). Without
`--held-out` the symbols, days, seeds and kinds are those the rules were made with. Prints one block per part: exact
accuracy with the lower end of Wilson's 95 % interval, the mean over kinds, the share of grades better than deserved,
accuracy near the rubric's lines and away from them, every kind that is not perfect, and the confusion matrix.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from grading_quotes.closed import CLOSED
from grading_quotes.kinds import BEYOND, CONTINUOUS, DISCRETE, HELD_OUT, Maker
from grading_quotes.measure import Tally, merged, run
from grading_quotes.speed import measure_speed
from grading_quotes.splits import settings
from grading_quotes.tape import source_of_truth
from mdagent_mcp.domain.quality import Grade


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help="the part that was kept back")
    parser.add_argument("--rounds", type=float, default=1.0, help="share of the usual number of cases")
    parser.add_argument("--skew", type=float, nargs="*", default=[0.3, 1.0, 2.0], help="greatest clock errors, seconds")
    given = parser.parse_args()
    asyncio.run(_run(given.skew, given.rounds, held_out=given.held_out))


async def _run(skews: list[float], share: float, *, held_out: bool) -> None:
    part = "kept-back symbols, days and seeds" if held_out else "symbols, days and seeds of tuning"
    print(f"{part}; truth from {source_of_truth()}\n")

    async def tally(kinds: Mapping[str, Maker], rounds: int, skew_s: float, **given: bool) -> Tally:
        return await run(settings(held_out=held_out, skew_s=skew_s, **given), kinds, max(1, round(rounds * share)))

    usual = skews[0]
    discrete = await tally(DISCRETE, 12, usual, early_freeze=True)
    _print("discrete kinds", merged(discrete, await tally(CLOSED, 12, usual, friday=True)), usual)
    if held_out:
        _print("kinds never used for tuning", await tally(HELD_OUT, 20, usual, early_freeze=True), usual)
    for skew_s in skews:
        _print("continuous severities", await tally(CONTINUOUS, 40, skew_s), skew_s, confusion=True)
    _print("reported apart: hardly observable", await tally(BEYOND, 20, usual), usual)
    print(await measure_speed())


def _print(title: str, tally: Tally, skew_s: float, *, confusion: bool = False) -> None:
    near, away = tally.where(near=True), tally.where(near=False)
    print(f"== {title}, clock skew up to {skew_s:g} s, n = {len(tally.results)}")
    print(
        f"exact {tally.exact:.2%} (Wilson low {tally.wilson_low:.2%}), mean over kinds {tally.macro:.2%}, "
        f"over-graded {tally.over:.2%}, near lines {near.exact:.2%} of {len(near.results)}, "
        f"away {away.exact:.2%} of {len(away.results)}"
    )
    for kind, part in tally.by_kind().items():
        if part.exact < 1:
            wrong = {f"{a}>{b}": n for (a, b), n in part.confusion().most_common() if a is not b}
            print(f"   {kind:34} exact {part.exact:.1%}, over {part.over:.1%}, n {len(part.results)}  {wrong}")
    if confusion:
        counts = tally.confusion()
        print("   right \\ given " + "".join(f"{grade:>7}" for grade in Grade))
        for right in Grade:
            print(f"   {right:13} " + "".join(f"{counts[right, given]:7}" for given in Grade))
    print()


if __name__ == "__main__":
    main()
