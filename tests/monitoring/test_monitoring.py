"""Behaviour of the event fan-out and of the running totals."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from mdagent_mcp.domain.events import Event, Graded
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.monitoring.bus import EventBus
from mdagent_mcp.monitoring.counters import AnswerCounters

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def graded(grade: Grade | None, *, cached: bool = False, at: datetime = NOON) -> Graded:
    """A graded answer about AAPL."""
    return Graded("AAPL", Endpoint.QUOTE, at, grade, cached, 0.1)


def test_a_listener_that_raises_is_logged_and_the_others_still_hear(caplog: pytest.LogCaptureFixture) -> None:
    """One listener's fault is nobody else's."""
    heard: list[Event] = []
    bus = EventBus()

    def broken(_event: Event) -> None:
        raise RuntimeError("full disk")

    bus.listen(broken)
    bus.listen(heard.append)
    with caplog.at_level(logging.ERROR):
        bus.emit(graded(Grade.A))
    assert heard == [graded(Grade.A)]
    assert "a listener to Graded failed" in caplog.text


def test_totals_are_none_before_the_first_answer() -> None:
    """No answer yet is not an availability of zero."""
    counters = AnswerCounters()
    assert (counters.availability, counters.cache_hit_rate) == (None, None)


def test_totals_are_shares_of_what_was_asked() -> None:
    """Three of four answered, one of four out of the cache."""
    counters = AnswerCounters()
    for event in (graded(Grade.A), graded(Grade.F, cached=True), graded(None), graded(Grade.B)):
        counters(event)
    assert (counters.availability, counters.cache_hit_rate) == (0.75, 0.25)


def test_yesterday_is_forgotten() -> None:
    """Only the last 24 hours count."""
    counters = AnswerCounters()
    counters(graded(None))
    counters(graded(Grade.A, at=NOON + timedelta(hours=25)))
    assert counters.availability == 1.0
