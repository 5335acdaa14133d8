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
        own_network: hardly any source can be reached, so it is this machine that has no network.
    """

    source: str
    endpoint: Endpoint
    symbols: tuple[str, ...]
    at: datetime
    latency_s: float
    kind: FailureKind | None
    detail: str = ""
    own_network: bool = False


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
        delay_s: by how much its price lagged behind a market that traded; None where that is not known.
        complete: whether it stated all that a complete answer has, while the market traded; None where that is not
            known.
    """

    source: str
    symbol: str
    endpoint: Endpoint
    at: datetime
    agreed: bool | None
    fault: str = ""
    delay_s: float | None = None
    complete: bool | None = None


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
        price: of a quote; None for a history and without an answer.
    """

    symbol: str
    endpoint: Endpoint
    at: datetime
    grade: Grade | None
    cached: bool
    elapsed_s: float
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """An authority told what had been true, and a source had said something then.

    Attributes:
        source: source id.
        symbol: canonical symbol.
        field: `price`, `previous_close`, `open`, `high`, `low` or `volume`.
        at: when the authority's word arrived.
        error: logarithm of what the source said over what was true.
        tolerance: greatest error that means the same.
        fault_band: least error that may be called a fault.
        unit: variance of one second of the symbol's logarithmic price.
        age_s: age of the claim when it was made; None for one without a time.
    """

    source: str
    symbol: str
    field: str
    at: datetime
    error: float
    tolerance: float
    fault_band: float
    unit: float
    age_s: float | None


@dataclass(frozen=True, slots=True)
class Verified:
    """An authority told what had been true when an answer was given.

    Attributes:
        symbol: canonical symbol.
        at: when the authority's word arrived.
        probability: with which the answer was believed to be within tolerance, not recalibrated.
        right: it was.
        groups: upstream groups that had confirmed it.
        miss: distance of the truth from the answer in half widths of the interval before recalibration.
    """

    symbol: str
    at: datetime
    probability: float
    right: bool
    groups: int
    miss: float


@dataclass(frozen=True, slots=True)
class Stamped:
    """A source stamped a price to the second.

    Attributes:
        source: source id.
        at: when the price arrived.
        behind_s: seconds from the stamp to the arrival; negative when the stamp lies in our future.
    """

    source: str
    at: datetime
    behind_s: float


@dataclass(frozen=True, slots=True)
class Hedged:
    """The sources asked first were slower than usual, so that others were to be asked as well.

    Attributes:
        symbol: canonical symbol.
        at: when.
        sent: whether the budget for that allowed it.
    """

    symbol: str
    at: datetime
    sent: bool


Event = Fetched | Judged | Graded | Compared | Verified | Stamped | Hedged
Emit = Callable[[Event], None]
"""Where events go; never raises, never blocks."""
