"""The right grade, from the hidden truth alone.

The rule of this module: nothing of the product's rules, thresholds or tolerances is used; only what was injected and
what was true. The lines are those of the rubric: 2, 5 and 30 s, 20 min, 10 and 25 bp, 20 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grading_quotes.drafts import Draft
from mdagent_mcp.domain.quality import Grade


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true when a case is judged.

    Attributes:
        now: seconds on the tape's clock.
        low: lower end of what is right: of the best bid and the last trade.
        high: upper end.
        session_over: the market is closed, so that the official close has no delay.
        absent: a secondary field that no source states.
    """

    now: float
    low: float
    high: float
    session_over: bool = False
    absent: bool = False


def right_grade(served: Draft | None, drafts: Sequence[Draft], truth: Truth) -> Grade:
    """The grade the served word deserves; F when there is none."""
    if served is None:
        return Grade.F
    delay, error = _delay(served, truth), _error(served, truth)
    if served.wrong_kind or error > 0.20 or served.earlier_session or delay > 1200:
        return Grade.F
    if delay > 30 or error > 25e-4 or served.wrong_fields or served.wrong_stamp or _undecided(drafts, truth):
        return Grade.D
    if delay > 5 or served.other_session:
        return Grade.C
    if delay > 2 or len(_good_groups(drafts, truth)) < 2 or truth.absent:
        return Grade.B
    return Grade.A


def _delay(draft: Draft, truth: Truth) -> float:
    return 0.0 if truth.session_over else truth.now - draft.content_at


def _error(draft: Draft, truth: Truth) -> float:
    """Relative distance from the last trade and the book around it, both of the instant of judging."""
    return max(0.0, 1 - draft.price / truth.low, draft.price / truth.high - 1)


def _flawless(draft: Draft) -> bool:
    return not (draft.wrong_kind or draft.wrong_stamp or draft.wrong_fields or draft.earlier_session)


def _good_groups(drafts: Sequence[Draft], truth: Truth) -> set[str]:
    """Independent groups that say the right thing: within 10 bp, no older than 30 s, nothing wrong with it."""
    return {
        d.profile.group
        for d in drafts
        if _flawless(d) and not d.other_session and _delay(d, truth) <= 30 and _error(d, truth) <= 10e-4
    }


def _undecided(drafts: Sequence[Draft], truth: Truth) -> bool:
    """Whether fresh sources with the right kind of price contradict the right ones and are not outnumbered."""
    fresh = [d for d in drafts if not d.wrong_kind and not d.earlier_session and _delay(d, truth) <= 30]
    wrong = {d.profile.group for d in fresh if _error(d, truth) > 25e-4 and not d.wrong_stamp}
    return bool(wrong) and len(wrong) >= len(_good_groups(drafts, truth)) > 0
