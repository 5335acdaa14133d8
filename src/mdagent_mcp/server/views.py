"""Answers as JSON: the public contract's field names, units and spellings, for MCP and `--json` alike.

The rule of this module: it shows and never judges. What an answer does not know is null, never 0; every price is
the answer's own value, freed of binary noise beyond twelve significant digits; every instant is ISO 8601 UTC with Z.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, Final

from mdagent_mcp.domain.answers import (
    HistoryAnswer,
    QuoteAnswer,
    QuotesAnswer,
    Repair,
    SymbolFailure,
    Usage,
    Voice,
)
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Bar, Interval
from mdagent_mcp.domain.quality import Assessment, Finding, Grade, Verdict
from mdagent_mcp.domain.status import Overall, Reliability, SourceStatus, WeightParts
from mdagent_mcp.server.arguments import Detail

BAR_COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
"""The columns of a bar, in order."""

NO_ESTIMATE: Final = "Do not estimate this price or reuse an older one."
"""What every failure tells the agent, but for those of its own arguments."""

_CAUTIONS: Final[Mapping[Grade, str]] = {
    Grade.D: "State this defect with the number.",
    Grade.F: "Do not state this number as fact.",
}


def quotes_json(answer: QuotesAnswer, detail: Detail = "brief") -> dict[str, Any]:
    """The structured content of get_quote."""
    return {
        "quotes": [quote_json(quote, detail) for quote in answer.quotes],
        "failures": [failure_json(failure) for failure in answer.failures],
        "usage": _usage(answer.usage),
    }


def quote_json(quote: QuoteAnswer, detail: Detail = "brief") -> dict[str, Any]:
    """One symbol's consensus; with `full` also every source's observation."""
    shown: dict[str, Any] = {
        "symbol": quote.symbol,
        "price": number(quote.price),
        "currency": quote.currency,
        "price_low": number(quote.price_low),
        "price_high": number(quote.price_high),
        "change": number(quote.change),
        "change_percent": rounded(quote.change_percent, 3),
        "open": number(quote.open),
        "high": number(quote.high),
        "low": number(quote.low),
        "previous_close": number(quote.previous_close),
        "volume": count(quote.volume),
        "bid": number(quote.bid),
        "ask": number(quote.ask),
        "session": quote.session.value,
        "price_time": instant(quote.price_time),
        "delay_s": rounded(quote.delay_s, 1),
        "grade": quote.grade.value,
        "score": rounded(quote.score, 1),
        "summary": summary_of(quote),
        "sources_used": list(quote.sources_used),
        "sources_rejected": list(quote.sources_rejected),
        "cached": quote.cached,
        "evidence_id": quote.evidence_id,
    }
    if detail == "full":
        shown["observations"] = [_observation(voice) for voice in quote.explanation.voices]
    return shown


def history_json(answer: HistoryAnswer, max_bars: int, detail: Detail = "brief") -> dict[str, Any]:
    """The structured content of get_history, with the newest `max_bars` bars."""
    shown: dict[str, Any] = {
        "symbol": answer.symbol,
        "interval": answer.interval.value,
        "currency": answer.currency,
        "timezone": answer.timezone,
        "adjustment": answer.adjustment.value,
        "columns": list(BAR_COLUMNS),
        "bars": [bar_row(bar, answer.interval) for bar in answer.bars[-max_bars:]],
        "coverage": {
            "expected": answer.coverage.expected,
            "present": answer.coverage.present,
            "missing": [bar_time(start, answer.interval) for start in answer.coverage.missing],
        },
        "summary_stats": summary_stats(answer.bars),
        "issues": [
            {
                "rule": issue.rule,
                "severity": issue.severity,
                "time": None if issue.time is None else bar_time(issue.time, answer.interval),
                "detail": issue.detail,
            }
            for issue in answer.issues
        ],
        "repairs": [repair_json(repair, answer.interval) for repair in answer.repairs],
        "partial_last_bar": answer.partial_last_bar,
        "truncated": len(answer.bars) > max_bars,
        "resource_uri": resource_uri(answer),
        "grade": answer.grade.value,
        "score": rounded(answer.score, 1),
        "summary": summary_of(answer),
        "sources_used": list(answer.sources_used),
        "sources_rejected": list(answer.sources_rejected),
        "evidence_id": answer.evidence_id,
        "usage": _usage(answer.usage),
    }
    if detail == "full":
        shown["observations"] = [_observation(voice) for voice in answer.explanation.voices]
        since = answer.bars[-max_bars:][0].start if answer.bars else None
        stated = [bar for bar in answer.unrepaired if since is None or bar.start >= since]
        shown["unrepaired"] = [bar_row(bar, answer.interval) for bar in stated]
    return shown


def repair_json(repair: Repair, interval: Interval) -> dict[str, Any]:
    """One correction; of consecutive bars with the last of them and their number."""
    shown: dict[str, Any] = {
        "rule": repair.rule,
        "time": bar_time(repair.time, interval),
        "field": repair.field,
        "before": number(repair.before),
        "after": number(repair.after),
        "why": repair.why,
    }
    if repair.until is not None:
        shown |= {"until": bar_time(repair.until, interval), "bars": repair.bars}
    return shown


def failure_json(failure: SymbolFailure) -> dict[str, Any]:
    """Why one symbol has no answer."""
    shown: dict[str, Any] = {
        "symbol": failure.symbol,
        "code": failure.kind.value,
        "message": _message(failure),
        "hint": failure.hint,
        "sources": {source: kind.value for source, kind in failure.sources.items()},
    }
    if failure.retry_after_s is not None:
        shown["retry_after_s"] = rounded(failure.retry_after_s, 1)
    return shown


def history_failure_json(failure: SymbolFailure) -> dict[str, Any]:
    """The structured content of get_history when there is no series."""
    return {
        "symbol": failure.symbol,
        "columns": list(BAR_COLUMNS),
        "bars": [],
        "summary": _message(failure),
        "failures": [failure_json(failure)],
    }


def status_json(sources: Sequence[SourceStatus], overall: Overall) -> dict[str, Any]:
    """The structured content of source_status."""
    return {
        "sources": [source_json(source) for source in sources],
        "overall": {
            "availability_24h": rounded(overall.availability_24h, 4),
            "cache_hit_rate": rounded(overall.cache_hit_rate, 4),
            "cache_state": overall.cache_state,
            "memory": {
                "state": overall.memory_state,
                "sessions": overall.sessions,
                "symbols": overall.symbols,
                "observations": overall.observations,
            },
            "settings": overall.settings_state,
        },
    }


def source_json(source: SourceStatus) -> dict[str, Any]:
    """What one source is doing."""
    return {
        "source": source.source,
        "title": source.title,
        "state": source.state.value,
        "since": instant(source.since),
        "reason": source.reason,
        "next_retry_at": instant(source.next_retry_at),
        "capabilities": list(source.capabilities),
        "circuit": dict(source.circuit),
        "reliability": _reliability(source.reliability),
        "latency_ms": {"p50": rounded(source.latency_p50_ms, 1), "p95": rounded(source.latency_p95_ms, 1)},
        "clock_offset_s": rounded(source.clock_offset_s, 3),
        "budget": [
            {"window": b.window, "limit": b.limit, "used": b.used, "resets_at": instant(b.resets_at)}
            for b in source.budget
        ],
        "cost_per_call": number(source.cost_per_call),
        "weight": rounded(source.weight, 4),
        "weight_parts": {} if source.weight_parts is None else weight_parts_json(source.weight_parts),
        "upstream_group": source.upstream_group,
        "last_success_at": instant(source.last_success_at),
        "last_error": source.last_error,
        "successors": list(source.successors),
        "learned": list(source.learned),
    }


def weight_parts_json(parts: WeightParts) -> dict[str, Any]:
    """What a routing weight is made from."""
    told = ((each.name, getattr(parts, each.name)) for each in fields(parts))
    return {name: value if isinstance(value, str) else rounded(value, 4) for name, value in told}


def explanation_json(answer: QuoteAnswer | HistoryAnswer) -> dict[str, Any]:
    """The structured content of explain_quality."""
    explanation = answer.explanation
    limit = explanation.assessment.limited_by
    return {
        "symbol": answer.symbol,
        "evidence_id": answer.evidence_id,
        "grade": answer.grade.value,
        "score": rounded(answer.score, 1),
        "headline": explanation.headline,
        "limited_by": {
            "dimension": limit.dimension.value,
            "score": rounded(limit.score, 1),
            "because": limit.because,
            "raises_to": limit.raises_to,
        },
        "dimensions": {d.value: rounded(score, 1) for d, score in explanation.assessment.dimensions.items()},
        "evidence": [_evidence(voice) for voice in explanation.voices],
        "dissent": list(explanation.dissent),
        "unanswered": dict(explanation.failures),
        "checks": _checks(explanation.assessment),
        "learned": dict(explanation.learned),
        "use": dict(explanation.use),
        "market": {
            "state": explanation.market.state,
            "session": explanation.market.session.value,
            "as_of": instant(explanation.market.as_of),
            "next_open": instant(explanation.market.next_open),
        },
    }


def summary_of(answer: QuoteAnswer | HistoryAnswer) -> str:
    """The answer's summary with what a low grade obliges the agent to."""
    caution = _CAUTIONS.get(answer.grade, "")
    if not caution or caution in answer.summary:
        return answer.summary
    return f"{answer.summary} {caution}".strip()


def summary_stats(bars: Sequence[Bar]) -> dict[str, Any]:
    """First and last close, their change, the extremes and the mean volume of a whole series."""
    if not bars:
        return dict.fromkeys(("first", "last", "change_percent", "high", "low", "average_volume"))
    first, last = bars[0].close, bars[-1].close
    volumes = [bar.volume for bar in bars if bar.volume is not None]
    return {
        "first": number(first),
        "last": number(last),
        "change_percent": None if first == 0 else rounded((last - first) / first * 100.0, 3),
        "high": number(max(bar.high for bar in bars)),
        "low": number(min(bar.low for bar in bars)),
        "average_volume": count(round(fmean(volumes), 2)) if volumes else None,
    }


def resource_uri(answer: HistoryAnswer) -> str:
    """Where the whole series can be read."""
    return f"mdagent://history/{answer.evidence_id}"


def bar_row(bar: Bar, interval: Interval) -> list[Any]:
    """One bar in the order of `BAR_COLUMNS`."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    return [bar_time(bar.start, interval), *(number(price) for price in prices), count(bar.volume)]


def bar_time(start: datetime, interval: Interval) -> str:
    """A bar's start: an instant for intraday bars, the trading date for longer ones."""
    return _utc_text(start) if interval.is_intraday else start.date().isoformat()


def instant(moment: datetime | None) -> str | None:
    """ISO 8601 UTC with Z; fractions of a second down to milliseconds, and only when there are any."""
    return None if moment is None else _utc_text(moment)


def number(value: float | None) -> float | None:
    """A price as it was meant: the binary noise beyond twelve significant digits is dropped."""
    return None if value is None else float(f"{value:.12g}")


def count(value: float | None) -> float | int | None:
    """A volume: whole when it is whole (crypto is traded in fractions)."""
    if value is None:
        return None
    return int(value) if float(value).is_integer() else number(value)


def rounded(value: float | None, digits: int) -> float | None:
    """A derived figure rounded to what its size means; never `-0.0`."""
    return None if value is None else round(value, digits) + 0.0


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends like a sentence already."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _message(failure: SymbolFailure) -> str:
    if failure.kind is FailureKind.BAD_REQUEST or "estimate" in failure.message:
        return failure.message
    return f"{sentence(failure.message)} {NO_ESTIMATE}"


def _utc_text(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    text = utc.strftime("%Y-%m-%dT%H:%M:%S")
    milliseconds = utc.microsecond // 1000
    return f"{text}.{milliseconds:03d}".rstrip("0") + "Z" if milliseconds else f"{text}Z"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "vendor_calls": usage.vendor_calls,
        "cache_hits": usage.cache_hits,
        "elapsed_ms": count(round(usage.elapsed_ms, 1)),
    }


def _observation(voice: Voice) -> dict[str, Any]:
    return {
        **_evidence(voice),
        "currency": voice.currency,
        "session": voice.session.value,
        "received_at": instant(voice.received_at),
    }


def _evidence(voice: Voice) -> dict[str, Any]:
    return {
        "source": voice.source,
        "upstream_group": voice.upstream_group,
        "price": number(voice.price),
        "event_time": instant(voice.event_time),
        "delay_s": rounded(voice.delay_s, 1),
        "weight": rounded(voice.weight, 4),
        "verdict": voice.verdict.value,
        "cause": voice.cause or None,
    }


def _checks(assessment: Assessment) -> dict[str, list[dict[str, Any]]]:
    def of(verdict: Verdict) -> list[dict[str, Any]]:
        return [_finding(f) for f in assessment.findings if f.verdict is verdict]

    return {"passed": of(Verdict.PASSED), "failed": of(Verdict.FAILED), "not_run": of(Verdict.NOT_RUN)}


def _finding(finding: Finding) -> dict[str, Any]:
    shown: dict[str, Any] = {"rule": finding.rule, "dimension": finding.dimension.value, "detail": finding.detail}
    if finding.verdict is Verdict.FAILED:
        shown["severity"] = finding.severity.value
    return shown


def _reliability(reliability: Reliability | None) -> dict[str, Any] | None:
    if reliability is None:
        return None
    return {
        "estimate": rounded(reliability.estimate, 4),
        "lower_bound": rounded(reliability.lower_bound, 4),
        "observations": rounded(reliability.observations, 1),
    }
