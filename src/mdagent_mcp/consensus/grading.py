"""The dimensions of a quote's grade on the rubric's scale, each with its reason and what would raise it.

The rule of this module: nothing here looks at a price. Facts and findings come in, scores go out; findings cap their
dimension in `domain.quality.assess`, which makes the weakest dimension the grade.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from mdagent_mcp.consensus.alignment import Standing
from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.consensus.facts import QuoteFacts
from mdagent_mcp.consensus.quote_fields import Fields
from mdagent_mcp.consensus.wording import (
    basis_points,
    duration_text,
    joined,
    local_minute,
    plural,
    price_text,
)
from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import (
    Assessment,
    Dimension,
    DimensionScore,
    Finding,
    Grade,
    Limit,
    assess,
    at_least,
    grade_of,
)
from mdagent_mcp.resilience.machine_clock import LEAST_S as CLOCK_DOUBT_S

UNDATED_SCORE: Final = 66.0
EXTENDED_CLOSE_SCORE: Final = 76.0
STALE_SCORE: Final = 59.0
COARSE_SCORE: Final = 79.0
NO_CALENDAR_SCORE: Final = 79.0
UNSETTLED_SCORE: Final = 89.0
KNOWN_SINGLE_SCORE: Final = 89.0
UNKNOWN_SINGLE_SCORE: Final = 79.0
CONTESTED_SCORE: Final = 63.0
OUTLIER_SCORE: Final = 92.0
_EXTENDED: Final = frozenset({Session.PRE, Session.POST})
_FULL: Final = DimensionScore(100.0)
_SINGLE_SOURCE: Final = frozenset({Dimension.CORROBORATION, Dimension.PLAUSIBILITY})
_DAY_S: Final = 86400.0
_COMPLETENESS: Final = (100.0, 88.0, 88.0, 84.0, 80.0)
"""By number of missing fields."""
_RELIABILITY_STEPS: Final = ((0.95, 100.0), (0.90, 89.0), (0.80, 79.0), (0.60, 69.0))


def delay_score(delay_s: float, lines: GradingThresholds) -> float:
    """Timeliness of an effective delay: linear between the rubric's limits, dropping a letter just past each."""
    segments = (
        (0.0, lines.real_time_s, 100.0, 90.0),
        (lines.real_time_s, lines.low_delay_s, 89.0, 80.0),
        (lines.low_delay_s, lines.acceptable_delay_s, 79.0, 70.0),
        (lines.acceptable_delay_s, lines.stale_s, 69.0, 60.0),
        (lines.stale_s, _DAY_S, 59.0, 5.0),
    )
    for start, end, first, last in segments:
        if delay_s <= end:
            return first + (last - first) * (max(delay_s, start) - start) / (end - start)
    return 5.0


def grade_quote(
    facts: QuoteFacts, fields: Fields, findings: tuple[Finding, ...], failures: Mapping[str, str]
) -> Assessment:
    """Grade the answer; `failures` (source -> reason) tell why there is no second opinion."""
    assessment = assess(
        {
            Dimension.TIMELINESS: timeliness(facts),
            Dimension.CORROBORATION: corroboration(facts, failures),
            Dimension.VALIDITY: _FULL,
            Dimension.PLAUSIBILITY: plausibility(facts),
            Dimension.COMPLETENESS: completeness(facts, fields),
            Dimension.CONSISTENCY: _FULL,
        },
        findings,
    )
    limit = _with_attainable_grade(assessment, confirmed=facts.confirmed)
    return Assessment(assessment.grade, assessment.score, assessment.dimensions, limit, findings)


def _with_attainable_grade(assessment: Assessment, *, confirmed: bool) -> Limit:
    """The limit, saying how far the grade rises when it is lifted: the next weakest dimension bounds it.

    A second source lifts what caps a single one in both dimensions that know about single sources.
    """
    limit = assessment.limited_by
    if not limit.raises_to:
        return limit
    lifted = {limit.dimension}
    if not confirmed and limit.dimension in _SINGLE_SOURCE:
        lifted |= _SINGLE_SOURCE
    rest = {d: score for d, score in assessment.dimensions.items() if d not in lifted}
    then = min(rest, key=lambda d: rest[d])
    attainable = grade_of(rest[then])
    if attainable is not assessment.grade and at_least(attainable, assessment.grade):
        lifts = f"{attainable} with {limit.raises_to}"
    elif assessment.grade is Grade.A:
        lifts = f"a higher score with {limit.raises_to}"
    else:
        lifts = f"{limit.raises_to}, though {then} then limits it to {attainable}"
    return Limit(limit.dimension, limit.score, limit.because, lifts)


def timeliness(facts: QuoteFacts) -> DimensionScore:
    """How current the price is: the lowest of its delay's score and the caps of its circumstances."""
    lowest = _delay(facts)
    for other in (_stamp(facts), _calendar(facts)):
        if other is not None and other.score < lowest.score:
            lowest = other
    return lowest


def _delay(facts: QuoteFacts) -> DimensionScore:
    served = facts.served
    if facts.halted_since is not None:
        return _FULL  # the last trade there is; the check of trading sets the cap
    if served.delay_s is None:
        because = f"{served.quote.source}: {served.reason}"
        return DimensionScore(UNDATED_SCORE, because, "a source that states the time")
    score = delay_score(served.delay_s, facts.lines)
    late = f"{served.quote.source} is {duration_text(served.delay_s)} behind"
    if served.standing is Standing.EARLIER and served.event_time is not None:
        stamp = local_minute(served.event_time, facts.market.calendar)
        because = f"the only price is of {stamp}, from before the session to answer"
        return DimensionScore(min(STALE_SCORE, score), because, "a price of the current session")
    wanted = f"a delay of at most {facts.lines.real_time_s:g} s"
    raises = wanted if served.delay_s > facts.lines.real_time_s else "a younger price"
    raises = "" if score >= 100 else raises
    return DimensionScore(score, "" if score >= 100 else late, raises)


def _stamp(facts: QuoteFacts) -> DimensionScore | None:
    """A stamp that only tells the minute cannot prove a delay of seconds."""
    served = facts.served
    resolution = served.quote.event_time_resolution_s
    if served.session is Session.CLOSED or served.delay_s is None or resolution <= facts.lines.low_delay_s:
        return None
    because = f"{served.quote.source} stamps only every {duration_text(resolution)}"
    return DimensionScore(COARSE_SCORE, because, "a source that stamps the second")


def _calendar(facts: QuoteFacts) -> DimensionScore | None:
    """What the market's state takes off."""
    market, served = facts.market, facts.served
    if not market.known:
        because = f"no trading calendar for {market.calendar.name}: taken as open"
        return DimensionScore(NO_CALENDAR_SCORE, because, "a calendar of this market")
    if market.extended_hours and served.session is Session.CLOSED:
        because = f"the {market.state}-market trades, but only the official close is known"
        return DimensionScore(EXTENDED_CLOSE_SCORE, because, f"a source that shows {market.state}-market prints")
    if served.session is Session.CLOSED and market.extended_nearby:
        because = f"extended trading ends or begins within {CLOCK_DOUBT_S:g} s, by which our own clock may be wrong"
        return DimensionScore(EXTENDED_CLOSE_SCORE, because, "asking again in a minute")
    if served.session is Session.CLOSED and market.last is not None:
        final = market.last.close + timedelta(seconds=facts.lines.settle_s)
        if market.now < final:
            because = f"the close is not final until {local_minute(final, market.calendar)}"
            return DimensionScore(UNSETTLED_SCORE, because, "a settled close")
    if market.state is MarketState.OPEN and market.since is not None:
        settled = market.since + timedelta(seconds=facts.lines.opening_s)
        if market.now < settled:
            because = f"the first {duration_text(facts.lines.opening_s)} after the open are not settled"
            return DimensionScore(UNSETTLED_SCORE, because, "a price after the opening")
    return None


def corroboration(facts: QuoteFacts, failures: Mapping[str, str]) -> DimensionScore:
    """How many independent sources say the same."""
    if facts.contested:
        said = joined(f"{o.quote.source} ({price_text(o.quote.price)})" for o in facts.opponents)
        because = f"{facts.served.quote.source} ({price_text(facts.served.quote.price)}) is contradicted by {said}"
        return DimensionScore(CONTESTED_SCORE, because, f"a third independent source that decides{_suggested(facts)}")
    if not facts.confirmed:
        known = _vouched_for(facts) or facts.seconded
        because = f"{_alone(facts)}{_absent(failures)}"
        if not known and facts.context.symbol_is_known:
            because += f"; nobody else tells a {facts.served.session}-market print"
        elif not known:
            because += f"; memory has {facts.context.observations} observations of {facts.instrument.symbol}"
        second = f"a second independent source within {_closeness(facts)}{_suggested(facts)}"
        return DimensionScore(KNOWN_SINGLE_SCORE if known else UNKNOWN_SINGLE_SCORE, because, second)
    rejected = [o.quote.source for o in facts.fusion.outliers]
    score = 100.0 if facts.groups >= 3 else 95.0
    if rejected and score > OUTLIER_SCORE:
        return DimensionScore(OUTLIER_SCORE, f"{joined(rejected)} rejected as outlier", "")
    because = (
        f"{plural(facts.groups, 'independent source')} ({joined(dict.fromkeys(o.group for o in facts.confirming))})"
        if score < 100
        else ""
    )
    return DimensionScore(score, because, "a third independent source" if score < 100 else "")


def _vouched_for(facts: QuoteFacts) -> bool:
    """Whether memory vouches for a lone price: not in extended hours, of which regular trading tells it little.

    A print before the open that was off by half a percent could not be told from the right one, while every other
    source that answered only knew the close.
    """
    return facts.context.symbol_is_known and facts.served.session not in _EXTENDED


def plausibility(facts: QuoteFacts) -> DimensionScore:
    """How far a single source can be believed; a price that others share needs no such belief."""
    if facts.seconded:
        return _FULL
    source = facts.served.quote.source
    scores = [_FULL]
    if not facts.context.symbol_is_known:
        wanted = facts.lines.known_observations
        because = f"{facts.context.observations} of {wanted} observations of {facts.instrument.symbol} to judge by"
        scores.append(DimensionScore(UNKNOWN_SINGLE_SCORE, because, "a second independent source"))
    bound = facts.context.reliability_bounds.get(source)
    if bound is not None:
        score = next((points for least, points in _RELIABILITY_STEPS if bound >= least), STALE_SCORE)
        because = f"{source} alone, right in at least {bound:.0%} of cases as learned"
        scores.append(DimensionScore(score, because if score < 100 else "", "a second independent source"))
    return min(scores, key=lambda s: s.score)


def completeness(facts: QuoteFacts, fields: Fields) -> DimensionScore:
    """What is missing beside the price."""
    missing = fields.missing
    if not missing:
        return _FULL
    named = joined(name.replace("_", " ") for name in missing)
    because = f"{named} missing from {joined(sources_used(facts))}"
    return DimensionScore(_COMPLETENESS[min(len(missing), 4)], because, f"a source that states {named}")


def sources_used(facts: QuoteFacts) -> tuple[str, ...]:
    """The agreeing sources, the served one first."""
    return tuple(dict.fromkeys([m.quote.source for m in facts.fusion.members]))


def _closeness(facts: QuoteFacts) -> str:
    apart = 0.0 if facts.served.session is Session.CLOSED else facts.lines.real_time_s
    within = basis_points(facts.tolerance.agreement(apart))
    return within if facts.served.session is Session.CLOSED else f"{within} and {facts.lines.real_time_s:g} s"


def _suggested(facts: QuoteFacts) -> str:
    return f", such as {joined(facts.context.suggestions[:2])}" if facts.context.suggestions else ""


def _alone(facts: QuoteFacts) -> str:
    """Who stands alone, and which agreeing sources are no second opinion, or not one good enough."""
    if facts.seconded:
        return f"{joined(sources_used(facts))} agree, too far apart in price or time to confirm each other"
    served = facts.served
    same = [
        m.quote.source
        for m in facts.fusion.members[1:]
        if m.group == served.group and m.quote.source != served.quote.source
    ]
    if same:
        return f"{joined((served.quote.source, *same))} pass on the same data ({served.group})"
    return f"{served.quote.source} only"


def _absent(failures: Mapping[str, str]) -> str:
    return "".join(f"; {source}: {clean_text(reason, 60)}" for source, reason in sorted(failures.items())[:3])
