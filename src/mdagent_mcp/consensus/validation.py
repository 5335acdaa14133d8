"""The checks of an answer: each looks at the facts of one judgement and returns one `Finding`.

The rule of this module: a check is a function of `QuoteFacts` in the tuple `CHECKS`; a failed one carries the cap of
its dimension; a check that lacks what it needs says so and never reads as passed. Checks of one quote's own fields
are in `quote_checks`; of them the served quote's count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mdagent_mcp.consensus.alignment import Observation, Standing
from mdagent_mcp.consensus.causes import power_of_ten, unit_cause
from mdagent_mcp.consensus.context import GradingThresholds, QuoteContext
from mdagent_mcp.consensus.fusion import Fusion, widest_gap
from mdagent_mcp.consensus.market import Market
from mdagent_mcp.consensus.quote_checks import SOFT_CAP
from mdagent_mcp.consensus.quote_fields import PreviousClose
from mdagent_mcp.consensus.rules import failed, not_run, passed
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.consensus.wording import basis_points, duration_text, joined, local_minute, plural, price_text
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Finding, Severity

UNIT_CAP: Final = 30.0
IDENTITY_CAP: Final = 45.0
JUMP_CAP: Final = 64.0
UNSETTLED_UNIT_CAP: Final = 63.0
"""Two sources are a power of ten apart and nothing tells which is right."""
CURRENCY_CAP: Final = 79.0
TAG_CAP: Final = 79.0
UNKNOWN_UNIT_CAP: Final = 66.0
PREVIOUS_CLOSE_CAP: Final = 89.0
_WILD_SIGMAS: Final = 15.0
_UNUSUAL_SIGMAS: Final = 8.0
_SMALLEST_JUMP: Final = 50e-4
_RECENT_S: Final = 300.0
_SYMBOL_FIXES_CURRENCY: Final = frozenset({AssetClass.US_EQUITY, AssetClass.CRYPTO, AssetClass.FOREX})


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteFacts:
    """Everything a check may look at.

    Attributes:
        instrument: what was asked.
        market: what the calendar says.
        context: what else is known.
        wanted: the session that should be answered.
        observations: every quote, aligned.
        fusion: the result of the vote.
        previous: what the sources say about the previous close.
        tolerance: of the symbol.
        currency: the currency of the answer.
    """

    instrument: Instrument
    market: Market
    context: QuoteContext
    wanted: Session
    observations: tuple[Observation, ...]
    fusion: Fusion
    previous: PreviousClose
    tolerance: Tolerance
    currency: str | None

    @property
    def served(self) -> Observation:
        """The observation whose value is the answer."""
        return self.fusion.served

    @property
    def lines(self) -> GradingThresholds:
        """The rubric's lines."""
        return self.context.thresholds

    @property
    def confirmed(self) -> bool:
        """Whether two independent groups say the same."""
        return self.fusion.groups > 1

    @property
    def unit_is_settled(self) -> bool:
        """Whether it is known in which unit the price is: two groups say the same, or memory knows the last close."""
        learned = self.context.learned
        return self.confirmed or (learned is not None and learned.previous_official_close is not None)

    @property
    def reference_close(self) -> float | None:
        """The remembered previous close, else the one the sources state."""
        learned = self.context.learned
        if learned is not None and learned.previous_official_close is not None:
            return learned.previous_official_close
        return self.previous.value


Check = Callable[[QuoteFacts], Finding]


def symbol_fixes_currency(instrument: Instrument) -> bool:
    """Whether the symbol itself says the currency, so that another one means another instrument."""
    return instrument.asset_class in _SYMBOL_FIXES_CURRENCY


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


def event_time_present(facts: QuoteFacts) -> Finding:
    """The served price has a time."""
    if facts.served.event_time is None:
        detail = f"{facts.served.quote.source}: {facts.served.reason}"
        return failed("event_time_present", detail, Severity.MAJOR)
    return passed("event_time_present", f"{facts.served.quote.source} states {facts.served.event_time:%H:%M:%S} UTC")


def event_time_not_future(facts: QuoteFacts) -> Finding:
    """No source is ahead of our clock."""
    if facts.served.quote.event_time is None:
        return not_run("event_time_not_future", "no event time")
    if facts.served.cause.startswith("future"):
        return failed("event_time_not_future", f"{facts.served.quote.source}: {facts.served.reason}", Severity.MAJOR)
    return passed("event_time_not_future", f"not after {facts.context.now:%H:%M:%S} UTC")


def session_current(facts: QuoteFacts) -> Finding:
    """The price is not from before the session it should be from."""
    if not facts.market.known:
        return not_run("session_current", f"no calendar for {facts.market.calendar.name}")
    if facts.served.event_time is None:
        return not_run("session_current", "no event time")
    stamp = local_minute(facts.served.event_time, facts.market.calendar)
    if facts.served.standing is Standing.EARLIER:
        detail = f"the price of {stamp} is from before the session to answer; market {facts.market.state}"
        return failed("session_current", detail, Severity.FATAL)
    return passed("session_current", f"price of {stamp}, market {facts.market.state}")


def declared_delay(facts: QuoteFacts) -> Finding:
    """A declared delay and the stamp do not contradict each other."""
    declared = facts.served.quote.declared_delay_s
    age = facts.served.quote.age_s(facts.context.now)
    if declared <= 0 or age is None:
        return not_run("declared_delay", f"{facts.served.quote.source} declares no delay")
    detail = f"declares {duration_text(declared)}, stamped {duration_text(max(0.0, age))} ago"
    if facts.market.regular_hours and age + facts.lines.future_tolerance_s < declared:
        return failed("declared_delay", f"{facts.served.quote.source} {detail}", Severity.MINOR)
    return passed("declared_delay", detail)


def cross_source(facts: QuoteFacts) -> Finding:
    """Independent sources agree."""
    fusion = facts.fusion
    if fusion.contested:
        said = joined(f"{o.quote.source} {price_text(o.quote.price)}" for o in fusion.opponents)
        detail = f"{facts.served.quote.source} {price_text(facts.served.quote.price)} against {said}"
        return failed("cross_source", detail, Severity.MAJOR)
    if not facts.confirmed:
        return not_run("cross_source", f"only {facts.served.quote.source} has a say")
    gap = basis_points(widest_gap(fusion.confirming))
    return passed("cross_source", f"{plural(fusion.groups, 'independent source')} within {gap}")


def session_tag(facts: QuoteFacts) -> Finding:
    """The session the source names is the one its event time falls in."""
    served = facts.served
    if served.event_time is None or not facts.market.known or facts.market.continuous:
        return not_run("session_tag", "needs an event time and a market with sessions")
    tag = served.quote.session
    if tag is served.session or {tag, served.session} == {Session.REGULAR, Session.CLOSED}:
        return passed("session_tag", f"{tag} fits {local_minute(served.event_time, facts.market.calendar)}")
    detail = f"{served.quote.source} calls it {tag}, its time falls in {served.session}"
    return failed("session_tag", detail, Severity.MINOR, TAG_CAP)


def session_answered(facts: QuoteFacts) -> Finding:
    """The price belongs to the session that is asked about."""
    if facts.served.standing is Standing.EARLIER:
        return not_run("session_answered", "the price is from before that session: see session_current")
    if facts.served.session is facts.wanted:
        return passed("session_answered", f"{facts.wanted}, as the market's state asks for")
    detail = f"only a {facts.served.session} price was available, not a {facts.wanted} one"
    return failed("session_answered", detail, Severity.MAJOR, SOFT_CAP)


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


def unit_ratio(facts: QuoteFacts) -> Finding:
    """The price is not a power of ten away from the previous close."""
    close = facts.reference_close
    if close is None:
        return not_run("unit_ratio", "no previous close known")
    price = facts.served.quote.price
    power = power_of_ten(price / close, facts.lines.unit_closeness)
    if power and not facts.confirmed:
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
    if facts.confirmed or sigmas <= _UNUSUAL_SIGMAS:
        return passed("jump", detail)
    wild = abs(share) > facts.lines.large_move and sigmas > _WILD_SIGMAS
    return failed("jump", f"{detail}, one source", Severity.MAJOR, IDENTITY_CAP if wild else JUMP_CAP)


def recent_price(facts: QuoteFacts) -> Finding:
    """The move since the last served price fits the time between."""
    recent = _recent(facts)
    if recent is None:
        return not_run("recent_price", f"memory has no price of the last {duration_text(_RECENT_S)}")
    last, elapsed = recent
    distance = abs(math.log(facts.served.quote.price / last))
    band = max(_SMALLEST_JUMP, _UNUSUAL_SIGMAS * facts.tolerance.sigma * math.sqrt(max(1.0, elapsed)))
    detail = f"{basis_points(distance)} from {price_text(last)} {duration_text(elapsed)} before"
    if distance > band and not facts.confirmed:
        return failed("recent_price", f"{detail}, more than {basis_points(band)}", Severity.MAJOR, JUMP_CAP)
    return passed("recent_price", detail)


def price_band(facts: QuoteFacts) -> Finding:
    """The price lies in a band like limit-up limit-down around the last served price."""
    recent = _recent(facts)
    if recent is None or facts.instrument.asset_class is not AssetClass.US_EQUITY:
        return not_run("price_band", f"needs a US share and a price of the last {duration_text(_RECENT_S)}")
    last, _ = recent
    band = 0.10 if last > 3 else 0.20 if last >= 0.75 else 0.75
    share = facts.served.quote.price / last - 1
    detail = f"{share:+.1%} against {price_text(last)}, band {band:.0%}"
    if abs(share) > band and not facts.confirmed:
        return failed("price_band", f"{detail}: trading would have been halted", Severity.MAJOR, JUMP_CAP)
    return passed("price_band", detail)


def delayed_sources(facts: QuoteFacts) -> Finding:
    """Delayed sources are no further away than the time between explains."""
    others = [
        o
        for o in facts.observations
        if o.standing is Standing.CURRENT and o.session is facts.served.session and _is_delayed(o, facts)
        if not (facts.unit_is_settled and _in_another_unit(o, facts))
    ]
    if not others:
        return not_run("delayed_sources", "no delayed source to compare with")
    own = facts.served
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
    event_time_present,
    event_time_not_future,
    session_current,
    declared_delay,
    cross_source,
    session_tag,
    session_answered,
    previous_close_sources,
    previous_close_memory,
    unit_ratio,
    jump,
    recent_price,
    price_band,
    delayed_sources,
)
"""Every check of an answer, in the order of reporting."""


def validate(facts: QuoteFacts) -> tuple[Finding, ...]:
    """The served quote's own checks and those of the answer."""
    return (*facts.served.findings, *(check(facts) for check in CHECKS))


def _recent(facts: QuoteFacts) -> tuple[float, float] | None:
    """The last served price and the seconds from it to the served event, when it is recent."""
    learned, served = facts.context.learned, facts.served
    if learned is None or learned.last_price is None or learned.last_price_time is None or served.event_time is None:
        return None
    elapsed = abs((served.event_time - learned.last_price_time).total_seconds())
    return (learned.last_price, elapsed) if elapsed <= _RECENT_S else None


def _in_another_unit(observation: Observation, facts: QuoteFacts) -> bool:
    return power_of_ten(observation.quote.price / facts.served.quote.price, facts.lines.unit_closeness) != 0


def _is_delayed(observation: Observation, facts: QuoteFacts) -> bool:
    own = facts.served.vote_age_s
    limit = max(facts.lines.vote_age_s, own + facts.lines.explained_lag_s)
    return not math.isinf(observation.vote_age_s) and observation.vote_age_s > limit
