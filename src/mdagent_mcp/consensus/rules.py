"""The checks a quote goes through: their ids and what each asks.

The rule of this module: every `Finding` about a quote is made by `passed`, `failed` or `not_run` with a rule from
`RULES`, so that the documentation page generated from it is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
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
        severity: of its worst failure; None where a rule has several kinds of failure.
        reason: why it exists: what was seen or measured.
    """

    id: str
    dimension: Dimension
    description: str
    severity: Severity | None = None
    reason: str = ""


RULES: Final = (
    Rule(
        "price_positive",
        Dimension.VALIDITY,
        "The price is a finite number above zero; otherwise it is refused.",
        Severity.FATAL,
        "Zero and null stand for missing at several vendors; on a raw tape 0.07 % of quotes have a side of zero.",
    ),
    Rule(
        "currency",
        Dimension.VALIDITY,
        "The currency is the instrument's and the one most sources state.",
        Severity.MAJOR,
        "London, Johannesburg and Tel Aviv are quoted in hundredths under the label of the major unit (GBp as GBP).",
    ),
    Rule(
        "book_not_crossed",
        Dimension.VALIDITY,
        "The bid does not exceed the ask.",
        Severity.MAJOR,
        "A raw tape has a negative spread in 0.03 % of its quotes: two sides of different instants.",
    ),
    Rule(
        "price_within_book",
        Dimension.VALIDITY,
        "The price lies between bid and ask, 1 % beyond them allowed.",
        Severity.MAJOR,
        "A last trade may lie a little outside of a newer book, but 1 % takes minutes on any measured symbol.",
    ),
    Rule(
        "price_within_day_range",
        Dimension.VALIDITY,
        "The price lies in the day's range, 0.2 % beyond it allowed.",
        Severity.MAJOR,
        "One in six vendor snapshots has its last trade outside its own range, nearly all by less than that: trades "
        "that do not count for the range.",
    ),
    Rule(
        "ohlc_order",
        Dimension.VALIDITY,
        "The day's low does not exceed its high, and the open lies between them.",
        Severity.MAJOR,
        "Ten in ten thousand rows of a large vendor break it, most of them of a day that was still running.",
    ),
    Rule(
        "event_time_present",
        Dimension.TIMELINESS,
        "The source says when the price was true.",
        Severity.MAJOR,
        "Several free endpoints state no time, and some fall back to day-old data without saying so.",
    ),
    Rule(
        "event_time_not_future",
        Dimension.TIMELINESS,
        "The event time does not lie in our future.",
        Severity.MAJOR,
        "Local time labelled as UTC puts stamps of Asia hours ahead, twice a year by one hour elsewhere.",
    ),
    Rule(
        "machine_clock",
        Dimension.TIMELINESS,
        "This machine's clock agrees with the dates of the vendors' replies, to half a minute.",
        Severity.MAJOR,
        "By a clock an hour ahead the evening's trading is over: the official close was an A while it was 0.5 % off.",
    ),
    Rule(
        "stamp_advances",
        Dimension.TIMELINESS,
        "The event time moves on when the price does, and never goes back.",
        Severity.MAJOR,
        "A vendor stamped its quotes with the time of the daily bar; nodes of another answered old and new in turn.",
    ),
    Rule(
        "stamp_zone",
        Dimension.TIMELINESS,
        "The event time is not late by whole hours.",
        Severity.MAJOR,
        "Exchange time taken for UTC is reported of every second client library; a stale price is that punctual once "
        "in five hundred times.",
    ),
    Rule(
        "price_moves",
        Dimension.TIMELINESS,
        "The price does not stand still under moving time stamps for longer than is usual.",
        Severity.MAJOR,
        "Frozen feeds answer with status 200 and fresh stamps; the symbol's learned volatility tells how long is long.",
    ),
    Rule(
        "trading",
        Dimension.TIMELINESS,
        "Trading goes on while the market is open.",
        Severity.MINOR,
        "Limit-up limit-down pauses last five minutes or more; all sources then name the same last trade.",
    ),
    Rule(
        "session_current",
        Dimension.TIMELINESS,
        "The price is from the session that it should be from by calendar.",
        Severity.FATAL,
        "Friday's close was served on Monday at 10:27 with status 200 while the vendor's own market status said open.",
    ),
    Rule(
        "declared_delay",
        Dimension.TIMELINESS,
        "A source that declares a delay does not show a younger price.",
        Severity.MINOR,
        "Delayed plans stamp the time of sending at some vendors; the declared delay is then the truth.",
    ),
    Rule(
        "cross_source",
        Dimension.CORROBORATION,
        "Independent sources agree with the served price, not all of them so much older that it may have moved since.",
        Severity.MAJOR,
        "Two vendors of one upstream agreed on every cell of 1,259 bars, errors included: only groups are counted. One "
        "in a million simulated answers was a stale price that right ones of ten or twenty seconds ago lay near to.",
    ),
    Rule(
        "session_tag",
        Dimension.CONSISTENCY,
        "The session a source names fits its event time.",
        Severity.MINOR,
        "A regular close and an after-hours print differ by percents on evenings of earnings.",
    ),
    Rule(
        "session_answered",
        Dimension.CONSISTENCY,
        "The price belongs to the session that is asked about.",
        Severity.MAJOR,
        "Vendors mix the official close with the last trade; on an evening of news the two were 2 % apart.",
    ),
    Rule(
        "previous_close_sources",
        Dimension.CONSISTENCY,
        "The sources agree on the previous close.",
        Severity.MINOR,
        "Official closes of independent vendors differ by less than 16 bp in 99 of 100 cases for large shares.",
    ),
    Rule(
        "previous_close_memory",
        Dimension.PLAUSIBILITY,
        "The previous close is within 3 % of the remembered one.",
        Severity.MAJOR,
        "Tickers are reused and rows are swapped between symbols: another company's close gives the mix-up away.",
    ),
    Rule(
        "symbol_known",
        Dimension.PLAUSIBILITY,
        "No two upstream groups say that the symbol does not exist while one alone states a price.",
        Severity.FATAL,
        "A source that names no symbol in its reply once gave another company's price to a symbol that does not exist. "
        "F for a US share; D for other kinds, of which sources cover parts only; not where two groups confirmed a "
        "price of the symbol before.",
    ),
    Rule(
        "unit_ratio",
        Dimension.PLAUSIBILITY,
        "The price is no power of ten away from the previous close.",
        Severity.FATAL,
        "Pence for pounds in London, cents in Johannesburg; such a switch lasts up to two weeks until it is mended.",
    ),
    Rule(
        "jump",
        Dimension.PLAUSIBILITY,
        "The move since the previous close is one that the symbol makes.",
        Severity.MAJOR,
        "Decimal slips happen in up to 5 of 10,000 daily rows; a real fall of 21 % in a day was seen by every source.",
    ),
    Rule(
        "recent_price",
        Dimension.PLAUSIBILITY,
        "The move since the last served price fits the time between.",
        Severity.MAJOR,
        "A block printed 91 bp off the market and back within a second: one source alone cannot prove such a move.",
    ),
    Rule(
        "price_band",
        Dimension.PLAUSIBILITY,
        "The price is inside the band that would halt trading.",
        Severity.MAJOR,
        "Limit-up limit-down plan: 10 % above 3 dollars, 20 % from 0.75, 75 % below, within five minutes.",
    ),
    Rule(
        "price_range",
        Dimension.PLAUSIBILITY,
        "The price lies in the range of the last weeks, a third beyond it allowed.",
        Severity.MAJOR,
        "The last guard where no previous close is at hand; splits not applied and reused tickers leave the range.",
    ),
    Rule(
        "delayed_sources",
        Dimension.PLAUSIBILITY,
        "Delayed sources differ no more than the time between explains.",
        Severity.MAJOR,
        "Fifteen minutes move a large share by at most 66 bp in 99 of 100 cases.",
    ),
)
"""Every check, in the order of reporting."""

RULES_BY_ID: Final[Mapping[str, Rule]] = MappingProxyType({rule.id: rule for rule in RULES})
_DIMENSIONS: Final = {rule.id: rule.dimension for rule in RULES}
_KEPT: Final = 1024
"""Findings without a failure are kept: an answer is judged again with every reply, mostly with the same findings."""


@lru_cache(maxsize=_KEPT)
def passed(rule: str, detail: str) -> Finding:
    """The check ran and found nothing wrong."""
    return Finding(rule, _DIMENSIONS[rule], Verdict.PASSED, detail)


@lru_cache(maxsize=_KEPT)
def not_run(rule: str, detail: str) -> Finding:
    """The check lacked what it needs, which `detail` names."""
    return Finding(rule, _DIMENSIONS[rule], Verdict.NOT_RUN, detail)


def failed(rule: str, detail: str, severity: Severity, cap: float | None = None) -> Finding:
    """The check found something wrong; `cap` bounds its dimension."""
    return Finding(rule, _DIMENSIONS[rule], Verdict.FAILED, detail, severity, cap)
