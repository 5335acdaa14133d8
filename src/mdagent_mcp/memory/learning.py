"""What outcomes teach: pure rules, facts in, knowledge out.

The rule of this module: knowledge is a frozen value, and `combine(older, newer)` joins what was learned earlier with
what was learned since, discounting the older part. Everything goes through it: one event joining what is not yet
written, a batch joining its row in the store, two processes that learned side by side.

Two speeds: what is told of a source's reliability forgets slowly, what routing goes by forgets fast, because a source
that changes has to be noticed within a session (measured in `docs/memory.md`).

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
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, decay, merge, recorded, without

PRIOR_RIGHT: Final = 1.8
PRIOR_WRONG: Final = 0.2
"""What is believed before anything was seen: nine in ten, worth two outcomes."""
HALF_LIFE_OUTCOMES: Final = 500.0
"""Outcomes after which an outcome counts half."""
RECENT_HALF_LIFE_OUTCOMES: Final = 20.0
"""The same for the recent outcomes that routing goes by: of fifty questions a source is asked for about twenty."""
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
SYMBOL_SCOPE: Final = "symbol:"


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
        recent_right: like `right`, forgotten faster.
        recent_wrong: like `wrong`, forgotten faster.
        delay: how late its prices were while the market traded, seconds.
        recent_full: recent answers that stated all that a complete answer has.
        recent_bare: recent answers that did not.
        recent_s: sum of the seconds that recent answers took.
        recent_calls: recent calls that were answered.
        contradicted: that part of `wrong` in which it answered and was contradicted; the rest are calls that failed.
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
    recent_right: float = 0.0
    recent_wrong: float = 0.0
    delay: LatencyHistogram = field(default_factory=lambda: EMPTY)
    recent_full: float = 0.0
    recent_bare: float = 0.0
    recent_s: float = 0.0
    recent_calls: float = 0.0
    contradicted: float = 0.0


def combine(older: Cell, newer: Cell) -> Cell:
    """Both as of the later instant, the older part discounted for the outcomes since as well.

    Joining is associative: how outcomes were cut into batches makes no difference to what they add up to.
    """
    elapsed = newer.updated_at - older.updated_at
    kept = math.exp2(-newer.outcomes / HALF_LIFE_OUTCOMES - max(0.0, elapsed) / HALF_LIFE_S)
    newer_kept = math.exp2(min(0.0, elapsed) / HALF_LIFE_S)  # it waited while others wrote
    recent = math.exp2(-newer.outcomes / RECENT_HALF_LIFE_OUTCOMES - max(0.0, elapsed) / HALF_LIFE_S)
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
        older.recent_right * recent + newer.recent_right * newer_kept,
        older.recent_wrong * recent + newer.recent_wrong * newer_kept,
        _joined_latency(older.delay, recent, newer.delay, newer_kept),
        older.recent_full * recent + newer.recent_full * newer_kept,
        older.recent_bare * recent + newer.recent_bare * newer_kept,
        older.recent_s * recent + newer.recent_s * newer_kept,
        older.recent_calls * recent + newer.recent_calls * newer_kept,
        older.contradicted * kept + newer.contradicted * newer_kept,
    )


def as_of(cell: Cell, now: float) -> Cell:
    """The cell with what routing goes by as that counts at `now` (epoch seconds), however little was asked since."""
    kept = share_left(cell, now)
    return Cell(
        updated_at=cell.updated_at,
        right=cell.right,
        wrong=cell.wrong,
        outcomes=cell.outcomes,
        latency=cell.latency,
        last_success_at=cell.last_success_at,
        last_error_at=cell.last_error_at,
        last_error=cell.last_error,
        recent_right=max(0.0, cell.recent_right) * kept,
        recent_wrong=max(0.0, cell.recent_wrong) * kept,
        delay=decay(cell.delay, kept),
        recent_full=cell.recent_full * kept,
        recent_bare=cell.recent_bare * kept,
        recent_s=cell.recent_s * kept,
        recent_calls=cell.recent_calls * kept,
        contradicted=cell.contradicted,
    )


def share_left(cell: Cell, now: float) -> float:
    """What is left of a cell's outcomes at `now` (epoch seconds)."""
    return math.exp2(-max(0.0, now - cell.updated_at) / HALF_LIFE_S)


def doubted(cell: Cell, earlier: Cell | None, belief: float) -> Cell:
    """The cell with what it held at an earlier time counting only as far as that is believed still (0 to 1)."""
    if earlier is None or belief >= 1.0:
        return cell
    since = max(0, cell.outcomes - earlier.outcomes)
    slow = (1.0 - belief) * math.exp2(-since / HALF_LIFE_OUTCOMES)
    fast = (1.0 - belief) * math.exp2(-since / RECENT_HALF_LIFE_OUTCOMES)
    # Made whole and not by `replace`: this is done for every source before the first request of a question is sent.
    return Cell(
        updated_at=cell.updated_at,
        right=max(0.0, cell.right - earlier.right * slow),
        wrong=max(0.0, cell.wrong - earlier.wrong * slow),
        outcomes=cell.outcomes,
        latency=cell.latency,
        last_success_at=cell.last_success_at,
        last_error_at=cell.last_error_at,
        last_error=cell.last_error,
        recent_right=max(0.0, cell.recent_right - earlier.recent_right * fast),
        recent_wrong=max(0.0, cell.recent_wrong - earlier.recent_wrong * fast),
        delay=without(cell.delay, decay(earlier.delay, fast)),
        recent_full=max(0.0, cell.recent_full - earlier.recent_full * fast),
        recent_bare=max(0.0, cell.recent_bare - earlier.recent_bare * fast),
        recent_s=max(0.0, cell.recent_s - earlier.recent_s * fast),
        recent_calls=max(0.0, cell.recent_calls - earlier.recent_calls * fast),
        contradicted=max(0.0, cell.contradicted - earlier.contradicted * slow),
    )


def _joined_latency(
    older: LatencyHistogram, kept: float, newer: LatencyHistogram, newer_kept: float
) -> LatencyHistogram:
    if not older.weights and not newer.weights:  # as in every cell of a symbol
        return EMPTY
    return merge(decay(older, kept), decay(newer, newer_kept))


def settled(cell: Cell) -> Cell:
    """The cell with no less than nothing in it: a contradiction cannot take back more than was counted."""
    return replace(
        cell,
        right=max(0.0, cell.right),
        wrong=max(0.0, cell.wrong),
        recent_right=max(0.0, cell.recent_right),
        recent_wrong=max(0.0, cell.recent_wrong),
    )


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
    one = _of_call(event, 1)  # nearly every call asks for one, and then all three are the same
    yield CellKey(event.source), one if len(symbols) <= 1 else _of_call(event, len(symbols))
    endpoint = family(event.endpoint)
    classes = [asset_class(symbol) for symbol in symbols]
    for name in dict.fromkeys(classes):
        count = classes.count(name)
        yield CellKey(event.source, endpoint, f"asset:{name}"), one if count == 1 else _of_call(event, count)
    of_one = replace(one, latency=EMPTY)
    for symbol in symbols:
        yield CellKey(event.source, endpoint, f"{SYMBOL_SCOPE}{symbol}"), of_one


def learn_judged(event: Judged) -> Iterator[tuple[CellKey, Cell]]:
    """What a verdict teaches: a contradiction, how late a price was and how much was stated; nothing without any."""
    taken_back = _share_taken_back(event)
    delay = EMPTY if event.delay_s is None else recorded([max(0.0, event.delay_s)])
    if taken_back == 0 and delay is EMPTY and event.complete is None:
        return
    cell = Cell(
        event.at.timestamp(),
        right=-taken_back,
        wrong=taken_back,
        recent_right=-taken_back,
        recent_wrong=taken_back,
        delay=delay,
        recent_full=float(event.complete is True),
        recent_bare=float(event.complete is False),
        contradicted=taken_back,
    )
    endpoint = family(event.endpoint)
    yield CellKey(event.source), cell
    yield CellKey(event.source, endpoint, f"asset:{asset_class(event.symbol)}"), cell
    yield CellKey(event.source, endpoint, f"{SYMBOL_SCOPE}{event.symbol}"), replace(cell, delay=EMPTY)


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
        return Cell(
            at,
            right=count,
            outcomes=count,
            latency=recorded([event.latency_s]),
            last_success_at=at,
            recent_right=count,
            recent_s=event.latency_s,
            recent_calls=1.0,
        )
    error = f"{event.kind}: {event.detail}" if event.detail else str(event.kind)
    if event.own_network or not TRAITS[event.kind].counts_against_reliability:
        return Cell(at, last_error_at=at, last_error=error)
    return Cell(at, wrong=count, outcomes=count, last_error_at=at, last_error=error, recent_wrong=count)


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
