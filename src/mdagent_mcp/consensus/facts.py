"""The facts of one judgement, as checks, grading and explanation see them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.cliques import Relation, apart_s
from mdagent_mcp.consensus.confirmation import CLOSE_S, outlasts_movement
from mdagent_mcp.consensus.context import GradingThresholds, QuoteContext
from mdagent_mcp.consensus.fusion import Fusion
from mdagent_mcp.consensus.market import Market
from mdagent_mcp.consensus.quote_fields import PreviousClose
from mdagent_mcp.consensus.tolerance import Tolerance
from mdagent_mcp.consensus.wording import local_minute
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Session

_SYMBOL_FIXES_CURRENCY: Final = frozenset({AssetClass.US_EQUITY, AssetClass.CRYPTO, AssetClass.FOREX})
_RECENT_S: Final = 300.0


@dataclass(frozen=True, kw_only=True)
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
        halted_since: the last trade that independent sources agree on, when nothing was traded since for so long that
            trading seems halted; None otherwise.
        served: the observation whose value is the answer.
        lines: the rubric's lines.
        confirming: the served quote and those of the vote's confirmations that the rubric's line of the same price
            includes.
        agreeing: how many independent groups those are.
        groups: the same; one where the others are so much older that the price may have moved since.
        confirmed: whether two independent groups say the same.
        seconded: whether another independent group agrees and none disagrees, even if it lies too far from the served
            price, or too far back in time, to confirm it.
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
    halted_since: datetime | None = None

    served: Observation = field(init=False, repr=False, compare=False)
    lines: GradingThresholds = field(init=False, repr=False, compare=False)
    confirming: tuple[Observation, ...] = field(init=False, repr=False, compare=False)
    agreeing: int = field(init=False, repr=False, compare=False)
    groups: int = field(init=False, repr=False, compare=False)
    confirmed: bool = field(init=False, repr=False, compare=False)
    seconded: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # nearly every check reads these; in a frozen class without slots they go straight to where they are kept
        served, lines = self.fusion.served, self.context.thresholds
        closeness, own = lines.same_price + self.tolerance.spread, served.log_price
        confirming = tuple([m for m in self.fusion.confirming if abs(m.log_price - own) <= closeness])
        groups = len({m.group for m in confirming})
        self.__dict__.update(served=served, lines=lines, confirming=confirming, agreeing=groups, groups=groups)
        self.__dict__["confirmed"] = confirmed = groups > 1 and self._is_confirmed_by_now()
        self.__dict__["groups"] = groups if confirmed else min(groups, 1)
        self.__dict__["seconded"] = groups > 1 or self._is_seconded()

    @cached_property
    def opponents(self) -> tuple[Observation, ...]:
        """The voters that contradict the served price without an explanation."""
        line = self.lines.conflicting_price + self.tolerance.spread / 2
        differing = [
            o
            for o, relation in self.fusion.outsiders
            if relation is Relation.DIFFER
            and o.group != self.served.group
            and o.vote_age_s <= self.lines.corroboration_age_s
            and self._distance(o) > line
        ]
        return (*self.fusion.opponents, *differing)

    @cached_property
    def contested(self) -> bool:
        """Whether as many independent groups contradict the served price, unexplained, as support it."""
        return self.fusion.contested or 0 < self.agreeing <= len({o.group for o in self.opponents})

    @cached_property
    def event_minute(self) -> str:
        """When the served price was true, on the exchange's clock; empty without a time."""
        instant = self.served.event_time
        return "" if instant is None else local_minute(instant, self.market.calendar)

    def _is_confirmed_by_now(self) -> bool:
        """Whether one confirmation is of about the same time, or so close that no likely movement since undoes it.

        The price that was confirmed last is such a confirmation too.
        """
        served, tolerance = self.served, self.tolerance
        if served.session is Session.CLOSED or not tolerance.learned:
            return True
        for member in self.confirming:
            if member.group != served.group:
                apart = apart_s(member, served)
                if apart <= CLOSE_S or outlasts_movement(self._distance(member), apart, tolerance):
                    return True
        if self.recent is None:
            return False
        price, elapsed = self.recent
        return outlasts_movement(abs(math.log(price) - served.log_price), elapsed, tolerance)

    @property
    def seconding(self) -> tuple[Observation, ...]:
        """What another group says that agrees, even if it lies too far off to confirm the served price."""
        served, limit = self.served, self.lines.corroboration_age_s
        return tuple(
            [
                m
                for m in self.fusion.members
                if m.group != served.group and m.sound and m.vote_age_s <= limit and m.standing <= served.standing
            ]
        )

    def _is_seconded(self) -> bool:
        served, limit = self.served, self.lines.corroboration_age_s
        if any(o.vote_age_s <= limit and o.group != served.group for o, _ in self.fusion.outsiders):
            return False
        return bool(self.seconding)

    def _distance(self, other: Observation) -> float:
        return abs(other.log_price - self.served.log_price)

    @property
    def unit_is_settled(self) -> bool:
        """Whether it is known in which unit the price is: two groups agree, or memory knows the last close."""
        learned = self.context.learned
        return self.seconded or (learned is not None and learned.previous_official_close is not None)

    @property
    def reference_close(self) -> float | None:
        """The remembered previous close, else the one the sources state."""
        learned = self.context.learned
        if learned is not None and learned.previous_official_close is not None:
            return learned.previous_official_close
        return self.previous.value

    @cached_property
    def recent(self) -> tuple[float, float] | None:
        """The last confirmed price and the seconds from it to the served event, when it is at most 5 min old."""
        learned, served = self.context.learned, self.served
        if learned is None or learned.last_price is None or learned.last_price_time is None:
            return None
        if served.event_time is None:
            return None
        elapsed = abs((served.event_time - learned.last_price_time).total_seconds())
        return (learned.last_price, elapsed) if elapsed <= _RECENT_S else None


def symbol_fixes_currency(instrument: Instrument) -> bool:
    """Whether the symbol itself says the currency, so that another one means another instrument."""
    return instrument.asset_class in _SYMBOL_FIXES_CURRENCY
