"""An explanation drawn for a terminal: the verdict, what limits it, the evidence, the advice."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdagent_mcp.cli.figures import meter
from mdagent_mcp.cli.render import GRADE_STYLES, Shown, grade_cell, render_evidence
from mdagent_mcp.domain.quality import Grade, grade_of

_METER_WIDTH: Final = 24


def render_explanation(console: Console, shown: Shown) -> None:
    """explain_quality in the order a person needs it: verdict, limit, dimensions, evidence, checks, advice."""
    console.print(
        Text.assemble((shown["symbol"], "bold"), "  ", grade_cell(shown["grade"], shown["score"]), "  ")
        + Text(shown["headline"])
    )
    _print_limit(console, shown["limited_by"])
    console.print(_dimensions(shown))
    if shown["evidence"]:
        render_evidence(console, shown["evidence"])
    for sentence in shown["dissent"]:
        console.print(Text.assemble(("dissent", "red"), f"  {sentence}"))
    for source, reason in shown["unanswered"].items():
        console.print(Text.assemble(("no answer", "yellow"), f"  {source}: {reason}"))
    _print_checks(console, shown["checks"])
    for name, sentence in shown["learned"].items():
        console.print(Text.assemble(("learned", "cyan"), f"  {name.replace('_', ' ')}: {sentence}"))
    for purpose, advice in shown["use"].items():
        console.print(Text.assemble(("use", "bold"), f"  {purpose.replace('_', ' ')}: {advice}"))
    market = shown["market"]
    console.print(
        Text(
            f"market {market['state']}, price of the {market['session']} session, judged {market['as_of']}; "
            f"evidence {shown['evidence_id']}",
            style="dim",
        )
    )


def _print_limit(console: Console, limit: Shown) -> None:
    if limit["because"]:
        console.print(Text(f"limited by {limit['dimension']}: {limit['because']}"))
    if limit["raises_to"]:
        names_its_goal = limit["raises_to"].partition(" ")[0] in {*Grade, "a"} and " with " in limit["raises_to"]
        console.print(Text(f"would rise {'to' if names_its_goal else 'with'} {limit['raises_to']}"))


def _dimensions(shown: Shown) -> Table:
    drawn = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for name, score in shown["dimensions"].items():
        mark = "<- decides" if name == shown["limited_by"]["dimension"] else ""
        drawn.add_row(name, Text(meter(score, _METER_WIDTH), style=GRADE_STYLES[grade_of(score)]), f"{score:.0f}", mark)
    return drawn


def _print_checks(console: Console, checks: Shown) -> None:
    for check in checks["failed"]:
        console.print(
            Text.assemble(("failed", "red"), f"  {_words(check['rule'])} ({check['severity']}): {check['detail']}")
        )
    if checks["not_run"]:
        names = ", ".join(_words(check["rule"]) for check in checks["not_run"])
        console.print(Text.assemble(("not checked", "yellow"), f"  {names}"))
    if checks["passed"]:
        names = ", ".join(_words(check["rule"]) for check in checks["passed"])
        console.print(Text.assemble(("passed", "green"), f"  {names}"))


def _words(rule: str) -> str:
    return rule.replace("_", " ")
