"""Like with like: which session a quote's price belongs to, how late it is, and whether it may speak about now.

The rule of this module: nothing is compared before it was aligned. A quote is refused when it is wrong by
construction; otherwise it gets a session (its tag, corrected by its event time), a standing and an effective delay.
Delays are upper bounds: a stamp that only tells the minute is taken for the minute's start.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from mdagent_mcp.consensus.context import QuoteContext
from mdagent_mcp.consensus.market import Market
from mdagent_mcp.consensus.quote_checks import is_sound
from mdagent_mcp.consensus.stamps import frozen_s, stamp_doubt
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.consensus.wording import duration_text
from mdagent_mcp.domain.calendar import MarketState
from mdagent_mcp.domain.prices import Quote, Session

DATE_ONLY_S: Final = 86400.0
"""Resolution of an event time that is only a date."""
_MINIMUM_AGE_S: Final = 0.5
_LEAST_TRUST: Final = 0.02
_WEIGHT_FLOOR: Final = 0.001
_LEAST_ZONE_SHIFT_S: Final = 900.0
_GREATEST_ZONE_SHIFT_S: Final = 26 * 3600.0
"""Zones are a quarter of an hour to 26 hours apart; other stamps from the future come from a wrong clock."""


class Standing(IntEnum):
    """What a quote can be used for, best first."""

    CURRENT = 0
    """From the answered session, with a time."""
    UNDATED = 1
    """From the answered session, but nobody can say how old."""
    OTHER = 2
    """A price of another session."""
    EARLIER = 3
    """From before the session that is answered."""
    REFUSED = 4
    """Wrong by construction."""


class Observation(NamedTuple):
    """One quote, aligned.

    Every judgement makes many: a named tuple is made in a third of the time of a frozen dataclass.

    Attributes:
        quote: as the source gave it.
        group: whose data it is.
        session: the session its price belongs to.
        standing: what it can be used for.
        event_time: the source's event time on our clock; None when it cannot be believed or is missing.
        delay_s: effective delay, an upper bound; None when it cannot be known.
        vote_age_s: most likely age, the middle of what its resolution leaves open; infinite when unknown.
        weight: log-odds weight of its source.
        log_price: natural logarithm of the price.
        sound: it passes the checks on its own fields.
        cause: why it is refused or has no say; empty otherwise.
    """

    quote: Quote
    group: str
    session: Session
    standing: Standing
    event_time: datetime | None
    delay_s: float | None
    vote_age_s: float
    weight: float
    log_price: float
    sound: bool
    cause: str = ""

    @property
    def reason(self) -> str:
        """The cause without the fault's id in front of it."""
        return self.cause.partition(": ")[2] or self.cause

    @property
    def key(self) -> tuple[str | float, ...]:
        """A total order that does not depend on the order of arrival."""
        q = self.quote
        return (
            q.source,
            self.session,
            q.session,
            q.price if math.isfinite(q.price) else -1.0,
            self.vote_age_s,
            self.standing,
            -1.0 if q.event_time is None else q.event_time.timestamp(),
            *[-1.0 if n is None else n for n in (q.previous_close, q.bid, q.ask, q.volume, q.open, q.high, q.low)],
            q.declared_delay_s,
            q.currency or "",
            q.venue_only,
            q.event_time_resolution_s,
        )


def in_order(observations: Iterable[Observation]) -> list[Observation]:
    """The observations in the order of their keys, which begin with the source."""
    ordered = sorted(observations, key=_source)
    if len(set(map(_source, ordered))) < len(ordered):
        ordered.sort(key=lambda o: o.key)
    return ordered


def _source(observation: Observation) -> str:
    return observation.quote.source


@lru_cache(maxsize=256)
def vote_weight(trust: float) -> float:
    """The log-odds weight ln(10 A / (1 - A)) of a source that is right with probability A."""
    share = min(max(trust, _LEAST_TRUST), 1 - _LEAST_TRUST)
    return max(_WEIGHT_FLOOR, math.log(10 * share / (1 - share)))


def align(quote: Quote, market: Market, context: QuoteContext, refusal: str = "") -> Observation:
    """Find out what `quote` can say; `refusal` is the reason it was already found wrong by construction."""
    event_time, ahead_s = _event_time(quote, context)
    doubt = stamp_doubt(quote, event_time, context.now, context.learned) if market.regular_hours else ""
    event_time = None if doubt else event_time
    if not refusal and ahead_s > 0:
        shifted = _LEAST_ZONE_SHIFT_S <= ahead_s <= _GREATEST_ZONE_SHIFT_S
        kind = "a time zone shift" if shifted else "its clock is wrong"
        refusal = f"future: stamped {duration_text(ahead_s)} ahead of now, {kind}"
    session, standing = _place(quote.session, event_time, market, context)
    if refusal:
        standing = Standing.REFUSED
    delay = None if event_time is None else _delay(quote, session, event_time, market, context)
    source, price = quote.source, quote.price
    return Observation(
        quote=quote,
        group=context.groups.get(source, source),
        session=session,
        standing=standing,
        event_time=event_time,
        delay_s=delay,
        vote_age_s=_vote_age_s(quote, session, delay, context),
        weight=vote_weight(context.trust_in(source)),
        log_price=math.log(price) if 0 < price < math.inf else -math.inf,
        sound=is_sound(quote, session, context.thresholds),
        cause=refusal or doubt or _cause(standing, session, event_time, market),
    )


def _vote_age_s(quote: Quote, session: Session, delay_s: float | None, context: QuoteContext) -> float:
    """The most likely age; that of an undated price is known once its source's lag was learned."""
    if delay_s is not None:
        resolution_s = quote.event_time_resolution_s
        coarse = resolution_s > 1 and session is not Session.CLOSED
        return max(0.0, delay_s - resolution_s / 2) if coarse else delay_s
    learned = quote.session is not Session.CLOSED and context.track.record(quote.source) is not None
    return context.track.age_s(quote.source, None) if learned else math.inf


def undated(observation: Observation) -> Observation:
    """A quote refused for its impossible event time, taken without it because nothing better is there."""
    return observation._replace(standing=Standing.UNDATED, event_time=None, delay_s=None, vote_age_s=math.inf)


def answered_session(observations: tuple[Observation, ...], market: Market) -> Session:
    """The session to answer: the running one; the official close when nothing of it can be had or nothing runs."""
    if market.regular_hours:
        return Session.REGULAR
    if market.extended_hours:
        wanted = Session.PRE if market.state is MarketState.PRE else Session.POST
        if any(o.session is wanted and o.standing is Standing.CURRENT for o in observations):
            return wanted
    return Session.CLOSED


def stand_for(session: Session, observation: Observation) -> Observation:
    """The observation with its standing once it is settled which session is answered."""
    if observation.session is session or observation.standing in {Standing.REFUSED, Standing.EARLIER}:
        return observation
    return observation._replace(standing=Standing.OTHER, cause=f"other_session: {_OTHER[observation.session]}")


def lagging(observations: tuple[Observation, ...], tolerance: Tolerance) -> tuple[Observation, ...]:
    """The observations with the delay that a newer, different price of a peer proves."""
    newest = max((o.event_time for o in observations if o.event_time is not None), default=None)
    if newest is None:
        return observations
    allowed = tolerance.agreement(0.0)
    return tuple([_lagging(o, observations, newest, allowed) for o in observations])


def _lagging(observation: Observation, peers: tuple[Observation, ...], newest: datetime, allowed: float) -> Observation:
    own, delay = observation.event_time, observation.delay_s
    if own is None or delay is None or observation.session is Session.CLOSED:
        return observation
    if (newest - own).total_seconds() <= delay:  # no peer is so much newer
        return observation
    lag = max([_lag(observation, own, peer, allowed) for peer in peers])
    if lag <= delay:
        return observation
    return observation._replace(delay_s=lag, vote_age_s=max(observation.vote_age_s, lag))


_OTHER: Final[Mapping[Session, str]] = {
    Session.PRE: "a pre-market print",
    Session.REGULAR: "a price of regular trading",
    Session.POST: "a post-market print",
    Session.CLOSED: "the official close",
}


def _event_time(quote: Quote, context: QuoteContext) -> tuple[datetime | None, float]:
    """The event time on our clock, and how far it lies in the future beyond what is tolerated."""
    if quote.event_time is None:
        return None, 0.0
    stamp = quote.event_time
    offset = context.clock_offsets.get(quote.source, 0.0)
    if offset:
        stamp -= timedelta(seconds=offset)
    ahead = (stamp - context.now).total_seconds()
    if ahead <= context.thresholds.future_tolerance_s + min(quote.event_time_resolution_s, 60.0):
        return stamp, 0.0
    if quote.event_time_resolution_s >= DATE_ONLY_S and ahead < DATE_ONLY_S:
        return None, 0.0  # today's date while the session runs: from today, no more can be told
    return None, ahead


def _place(
    tag: Session, event_time: datetime | None, market: Market, context: QuoteContext
) -> tuple[Session, Standing]:
    if market.continuous and market.known:
        tag = Session.REGULAR if market.regular_hours else Session.CLOSED
    if event_time is None:
        return _untimed_session(tag, market), Standing.UNDATED
    if not market.known:
        return _untimed_session(tag, market), Standing.CURRENT
    if market.regular_hours:
        return _place_in_regular_hours(tag, event_time, market)
    return _place_outside_regular_hours(tag, event_time, market, context)


def _untimed_session(tag: Session, market: Market) -> Session:
    """An undated regular price is the running session's, or the close when nothing runs."""
    if tag in {Session.PRE, Session.POST}:
        return tag
    if not market.known:
        return Session.REGULAR
    return tag if market.regular_hours else Session.CLOSED


def _place_in_regular_hours(tag: Session, event_time: datetime, market: Market) -> tuple[Session, Standing]:
    if market.since is not None and event_time < market.since:
        extended = tag in {Session.PRE, Session.POST}
        return tag, Standing.OTHER if extended and _is_today(event_time, market) else Standing.EARLIER
    return Session.REGULAR, Standing.CURRENT


def _is_today(event_time: datetime, market: Market) -> bool:
    return market.current is not None and event_time >= market.current.pre_open


def _place_outside_regular_hours(
    tag: Session, event_time: datetime, market: Market, context: QuoteContext
) -> tuple[Session, Standing]:
    if market.last is None or event_time < market.last.open:
        return tag, Standing.EARLIER
    if tag is Session.CLOSED:
        return tag, Standing.CURRENT
    settle = timedelta(seconds=context.thresholds.settle_s)
    if tag is Session.REGULAR and event_time <= market.last.close + settle:
        return Session.CLOSED, Standing.CURRENT  # closing auctions are printed up to some minutes after the bell
    if market.extended_hours and market.since is not None and event_time >= market.since:
        return (Session.PRE if market.state is MarketState.PRE else Session.POST), Standing.CURRENT
    return (Session.POST if tag is Session.REGULAR else tag), Standing.OTHER


def _delay(quote: Quote, session: Session, event_time: datetime, market: Market, context: QuoteContext) -> float:
    """How much later than the newest price there could be: the time since the close, the break or now."""
    slack = context.thresholds.close_slack_s
    end = market.last.close if session is Session.CLOSED and market.last is not None else market.paused_at
    if end is not None and not (session is Session.CLOSED and market.regular_hours):
        before_end = max(0.0, (end - event_time).total_seconds() - slack)
        return max(0.0, before_end - _usual_gap(quote, context))  # a thin share's last trade may be hours before
    if not market.regular_hours and not market.extended_hours and market.last is not None:
        return max(0.0, (market.last.close - event_time).total_seconds() - slack)
    age = context.track.age_s(quote.source, max(0.0, (market.now - event_time).total_seconds()))
    frozen = frozen_s(quote, market.now, context.learned)
    return max(_learned_delay(age, quote, context), quote.declared_delay_s, frozen)


def _usual_gap(quote: Quote, context: QuoteContext) -> float:
    return 0.0 if context.learned is None else context.learned.gap_q95_s.get(quote.source, 0.0)


def _learned_delay(age: float, quote: Quote, context: QuoteContext) -> float:
    """The age of a last trade less the pause that is usual between trades."""
    learned = context.learned
    gap = None if learned is None else learned.gap_q95_s.get(quote.source)
    if learned is None or gap is None:
        return age
    return max(min(age, _MINIMUM_AGE_S), age - gap)


def _lag(own: Observation, own_time: datetime, peer: Observation, allowed: float) -> float:
    if peer.event_time is None or peer.log_price == own.log_price or peer.event_time <= own_time:
        return 0.0
    if peer.session is not own.session:
        return 0.0
    moved = abs(own.log_price - peer.log_price) > allowed
    return (peer.event_time - own_time).total_seconds() if moved else 0.0


def _cause(standing: Standing, session: Session, event_time: datetime | None, market: Market) -> str:
    if standing is Standing.CURRENT:
        return ""
    if standing is Standing.EARLIER and event_time is not None:
        return f"stale by {duration_text((market.now - event_time).total_seconds())}: from before the session"
    if standing is Standing.UNDATED:
        return "undated: the source does not say when it was true"
    return f"other_session: {_OTHER[session]}" if standing is Standing.OTHER else ""
