"""The rules of learning: what counts, what does not, how it fades and how it adds up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaincinv

from mdagent_mcp.domain.events import Fetched, Judged
from mdagent_mcp.domain.failures import TRAITS, FailureKind
from mdagent_mcp.domain.status import Reliability
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.learning import (
    HALF_LIFE_S,
    Cell,
    CellKey,
    asset_class,
    combine,
    learn_fetched,
    learn_judged,
    reliability,
    settled,
)
from mdagent_mcp.resilience.latency import quantile, recorded
from memory.memory_samples import NOON, fetched, judged

WHOLE = CellKey("alpha")


def _learned(events: Iterable[Fetched | Judged]) -> Cell:
    cells = [dict(learn_fetched(e) if isinstance(e, Fetched) else learn_judged(e)) for e in events]
    return reduce(combine, [cell[WHOLE] for cell in cells if WHOLE in cell])


def test_nine_in_ten_is_believed_before_anything_is_seen() -> None:
    """The prior: estimate 0.9, worth two outcomes."""
    known = reliability(Cell(0.0))
    assert known == Reliability(0.9, known.lower_bound, 0.0)
    assert known.lower_bound == pytest.approx(float(betaincinv(1.8, 0.2, 0.1)), abs=1e-6)


def test_good_outcomes_raise_and_bad_ones_lower_the_estimate() -> None:
    """Forty good ones, then ten bad ones; the bound is below the estimate and comes closer with evidence."""
    good = _learned([fetched()] * 40)
    mixed = reduce(combine, [good, *[_learned([fetched("alpha", FailureKind.TIMEOUT)])] * 10])
    assert reliability(good).estimate == pytest.approx((38.9 + 1.8) / (38.9 + 2), abs=0.005)
    assert reliability(mixed).estimate == pytest.approx((38.4 + 1.8) / (38.4 + 9.9 + 2), abs=0.005)
    assert reliability(Cell(0.0)).lower_bound < reliability(good).lower_bound < reliability(good).estimate


@pytest.mark.parametrize("kind", list(FailureKind))
def test_only_failures_that_speak_against_the_source_lower_it(kind: FailureKind) -> None:
    """What the traits say does not count leaves the estimate as it was; the error itself is remembered."""
    before = _learned([fetched()] * 5)
    after = combine(before, _learned([fetched("alpha", kind, at=NOON)]))
    if TRAITS[kind].counts_against_reliability:
        assert reliability(after).estimate < reliability(before).estimate
    else:
        assert reliability(after) == reliability(before)
    assert after.last_error == kind


def test_a_contradicted_answer_was_no_success() -> None:
    """A source that always answers and is always contradicted becomes as unreliable as one that never answers."""
    liar = _learned([fetched(), judged(agreed=False, fault="unit")] * 50)
    mute = _learned([fetched("alpha", FailureKind.TIMEOUT)] * 50)
    assert reliability(liar).estimate == pytest.approx(reliability(mute).estimate, abs=0.02)
    assert reliability(liar).estimate < 0.1


def test_agreement_and_no_comparison_change_nothing_further() -> None:
    """The answer was counted when it came."""
    assert list(learn_judged(judged(agreed=True))) == []
    assert list(learn_judged(judged(agreed=None))) == []


def test_a_fault_without_contradiction_counts_half() -> None:
    """Stale when there was nobody to compare with: half a success."""
    half = _learned([fetched(), judged(agreed=None, fault="stale")])
    assert (half.right, half.wrong) == pytest.approx((0.5, 0.5))


def test_more_contradictions_than_answers_leave_no_debt() -> None:
    """Verdicts on answers from the cache cannot push what is stored below nothing."""
    stored = settled(_learned([fetched(), *[judged(agreed=False)] * 30]))
    assert stored.right == 0.0
    assert reliability(combine(stored, _learned([fetched()] * 30))).estimate > 0.4


def test_a_batch_counts_each_symbol_up_to_ten() -> None:
    """One call for fifty symbols is more than one outcome and less than fifty."""
    symbols = [f"S{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(50)]
    cells = dict(learn_fetched(fetched("alpha", None, *symbols, endpoint=Endpoint.QUOTES)))
    assert cells[WHOLE].outcomes == 10
    assert cells[CellKey("alpha", "quote", "asset:us_equity")].right == 10
    assert cells[CellKey("alpha", "quote", "symbol:SAA")].right == 1
    assert len(cells) == 52


def test_outcomes_go_to_the_source_its_asset_classes_and_its_symbols() -> None:
    """Each under the endpoint's family; latency is learned for the source and the class."""
    cells = dict(learn_fetched(fetched("alpha", None, "AAPL", "BTC-USD", latency_s=0.3, endpoint=Endpoint.HISTORY)))
    assert {key: (cell.right, quantile(cell.latency, 0.5) is not None) for key, cell in cells.items()} == {
        CellKey("alpha"): (2, True),
        CellKey("alpha", "history", "asset:us_equity"): (1, True),
        CellKey("alpha", "history", "asset:crypto"): (1, True),
        CellKey("alpha", "history", "symbol:AAPL"): (1, False),
        CellKey("alpha", "history", "symbol:BTC-USD"): (1, False),
    }


def test_failed_calls_teach_no_latency() -> None:
    """A timeout says how patient we are and not how fast the source is."""
    cell = _learned([fetched(latency_s=0.2), fetched("alpha", FailureKind.TIMEOUT, latency_s=9.0)])
    assert quantile(cell.latency, 1.0) == pytest.approx(0.2, rel=0.02)


def test_evidence_is_capped_so_that_a_change_is_noticed() -> None:
    """After thousands of good outcomes a hundred bad ones are seen clearly."""
    long_good = Cell(0.0, right=700.0, outcomes=5000)
    assert reliability(long_good).observations == 200.0
    turned = reduce(combine, [long_good, *[Cell(0.0, wrong=1.0, outcomes=1)] * 300])
    assert reliability(turned).estimate < 0.7


def test_knowledge_fades_with_time() -> None:
    """After two weeks of silence an outcome counts half."""
    old = Cell(0.0, right=8.0, wrong=2.0, outcomes=10, latency=recorded([1.0] * 8))
    late = combine(old, Cell(HALF_LIFE_S))
    assert (late.right, late.wrong, late.outcomes, late.latency.total) == pytest.approx((4.0, 1.0, 10, 4.0))


def test_an_outage_of_our_own_network_lowers_nobodys_reliability() -> None:
    """It is kept as the last error and weighs nothing; the same failure of the source alone does."""
    own = _learned([fetched(), replace(fetched("alpha", FailureKind.NETWORK, detail="no route"), own_network=True)])
    theirs = _learned([fetched(), fetched("alpha", FailureKind.NETWORK, detail="no route")])
    assert (own.right, own.wrong, own.outcomes, own.last_error) == (1.0, 0.0, 1, "network: no route")
    assert (theirs.wrong, theirs.outcomes) == (1.0, 2)


def test_the_newest_success_and_error_win_whatever_the_order() -> None:
    """Two processes may report late."""
    early = _learned([fetched("alpha", FailureKind.TIMEOUT, detail="early"), fetched()])
    late_at = NOON + timedelta(seconds=9)
    late = _learned([fetched("alpha", FailureKind.NETWORK, detail="late", at=late_at), fetched(at=late_at)])
    for both in (combine(early, late), combine(late, early)):
        assert both.last_error == "network: late"
        assert both.last_success_at == late_at.timestamp() == both.last_error_at == both.updated_at


_cells = st.builds(
    Cell,
    st.floats(0, 1e6),
    right=st.floats(0, 50),
    wrong=st.floats(0, 50),
    outcomes=st.integers(0, 100),
)

_unhurried = settings(deadline=None)  # a busy machine is no failure


@_unhurried
@given(st.lists(_cells, min_size=3, max_size=3))
def test_batches_may_be_joined_in_any_grouping(cells: list[Cell]) -> None:
    """(a + b) + c = a + (b + c) for outcomes in the order of time: writing in batches changes nothing."""
    first, second, third = sorted(cells, key=lambda cell: cell.updated_at)
    one, other = combine(combine(first, second), third), combine(first, combine(second, third))
    assert (one.right, one.wrong) == pytest.approx((other.right, other.wrong), rel=1e-9)
    assert replace(one, right=0, wrong=0) == replace(other, right=0, wrong=0)


@_unhurried
@given(_cells)
def test_every_reliability_is_a_share_with_a_bound_below_it(cell: Cell) -> None:
    """Whatever was learned, nothing leaves zero to one."""
    known = reliability(cell)
    assert 0.0 <= known.lower_bound <= known.estimate <= 1.0
    assert 0.0 <= known.observations <= 200.0


def test_what_is_no_symbol_is_of_unknown_class() -> None:
    """Learning never raises over a name."""
    assert [asset_class(text) for text in ("AAPL", "EURUSD", "", "not a symbol at all, too long")] == [
        "us_equity",
        "forex",
        "unknown",
        "unknown",
    ]
