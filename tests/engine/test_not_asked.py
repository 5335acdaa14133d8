"""Who is told of among the failures: whoever was asked, and whoever could be, but not who is out of use anyway."""

from __future__ import annotations

import pytest

from engine.scripted_source import OPEN_MARKET, ScriptedSource
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.engine.parts import not_asked
from mdagent_mcp.testing import ManualClock

EXCLUDED = "the plan of this key does not include history"


def source(state: SourceState) -> ScriptedSource:
    """A source in this state."""
    return ScriptedSource("one", ManualClock(OPEN_MARKET), {}, now_state=state)


@pytest.mark.parametrize("state", [SourceState.NO_KEY, SourceState.RETIRED, SourceState.DISABLED])
@pytest.mark.parametrize("refusal", [None, EXCLUDED])
def test_a_source_out_of_use_is_told_of_only_where_it_is_named(state: SourceState, refusal: str | None) -> None:
    """Then by its state: without a key no plan of a key excludes anything."""
    kinds = {SourceState.NO_KEY: FailureKind.UNAUTHORIZED, SourceState.RETIRED: FailureKind.RETIRED}
    assert not_asked(source(state), refusal, named=False) is None
    told = not_asked(source(state), refusal, named=True)
    kind = kinds.get(state, FailureKind.UNSUPPORTED)
    assert told == Failure("one", kind, f"the source is {state.value.replace('_', ' ')}")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("state", [SourceState.LIVE, SourceState.OPEN, SourceState.EXHAUSTED])
def test_a_source_in_use_that_cannot_serve_the_question_says_so(state: SourceState, named: bool) -> None:
    """Whatever else keeps it from being asked would not help either."""
    assert not_asked(source(state), EXCLUDED, named=named) == Failure("one", FailureKind.UNSUPPORTED, EXCLUDED)


def test_a_source_that_can_serve_it_is_asked_or_says_why_it_is_left_alone() -> None:
    """None is the word for asking it."""
    assert not_asked(source(SourceState.LIVE), None, named=False) is None
    told = Failure("one", FailureKind.CIRCUIT_OPEN, "the source is open")
    assert not_asked(source(SourceState.OPEN), None, named=False) == told
