"""Every test that the security page names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_named_test_exists() -> None:
    """File and function; a test that is renamed is renamed here."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    missing = [
        f"{file}::{function}"
        for file, function in named
        if not (ROOT / file).is_file() or f"def {function}(" not in (ROOT / file).read_text(encoding="utf-8") + "def ("
    ]
    assert missing == []
    assert len(named) > 25


def test_every_threat_has_a_test() -> None:
    """No row without one."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert [row for row in rows if "`tests/" not in row and "above" not in row] == []
