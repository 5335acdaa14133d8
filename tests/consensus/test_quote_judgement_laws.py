"""Laws of the consensus that hold for any quotes: order, scale, copies, delay, minorities, single sources."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consensus.quote_building import ACME, KNOWN, MID_SESSION, context, judge, quote
from mdagent_mcp.consensus.context import QuoteContext, SymbolKnowledge
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.domain.answers import VoiceVerdict
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.quality import Grade, at_least

_laws = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_LETTERS = tuple(Grade)
_BARE: dict[str, Any] = {"open": None, "high": None, "low": None}
_SOURCES = ("a", "b", "c", "yahoo", "nasdaq")

_prices = st.one_of(
    st.sampled_from([189.84, 189.85, 189.9, 190.2, 193.0, 188.60, 18984.0, 1.8984]),
    st.floats(50, 500).map(lambda p: round(p, 2)),
)
_ages = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.0, 20.0, 45.0, 905.0, 90000.0]), st.floats(-30, 3000))


@st.composite
def _quotes(draw: st.DrawFn, sources: tuple[str, ...] = _SOURCES) -> Quote:
    return quote(
        draw(st.sampled_from(sources)),
        draw(_prices),
        draw(_ages),
        session=draw(st.sampled_from([Session.REGULAR] * 5 + list(Session))),
        event_time_resolution_s=draw(st.sampled_from([1.0, 1.0, 60.0, 86400.0])),
        declared_delay_s=draw(st.sampled_from([0.0, 0.0, 900.0])),
        currency=draw(st.sampled_from(["USD", "USD", "USD", None, "EUR"])),
        bid=draw(st.sampled_from([None, 189.83, 189.87])),
        previous_close=draw(st.sampled_from([188.60, 188.60, None, 120.0])),
        venue_only=draw(st.booleans()),
    )


def test_quotes_that_differ_in_the_sessions_name_alone_have_an_order() -> None:
    """Both are of regular trading by their time, and only one calls it so."""
    quotes = [quote("a", 50.0, 0.0), quote("a", 50.0, 0.0, session=Session.PRE)]
    assert judge_quote(ACME, quotes, {}, context()) == judge_quote(ACME, quotes[::-1], {}, context())


@_laws
@given(quotes=st.lists(_quotes(), max_size=7), seed=st.integers(0, 99))
def test_the_order_of_arrival_does_not_matter(quotes: list[Quote], seed: int) -> None:
    """The whole judgement is the same."""
    shuffled = list(quotes)
    random.Random(seed).shuffle(shuffled)
    assert judge_quote(ACME, shuffled, {}, context()) == judge_quote(ACME, quotes, {}, context())


@_laws
@given(quotes=st.lists(_quotes(), max_size=7), known=st.booleans())
def test_the_served_value_is_a_sources_own_inside_the_interval(quotes: list[Quote], *, known: bool) -> None:
    """Never an average; the interval contains it; shares of the vote add up to one."""
    judgement = judge_quote(ACME, quotes, {}, context(learned=KNOWN if known else None))
    if judgement is None:
        assert all(q.currency == "EUR" for q in quotes)
        return
    assert judgement.price in {q.price for q in quotes if q.source == judgement.sources_used[0]}
    agreeing = {VoiceVerdict.SERVED, VoiceVerdict.AGREES}
    voices = judgement.explanation.voices
    assert 0 < judgement.price_low <= judgement.price <= judgement.price_high
    assert len(voices) == len(quotes)
    assert [v.verdict for v in voices].count(VoiceVerdict.SERVED) == 1
    assert abs(sum(v.weight for v in voices) - 1) < 0.001
    assert all(v.cause for v in voices if v.verdict not in agreeing)


@_laws
@given(
    prices=st.lists(st.sampled_from([100.0, 100.02, 100.5, 102.0, 120.0]), min_size=1, max_size=5),
    factor=st.sampled_from([2.0, 5.0, 10.0]),
)
def test_the_scale_of_prices_does_not_matter(prices: list[float], factor: float) -> None:
    """Who is served and what becomes of each is the same for any unit, the price step set aside."""

    def verdicts_at(scale: float) -> tuple[Any, ...]:
        known = replace(KNOWN, previous_official_close=99.0 * scale, tick=1e-6 * scale)
        quotes = [
            quote(f"s{i}", p * scale, 1.0 + i / 4, previous_close=99.0 * scale, bid=None, ask=None, **_BARE)
            for i, p in enumerate(prices)
        ]
        judged = judge(quotes, learned=known)
        return judged.grade, judged.score, [(v.source, v.verdict, v.weight) for v in judged.explanation.voices]

    assert verdicts_at(1.0) == verdicts_at(factor)


@_laws
@given(quotes=st.lists(_quotes(), min_size=1, max_size=5), copies=st.integers(1, 3))
def test_copies_of_a_group_add_nothing(quotes: list[Quote], copies: int) -> None:
    """A source that repeats another of its group changes neither price, grade nor interval."""
    copied = [replace(quotes[0], source=f"{quotes[0].source}-copy{n}") for n in range(copies)]
    base = dict(context().groups)
    group = base.get(quotes[0].source, quotes[0].source)
    groups = {**base, **{q.source: group for q in copied}}
    once = judge_quote(ACME, quotes, {}, context(groups=groups))
    more = judge_quote(ACME, [*quotes, *copied], {}, context(groups=groups))
    assert (once is None) == (more is None)
    if once is not None and more is not None:
        assert (more.price, more.grade, more.score) == (once.price, once.grade, once.score)
        assert (more.price_low, more.price_high) == (once.price_low, once.price_high)


@_laws
@given(
    ages=st.lists(st.floats(0, 1500), min_size=1, max_size=4),
    prices=st.lists(st.sampled_from([189.84, 189.86, 190.05, 193.0]), min_size=4, max_size=4),
    later=st.floats(0, 1500),
)
@example(ages=[1.0, 29.0], prices=[189.84, 193.0, 189.84, 189.84], later=40.0)
def test_a_grade_never_rises_by_waiting(ages: list[float], prices: list[float], later: float) -> None:
    """The same quotes, judged later in the session."""
    quotes = [quote(f"s{i}", p, age, **_BARE) for i, (p, age) in enumerate(zip(prices, ages, strict=False))]
    grades = [judge(quotes, now=MID_SESSION + timedelta(seconds=s)).grade for s in (0.0, later)]
    assert at_least(grades[0], grades[1])


@_laws
@given(delays=st.tuples(st.floats(0, 90000), st.floats(0, 90000)), known=st.booleans())
def test_a_longer_delay_never_scores_higher(delays: tuple[float, float], *, known: bool) -> None:
    """One source, declared delay."""
    learned = KNOWN if known else None
    low, high = sorted(delays)
    scores = [judge([quote(declared_delay_s=d)], learned=learned).score for d in (low, high)]
    assert scores[0] >= scores[1]


@_laws
@given(quotes=st.lists(_quotes(("yahoo", "nasdaq")), min_size=1, max_size=4), known=st.booleans())
def test_one_upstream_group_is_never_an_a(quotes: list[Quote], *, known: bool) -> None:
    """However many sources pass on its data."""
    judgement = judge_quote(ACME, quotes, {}, context(learned=KNOWN if known else None))
    assert judgement is None or judgement.grade is not Grade.A


@_laws
@given(
    off=st.one_of(st.floats(0.01, 5.0), st.floats(-0.9, -0.01)),
    age=st.floats(0, 60),
    trust=st.floats(0, 1),
    fresh=st.tuples(st.floats(0, 30), st.floats(0, 30)),
    sound=st.booleans(),
)
def test_a_minority_outlier_is_never_served(
    off: float, age: float, trust: float, fresh: tuple[float, float], *, sound: bool
) -> None:
    """1 % and more away from two independent fresh groups, whatever its trust and age."""
    book = {} if sound else {"bid": 189.9, "ask": 189.8}
    pair = [quote(name, 189.84, a, **_BARE, **book) for name, a in zip(("good1", "good2"), fresh, strict=True)]
    odd = quote("odd", round(189.84 * (1 + off), 4), age, **_BARE)
    for learned in (None, KNOWN):
        judgement = judge([*pair, odd], weights={"odd": trust, "good1": 0.1, "good2": 0.1}, learned=learned)
        assert judgement.price == 189.84
        assert judgement.sources_rejected == ("odd",)


@_laws
@given(
    majority=st.integers(2, 5),
    age=st.floats(2.5, 900),
    moved=st.one_of(st.floats(0.005, 0.1), st.floats(-0.1, -0.005)),
)
def test_a_stale_majority_never_makes_an_a(majority: int, age: float, moved: float) -> None:
    """Old prices that agree, one fresh source that does not: no A, and with two fresh ones the fresh price."""
    old = [quote(f"old{i}", 189.84, age, **_BARE) for i in range(majority)]
    now = round(189.84 * (1 + moved), 2)
    one = judge([*old, quote("new", now, 0.5, **_BARE)], learned=KNOWN)
    assert one.grade is not Grade.A
    if age > 31:
        two = judge([*old, quote("new", now, 0.5, **_BARE), quote("new2", now, 0.6, **_BARE)], learned=KNOWN)
        assert (two.price, two.grade in _LETTERS[:1]) == (now, True)


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-12, 1e15), min_size=1, max_size=4),
    st.one_of(st.none(), st.floats(1e-9, 1e3)),
    st.sampled_from(["ACME", "^GSPC", "BTC-USD", "EURUSD", "VOD.L"]),
)
def test_no_price_is_too_absurd_to_be_judged(prices: list[float], tick: float | None, symbol: str) -> None:
    """Whatever was learned at another level of prices: an answer comes, with a finite interval around its own price."""
    instrument = parse_symbol(symbol)
    quotes = [quote(f"source{n}", price, symbol=symbol, currency=None) for n, price in enumerate(prices)]
    learned = SymbolKnowledge(observations=500, tick=tick, volatility_per_sqrt_s=1e-4, relative_spread=1e-4)
    facts = QuoteContext(now=MID_SESSION, calendar=calendar_named(instrument.calendar), learned=learned)
    judgement = judge_quote(instrument, quotes, {}, facts)
    assert judgement is not None
    assert judgement.price in prices
    assert 0 < judgement.price_low <= judgement.price <= judgement.price_high < math.inf
