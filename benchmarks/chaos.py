"""Faults of every kind at random over many calls, with what must hold of each of them.

    python benchmarks/chaos.py [--calls 100000] [--seeds 10] [--first-seed 1] [--processes 2] [--majority]

A real MCP client, the real server with its store on disk, and six sources of the sandbox, in one process per seed and
under a hand-turned clock. Episodes of some minutes, drawn by the seed, mix faults of the vendors, of the network, of
the disk and of the server's wall clock; `docs/chaos.md` lists them, and what is promised. Odd seeds have keys whose
quotas leave room, so that availability can be judged; even ones the smallest plans, so that quotas are what is scarce.
Seeds divisible by three leave the wall clock right; those divisible by five keep budgets on a Valkey server that is
killed now and then. With `--majority` most sources lie, which only is reported.

Printed are a line per seed, what did not hold in words, and how to run that seed alone. The exit code is 1 when
anything did not hold.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from chaos_run import Outcome, Plan, run_plan

WANTED_AVAILABILITY: Final = 0.995
MAJORITY: Final = 4


def plan_of(seed: int, calls: int, *, majority: bool = False) -> Plan:
    """What a seed does."""
    return Plan(
        seed,
        calls,
        tight=seed % 2 == 0,
        jumps=seed % 3 != 0 and not majority,
        liars=MAJORITY if majority else None,
        valkey=seed % 5 == 0,
    )


def outcomes(plans: Sequence[Plan], processes: int) -> Iterator[Outcome]:
    """Run them, each as soon as a process is free."""
    # One plan per process: what one leaves behind is not another's, and a seed alone is the same run.
    with ProcessPoolExecutor(processes, max_tasks_per_child=1) as pool:
        yield from pool.map(run_plan, plans)


def line(outcome: Outcome) -> str:
    """One seed in a line."""
    found, plan = outcome.findings, outcome.plan
    grades = " ".join(f"{found.grades[grade]}{grade}" for grade in "ABCDF")
    kind = ("tight" if plan.tight else "roomy") + (", clock jumps" if plan.jumps else "")
    kind += f", Valkey killed {outcome.kills}x" if plan.valkey else ""
    reachable = f"{found.answered} of {found.promised} answered" if found.promised else "quotas are the limit"
    return (
        f"seed {plan.seed:3} ({kind}): {found.calls.total():,} calls, {outcome.sent.total():,} requests,"
        f" {outcome.hit.total():,} hit on their way, {outcome.disk_refused:,} writes refused, {grades}; {reachable},"
        f" {found.told} told from before an outage, {found.outvoted} wrong where liars were as many as honest,"
        f" {found.nameless} C to F of symbols that do not exist,"
        f" slowest {found.slowest_s:.2f} s, blocks {outcome.grown:+.1%} ({outcome.took_s:.0f} s)"
    )


def missed(outcome: Outcome) -> dict[str, int]:
    """What did not hold, and how often."""
    found = outcome.findings
    return {
        name: count
        for name, count in found.broken.items()
        if name != "unanswered" or found.availability < WANTED_AVAILABILITY
    }


def main() -> int:
    """Read the options, run, print; 0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="tool calls, all seeds together")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--majority", action="store_true", help="most sources lie: reported, not judged")
    options = parser.parse_args()
    each = options.calls // options.seeds
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    calls, broken, faults = 0, Counter[str](), Counter[str]()
    for outcome in outcomes([plan_of(seed, each, majority=options.majority) for seed in seeds], options.processes):
        calls += outcome.findings.calls.total()
        faults += outcome.hit
        broken += Counter(missed(outcome))
        print(line(outcome), flush=True)
        for name in missed(outcome):
            for words in outcome.findings.violations[name]:
                print(f"  {name}: {words}", flush=True)
    print(f"{calls:,} calls; network faults: {', '.join(f'{n} {name}' for name, n in faults.most_common())}")
    print(f"did not hold: {', '.join(f'{name} {n}x' for name, n in broken.items()) or 'nothing'}")
    return 0 if options.majority or not broken else 1


if __name__ == "__main__":
    raise SystemExit(main())
