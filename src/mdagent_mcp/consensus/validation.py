"""The checks of an answer: each looks at the facts of one judgement and returns one `Finding`.

The rule of this module: a check is a function of `QuoteFacts` in the tuple `CHECKS`; a failed one carries the cap of
its dimension; a check that lacks what it needs says so and never reads as passed. Checks of one quote's own fields
are in `quote_checks`; of them the served quote's count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from mdagent_mcp.consensus import time_checks
from mdagent_mcp.consensus.alignment import Observation, Standing
from mdagent_mcp.consensus.causes import power_of_ten, unit_cause
from mdagent_mcp.consensus.cliques import widest_gap
from mdagent_mcp.consensus.facts import QuoteFacts
from mdagent_mcp.consensus.quote_checks import check_quote
from mdagent_mcp.consensus.rules import failed, not_run, passed
from mdagent_mcp.consensus.wording import basis_points, duration_text, joined, plural, price_text
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.domain.quality import Finding, Severity

UNIT_CAP: Final = 30.0
IDENTITY_CAP: Final = 45.0
JUMP_CAP: Final = 64.0
UNSETTLED_UNIT_CAP: Final = 63.0
"""Two sources are a power of ten apart and nothing tells which is right."""
CURRENCY_CAP: Final = 79.0
UNCOVERED_CAP: Final = 66.0
"""Others do not know an instrument of which sources cover parts only."""
UNKNOWN_UNIT_CAP: Final = 66.0
PREVIOUS_CLOSE_CAP: Final = 89.0
_WILD_SIGMAS: Final = 15.0
_UNUSUAL_SIGMAS: Final = 8.0
_SMALLEST_JUMP: Final = 50e-4
_OUT_OF_RANGE: Final = 1.35
"""Factor beyond the recent range that no uncorroborated price may pass."""


Check = Callable[[QuoteFacts], Finding]


def currency(facts: QuoteFacts) -> Finding:
    """The currency is the expected one."""
    expected, stated = facts.instrument.currency, facts.currency
    if stated is None:
        if facts.instrument.asset_class is AssetClass.INDEX:
            return not_run("currency", "index points have no currency")
        return failed("currency", "no source states the currency", Severity.MAJOR, UNKNOWN_UNIT_CAP)
    if all(m.quote.currency is None for m in facts.fusion.members):
        return not_run("currency", f"no agreeing source states it; {stated} follows from the symbol")
    if expected is None:
        return not_run("currency", f"sources state {stated}; the symbol does not tell which to expect")
    if stated != expected:
        detail = f"sources state {stated}, this listing is expected in {expected}"
        return failed("currency", detail, Severity.MINOR, CURRENCY_CAP)
    return passed("currency", f"{stated} as expected")


def cross_source(facts: QuoteFacts) -> Finding:
    """Independent sources agree."""
    if facts.contested:
        said = joined(f"{o.quote.source} {price_text(o.quote.price)}" for o in facts.opponents)
        detail = f"{facts.served.quote.source} {price_text(facts.served.quote.price)} against {said}"
        return failed("cross_source", detail, Severity.MAJOR)
    if not facts.confirmed:
        why = "only {} has a say" if not facts.seconded else "what agrees with {} is too far from it to confirm it"
        return not_run("cross_source", why.format(facts.served.quote.source))
    gap = basis_points(widest_gap(facts.confirming))
    return passed("cross_source", f"{plural(facts.groups, 'independent source')} within {gap}")


def previous_close_sources(facts: QuoteFacts) -> Finding:
    """The sources agree on the previous close."""
    previous = facts.previous
    if previous.value is None or len(previous.sources) + len(previous.dissenters) < 2:
        return not_run("previous_close_sources", "fewer than two sources state a previous close")
    if not previous.dissenters:
        return passed("previous_close_sources", f"all {len(previous.sources)} state {price_text(previous.value)}")
    detail = f"{joined(previous.sources)} {price_text(previous.value)}; {previous.dissent}"
    cap = None if previous.settled else PREVIOUS_CLOSE_CAP
    return failed("previous_close_sources", detail, Severity.INFO if previous.settled else Severity.MINOR, cap)


def previous_close_memory(facts: QuoteFacts) -> Finding:
    """The served source means the instrument that memory knows."""
    learned = facts.context.learned
    own = facts.served.quote.previous_close
    if learned is None or learned.previous_official_close is None:
        return not_run("previous_close_memory", "memory has no previous close")
    if own is None:
        return not_run("previous_close_memory", f"{facts.served.quote.source} states no previous close")
    gap = abs(own / learned.previous_official_close - 1)
    detail = f"{price_text(own)} against remembered {price_text(learned.previous_official_close)}"
    if gap > facts.lines.previous_close_gap:
        cap = None if facts.confirmed else IDENTITY_CAP
        return failed("previous_close_memory", f"{detail}, {basis_points(gap)} apart", Severity.MAJOR, cap)
    return passed("previous_close_memory", detail)


def symbol_known(facts: QuoteFacts) -> Finding:
    """The symbol is one that other sources know: a lone price under a name that others deny may be anybody's.

    A source that does not cover such an instrument is not asked, so its silence is no denial. But what is no US share
    is covered in parts: there the lone price may be shown with its defect.
    """
    stating = {o.group for o in facts.observations if o.standing is not Standing.REFUSED}
    denying = {s: facts.context.group_of(s) for s in sorted(facts.context.unknown_to)}
    denying = {source: group for source, group in denying.items() if group not in stating}
    if not denying:
        return not_run("symbol_known", "no source says that it does not know the symbol")
    detail = f"{joined(denying)} {'does' if len(denying) == 1 else 'do'} not know {facts.instrument.symbol}"
    if len(stating) > 1:
        return passed("symbol_known", f"{plural(len(stating), 'upstream group')} state a price; {detail}")
    if _was_confirmed(facts):
        return passed("symbol_known", f"two groups confirmed prices of it before; {detail}")
    if len(set(denying.values())) < 2:
        return not_run("symbol_known", f"{detail}, which one upstream group alone does not prove")
    why = f"{detail}, {facts.served.quote.source} alone states a price"
    if facts.instrument.is_us_listed:
        return failed("symbol_known", f"{why}: it may be another company's", Severity.FATAL, IDENTITY_CAP)
    return failed("symbol_known", why, Severity.MAJOR, UNCOVERED_CAP)


def unit_ratio(facts: QuoteFacts) -> Finding:
    """The price is not a power of ten away from the previous close."""
    close = facts.reference_close
    if close is None:
        return not_run("unit_ratio", "no previous close known")
    price = facts.served.quote.price
    power = power_of_ten(price / close, facts.lines.unit_closeness)
    if power and not facts.seconded:
        cause = unit_cause(power, f"the previous close {price_text(close)}")
        return failed(
            "unit_ratio", f"{price_text(price)} looks like a mix-up of units ({cause})", Severity.FATAL, UNIT_CAP
        )
    return passed("unit_ratio", f"{price / close:.3g} times the previous close")


def jump(facts: QuoteFacts) -> Finding:
    """The move since the previous close is usual, or confirmed."""
    close = facts.reference_close
    if close is None:
        return not_run("jump", "no previous close known")
    share = facts.served.quote.price / close - 1
    sigmas = abs(math.log(facts.served.quote.price / close)) / facts.tolerance.daily_sigma
    detail = f"{share:+.1%} against {price_text(close)}, {sigmas:.1f} daily sigma"
    if facts.seconded or sigmas <= _UNUSUAL_SIGMAS:
        return passed("jump", detail)
    wild = abs(share) > facts.lines.large_move and sigmas > _WILD_SIGMAS
    return failed("jump", f"{detail}, one source", Severity.MAJOR, IDENTITY_CAP if wild else JUMP_CAP)


def recent_price(facts: QuoteFacts) -> Finding:
    """The move since the last served price fits the time between."""
    recent = facts.recent
    if recent is None:
        return not_run("recent_price", f"memory has no price of the last {duration_text(300.0)}")
    last, elapsed = recent
    distance = abs(math.log(facts.served.quote.price / last))
    band = max(_SMALLEST_JUMP, _UNUSUAL_SIGMAS * facts.tolerance.sigma * math.sqrt(max(1.0, elapsed)))
    detail = f"{basis_points(distance)} from {price_text(last)} {duration_text(elapsed)} before"
    if distance > band and not facts.seconded:
        cap = IDENTITY_CAP if abs(facts.served.quote.price / last - 1) > facts.lines.large_move else JUMP_CAP
        return failed("recent_price", f"{detail}, more than {basis_points(band)}", Severity.MAJOR, cap)
    return passed("recent_price", detail)


def price_band(facts: QuoteFacts) -> Finding:
    """The price lies in a band like limit-up limit-down around the last served price."""
    recent = facts.recent
    if recent is None or facts.instrument.asset_class is not AssetClass.US_EQUITY:
        return not_run("price_band", f"needs a US share and a price of the last {duration_text(300.0)}")
    last, _ = recent
    band = 0.10 if last > 3 else 0.20 if last >= 0.75 else 0.75
    share = facts.served.quote.price / last - 1
    detail = f"{share:+.1%} against {price_text(last)}, band {band:.0%}"
    if abs(share) > band and not facts.seconded:
        return failed("price_band", f"{detail}: trading would have been halted", Severity.MAJOR, JUMP_CAP)
    return passed("price_band", detail)


def price_range(facts: QuoteFacts) -> Finding:
    """The price lies in or near the range of the last weeks."""
    learned = facts.context.learned
    if learned is None or learned.range_low is None or learned.range_high is None or not facts.context.symbol_is_known:
        return not_run("price_range", f"memory does not know {facts.instrument.symbol} well enough")
    price = facts.served.quote.price
    detail = f"{price_text(price)} against {price_text(learned.range_low)}-{price_text(learned.range_high)}"
    low, high = learned.range_low / _OUT_OF_RANGE, learned.range_high * _OUT_OF_RANGE
    if not low <= price <= high and not facts.seconded:
        return failed("price_range", f"far outside of recent prices: {detail}", Severity.MAJOR, JUMP_CAP)
    return passed("price_range", detail)


def delayed_sources(facts: QuoteFacts) -> Finding:
    """Delayed sources are no further away than the time between explains."""
    own = facts.served
    on_time_s = max(facts.lines.vote_age_s, own.vote_age_s + facts.lines.explained_lag_s)
    others = [
        o
        for o in facts.observations
        if on_time_s < o.vote_age_s < math.inf and o.standing is Standing.CURRENT and o.session is own.session
        if not (facts.unit_is_settled and _in_another_unit(o, facts))
    ]
    if not others:
        return not_run("delayed_sources", "no delayed source to compare with")
    apart = [(abs(o.log_price - own.log_price), o) for o in others]
    beyond = [(gap, o) for gap, o in apart if gap > facts.tolerance.conflict(o.vote_age_s - own.vote_age_s)]
    gap, worst = max(beyond or apart, key=lambda pair: (pair[0], pair[1].key))
    detail = (
        f"{worst.quote.source} {price_text(worst.quote.price)}, {duration_text(worst.vote_age_s)} old, "
        f"{basis_points(gap)} away"
    )
    if beyond and not facts.unit_is_settled and _in_another_unit(worst, facts):
        why = f"{detail}: one of the two is in another unit, and nothing tells which"
        return failed("delayed_sources", why, Severity.MAJOR, UNSETTLED_UNIT_CAP)
    if beyond and not facts.confirmed:
        return failed("delayed_sources", f"{detail}: more than the time explains", Severity.MAJOR, JUMP_CAP)
    return passed("delayed_sources", detail)


CHECKS: Final[tuple[Check, ...]] = (
    currency,
    time_checks.event_time_present,
    time_checks.event_time_not_future,
    time_checks.machine_clock,
    time_checks.stamp_advances,
    time_checks.stamp_zone,
    time_checks.price_moves,
    time_checks.trading,
    time_checks.session_current,
    time_checks.declared_delay,
    cross_source,
    time_checks.session_tag,
    time_checks.session_answered,
    previous_close_sources,
    previous_close_memory,
    symbol_known,
    unit_ratio,
    jump,
    recent_price,
    price_band,
    price_range,
    delayed_sources,
)
"""Every check of an answer, in the order of reporting."""


def validate(facts: QuoteFacts) -> tuple[Finding, ...]:
    """The served quote's own checks and those of the answer."""
    served = facts.served
    own = check_quote(served.quote, served.session, facts.lines)
    return (*own, *[check(facts) for check in CHECKS])


def _was_confirmed(facts: QuoteFacts) -> bool:
    """Whether memory has prices of the symbol that two groups confirmed: only such teach its volatility."""
    learned = facts.context.learned
    return learned is not None and not (learned.last_price is None and learned.volatility_per_sqrt_s is None)


def _in_another_unit(observation: Observation, facts: QuoteFacts) -> bool:
    return power_of_ten(observation.quote.price / facts.served.quote.price, facts.lines.unit_closeness) != 0
