"""The kinds of fault: each makes one case of a world, what the sources say and what is true."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from grading_quotes.drafts import Draft, say
from grading_quotes.oracle import Truth
from grading_quotes.world import FREEZING, LATE, PAIR, SLOW, World

EDGES_S: Final = (2.0, 5.0, 30.0, 1200.0)
"""The rubric's lines of delay."""
EDGES_ERROR: Final = (10e-4, 25e-4, 0.20)
"""The rubric's lines of error."""
NEAR: Final = 1.3
"""A severity within this factor of a line is near it."""
SECONDARY: Final = ("bid", "ask", "volume", "previous_close")


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        drafts: what the sources say.
        truth: what is true.
        near: whether its severity lies near a line of the rubric.
    """

    drafts: list[Draft]
    truth: Truth
    near: bool = False


Maker = Callable[[World], Case]


def _case(world: World, drafts: list[Draft], *, near: bool = False, absent: bool = False, factor: float = 1.0) -> Case:
    state = world.tape.at(world.now)
    low, high = min(state.bid, state.price) * factor, max(state.ask, state.price) * factor
    return Case(drafts, Truth(world.now, low, high, absent=absent), near)


def _clean(count: int) -> Maker:
    return lambda world: _case(world, world.independent(count))


def _same_upstream(world: World) -> Case:
    return _case(world, world.healthy(*PAIR))


def _delayed(low: float, high: float) -> Maker:
    def make(world: World) -> Case:
        extra = world.rng.uniform(low, high)
        drafts = world.independent(world.rng.choice((1, 2, 3)))
        return _case(world, [_later(world, d, extra) for d in drafts])

    return make


def _later(world: World, draft: Draft, delay_s: float) -> Draft:
    """The same source with content that is `delay_s` old."""
    return say(world.tape, draft.profile, max(0.0, world.now - delay_s), draft.received_at, world.rng)


def _declared(world: World) -> Case:
    drafts = [_later(world, d, 900 + world.rng.uniform(0, 20)) for d in world.independent(world.rng.choice((1, 2)))]
    for draft in drafts:
        draft.fields["declared_delay_s"] = 900.0
    return _case(world, drafts)


def _mixed(world: World) -> Case:
    real_time = world.rng.choice((1, 2))
    drafts = world.independent(real_time + 1)
    late = _later(world, drafts[-1], 900 + world.rng.uniform(0, 20))
    late.fields["declared_delay_s"] = 900.0
    return _case(world, [*drafts[:-1], late])


def _frozen(*with_frozen: str, peers: int = 0) -> Maker:
    def make(world: World) -> Case:
        return _case(world, [*(world.frozen(name) for name in with_frozen), *world.independent(peers)])

    return make


def _unit(factors: tuple[float, ...], *, alone: bool) -> Maker:
    def make(world: World) -> Case:
        drafts = world.independent(1 if alone else 3)
        drafts[0].scale(world.rng.choice(factors))
        drafts[0].wrong_kind = True
        return _case(world, drafts)

    return make


def _bad_tick(low: float, high: float, count: int) -> Maker:
    def make(world: World) -> Case:
        drafts = world.independent(count)
        drafts[0].scale(math.exp(world.rng.choice((-1, 1)) * world.rng.uniform(low, high)), "price")
        return _case(world, drafts)

    return make


def _crossed(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 2)))
    for draft in drafts:
        draft.fields["bid"], draft.fields["ask"] = draft.fields["ask"], draft.fields["bid"]
        draft.wrong_fields = True
    return _case(world, drafts)


def _not_positive(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 3)))
    drafts[0].fields["price"] = world.rng.choice((0.0, -1.0))
    drafts[0].wrong_kind = True
    return _case(world, drafts)


def _null(world: World) -> Case:
    """A null price is refused while reading: there is one quote less."""
    return _case(world, world.independent(world.rng.choice((0, 2))))


def _no_stamp(world: World) -> Case:
    drafts = world.independent(3)
    for draft in drafts[: world.rng.choice((1, 3))]:
        draft.fields["event_time"] = None
        draft.wrong_stamp = True
    return _case(world, drafts)


def _without(count: int | None, *names: str) -> Maker:
    def make(world: World) -> Case:
        gone = names if count is None else tuple(world.rng.sample(SECONDARY, world.rng.randint(1, count)))
        drafts = world.independent(world.rng.choice((2, 3)))
        for draft in drafts:
            draft.fields.update(dict.fromkeys(gone))
        return _case(world, drafts, absent=bool(gone))

    return make


def _currency(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 3)))
    drafts[0].fields["currency"] = world.rng.choice(("EUR", "GBP"))
    drafts[0].wrong_kind = True
    return _case(world, drafts)


def _zone(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 3)))
    drafts[0].shift_stamp(3600.0 * world.rng.choice((-5, -4, -1, 1, 4, 5)))
    drafts[0].wrong_stamp = True
    return _case(world, drafts)


def _conflict(world: World) -> Case:
    return _bad_tick(0.01, 0.03, 2)(world)


def _instrument(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 2, 3)))
    drafts[0].scale(world.rng.choice((0.3, 0.45, 0.62, 1.4, 2.3, 4.1)))
    drafts[0].wrong_kind = True
    return _case(world, drafts)


def _jump(world: World) -> Case:
    drafts = world.independent(2)
    factor = math.exp(world.rng.choice((-1, 1)) * world.rng.uniform(0.06, 0.12))
    for draft in drafts:
        draft.scale(factor, "price", "bid", "ask")
        price = draft.price
        draft.fields["low"] = min(world.tape.low, price)
        draft.fields["high"] = max(world.tape.high, price)
    return _case(world, drafts, factor=factor)


def _old_trades(world: World) -> Case:
    return _case(world, world.healthy(*SLOW))


def _range(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 2)))
    away = world.rng.uniform(0.005, 0.03)
    for draft in drafts:
        draft.fields["high"] = round(draft.price * (1 - away), 2)
        draft.fields["low"] = round(draft.price * (1 - away - 0.01), 2)
        draft.fields["open"] = draft.fields["low"]
        draft.wrong_fields = True
    return _case(world, drafts)


def _pair_and_outlier(world: World) -> Case:
    (outlier,) = world.independent(1)
    outlier.scale(math.exp(world.rng.choice((-1, 1)) * world.rng.uniform(0.01, 0.03)), "price")
    return _case(world, [*world.healthy(*PAIR), outlier])


def _four_or_six(world: World) -> Case:
    delay = world.rng.choice((4.0, 6.0))
    return _case(world, [_later(world, d, delay) for d in world.independent(world.rng.choice((2, 3)))], near=True)


def _foreign_close(world: World) -> Case:
    drafts = world.independent(world.rng.choice((1, 3)))
    drafts[0].scale(world.rng.choice((0.4, 0.7, 1.3, 2.2)), "previous_close")
    drafts[0].wrong_kind = True
    return _case(world, drafts)


def log_uniform(rng: random.Random, low: float, high: float, edges: tuple[float, ...]) -> tuple[float, bool]:
    """A severity, half the time within 30 % of one of the rubric's lines, and whether it is near one."""
    if rng.random() < 0.5:
        return rng.choice(edges) * math.exp(rng.uniform(-math.log(NEAR), math.log(NEAR))), True
    value = math.exp(rng.uniform(math.log(low), math.log(high)))
    return value, any(edge / NEAR <= value <= edge * NEAR for edge in edges)


def _any_delay(count: int, late: int) -> Maker:
    """`count` sources, the last `late` of them late."""

    def make(world: World) -> Case:
        delay, near = log_uniform(world.rng, 1.0, 3000.0, EDGES_S)
        delay = min(delay, world.now - 1.0)
        drafts = world.independent(count)
        drafts = [_later(world, d, delay) if i >= count - late else d for i, d in enumerate(drafts)]
        return _case(world, drafts, near=near)

    return make


def _any_error(count: int, low: float) -> Maker:
    def make(world: World) -> Case:
        error, near = log_uniform(world.rng, low, 0.35, tuple(e for e in EDGES_ERROR if e >= low))
        drafts = world.independent(count)
        drafts[0].scale(math.exp(world.rng.choice((-1, 1)) * error), "price")
        return _case(world, drafts, near=near)

    return make


def _any_book(world: World) -> Case:
    """A book that is crossed by up to three ticks, or not."""
    drafts = world.independent(2)
    ticks = world.rng.choice((-3, -2, -1, 0, 1, 2))
    for draft in drafts:
        ask = draft.fields["ask"]
        draft.fields["bid"] = round((ask if isinstance(ask, float) else 0.0) - ticks * 0.01, 2)
        draft.wrong_fields = ticks < 0
    return _case(world, drafts, near=abs(ticks) <= 1)


def _any_missing(world: World) -> Case:
    return _without(len(SECONDARY))(world)


def _small_error_alone(world: World) -> Case:
    error = math.exp(world.rng.uniform(math.log(25e-4), math.log(50e-4)))
    drafts = world.independent(1)
    drafts[0].scale(math.exp(world.rng.choice((-1, 1)) * error), "price")
    return _case(world, drafts, near=True)


def _always_late(world: World) -> Case:
    return _case(world, world.healthy(LATE))


def _always_late_with_peer(world: World) -> Case:
    return _case(world, [*world.healthy(LATE), *world.independent(1)])


def _healthy_now(world: World) -> Case:
    return _clean(world.rng.choice((1, 2, 3)))(world)


DISCRETE: Final[Mapping[str, Maker]] = {
    "clean x3": _clean(3),
    "clean x2": _clean(2),
    "clean x1": _clean(1),
    "same-upstream pair": _same_upstream,
    "delay 3-4.8 s": _delayed(3.0, 4.8),
    "delay 6-28 s": _delayed(6.0, 28.0),
    "delay declared 15 min": _declared,
    "delay 35-900 s": _delayed(35.0, 900.0),
    "delay over 20 min": _delayed(1260.0, 2400.0),
    "real time with 15 min": _mixed,
    "frozen, with peers": _frozen(FREEZING[0], peers=2),
    "frozen, alone": _frozen(FREEZING[0]),
    "frozen, both of one upstream": _frozen(*FREEZING),
    "100x alone": _unit((100.0, 0.01), alone=True),
    "100x, 1 of 3": _unit((100.0, 0.01), alone=False),
    "10x or 1000x": _unit((10.0, 0.1, 1000.0), alone=True),
    "bad tick 3-10 %, alone": _bad_tick(0.03, 0.10, 1),
    "bad tick 3-10 %, 1 of 3": _bad_tick(0.03, 0.10, 3),
    "crossed book": _crossed,
    "price not above 0": _not_positive,
    "price null": _null,
    "no time": _no_stamp,
    "fields missing": _without(3),
    "wrong currency": _currency,
    "time of another zone": _zone,
    "conflict 1-3 %": _conflict,
    "wrong instrument": _instrument,
    "trap: genuine jump 6-12 %": _jump,
    "trap: old trades": _old_trades,
}
"""Kinds used while the rules were made; those of a closed market are in `closed`."""

HELD_OUT: Final[Mapping[str, Maker]] = {
    "contradicts its range": _range,
    "same-upstream pair, outlier": _pair_and_outlier,
    "delay 4 or 6 s": _four_or_six,
    "no bid and ask": _without(None, "bid", "ask"),
    "previous close of another": _foreign_close,
    "pair, one frozen": _frozen(FREEZING[0], peers=1),
}
"""Kinds that were not looked at while the rules were made."""

CONTINUOUS: Final[Mapping[str, Maker]] = {
    "healthy": _healthy_now,
    "delay of 1": _any_delay(1, 1),
    "delay of 2": _any_delay(2, 2),
    "delay of 3": _any_delay(3, 3),
    "delay of 1 of 2": _any_delay(2, 1),
    "delay of 1 of 3": _any_delay(3, 1),
    "error of 1 of 3": _any_error(3, 3e-4),
    "error of 1 of 2": _any_error(2, 3e-4),
    "error alone": _any_error(1, 50e-4),
    "book crossed or not": _any_book,
    "fields missing": _any_missing,
    "frozen, with peers": _frozen(FREEZING[0], peers=2),
}
"""Severities drawn on and around the rubric's lines."""

BEYOND: Final[Mapping[str, Maker]] = {
    "error 25-50 bp, alone": _small_error_alone,
    "always 3-4.5 s late, alone": _always_late,
    "always 3-4.5 s late, with a peer": _always_late_with_peer,
}
"""Faults that show in nothing one could look at, or hardly: reported apart."""

__all__ = ["BEYOND", "CONTINUOUS", "DISCRETE", "HELD_OUT", "Case", "Maker"]
