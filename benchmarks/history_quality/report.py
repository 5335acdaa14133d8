"""The tables of `benchmarks/history.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from history_quality.grading import HELD_OUT_SEED, TUNING_SEED, Tally
from history_quality.real_errors import ERROR_RULES, FileResult, failed_rules, judge, load
from history_quality.timing import BARS, Timing
from history_quality.worlds import HELD_OUT, LENGTH, TUNING
from mdagent_mcp.domain.prices import Adjustment


def injected_table(tallies: Mapping[str, Tally]) -> str:
    """Part (a): the four numbers of every side, then what was not exact."""
    lines = ["| side | cases | exact | 95 % interval | macro by kind | over-graded |", "|---|---|---|---|---|---|"]
    for name, tally in tallies.items():
        low, high = tally.wilson
        lines.append(
            f"| {name} | {tally.total.total()} | {tally.accuracy:.2%} | {low:.2%} to {high:.2%} | {tally.macro:.2%} "
            f"| {tally.over_graded:.2%} |"
        )
    lines += ["", "Kinds that were not always exact (label as grade):", "", "| side | kind | exact | other letters |"]
    lines.append("|---|---|---|---|")
    for name, tally in tallies.items():
        for kind in tally.total:
            if tally.confused[kind]:
                other = ", ".join(f"{n} x {what}" for what, n in sorted(tally.confused[kind].items()))
                lines.append(
                    f"| {name.partition(':')[0]} | {kind} | {tally.exact[kind]}/{tally.total[kind]} | {other} |"
                )
    return "\n".join(lines) + "\n"


def real_table(results: Sequence[FileResult]) -> str:
    """Part (b): every pair and the totals."""
    lines = [
        "| file | looked at | right kind flagged | wrong cells repaired | other cells changed | alarm on its twin |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        flagged = ", ".join(sorted(r.failed & ERROR_RULES)) if r.flagged else "no"
        alarm = ", ".join(sorted(r.false_alarm)) or "none"
        side = "tuning" if r.labelled.tuning else "held out"
        lines.append(f"| {r.labelled.name} | {side} | {flagged} | {r.repaired}/{r.wrong} | {r.damaged} | {alarm} |")
    return "\n".join([*lines, "", _totals(results), ""])


def _totals(results: Sequence[FileResult]) -> str:
    wrong, repaired = sum(r.wrong for r in results), sum(r.repaired for r in results)
    shares = [r.repaired / r.wrong for r in results if r.wrong]
    return (
        f"Flagged with the right kind: {sum(r.flagged for r in results)} of {len(results)} "
        f"({sum(r.flagged for r in results) / len(results):.0%}). Wrong cells repaired to within 0.5 %: {repaired} of "
        f"{wrong} ({repaired / wrong:.1%}); mean of the files' shares {sum(shares) / len(shares):.1%}. "
        f"Twins with a false alarm: {sum(bool(r.false_alarm) for r in results)}."
    )


def control_rows(names: Sequence[tuple[str, bool]]) -> str:
    """Part (b): the controls, on both bases."""
    lines = [
        "",
        "| control | looked at | alarms | repairs | grade | other checks that fail |",
        "|---|---|---|---|---|---|",
    ]
    for name, tuning in names:
        judged = [judge(load(name), basis) for basis in (Adjustment.ALL, Adjustment.SPLITS)]
        failed = frozenset().union(*map(failed_rules, judged))
        grades = "/".join(each.assessment.grade.value for each in judged)
        others = ", ".join(sorted(failed - ERROR_RULES)) or "none"
        lines.append(
            f"| {name} | {'tuning' if tuning else 'held out'} | {', '.join(sorted(failed & ERROR_RULES)) or 'none'} "
            f"| {sum(len(each.repairs) for each in judged)} | {grades} | {others} |"
        )
    return "\n".join(lines) + "\n"


def timing_table(timings: Sequence[Timing]) -> str:
    """Part (c)."""
    lines = [f"| {BARS:,} daily bars | ms of processor time | times the floor |", "|---|---|---|"]
    lines += [f"| {t.what} | {t.milliseconds:.1f} | {t.milliseconds / t.floor:.0f} |" for t in timings]
    return "\n".join(lines) + "\n"


def page(injected: str, real: str, timing: str, *, real_bars: bool, per_kind: int) -> str:
    """The whole page."""
    source = (
        f"windows of {LENGTH} real daily bars; tuning {', '.join(TUNING)} before 2010, seed {TUNING_SEED}; held out "
        f"{', '.join(HELD_OUT)} from 2010 on, seed {HELD_OUT_SEED}"
        if real_bars
        else "the simulated market, because the real bars were not there"
    )
    return f"""# Histories: grading, repair, speed

Written by `python benchmarks/history.py --per-kind {per_kind} --write`; the numbers are measured, the data are not
part of the project.

## Faults laid over clean series

Truth: {source}.

The label of a case comes from its truth: how many sessions are missing, which cells are wrong and whether the payload
itself proves what is right (then it is repaired, and a B), whether an independent vendor tells the truth too. Kinds
never tuned on: wrong instrument, splice, one-day shift, genuine crash.

{injected}
## Real errors of a real vendor

Pairs of a broken and a repaired file, each judged as the only source, asked for prices adjusted for dividends. Files at
odd places in the alphabetical order of symbols were looked at while the rules were written ("tuning"). The others were
first judged when the rules stood; see the log of looks below. A cell counts as wrong when it differs from its label by
more than 0.5 %, and as repaired within that. "Other cells changed" are cells that agree with the label and do not after
the repair: in LSC-L these are ten stretches in pence among pounds that the label left as they were.

{real}
## Speed

Best of fifteen rounds. The floor is one pass over every price of the same series.

{timing}
## Log of looks at held-out data

1. Injected faults and real files together, when all rules stood. Injected: 99.7 % exact on the tuned kinds (650 cases),
   98.7 % on the others (300). Real files: 8 of 9 flagged, alarms on 2 of 9 twins; missed or wrong were capital gains
   that an adjustment already holds, dividends a hundredth of their size that only all of them together show, a single
   row on another split basis, and the dividend of a merged company. The rules for the first three were then written,
   so that the held-out real files are no longer blind.
2. Injected faults, after those changes: 99.87 % exact on the tuned kinds (1,560 cases), 98.33 % on the others (720):
   all twelve misses were genuine crashes graded D for the wick of their own day. A wick is since measured against the
   day's own move too; the kind "genuine crash" is no longer blind, the other three are.
3. The run on this page.
"""
