"""Bring the generated parts of `docs/quality.md` up to date with the code. A test compares the page with them.

    python tools/generate_checks_page.py

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is replaced; the rest is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mdagent_mcp.config.settings import GradingSettings
from mdagent_mcp.consensus import history_checks, rules
from mdagent_mcp.consensus.history_reasons import REASONS
from mdagent_mcp.consensus.rules import Rule
from mdagent_mcp.domain.failures import TRAITS
from mdagent_mcp.domain.quality import GRADE_FLOORS

TARGET = Path(__file__).parents[1] / "docs" / "quality.md"
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str) -> str:
    """The page with its generated parts as the code says.

    Raises:
        KeyError: for a part that is none.
    """
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match['name']]()}\n{match[3]}", text)


def _grades() -> str:
    return " · ".join(f"**{grade}** from {floor:g}" for floor, grade in GRADE_FLOORS) + "."


def _settings() -> str:
    fields = GradingSettings.model_fields.items()
    rows = [(f"`{name}`", f"{field.default:g}", field.description) for name, field in fields]
    return _table(("setting in `[grading]`", "default", "meaning"), rows)


def _rules(found: Iterable[Rule]) -> str:
    rows = [
        (f"`{r.id}`", r.dimension, r.severity or "by extent", r.description, r.reason or REASONS[r.id]) for r in found
    ]
    return _table(("check", "dimension", "severity", "passes when", "why"), rows)


def _failures() -> str:
    return _table(("code", "meaning", "what to do"), ((f"`{kind}`", t.meaning, t.hint) for kind, t in TRAITS.items()))


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    cells = [list(map(str, head)), *(list(map(str, row)) for row in rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


PARTS = {
    "grades": _grades,
    "settings": _settings,
    "checks of a quote": lambda: _rules(rules.RULES),
    "checks of a history": lambda: _rules(history_checks.RULES),
    "failure codes": _failures,
}


def main() -> None:
    """Rewrite the page."""
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
