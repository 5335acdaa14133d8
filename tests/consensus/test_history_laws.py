"""Laws that hold for every series, however strange."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.series_building import NOW, context, daily, judge, noisy, question, scaled, series, walk
from mdagent_mcp.consensus.history import HistoryJudgement, answer, judge_history
from mdagent_mcp.consensus.history_series import PRICE_FIELDS, prices_of
from mdagent_mcp.domain.prices import Adjustment, Bar, Dividend, History, Interval, Split
from mdagent_mcp.domain.quality import Dimension, Grade, Verdict, grade_of

MODEST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

anything = st.floats() | st.sampled_from([0.0, -1.0, math.nan, math.inf, 5e-324, 1e308, 100.0, 1.0])
instants = st.datetimes(datetime(2025, 11, 20), datetime(2026, 1, 10), timezones=st.just(UTC)) | st.dates(  # noqa: DTZ001
    date(2025, 11, 20), date(2026, 1, 10)
).map(lambda d: datetime(d.year, d.month, d.day, tzinfo=UTC))
strange_bars = st.lists(
    st.builds(Bar, instants, anything, anything, anything, anything, st.none() | anything, st.none() | anything),
    max_size=25,
)
near_dates = st.dates() | st.dates(date(2025, 11, 20), date(2026, 1, 10))
plain_prices = st.floats(0.5, 500.0, allow_nan=False)


@st.composite
def strange_histories(draw: st.DrawFn) -> History:
    """Any series a careless vendor could state."""
    return History(
        symbol=draw(st.sampled_from(["ACME", "OTHER"])),
        source=draw(st.sampled_from(["alpha", "beta", "gamma"])),
        interval=draw(st.sampled_from([Interval.DAY_1, Interval.DAY_1, Interval.MIN_5])),
        adjustment=draw(st.sampled_from(list(Adjustment))),
        timezone="America/New_York",
        received_at=draw(instants),
        bars=tuple(draw(strange_bars)),
        currency=draw(st.sampled_from(["USD", "GBP", None])),
        null_rows=tuple(draw(st.lists(instants, max_size=3))),
        partial_last_bar=draw(st.booleans()),
        dividends=tuple(draw(st.lists(st.builds(Dividend, near_dates, anything), max_size=3))),
        splits=tuple(draw(st.lists(st.builds(Split, near_dates, anything), max_size=3))),
        capital_gains=tuple(draw(st.lists(st.builds(Dividend, near_dates, anything), max_size=2))),
    )


@MODEST
@given(
    st.lists(strange_histories(), max_size=4),
    st.sampled_from(list(Interval)),
    st.sampled_from(["ACME", "BTC-USD", "EURUSD", "ABC.TA", "VOD.L"]),
    st.sampled_from(list(Adjustment)),
    st.booleans(),
)
def test_no_series_makes_the_judgement_fail_and_served_prices_are_always_usable(
    stated: list[History], interval: Interval, symbol: str, adjustment: Adjustment, extended: bool
) -> None:
    """Whatever comes, the answer has finite positive prices in order, and a grade that fits its score."""
    given_series = [
        replace(h, symbol=symbol if h.symbol == "ACME" else h.symbol, interval=interval if n else h.interval)
        for n, h in enumerate(stated)
    ]
    asked = question(
        interval, date(2025, 11, 24), date(2026, 1, 6), symbol=symbol, adjustment=adjustment, extended_hours=extended
    )
    judged = judge_history(asked, given_series, {"delta": "timeout"}, context())
    if judged is None:
        return
    for bar in judged.series.bars:
        assert all(math.isfinite(p) and p > 0 for p in prices_of(bar).values())
        assert bar.volume is None or (math.isfinite(bar.volume) and bar.volume >= 0)
    assert all(a.start < b.start for a, b in pairwise(judged.series.bars))
    for bar in answer(judged, "h-1").bars:
        assert all(math.isfinite(p) and p > 0 for p in prices_of(bar).values())
    assert judged.assessment.grade is grade_of(judged.assessment.score)
    assert math.isfinite(judged.assessment.score)
    assert len(judged.summary.split()) <= 60


@MODEST
@given(st.lists(strange_histories(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_in_which_sources_answer_changes_nothing(stated: list[History], chance: object) -> None:
    """The same facts give the same answer."""
    distinct = list({h.source: h for h in stated}.values())
    asked = question(first=date(2025, 11, 24), last=date(2026, 1, 6))
    straight = judge_history(asked, distinct, {}, context())
    shuffled = list(distinct)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _told(straight) == _told(judge_history(asked, shuffled, {}, context()))


@MODEST
@given(st.permutations(range(20)))
def test_the_order_of_rows_changes_nothing_but_what_is_said_about_it(order: list[int]) -> None:
    """The same rows are served; only the rule about order may speak."""
    bars = daily()[-20:]
    asked = question(first=bars[0].day)
    shuffled = judge(series([bars[n] for n in order]), asked=asked)
    assert shuffled.series.bars == tuple(bars)
    assert {i.rule for i in shuffled.issues} <= {"order"}


@MODEST
@given(
    st.lists(st.tuples(plain_prices, plain_prices, plain_prices, plain_prices), min_size=8, max_size=40),
    st.integers(0, 3),
)
def test_served_prices_are_the_sources_own_but_for_listed_repairs(
    rows: list[tuple[float, float, float, float]], sources: int
) -> None:
    """Undo the repairs and the source's own prices are there."""
    starts = [b.start for b in daily()[: len(rows)]]
    bars = [Bar(s, *prices, 5e5) for s, prices in zip(starts, rows, strict=True)]
    others = [series(noisy(daily()[: len(rows)], seed=n), name) for n, name in enumerate("bcd"[:sources])]
    judged = judge(series(bars), *others, asked=question(last=starts[-1].date()))
    stated = {h.source: {b.start: b for b in h.bars} for h in (series(bars), *others)}[judged.sources_used[0]]
    changed = {
        (time, name)
        for r in judged.repairs
        for time in starts
        if r.time <= time <= (r.until or r.time)
        for name in (PRICE_FIELDS if r.field == "prices" else (r.field,))
    }
    for bar in judged.series.bars:
        for name in PRICE_FIELDS:
            own, served = prices_of(stated[bar.start])[name], prices_of(bar)[name]
            assert own == served or (bar.start, name) in changed
    assert {b.start for b in answer(judged, "h-1").unrepaired} == {time for time, _ in changed}


@MODEST
@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 59), st.floats(1e-4, 1e4)), max_size=6),
    st.lists(st.tuples(st.integers(0, 59), st.floats(1e-4, 1e4)), max_size=3),
    st.lists(st.tuples(st.integers(0, 59), st.sampled_from([0.0, -1.0, 0.01, 0.5, 1.001, 20.0, math.inf])), max_size=8),
    st.lists(st.tuples(st.integers(0, 59), st.sampled_from([0.01, 0.1, 0.5, 2.0, 4.0, 100.0])), max_size=4),
)
def test_whatever_a_source_says_about_dividends_and_factors_the_answer_has_usable_prices(
    seed: int,
    paid: list[tuple[int, float]],
    gains: list[tuple[int, float]],
    factors: list[tuple[int, float]],
    levels: list[tuple[int, float]],
) -> None:
    """Every served price is positive, every number of a repair is finite, and what was stated is kept."""
    bars = daily(seed=seed)[:60]
    for n, level in levels:
        bars = scaled(bars, range(n), level)
    stated = [replace(b, adjusted_close=b.close) for b in bars]
    for n, factor in factors:
        stated[: n + 1] = [replace(b, adjusted_close=(b.adjusted_close or 0.0) * factor) for b in stated[: n + 1]]
    history = series(
        stated,
        dividends=tuple(Dividend(bars[n].day, amount) for n, amount in paid),
        capital_gains=tuple(Dividend(bars[n].day, amount) for n, amount in gains),
    )
    told = answer(judge(history, asked=question(last=bars[-1].day, adjustment=Adjustment.ALL)), "h-1")
    assert len(told.bars) == 60
    assert all(math.isfinite(p) and p > 0 for b in told.bars for p in prices_of(b).values())
    for repair in told.repairs:
        assert repair.before is None or math.isfinite(repair.before)
        assert math.isfinite(repair.after)
        assert repair.bars >= 1
        assert repair.until is None or repair.until > repair.time


@MODEST
@given(st.integers(0, 10_000), st.floats(0.006, 0.03), st.floats(60.0, 900.0))
def test_a_clean_series_is_a_b_alone_and_an_a_with_an_independent_witness(seed: int, step: float, price: float) -> None:
    """Whatever the price and the volatility of an ordinary stock."""
    bars = walk([b.start for b in daily()], seed=seed, step=step, price=price)
    alone = judge(series(bars))
    confirmed = judge(series(bars), series(noisy(bars, seed=seed), "beta"))
    same = judge(series(bars), series(bars, "beta"), within=context(alpha="feed", beta="feed"))
    assert (alone.assessment.grade, same.assessment.grade, confirmed.assessment.grade) == (Grade.B, Grade.B, Grade.A)


@MODEST
@given(st.integers(1, 248), st.sampled_from([100.0, 0.01]))
def test_a_wrong_bar_is_never_served_with_a_good_grade_and_without_a_word(place: int, factor: float) -> None:
    """A hundredfold bar is repaired and told, or the grade fails."""
    judged = judge(series(scaled(daily(), [place], factor)))
    right = abs(judged.series.bars[place].close / daily()[place].close - 1) < 1e-6
    assert (right and len(judged.repairs) == 4) or judged.assessment.grade in {Grade.D, Grade.F}


@MODEST
@given(st.sets(st.integers(0, 249), max_size=200))
def test_losing_bars_never_improves_completeness(lost: set[int]) -> None:
    """Fewer bars, never a better score."""
    fewer = lost | {125}
    scores = [
        judge(series([b for n, b in enumerate(daily()) if n not in gone])).assessment.dimensions[Dimension.COMPLETENESS]
        for gone in (lost - {0, 1, 2, 3, 4, 5}, (fewer - {0, 1, 2, 3, 4, 5}))
    ]
    assert scores[1] <= scores[0]


def test_every_failed_finding_bounds_its_dimension() -> None:
    """What failed is never worth more than its cap."""
    spoiled = scaled(daily()[:-2], range(100), 2.0)
    judged = judge(series(spoiled))
    for found in judged.assessment.findings:
        if found.verdict is Verdict.FAILED:
            assert found.cap is not None
            assert judged.assessment.dimensions[found.dimension] <= found.cap + 0.05


def test_judging_is_repeatable_and_the_answer_carries_it_whole() -> None:
    """The same question twice, and every field of the answer."""
    stated = [series(scaled(daily(), [80], 100.0)), series(noisy(daily()[:100]), "beta")]
    first, second = judge(*stated), judge(*stated)
    assert first == second
    told = answer(first, "h-1")
    assert (told.symbol, told.interval, told.currency, told.timezone, told.adjustment) == (
        "ACME",
        Interval.DAY_1,
        "USD",
        "America/New_York",
        Adjustment.SPLITS,
    )
    assert told.bars == first.series.bars
    assert (told.coverage, told.issues, told.repairs) == (first.coverage, first.issues, first.repairs)
    assert (told.grade, told.score, told.summary) == (
        first.assessment.grade,
        first.assessment.score,
        first.summary,
    )
    assert (told.sources_used, told.sources_rejected, told.evidence_id) == (("alpha", "beta"), (), "h-1")
    assert (told.explanation, told.judged_at, told.partial_last_bar, told.cached) == (
        first.explanation,
        NOW,
        False,
        False,
    )


def test_a_long_series_is_linear_work() -> None:
    """Twenty years do not take four hundred times as long as one: every bar is looked at a bounded number of times."""
    days = [date(2005, 1, 3) + timedelta(days=n) for n in range(7600)]
    bars = walk([datetime(d.year, d.month, d.day, tzinfo=UTC) for d in days if d.weekday() < 5])
    judged = judge(series(bars), asked=question(first=days[0], last=days[-1]))
    assert judged.coverage.expected is not None
    assert judged.coverage.present <= len(bars) == len(judged.series.bars)


def _told(judged: HistoryJudgement | None) -> object:
    if judged is None:
        return None
    return (judged.series.source, judged.series.bars, judged.assessment, judged.summary, judged.explanation)
