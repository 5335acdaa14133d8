"""Every check of an answer: when it passes, when it fails and with what cap, and when it says that it did not run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from consensus.quote_building import (
    FRIDAY_CLOSE,
    KNOWN,
    MID_SESSION,
    NIGHT,
    POST_MARKET,
    SUNDAY,
    close_quote,
    dimension,
    finding,
    judge,
    quote,
)
from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.rules import RULES
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Dimension, Grade, Severity, Verdict

PASSED, FAILED, NOT_RUN = Verdict.PASSED, Verdict.FAILED, Verdict.NOT_RUN


SET_IT: Final = "the vendors' servers, so no age can be told: set the clock"


def outcome(judgement: QuoteJudgement, rule: str) -> tuple[Verdict, float | None]:
    """Verdict and cap of a check."""
    found = finding(judgement, rule)
    return found.verdict, found.cap


def test_every_rule_is_considered_once_for_every_answer() -> None:
    """The list of rules is what the checks report, no more and no less, each on its own dimension."""
    findings = judge([quote()]).explanation.assessment.findings
    assert sorted((f.rule, f.dimension) for f in findings) == sorted((r.id, r.dimension) for r in RULES)


def test_rules_are_described_for_people() -> None:
    """One line each, unique ids."""
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.description.endswith(".") and "\n" not in rule.description for rule in RULES)


def test_a_healthy_quote_passes_all_checks_that_could_run() -> None:
    """What lacks memory or a second source is reported as not run."""
    findings = judge([quote()]).explanation.assessment.findings
    assert {f.rule for f in findings if f.verdict is FAILED} == set()
    assert {f.rule for f in findings if f.verdict is NOT_RUN} == {
        "machine_clock",
        "declared_delay",
        "stamp_advances",
        "price_moves",
        "price_range",
        "cross_source",
        "previous_close_sources",
        "previous_close_memory",
        "symbol_known",
        "recent_price",
        "price_band",
        "delayed_sources",
    }


def test_a_check_that_could_not_run_says_why_and_has_no_cap() -> None:
    """It never reads as passed."""
    bare = quote(bid=None, ask=None, high=None, low=None, previous_close=None)
    findings = [f for f in judge([bare]).explanation.assessment.findings if f.verdict is NOT_RUN]
    assert all(f.detail and f.cap is None and f.severity is Severity.INFO for f in findings)
    assert {"book_not_crossed", "price_within_book", "price_within_day_range", "ohlc_order", "unit_ratio", "jump"} <= {
        f.rule for f in findings
    }


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    [
        ("book_not_crossed", {"bid": 189.90, "ask": 189.80}, (FAILED, 66.0)),
        ("book_not_crossed", {"bid": 189.84, "ask": 189.84}, (PASSED, None)),
        ("price_within_book", {"bid": 187.0, "ask": 187.9}, (FAILED, 66.0)),
        ("price_within_book", {"bid": 187.0, "ask": 188.0}, (PASSED, None)),
        ("price_within_book", {"bid": 191.8, "ask": 192.0}, (FAILED, 66.0)),
        ("price_within_day_range", {"low": 188.0, "high": 189.4}, (FAILED, 66.0)),
        ("price_within_day_range", {"low": 188.0, "high": 189.5}, (PASSED, None)),
        ("price_within_day_range", {"low": 190.3, "high": 191.0}, (FAILED, 66.0)),
        ("ohlc_order", {"low": 190.0, "high": 189.5}, (FAILED, 66.0)),
        ("ohlc_order", {"open": 195.0}, (FAILED, 79.0)),
        ("ohlc_order", {"open": None}, (PASSED, None)),
    ],
)
def test_the_served_quote_is_checked_against_its_own_fields(
    rule: str, given: dict[str, Any], expected: tuple[Verdict, float | None]
) -> None:
    """Crossed book, 1 % outside of it, 0.2 % outside the day's range, open, high and low out of order."""
    judgement = judge([quote(**given), quote("b", **given)])
    assert outcome(judgement, rule) == expected
    assert dimension(judgement, Dimension.VALIDITY) == (expected[1] or 100.0)


def test_a_failed_check_makes_an_otherwise_perfect_quote_a_d() -> None:
    """Validity limits the grade and says with which numbers."""
    judgement = judge([quote(bid=189.9, ask=189.8), quote("b", bid=189.9, ask=189.8)])
    assert judgement.grade is Grade.D
    assert judgement.explanation.assessment.limited_by.because == "crossed book: b bid 189.90, ask 189.80"


def test_an_extended_hours_print_is_not_held_against_the_regular_range() -> None:
    """The day's range is that of regular trading."""
    post = quote("nasdaq", 199.0, 2.0, session=Session.POST, now=POST_MARKET)
    assert outcome(judge([post], now=POST_MARKET), "price_within_day_range") == (NOT_RUN, None)


def test_there_is_no_book_beside_an_official_close() -> None:
    """A crossed or wide book at night says nothing about the close."""
    judgement = judge([close_quote(bid=195.0, ask=180.0)], now=SUNDAY)
    assert outcome(judgement, "book_not_crossed") == outcome(judgement, "price_within_book") == (NOT_RUN, None)
    assert (judgement.bid, judgement.ask) == (None, None)


def test_a_currency_other_than_the_listings_usual_one_is_told() -> None:
    """Funds in dollars are listed in London; the price is served in what the sources state."""
    fund = parse_symbol("CSPX.L")
    judgement = judge([quote(currency="USD")], fund, calendar=calendar_named("XLON"))
    assert (judgement.currency, outcome(judgement, "currency")) == ("USD", (FAILED, 79.0))
    unsaid = judge([quote(currency=None)], fund, calendar=calendar_named("XLON"))
    assert (unsaid.currency, outcome(unsaid, "currency"), unsaid.grade) == (None, (FAILED, 66.0), Grade.D)


def test_a_symbol_that_fixes_its_currency_needs_no_source_to_state_it() -> None:
    """It is used, but not counted as checked."""
    judgement = judge([quote(currency=None)])
    assert (judgement.currency, outcome(judgement, "currency")) == ("USD", (NOT_RUN, None))


def test_a_price_without_a_time_fails_the_check_of_its_time() -> None:
    """Undated is a D."""
    judgement = judge([quote(age_s=None), quote("b", age_s=None)])
    assert finding(judgement, "event_time_present").verdict is FAILED
    assert finding(judgement, "event_time_not_future").verdict is NOT_RUN
    assert (judgement.grade, dimension(judgement, Dimension.TIMELINESS)) == (Grade.D, 66.0)


def test_only_a_price_from_the_future_is_served_as_undated() -> None:
    """When nothing better is there the number is kept, its time is not."""
    judgement = judge([quote(age_s=-3600.0)])
    assert (judgement.grade, judgement.price_time, judgement.delay_s) == (Grade.D, None, None)
    assert finding(judgement, "event_time_not_future").detail == (
        "finnhub: stamped 60 min ahead of now, a time zone shift"
    )


def test_a_price_of_an_earlier_session_fails_in_an_open_market() -> None:
    """Friday's close on Monday morning, however many sources repeat it."""
    friday = [close_quote(name, session=Session.REGULAR) for name in ("a", "b", "c")]
    judgement = judge(friday)
    found = finding(judgement, "session_current")
    assert (found.verdict, found.severity, judgement.grade) == (FAILED, Severity.FATAL, Grade.F)
    assert found.detail == "the price of Fri 2026-11-20 16:00 ET is from before the session to answer; market open"
    assert finding(judgement, "session_answered").verdict is NOT_RUN


def test_a_stamp_younger_than_the_declared_delay_is_a_contradiction() -> None:
    """The declared delay is the lower bound of what is believed."""
    judgement = judge([quote("cboe", age_s=1.0, declared_delay_s=900.0)])
    assert outcome(judgement, "declared_delay") == (FAILED, None)
    assert (judgement.delay_s, judgement.grade) == (900.0, Grade.D)
    assert outcome(judge([quote("cboe", age_s=903.0, declared_delay_s=900.0)]), "declared_delay") == (PASSED, None)


def test_agreement_of_independent_sources_is_a_check_of_its_own() -> None:
    """Passed with the spread, failed when contested, not run alone or within one group."""
    assert finding(judge([quote(), quote("b", 189.86)]), "cross_source").detail == "2 independent sources within 1.1 bp"
    contested = finding(judge([quote(), quote("b", 193.2)]), "cross_source")
    assert (contested.verdict, contested.detail) == (FAILED, "finnhub 189.84 against b 193.20")
    assert finding(judge([quote("yahoo"), quote("nasdaq")]), "cross_source").verdict is NOT_RUN


@pytest.mark.parametrize(
    ("error_s", "verdict", "detail"),
    [
        (None, NOT_RUN, "no server has said what time it is"),
        (0.0, PASSED, "the vendors' servers have the same time"),
        (3600.0, FAILED, f"this machine's clock is 60 min ahead of {SET_IT}"),
        (-61.0, FAILED, f"this machine's clock is 61 s behind {SET_IT}"),
    ],
)
def test_a_wrong_clock_of_ours_leaves_no_age_to_believe(error_s: float | None, verdict: Verdict, detail: str) -> None:
    """However many agree: the market's state and every age are told by it."""
    judgement = judge([quote(n) for n in "abc"], clock_error_s=error_s)
    found = finding(judgement, "machine_clock")
    assert (found.verdict, found.detail, judgement.grade) == (verdict, detail, Grade.D if error_s else Grade.A)


def test_a_session_tag_that_its_time_refutes_fails() -> None:
    """A price called regular, an hour after the close, is a post-market print."""
    judgement = judge([quote(now=POST_MARKET)], now=POST_MARKET)
    assert (judgement.session, outcome(judgement, "session_tag")) == (Session.POST, (FAILED, 79.0))
    assert outcome(judge([quote()]), "session_tag") == (PASSED, None)


def test_only_an_extended_print_cannot_stand_for_the_official_close() -> None:
    """On Sunday the last post-market print of Friday is served as a D, under its own session."""
    late = quote("a", age_s=None, event_time=FRIDAY_CLOSE + timedelta(hours=3), session=Session.POST)
    judgement = judge([late], now=SUNDAY)
    assert (judgement.session, judgement.grade) == (Session.POST, Grade.D)
    assert outcome(judgement, "session_answered") == (FAILED, 66.0)


@pytest.mark.parametrize(
    ("closes", "learned", "expected", "served"),
    [
        ((188.60, 188.60), None, (PASSED, None), 188.60),
        ((188.60, 187.10), None, (FAILED, 89.0), 188.60),
        ((188.60, 187.10), KNOWN, (FAILED, None), 188.60),
        ((187.10, 188.60, 188.60), None, (FAILED, None), 188.60),
        ((188.60, None), None, (NOT_RUN, None), 188.60),
        ((None, None), None, (NOT_RUN, None), None),
    ],
)
def test_sources_must_agree_on_the_previous_close(
    closes: tuple[float | None, ...],
    learned: SymbolKnowledge | None,
    expected: tuple[Verdict, float | None],
    served: float | None,
) -> None:
    """The majority is served, memory breaks a tie, and an open contradiction costs the A."""
    quotes = [quote(name, previous_close=close) for name, close in zip("abc", closes, strict=False)]
    judgement = judge(quotes, learned=learned)
    assert outcome(judgement, "previous_close_sources") == expected
    assert judgement.previous_close == served


def test_another_companys_previous_close_gives_a_single_source_an_f() -> None:
    """More than 3 % from memory: another instrument, that confirms nothing; two that say the same outweigh memory."""
    strange: dict[str, Any] = {"previous_close": 120.0}
    alone = judge([quote(**strange)], learned=KNOWN)
    assert (outcome(alone, "previous_close_memory"), alone.grade) == ((FAILED, 45.0), Grade.F)
    both = judge([quote(**strange), quote("b")], learned=KNOWN, weights={"finnhub": 0.95})
    assert (both.sources_used[0], both.previous_close, both.grade) == ("b", 188.60, Grade.B)
    split = judge([quote(**strange), quote("b", **strange)], learned=KNOWN)
    assert (outcome(split, "previous_close_memory"), split.grade) == ((FAILED, None), Grade.A)
    assert outcome(judge([quote()], learned=KNOWN), "previous_close_memory") == (PASSED, None)


@pytest.mark.parametrize(("price", "cap"), [(18984.0, 30.0), (1.8984, 30.0), (1898.4, 30.0)])
def test_a_single_source_a_power_of_ten_off_is_an_f(price: float, cap: float) -> None:
    """Pence for pounds, cents for dollars, a misplaced point."""
    judgement = judge([quote(price=price, open=None, high=None, low=None)], learned=KNOWN)
    assert (outcome(judgement, "unit_ratio"), judgement.grade) == ((FAILED, cap), Grade.F)


@pytest.mark.parametrize(
    ("price", "expected", "grade"),
    [
        (207.0, (PASSED, None), Grade.B),
        (210.0, (FAILED, 64.0), Grade.D),
        (232.0, (FAILED, 45.0), Grade.F),
        (150.0, (FAILED, 45.0), Grade.F),
    ],
)
def test_a_move_that_the_symbol_does_not_make_needs_a_second_source(
    price: float, expected: tuple[Verdict, float | None], grade: Grade
) -> None:
    """Beyond 8 daily sigma a D, beyond 15 and 20 % an F, with one source only."""
    wide: dict[str, Any] = {"open": None, "high": None, "low": None}
    alone = judge([quote(price=price, **wide)], learned=KNOWN)
    assert (outcome(alone, "jump"), alone.grade) == (expected, grade)
    both = judge([quote(price=price, **wide), quote("b", price, **wide)], learned=KNOWN)
    assert outcome(both, "jump") == (PASSED, None)
    assert dimension(both, Dimension.PLAUSIBILITY) == 100.0


def test_a_bad_tick_against_the_last_served_price_fails_alone() -> None:
    """0.6 % within ten seconds is more than max(50 bp, 8 sigma sqrt(dt)); confirmed it is a move."""
    seen = MID_SESSION - timedelta(seconds=11)
    recent = SymbolKnowledge(observations=200, last_price=188.65, last_price_time=seen)
    alone = judge([quote()], learned=recent)
    assert (outcome(alone, "recent_price"), alone.grade) == ((FAILED, 64.0), Grade.D)
    assert outcome(judge([quote(), quote("b")], learned=recent), "recent_price") == (PASSED, None)
    old = SymbolKnowledge(observations=200, last_price=188.65, last_price_time=seen - timedelta(minutes=10))
    assert outcome(judge([quote()], learned=old), "recent_price") == (NOT_RUN, None)


def test_a_price_beyond_the_band_that_would_halt_trading_fails_alone() -> None:
    """10 % within five minutes."""
    recent = SymbolKnowledge(observations=200, last_price=172.0, last_price_time=MID_SESSION - timedelta(minutes=2))
    assert outcome(judge([quote()], learned=recent), "price_band") == (FAILED, 64.0)
    near = SymbolKnowledge(observations=200, last_price=180.0, last_price_time=MID_SESSION - timedelta(minutes=2))
    assert outcome(judge([quote()], learned=near), "price_band") == (PASSED, None)


def test_a_delayed_source_too_far_away_casts_doubt_on_a_single_fresh_one() -> None:
    """Fifteen minutes explain 2.2 %, not 4 %; two fresh sources outweigh it."""
    far, near = quote("cboe", 182.3, 905.0, low=182.0), quote("cboe", 187.0, 905.0)
    alone = judge([quote(), far], learned=KNOWN)
    assert (outcome(alone, "delayed_sources"), alone.grade) == ((FAILED, 64.0), Grade.D)
    assert outcome(judge([quote(), near], learned=KNOWN), "delayed_sources") == (PASSED, None)
    assert outcome(judge([quote(), quote("b"), far], learned=KNOWN), "delayed_sources") == (PASSED, None)


def test_at_night_yesterdays_price_is_the_last_sessions_close() -> None:
    """Nothing fails when the market is closed and the close is stated."""
    judgement = judge(
        [close_quote("a", at=NIGHT - timedelta(hours=6)), quote("b", age_s=6 * 3600, now=NIGHT)], now=NIGHT
    )
    assert {f.rule for f in judgement.explanation.assessment.findings if f.verdict is FAILED} == set()
    assert judgement.grade is Grade.A
