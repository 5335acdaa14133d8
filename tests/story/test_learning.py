"""What was learned makes the next session better: a short run of what `benchmarks/learning.py` does at length."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from learning import play
from learning_sessions import Arm
from learning_world import World


@pytest.mark.parametrize("seed", [101, 104])
async def test_the_second_session_is_better_than_one_without_memory(seed: int, tmp_path: Path) -> None:
    """Reloaded from disk, against starting with nothing and against the same memory under other sources' names."""
    arms = (Arm.PERSIST, Arm.COLD, Arm.SHUFFLED, Arm.ORACLE)
    played = await play(World(seed, 2), [40, 15], arms, tmp_path, compared_from=1)
    persist, cold, shuffled, oracle = (fmean(o.worth for o in played[arm.value][-1]) for arm in arms)
    assert oracle - persist < 0.6 * (oracle - cold)
    assert persist > shuffled
    assert fmean(o.ok for o in played["persist"][-1]) >= fmean(o.ok for o in played["cold"][-1])
