"""The fields beside the price: from the served source, else from a source that agrees with it.

The rules of this module: a field is some source's own value, never an average; bid and ask come as a pair from one
source; the previous close is what most upstream groups state; open, high and low are the served source's or fit its
price; volume is one source's in its own scope. What the teacher learned of a source's field counts in that field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mdagent_mcp.consensus.alignment import Observation
from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.consensus.fusion import Fusion
from mdagent_mcp.consensus.track_knowledge import NOTHING_TRACKED, TrackKnowledge
from mdagent_mcp.consensus.wording import joined, price_text
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.domain.prices import Quote, Session

_SAME_CLOSE = 1e-3
"""Relative difference of two previous closes that are taken for the same."""


@dataclass(frozen=True, slots=True)
class PreviousClose:
    """What the sources say about the previous close.

    Attributes:
        value: the one to use; None when nobody states it.
        sources: who states it.
        dissenters: who states another, with their values.
        settled: most groups, or memory, decide; False when statements contradict each other evenly.
        groups: upstream groups that state it.
    """

    value: float | None
    sources: tuple[str, ...] = ()
    dissenters: tuple[tuple[str, float], ...] = ()
    settled: bool = True
    groups: int = 0

    @property
    def dissent(self) -> str:
        """Who states another value, as words."""
        return joined(f"{source} says {price_text(value)}" for source, value in self.dissenters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The secondary fields of an answer; None where no agreeing source has one.

    Attributes:
        open: of the session the price belongs to or follows, like the next three.
        high: see `open`.
        low: see `open`.
        volume: of one source, in its own scope.
        previous_close: of the regular session before.
        bid: from the same source as `ask`.
        ask: see `bid`.
        change: price minus previous close.
        change_percent: in percent of the previous close.
        missing: names of the fields a complete answer would have.
    """

    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None
    previous_close: float | None = None
    bid: float | None = None
    ask: float | None = None
    change: float | None = None
    change_percent: float | None = None
    missing: tuple[str, ...] = ()


def agreed_previous_close(observations: Sequence[Observation], learned: SymbolKnowledge | None) -> PreviousClose:
    """The previous close that most upstream groups of the served session state; memory breaks a tie."""
    best = min([o.standing for o in observations])
    stated = [(o, o.quote.previous_close) for o in observations if o.standing is best]
    claims = [(o, close) for o, close in stated if close is not None and close > 0]
    remembered = None if learned is None else learned.previous_official_close
    if not claims:
        return PreviousClose(None)
    values = list(dict.fromkeys([close for _, close in claims]))
    if len(values) == 1:  # the usual case: all state the same
        groups = len({o.group for o, _ in claims})
        return PreviousClose(values[0], _sources(claims), groups=groups)
    camps = [[(o, c) for o, c in claims if _same(c, value)] for value in values]
    sizes = [len({o.group for o, _ in camp}) for camp in camps]
    most = max(sizes)
    candidates = [camp for camp, size in zip(camps, sizes, strict=True) if size == most]
    backed = [camp for camp in candidates if remembered is not None and _same(camp[0][1], remembered)]
    chosen = (backed or candidates)[0]
    value = chosen[0][1]
    members = {id(o) for o, _ in chosen}
    settled = bool(backed) or all(_same(camp[0][1], value) for camp in candidates)
    dissenters = tuple((o.quote.source, c) for o, c in claims if id(o) not in members)
    return PreviousClose(value, _sources(chosen), dissenters, settled, most)


def _sources(claims: Sequence[tuple[Observation, float]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([o.quote.source for o, _ in claims]))


def fill_fields(
    fusion: Fusion,
    session: Session,
    previous: PreviousClose,
    asset_class: AssetClass,
    track: TrackKnowledge = NOTHING_TRACKED,
) -> Fields:
    """Gather the secondary fields of the served price.

    A source that was mostly wrong in a field, as learned, gives way there to an agreeing one that was not.
    """
    quotes = [m.quote for m in fusion.members]
    price = fusion.served.quote.price
    in_range = session in {Session.REGULAR, Session.CLOSED}
    bid, ask = _book(quotes, session)
    close = previous.value
    change = None if close is None else _trimmed(price - close)
    values = {
        "bid": bid,
        "ask": ask,
        "volume": _best(quotes, "volume", track, lambda v: v >= 0),
        "previous_close": close,
    }
    return Fields(
        open=_best(quotes, "open", track, lambda v: v > 0),
        high=_end(quotes, "high", track, lambda v: v >= price or not in_range),
        low=_end(quotes, "low", track, lambda v: v <= price or not in_range),
        change=change,
        change_percent=None if change is None or not close else round(100 * change / close, 4),
        missing=tuple(name for name in _wanted(session, asset_class) if values[name] is None),
        **values,
    )


def _wanted(session: Session, asset_class: AssetClass) -> tuple[str, ...]:
    """The fields that exist for this kind of price: no book beside a close, no volume in forex, neither in an index."""
    book = () if session is Session.CLOSED or asset_class is AssetClass.INDEX else ("bid", "ask")
    volume = () if asset_class in {AssetClass.FOREX, AssetClass.INDEX} else ("volume",)
    return (*book, *volume, "previous_close")


def _book(quotes: Sequence[Quote], session: Session) -> tuple[float | None, float | None]:
    if session is Session.CLOSED:
        return None, None
    for quote in quotes:
        if quote.bid is not None and quote.ask is not None and quote.bid <= quote.ask:
            return quote.bid, quote.ask
    return None, None


def _end(quotes: Sequence[Quote], name: str, track: TrackKnowledge, fits: Callable[[float], bool]) -> float | None:
    """An end of the day's range: the served source's own even when it does not fit, which a check reports."""
    own: float | None = getattr(quotes[0], name)
    if own is not None and not track.is_mostly_wrong(quotes[0].source, name):
        return own
    return _best(quotes, name, track, fits)


def _best(quotes: Sequence[Quote], name: str, track: TrackKnowledge, fits: Callable[[float], bool]) -> float | None:
    """The first value that fits, of a source that was mostly wrong in this field only when no other has one."""
    doubtful: float | None = None
    for quote in quotes:
        value: float | None = getattr(quote, name)
        if value is None or not fits(value):
            continue
        if not track.is_mostly_wrong(quote.source, name):
            return value
        doubtful = value if doubtful is None else doubtful
    return doubtful


def _same(first: float, second: float) -> bool:
    return abs(first / second - 1) <= _SAME_CLOSE


def _trimmed(value: float) -> float:
    """A difference of prices without the dust of binary fractions."""
    return float(f"{value:.10g}") if abs(value) > 1e-12 else 0.0
