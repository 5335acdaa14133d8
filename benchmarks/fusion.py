"""How often the fused price is right, beside plain rules and the best that any choice could reach.

    python benchmarks/fusion.py [--write docs/benchmarks/fusion.md]

Streams in order through the product's own selection; an authority tells the truth 900 seconds later (32 rounds later
for the weather). Reads the shared data where it is present, else the simulated market with modelled vendors. The
constants were made with the first five days and the symbols of even rank; figures are given for that part, for the
rest (other days and other symbols), and for all.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import fusion_weather
from fusion_learning import (
    Learner,
    Outcome,
    best_possible,
    freshest_faultless,
    median_of,
    most_by_distance,
    older_instead,
    tolerance_vote,
)
from fusion_product import ProductLearner
from fusion_report import calibration_error, table, wilson
from fusion_streams import LIVE, SCENARIOS, WEATHER, Query, is_gross, is_right, live, simulated

TUNING_DAYS = 5
A_CONFIDENCE, A_GROUPS = 0.97, 2
SUBSETS = 8
PRODUCT_SCENARIOS = ("free mix", "stale majority", "liar", "flaky")


def part_of(queries: Sequence[Query]) -> Callable[[Query], str]:
    """Which part a query belongs to: `tuning`, `held out` (neither its day nor its symbol was used) or `mixed`."""
    days = sorted({q.day for q in queries})[:TUNING_DAYS]
    symbols = sorted({q.symbol for q in queries})[::2]

    def part(query: Query) -> str:
        early, even = query.day in days, query.symbol in symbols
        return "tuning" if early and even else "mixed" if early or even else "held out"

    return part


def share(hits: int, trials: int) -> str:
    """A share with its Wilson interval."""
    low, high = wilson(hits, trials)
    return f"{hits / trials:.4f} ({low:.4f}-{high:.4f})" if trials else "-"


def scenario_row(name: str, queries: Sequence[Query], part: Callable[[Query], str]) -> list[str]:
    """One scenario's figures."""
    members = SCENARIOS[name]
    outcomes = Learner(members).run(queries)
    asked = [o.query for o in outcomes]
    n = len(outcomes)
    held = [o for o in outcomes if part(o.query) == "held out"]
    sure = [o for o in outcomes if o.confidence >= A_CONFIDENCE and o.groups >= A_GROUPS]
    return [
        name,
        f"{sum(is_right(median_of(q, members), q) for q in asked) / n:.3f}",
        f"{sum(is_right(tolerance_vote(q, members), q) for q in asked) / n:.3f}",
        f"{sum(is_right(tolerance_vote(q, members, 60.0), q) for q in asked) / n:.3f}",
        share(sum(o.right for o in outcomes), n),
        share(sum(o.right for o in held), len(held)),
        f"{sum(freshest_faultless(q, members) for q in asked) / n:.4f}",
        f"{sum(best_possible(q, members) for q in asked) / n:.4f}",
        f"{sum(is_gross(o.price, o.query) for o in outcomes) / n:.4f}",
        f"{calibration_error((o.confidence, o.right) for o in outcomes):.4f}",
        _sure(sure, n),
        f"{sum(o.covered for o in outcomes) / n:.4f}",
    ]


def _sure(sure: Sequence[Outcome], n: int) -> str:
    return f"{sum(o.right for o in sure) / len(sure):.4f} @ {len(sure) / n:.2f}" if sure else "-"


HEADER = (
    "scenario", "median", "tolerance vote", "same, <= 60 s", "product (95 % Wilson)", "held out", "youngest faultless",
    "any member", "gross", "calibration error", "sure: precision @ share", "interval covers",
)  # fmt: skip


def ceiling_rows(queries: Sequence[Query]) -> list[list[str]]:
    """Whether anything but luck could choose better than the youngest faultless value does."""
    rows = []
    for name, members in SCENARIOS.items():
        found = [each for q in queries if (each := older_instead(q, members)) is not None]
        wrong = sum(not freshest_faultless(q, members) for q in queries)
        gained, lost = (sum(change == sign for _, change in found) for sign in (1, -1))
        most = most_by_distance(found)
        best = 1 - (wrong - most) / len(queries)
        rows.append([name, str(wrong), str(gained), str(lost), f"{most} of {len(queries)}", f"{best:.4f}"])
    return rows


CEILING = (
    "scenario", "youngest faultless wrong", "next older right instead", "next older wrong instead",
    "most gained by distance", "precision then",
)  # fmt: skip


CEILING_TEXT = (
    "Could anything but luck do better than the youngest faultless value? Here every fault is known, and the next "
    "older faultless value that differs may be chosen wherever its distance lies between two limits, those that turn "
    "out best once all truths are known:"
)


def subset_rows(queries: Sequence[Query]) -> list[list[str]]:
    """Random subsets of the vendors, by size."""
    rng, rows = random.Random(1), []
    for size in range(3, 9):
        draws = [rng.sample(SCENARIOS["all twelve"], size) for _ in range(SUBSETS)]
        precision, votes, best = [], [], []
        for members in draws:
            outcomes = Learner(members).run(queries)
            n = len(outcomes)
            precision.append(sum(o.right for o in outcomes) / n)
            votes.append(sum(is_right(tolerance_vote(o.query, members), o.query) for o in outcomes) / n)
            best.append(sum(best_possible(o.query, members) for o in outcomes) / n)
        mean = [f"{sum(x) / SUBSETS:.3f}" for x in (votes, precision, best)]
        rows.append([str(size), mean[0], mean[1], f"{min(precision):.3f}", mean[2]])
    return rows


def product_rows(queries: Sequence[Query]) -> list[list[str]]:
    """Some scenarios through `judge_quote` itself, by the letter it gave."""
    rows = []
    for name in PRODUCT_SCENARIOS:
        learner = ProductLearner(SCENARIOS[name])
        learner.run(queries)
        served = learner.served
        good = [s for s in served if s.grade in {"A", "B"}]
        rows.append(
            [
                name,
                share(sum(s.right for s in served), len(served)),
                f"{sum(is_gross(s.price, s.query) for s in served) / len(served):.4f}",
                f"{sum(s.right for s in good) / max(1, len(good)):.4f} @ {len(good) / len(served):.2f}",
                f"{sum(s.covered for s in served) / len(served):.4f}",
            ]
        )
    return rows


def weather_rows() -> list[list[str]]:
    """Precision by method and attribute."""
    results = fusion_weather.run(fusion_weather.items())
    rows = []
    for method, outcomes in results.items():
        by_attribute = [
            [right for item, right in outcomes if item[2] == attribute] for attribute in fusion_weather.TOLERANCE
        ]
        right = sum(r for _, r in outcomes)
        rows.append([method, share(right, len(outcomes)), *(f"{sum(r) / max(1, len(r)):.3f}" for r in by_attribute)])
    return rows


def report() -> str:
    """Everything as Markdown."""
    queries = live() if LIVE.exists() else list(simulated(1))
    origin = "frozen live set" if LIVE.exists() else "simulated market with modelled vendors (no shared data)"
    part = part_of(queries)
    counts = {name: sum(part(q) == name for q in queries) for name in ("tuning", "mixed", "held out")}
    lines = [
        (
            f"Prices: {origin}, {len(queries)} queries; {counts['tuning']} of the tuning part, {counts['mixed']} of "
            f"its days or symbols, {counts['held out']} of other days and symbols."
        ),
        "",
        table(HEADER, [scenario_row(name, queries, part) for name in SCENARIOS]),
        "",
        CEILING_TEXT,
        "",
        table(CEILING, ceiling_rows(queries)),
        "",
        f"Random subsets of the twelve vendors, {SUBSETS} per size:",
        "",
        table(("size", "tolerance vote", "product", "worst subset", "any member"), subset_rows(queries)),
    ]
    if LIVE.exists():
        header = ("scenario", "all", "gross", "graded B or better", "interval covers")
        lines += ["", "The same through `judge_quote`:", "", table(header, product_rows(queries))]
    if WEATHER.exists():
        lines += [
            "",
            "Weather, rounds from 20 on:",
            "",
            table(("method", "all", *fusion_weather.TOLERANCE), weather_rows()),
        ]
    else:
        lines += ["", "Weather: not run, the shared data is not present."]
    return "\n".join(lines)


def main() -> None:
    """Print the report, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="a Markdown page whose figures are replaced below its marker line")
    options = parser.parse_args()
    text = report()
    print(text)
    if options.write is not None:
        head, marker, _ = options.write.read_text().partition("<!-- measured -->\n")
        options.write.write_text(f"{head}{marker}\n{text}\n")


if __name__ == "__main__":
    main()
