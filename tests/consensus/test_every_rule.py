"""Every rule has a case that it decides: without the rule the same facts get another outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import pytest

from consensus.quote_building import (
    FRIDAY_CLOSE,
    KNOWN,
    MID_SESSION,
    POST_MARKET,
    SUNDAY,
    close_quote,
    finding,
    judge,
    quote,
)
from mdagent_mcp.consensus import quote_checks, validation
from mdagent_mcp.consensus.context import SourceTrace, SymbolKnowledge
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.consensus.rules import RULES, RULES_BY_ID
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Grade, Severity, Verdict

MINUTES_AGO: Final = MID_SESSION - timedelta(minutes=4)
LATE_SESSION: Final = MID_SESSION + timedelta(hours=4)
WIDE: Final[Mapping[str, Any]] = {"open": None, "high": None, "low": None}


def trace(
    price: float = 189.84, *, stamp_age_s: float = 30.0, since_s: float = 30.0, chance: float = 1.0
) -> SourceTrace:
    """What a source said ten seconds ago."""
    stamp = MID_SESSION - timedelta(seconds=stamp_age_s)
    since = MID_SESSION - timedelta(seconds=since_s)
    return SourceTrace(
        price=price,
        price_since=since,
        stamp=stamp,
        stamp_since=since,
        seen_at=MID_SESSION - timedelta(seconds=10),
        stay_chance=chance,
    )


def known(**given: Any) -> SymbolKnowledge:
    """A symbol that memory knows well."""
    return SymbolKnowledge(**{"observations": 240, "previous_official_close": 188.60, **given})


def halted() -> QuoteJudgement:
    """Two sources that name the same last trade, four minutes old, as they did before."""
    stamp_age_s = 240.0
    traces = {name: trace(stamp_age_s=stamp_age_s, since_s=120.0) for name in ("a", "b")}
    return judge([quote(name, age_s=stamp_age_s) for name in traces], learned=known(traces=traces))


def frozen() -> QuoteJudgement:
    """A price that stood for two minutes while the confirmed price moved and its own stamps went on."""
    return judge([quote()], learned=known(traces={"finnhub": trace(since_s=120.0, chance=1e-4)}))


CASES: Final[Mapping[str, tuple[Callable[[], QuoteJudgement], float | None]]] = {
    "currency": (lambda: judge([quote(currency="USD")], parse_symbol("CSPX.L"), calendar=calendar_named("XLON")), 79.0),
    "book_not_crossed": (lambda: judge([quote(n, bid=189.9, ask=189.8) for n in "ab"]), 66.0),
    "price_within_book": (lambda: judge([quote(n, bid=187.0, ask=187.5) for n in "ab"]), 66.0),
    "price_within_day_range": (lambda: judge([quote(n, low=188.0, high=189.0) for n in "ab"]), 66.0),
    "ohlc_order": (lambda: judge([quote(n, open=195.0) for n in "ab"]), 79.0),
    "event_time_present": (lambda: judge([quote(n, age_s=None) for n in "ab"]), None),
    "event_time_not_future": (lambda: judge([quote(n, age_s=-3600.0) for n in "ab"]), None),
    "machine_clock": (lambda: judge([quote(n) for n in "ab"], clock_error_s=3600.0), 66.0),
    "stamp_advances": (
        lambda: judge([quote(age_s=30.0)], learned=known(traces={"finnhub": trace(189.5, stamp_age_s=30.0)})),
        66.0,
    ),
    "stamp_zone": (lambda: judge([quote(n, age_s=7201.0, now=LATE_SESSION) for n in "ab"], now=LATE_SESSION), 66.0),
    "price_moves": (frozen, None),
    "trading": (halted, 89.0),
    "session_current": (lambda: judge([close_quote(n, session=Session.REGULAR) for n in "ab"]), None),
    "declared_delay": (lambda: judge([quote(age_s=1.0, declared_delay_s=900.0)]), None),
    "cross_source": (lambda: judge([quote("a"), quote("b", 193.2)]), None),
    "session_tag": (lambda: judge([quote(n, now=POST_MARKET) for n in "ab"], now=POST_MARKET), 79.0),
    "session_answered": (
        lambda: judge(
            [quote("a", age_s=None, event_time=FRIDAY_CLOSE + timedelta(hours=3), session=Session.POST)], now=SUNDAY
        ),
        66.0,
    ),
    "previous_close_sources": (lambda: judge([quote("a"), quote("b", previous_close=187.1)]), 89.0),
    "previous_close_memory": (lambda: judge([quote(previous_close=120.0)], learned=KNOWN), 45.0),
    "symbol_known": (lambda: judge([quote()], unknown_to=frozenset({"a", "b"})), 45.0),
    "unit_ratio": (lambda: judge([quote(price=18984.0, **WIDE)], learned=KNOWN), 30.0),
    "jump": (lambda: judge([quote(price=210.0, **WIDE)], learned=KNOWN), 64.0),
    "recent_price": (lambda: judge([quote()], learned=known(last_price=187.0, last_price_time=MINUTES_AGO)), 64.0),
    "price_band": (
        lambda: judge(
            [quote(price=210.0, **WIDE)],
            learned=SymbolKnowledge(observations=240, last_price=172.0, last_price_time=MINUTES_AGO),
        ),
        64.0,
    ),
    "price_range": (
        lambda: judge(
            [quote(**WIDE, previous_close=None)],
            learned=SymbolKnowledge(observations=240, range_low=90, range_high=110),
        ),
        64.0,
    ),
    "delayed_sources": (lambda: judge([quote(), quote("cboe", 182.3, 905.0, low=182.0)], learned=KNOWN), 64.0),
}
"""By rule: facts on which it fails, and the cap it sets; None where the dimension itself tells."""


def failed_rules(judgement: QuoteJudgement) -> set[str]:
    """The checks that failed."""
    return {f.rule for f in judgement.explanation.assessment.findings if f.verdict is Verdict.FAILED}


def test_every_rule_but_refusal_has_a_case() -> None:
    """A price that is not positive is refused before there is an answer: its own test is below."""
    assert {*CASES, "price_positive"} == set(RULES_BY_ID)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fails_on_its_case_with_its_cap_and_at_most_its_severity(rule: str) -> None:
    """And says why, with numbers or names."""
    make, cap = CASES[rule]
    found = finding(make(), rule)
    order = list(Severity)
    stated = RULES_BY_ID[rule].severity
    assert (found.verdict, found.cap) == (Verdict.FAILED, cap)
    assert found.detail
    assert stated is not None
    assert order.index(found.severity) <= order.index(stated)


@pytest.mark.parametrize("rule", CASES)
def test_without_the_rule_the_same_facts_have_another_outcome(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped from the list of checks, its failure is not told, and a dimension that it caps is not capped."""
    make, cap = CASES[rule]
    found = finding(make(), rule)
    before = make()
    monkeypatch.setattr(validation, "CHECKS", tuple(c for c in validation.CHECKS if c.__name__ != rule))
    monkeypatch.setattr(quote_checks, "QUOTE_CHECKS", tuple(c for c in quote_checks.QUOTE_CHECKS if c.__name__ != rule))
    after = make()
    assert failed_rules(after) == failed_rules(before) - {rule}
    if cap is not None:
        dimensions = [j.explanation.assessment.dimensions[found.dimension] for j in (before, after)]
        assert dimensions[0] == cap or rule in {"price_band", "stamp_advances", "stamp_zone"}
        assert dimensions[0] <= dimensions[1]


def test_a_price_that_is_not_positive_never_becomes_an_answer() -> None:
    """Zero, negative or no number: the other source alone answers."""
    for price in (0.0, -1.0, float("nan")):
        judgement = judge([quote("a", price, bid=None, ask=None), quote("b")])
        assert (judgement.price, judgement.sources_used, judgement.grade) == (189.84, ("b",), Grade.C)


def test_every_rule_says_what_was_seen_or_measured() -> None:
    """The reason stands beside the rule and on the page of checks."""
    assert [rule.id for rule in RULES if len(rule.reason) < 40 or rule.severity is None] == []


def test_a_stamp_that_went_back_is_told_but_believed() -> None:
    """Another node of the source answered: the older price has its own, honest age."""
    learned = known(traces={"finnhub": trace(stamp_age_s=5.0)})
    found = finding(judge([quote(age_s=20.0)], learned=learned), "stamp_advances")
    assert (found.verdict, found.severity, found.cap) == (Verdict.FAILED, Severity.INFO, None)
    assert found.detail == "finnhub went back by 15 s: another of its nodes answered"


def test_a_last_trade_that_is_only_repeated_is_not_frozen() -> None:
    """The stamp stands with the price: it is as old as it says."""
    standing = trace(stamp_age_s=120.0, since_s=110.0, chance=1e-6)
    judgement = judge([quote(age_s=120.0)], learned=known(traces={"finnhub": standing}))
    assert finding(judgement, "price_moves").verdict is Verdict.PASSED


def test_a_price_that_stands_longer_than_its_volatility_allows_is_frozen() -> None:
    """Four times tick and half spread in one standard deviation: 0.8 bp at 0.4 bp per root second take 64 s."""
    learned = known(
        traces={"finnhub": trace(since_s=90.0)}, volatility_per_sqrt_s=0.4e-4, relative_spread=0.6e-4, tick=0.01
    )
    judgement = judge([quote()], learned=learned)
    assert (judgement.grade, judgement.delay_s) == (Grade.D, 90.0)
    calm = known(
        traces={"finnhub": trace(since_s=90.0)}, volatility_per_sqrt_s=0.2e-4, relative_spread=0.6e-4, tick=0.01
    )
    assert judge([quote()], learned=calm).grade is Grade.B


def test_a_halt_is_a_b_whatever_the_age_of_the_last_trade() -> None:
    """Two independent sources name the same last trade and nothing since; one of them moving on ends it."""
    judgement = halted()
    assert judgement.grade is Grade.B
    assert finding(judgement, "trading").detail == (
        "no independent source shows a trade since 15:00:12 UTC: halted, or nothing traded"
    )
    traces = {name: trace(stamp_age_s=240.0, since_s=120.0) for name in ("a", "b")}
    resumed = judge([quote("a", age_s=240.0), quote("b", age_s=1.0)], learned=known(traces=traces))
    assert (finding(resumed, "trading").verdict, resumed.sources_used[0]) == (Verdict.PASSED, "b")
    unseen = judge([quote("a", age_s=240.0), quote("b", age_s=240.0)], learned=known())
    assert (finding(unseen, "trading").verdict, unseen.grade) == (Verdict.PASSED, Grade.D)


def test_a_source_late_by_whole_hours_is_undated_not_stale() -> None:
    """Its price may be the latest; a price that is one hour and eight seconds old is simply old."""
    at_the_hour = judge([quote(age_s=3601.0, now=LATE_SESSION)], now=LATE_SESSION)
    assert (at_the_hour.grade, at_the_hour.delay_s) == (Grade.D, None)
    assert judge([quote(age_s=3608.0, now=LATE_SESSION)], now=LATE_SESSION).grade is Grade.F


def test_a_price_apart_confirms_nothing_and_contradicts_from_25_basis_points_on() -> None:
    """Of a calm symbol: 2 bp are the same price, 17 bp neither confirm nor contradict, 28 bp contradict."""
    learned = known(volatility_per_sqrt_s=0.2e-4, relative_spread=0.5e-4, tick=0.01)
    grades = [
        judge([quote("a"), quote("b", 189.84 * (1 + apart))], learned=learned).grade for apart in (2e-4, 17e-4, 28e-4)
    ]
    assert grades == [Grade.A, Grade.B, Grade.D]


def test_a_wide_tolerance_does_not_make_a_confirmation_of_what_is_apart() -> None:
    """A volatile symbol explains 30 bp, but the rubric wants the price confirmed within 10 bp and the spread."""
    learned = known(volatility_per_sqrt_s=6e-4, relative_spread=2e-4, tick=0.01)
    near, apart = (judge([quote("a"), quote("b", 189.84 * (1 + gap))], learned=learned) for gap in (9e-4, 14e-4))
    assert (near.grade, apart.grade) == (Grade.A, Grade.B)
