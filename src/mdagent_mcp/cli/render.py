"""Quotes, sources and failures drawn for a terminal, out of the same JSON as the tools give.

The rule of this module: text of vendors and users is printed as it is and never read as markup; what colour says is
said in words or letters too, so that a pipe, a log and a colour-blind reader lose nothing.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdagent_mcp.cli.figures import UNKNOWN, age_text, change_text, price_text, share_text

Shown = Mapping[str, Any]
"""Structured content or a part of it."""

GRADE_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"A": "bold green", "B": "green", "C": "yellow", "D": "dark_orange", "F": "bold red"}
)
_STATE_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"live": "green", "degraded": "yellow", "open": "red", "throttled": "yellow", "exhausted": "yellow"}
)
_VERDICT_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"served": "green", "agrees": "green", "outlier": "bold red", "unusable": "red", "stale": "yellow"}
)


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly; rich would exit with a code of its own."""
        raise BrokenPipeError


def terminal() -> Console:
    """The person's terminal, or the pipe in its place; characters that it cannot show become question marks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return _Terminal(file=sys.stdout, markup=False, highlight=False, emoji=False)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table.

    Args:
        columns: headings.
        right: those whose cells are numbers.
    """
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
    for place, column in enumerate(columns):
        # The first column names the row: it is never cut in two, however narrow the terminal.
        justify: Literal["left", "right"] = "right" if column in right else "left"
        drawn.add_column(column, justify=justify, overflow="fold", no_wrap=place == 0)
    return drawn


def grade_cell(grade: str, score: float | None) -> Text:
    """The letter in its colour, with the score."""
    return Text(grade if score is None else f"{grade} {score:.0f}", style=GRADE_STYLES.get(grade, ""))


def change_cell(percent: float | None) -> Text:
    """A change in green or red."""
    style = "" if not percent else "green" if percent > 0 else "red"
    return Text(change_text(percent), style=style)


def render_quotes(console: Console, shown: Shown) -> None:
    """get_quote: a table, each quote's summary, and what has no answer."""
    if shown["quotes"]:
        right = ("Price", "Change", "Age")
        drawn = table("Symbol", "Price", "Change", "Session", "Age", "Grade", "Sources", right=right)
        for quote in shown["quotes"]:
            drawn.add_row(
                Text(quote["symbol"], style="bold"),
                f"{price_text(quote['price'])} {quote['currency'] or '?'}",
                change_cell(quote["change_percent"]),
                quote["session"],
                age_text(quote["delay_s"]),
                grade_cell(quote["grade"], quote["score"]),
                ", ".join(quote["sources_used"]),
            )
        console.print(drawn)
    for quote in shown["quotes"]:
        console.print(_summary(quote))
        if quote.get("observations"):
            render_evidence(console, quote["observations"])
    render_failures(console, shown)
    usage = shown["usage"]
    cost = f"{usage['vendor_calls']} vendor calls, {usage['cache_hits']} from the cache, {usage['elapsed_ms']:.0f} ms"
    console.print(Text(cost, style="dim"))


def render_failures(console: Console, shown: Shown) -> None:
    """What has no answer, why, and what can be done about it."""
    for failure in shown["failures"]:
        drawn = Table.grid(padding=(0, 2, 0, 0))
        message = failure["message"].removeprefix(f"{failure['symbol']}: ")
        drawn.add_row(Text(failure["symbol"] or "-", style="bold red"), Text(f"{failure['code']}: {message}"))
        if failure["hint"]:
            drawn.add_row("", Text(failure["hint"]))
        if failure.get("retry_after_s") is not None:
            drawn.add_row("", Text(f"ask again in {age_text(failure['retry_after_s'])}", style="dim"))
        console.print(drawn)


def render_evidence(console: Console, voices: list[Shown]) -> None:
    """Every source's own word with what became of it."""
    drawn = table("Source", "Price", "Age", "Weight", "Verdict", right=("Price", "Age", "Weight"))
    for voice in voices:
        verdict = voice["verdict"].replace("_", " ") + (f": {voice['cause']}" if voice["cause"] else "")
        drawn.add_row(
            voice["source"],
            price_text(voice["price"]),
            age_text(voice["delay_s"]),
            share_text(voice["weight"]),
            Text(verdict, style=_VERDICT_STYLES.get(voice["verdict"], "")),
        )
    console.print(drawn)
    for group in dict.fromkeys(voice["upstream_group"] for voice in voices):
        members = [voice["source"] for voice in voices if voice["upstream_group"] == group]
        if len(members) > 1:
            console.print(Text(f"{' and '.join(members)} have one upstream ({group}) and count once", style="dim"))


def render_sources(console: Console, shown: Shown) -> None:
    """source_status: a table, what is the matter with those that are not live, and the whole."""
    right = ("Right", "p50/p95 ms", "Used", "Weight")
    drawn = table("Source", "State", "Right", "p50/p95 ms", "Used", "Weight", "Circuit", right=right)
    for source in shown["sources"]:
        drawn.add_row(
            Text(source["source"], style="bold"),
            Text(source["state"], style=_STATE_STYLES.get(source["state"], "dim")),
            _reliability(source["reliability"]),
            _latency(source["latency_ms"]),
            " ".join(f"{b['used']}/{b['limit']}" for b in source["budget"]) or UNKNOWN,
            share_text(source["weight"]),
            _circuit(source["circuit"]),
        )
    console.print(drawn)
    for source in shown["sources"]:
        for line in _source_notes(source):
            console.print(Text.assemble((source["source"], "bold"), f": {line}"))
    _print_overall(console, shown["overall"])


def _summary(quote: Shown) -> Table:
    parts = [
        f"sure of {price_text(quote['price_low'])} to {price_text(quote['price_high'])}",
        f"rejected: {', '.join(quote['sources_rejected'])}" if quote["sources_rejected"] else "",
        "from the cache" if quote["cached"] else "",
        f"evidence {quote['evidence_id']}",
    ]
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_row(Text(quote["symbol"], style="bold"), Text(quote["summary"]))
    drawn.add_row("", Text("; ".join(part for part in parts if part), style="dim"))
    return drawn


def _reliability(reliability: Shown | None) -> str:
    if reliability is None:
        return UNKNOWN
    return f"{share_text(reliability['estimate'])} (n={reliability['observations']:.0f})"


def _latency(latency: Shown) -> str:
    if latency["p50"] is None:
        return UNKNOWN
    return f"{latency['p50']:.0f}/{latency['p95']:.0f}" if latency["p95"] is not None else f"{latency['p50']:.0f}"


def _circuit(circuit: Mapping[str, str]) -> str:
    open_ones = [f"{level} {state}" for level, state in circuit.items() if state != "closed"]
    return ", ".join(open_ones) or "closed"


def _source_notes(source: Shown) -> list[str]:
    notes = []
    if source["state"] != "live" and source["reason"]:
        notes.append(source["reason"])
    if source["next_retry_at"]:
        notes.append(f"tried again at {source['next_retry_at']}")
    if source["last_error"] and source["last_error"] != source["reason"]:
        notes.append(f"last error: {source['last_error']}")
    if source["successors"]:
        notes.append(f"use instead: {', '.join(source['successors'])}")
    notes.extend(source["learned"])
    return notes


def _print_overall(console: Console, overall: Shown) -> None:
    memory = overall["memory"]
    trouble = "" if overall["cache_state"] == "ok" else f" ({overall['cache_state']})"
    console.print(
        f"Answered in 24 h: {share_text(overall['availability_24h'])}, from the cache: "
        f"{share_text(overall['cache_hit_rate'])}{trouble}. Memory {memory['state']}: {memory['sessions']} sessions, "
        f"{memory['symbols']} symbols, {memory['observations']} observations.",
        style="dim",
    )
