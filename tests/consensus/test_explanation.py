"""The words of a judgement: whole sentences compared, advice by grade, bounds on length."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from consensus.quote_building import (
    ACME,
    AT_CLOSE,
    FRIDAY_CLOSE,
    KNOWN,
    MID_SESSION,
    POST_MARKET,
    SUNDAY,
    close_quote,
    judge,
    quote,
    voice,
)
from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.track_knowledge import TrackKnowledge
from mdagent_mcp.consensus.wording import duration_text, joined, local_minute, price_text
from mdagent_mcp.domain.answers import MarketView, Voice, VoiceVerdict
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.resilience.calibration import CalibrationCounts, counted


def words(judgement: QuoteJudgement) -> int:
    """Words of prose an agent reads: headline, summary and what would raise the grade."""
    explained = judgement.explanation
    return len(f"{explained.headline} {judgement.summary} {explained.assessment.limited_by.raises_to}".split())


def test_an_a_is_told_with_sources_spread_and_age() -> None:
    """No limit is named where nothing limits."""
    judgement = judge([quote(age_s=1.3), quote("nasdaq", 189.86, age_s=1.8)])
    assert judgement.explanation.headline == "ACME 189.84 USD, 1.3 s old, two independent sources."
    assert judgement.summary == "2 independent sources agree within 1.1 bp; 1.3 s old."


def test_a_price_that_was_converted_from_hundredths_says_so() -> None:
    """An agent that compares it with a page in pence has to know; other notes of a reading stay out of the summary."""
    notes = ("prices are quoted in GBp and were divided by 100", "something else")
    judgement = judge([quote(age_s=1.3, notes=notes), quote("nasdaq", 189.86, age_s=1.8)])
    assert judgement.summary == (
        "2 independent sources agree within 1.1 bp; 1.3 s old. "
        "At finnhub prices are quoted in GBp and were divided by 100."
    )


def test_what_would_raise_an_incomplete_answer_names_what_is_missing() -> None:
    """Read alone, as advice before an order, it still says what to look for."""
    judgement = judge([quote(age_s=1.3, bid=None, ask=None), quote("nasdaq", 189.86, age_s=1.8, bid=None, ask=None)])
    assert judgement.explanation.assessment.limited_by.because == "bid and ask missing from finnhub and nasdaq"
    assert judgement.explanation.use["order_decision"] == "confirm first: a source that states bid and ask"


def test_a_single_source_is_told_with_why_the_others_are_missing() -> None:
    """Failures are named, and what would raise the grade, with the sources that have no key."""
    judgement = judge(
        [quote(age_s=1.3)],
        learned=KNOWN,
        failures={"yahoo": "throttled", "cboe": "circuit_open until 15:06:10Z"},
        suggestions=("polygon (needs POLYGON_API_KEY)", "tiingo (needs TIINGO_API_KEY)", "third"),
    )
    assert judgement.summary == (
        "1 independent source (finnhub); 1.3 s old. "
        "Limited by corroboration: finnhub only; cboe: circuit_open until 15:06:10Z; yahoo: throttled."
    )
    assert judgement.explanation.assessment.limited_by.raises_to == (
        "A with a second independent source within 8.0 bp and 2 s, "
        "such as polygon (needs POLYGON_API_KEY) and tiingo (needs TIINGO_API_KEY)"
    )
    assert judgement.explanation.failures == {"cboe": "circuit_open until 15:06:10Z", "yahoo": "throttled"}


def test_sources_of_one_group_are_told_as_one() -> None:
    """Two names, one voice."""
    judgement = judge([quote("yahoo"), quote("nasdaq", age_s=1.5)], learned=KNOWN)
    assert judgement.summary == (
        "1 independent source (yahoo and nasdaq); 1.0 s old. "
        "Limited by corroboration: yahoo and nasdaq pass on the same data (nasdaq_last_sale)."
    )


def test_a_rejected_outlier_is_told_with_its_cause() -> None:
    """In the summary, in the dissent and among the rejected."""
    judgement = judge([quote("a"), quote("b"), quote("yahoo", 18984.0)])
    assert judgement.summary == (
        "2 independent sources agree within 0.0 bp; 1.0 s old. "
        "Rejected: yahoo 18984.00 (unit: 100x the served price, pence or cents)."
    )
    assert judgement.explanation.dissent == ("yahoo 18984.00 rejected: unit: 100x the served price, pence or cents.",)
    assert (judgement.sources_used, judgement.sources_rejected) == (("a", "b"), ("yahoo",))


def test_an_open_contradiction_is_told_as_unresolved() -> None:
    """Neither price is told as the wrong one."""
    assert judge([quote("a"), quote("b", 193.21)]).summary == (
        "1 independent source (a); 1.0 s old. Limited by corroboration: a (189.84) is contradicted by b (193.21). "
        "Unresolved: b 193.21 (unexplained: 1.8 % above the served price)."
    )


def test_an_f_begins_with_not_to_state_the_number() -> None:
    """The first words of the summary and the advice say it."""
    judgement = judge([close_quote("cboe")])
    assert judgement.grade is Grade.F
    assert judgement.summary == (
        "Do not state this number as fact: 1 independent source (cboe); of Fri 2026-11-20 16:00 ET, "
        "before the current session. Limited by timeliness: the only price is of Fri 2026-11-20 16:00 ET, "
        "from before the session to answer."
    )
    assert judgement.explanation.use["display"].startswith("do not state the number as fact: ")


@pytest.mark.parametrize(
    ("judgement", "told"),
    [
        (judge([close_quote()], now=SUNDAY), "official close of Fri 2026-11-20 16:00 ET"),
        (judge([quote(age_s=None)]), "time unknown"),
        (judge([quote(age_s=905.0)]), "15 min old"),
        (
            judge([quote(age_s=90.0, now=POST_MARKET, session=Session.POST)], now=POST_MARKET),
            "post-market print of Mon 2026-11-23 17:28 ET",
        ),
    ],
)
def test_the_headline_says_when_the_price_was_true(judgement: QuoteJudgement, told: str) -> None:
    """Its age while the market trades, else which close or print it is."""
    assert judgement.explanation.headline == f"ACME 189.84 USD, {told}, one independent source."


def test_the_last_price_before_a_midday_break_is_told_as_such() -> None:
    """Tokyo rests from 11:30 to 12:30; the last price before is not late."""
    lunch = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
    yen = quote("yahoo", age_s=1802.0, now=lunch, currency="JPY")
    judgement = judge([yen], parse_symbol("7203.T"), now=lunch, calendar=calendar_named("XTKS"))
    assert judgement.explanation.headline == (
        "7203.T 189.84 JPY, last price before the midday break (Tue 2026-11-24 11:29 JST), one independent source."
    )
    assert judgement.delay_s == 0.0


@pytest.mark.parametrize(
    ("judgement", "use"),
    [
        (judge([quote(), quote("b")]), ("yes", "yes", "yes")),
        (
            judge([quote()], learned=KNOWN),
            ("yes", "yes", "confirm first: a second independent source within 8.0 bp and 2 s"),
        ),
        (
            judge([quote(age_s=20.0), quote("b", age_s=20.0)]),
            ("yes, stating its time (20 s old)", "with care: b is 20 s behind", "no"),
        ),
        (
            judge([quote(), quote("b", 189.0, low=188.0)]),
            ("only together with its defect: b (189.00) is contradicted by finnhub (189.84)", "no", "no"),
        ),
        (
            judge([quote(age_s=2000.0)]),
            ("do not state the number as fact: finnhub is 33 min behind", "no", "no"),
        ),
    ],
)
def test_advice_follows_the_grade(judgement: QuoteJudgement, use: tuple[str, str, str]) -> None:
    """A for decisions, B for analysis, C with its time, D with its defect, F not at all."""
    assert dict(judgement.explanation.use) == dict(zip(("display", "analysis", "order_decision"), use, strict=True))


def test_every_source_that_answered_is_a_voice() -> None:
    """Whole evidence, the served one first."""
    delayed = quote("cboe", 189.5, 905.0, declared_delay_s=900.0)
    judgement = judge([delayed, quote(age_s=1.25), quote("wrong", currency="EUR")])
    assert judgement.explanation.voices == (
        Voice(
            source="finnhub",
            upstream_group="finnhub",
            price=189.84,
            currency="USD",
            session=Session.REGULAR,
            event_time=quote(age_s=1.25).event_time,
            received_at=MID_SESSION,
            delay_s=1.25,
            weight=1.0,
            verdict=VoiceVerdict.SERVED,
        ),
        Voice(
            source="cboe",
            upstream_group="cboe",
            price=189.5,
            currency="USD",
            session=Session.REGULAR,
            event_time=delayed.event_time,
            received_at=MID_SESSION,
            delay_s=905.0,
            weight=0.0,
            verdict=VoiceVerdict.DELAYED,
            cause="delayed by 15 min",
        ),
        Voice(
            source="wrong",
            upstream_group="wrong",
            price=189.84,
            currency="EUR",
            session=Session.REGULAR,
            event_time=quote().event_time,
            received_at=MID_SESSION,
            delay_s=1.0,
            weight=0.0,
            verdict=VoiceVerdict.UNUSABLE,
            cause="currency: EUR instead of USD",
        ),
    )
    assert judgement.explanation.dissent == (
        "cboe 189.50, -0.18%, no say about now: delayed by 15 min.",
        "wrong 189.84 refused: currency: EUR instead of USD.",
    )


def test_a_price_of_another_session_is_told_and_not_rejected() -> None:
    """The official close beside a post-market print is no mistake."""
    post = quote("nasdaq", 191.0, 1.0, now=POST_MARKET, session=Session.POST)
    judgement = judge([post, close_quote("cboe", at=AT_CLOSE)], now=POST_MARKET)
    assert voice(judgement, "cboe").verdict is VoiceVerdict.OTHER_SESSION
    assert judgement.explanation.dissent == ("cboe 189.84 not compared: other_session: the official close.",)
    assert judgement.sources_rejected == ()


def test_what_is_no_number_never_becomes_evidence() -> None:
    """It is told in words, not as a number that JSON cannot carry."""
    judgement = judge([quote(), quote("broken", math.nan, bid=None, ask=None)])
    assert [v.source for v in judgement.explanation.voices] == ["finnhub"]
    assert judgement.explanation.dissent == ("broken nan refused: not_positive: the price is nan.",)
    assert judgement.sources_rejected == ("broken",)


def test_what_memory_contributed_is_told() -> None:
    """And what stands on documented defaults."""
    known = SymbolKnowledge(
        observations=240,
        previous_official_close=188.60,
        volatility_per_sqrt_s=1e-4,
        relative_spread=1e-4,
        gap_q95_s={"finnhub": 4.0},
    )
    assert dict(judge([quote()]).explanation.learned) == {
        "tolerance": "prices 2 s apart agree within 8.0 bp: documented defaults for volatility, spread and price step"
    }
    assert dict(judge([quote()], learned=known).explanation.learned) == {
        "observations": "240 outcomes of ACME",
        "tolerance": (
            "prices 2 s apart agree within 7.3 bp: learned volatility and spread, documented default for price step"
        ),
        "previous_close": "remembered as 188.60",
        "trade_gap": "finnhub usually trades every 4.0 s or sooner",
    }


def test_corrected_clocks_are_told() -> None:
    """By how much, and which way; a clock that is right is not worth a word."""
    offsets = {"a": 0.8, "b": -0.4, "c": 0.01, "absent": 3.0}
    judgement = judge([quote(name) for name in "abc"], clock_offsets=offsets)
    assert judgement.explanation.learned["clock_offsets"] == "corrected for a 0.8 s ahead and b 0.4 s behind"
    assert judgement.explanation.learned["tolerance"].startswith("prices 2 s apart agree within ")


def test_the_market_is_told_from_the_calendar() -> None:
    """State, session of the price, instant of judging, next open."""
    monday_open = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    assert judge([close_quote()], now=SUNDAY).explanation.market == MarketView(
        "closed", Session.CLOSED, SUNDAY, monday_open
    )
    assert judge([quote()]).explanation.market.state == "open"


def test_the_prose_is_bounded_whatever_the_sources_say() -> None:
    """Summary at most 60 words, all prose at most 120, foreign text cleaned."""
    noisy = {f"s{i}": "word " * 200 + "\x1b[31m\n" for i in range(9)}
    crowd = [quote(f"x{i}", 200.0 + 3 * i, high=300.0) for i in range(8)]
    for judgement in (
        judge([quote(), *crowd], failures=noisy, suggestions=("a " * 20, "b " * 20)),
        judge([quote(age_s=None)], failures=noisy),
    ):
        assert len(judgement.summary.split()) <= 60
        assert words(judgement) <= 120
        assert "\x1b" not in judgement.summary + "".join(judgement.explanation.failures.values())


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (189.84, "189.84"),
        (189.8, "189.80"),
        (18984.0, "18984.00"),
        (1.08503, "1.08503"),
        (0.000012, "0.000012"),
        (2e15, "2000000000000000.00"),
    ],
)
def test_prices_read_with_the_digits_they_have(price: float, text: str) -> None:
    """At least cents above one."""
    assert price_text(price) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (9.94, "9.9 s"), (45.0, "45 s"), (900.0, "15 min"), (7200.0, "2 h"), (259200.0, "3 days")],
)
def test_durations_read_in_the_unit_a_person_would_use(seconds: float, text: str) -> None:
    """Seconds, minutes, hours, days."""
    assert duration_text(seconds) == text


def test_times_read_on_the_exchanges_clock() -> None:
    """The zone's own letters where it has them."""
    assert local_minute(FRIDAY_CLOSE, calendar_named("XNYS")) == "Fri 2026-11-20 16:00 ET"
    assert local_minute(FRIDAY_CLOSE, calendar_named("XTKS")) == "Sat 2026-11-21 06:00 JST"
    assert (joined([]), joined("a"), joined("abc")) == ("", "a", "a, b and c")
    assert ACME.calendar == "XNYS"


def test_it_is_told_how_often_answers_as_sure_were_right_once_enough_were_graded() -> None:
    """By what authorities showed later, and of regular trading only: nothing else is graded so."""
    counts = CalibrationCounts()
    for number in range(200):
        counts = counted(counts, 0.993, right=number % 10 != 0)
    few = counted(CalibrationCounts(), 0.993, right=True)
    pair = [quote("a"), quote("b")]
    learned, unproven = (judge(pair, track=TrackKnowledge(calibration=each)) for each in (counts, few))
    told = learned.explanation.learned["confidence"]
    assert told == (
        f"answers as sure as this one were right within 5.0 bp in {learned.belief.calibrated:.1%}, by 196 graded since"
    )
    assert learned.belief.calibrated < unproven.belief.calibrated
    assert "confidence" not in unproven.explanation.learned
    close = judge([close_quote()], now=SUNDAY, track=TrackKnowledge(calibration=counts))
    assert "confidence" not in close.explanation.learned
