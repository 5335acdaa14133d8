"""How good a session's answers were, and how good its first ones: the points of the learning curve.

The rule of this module: plain sums, added in SQL, so that nothing is lost between processes. The early part of a
session is told apart, because that is where a memory of earlier sessions shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from mdagent_mcp.domain.events import Fetched, Graded
from mdagent_mcp.domain.quality import Grade

EARLY_REQUESTS: Final = 30
"""The first requests of a session, which a memory helps most."""
EARLY: Final = "early"
LATER: Final = "later"
WORTH: Final[Mapping[Grade | None, float]] = MappingProxyType(
    {Grade.A: 1.0, Grade.B: 0.85, Grade.C: 0.7, Grade.D: 0.4, Grade.F: 0.0, None: 0.0}
)
"""What an answer is worth."""
SECOND_COSTS: Final = 0.3
"""Worth that a second of waiting takes away."""
MOST_LOSS: Final = 2.0
"""Of one request, however long it took."""


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """Sums over the requests of a session or a part of it; a request is one symbol asked for once.

    Attributes:
        requests: how many.
        a: answers graded A.
        b: answers graded B.
        c: answers graded C.
        d: answers graded D.
        f: answers graded F.
        unanswered: requests without an answer.
        cached: answers out of the cache.
        calls: calls to vendors.
        loss: what the answers were worth less than an immediate A, summed; see `WORTH` and `SECOND_COSTS`. It is a
            proxy of the regret, since it includes what no choice of sources could have given.
        elapsed_s: time the askers waited.
    """

    requests: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    f: int = 0
    unanswered: int = 0
    cached: int = 0
    calls: int = 0
    loss: float = 0.0
    elapsed_s: float = 0.0

    def __add__(self, other: SessionFigures) -> SessionFigures:
        # Written out: this runs at every event, and `astuple` copies deeply.
        return SessionFigures(
            self.requests + other.requests,
            self.a + other.a,
            self.b + other.b,
            self.c + other.c,
            self.d + other.d,
            self.f + other.f,
            self.unanswered + other.unanswered,
            self.cached + other.cached,
            self.calls + other.calls,
            self.loss + other.loss,
            self.elapsed_s + other.elapsed_s,
        )


def figures_of(event: Graded | Fetched) -> SessionFigures:
    """What one event adds."""
    if isinstance(event, Fetched):
        return SessionFigures(calls=1)
    loss = 1.0 - WORTH[event.grade] + SECOND_COSTS * max(0.0, event.elapsed_s)
    return SessionFigures(
        requests=1,
        cached=int(event.cached),
        loss=min(loss, MOST_LOSS),
        elapsed_s=max(0.0, event.elapsed_s),
        **{"unanswered" if event.grade is None else event.grade.value.lower(): 1},
    )


def figures_json(figures: SessionFigures) -> dict[str, Any]:
    """The figures with what is read off them; a ratio without a denominator is None."""
    answers = {name.upper(): getattr(figures, name) for name in "abcdf"}
    return {
        "requests": figures.requests,
        "answers": answers | {"none": figures.unanswered},
        "cached": figures.cached,
        "vendor_calls": figures.calls,
        "loss_per_request": _ratio(figures.loss, figures.requests),
        "calls_per_a_answer": _ratio(figures.calls, figures.a),
        "share_a": _ratio(figures.a, figures.requests),
        "mean_wait_s": _ratio(figures.elapsed_s, figures.requests),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
