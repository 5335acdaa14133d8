"""Kinds of a closed market: the week-end after a Friday that memory lived through, and the evening of that Friday."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from grading_quotes.drafts import Draft
from grading_quotes.kinds import Case, Maker
from grading_quotes.oracle import Truth
from grading_quotes.world import World
from mdagent_mcp.domain.prices import Session

_SUNDAY: Final = timedelta(hours=46)
_EVENING: Final = timedelta(minutes=90)


def _close_of(world: World) -> datetime:
    return world.tape.instant(world.tape.length_s)


def _official(world: World, count: int, after: timedelta) -> list[Draft]:
    """What sources say of the official close."""
    close = _close_of(world)
    world.clock.jump_to(close + after)
    price = world.tape.at(world.tape.length_s).price
    drafts = world.independent(count)
    for draft in drafts:
        draft.fields.update(
            price=price,
            bid=None,
            ask=None,
            event_time=close + timedelta(seconds=world.rng.choice((0, 0, 1, 4))),
            received_at=world.clock.now(),
            session=world.rng.choice((Session.CLOSED, Session.REGULAR)),
        )
    return drafts


def _case(world: World, drafts: list[Draft]) -> Case:
    price = world.tape.at(world.tape.length_s).price
    return Case(drafts, Truth(0.0, price, price, session_over=True))


def _weekend(count: int) -> Maker:
    return lambda world: _case(world, _official(world, count, _SUNDAY))


def _thursday(world: World) -> Case:
    drafts = _official(world, world.rng.choice((1, 2)), _SUNDAY)
    for draft in drafts:
        draft.fields["price"] = world.tape.previous_close
        draft.fields["previous_close"] = round(world.tape.previous_close * 0.99, 2)
        draft.fields["event_time"] = _close_of(world) - timedelta(days=1)
        draft.earlier_session = True
    return _case(world, drafts)


def _evening(world: World) -> Case:
    drafts = _official(world, world.rng.choice((2, 3)), _EVENING)
    for draft in drafts:
        draft.other_session = True
    return _case(world, drafts)


CLOSED: Final[Mapping[str, Maker]] = {
    "Friday's close on Sunday x2": _weekend(2),
    "Friday's close on Sunday x1": _weekend(1),
    "Thursday's close on Sunday": _thursday,
    "close in the evening session": _evening,
}
"""Judged after a Friday afternoon, for which the tape runs until the closing bell."""
