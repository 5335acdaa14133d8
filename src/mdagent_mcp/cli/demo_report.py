"""What the demo prints: each step with what was asked, what came back, and what to look at.

The rule of this module: it shows what the server answered and what the simulated market knows; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from mdagent_mcp.cli.figures import price_text
from mdagent_mcp.cli.render import Shown, grade_cell, render_failures, render_sources, table
from mdagent_mcp.cli.render_explanation import render_explanation
from mdagent_mcp.cli.render_history import render_history

_VERDICTS: Final = {"served": "green", "agrees": "green", "outlier": "bold red", "unusable": "bold red"}


@dataclass(frozen=True, slots=True)
class Compared:
    """An answered price beside the truth.

    Attributes:
        quote: as the server answered it.
        truth: the simulated market's price at the answer's own time.
        difference_bp: of the answer from the truth, in basis points.
    """

    quote: Shown
    truth: float
    difference_bp: float


class Report:
    """Prints the demo as it goes.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0

    def begin(self, faults: Sequence[str]) -> None:
        """Say what this is, loudly."""
        story = (
            "A simulated market answers in the formats of four real vendors, on this machine and without any key. "
            "A real mdagent-mcp server asks them and is asked over MCP, as Claude Desktop would ask it."
        )
        lines = [
            "ALL PRICES BELOW ARE SIMULATED. Nothing here is a real quotation.",
            "",
            story,
            *(f"Built in: {fault}" for fault in faults),
        ]
        self._console.print(Panel("\n".join(lines), title="mdagent-mcp demo", border_style="yellow"))

    def step(self, asked: str, looking_at: str = "") -> None:
        """Begin a step: what is asked of the server."""
        self._step += 1
        self._console.print()
        self._console.print(Text.assemble((f"{self._step}. ", "bold cyan"), (asked, "bold")))
        if looking_at:
            self._console.print(Text(looking_at, style="dim"))

    def connected(self, server: str, protocol: str, tools: Sequence[str]) -> None:
        """Show who answered."""
        self._console.print(Text(f"{server} speaks MCP {protocol}; tools: {', '.join(tools)}"))

    def quotes(self, compared: Sequence[Compared], shown: Shown) -> None:
        """Show answered prices beside the truth, every source's own word, and what has no answer."""
        right = ("Answered", "Truth", "Off by")
        drawn = table("Symbol", "Answered", "Truth", "Off by", "Grade", "Sources used", right=right)
        for row in compared:
            drawn.add_row(
                Text(row.quote["symbol"], style="bold"),
                f"{price_text(row.quote['price'])} {row.quote['currency'] or ''}",
                price_text(row.truth),
                f"{row.difference_bp:.1f} bp",
                grade_cell(row.quote["grade"], row.quote["score"]),
                ", ".join(row.quote["sources_used"]),
            )
        self._console.print(drawn)
        for row in compared:
            self._console.print(Text.assemble((row.quote["symbol"], "bold"), f"  {row.quote['summary']}"))
            for voice in row.quote["observations"]:
                self._voice(voice)
        render_failures(self._console, shown)

    def history(self, shown: Shown) -> None:
        """Show a series."""
        render_history(self._console, shown)

    def closes(self, difference_bp: float) -> None:
        """Say how far the closes are from the truth."""
        self._console.print(Text(f"closes off the true ones by {difference_bp:.1f} bp at most", style="green"))

    def sources(self, shown: Shown) -> None:
        """Show what the sources are doing."""
        render_sources(self._console, shown)

    def explanation(self, shown: Shown) -> None:
        """Show why a grade is what it is."""
        render_explanation(self._console, shown)

    def end(self, failed: str, wrong: str, elapsed_s: float) -> None:
        """Say what was seen and what to do next."""
        lines = [
            f"Seen in {elapsed_s:.1f} s: {failed}; {wrong}; the answered prices were right all the same.",
            "",
            "Real prices, on this terminal:  mdagent-mcp quote AAPL MSFT",
            "For Claude Desktop:             see claude_desktop_config.example.json",
            "Simulated prices once more:     mdagent-mcp quote AAPL --sandbox",
        ]
        self._console.print()
        self._console.print(Panel("\n".join(lines), title="simulated prices: done", border_style="green"))

    def _voice(self, voice: dict[str, Any]) -> None:
        cause = f": {voice['cause']}" if voice["cause"] else ""
        style = _VERDICTS.get(voice["verdict"], "yellow")
        self._console.print(
            Text(f"  {voice['source']:<8} {price_text(voice['price']):>12}  ")
            + Text(f"{voice['verdict'].replace('_', ' ')}{cause}", style=style)
        )
