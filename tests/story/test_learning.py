"""What was learned makes the next session better: a short run of what `benchmarks/learning.py` does at length."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from learning import play
from learning_sessions import Arm, Outcome
from learning_world import World


async def test_the_second_session_is_better_than_one_without_memory(tmp_path: Path) -> None:
    """Reloaded from disk, against starting with nothing and against the same memory under other sources' names.

    Two worlds together, since fifteen questions of one alone are a matter of luck.
    """
    arms = (Arm.PERSIST, Arm.COLD, Arm.SHUFFLED, Arm.ORACLE)
    outcomes = {arm: list[Outcome]() for arm in arms}
    for seed in (101, 104):
        (directory := tmp_path / str(seed)).mkdir()
        played = await play(World(seed, 2), [40, 15], arms, directory, compared_from=1)
        for arm in arms:
            outcomes[arm] += played[arm.value][-1]
    persist, cold, shuffled, oracle = (fmean(o.worth for o in outcomes[arm]) for arm in arms)
    assert oracle - persist < 0.5 * (oracle - cold)
    assert persist > shuffled
    assert fmean(o.ok for o in outcomes[Arm.PERSIST]) >= fmean(o.ok for o in outcomes[Arm.COLD])
