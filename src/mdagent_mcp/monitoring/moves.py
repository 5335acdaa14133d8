"""Whether the price of a watched symbol moved far beyond what it usually does. Pure.

The usual size of a move is a mean absolute deviation with exponential weights whose new values are clipped at four
times the usual, so that the outlier that is looked for does not widen its own limit; a variance would (a share of 1 %
of bad ticks inflates it fifteenfold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

LEARNING: Final = 1 - 2 ** (-1 / 200)
"""Share of a new value; half of the weight lies on the last 200."""
CLIP: Final = 4.0
SIGMA: Final = 1.2533
"""Standard deviation over mean absolute deviation of a normal variable."""
FEWEST: Final = 30
LIMIT: Final = 8.0
"""Standard deviations beyond which a move is told."""
SMALLEST: Final = 0.01
"""A move below one per cent never is."""
SHORTEST_S: Final = 1.0
LEAST: Final = 1e-5
"""Of the usual move per square root of a second, so that a price that stood still can begin to move."""
LONGEST_S: Final = 4 * 3600.0
"""Over a longer gap, such as a night, moves are not compared."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What is known of a symbol's moves.

    Attributes:
        price: the last one.
        at: when it was told.
        deviation: usual absolute logarithmic move per square root of a second.
        samples: moves seen.
    """

    price: float
    at: datetime
    deviation: float = 0.0
    samples: int = 0


def moved(known: Moves | None, price: float, at: datetime) -> tuple[Moves, float | None]:
    """With one more price; beside it the move since the last one when it is beyond what is usual, as a share.

    Args:
        known: before.
        price: positive.
        at: when it was told.
    """
    if known is None:
        return Moves(price, at), None
    elapsed = (at - known.at).total_seconds()
    if elapsed < SHORTEST_S:
        return known, None
    move = math.log(price / known.price)
    if elapsed > LONGEST_S:
        return replace(known, price=price, at=at), None
    scaled = abs(move) / math.sqrt(elapsed)
    beyond = known.samples >= FEWEST and abs(move) >= SMALLEST and scaled > LIMIT * SIGMA * known.deviation
    share = max(LEARNING, 1 / (known.samples + 1))
    usual = max(known.deviation, LEAST)
    value = scaled if known.samples < FEWEST else min(scaled, CLIP * SIGMA * usual)
    deviation = known.deviation + share * (value - known.deviation)
    return Moves(price, at, deviation, known.samples + 1), math.expm1(move) if beyond else None
