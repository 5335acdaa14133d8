"""What to expect of a source for one kind of instrument and call, from what was learned about it. Pure.

The rule of this module: narrow knowledge leans on broader knowledge while it is short (empirical Bayes): the asset
class on the source as a whole, that on the static trust of the source's declaration; one instrument is an exception of
its class only where that is sure. What was learned fades by the clock towards the broader knowledge, not at a restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, share_within

PRIOR_WORTH: Final = 5.0
"""Outcomes that the broader knowledge is worth to the narrower one."""
ENOUGH_ABOUT_SYMBOL: Final = 5.0
"""Answers about one symbol before they are listened to."""
_SURE_SQUARED: Final = 1.645**2
"""Of the normal distribution: one symbol in twenty is better than its upper bound."""
DECLARED_FRESH: Final = 0.85
"""Chance that an unknown source which declares no delay is as fresh as it should be."""
DECLARED_LATE: Final = 0.02
"""The same for one whose declared delay is longer."""
COMPLETE_WORTH: Final = 2.0
"""Answers after which what a source states beside the price is known: it hardly changes."""
DECLARED_COMPLETE: Final = 0.7
"""Chance that an unknown source states all."""
UNKNOWN_LATENCY_S: Final = 0.3
"""Taken for a source that never answered."""
QUICK_S: Final = 0.5
"""A call that takes longer hardly helps an answer."""
DECLARED_QUICK: Final = 0.8
"""Chance that an unknown source answers within that."""
LATENCY_WORTH: Final = 2.0
"""Calls that this assumption is worth."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Discounted outcomes."""

    right: float = 0.0
    wrong: float = 0.0

    @property
    def total(self) -> float:
        """How many there are."""
        return self.right + self.wrong


NOTHING: Final = Evidence()


@dataclass(frozen=True, slots=True)
class Experience:
    """What was learned about a source for one endpoint and one class of instruments.

    Attributes:
        trust: of its declaration, 0 to 1.
        source: recent outcomes over everything it serves.
        asset_class: recent outcomes in that class.
        complete: recent answers that stated all that a complete answer has, and those that did not.
        delay: how late its prices were in that class while the market traded, seconds.
        seconds: that recent answers in that class took together.
        calls: how many there were.
        latency: how long its calls in that class took over the long run, seconds.
    """

    trust: float
    source: Evidence = NOTHING
    asset_class: Evidence = NOTHING
    complete: Evidence = NOTHING
    delay: LatencyHistogram = field(default_factory=lambda: EMPTY)
    seconds: float = 0.0
    calls: float = 0.0
    latency: LatencyHistogram = field(default_factory=lambda: EMPTY)


def chance_right(experience: Experience) -> float:
    """How probable it is that the source answers and is not contradicted."""
    source = leaning(experience.source, experience.trust)
    return leaning(experience.asset_class, source)


def share_of_usual(symbol: Evidence, in_class: Evidence) -> float:
    """How often a source is right about one instrument, as a share of how often it is about all of its class.

    Below 1 only where the instrument is surely an exception: where the upper bound of its share lies below the class's
    (Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927).

    Args:
        symbol: answers about the instrument over the long run, right ones and contradicted ones.
        in_class: the same of its class. Like with like: an instrument is asked for seldom, and what was learned about
            it in a bad week would long outlive that week if it were not compared with what happened to all of them.
    """
    n = symbol.total
    if n < ENOUGH_ABOUT_SYMBOL or in_class.right <= 0.0:
        return 1.0
    share = symbol.right / n
    middle = share + _SURE_SQUARED / (2.0 * n)
    reach = math.sqrt(_SURE_SQUARED * (share * (1.0 - share) + _SURE_SQUARED / (4.0 * n)) / n)
    return min(1.0, (middle + reach) / (1.0 + _SURE_SQUARED / n) * in_class.total / in_class.right)


def leaning(evidence: Evidence, broader: float) -> float:
    """A share that leans on a broader one while its own evidence is short."""
    return (evidence.right + PRIOR_WORTH * broader) / (evidence.total + PRIOR_WORTH)


def share_fresh(experience: Experience, limit_s: float, declared_delay_s: float) -> float:
    """How probable it is that its price is at most `limit_s` behind a market that trades."""
    prior = DECLARED_LATE if declared_delay_s > limit_s else DECLARED_FRESH
    known = experience.delay.total
    return (known * share_within(experience.delay, limit_s) + PRIOR_WORTH * prior) / (known + PRIOR_WORTH)


def share_complete(experience: Experience) -> float:
    """How probable it is that it states all that a complete answer has."""
    seen = experience.complete
    return (seen.right + COMPLETE_WORTH * DECLARED_COMPLETE) / (seen.total + COMPLETE_WORTH)


def share_quick(experience: Experience) -> float:
    """How probable it is that it answers within `QUICK_S`."""
    known = experience.latency.total
    quick = known * share_within(experience.latency, QUICK_S)
    return (quick + PRIOR_WORTH * DECLARED_QUICK) / (known + PRIOR_WORTH)


def usual_latency_s(experience: Experience) -> float:
    """How long one waits for it on average, slow calls included."""
    return (experience.seconds + LATENCY_WORTH * UNKNOWN_LATENCY_S) / (experience.calls + LATENCY_WORTH)
