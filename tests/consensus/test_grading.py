"""The dimensions of a grade: the rubric's lines, their caps, and what would raise them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from consensus.quote_building import (
    AT_CLOSE,
    FRIDAY_CLOSE,
    KNOWN,
    POST_MARKET,
    PRE_MARKET,
    SUNDAY,
    THURSDAY_CLOSE,
    close_quote,
    dimension,
    judge,
    quote,
)
from mdagent_mcp.consensus.context import GradingThresholds, QuoteContext, SymbolKnowledge
from mdagent_mcp.consensus.grading import delay_score
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Dimension, Grade

TIMELINESS, CORROBORATION = Dimension.TIMELINESS, Dimension.CORROBORATION
PLAUSIBILITY, COMPLETENESS = Dimension.PLAUSIBILITY, Dimension.COMPLETENESS
BARE: Final[dict[str, Any]] = dict.fromkeys(("bid", "ask", "open", "high", "low", "volume"))


@pytest.mark.parametrize(
    ("delay_s", "score"),
    [
        (0.0, 100.0),
        (1.0, 95.0),
        (2.0, 90.0),
        (2.0001, 89.0),
        (5.0, 80.0),
        (5.0001, 79.0),
        (30.0, 70.0),
        (30.0001, 69.0),
        (1200.0, 60.0),
        (1200.01, 59.0),
        (43800.0, 32.0),
        (86400.0, 5.0),
        (1e7, 5.0),
    ],
)
def test_timeliness_falls_linearly_and_drops_a_letter_past_each_limit(delay_s: float, score: float) -> None:
    """Real time 2 s, then 5 s, 30 s and 20 minutes."""
    assert delay_score(delay_s, GradingThresholds()) == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize(
    ("age_s", "grade"),
    [
        (0.0, Grade.A),
        (2.0, Grade.A),
        (2.1, Grade.B),
        (5.0, Grade.B),
        (5.1, Grade.C),
        (30.0, Grade.C),
        (30.1, Grade.D),
        (1200.0, Grade.D),
        (1200.5, Grade.F),
    ],
)
def test_the_grade_of_two_independent_sources_is_that_of_their_delay(age_s: float, grade: Grade) -> None:
    """Nothing else limits them."""
    judgement = judge([quote("a", age_s=age_s), quote("b", age_s=age_s)])
    assert (judgement.grade, judgement.delay_s) == (grade, age_s)


def test_other_thresholds_move_the_lines() -> None:
    """They are options."""
    lenient = GradingThresholds(real_time_s=10.0, low_delay_s=20.0)
    assert judge([quote("a", age_s=9.0), quote("b", age_s=9.0)], thresholds=lenient).grade is Grade.A


@pytest.mark.parametrize(
    "wrong",
    [
        {"real_time_s": 0.0},
        {"real_time_s": 6.0},
        {"low_delay_s": 30.0},
        {"stale_s": float("nan")},
        {"stale_s": 90000.0},
        {"corroboration_age_s": 61.0},
        {"known_observations": 0},
        {"large_move": 1.0},
    ],
)
def test_nonsensical_thresholds_are_refused(wrong: dict[str, float]) -> None:
    """Not positive, out of order, or no share."""
    with pytest.raises(ValueError, match=r"must"):
        GradingThresholds(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"observations": -1}, {"volatility_per_sqrt_s": 0.0}, {"relative_spread": 1.5}, {"previous_official_close": -3.0}],
)
def test_nonsensical_knowledge_is_refused(wrong: dict[str, float]) -> None:
    """A broken memory must not decide a grade."""
    with pytest.raises(ValueError, match=r"must"):
        SymbolKnowledge(**wrong)  # type: ignore[arg-type]


def test_a_context_needs_utc_and_trust_between_zero_and_one() -> None:
    """Refused on construction."""
    with pytest.raises(ValueError, match="UTC"):
        QuoteContext(now=datetime(2026, 11, 23), calendar=calendar_named("XNYS"))  # noqa: DTZ001
    with pytest.raises(ValueError, match=r"weights of a must lie in 0\.\.1"):
        QuoteContext(now=POST_MARKET, calendar=calendar_named("XNYS"), weights={"a": 1.2})


@pytest.mark.parametrize(
    ("names", "learned", "score", "grade"),
    [
        ("a", None, 79.0, Grade.C),
        ("a", SymbolKnowledge(observations=99), 79.0, Grade.C),
        ("a", SymbolKnowledge(observations=100), 89.0, Grade.B),
        ("ab", None, 95.0, Grade.A),
        ("abc", None, 100.0, Grade.A),
        ("abcd", None, 100.0, Grade.A),
    ],
)
def test_corroboration_counts_independent_groups(
    names: str, learned: SymbolKnowledge | None, score: float, grade: Grade
) -> None:
    """One is worth a C, with memory a B; two are worth an A."""
    judgement = judge([quote(name) for name in names], learned=learned)
    assert (dimension(judgement, CORROBORATION), judgement.grade) == (score, grade)


@pytest.mark.parametrize(("now", "session"), [(PRE_MARKET, Session.PRE), (POST_MARKET, Session.POST)])
def test_memory_does_not_vouch_for_a_lone_print_of_extended_hours(now: datetime, session: Session) -> None:
    """Who else answered only knew the close, so nothing says that the print is right; a second one does."""
    close = close_quote("c", now=now, at=FRIDAY_CLOSE if session is Session.PRE else AT_CLOSE)
    prints = [quote(name, now=now, session=session, **BARE) for name in "ab"]
    learned = SymbolKnowledge(observations=240)
    alone = judge([prints[0], close], now=now, learned=learned)
    assert (alone.session, alone.grade, dimension(alone, CORROBORATION)) == (session, Grade.C, 79.0)
    assert f"nobody else tells a {session}-market print" in alone.explanation.assessment.limited_by.because
    confirmed = judge([*prints, close], now=now, learned=learned)
    assert (confirmed.session, dimension(confirmed, CORROBORATION)) == (session, 95.0)


@pytest.mark.parametrize(
    ("now", "grade"),
    [
        (datetime(2026, 11, 24, 1, 0, 5, tzinfo=UTC), Grade.C),
        (datetime(2026, 11, 24, 1, 0, 31, tzinfo=UTC), Grade.A),
        (datetime(2026, 11, 24, 8, 59, 29, tzinfo=UTC), Grade.A),
        (datetime(2026, 11, 24, 8, 59, 55, tzinfo=UTC), Grade.C),
    ],
)
def test_about_the_end_and_the_beginning_of_extended_trading_a_close_is_no_better_than_during_it(
    now: datetime, grade: Grade
) -> None:
    """Eight in the evening and four in the morning: by a clock five seconds off it still trades, or does already."""
    judgement = judge([close_quote(name, at=AT_CLOSE, now=now) for name in "ab"], now=now)
    assert (judgement.session, judgement.grade) == (Session.CLOSED, grade)
    index = judge([close_quote(n, at=AT_CLOSE, now=now, symbol="^GSPC") for n in "ab"], parse_symbol("^GSPC"), now=now)
    assert (index.session, index.grade) == (Session.CLOSED, Grade.A)


def test_only_fresh_and_sound_members_count_as_a_second_opinion() -> None:
    """Older than 30 s, or contradicting itself, a source agrees without confirming."""
    learned = SymbolKnowledge(volatility_per_sqrt_s=0.2e-4)
    assert dimension(judge([quote("a"), quote("b", age_s=30.0)], learned=learned), CORROBORATION) == 95.0
    assert dimension(judge([quote("a"), quote("b", age_s=31.0)], learned=learned), CORROBORATION) == 79.0
    assert dimension(judge([quote("a"), quote("b", low=192.0, high=191.0)]), CORROBORATION) == 79.0


def test_a_declared_quarter_hour_delay_is_a_d_and_not_stale() -> None:
    """Even two such sources."""
    late = [quote(name, age_s=903.0, declared_delay_s=900.0) for name in "ab"]
    judgement = judge(late)
    assert (judgement.grade, dimension(judgement, CORROBORATION)) == (Grade.D, 95.0)


@pytest.mark.parametrize(("bound", "score"), [(0.96, 100.0), (0.91, 89.0), (0.85, 79.0), (0.7, 69.0), (0.5, 59.0)])
def test_a_single_source_is_believed_as_far_as_it_was_right(bound: float, score: float) -> None:
    """The learned lower bound caps plausibility of one source only."""
    bounds = {"finnhub": bound, "b": bound}
    assert dimension(judge([quote()], learned=KNOWN, reliability_bounds=bounds), PLAUSIBILITY) == score
    assert dimension(judge([quote(), quote("b")], reliability_bounds=bounds), PLAUSIBILITY) == 100.0


@pytest.mark.parametrize(
    ("missing", "score"),
    [
        ((), 100.0),
        (("volume",), 88.0),
        (("bid", "ask"), 88.0),
        (("bid", "ask", "volume"), 84.0),
        (("bid", "ask", "volume", "previous_close"), 80.0),
    ],
)
def test_completeness_counts_missing_fields(missing: tuple[str, ...], score: float) -> None:
    """One or two 88, three 84, all 80: a B at most."""
    absent: dict[str, Any] = dict.fromkeys(missing)
    judgement = judge([quote(name, **absent) for name in "ab"])
    assert dimension(judgement, COMPLETENESS) == score
    assert judgement.grade is (Grade.A if score == 100.0 else Grade.B)


def test_fields_that_do_not_exist_are_not_missed() -> None:
    """No book beside a close or an index, no volume in forex."""
    closes = [close_quote(name) for name in "ab"]
    assert judge(closes, now=SUNDAY).grade is Grade.A
    bare = {"bid": None, "ask": None, "volume": None}
    index = [quote(name, 6000.0, open=5990.0, high=6010.0, low=5980.0, previous_close=5985.0, **bare) for name in "ab"]
    assert judge(index, parse_symbol("^GSPC")).grade is Grade.A
    pair = {"open": None, "high": None, "low": None, "previous_close": 1.08, "volume": None}
    forex = [quote(name, 1.085, bid=1.0849, ask=1.0851, **pair) for name in "ab"]
    assert judge(forex, parse_symbol("EURUSD"), calendar=calendar_named("24/5")).grade is Grade.A


def test_the_official_close_on_a_weekend_is_an_a_with_two_groups_and_a_b_with_one_known() -> None:
    """Nothing newer can exist; Thursday's close on Sunday is an F."""
    two = judge([close_quote("a"), close_quote("b", session=Session.REGULAR)], now=SUNDAY)
    assert (two.grade, two.session, two.delay_s) == (Grade.A, Session.CLOSED, 0.0)
    assert judge([close_quote("a")], now=SUNDAY, learned=KNOWN).grade is Grade.B
    thursday = judge([close_quote(name, at=THURSDAY_CLOSE) for name in "ab"], now=SUNDAY)
    assert (thursday.grade, dimension(thursday, TIMELINESS) <= 59.0) == (Grade.F, True)


def test_a_price_from_before_the_bell_is_as_late_as_it_is_before_it() -> None:
    """Five seconds of slack, then the rubric's limits."""
    stamps = {4.0: (Grade.A, 0.0), 9.0: (Grade.B, 4.0), 25.0: (Grade.C, 20.0), 600.0: (Grade.D, 595.0)}
    for before, expected in stamps.items():
        at = FRIDAY_CLOSE - timedelta(seconds=before)
        judgement = judge([close_quote(n, at=at, session=Session.REGULAR) for n in "ab"], now=SUNDAY)
        assert (judgement.grade, judgement.delay_s) == expected


@pytest.mark.parametrize("now", [POST_MARKET, PRE_MARKET])
def test_the_official_close_while_extended_hours_trade_is_a_c(now: datetime) -> None:
    """The price may have moved since."""
    at = AT_CLOSE if now == POST_MARKET else FRIDAY_CLOSE
    judgement = judge([close_quote("a", at=at), close_quote("b", at=at)], now=now)
    assert (judgement.grade, judgement.session, dimension(judgement, TIMELINESS)) == (Grade.C, Session.CLOSED, 76.0)
    assert judgement.explanation.assessment.limited_by.raises_to.startswith("A with a source that shows p")


def test_an_index_has_no_extended_hours() -> None:
    """After the close of its shares its value is final."""
    values = {"open": 5990.0, "high": 6010.0, "low": 5980.0, "previous_close": 5985.0}
    closes = [close_quote(name, 6000.0, at=AT_CLOSE, **values) for name in "ab"]
    assert judge(closes, parse_symbol("^GSPC"), now=POST_MARKET).grade is Grade.A


def test_a_close_is_not_final_before_it_has_settled() -> None:
    """Twenty minutes after the bell, in a market without extended hours."""
    london = parse_symbol("VOD.L")
    bell = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)
    quotes = [close_quote(name, at=bell, currency="GBP") for name in "ab"]
    calendar = calendar_named("XLON")
    early = judge(quotes, london, calendar=calendar, now=bell + timedelta(minutes=19))
    late = judge(quotes, london, calendar=calendar, now=bell + timedelta(minutes=20))
    assert (early.grade, dimension(early, TIMELINESS), late.grade) == (Grade.B, 89.0, Grade.A)
    assert early.explanation.assessment.limited_by.because == "the close is not final until Mon 2026-11-23 16:50 GMT"


def test_the_first_minute_after_the_open_is_not_settled() -> None:
    """89 at most."""
    opened = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
    for seconds, score in ((30.0, 89.0), (60.0, 95.0)):
        now = opened + timedelta(seconds=seconds)
        judgement = judge([quote(name, now=now) for name in "ab"], now=now)
        assert dimension(judgement, TIMELINESS) == score


def test_without_a_calendar_the_market_is_taken_as_open_at_a_c() -> None:
    """And the answer says so."""
    judgement = judge([quote("a"), quote("b")], calendar=calendar_named("XNOWHERE"))
    assert (judgement.grade, dimension(judgement, TIMELINESS)) == (Grade.C, 79.0)
    assert judgement.explanation.market.state == "unknown"
    assert "no trading calendar for XNOWHERE: taken as open" in judgement.summary


def test_a_minute_stamp_alone_is_a_c_at_best() -> None:
    """It cannot prove a delay of seconds; its age counts from the start of the minute."""
    minute = [quote(name, age_s=1.0, event_time_resolution_s=60.0) for name in "ab"]
    judgement = judge(minute)
    assert (judgement.grade, dimension(judgement, TIMELINESS), judgement.delay_s) == (Grade.C, 79.0, 1.0)
    older = [quote(name, age_s=50.0, event_time_resolution_s=60.0) for name in "ab"]
    assert (judge(older).grade, judge(older).delay_s) == (Grade.D, 50.0)


def test_a_clock_that_runs_ahead_is_set_right_before_ages_are_taken() -> None:
    """A source three seconds ahead of us is three seconds older than it looks."""
    judgement = judge([quote("a", age_s=0.0), quote("b", age_s=0.0)], clock_offsets={"a": 3.0, "b": 3.0})
    assert (judgement.delay_s, judgement.grade) == (3.0, Grade.B)


def test_the_usual_pause_between_trades_is_no_delay() -> None:
    """A venue that trades every 20 s is current 15 s after a trade, unless a peer shows that the price has moved."""
    known = SymbolKnowledge(observations=200, gap_q95_s={"iex": 20.0})
    assert judge([quote("iex", age_s=15.0)], learned=known).delay_s == 0.5
    assert judge([quote("iex", age_s=25.0)], learned=known).delay_s == 5.0
    moved = judge([quote("iex", age_s=15.0), quote("b", 190.3, 1.0)], learned=known, weights={"iex": 0.95})
    assert next(v.delay_s for v in moved.explanation.voices if v.source == "iex") == 14.0


def test_a_thin_shares_last_trade_is_its_close_where_such_pauses_are_usual() -> None:
    """An hour before the bell is late for a share that trades each second, not for one that trades twice a day."""
    early = close_quote("otc", at=FRIDAY_CLOSE - timedelta(hours=1))
    thin = SymbolKnowledge(observations=200, gap_q95_s={"otc": 7200.0})
    assert (judge([early], now=SUNDAY).grade, judge([early], now=SUNDAY, learned=thin).grade) == (Grade.F, Grade.B)


def test_a_price_that_stands_still_too_long_is_frozen() -> None:
    """Its own unchanged time is its delay, though its stamps advance."""
    known = SymbolKnowledge(
        observations=200,
        gap_q95_s={"a": 1.0},
        unchanged_s={"a": 300.0},
        volatility_per_sqrt_s=1e-4,
        relative_spread=1e-4,
        tick=0.01,
    )
    assert judge([quote("a")], learned=known).delay_s == 300.0


def test_lifting_the_limit_promises_no_more_than_the_next_dimension_allows() -> None:
    """A second source cannot make a 20 s old price an A."""
    limit = judge([quote(age_s=20.0)]).explanation.assessment.limited_by
    assert (limit.dimension, limit.score) == (TIMELINESS, 73.6)
    assert limit.raises_to == "a delay of at most 2 s, though corroboration then limits it to C"
    second = judge([quote()]).explanation.assessment.limited_by
    assert second.raises_to == "A with a second independent source within 8.0 bp and 2 s"
