"""Whom the consensus believes: cliques, upstream groups, age, trust, and the causes named for who is not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from consensus.quote_building import (
    FRIDAY_CLOSE,
    KNOWN,
    MID_SESSION,
    SUNDAY,
    close_quote,
    dimension,
    finding,
    judge,
    quote,
    verdicts,
    voice,
)
from mdagent_mcp.consensus.alignment import vote_weight
from mdagent_mcp.consensus.causes import power_of_ten
from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.consensus.tolerance import CLASSES, tolerance_for
from mdagent_mcp.consensus.track_knowledge import TrackKnowledge
from mdagent_mcp.domain.answers import VoiceVerdict
from mdagent_mcp.domain.instruments import AssetClass, parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Dimension, Grade, Verdict
from mdagent_mcp.resilience.calibration import CalibrationCounts, counted
from mdagent_mcp.resilience.track_record import TrackRecord

_BARE: Final[dict[str, Any]] = {"open": None, "high": None, "low": None}
"""Without the day's range, so that nothing but the vote decides."""
_LEARNED: Final = SymbolKnowledge(volatility_per_sqrt_s=0.8e-4, relative_spread=2e-4, tick=0.01)


def confirmed(quotes: Sequence[Quote], **given: Any) -> bool:
    """Whether two independent groups say the same."""
    return judge(quotes, **given).confirmed


def test_agreeing_sources_serve_the_freshest_most_trusted_members_own_value() -> None:
    """No average: within the best band of delay trust decides, then freshness."""
    quotes = [quote("a", 189.84, 1.9), quote("b", 189.86, 0.4), quote("c", 189.85, 3.0)]
    trusted = judge(quotes, weights={"a": 0.95, "b": 0.9, "c": 0.99})
    assert (trusted.price, trusted.sources_used) == (189.84, ("a", "b", "c"))
    assert judge(quotes).sources_used == ("b", "a", "c")


def test_two_sources_of_one_upstream_group_are_one_voice() -> None:
    """Yahoo and Nasdaq show the same last sale: together they have one vote and prove transport, not truth."""
    pair = judge([quote("yahoo"), quote("nasdaq", 189.85)], learned=KNOWN)
    assert dimension(pair, Dimension.CORROBORATION) == 89.0
    outvoted = judge([quote("yahoo", 195.0), quote("nasdaq", 195.0), quote("a"), quote("b")])
    assert (outvoted.price, outvoted.sources_used, outvoted.sources_rejected) == (
        189.84,
        ("a", "b"),
        ("nasdaq", "yahoo"),
    )
    assert [v.weight for v in outvoted.explanation.voices] == [0.3333, 0.3333, 0.1667, 0.1667]


def test_a_stale_majority_does_not_win_over_two_fresh_groups() -> None:
    """Three old prices that agree stand back behind two fresh ones: outvoted inside the age gate, unheard outside."""
    for age, rejected in ((45.0, ("a", "b", "c")), (900.0, ())):
        old = [quote(name, 180.0, age, **_BARE) for name in ("a", "b", "c")]
        judgement = judge([*old, quote("d"), quote("e", 189.85)])
        assert (judgement.price, judgement.sources_used) == (189.84, ("d", "e"))
        assert judgement.sources_rejected == rejected


def test_the_freshest_alone_is_not_believed_against_two_independent_groups() -> None:
    """A price that claims to be the newest is an outlier when two groups say otherwise, however much it is trusted."""
    judgement = judge(
        [quote("liar", 195.0, 0.1, **_BARE), quote("a", 189.84, 20.0), quote("b", 189.85, 21.0)],
        weights={"liar": 1.0, "a": 0.1, "b": 0.1},
    )
    assert (judgement.price, judgement.sources_rejected, judgement.grade) == (189.84, ("liar",), Grade.C)


def test_two_groups_in_conflict_serve_the_more_trusted_one_at_d_and_name_the_other() -> None:
    """Without a majority the grade is D, and the sure interval reaches to both prices."""
    judgement = judge([quote("a", 189.84), quote("b", 187.36, low=187.0)], weights={"a": 0.8, "b": 0.9})
    assert (judgement.price, judgement.grade) == (187.36, Grade.D)
    assert dimension(judgement, Dimension.CORROBORATION) == 63.0
    assert judgement.price_low <= 187.36
    assert judgement.price_high >= 189.84
    assert judgement.explanation.assessment.limited_by.because == "b (187.36) is contradicted by a (189.84)"


def test_a_third_group_decides_a_conflict() -> None:
    """Two against one is a majority; the rejected outlier costs some points but no letter."""
    judgement = judge([quote("a"), quote("b", 193.2), quote("c", 189.85)])
    assert verdicts(judgement) == {
        "a": VoiceVerdict.SERVED,
        "c": VoiceVerdict.AGREES,
        "b": VoiceVerdict.OUTLIER,
    }
    assert (judgement.grade, dimension(judgement, Dimension.CORROBORATION)) == (Grade.A, 92.0)


def test_in_a_conflict_the_source_that_contradicts_itself_loses() -> None:
    """Trust does not help a price outside its own day's range."""
    judgement = judge([quote("a", 193.20), quote("b", 189.84)], weights={"a": 0.98, "b": 0.5})
    assert (judgement.price, judgement.grade) == (189.84, Grade.D)


def test_two_against_two_is_no_majority() -> None:
    """As many groups contradict as support."""
    judgement = judge([quote("a"), quote("b"), quote("c", 193.2), quote("d", 193.2)])
    assert (judgement.grade, dimension(judgement, Dimension.CORROBORATION)) == (Grade.D, 63.0)


def test_an_opponent_much_older_than_the_served_price_does_not_contest_it() -> None:
    """Its age explains the difference, so one fresh source keeps the grade of a single source."""
    judgement = judge([quote("a"), quote("b", 187.0, 45.0)], learned=KNOWN)
    assert (judgement.price, judgement.grade) == (189.84, Grade.B)
    assert (voice(judgement, "b").verdict, voice(judgement, "b").cause) == (VoiceVerdict.OUTLIER, "stale by 45 s")


def test_a_small_difference_neither_confirms_nor_contradicts() -> None:
    """Twelve basis points apart: no second opinion, no failure."""
    judgement = judge([quote("a"), quote("b", 190.07)])
    assert voice(judgement, "b").verdict is VoiceVerdict.DIFFERS
    assert voice(judgement, "b").cause == "differs by 12.1 bp, too much to confirm and too little to contradict"
    assert dimension(judgement, Dimension.CORROBORATION) == 79.0


def test_a_unit_mixup_is_not_a_contradiction_when_memory_knows_the_price() -> None:
    """A hundredfold price against the remembered close is explained: the other source keeps its grade."""
    judgement = judge([quote("a"), quote("b", 18984.0, open=None, high=None, low=None)], learned=KNOWN)
    assert (judgement.price, judgement.grade, judgement.sources_rejected) == (189.84, Grade.B, ("b",))


def test_a_unit_mixup_with_nobody_to_decide_stays_unresolved() -> None:
    """A previous close in the same wrong unit is no evidence for the unit."""
    wrong = quote("a", 18984.0, previous_close=18860.0, open=None, high=None, low=None)
    judgement = judge([wrong, quote("b", previous_close=None)], weights={"a": 0.99})
    assert (judgement.grade, dimension(judgement, Dimension.CORROBORATION)) == (Grade.D, 63.0)


def test_a_delayed_price_decides_between_units() -> None:
    """A quarter-hour old price has no say about now, but tells pence from pounds."""
    wrong = quote("a", 18984.0, previous_close=18860.0, open=None, high=None, low=None)
    judgement = judge([wrong, quote("b"), quote("cboe", 189.2, 905.0, previous_close=None)], weights={"a": 0.99})
    assert (judgement.price, dimension(judgement, Dimension.CORROBORATION)) == (189.84, 79.0)


@pytest.mark.parametrize(
    ("price", "given", "cause"),
    [
        (18984.0, {}, "unit: 100x the served price, pence or cents"),
        (1.8984, {}, "unit: 0.01x the served price, pence or cents"),
        (1898.4, {}, "unit: 10x the served price, misplaced decimal point"),
        (187.0, {"age_s": 40.0}, "stale by 40 s"),
        (188.60, {}, "other_session: 188.60 is the close of another session"),
        (759.36, {}, "split: looks like a price from before a 4:1 split"),
        (94.92, {}, "split: looks like a price from after a 2:1 split"),
        (43.21, {"previous_close": 42.9}, "wrong_instrument: its previous close 42.90 is not 188.60"),
        (198.84, {}, "digit: 198.84 has two digits of 189.84 exchanged"),
        (139.84, {}, "digit: 139.84 is 189.84 with one digit changed"),
        (193.21, {}, "unexplained: 1.8 % above the served price"),
    ],
)
def test_the_likely_cause_of_an_outlier_is_named(price: float, given: dict[str, float], cause: str) -> None:
    """What is known to go wrong with vendors' data, told by its number."""
    bare = {"open": None, "high": None, "low": None}
    odd = quote("odd", price, given.pop("age_s", 1.0), **{**bare, **given})
    judgement = judge([quote("a"), quote("b"), odd])
    assert (voice(judgement, "odd").verdict, voice(judgement, "odd").cause) == (VoiceVerdict.OUTLIER, cause)
    assert any(cause in sentence for sentence in judgement.explanation.dissent)


def test_a_price_far_from_its_own_source_is_not_served_while_a_sound_one_agrees() -> None:
    """Of two that agree, the one that does not contradict itself is served."""
    judgement = judge([quote("a", bid=191.0, ask=190.0), quote("b", 189.85, 1.8)], weights={"a": 0.99})
    assert (judgement.sources_used, judgement.explanation.assessment.dimensions[Dimension.VALIDITY]) == (
        ("b", "a"),
        100,
    )
    assert dimension(judgement, Dimension.CORROBORATION) == 79.0


def test_one_venues_own_trade_gives_way_to_the_tape() -> None:
    """Equally fresh, the consolidated price is served."""
    judgement = judge([quote("a", venue_only=True), quote("b", 189.85)], weights={"a": 0.99})
    assert judgement.sources_used == ("b", "a")


def test_a_minute_stamp_corroborates_a_fresher_source() -> None:
    """The stamp's middle decides: 45 s after its minute began, a price is likely 15 s old."""
    minute = quote("nasdaq", 189.85, 45.0, event_time_resolution_s=60.0)
    judgement = judge([quote("finnhub"), minute])
    assert (judgement.grade, judgement.sources_used) == (Grade.A, ("finnhub", "nasdaq"))
    assert judge([quote("finnhub"), quote("b", 189.85, 45.0)]).grade is Grade.C


def test_closes_of_the_same_day_agree_whatever_second_they_are_stamped() -> None:
    """An official close has no age: two stamps of it are the same instant."""
    stamps = (FRIDAY_CLOSE - timedelta(seconds=4), FRIDAY_CLOSE + timedelta(minutes=3))
    judgement = judge([close_quote("a", at=stamps[0]), close_quote("b", at=stamps[1])], now=SUNDAY)
    assert (judgement.grade, judgement.delay_s) == (Grade.A, 0.0)


def test_vote_weights_are_log_odds_within_bounds() -> None:
    """ln(10 A / (1 - A)), with A kept between 0.02 and 0.98."""
    assert [round(vote_weight(a), 4) for a in (0.5, 0.8, 0.98, 1.0, 0.0)] == [2.3026, 3.6889, 6.1944, 6.1944, 0.001]


def test_the_tolerance_grows_with_the_time_between_two_prices() -> None:
    """2 bp + 3 sqrt(spread^2/2 + sigma^2 dt) + tick, the time clipped to an hour."""
    tolerance = tolerance_for(parse_symbol("ACME"), 100.0, None)
    bp = [round(tolerance.agreement(s) * 1e4, 2) for s in (0.0, 5.0, 60.0, 900.0, 3600.0, 9999.0)]
    assert bp == [7.57, 9.84, 22.07, 75.12, 147.06, 147.06]
    assert round(tolerance.conflict(0.0) * 1e4, 2) == 25.0
    assert round(tolerance.conflict(60.0) * 1e4, 2) == 66.2


def test_what_memory_knows_of_a_symbol_replaces_the_defaults_of_its_class() -> None:
    """Learned spread, volatility and tick."""
    known = SymbolKnowledge(volatility_per_sqrt_s=3e-4, relative_spread=0.0, tick=0.05)
    tolerance = tolerance_for(parse_symbol("ACME"), 100.0, known)
    assert round(tolerance.agreement(4.0) * 1e4, 6) == 2 + 3 * 6 + 5
    wide = judge([quote("a", 100.0), quote("b", 100.2, 5.0)], learned=known)
    assert wide.sources_used == ("a", "b")


def test_every_asset_class_has_default_tolerances() -> None:
    """Total over the enum."""
    assert set(CLASSES) == set(AssetClass)


@pytest.mark.parametrize(
    ("ratio", "power"),
    [(100.0, 2), (90.0, 2), (85.0, 0), (0.0105, -2), (9.5, 1), (1000.0, 3), (1e4, 0), (1.05, 0), (0.0, 0)],
)
def test_powers_of_ten_are_recognised_within_twelve_percent(ratio: float, power: int) -> None:
    """Only from ten to a thousand, up and down."""
    assert power_of_ten(ratio, 0.12) == power


def test_a_group_whose_newest_word_is_another_one_confirms_nothing() -> None:
    """Its older price agrees with the served one, its newer price with somebody else's."""
    old = quote("nasdaq", 189.86, 8.0)
    assert dimension(judge([quote("a", age_s=0.2), old], learned=_LEARNED), Dimension.CORROBORATION) == 95.0
    newer = judge([quote("a", age_s=0.2), old, quote("yahoo", 190.2, 0.7, **_BARE)], learned=_LEARNED)
    assert dimension(newer, Dimension.CORROBORATION) == 79.0


def test_a_price_is_not_confirmed_while_its_own_group_says_another_one_since() -> None:
    """Two sources of one upstream contradict each other: the one that lies near an older price may be the wrong one."""
    older, own = quote("a", 189.85, 12.0), quote("nasdaq", 189.84, 1.0)
    newer = quote("yahoo", 195.0, 0.2, **_BARE)
    assert confirmed([older, own], learned=_LEARNED) is True
    assert confirmed([older, own, newer], learned=_LEARNED) is False


def test_a_confirmation_must_be_close() -> None:
    """Two prices at opposite ends of the tolerance: either may be wrong by all of it."""
    near, far = (judge([quote("a"), quote("b", 189.84 * (1 + bp * 1e-4), 1.0)]) for bp in (3.5, 6.5))
    assert (dimension(near, Dimension.CORROBORATION), dimension(far, Dimension.CORROBORATION)) == (95.0, 89.0)
    assert far.explanation.assessment.limited_by.because == (
        "a and b agree, too far apart in price or time to confirm each other"
    )


def test_as_many_fresh_groups_elsewhere_leave_nobody_confirmed() -> None:
    """Two say 189.84, two say ten basis points more: no conflict, but no confirmation either."""
    other = round(189.84 * 1.001, 2)
    judgement = judge([quote("a"), quote("b"), quote("c", other), quote("d", other)])
    assert dimension(judgement, Dimension.CORROBORATION) == 79.0


def test_a_learned_liar_is_served_no_more() -> None:
    """Its stamps are young, its prices were wrong before: the record outweighs the stamp."""
    liar = TrackRecord(trials=100, hits=30, faults=2, sound=98, lags=98 * 900.0)
    track = TrackKnowledge(records={"liar": {"price": liar}})
    quotes = [quote("liar", 189.2, 0.3, **_BARE), quote("a", 189.84, 1.5)]
    trusting, knowing = judge(quotes, weights={"liar": 0.95}), judge(quotes, weights={"liar": 0.95}, track=track)
    assert (trusting.price, knowing.price) == (189.2, 189.84)
    assert voice(knowing, "liar").verdict is VoiceVerdict.DELAYED


def test_an_answer_carries_how_sure_it_is() -> None:
    """More with a confirmation than without, less with age, and recalibrated on what became of earlier ones."""
    pair, alone, late = judge([quote("a"), quote("b")]), judge([quote("a")]), judge([quote("a", age_s=25.0)])
    assert pair.belief.probability > alone.belief.probability > late.belief.probability
    counts = CalibrationCounts()
    for number in range(400):
        counts = counted(counts, pair.belief.probability, right=number % 2 == 0)
    wiser = judge([quote("a"), quote("b")], track=TrackKnowledge(calibration=counts))
    assert wiser.belief.calibrated == pytest.approx(0.5, abs=0.03)


def test_a_field_that_a_source_mostly_gets_wrong_comes_from_an_agreeing_one() -> None:
    """Each field by its own record: a's volume is of another scope, its open is right."""
    odd = {"volume": TrackRecord(trials=40, hits=3), "open": TrackRecord(trials=40, hits=39)}
    quotes = [quote("a", volume=1.0e6, open=188.9), quote("b", volume=41e6, open=189.0)]
    trust = {"a": 0.95}
    naive = judge(quotes, weights=trust)
    wise = judge(quotes, weights=trust, track=TrackKnowledge(records={"a": odd}))
    assert (naive.sources_used, naive.volume, naive.open) == (("a", "b"), 1.0e6, 188.9)
    assert (wise.sources_used, wise.volume, wise.open) == (("a", "b"), 41e6, 188.9)
    alone = judge(quotes[:1], track=TrackKnowledge(records={"a": odd}))
    assert alone.volume == 1.0e6


def test_an_undated_price_has_a_say_once_its_sources_lag_was_learned() -> None:
    """A hundredfold price with a time loses to one without, whose source is known to lag by half a minute."""
    lagging = TrackRecord(trials=100, hits=80, faults=1, sound=99, lags=99 * 25.0)
    quotes = [quote("a", 210.0, 1.0, **_BARE), quote("cache", 189.84, None)]
    quotes.append(quote("cboe", 189.5, 905.0, declared_delay_s=900.0))
    strange, known = judge(quotes), judge(quotes, track=TrackKnowledge(records={"cache": {"price": lagging}}))
    assert (strange.price, known.price, known.grade) == (210.0, 189.84, Grade.D)
    pair = [quote("a"), quote("cache", 189.84, None)]
    confirmed = judge(pair, track=TrackKnowledge(records={"cache": {"price": lagging}}))
    assert dimension(confirmed, Dimension.CORROBORATION) == 79.0


@pytest.mark.parametrize(("young", "served"), [(210.0, 189.84), (190.2, 190.2)])
def test_evidence_of_ten_to_one_decides_before_age(young: float, served: float) -> None:
    """A young price that everything else speaks against is not believed; one that may have moved is."""
    lagging = TrackRecord(trials=100, hits=80, faults=1, sound=99, lags=99 * 45.0)
    quotes = [quote("a", young, 1.0, **_BARE), quote("cache", 189.84, None)]
    quotes += [quote(name, 189.5, 905.0, declared_delay_s=900.0) for name in ("cboe", "nasdaq")]
    judgement = judge(quotes, learned=_LEARNED, track=TrackKnowledge(records={"cache": {"price": lagging}}))
    assert judgement.price == served


def test_a_price_confirms_another_only_where_room_remains_for_a_step() -> None:
    """A share of thirteen dollars moves by eight basis points at least: a cent off and a cent moved are two."""
    cheap = {"previous_close": 12.9, "bid": None, "ask": None, **_BARE}
    assert confirmed([quote("a", 12.95, 0.2, **cheap), quote("b", 12.94, 1.4, **cheap)]) is False
    assert confirmed([quote("a", 12.94, 0.2, **cheap), quote("b", 12.94, 1.4, **cheap)]) is True
    dear = {"previous_close": 189.0, "bid": None, "ask": None, **_BARE}
    assert confirmed([quote("a", 189.85, 0.2, **dear), quote("b", 189.84, 1.4, **dear)]) is True


def test_of_equally_timely_prices_one_that_two_groups_state_is_served() -> None:
    """A lone one may be a step off, however young it is; where nobody states the same, the likelier is served."""
    pair = [quote("b", 12.94, 1.4, **_BARE), quote("c", 12.94, 1.8, **_BARE)]
    judgement = judge([quote("lone", 12.95, 0.2, **_BARE), *pair])
    assert (judgement.price, judgement.confirmed, verdicts(judgement)["lone"]) == (12.94, True, VoiceVerdict.AGREES)
    assert judge([quote("lone", 12.95, 0.2, **_BARE), pair[0]]).price == 12.95


def test_where_no_two_state_the_same_one_within_a_step_of_another_is_served() -> None:
    """Two that lie a cent apart say more than a younger one eleven cents away, though all agree."""
    pair = [quote("b", 288.91, 1.4, **_BARE), quote("c", 288.92, 1.4, **_BARE)]
    judgement = judge([quote("lone", 289.02, 0.3, **_BARE), *pair], learned=_LEARNED)
    assert (judgement.price in {288.91, 288.92}, judgement.grade) == (True, Grade.A)
    assert verdicts(judgement)["lone"] is VoiceVerdict.AGREES


@pytest.mark.parametrize(("young", "old"), [(41.08, 48.74), (48.74, 41.08)])
def test_of_two_prices_of_a_symbol_that_nothing_is_known_of_the_younger_is_served(young: float, old: float) -> None:
    """Whether it is the lower or the higher one: where faults are likely is not told by one of the two."""
    unknown: dict[str, Any] = {"previous_close": None, **_BARE}
    judgement = judge([quote("a", young, 2.7, **unknown), quote("b", old, 16.7, **unknown)])
    assert (judgement.price, judgement.grade) == (young, Grade.D)


def test_what_memory_knows_speaks_for_the_price_that_lies_near_it() -> None:
    """Yesterday's price is where the truth is likely, not where faults are: the far one, as trusted, is not served."""
    unknown: dict[str, Any] = {"previous_close": None, **_BARE}
    quotes = [quote("a", 64.22, 1.2, **unknown), quote("b", 70.03, 1.3, **unknown)]
    last = replace(_LEARNED, last_price=69.96, last_price_time=MID_SESSION - timedelta(hours=19))
    judgement = judge(quotes, learned=last, weights={"a": 0.99, "b": 0.98})
    assert (judgement.price, judgement.grade) == (70.03, Grade.D)


def test_the_price_confirmed_last_tells_the_unit_where_no_close_is_known() -> None:
    """A hundredfold price is not served before others, though its source is the most trusted one."""
    unknown: dict[str, Any] = {"previous_close": None, **_BARE}
    quotes = [quote("a", 2445.0, 2.4, **unknown), quote("b", 24.15, 4.8, **unknown), quote("c", 24.44, 16.2, **unknown)]
    given: dict[str, Any] = {"weights": {"a": 0.995, "b": 0.9, "c": 0.85}}
    last = replace(_LEARNED, last_price=24.55, last_price_time=MID_SESSION - timedelta(seconds=1800))
    assert judge(quotes, learned=_LEARNED, **given).price == 2445.0
    assert judge(quotes, learned=last, **given).price < 25.0


def test_agreement_that_confirms_nothing_still_settles_unit_and_jump() -> None:
    """Two independent groups show the same move, too far apart in time to confirm each other's last cent."""
    jumped = [quote("a", 250.0, 0.5, **_BARE), quote("b", 250.02, 16.0, **_BARE)]
    both, alone = judge(jumped), judge(jumped[:1])
    assert (both.grade, finding(both, "jump").verdict) == (Grade.B, Verdict.PASSED)
    assert (alone.grade, finding(alone, "jump").verdict) == (Grade.F, Verdict.FAILED)
    against = judge([*jumped, quote("c", 250.9, 0.7, **_BARE)])
    assert dimension(against, Dimension.CORROBORATION) <= 79.0
