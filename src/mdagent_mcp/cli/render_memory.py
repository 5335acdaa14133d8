"""`memory stats` as tables."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from mdagent_mcp.cli.figures import UNKNOWN, share_text, time_text
from mdagent_mcp.cli.render import Shown, table


def render_memory(console: Console, shown: Shown) -> None:
    """What was learned in a page."""
    if not shown["exists"]:
        console.print(Text(f"Nothing is remembered yet: there is no {shown['file']}."))
        return
    totals, rows = shown["totals"], shown["rows"]
    console.print(Text(f"Memory {shown['file']}", style="bold"))
    console.print(
        f"{totals['sessions']} sessions, {totals['symbols']} symbols, {totals['observations']} observations, "
        f"{rows['evidence']} kept answers."
    )
    _render_sources(console, shown)
    _render_findings(console, shown)
    _render_sessions(console, shown)


def _render_sources(console: Console, shown: Shown) -> None:
    if not shown["sources"]:
        return
    drawn = table("Source", "Right", "At least", "n", "p50/p95 ms", "Faults", right=("Right", "At least", "n"))
    for source in shown["sources"]:
        latency = source["latency_ms"]
        faults = sorted(source["faults"].items(), key=lambda item: -item[1])
        drawn.add_row(
            Text(source["source"], style="bold"),
            share_text(source["right"]),
            share_text(source["lower_bound"]),
            f"{source['observations']}",
            UNKNOWN if latency["p50"] is None else f"{latency['p50']:.0f}/{latency['p95']:.0f}",
            ", ".join(f"{fault} {n}" for fault, n in faults[:4]) or UNKNOWN,
        )
    console.print(drawn)


def _render_findings(console: Console, shown: Shown) -> None:
    for pattern in shown["patterns"]:
        evidence = f" (evidence {', '.join(pattern['evidence'])})" if pattern["evidence"] else ""
        console.print(Text.assemble(("recurs", "yellow"), f"  {pattern['told']}{evidence}"))
    for pair in shown["copies"]:
        console.print(
            Text.assemble(
                ("copies", "yellow"), f"  {' and '.join(pair['sources'])} share {share_text(pair['share'])} of errors"
            )
        )
    if shown["biases"]:
        right = ("Bias bp", "+/- bp", "Ratio", "n")
        drawn = table("Source", "Field", "Of", "Bias bp", "+/- bp", "Ratio", "n", right=right)
        for bias in shown["biases"]:
            drawn.add_row(
                Text(bias["source"], style="bold"),
                bias["field"],
                bias["scope"].partition(":")[2],
                f"{bias['bias_bp']:+.2f}",
                f"{bias['deviation_bp']:.2f}",
                f"{bias['ratio']:.4g}",
                f"{bias['samples']}",
            )
        console.print(drawn)


def _render_sessions(console: Console, shown: Shown) -> None:
    if not shown["sessions"]:
        return
    right = ("Requests", "A", "Loss", "Early loss", "Calls per A")
    drawn = table("Session", "Requests", "A", "Loss", "Early loss", "Calls per A", right=right)
    for session in shown["sessions"]:
        drawn.add_row(
            time_text(session["started_at"][:19]),
            f"{session['requests']}",
            share_text(session["share_a"]),
            _figure(session["loss_per_request"]),
            _figure(session["early"]["loss_per_request"]),
            _figure(session["calls_per_a_answer"]),
        )
    console.print(drawn)


def _figure(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
