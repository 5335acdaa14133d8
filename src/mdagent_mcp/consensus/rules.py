"""The checks a quote goes through: their ids and what each asks.

The rule of this module: every `Finding` about a quote is made by `passed`, `failed` or `not_run` with a rule from
`RULES`, so that the documentation page generated from it is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.quality import Dimension, Finding, Severity, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """One check.

    Attributes:
        id: stable, lower case with underscores.
        dimension: what it bears on.
        description: what it asks, one line.
    """

    id: str
    dimension: Dimension
    description: str


RULES: Final = (
    Rule("price_positive", Dimension.VALIDITY, "The price is a finite number above zero; otherwise it is refused."),
    Rule("currency", Dimension.VALIDITY, "The currency is the instrument's and the one most sources state."),
    Rule("book_not_crossed", Dimension.VALIDITY, "The bid does not exceed the ask."),
    Rule("price_within_book", Dimension.VALIDITY, "The price lies between bid and ask, 1 % beyond them allowed."),
    Rule("price_within_day_range", Dimension.VALIDITY, "The price lies in the day's range, 0.2 % beyond it allowed."),
    Rule("ohlc_order", Dimension.VALIDITY, "The day's low does not exceed its high, and the open lies between them."),
    Rule("event_time_present", Dimension.TIMELINESS, "The source says when the price was true."),
    Rule("event_time_not_future", Dimension.TIMELINESS, "The event time does not lie in our future."),
    Rule("session_current", Dimension.TIMELINESS, "The price is from the session that it should be from by calendar."),
    Rule("declared_delay", Dimension.TIMELINESS, "A source that declares a delay does not show a younger price."),
    Rule("cross_source", Dimension.CORROBORATION, "Independent sources agree with the served price."),
    Rule("session_tag", Dimension.CONSISTENCY, "The session a source names fits its event time."),
    Rule("session_answered", Dimension.CONSISTENCY, "The price belongs to the session that is asked about."),
    Rule("previous_close_sources", Dimension.CONSISTENCY, "The sources agree on the previous close."),
    Rule("previous_close_memory", Dimension.PLAUSIBILITY, "The previous close is within 3 % of the remembered one."),
    Rule("unit_ratio", Dimension.PLAUSIBILITY, "The price is no power of ten away from the previous close."),
    Rule("jump", Dimension.PLAUSIBILITY, "The move since the previous close is one that the symbol makes."),
    Rule("recent_price", Dimension.PLAUSIBILITY, "The move since the last served price fits the time between."),
    Rule("price_band", Dimension.PLAUSIBILITY, "The price is inside the band that would halt trading."),
    Rule("delayed_sources", Dimension.PLAUSIBILITY, "Delayed sources differ no more than the time between explains."),
)
"""Every check, in the order of reporting."""

RULES_BY_ID: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for rule in RULES})


def passed(rule: str, detail: str) -> Finding:
    """The check ran and found nothing wrong."""
    return Finding(rule, RULES_BY_ID[rule].dimension, Verdict.PASSED, detail)


def not_run(rule: str, detail: str) -> Finding:
    """The check lacked what it needs, which `detail` names."""
    return Finding(rule, RULES_BY_ID[rule].dimension, Verdict.NOT_RUN, detail)


def failed(rule: str, detail: str, severity: Severity, cap: float | None = None) -> Finding:
    """The check found something wrong; `cap` bounds its dimension."""
    return Finding(rule, RULES_BY_ID[rule].dimension, Verdict.FAILED, detail, severity, cap)
