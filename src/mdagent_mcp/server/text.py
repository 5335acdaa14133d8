"""Answers as compact text: what a model must know when its host shows it nothing else.

The rule of this module: one line per symbol, source or fact; price, currency, time, age, grade and summary in every
one; a failure tells what to do and forbids estimating. It is built from the same JSON as the structured content, so
the two channels cannot disagree.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mdagent_mcp.server.arguments import Detail
from mdagent_mcp.server.views import BAR_COLUMNS, sentence

Shown = Mapping[str, Any]
"""Structured content or a part of it."""

_ALL_BARS: Final = 30
_FIRST_BARS: Final = 3
_LAST_BARS: Final = 12
_ENTRIES: Final = 8


def quotes_text(shown: Shown) -> str:
    """get_quote: a line per quote, a line per failure, and what it cost."""
    lines = [line for quote in shown["quotes"] for line in _quote_lines(quote)]
    lines += [failure_text(failure) for failure in shown["failures"]]
    return "\n".join([*lines, _usage(shown["usage"])])


def history_text(shown: Shown, detail: Detail = "brief") -> str:
    """get_history: the verdict, the figures, what is wrong, and some or (`full`) all of the bars."""
    lines = [
        _verdict(shown),
        _stats(shown["summary_stats"]),
        _coverage(shown),
        *_entries("Issues", [_issue(i) for i in shown["issues"]]),
        *_entries("Repaired", [_repair(r) for r in shown["repairs"]]),
        f"Sources: {_sources(shown)}. Evidence {shown['evidence_id']}.",
        *_bars(shown, detail),
    ]
    return "\n".join([*lines, _usage(shown["usage"])])


def failure_text(failure: Shown) -> str:
    """One failure with what can be done about it."""
    sources = ", ".join(f"{source}: {code}" for source, code in failure["sources"].items())
    retry = failure.get("retry_after_s")
    parts = [
        f"{failure['symbol'] or 'Request'}: no answer ({failure['code']}). {sentence(failure['message'])}",
        f"Hint: {sentence(failure['hint'])}" if failure["hint"] else "",
        f"Sources: {sources}." if sources else "",
        "" if retry is None else f"Retry after {_figure(retry)} s.",
    ]
    return " ".join(part for part in parts if part)


def status_text(shown: Shown) -> str:
    """source_status: a line per source and one for the whole."""
    return "\n".join([*(_source(source) for source in shown["sources"]), _overall(shown["overall"])])


def explanation_text(shown: Shown) -> str:
    """explain_quality: verdict, what limits it, what would raise it, dissent, advice."""
    limit, checks, market = shown["limited_by"], shown["checks"], shown["market"]
    lines = [
        f"{shown['symbol']} grade {shown['grade']} ({_figure(shown['score'])}): {shown['headline']}",
        f"Limited by {limit['dimension']} ({_figure(limit['score'])}): {limit['because']}".rstrip(": ")
        + (f". Raises to {limit['raises_to']}." if limit["raises_to"] else "."),
        "Dimensions: " + ", ".join(f"{name} {_figure(score)}" for name, score in shown["dimensions"].items()) + ".",
        *(_observation(voice) for voice in shown["evidence"]),
        *(f"Dissent: {sentence}" for sentence in shown["dissent"]),
        *(f"No answer from {source}: {reason}" for source, reason in shown["unanswered"].items()),
        *(f"Failed check {c['rule']} ({c['severity']}): {c['detail']}" for c in checks["failed"]),
        *_entries("Not checked", [f"{c['rule']} ({c['detail']})" for c in checks["not_run"]]),
        f"Passed checks: {', '.join(c['rule'] for c in checks['passed']) or 'none'}.",
        *(f"Learned {name}: {sentence}" for name, sentence in shown["learned"].items()),
        "Use: " + "; ".join(f"{purpose}: {advice}" for purpose, advice in shown["use"].items()) + ".",
        f"Market {market['state']}, price of the {market['session']} session, judged {market['as_of']}.",
        f"Evidence {shown['evidence_id']}.",
    ]
    return "\n".join(lines)


def bars_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Bars as CSV with a header line; an absent volume is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(BAR_COLUMNS)
    writer.writerows(rows)
    return out.getvalue()


def _quote_lines(quote: Shown) -> list[str]:
    time = quote["price_time"] or "time unknown"
    age = "age unknown" if quote["delay_s"] is None else f"{_figure(quote['delay_s'])} s delay"
    main = (
        f"{quote['symbol']} {_figure(quote['price'])} {quote['currency'] or '(currency unknown)'}"
        f" | grade {quote['grade']} ({_figure(quote['score'])}) | {quote['session']} {time}, {age}"
        f" | {quote['summary']} | consensus interval {_figure(quote['price_low'])} to {_figure(quote['price_high'])}"
    )
    facts = [main, *_facts(quote), f"from {_sources(quote)}{', cached' if quote['cached'] else ''}"]
    lines = [" | ".join([*facts, f"evidence {quote['evidence_id']}"])]
    return lines + [f"  {_observation(voice)}" for voice in quote.get("observations", ())]


def _facts(quote: Shown) -> list[str]:
    labels = ("open", "high", "low", "previous_close", "volume", "bid", "ask")
    facts = [f"{label} {_figure(quote[label])}" for label in labels if quote[label] is not None]
    if quote["change"] is not None:
        percent = "" if quote["change_percent"] is None else f" ({quote['change_percent']:+g} %)"
        facts.insert(0, f"change {_figure(quote['change'])}{percent}")
    return [", ".join(facts)] if facts else []


def _observation(voice: Shown) -> str:
    currency = f" {voice['currency']}" if voice.get("currency") else ""
    delay = "" if voice["delay_s"] is None else f", {_figure(voice['delay_s'])} s delay"
    cause = f" ({voice['cause']})" if voice["cause"] else ""
    group = "" if voice["upstream_group"] == voice["source"] else f" [{voice['upstream_group']}]"
    time = voice["event_time"] or "unknown time"
    return (
        f"{voice['source']}{group} {_figure(voice['price'])}{currency} at {time}{delay}, "
        f"weight {_figure(voice['weight'])}: {voice['verdict']}{cause}"
    )


def _verdict(shown: Shown) -> str:
    bars = shown["bars"]
    span = f"{len(bars)} bars {bars[0][0]} to {bars[-1][0]}" if bars else "no bars"
    return (
        f"{shown['symbol']} {shown['interval']} bars in {shown['currency'] or 'unknown currency'}, "
        f"adjusted: {shown['adjustment']}, exchange zone {shown['timezone']}, {span}. "
        f"Grade {shown['grade']} ({_figure(shown['score'])}). {shown['summary']}"
    )


def _stats(stats: Shown) -> str:
    shown = [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in stats.items() if value is not None]
    return f"Whole series (first and last are closes): {', '.join(shown) or 'empty'}."


def _coverage(shown: Shown) -> str:
    coverage = shown["coverage"]
    expected = "an unknown number" if coverage["expected"] is None else coverage["expected"]
    missing = coverage["missing"]
    tail = f"; missing {', '.join(missing[-_ENTRIES:])}{_more(missing)}" if missing else ""
    partial = " The last bar is not finished." if shown["partial_last_bar"] else ""
    return f"Coverage: {coverage['present']} of {expected} expected bars{tail}.{partial}"


def _issue(issue: Shown) -> str:
    return f"{issue['rule']} ({issue['severity']}){_at(issue)}: {issue['detail']}"


def _repair(repair: Shown) -> str:
    before, after = _figure(repair["before"]), _figure(repair["after"])
    span = f" to {repair['until']} ({repair['bars']} bars)" if "until" in repair else ""
    return f"{repair['field']}{_at(repair)}{span} {before} -> {after}, {repair['rule']}: {repair['why']}"


def _at(entry: Shown) -> str:
    return f" at {entry['time']}" if entry["time"] else ""


def _entries(title: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    return [f"{title} ({len(entries)}): {'; '.join(entries[:_ENTRIES])}{_more(entries)}."]


def _more(entries: Sequence[Any]) -> str:
    return f" and {len(entries) - _ENTRIES} more" if len(entries) > _ENTRIES else ""


def _bars(shown: Shown, detail: Detail) -> list[str]:
    bars = shown["bars"]
    if detail == "full" or len(bars) <= _ALL_BARS:
        kept, left_out = bars_csv(bars).rstrip("\n"), 0
    else:
        left_out = len(bars) - _FIRST_BARS - _LAST_BARS
        gap = [f"... {left_out} bars left out of this text"]
        kept = bars_csv([*bars[:_FIRST_BARS], gap, *bars[-_LAST_BARS:]]).rstrip("\n")
    lines = [kept]
    if left_out:
        lines.append("All shown bars: structured content, or ask with detail=full.")
    if shown["truncated"]:
        lines.append(f"Older bars are left out; the whole series: resource {shown['resource_uri']} (CSV).")
    return lines


def _source(source: Shown) -> str:
    latency, reliability = source["latency_ms"], source["reliability"]
    parts = [
        f"{source['source']} ({source['title']}): {source['state']} since {source['since']}",
        source["reason"],
        f"next retry {source['next_retry_at']}" if source["next_retry_at"] else "",
        "" if latency["p50"] is None else f"latency p50 {_figure(latency['p50'])} ms, p95 {_figure(latency['p95'])} ms",
        ""
        if reliability is None
        else f"reliability {_figure(reliability['estimate'])} (at least {_figure(reliability['lower_bound'])} "
        f"after {_figure(reliability['observations'])} observations)",
        *(f"{b['used']}/{b['limit']} calls per {b['window']}" for b in source["budget"]),
        f"weight {_figure(source['weight'])}, cost {_figure(source['cost_per_call'])} a call",
        f"offers {', '.join(source['capabilities'])}" if source["capabilities"] else "",
        "circuit " + ", ".join(f"{level} {state}" for level, state in source["circuit"].items())
        if source["circuit"]
        else "",
        f"last success {source['last_success_at']}" if source["last_success_at"] else "",
        f"last error {source['last_error']}" if source["last_error"] else "",
        f"use instead {', '.join(source['successors'])}" if source["successors"] else "",
        *(sentence.rstrip(".") for sentence in source["learned"]),
    ]
    return "; ".join(part for part in parts if part)


def _overall(overall: Shown) -> str:
    memory = overall["memory"]
    return (
        f"Overall: availability in 24 h {_share(overall['availability_24h'])}, "
        f"cache hits {_share(overall['cache_hit_rate'])}{_trouble(overall['cache_state'])}; "
        f"memory {memory['state']}: {memory['sessions']} sessions, "
        f"{memory['symbols']} symbols, {memory['observations']} observations."
        + ("" if overall["settings"] == "ok" else f" New settings are not in effect: {overall['settings']}")
    )


def _trouble(state: str) -> str:
    return "" if state == "ok" else f" ({state})"


def _share(value: float | None) -> str:
    return "not known yet" if value is None else f"{value * 100:.1f} %"


def _sources(shown: Shown) -> str:
    used = ", ".join(shown["sources_used"]) or "none"
    return used + (f" (rejected: {', '.join(shown['sources_rejected'])})" if shown["sources_rejected"] else "")


def _usage(usage: Shown) -> str:
    return (
        f"[{usage['vendor_calls']} vendor calls, {usage['cache_hits']} cache hits, {_figure(usage['elapsed_ms'])} ms]"
    )


def _figure(value: float | None) -> str:
    """A number without exponent or trailing zeros."""
    if value is None:
        return "unknown"
    text = f"{value:.12f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:.0f}"
    return "0" if text in {"-0", ""} else text
