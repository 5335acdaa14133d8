"""Recurring faults: found where they recur, not where chance plays, forgotten when they stop."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.answers import VoiceVerdict
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.patterns import (
    EVERYTHING,
    EVIDENCE_KEPT,
    FAULTS_KEPT,
    FaultTrace,
    Pattern,
    Tally,
    TallyKey,
    bucket_of,
    combine_tallies,
    context_text,
    contexts_of,
    find_patterns,
    learn_failure,
    learn_voices,
    pattern_caution,
)
from memory.memory_samples import NOON, fetched
from memory.voice_samples import Said, answered

OPEN = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
"""Of New York on a Monday in winter."""
BOTH_OPEN = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
"""When London trades as well."""
UNIT = Said(10_000.0, VoiceVerdict.OUTLIER, "unit: 100x the served price, pence or cents")
STALE = Said(99.0, VoiceVerdict.STALE, "stale by 40 min")
FINE = Said(100.0)

Tallies = dict[TallyKey, Tally]


def hear(tallies: Tallies, symbol: str, at: datetime, said: Said, evidence_id: str = "q-1") -> None:
    """Join an answer in which alpha said something and two others the truth."""
    voices = {"alpha": said, "beta": Said(100.0, VoiceVerdict.SERVED), "gamma": FINE}
    for key, tally in learn_voices(answered(voices, symbol, at=at, evidence_id=evidence_id)):
        tallies[key] = combine_tallies(tallies[key], tally) if key in tallies else tally


def london_week(rate: float, *, answers: int = 300, seed: int = 1) -> Tallies:
    """Alpha is wrong by a unit in London at this rate, and never in New York."""
    rng, tallies = random.Random(seed), Tallies()
    for n in range(answers):
        london = n % 4 == 0
        at = BOTH_OPEN + timedelta(minutes=n % 60)
        hear(tallies, "VOD.L" if london else "AAPL", at, UNIT if london and rng.random() < rate else FINE, f"q-{n}")
    return tallies


@pytest.mark.parametrize(
    ("minutes", "bucket"),
    [
        (-600, "closed"),
        (-60, "pre"),
        (0, "first_minute"),
        (0.99, "first_minute"),
        (1, "first_half_hour"),
        (29.9, "first_half_hour"),
        (30, "midday"),
        (359.9, "midday"),
        (360, "last_half_hour"),
        (389.9, "last_half_hour"),
        (390, "post"),
    ],
)
def test_a_trading_day_has_these_parts(minutes: float, bucket: str) -> None:
    """Counted from the bell, so that a half day and another venue have the same."""
    assert bucket_of(calendar_named("XNYS"), OPEN + timedelta(minutes=minutes)) == bucket
    assert context_text(f"bucket:{bucket}") != context_text("bucket:other")


def test_circumstances_of_an_instrument() -> None:
    """The venue where the asset class does not say it; no part of a day where there are no days."""
    assert contexts_of("AAPL", OPEN) == ("asset:us_equity", "bucket:first_minute")
    assert contexts_of("BTC-USD", OPEN) == ("asset:crypto",)
    assert contexts_of("no symbol", OPEN) == ("asset:unknown",)
    asset, venue, bucket = contexts_of("VOD.L", OPEN)
    assert (asset, venue, bucket) == ("asset:foreign_equity", "venue:XLON", "bucket:midday")


def test_a_vendor_with_the_wrong_unit_on_one_exchange() -> None:
    """A pattern with how often, since when and which answers showed it."""
    found = find_patterns(london_week(0.6))
    pattern = next(p for p in found.all if p.context == "venue:XLON")
    assert (pattern.source, pattern.fault) == ("alpha", "unit")
    assert pattern.rate == pytest.approx(0.55, abs=0.12)
    assert pattern.usual < 0.2 < pattern.lower_bound < pattern.rate
    assert pattern.count > 30
    assert len(pattern.evidence) == EVIDENCE_KEPT
    assert all(evidence.startswith("q-") for evidence in pattern.evidence)
    assert pattern.told.startswith("alpha shows unit on XLON: ")
    assert {p.context for p in found.all} <= {"venue:XLON", "asset:foreign_equity"}


def test_a_vendor_that_is_late_in_the_first_minute() -> None:
    """Asked all day long, stale only right after the bell."""
    tallies = Tallies()
    for day in range(8):
        for minute in (0.2, 0.6, 5, 40, 100, 200, 300, 380):
            hear(tallies, "AAPL", OPEN + timedelta(days=day, minutes=minute), STALE if minute < 1 else FINE)
    found = find_patterns(tallies)
    assert [(p.source, p.fault, p.context) for p in found.all] == [("alpha", "stale", "bucket:first_minute")]
    monday = OPEN + timedelta(days=7)
    assert (pattern_caution(found, "alpha", "AAPL", monday) or 0.0) > 0.3
    assert pattern_caution(found, "alpha", "AAPL", monday + timedelta(hours=2)) is None
    assert pattern_caution(found, "beta", "AAPL", monday) is None


def test_faults_that_come_by_chance_make_no_pattern() -> None:
    """Twenty sources that are wrong one time in ten wherever they are asked: hardly a pattern among 120 places."""
    rng, tallies = random.Random(9), Tallies()
    symbols = ("AAPL", "VOD.L", "BTC-USD", "SAP.DE")
    for n in range(2400):
        source, at = f"s{n % 20}", OPEN + timedelta(minutes=rng.choice((0.5, 10, 100, 370)), days=n % 5)
        said = Said(99.0, VoiceVerdict.STALE, "stale by 1 h") if rng.random() < 0.1 else FINE
        for key, tally in learn_voices(answered({source: said}, symbols[n % 4], at=at)):
            tallies[key] = combine_tallies(tallies[key], tally) if key in tallies else tally
    assert len(find_patterns(tallies).all) <= 1


def test_a_source_that_is_bad_everywhere_has_a_bad_record_and_no_pattern() -> None:
    """Its own rate is what it is measured by."""
    tallies = Tallies()
    for n in range(200):
        hear(tallies, "VOD.L" if n % 2 else "AAPL", NOON + timedelta(minutes=n), STALE if n % 3 else FINE)
    assert find_patterns(tallies).all == ()


def test_a_few_faults_are_no_pattern_yet() -> None:
    """Four of four in London."""
    tallies = Tallies()
    for _ in range(100):
        hear(tallies, "AAPL", BOTH_OPEN, FINE)
    for _ in range(4):
        hear(tallies, "VOD.L", BOTH_OPEN, UNIT)
    assert find_patterns(tallies).all == ()
    hear(tallies, "VOD.L", BOTH_OPEN, UNIT)
    assert {p.context for p in find_patterns(tallies).all} == {"venue:XLON", "asset:foreign_equity"}


def test_a_vendor_that_mended_its_ways_is_forgiven() -> None:
    """When it was right in London often enough, or was not seen there for weeks while it was right elsewhere."""
    tallies = london_week(0.6)
    for _ in range(1200):
        hear(tallies, "VOD.L", BOTH_OPEN + timedelta(days=1), FINE)
    assert find_patterns(tallies).all == ()
    tallies = london_week(0.6)
    hear(tallies, "AAPL", NOON + timedelta(days=120), FINE)
    assert find_patterns(tallies).all == ()


def test_only_who_is_certainly_wrong_showed_a_fault() -> None:
    """An outlier of an answer that nobody confirms may be right; a refused price is wrong by itself."""
    voices = {"alpha": UNIT, "beta": Said(100.0, VoiceVerdict.SERVED), "gamma": STALE, "delta": FINE}
    unsure = answered(voices, corroboration=60.0)
    shown = {key.source: set(tally.faults) for key, tally in learn_voices(unsure) if key.context == EVERYTHING}
    assert shown == {"alpha": set(), "beta": set(), "gamma": {"stale"}, "delta": set()}
    sure = {key.source: set(t.faults) for key, t in learn_voices(answered(voices)) if key.context == EVERYTHING}
    assert sure == {"alpha": {"unit"}, "beta": set(), "gamma": {"stale"}, "delta": set()}
    assert list(learn_voices(answered(voices, cached=True))) == []


def test_a_price_of_another_session_is_neither_right_nor_wrong() -> None:
    """It was not asked for."""
    voices = {"alpha": Said(99.0, VoiceVerdict.OTHER_SESSION, "other_session"), "beta": FINE}
    assert {key.source for key, _ in learn_voices(answered(voices))} == {"beta"}


def test_failed_calls_count_where_they_speak_against_the_source() -> None:
    """Once per circumstance however many symbols; never for our own network, our key, or a history."""
    learned = dict(learn_failure(fetched("alpha", FailureKind.TIMEOUT, "AAPL", "MSFT", "VOD.L")))
    assert {key.context for key in learned} == {
        EVERYTHING,
        "asset:us_equity",
        "bucket:midday",
        "asset:foreign_equity",
        "venue:XLON",
        "bucket:closed",
    }
    assert all(tally == Tally(1.0, NOON.timestamp(), tally.faults) for tally in learned.values())
    assert set(learned[TallyKey("alpha", EVERYTHING)].faults) == {"timeout"}
    for event in (
        fetched("alpha"),
        fetched("alpha", FailureKind.UNAUTHORIZED),
        replace(fetched("alpha", FailureKind.TIMEOUT), own_network=True),
        fetched("alpha", FailureKind.TIMEOUT, endpoint=Endpoint.HISTORY),
    ):
        assert list(learn_failure(event)) == []


_TRACES = st.builds(
    FaultTrace,
    st.floats(0, 100),
    st.integers(0, 1000),
    st.floats(0, 1e9),
    st.lists(st.sampled_from("abcdef"), max_size=3, unique=True).map(tuple),
)
_FAULTS = st.dictionaries(st.text("abcdefghij", min_size=1, max_size=3), _TRACES, max_size=30)
_TALLIES = st.builds(Tally, st.floats(0, 200), st.floats(0, 1e9), _FAULTS)


@given(_TALLIES, _TALLIES)
def test_joining_is_bounded_and_loses_no_count(older: Tally, newer: Tally) -> None:
    """Faults by number, evidence by number, weights by what went in."""
    joined = combine_tallies(older, newer)
    assert newer.trials <= joined.trials <= older.trials + newer.trials + 1e-6
    assert len(joined.faults) <= FAULTS_KEPT
    for fault, seen in joined.faults.items():
        parts = [t.faults[fault] for t in (older, newer) if fault in t.faults]
        assert seen.n == sum(part.n for part in parts)
        assert seen.weight <= sum(part.weight for part in parts) + 1e-6
        assert len(seen.evidence) <= EVIDENCE_KEPT


@settings(max_examples=40)
@given(st.dictionaries(st.builds(TallyKey, st.just("a"), st.sampled_from(["", "venue:X", "asset:y"])), _TALLIES))
def test_a_caution_is_a_probability(tallies: Tallies) -> None:
    """Whatever a store may hold."""
    found = find_patterns(tallies)
    for pattern in found.all:
        assert isinstance(pattern, Pattern)
        assert 0.0 < pattern.lower_bound <= 1.0
        assert 0.0 <= pattern.usual <= 1.0
        assert found.caution("a", [pattern.context]) == max(p.lower_bound for p in found.of("a", [pattern.context]))
