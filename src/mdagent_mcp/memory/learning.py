"""What outcomes teach: pure rules, facts in, knowledge out.

The rule of this module: knowledge is a frozen value, and `combine(older, newer)` joins what was learned earlier with
what was learned since, discounting the older part. Everything goes through it: one event joining what is not yet
written, a batch joining its row in the store, two processes that learned side by side.

A source's reliability is a discounted beta posterior over "it answered and was not contradicted": every symbol of a
call that was answered counts as right, a failure that speaks against the source as wrong, and a contradiction by the
consensus takes the right one back and counts as wrong. Failures that are nobody's fault, or ours, teach nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from mdagent_mcp.domain.events import Fetched, Judged
from mdagent_mcp.domain.failures import TRAITS
from mdagent_mcp.domain.instruments import InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.status import Reliability
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.memory.beta import beta_quantile
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, decay, merge, recorded

PRIOR_RIGHT: Final = 1.8
PRIOR_WRONG: Final = 0.2
"""What is believed before anything was seen: nine in ten, worth two outcomes."""
HALF_LIFE_OUTCOMES: Final = 500.0
"""Outcomes after which an outcome counts half."""
HALF_LIFE_S: Final = 14 * 86_400.0
"""Seconds after which an outcome counts half, however little has been asked since."""
MOST_EVIDENCE: Final = 200.0
"""Outcomes that a posterior is worth at most, so that a source that changes is noticed."""
LOWER_QUANTILE: Final = 0.10
OUTCOMES_PER_CALL: Final = 10
"""Outcomes that one call counts at most, however many symbols it asked for."""
SYMBOLS_PER_EVENT: Final = 200
"""Symbols of one call that are learned from."""

QUOTE: Final = "quote"
HISTORY: Final = "history"


class CellKey(NamedTuple):
    """What a cell of knowledge is about; an empty part means "all".

    Attributes:
        source: source id.
        endpoint: `quote` (single and batch) or `history`.
        scope: an asset class as `asset:us_equity`, or a symbol as `symbol:AAPL`.
    """

    source: str
    endpoint: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """What was learned about a source, in whole or in part.

    Attributes:
        updated_at: instant of the newest outcome, epoch seconds.
        right: discounted number of right outcomes; below zero where a contradiction takes back what is stored already.
        wrong: discounted number of wrong ones.
        outcomes: number of outcomes behind both, not discounted.
        latency: of calls that were answered, seconds.
        last_success_at: epoch seconds; None before the first.
        last_error_at: epoch seconds; None before the first.
        last_error: what went wrong then; empty before the first.
    """

    updated_at: float
    right: float = 0.0
    wrong: float = 0.0
    outcomes: int = 0
    latency: LatencyHistogram = field(default_factory=lambda: EMPTY)
    last_success_at: float | None = None
    last_error_at: float | None = None
    last_error: str = ""


def combine(older: Cell, newer: Cell) -> Cell:
    """Both as of the later instant, the older part discounted for the outcomes since as well.

    Joining is associative: how outcomes were cut into batches makes no difference to what they add up to.
    """
    elapsed = newer.updated_at - older.updated_at
    kept = math.exp2(-newer.outcomes / HALF_LIFE_OUTCOMES - max(0.0, elapsed) / HALF_LIFE_S)
    newer_kept = math.exp2(min(0.0, elapsed) / HALF_LIFE_S)  # it waited while others wrote
    latest = newer if (newer.last_error_at or 0.0) >= (older.last_error_at or 0.0) else older
    return Cell(
        max(older.updated_at, newer.updated_at),
        older.right * kept + newer.right * newer_kept,
        older.wrong * kept + newer.wrong * newer_kept,
        older.outcomes + newer.outcomes,
        _joined_latency(older.latency, kept, newer.latency, newer_kept),
        _latest(older.last_success_at, newer.last_success_at),
        latest.last_error_at,
        latest.last_error,
    )


def _joined_latency(
    older: LatencyHistogram, kept: float, newer: LatencyHistogram, newer_kept: float
) -> LatencyHistogram:
    if not older.weights and not newer.weights:  # as in every cell of a symbol
        return EMPTY
    return merge(decay(older, kept), decay(newer, newer_kept))


def settled(cell: Cell) -> Cell:
    """The cell with no less than nothing in it: a contradiction cannot take back more than was counted."""
    return replace(cell, right=max(0.0, cell.right), wrong=max(0.0, cell.wrong))


def reliability(cell: Cell) -> Reliability:
    """Estimate, cautious lower bound and effective number of outcomes."""
    right, wrong = max(0.0, cell.right), max(0.0, cell.wrong)
    evidence = right + wrong
    scale = min(1.0, MOST_EVIDENCE / evidence) if evidence > 0 else 1.0
    alpha, beta = PRIOR_RIGHT + right * scale, PRIOR_WRONG + wrong * scale
    lower = _lower_bound(round(alpha, 2), round(beta, 2))
    estimate = alpha / (alpha + beta)
    return Reliability(estimate, min(lower, estimate), evidence * scale)


def learn_fetched(event: Fetched) -> Iterator[tuple[CellKey, Cell]]:
    """What the end of a call teaches: about the source, about each asset class and each symbol it asked for."""
    symbols = event.symbols[:SYMBOLS_PER_EVENT]
    yield CellKey(event.source), _of_call(event, max(1, len(symbols)))
    endpoint = family(event.endpoint)
    classes = [asset_class(symbol) for symbol in symbols]
    for name in dict.fromkeys(classes):
        yield CellKey(event.source, endpoint, f"asset:{name}"), _of_call(event, classes.count(name))
    of_one = replace(_of_call(event, 1), latency=EMPTY)
    for symbol in symbols:
        yield CellKey(event.source, endpoint, f"symbol:{symbol}"), of_one


def learn_judged(event: Judged) -> Iterator[tuple[CellKey, Cell]]:
    """What a verdict of the consensus teaches; nothing where the source was not contradicted."""
    taken_back = _share_taken_back(event)
    if taken_back == 0:
        return
    cell = Cell(event.at.timestamp(), right=-taken_back, wrong=taken_back)
    endpoint = family(event.endpoint)
    yield CellKey(event.source), cell
    yield CellKey(event.source, endpoint, f"asset:{asset_class(event.symbol)}"), cell
    yield CellKey(event.source, endpoint, f"symbol:{event.symbol}"), cell


def family(endpoint: Endpoint) -> str:
    """Which answers a call serves: `quote` (single or batch) or `history`."""
    return HISTORY if endpoint is Endpoint.HISTORY else QUOTE


@lru_cache(maxsize=4096)
def asset_class(symbol: str) -> str:
    """The asset class of a canonical symbol; `unknown` for anything else."""
    try:
        return parse_symbol(symbol).asset_class.value
    except InvalidSymbolError:
        return "unknown"


def instant(moment: datetime | None) -> float | None:
    """Epoch seconds."""
    return None if moment is None else moment.timestamp()


def _of_call(event: Fetched, symbols: int) -> Cell:
    at = event.at.timestamp()
    count = min(symbols, OUTCOMES_PER_CALL)
    if event.kind is None:
        return Cell(at, right=count, outcomes=count, latency=recorded([event.latency_s]), last_success_at=at)
    error = f"{event.kind}: {event.detail}" if event.detail else str(event.kind)
    if event.own_network or not TRAITS[event.kind].counts_against_reliability:
        return Cell(at, last_error_at=at, last_error=error)
    return Cell(at, wrong=count, outcomes=count, last_error_at=at, last_error=error)


def _share_taken_back(event: Judged) -> float:
    if event.agreed is False:
        return 1.0
    return 0.5 if event.fault and event.agreed is None else 0.0


@lru_cache(maxsize=4096)
def _lower_bound(alpha: float, beta: float) -> float:
    return beta_quantile(LOWER_QUANTILE, alpha, beta)


def _latest(first: float | None, second: float | None) -> float | None:
    known = [at for at in (first, second) if at is not None]
    return max(known, default=None)
