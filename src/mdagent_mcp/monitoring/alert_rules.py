"""What should not be so: the sources' state, the memory's, and what answers and comparisons have come to lately.

The rule of this module: a condition carries its figures and what to do, never a vendor's text and never a key; whether
it is an alert yet, and who is told, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mdagent_mcp.domain.events import Event, Graded, Judged
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.status import Overall, SourceState, SourceStatus
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.monitoring.alerting import AlertKey, Condition, Severity
from mdagent_mcp.monitoring.moves import Moves, moved
from mdagent_mcp.monitoring.shares import Share

LOW_GRADES: Final = frozenset({Grade.D, Grade.F})
SHORT_WINDOWS: Final = frozenset({"second", "minute"})
"""Quotas that fill and empty all the time; that one is full says nothing."""
MOVE_TOLD_FOR: Final = timedelta(minutes=10)
NO_HOLD: Final = timedelta(0)
_USABLE: Final = frozenset({SourceState.LIVE, SourceState.DEGRADED})
_OUT_OF_USE: Final = frozenset({SourceState.NO_KEY, SourceState.DISABLED, SourceState.RETIRED})


@dataclass(frozen=True, slots=True)
class RuleLimits:
    """What the settings leave to choose.

    Attributes:
        watch: canonical symbols of which an unusual move is told.
        quota_share: share of a long quota that may be spent untold.
        source_down: how long a source may be down untold.
    """

    watch: frozenset[str] = frozenset()
    quota_share: float = 0.9
    source_down: timedelta = timedelta(minutes=5)


@dataclass
class Observations:
    """What events come to, for the rules.

    Attributes:
        limits: what is watched.
        low_grades: answers graded D or F, of those that were given.
        unanswered: symbols without an answer, of those that were asked for.
        disagreements: sources contradicted by the consensus, of those that were compared.
        contradicted: the same of each source.
        moves: of watched symbols.
        unusual: their last unusual moves: symbol -> (share, when).
    """

    limits: RuleLimits = field(default_factory=RuleLimits)
    low_grades: Share = field(default_factory=lambda: Share(0.05, floor=0.2))
    unanswered: Share = field(default_factory=lambda: Share(0.005, floor=0.02))
    disagreements: Share = field(default_factory=lambda: Share(0.02, floor=0.1))
    contradicted: dict[str, Share] = field(default_factory=dict)
    moves: dict[str, Moves] = field(default_factory=dict)
    unusual: dict[str, tuple[float, datetime]] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case Graded() if event.endpoint is Endpoint.QUOTE:
                self.unanswered.add(bad=event.grade is None, at=event.at)
                if event.grade is not None:
                    self.low_grades.add(bad=event.grade in LOW_GRADES, at=event.at)
                self._watch(event)
            case Judged() if event.agreed is not None:
                self.disagreements.add(bad=not event.agreed, at=event.at)
                share = self.contradicted.setdefault(event.source, Share(0.02, floor=0.1))
                share.add(bad=not event.agreed, at=event.at)

    def _watch(self, event: Graded) -> None:
        usable = event.grade is not None and event.grade not in LOW_GRADES
        if event.symbol not in self.limits.watch or event.price is None or not usable:
            return
        self.moves[event.symbol], unusual = moved(self.moves.get(event.symbol), event.price, event.at)
        if unusual is not None:
            self.unusual[event.symbol] = (unusual, event.at)


def conditions(
    observations: Observations, statuses: Sequence[SourceStatus], overall: Overall, now: datetime
) -> tuple[Condition, ...]:
    """Everything that should not be so now."""
    return (
        *_sources(statuses, observations.limits),
        *_shares(observations, now),
        *_moves(observations, now),
        *_memory(overall),
    )


def _sources(statuses: Sequence[SourceStatus], limits: RuleLimits) -> Iterator[Condition]:
    used = [status for status in statuses if status.state not in _OUT_OF_USE]
    if used and not any(status.state in _USABLE for status in used):
        text = "No source can be asked; only what was known before is served, with its age. Look at the network first."
        yield Condition(AlertKey("all_sources_down", ""), Severity.CRITICAL, text, timedelta(minutes=1))
    for status in used:
        if status.state is SourceState.OPEN:
            text = f"{status.source} is down: its circuit is open. source_status has the reason."
            yield Condition(AlertKey("source_down", status.source), Severity.WARNING, text, limits.source_down)
        yield from _quotas(status, limits)


def _quotas(status: SourceStatus, limits: RuleLimits) -> Iterator[Condition]:
    for budget in status.budget:
        share = budget.used / budget.limit
        if budget.window in SHORT_WINDOWS or share < limits.quota_share:
            continue
        again = "" if budget.resets_at is None else f"; it frees up from {budget.resets_at:%Y-%m-%d %H:%M} UTC on"
        text = f"{status.source} has spent {budget.used} of {budget.limit} calls per {budget.window}{again}."
        key = AlertKey("quota_nearly_spent", f"{status.source} {budget.window}")
        yield Condition(key, Severity.WARNING, text, timedelta(minutes=1))


def _shares(observations: Observations, now: datetime) -> Iterator[Condition]:
    told = (
        ("unanswered", "", Severity.CRITICAL, observations.unanswered, "symbols got no answer"),
        ("grades_falling", "", Severity.WARNING, observations.low_grades, "answers are graded D or F"),
        ("sources_disagree", "", Severity.WARNING, observations.disagreements, "comparisons contradict a source"),
        *(
            ("source_contradicted", source, Severity.WARNING, share, f"prices of {source} are contradicted by others")
            for source, share in sorted(observations.contradicted.items())
        ),
    )
    for rule, subject, severity, share, what in told:
        if share.has_risen(now):
            bad, total = share.counts(now)
            text = f"{bad} of the last {total} {what}; usual is {share.usual:.1%}."
            yield Condition(AlertKey(rule, subject), severity, text, timedelta(minutes=1))


def _moves(observations: Observations, now: datetime) -> Iterator[Condition]:
    for symbol, (move, at) in sorted(observations.unusual.items()):
        if now - at < MOVE_TOLD_FOR:
            text = f"{symbol} moved by {move:+.2%} at {at:%H:%M:%S} UTC, far beyond what it usually does."
            yield Condition(AlertKey("unusual_move", symbol), Severity.WARNING, text, NO_HOLD)


def _memory(overall: Overall) -> Iterator[Condition]:
    if overall.memory_state != "ok":
        text = f"The memory is not kept as configured: {overall.memory_state}"
        yield Condition(AlertKey("memory_trouble", ""), Severity.WARNING, text)
