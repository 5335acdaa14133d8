"""What nodes and edges of the graph carry: finite numbers, texts and booleans, and nothing where nothing is known."""

from __future__ import annotations

import math
from datetime import UTC, datetime

Attribute = str | int | float | bool


def present(**attributes: Attribute | None) -> dict[str, Attribute]:
    """What there is; GraphML knows no null, and no reader expects an infinite number."""
    return {
        name: value
        for name, value in attributes.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def time_text(epoch_s: float | None) -> str | None:
    """Epoch seconds as ISO 8601; None for none, and for what lies beyond the calendar."""
    try:
        return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
