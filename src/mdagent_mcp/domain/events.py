"""What lower layers say aloud. Metrics, logs, alerts and memory listen; nobody below waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.vendor import Endpoint


@dataclass(frozen=True, slots=True)
class Fetched:
    """One call to a source ended.

    Attributes:
        source: source id.
        endpoint: which kind of call.
        symbols: canonical symbols it asked for.
        at: when it ended.
        latency_s: how long it took, the wait for our own limiter not counted.
        kind: None when it answered, else why not.
        detail: what was seen, never a key.
    """

    source: str
    endpoint: Endpoint
    symbols: tuple[str, ...]
    at: datetime
    latency_s: float
    kind: FailureKind | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the consensus made of one source's word.

    Attributes:
        source: source id.
        symbol: canonical symbol.
        endpoint: quote or history.
        at: when it was judged.
        agreed: it agreed with the others; None when there was nobody independent to compare it with.
        fault: id of the fault it showed, such as `unit`, `stale`; empty without one.
    """

    source: str
    symbol: str
    endpoint: Endpoint
    at: datetime
    agreed: bool | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Graded:
    """An answer was given.

    Attributes:
        symbol: canonical symbol.
        endpoint: quote or history.
        at: when.
        grade: its letter; None when there was no answer.
        cached: whether it came from the cache.
        elapsed_s: how long the asker waited.
    """

    symbol: str
    endpoint: Endpoint
    at: datetime
    grade: Grade | None
    cached: bool
    elapsed_s: float


Event = Fetched | Judged | Graded
Emit = Callable[[Event], None]
"""Where events go; never raises, never blocks."""
