"""A history drawn for a terminal: its shape, its figures, what is wrong with it, its newest bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from mdagent_mcp.cli.figures import UNKNOWN, price_text, sparkline, time_text, volume_text
from mdagent_mcp.cli.render import Shown, change_cell, grade_cell, render_evidence, table
from mdagent_mcp.domain.prices import Interval

_LAST_BARS: Final = 10
_ENTRIES: Final = 8
_CLOSE: Final = 4
_SEVERITY_STYLES: Final = {"info": "dim", "minor": "yellow", "major": "dark_orange", "fatal": "bold red"}


def render_history(console: Console, shown: Shown) -> None:
    """get_history: headline, line of closes, figures, coverage, issues, repairs, last bars."""
    bars = shown["bars"]
    span = f", {time_text(bars[0][0])} to {time_text(bars[-1][0])}" if bars else ""
    console.print(
        Text.assemble(
            (shown["symbol"], "bold"),
            f"  {shown['interval']} bars in {shown['currency'] or 'an unknown currency'}{span}  ",
            grade_cell(shown["grade"], shown["score"]),
        )
    )
    console.print(Text(sparkline([bar[_CLOSE] for bar in bars], console.width - 2), style="cyan"))
    _print_figures(console, shown)
    console.print(Text(shown["summary"]))
    _print_issues(console, shown["issues"])
    _print_repairs(console, shown["repairs"])
    _print_bars(console, bars, intraday=Interval(shown["interval"]).is_intraday)
    if shown.get("observations"):
        render_evidence(console, shown["observations"])
    rejected = f"; rejected: {', '.join(shown['sources_rejected'])}" if shown["sources_rejected"] else ""
    used = ", ".join(shown["sources_used"])
    console.print(Text(f"from {used}{rejected}; evidence {shown['evidence_id']}", style="dim"))


def _print_figures(console: Console, shown: Shown) -> None:
    stats = shown["summary_stats"]
    console.print(
        Text.assemble(
            f"first {price_text(stats['first'])}  last {price_text(stats['last'])}  ",
            change_cell(stats["change_percent"]),
            f"  low {price_text(stats['low'])}  high {price_text(stats['high'])}"
            f"  volume {volume_text(stats['average_volume'])} a bar",
        )
    )
    coverage = shown["coverage"]
    expected = UNKNOWN if coverage["expected"] is None else coverage["expected"]
    missing = coverage["missing"]
    parts = [
        f"{coverage['present']} of {expected} expected bars",
        f"missing {', '.join(map(time_text, missing[-_ENTRIES:]))}{_more(missing)}" if missing else "",
        f"adjusted: {shown['adjustment']}",
        "the last bar is not finished" if shown["partial_last_bar"] else "",
        "older bars left out" if shown["truncated"] else "",
    ]
    console.print(Text("; ".join(part for part in parts if part), style="dim"))


def _print_issues(console: Console, issues: Sequence[Shown]) -> None:
    for issue in issues[:_ENTRIES]:
        at = f" {time_text(issue['time'])}" if issue["time"] else ""
        style = _SEVERITY_STYLES.get(issue["severity"], "")
        console.print(
            Text.assemble((issue["severity"], style), f" {issue['rule'].replace('_', ' ')}{at}: {issue['detail']}")
        )
    if len(issues) > _ENTRIES:
        console.print(Text(f"{_more(issues).strip()} issues", style="dim"))


def _print_repairs(console: Console, repairs: Sequence[Shown]) -> None:
    for repair in repairs[:_ENTRIES]:
        before, after = price_text(repair["before"]), price_text(repair["after"])
        span = f" to {time_text(repair['until'])}" if "until" in repair else ""
        console.print(
            Text.assemble(
                ("repaired", "cyan"), f" {time_text(repair['time'])}{span} {repair['field']} {before} to {after}: "
            )
            + Text(repair["why"])
        )
    if len(repairs) > _ENTRIES:
        console.print(Text(f"{_more(repairs).strip()} repairs", style="dim"))


def _print_bars(console: Console, bars: Sequence[Sequence[Any]], *, intraday: bool) -> None:
    figures = ("Open", "High", "Low", "Close", "Volume")
    drawn = table("Time (UTC)" if intraday else "Date", *figures, right=figures)
    for time, *prices, volume in bars[-_LAST_BARS:]:
        drawn.add_row(time_text(time), *(price_text(price) for price in prices), volume_text(volume))
    if len(bars) > _LAST_BARS:
        console.print(Text(f"the last {_LAST_BARS} of {len(bars)} bars:", style="dim"))
    console.print(drawn)


def _more(entries: Sequence[Any]) -> str:
    return f" and {len(entries) - _ENTRIES} more" if len(entries) > _ENTRIES else ""
