"""Judging a quote: facts in, judgement out.

`judge_quote` aligns what the sources said, lets them vote, checks the result, grades it and puts it into words. It
does no I/O and reads no clock: the same facts give the same judgement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median_low
from typing import Final

from mdagent_mcp.consensus.alignment import (
    Observation,
    Standing,
    align,
    answered_session,
    in_order,
    lagging,
    stand_for,
    undated,
)
from mdagent_mcp.consensus.causes import power_of_ten
from mdagent_mcp.consensus.context import QuoteContext
from mdagent_mcp.consensus.evidence import Setting, weigh
from mdagent_mcp.consensus.facts import QuoteFacts, symbol_fixes_currency
from mdagent_mcp.consensus.fusion import fuse
from mdagent_mcp.consensus.grading import grade_quote, sources_used
from mdagent_mcp.consensus.halts import halted_since
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.market import Market, market_at
from mdagent_mcp.consensus.quote_fields import PreviousClose, agreed_previous_close, fill_fields
from mdagent_mcp.consensus.tolerance import tolerance_for
from mdagent_mcp.consensus.validation import validate
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Quote

_DELAY_DIGITS: Final = 3


def judge_quote(
    instrument: Instrument, quotes: Sequence[Quote], failures: Mapping[str, str], context: QuoteContext
) -> QuoteJudgement | None:
    """Judge what the sources said about one instrument.

    Args:
        instrument: what was asked.
        quotes: what the sources answered, in any order; a source may have several.
        failures: sources that did not answer: id -> reason.
        context: everything else the judgement depends on.

    Returns:
        The judgement; None when no quote can be used at all.
    """
    market = market_at(instrument, context.calendar, context.now)
    observations = _aligned(instrument, quotes, market, context)
    if all(o.standing is Standing.REFUSED for o in observations):
        return None
    return _judgement(_facts(instrument, observations, market, context), failures)


def _aligned(
    instrument: Instrument, quotes: Sequence[Quote], market: Market, context: QuoteContext
) -> tuple[Observation, ...]:
    """All quotes aligned, in an order that does not depend on that of arrival."""
    expected = _expected_currency(instrument, quotes, context)
    aligned = [align(q, market, context, _refusal(q, expected)) for q in quotes]
    if all(o.standing is Standing.REFUSED for o in aligned):
        # an impossible time stamp is a defect, not a reason to have nothing when nothing better is there
        aligned = [undated(o) if o.cause.startswith("future") else o for o in aligned]
    return tuple(in_order(aligned))


def _refusal(quote: Quote, expected: str | None) -> str:
    """Why the quote is wrong by construction; empty when it is not."""
    if not 0 < quote.price < math.inf:
        return f"not_positive: the price is {quote.price:g}"
    if expected is not None and quote.currency is not None and quote.currency != expected:
        return f"currency: {quote.currency} instead of {expected}"
    return ""


def _expected_currency(instrument: Instrument, quotes: Sequence[Quote], context: QuoteContext) -> str | None:
    """The currency the symbol fixes; else the one most upstream groups state, the listing's usual one on a tie."""
    if symbol_fixes_currency(instrument):
        return instrument.currency
    groups: dict[str, set[str]] = {}
    for quote in quotes:
        if quote.currency is not None:
            groups.setdefault(quote.currency, set()).add(context.group_of(quote.source))
    if not groups:
        return None
    return max(groups, key=lambda code: (len(groups[code]), code == instrument.currency, code))


def _facts(
    instrument: Instrument, observations: tuple[Observation, ...], market: Market, context: QuoteContext
) -> QuoteFacts:
    wanted = answered_session(observations, market)
    placed = _doubted(tuple([stand_for(wanted, o) for o in observations]), context)
    usable = [o for o in placed if o.standing is not Standing.REFUSED]
    middle = median_low({o.quote.price for o in usable})
    tolerance = tolerance_for(instrument, middle, context.learned)
    if context.learned is not None:
        placed = lagging(placed, tolerance)
    previous = agreed_previous_close(placed, context.learned)
    voters = _voters(placed, context)
    reference = _reference_price(placed, voters, previous, context)
    having_say = set(map(id, voters))
    heard = {voters[0].standing, Standing.UNDATED}
    silent = [o for o in placed if id(o) not in having_say and o.standing in heard and o.session is wanted]
    weighing = weigh(voters, silent, Setting(tolerance=tolerance, context=context, previous_close=previous.value))
    fusion = fuse(voters, tolerance, context.thresholds, lambda o: _is_implausible(o, reference, context), weighing)
    price, own = fusion.served.quote.price, fusion.served.quote.previous_close
    if not previous.settled and own is not None:
        previous = replace(previous, value=own)
    fixed = instrument.currency if symbol_fixes_currency(instrument) else None
    return QuoteFacts(
        instrument=instrument,
        market=market,
        context=context,
        wanted=wanted,
        observations=placed,
        fusion=fusion,
        previous=previous,
        tolerance=tolerance if price == middle else tolerance_for(instrument, price, context.learned),
        currency=next((c for o in (*fusion.members, *usable) if (c := o.quote.currency) is not None), fixed),
        halted_since=halted_since(fusion, market, context),
    )


def _voters(observations: Sequence[Observation], context: QuoteContext) -> tuple[Observation, ...]:
    """Who has a say: the best standing there is, and of it those that are not older than the age gate.

    When nobody is that fresh, the freshest and those not much older than it have the say, and the grade tells.
    """
    best = min([o.standing for o in observations])
    pool = [o for o in observations if o.standing is best]
    if best in {Standing.OTHER, Standing.EARLIER}:
        latest = max(pool, key=lambda o: (o.event_time is not None, o.event_time, o.session, o.key))
        pool = [o for o in pool if o.session is latest.session]
    if best is Standing.CURRENT:  # an undated price has a say once it was learned how late its source is
        pool += [o for o in observations if o.standing is Standing.UNDATED and math.isfinite(o.vote_age_s)]
    freshest = min([o.vote_age_s for o in pool])
    gate = context.thresholds.vote_age_s
    limit = gate if freshest <= gate else freshest + gate
    return tuple([o for o in pool if o.vote_age_s <= limit])


def _is_in_another_unit(observation: Observation, reference: float | None, context: QuoteContext) -> bool:
    """Whether the price is a power of ten away from what is known, or from its own source's previous close."""
    price, closeness = observation.quote.price, context.thresholds.unit_closeness
    for close in (reference, observation.quote.previous_close):
        if close is not None and close > 0 and power_of_ten(price / close, closeness) != 0:
            return True
    return False


def _is_implausible(observation: Observation, reference: float | None, context: QuoteContext) -> bool:
    """Whether the quote is in another unit, or of another instrument than the one memory knows the last close of."""
    return _names_another(observation, context) or _is_in_another_unit(observation, reference, context)


def _names_another(observation: Observation, context: QuoteContext) -> bool:
    """Whether its previous close is not the one that memory knows."""
    learned, own = context.learned, observation.quote.previous_close
    if learned is None or learned.previous_official_close is None or own is None or own <= 0:
        return False
    return abs(own / learned.previous_official_close - 1) > context.thresholds.previous_close_gap


def _doubted(observations: tuple[Observation, ...], context: QuoteContext) -> tuple[Observation, ...]:
    """A quote whose previous close is another's confirms nothing, and is served only when nothing else is there.

    When two independent groups name the same other close, it is memory that is behind: after a split, for instance.
    """
    others = [o for o in observations if o.standing is not Standing.REFUSED and _names_another(o, context)]
    if not others:
        return observations
    closes = [(o.group, o.quote.previous_close or 0.0) for o in others]
    gap = context.thresholds.previous_close_gap
    if any(group != g and abs(close / c - 1) <= gap for group, close in closes for g, c in closes):
        return observations
    return tuple(o._replace(sound=False) if any(o is other for other in others) else o for o in observations)


def _reference_price(
    observations: Sequence[Observation],
    voters: Sequence[Observation],
    previous: PreviousClose,
    context: QuoteContext,
) -> float | None:
    """What the symbol is known to cost, roughly: a previous close, the last confirmed price, or quotes without a say.

    A previous close that one group alone states is no reference: it is in the same unit as that group's price.
    """
    learned = context.learned
    if learned is not None and learned.previous_official_close is not None:
        return learned.previous_official_close
    if previous.settled and previous.groups > 1:
        return previous.value
    if learned is not None and learned.last_price is not None:
        return learned.last_price
    having_say = set(map(id, voters))
    silent = {o.quote.price for o in observations if o.standing is not Standing.REFUSED and id(o) not in having_say}
    return median_low(silent) if silent else None


def _judgement(facts: QuoteFacts, failures: Mapping[str, str]) -> QuoteJudgement:
    fusion, served = facts.fusion, facts.served
    kind, track = facts.instrument.asset_class, facts.context.track
    filled = fill_fields(fusion, served.session, facts.previous, kind, track)
    assessment = grade_quote(facts, filled, validate(facts), failures)
    return QuoteJudgement(
        facts=facts,
        assessment=assessment,
        failures=failures,
        symbol=facts.instrument.symbol,
        price=served.quote.price,
        currency=facts.currency,
        session=served.session,
        price_time=None if served.event_time is None else served.quote.event_time,
        delay_s=None if served.delay_s is None else round(served.delay_s, _DELAY_DIGITS),
        grade=assessment.grade,
        score=assessment.score,
        sources_used=sources_used(facts),
        judged_at=facts.context.now,
        change=filled.change,
        change_percent=filled.change_percent,
        open=filled.open,
        high=filled.high,
        low=filled.low,
        previous_close=filled.previous_close,
        volume=filled.volume,
        bid=filled.bid,
        ask=filled.ask,
    )
