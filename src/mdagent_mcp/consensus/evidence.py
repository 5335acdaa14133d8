"""Quotes as claims: what the selection needs to know of each, and of the symbol.

The rule of this module: only translation. Volatility times age becomes drift, the learned record (or, without one,
trust) becomes the probability of a fault, and what is known of the symbol becomes the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.context import QuoteContext
from mdagent_mcp.consensus.selection import Claim, Known, Selection, select
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.consensus.track_knowledge import age_by, fault_by
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.resilience.track_record import TrackRecord

SAME_PRICE: Final = 5e-4
"""Two prices within five basis points, or one step, mean the same: the main venues' own last trades lie that close to
the consolidated one in 94 to 100 of 100 cases (measured)."""
_WHOLE_STEP: Final = 1.001
"""A step up and a step down differ as logarithms."""
_OLD_S: Final = 600.0
_FRESHEST_S: Final = 0.05
_FAULT_DAYS: Final = 2.0
"""Faults of moderate size (another day, another listing) scatter wider than a day moves."""
_LEAST_SPREAD: Final = 0.01
_VENUE_NOISE: Final = 3e-4
"""Deviation of one venue's own last trade from the consolidated one."""
_VENUE_VARIANCE: Final = _VENUE_NOISE**2
_GAPS: Final = 1.25
"""Standard deviation from one close to any time of the next day, in those of a trading day."""
_LONGEST_S: Final = 5 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all claims about one price share.

    Attributes:
        tolerance: of the symbol.
        context: facts beside the quotes.
        previous_close: agreed or remembered; None when unknown.
    """

    tolerance: Tolerance
    context: QuoteContext
    previous_close: float | None


@dataclass(frozen=True, slots=True)
class Weighing:
    """The selection among quotes.

    Attributes:
        selection: over all that were heard.
        by_identity: the identity of every quote that was heard -> that probability.
    """

    selection: Selection
    by_identity: Mapping[int, float]

    def probability(self, observation: Observation) -> float:
        """That the observation's price is within tolerance of the truth."""
        return self.by_identity.get(id(observation), 0.0)


def weigh(voters: Sequence[Observation], silent: Sequence[Observation], setting: Setting) -> Weighing:
    """Hear every quote; only voters can be chosen.

    Args:
        voters: at least one.
        silent: quotes of the same session that are too old to vote; they are evidence of what cannot be.
        setting: what they share.
    """
    heard = (*voters, *silent)
    claims = [_claim(o, setting) for o in heard]
    eligible = [True] * len(voters) + [False] * len(silent)
    selection = select(claims, _known(heard, setting), eligible)
    return Weighing(selection, dict(zip(map(id, heard), selection.probabilities, strict=True)))


def _claim(observation: Observation, setting: Setting) -> Claim:
    quote, context = observation.quote, setting.context
    record = context.track.record(quote.source)
    return Claim(
        observation.log_price,
        setting.tolerance.sigma**2 * min(max(_age_s(observation, record), _FRESHEST_S), _LONGEST_S),
        fault_by(record, context.trust_in(quote.source)),
        _VENUE_VARIANCE if quote.venue_only else 0.0,
        observation.group,
    )


def _age_s(observation: Observation, record: TrackRecord | None) -> float:
    """The believed age; an official close without a time is as old as it should be."""
    dated = None if observation.vote_age_s == math.inf else observation.vote_age_s
    if observation.session is Session.CLOSED:
        return 0.0 if dated is None else dated
    return age_by(record, dated)


def _known(heard: Sequence[Observation], setting: Setting) -> Known:
    tolerance = setting.tolerance
    step = tolerance.tick
    suspects = [o.log_price for o in heard if o.vote_age_s > _OLD_S and not math.isinf(o.vote_age_s)]
    if setting.previous_close is not None and setting.previous_close > 0:
        suspects.append(math.log(setting.previous_close))
    earlier, drift = _earlier(setting)
    return Known(
        tolerance=max(SAME_PRICE, step * _WHOLE_STEP),
        step=step,
        centre=median({o.log_price for o in heard}),
        spread=max(_FAULT_DAYS * tolerance.daily_sigma, _LEAST_SPREAD),
        earlier=earlier,
        earlier_drift=drift,
        suspects=tuple(suspects),
    )


def _earlier(setting: Setting) -> tuple[float | None, float]:
    """A price known to have been true and the variance of what may have happened since."""
    learned, tolerance = setting.context.learned, setting.tolerance
    if learned is not None and learned.last_price is not None and learned.last_price_time is not None:
        elapsed = (setting.context.now - learned.last_price_time).total_seconds()
        return math.log(learned.last_price), tolerance.sigma**2 * min(max(elapsed, 1.0), _LONGEST_S)
    close = setting.previous_close
    if learned is not None and learned.previous_official_close is not None:
        close = learned.previous_official_close
    if close is None or close <= 0:
        return None, 0.0
    return math.log(close), (_GAPS * tolerance.daily_sigma) ** 2
