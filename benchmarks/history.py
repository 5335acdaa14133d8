"""How well histories are graded and repaired, and how fast: one command.

    python benchmarks/history.py [--per-kind 60] [--write]

Part (a): thirty kinds of faults laid over real daily bars (`../shared/market_data/daily`; the simulated market where
they are not there), graded and compared with labels from the hidden truth. Part (b): real errors of a real vendor with
their repaired twins (`../shared/market_data/yahoo_errors`; left out, and said so, where they are not there). Part (c):
the time to judge 5,000 bars, against the time to read the same bars' prices once.

`--write` puts the tables into `docs/benchmarks/history.md`. The held-out side of (a) is run with a frozen seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from history_quality.faults import HELD_OUT_KINDS, TUNED
from history_quality.grading import HELD_OUT_SEED, TUNING_SEED, measure
from history_quality.real_errors import FOLDER, check_pair, controls, pairs
from history_quality.report import control_rows, injected_table, page, real_table, timing_table
from history_quality.timing import measure_times
from history_quality.worlds import available

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "history.md"


def main() -> None:
    """Run all parts and print them; write the page when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-kind", type=int, default=60, help="cases of every kind (default 60)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    count = arguments.per_kind
    injected = injected_table(
        {
            "tuning: symbols, years and kinds that were looked at": measure(TUNED, count, TUNING_SEED, tuning=True),
            "held out: other symbols, years and seed": measure(TUNED, count, HELD_OUT_SEED, tuning=False),
            "held out, kinds never tuned on": measure(HELD_OUT_KINDS, 3 * count, HELD_OUT_SEED, tuning=False),
        }
    )
    real = (
        real_table([check_pair(pair) for pair in pairs()]) + control_rows(controls())
        if FOLDER.is_dir()
        else f"not measured: no files at {FOLDER}\n"
    )
    text = page(injected, real, timing_table(measure_times()), real_bars=available(), per_kind=count)
    print(text)
    if arguments.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
