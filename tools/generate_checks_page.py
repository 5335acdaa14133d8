"""Write `docs/checks.md` from the rules of the consensus. A test compares the page with them."""

from __future__ import annotations

from pathlib import Path

from mdagent_mcp.consensus import history_checks, rules
from mdagent_mcp.domain.failures import TRAITS
from mdagent_mcp.domain.quality import GRADE_FLOORS

TARGET = Path(__file__).parents[1] / "docs" / "checks.md"

INTRODUCTION = """\
# Grades, checks and failure codes

Written by `python tools/generate_checks_page.py` from the code.

A grade is the letter of the weakest dimension. A failed check caps its dimension; a check that could not run is listed
under `not_run` by `explain_quality` and never reads as passed.
"""


def page() -> str:
    """The page."""
    grades = " · ".join(f"{grade} from {floor:g}" for floor, grade in GRADE_FLOORS)
    parts = [INTRODUCTION, f"Grades by score: {grades}.\n"]
    parts.append(_table("Checks of a quote", ((r.id, r.dimension, r.description) for r in rules.RULES)))
    parts.append(_table("Checks of a history", ((r.id, r.dimension, r.description) for r in history_checks.RULES)))
    rows = "\n".join(f"| `{kind}` | {traits.meaning} | {traits.hint} |" for kind, traits in TRAITS.items())
    parts.append(f"## Failure codes\n\n| code | meaning | what to do |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _table(title: str, rows: object) -> str:
    lines = "\n".join(f"| `{name}` | {dimension} | {text} |" for name, dimension, text in rows)  # type: ignore[attr-defined]
    return f"## {title}\n\n| check | dimension | passes when |\n|---|---|---|\n{lines}\n"


def main() -> None:
    """Write the page."""
    TARGET.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
