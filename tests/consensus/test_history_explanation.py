"""What an agent is told about a history: summary, evidence, advice."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from consensus.series_building import NOW, context, daily, judge, minutes, noisy, question, scaled, series
from mdagent_mcp.consensus.history import HistoryContext
from mdagent_mcp.consensus.history_explanation import USE
from mdagent_mcp.domain.answers import MarketView
from mdagent_mcp.domain.prices import Interval, Session
from mdagent_mcp.domain.quality import Grade, Limit


def test_the_summary_tells_bars_sources_and_what_limits() -> None:
    """The whole sentence of the commonest case."""
    assert judge(series(daily())).summary == (
        "250 of 250 expected bars from alpha only. Limited by corroboration: "
        "no independent source of the same basis to compare with."
    )
    assert judge(series(daily()), series(noisy(daily()), "beta")).summary == (
        "250 of 250 expected bars from alpha, confirmed by beta."
    )


def test_a_second_source_of_the_same_upstream_confirms_nothing() -> None:
    """It shows the same bars because it passes on the same bars."""
    within = HistoryContext(now=NOW, groups={"alpha": "tape", "beta": "tape"})
    judged = judge(series(daily()), series(daily(), "beta"), within=within)
    assert judged.summary.startswith(
        "250 of 250 expected bars from alpha (and beta, the same upstream) only. Limited by"
    )
    assert judged.assessment.grade is Grade.B


def test_the_summary_names_who_contradicts_and_stays_short() -> None:
    """At most 60 words, however many sources have a say."""
    others = [series(daily(seed=n, price=50.0 + n), name) for n, name in enumerate("bcdefgh", 20)]
    judged = judge(series(daily()), series(noisy(daily()), "beta"), *others)
    assert len(judged.summary.split()) <= 60
    two = judge(series(daily()), series(noisy(daily()), "beta"), others[0])
    assert two.summary.endswith("Contradicted by b.")


def test_the_explanation_carries_the_evidence() -> None:
    """Headline, failures, dissent, advice, market."""
    judged = judge(
        series(daily()),
        series(scaled(daily(), range(120), 4.0), "beta"),
        failures={"gamma": "HTTP 429\x00 slow\ndown", "delta": "timeout"},
    )
    told = judged.explanation
    assert told.headline == "ACME: 250 bars of 1d, 2025-01-02 to 2025-12-31, from 1 agreeing source."
    assert told.assessment == judged.assessment
    assert told.voices == ()
    assert told.learned == {}
    (dissent,) = told.dissent
    assert dissent.startswith("beta: ")
    assert told.failures == {"delta": "timeout", "gamma": "HTTP 429 slow down"}
    assert told.use == USE[Grade.B]
    assert told.market == MarketView("closed", Session.CLOSED, NOW, datetime(2026, 1, 2, 14, 30, tzinfo=UTC))


def test_what_would_raise_the_grade_names_the_sources_that_could() -> None:
    """A key that is not set is the commonest reason for a B."""
    within = HistoryContext(now=NOW, suggestions=("finnhub (set FINNHUB_API_KEY)",))
    assert judge(series(daily()), within=within).assessment.limited_by == Limit(
        judge(series(daily())).assessment.limited_by.dimension,
        89.0,
        "no independent source of the same basis to compare with",
        "A with a second independent source that shows the same bars, such as finnhub (set FINNHUB_API_KEY)",
    )


@pytest.mark.parametrize("grade", list(Grade))
def test_there_is_advice_for_every_grade_and_use(grade: Grade) -> None:
    """The table is total."""
    assert set(USE[grade]) == {"display", "analysis", "order_decision"}
    assert all(USE[grade].values())


def test_only_the_best_grades_are_good_for_analysis() -> None:
    """A and B without reserve; F never."""
    assert [USE[g]["analysis"] for g in (Grade.A, Grade.B, Grade.F)] == ["yes", "yes", "no"]
    assert [USE[g]["order_decision"] == "yes" for g in Grade] == [True, False, False, False, False]


def test_the_market_view_of_a_running_bar_is_the_session_it_belongs_to() -> None:
    """During the session the last bar is the session's own; without a running bar the last close counts."""
    noon = datetime(2025, 12, 31, 17, 0, tzinfo=UTC)
    running = judge(series(daily(), received_at=noon, partial_last_bar=True), within=context(noon))
    finished = judge(series(daily()[:-1], received_at=noon), within=context(noon))
    next_open = datetime(2026, 1, 2, 14, 30, tzinfo=UTC)
    assert running.explanation.market == MarketView("open", Session.REGULAR, noon, next_open)
    assert finished.explanation.market == MarketView("open", Session.CLOSED, noon, next_open)


def test_the_headline_of_short_bars_tells_the_time() -> None:
    """A date alone would say nothing."""
    day = date(2025, 12, 30)
    judged = judge(series(minutes(day), interval=Interval.MIN_1), asked=question(Interval.MIN_1, day, day))
    assert judged.explanation.headline == (
        "ACME: 390 bars of 1m, 2025-12-30 14:30 UTC to 2025-12-30 20:59 UTC, from 1 agreeing source."
    )


def test_a_market_without_calendar_is_unknown() -> None:
    """Its state is never guessed."""
    judged = judge(series(daily(), symbol="ABC.TA", currency="ILS"), asked=question(symbol="ABC.TA"))
    assert judged.explanation.market == MarketView("unknown", Session.CLOSED, NOW, None)
