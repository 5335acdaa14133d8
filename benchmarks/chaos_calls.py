"""What agents ask in a chaos run, and what became of it."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from chaos_plan import SOURCES

SYMBOLS: Final = tuple(f"SIM{n:03}" for n in range(48))
NAMELESS: Final = ("ZZZZ", "QQXQ", "XYZZY")
"""Symbols that no vendor knows."""
SERIES: Final = (("1d", "1mo"), ("1d", "6mo"), ("5m", "1d"), ("1wk", "1y"))
"""Interval and period of the histories that are asked for."""
WRONG_ARGUMENTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("get_quote", {}),
    ("get_quote", {"symbols": ["../../etc/passwd"]}),
    ("get_quote", {"symbols": ["AAPL"], "min_grade": "Z"}),
    ("get_quote", {"symbols": ["AAPL"], "max_age_s": -1}),
    ("get_quote", {"symbols": ["AAPL"] * 101, "colour": "red"}),
    ("get_history", {"symbol": "SIM001", "interval": "7m"}),
    ("get_history", {"symbol": "SIM001", "start": "2026-13-41"}),
    ("source_status", {"source": "nobody"}),
    ("explain_quality", {}),
    ("explain_quality", {"evidence_id": "q-nothing"}),
)


@dataclass
class Asked:
    """One tool call.

    Attributes:
        tool: name.
        arguments: as sent.
        started: true monotonic seconds.
        ended: the same; None while it runs.
        content: the structured content.
        is_error: as the result says.
        text: its first text block.
        raised: what escaped instead of a result; empty when nothing did.
        cancelled: the asker gave up on purpose.
        give_up_s: after how long it does; None for never.
        denied: by symbol that no vendor knows and that was given a price: sources that said they do not know it.
    """

    tool: str
    arguments: dict[str, Any]
    started: float = 0.0
    ended: float | None = None
    content: dict[str, Any] = field(default_factory=dict)
    is_error: bool = False
    text: str = ""
    raised: str = ""
    cancelled: bool = False
    give_up_s: float | None = None
    denied: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def is_plain_quote(self) -> bool:
        """Whether it asks for current prices as they are, of whoever has them."""
        return self.tool == "get_quote" and set(self.arguments) == {"symbols", "detail"}


def draw_call(rng: random.Random, evidence: deque[str]) -> Asked:
    """The next call."""
    kind = rng.random()
    if kind < 0.80:
        asked = Asked("get_quote", _quote_arguments(rng))
    elif kind < 0.88:
        interval, period = rng.choice(SERIES)
        asked = Asked("get_history", {"symbol": _symbol(rng), "interval": interval, "period": period})
    elif kind < 0.92:
        asked = Asked("source_status", {"source": rng.choice(SOURCES)} if rng.random() < 0.5 else {})
    elif kind < 0.97:
        named = evidence and rng.random() < 0.6
        asked = Asked("explain_quality", {"evidence_id": rng.choice(evidence)} if named else {"symbol": _symbol(rng)})
    else:
        tool, arguments = rng.choice(WRONG_ARGUMENTS)
        asked = Asked(tool, dict(arguments))
    if rng.random() < 0.03:
        asked.give_up_s = rng.choice((0.0, 0.05, 0.3, 2.0))
    return asked


def _quote_arguments(rng: random.Random) -> dict[str, Any]:
    count = rng.choice((1, 1, 1, 1, 2, 3, 5)) if rng.random() < 0.99 else 40
    symbols = list(dict.fromkeys(_symbol(rng) for _ in range(count)))
    if rng.random() < 0.04:
        symbols.append(rng.choice(NAMELESS))
    arguments: dict[str, Any] = {"symbols": symbols, "detail": "full"}
    wish = rng.random()
    if wish < 0.06:
        arguments["min_grade"] = rng.choice("ABCD")
    elif wish < 0.12:
        arguments["max_age_s"] = rng.choice((0, 1, 30, 600))
    elif wish < 0.16:
        arguments["sources"] = rng.sample(SOURCES, rng.randint(1, 3))
    return arguments


def _symbol(rng: random.Random) -> str:
    """Few are asked for often."""
    return (
        SYMBOLS[min(int(rng.paretovariate(0.9)) - 1, len(SYMBOLS) - 1)] if rng.random() < 0.6 else rng.choice(SYMBOLS)
    )


def draw_quiet_call(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A call that is neither wrong nor given up, for a run in real time."""
    while True:
        asked = draw_call(rng, deque())
        if (asked.tool, asked.arguments) not in WRONG_ARGUMENTS:
            return asked.tool, asked.arguments
