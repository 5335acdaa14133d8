"""Whole judgements: which session is answered, who is refused, the fields, the interval, and what it teaches."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consensus.quote_building import (
    ACME,
    AT_CLOSE,
    FRIDAY_CLOSE,
    KNOWN,
    MID_SESSION,
    NIGHT,
    POST_MARKET,
    PRE_MARKET,
    SUNDAY,
    close_quote,
    context,
    judge,
    quote,
    verdicts,
    voice,
)
from mdagent_mcp.consensus.explanation import Wording, explain
from mdagent_mcp.consensus.facts import QuoteFacts
from mdagent_mcp.consensus.judgement import SourceOutcome, answer, source_outcomes
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.consensus.track_knowledge import TrackKnowledge
from mdagent_mcp.domain.answers import QuoteAnswer, VoiceVerdict
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade, Verdict
from mdagent_mcp.resilience.latency import recorded

_BARE: dict[str, Any] = {"open": None, "high": None, "low": None}


def test_a_judgement_becomes_an_answer_under_its_evidence_id() -> None:
    """Every field is carried over, none is lost."""
    judgement = judge([quote(age_s=1.3), quote("b", 189.85, 1.8)])
    assert answer(judgement, "q-1") == QuoteAnswer(
        symbol="ACME",
        price=189.84,
        currency="USD",
        price_low=189.81,
        price_high=189.87,
        session=Session.REGULAR,
        price_time=MID_SESSION - timedelta(seconds=1.3),
        delay_s=1.3,
        grade=Grade.A,
        score=93.3,
        summary="2 independent sources agree within 0.5 bp; 1.3 s old.",
        sources_used=("finnhub", "b"),
        sources_rejected=(),
        evidence_id="q-1",
        explanation=judgement.explanation,
        judged_at=MID_SESSION,
        cached=False,
        change=1.24,
        change_percent=0.6575,
        open=188.90,
        high=190.50,
        low=188.20,
        previous_close=188.60,
        volume=41_000_000.0,
        bid=189.83,
        ask=189.85,
    )
    assert {f.name for f in fields(QuoteAnswer) if not hasattr(judgement, f.name)} == {"evidence_id", "cached"}


def test_a_judgement_is_put_into_words_only_when_somebody_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inquiry judges with every reply and serves one answer."""
    worded: list[QuoteFacts] = []

    def counting(facts: QuoteFacts, *rest: Any) -> Wording:
        worded.append(facts)
        return explain(facts, *rest)

    monkeypatch.setattr("mdagent_mcp.consensus.judgement.explain", counting)
    judgement = judge([quote(age_s=1.3), quote("b", 189.85, 1.8)])
    assert (judgement.grade, judgement.confirmed, worded) == (Grade.A, True, [])
    assert judgement.summary == answer(judgement, "q-1").summary
    assert worded == [judgement.facts]


@pytest.mark.parametrize(
    "quotes",
    [
        [],
        [quote(price=0.0, bid=None, ask=None)],
        [quote(price=-5.0), quote("b", float("inf"))],
        [quote(currency="EUR"), quote("b", currency="CAD")],
    ],
)
def test_nothing_usable_is_no_judgement(quotes: list[Any]) -> None:
    """No price, none above zero, none in the instrument's currency."""
    assert judge_quote(ACME, quotes, {}, context()) is None


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (quote("odd", currency="EUR"), "currency: EUR instead of USD"),
        (quote("odd", 0.0, bid=None, ask=None), "not_positive: the price is 0"),
        (quote("odd", age_s=-90.0), "future: stamped 90 s ahead of now, its clock is wrong"),
        (quote("odd", age_s=-18000.0), "future: stamped 5 h ahead of now, a time zone shift"),
    ],
)
def test_a_quote_wrong_by_construction_is_refused_with_its_cause(wrong: Any, cause: str) -> None:
    """It has no say, whatever the others are worth."""
    judgement = judge([wrong, quote()])
    assert (voice(judgement, "odd").verdict, voice(judgement, "odd").cause) == (VoiceVerdict.UNUSABLE, cause)
    assert (voice(judgement, "odd").weight, judgement.sources_rejected) == (0.0, ("odd",))


def test_a_few_seconds_ahead_are_a_clock_and_not_the_future() -> None:
    """Age zero, usable."""
    judgement = judge([quote("a", age_s=-4.0), quote("b", age_s=-1.0)])
    assert (judgement.grade, judgement.delay_s) == (Grade.A, 0.0)


def test_the_currency_most_groups_state_wins_where_the_symbol_does_not_fix_it() -> None:
    """A foreign listing: two independent sources against one; on a tie the listing's usual currency."""
    fund = parse_symbol("CSPX.L")
    calendar = calendar_named("XLON")
    two = [quote("a", currency="USD"), quote("b", currency="USD"), quote("c", currency="GBP")]
    assert verdicts(judge(two, fund, calendar=calendar))["c"] is VoiceVerdict.UNUSABLE
    tie = judge([two[0], two[2]], fund, calendar=calendar)
    assert (tie.currency, tie.sources_rejected) == ("GBP", ("a",))


def test_an_open_market_is_answered_with_regular_prices() -> None:
    """The previous close and a pre-market print have no say about now."""
    pre = quote("pre", 191.0, 2400.0, session=Session.PRE)
    judgement = judge([pre, close_quote("old"), quote()])
    assert (judgement.session, judgement.price) == (Session.REGULAR, 189.84)
    assert verdicts(judgement) == {
        "finnhub": VoiceVerdict.SERVED,
        "old": VoiceVerdict.STALE,
        "pre": VoiceVerdict.OTHER_SESSION,
    }
    assert voice(judgement, "old").cause == "stale by 3 days: from before the session"


def test_post_market_is_answered_with_a_print_of_it() -> None:
    """One source with two quotes: the print is served, its official close is not compared with it."""
    post = quote("nasdaq", 191.0, 1.0, now=POST_MARKET, session=Session.POST)
    judgement = judge([close_quote("nasdaq", at=AT_CLOSE), close_quote("cboe", at=AT_CLOSE), post], now=POST_MARKET)
    assert (judgement.session, judgement.price, judgement.sources_used) == (Session.POST, 191.0, ("nasdaq",))
    assert sorted(v.verdict for v in judgement.explanation.voices) == ["other_session", "other_session", "served"]


def test_last_evenings_print_is_not_this_mornings() -> None:
    """Before the open only a print of this pre-market counts; otherwise the close, as a C."""
    evening = quote("a", age_s=None, event_time=FRIDAY_CLOSE + timedelta(hours=2), session=Session.POST)
    quotes = [evening, close_quote("b"), close_quote("c")]
    judgement = judge(quotes, now=PRE_MARKET)
    assert (judgement.session, judgement.grade) == (Session.CLOSED, Grade.C)
    morning = quote("d", 192.0, 3.0, session=Session.PRE, now=PRE_MARKET)
    assert judge([*quotes, morning], now=PRE_MARKET).session is Session.PRE


def test_a_closed_market_is_answered_with_the_official_close() -> None:
    """A regular price stamped at the bell is the close; an evening print is another session."""
    evening = quote("c", 193.0, None, event_time=AT_CLOSE + timedelta(hours=3), session=Session.POST)
    at_bell = close_quote("b", session=Session.REGULAR, at=AT_CLOSE + timedelta(seconds=2))
    judgement = judge([close_quote("a", at=AT_CLOSE), at_bell, evening], now=NIGHT)
    assert (judgement.session, judgement.price, judgement.grade) == (Session.CLOSED, 189.84, Grade.A)
    assert (judgement.sources_used, verdicts(judgement)["c"]) == (("a", "b"), VoiceVerdict.OTHER_SESSION)


def test_a_bare_date_is_the_close_of_that_day() -> None:
    """At night it is the official close; during the session it is yesterday's, or undated when it is today's."""
    dated: dict[str, Any] = {"event_time_resolution_s": 86400.0}
    assert judge([close_quote("a", at=AT_CLOSE, **dated), close_quote("b", at=AT_CLOSE)], now=NIGHT).grade is Grade.A
    assert judge([close_quote("a", **dated)]).grade is Grade.F
    today = judge([close_quote("a", at=AT_CLOSE, **dated)])
    assert (today.grade, today.delay_s) == (Grade.D, None)


def test_crypto_has_no_yesterday() -> None:
    """A second after midnight UTC, a price of a second before it is fresh."""
    midnight = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
    coins = [quote(n, 60000.0, 1.9, now=midnight, previous_close=59000.0, **_BARE) for n in "ab"]
    judgement = judge(coins, parse_symbol("BTC-USD"), now=midnight, calendar=calendar_named("24/7"))
    assert (judgement.grade, judgement.session) == (Grade.A, Session.REGULAR)


def test_forex_trades_through_the_week_and_closes_on_friday() -> None:
    """Tuesday's rollover is no session boundary; on Saturday Friday's last price is the close."""
    euro, calendar = parse_symbol("EURUSD"), calendar_named("24/5")
    given: dict[str, Any] = {**_BARE, "previous_close": 1.08, "volume": None, "bid": 1.0849, "ask": 1.0851}
    rollover = datetime(2026, 11, 24, 22, 0, 1, tzinfo=UTC)
    fresh = [quote(n, 1.085, 1.9, now=rollover, **given) for n in "ab"]
    assert judge(fresh, euro, now=rollover, calendar=calendar).grade is Grade.A
    saturday = datetime(2026, 11, 21, 12, tzinfo=UTC)
    friday = datetime(2026, 11, 20, 21, 59, 58, tzinfo=UTC)
    last = [quote(n, 1.085, None, event_time=friday, **given) for n in "ab"]
    judgement = judge(last, euro, now=saturday, calendar=calendar)
    assert (judgement.grade, judgement.session) == (Grade.A, Session.CLOSED)


def test_delayed_sources_are_evidence_without_a_vote() -> None:
    """A fresh one is served though three delayed ones agree on another price."""
    late = [quote(name, 189.0, 905.0) for name in "abc"]
    judgement = judge([*late, quote()], learned=KNOWN)
    assert (judgement.price, judgement.grade) == (189.84, Grade.B)
    assert {v.verdict for v in judgement.explanation.voices[1:]} == {VoiceVerdict.DELAYED}
    assert judgement.sources_rejected == ()


def test_no_delay_explains_another_unit() -> None:
    """A delayed source a hundred times too high is rejected for its unit, whatever its age."""
    judgement = judge([quote("a"), quote("b"), quote("cboe", 18900.0, 905.0)])
    assert (judgement.price, judgement.grade, judgement.sources_rejected) == (189.84, Grade.A, ("cboe",))
    told = voice(judgement, "cboe")
    assert (told.verdict, told.cause) == (VoiceVerdict.OUTLIER, "unit: 100x the served price, pence or cents")


def test_without_a_fresh_source_the_freshest_are_served_as_late_as_they_are() -> None:
    """Those within a minute of the freshest have the say, older ones not."""
    judgement = judge([quote("a", age_s=400.0), quote("b", age_s=430.0), quote("c", 188.9, 1100.0)])
    assert (judgement.sources_used, judgement.grade, judgement.delay_s) == (("a", "b"), Grade.D, 400.0)
    assert voice(judgement, "c").verdict is VoiceVerdict.DELAYED


@pytest.mark.parametrize(("fresh", "late"), [(18984.0, 189.0), (189.84, 18900.0)])
def test_one_fresh_and_one_delayed_source_in_two_units_are_a_d_whichever_is_right(fresh: float, late: float) -> None:
    """Nothing tells which is a hundred times off: neither is rejected, and the number is not for use."""
    scale = fresh / 189.84
    scaled = {name: value * scale for name, value in {"bid": 189.83, "ask": 189.86, "previous_close": 188.6}.items()}
    served = quote("a", fresh, open=None, high=None, low=None, **scaled)
    judgement = judge([served, quote("cboe", late, 905.0, open=None, high=None, low=None, previous_close=None)])
    assert (judgement.price, judgement.grade, judgement.sources_rejected) == (fresh, Grade.D, ())
    failed = [f.rule for f in judgement.explanation.assessment.findings if f.verdict is Verdict.FAILED]
    assert failed == ["delayed_sources"]


def test_a_remembered_close_tells_which_of_two_units_is_right() -> None:
    """Memory is the third source."""
    known = replace(KNOWN, previous_official_close=188.6)
    judgement = judge([quote("a"), quote("cboe", 18900.0, 905.0)], learned=known)
    assert (judgement.price, judgement.sources_rejected) == (189.84, ("cboe",))


def test_fields_come_from_the_served_source_and_else_from_one_that_agrees() -> None:
    """Field by field, bid and ask together, none averaged."""
    served = quote("a", bid=189.80, ask=None, volume=None, open=None)
    peer = quote("b", 189.85, 1.5, bid=189.82, ask=189.86, volume=7.0, open=188.0)
    judgement = judge([served, peer])
    assert (judgement.sources_used[0], judgement.bid, judgement.ask) == ("a", 189.82, 189.86)
    assert (judgement.volume, judgement.open, judgement.high) == (7.0, 188.0, 190.50)


def test_a_crossed_book_is_never_passed_on() -> None:
    """Where every source agrees on nonsense there is no book; where one has a sound one, it is used."""
    crossed: dict[str, Any] = {"bid": 189.9, "ask": 189.8}
    alone = judge([quote(**crossed)])
    assert (alone.bid, alone.ask) == (None, None)
    sound = judge([quote("a", **crossed), quote("b", 189.85)])
    assert (sound.bid, sound.ask) == (189.84, 189.86)


def test_fields_of_sources_without_a_say_are_not_used() -> None:
    """A delayed book, and another session's volume, are not this price's."""
    bare = quote("a", bid=None, ask=None, volume=None)
    judgement = judge([bare, quote("cboe", 189.5, 905.0), quote("c", 196.0, high=197.0)], weights={"a": 0.99})
    assert (judgement.price, judgement.bid, judgement.ask, judgement.volume) == (189.84, None, None, None)


def test_a_peers_high_below_the_served_price_is_not_used() -> None:
    """The peer had not yet seen the new high."""
    served = quote("a", 190.50, high=None, low=None)
    judgement = judge([served, quote("b", 190.48, 1.9, high=190.48)], weights={"a": 0.95})
    assert (judgement.price, judgement.high, judgement.low) == (190.50, None, 188.20)


def test_change_is_computed_from_the_previous_close() -> None:
    """Without binary dust; absent without a previous close."""
    assert (judge([quote()]).change, judge([quote()]).change_percent) == (1.24, 0.6575)
    flat = judge([quote(price=188.60)])
    assert (flat.change, flat.change_percent) == (0.0, 0.0)
    unknown = judge([quote(previous_close=None)])
    assert (unknown.change, unknown.change_percent) == (None, None)


def test_the_interval_contains_the_price_and_widens_with_age_and_contradiction() -> None:
    """On the grid of the price step; an unresolved contradiction lies in it."""
    pair = judge([quote(), quote("b", 189.85)])
    late = judge([quote(age_s=25.0), quote("b", 189.85, age_s=25.0)])
    torn = judge([quote(), quote("b", 193.2, high=194.0)])
    assert (pair.price_low, pair.price_high) == (189.82, 189.87)
    assert late.price_high - late.price_low > 2 * (pair.price_high - pair.price_low)
    assert (torn.price_low <= 189.84, torn.price_high >= 193.2) == (True, True)


def test_the_interval_reaches_one_quoted_step_to_each_side() -> None:
    """Also where finer prices are known: a single trade lies between two steps, and the next is one step away."""
    finer = replace(KNOWN, tick=0.001, volatility_per_sqrt_s=1e-6, relative_spread=0.0)
    single = judge([quote(price=189.845, age_s=0.0)], learned=finer)
    assert (single.price_low, single.price_high) == (189.83, 189.86)
    whole = judge([quote(age_s=0.0), quote("b", age_s=0.0)], learned=finer)
    assert (whole.price_low, whole.price_high) == (189.83, 189.85)


def test_the_interval_reaches_what_agrees_from_too_far_off_to_confirm() -> None:
    """A young price, and two that agree with each other half a percent away and twenty seconds ago.

    So much may have happened since, by what is known of the symbol; or the young one is wrong.
    """
    wild = replace(KNOWN, volatility_per_sqrt_s=5e-4, relative_spread=1e-4)
    older = [quote("b", 190.74, age_s=20.0), quote("c", 190.75, age_s=21.0)]
    judgement = judge([quote(age_s=1.7), *older], learned=wild)
    assert (judgement.price, judgement.confirmed, judgement.grade) == (189.84, False, Grade.B)
    assert (judgement.price_low < 189.84, judgement.price_high >= 190.75) == (True, True)


def test_the_interval_is_stretched_as_far_as_the_truth_was_missed_before() -> None:
    """Where 95 % of earlier truths lay within twice the half width, it is twice as wide."""
    track = TrackKnowledge(misses={2: recorded([2.0] * 60)})
    pair = [quote(age_s=9.0), quote("b", age_s=9.0)]
    usual, stretched = judge(pair), judge(pair, track=track)
    assert stretched.price_high - stretched.price > 3 * (usual.price_high - usual.price)


def test_a_judgement_teaches_who_was_right() -> None:
    """Agreement counts only with an independent group; no teacher, no lesson."""
    judgement = judge([quote("a"), quote("b"), quote("odd", 18984.0), quote("cboe", 189.0, 905.0)])
    assert source_outcomes(judgement) == (
        SourceOutcome("a", agreed=True),
        SourceOutcome("b", agreed=True),
        SourceOutcome("odd", agreed=False, fault="unit"),
        SourceOutcome("cboe", agreed=None),
    )
    assert source_outcomes(judge([quote("yahoo"), quote("nasdaq")])) == (
        SourceOutcome("nasdaq", agreed=None),
        SourceOutcome("yahoo", agreed=None),
    )
    contested = source_outcomes(judge([quote("a"), quote("b", 189.0)]))
    assert {o.agreed for o in contested} == {None}


def test_the_engine_is_only_handed_answers_that_a_second_call_would_repeat() -> None:
    """Pure: the same facts, the same judgement."""
    quotes = [quote("a"), quote("b", 189.9, 12.0), quote("c", 18984.0), close_quote("d")]
    assert judge(quotes, learned=KNOWN) == judge(quotes, learned=KNOWN)


def test_sunday_with_a_price_from_within_fridays_session_is_late_and_not_the_close() -> None:
    """A feed frozen at noon: stale against the bell."""
    noon = FRIDAY_CLOSE - timedelta(hours=4)
    judgement = judge([close_quote("a", session=Session.REGULAR, at=noon)], now=SUNDAY)
    assert (judgement.grade, judgement.delay_s) == (Grade.F, 4 * 3600 - 5.0)
