"""What sources said about an instrument as bytes, for replicas that share it.

The rule of this module: what is read back is checked like a stranger's word and is None when anything about it is
wrong. Of a failure only its kind is written, so no text of a vendor travels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from mdagent_mcp.domain.failures import Failure, FailureKind, clean_text
from mdagent_mcp.domain.prices import Quote, Session

VERSION: Final = 1
MOST_QUOTES: Final = 40
AHEAD: Final = timedelta(seconds=30)
"""How far another machine's clock may be ahead of ours."""
OLDEST: Final = timedelta(days=8)
"""Nothing that is shared arrived longer ago: a close serves until the market trades again."""
ELSEWHERE: Final = "as another replica was told"

_Id = Annotated[str, Field(max_length=40)]
_Text = Annotated[str, Field(max_length=300)]
_Price = Annotated[float, Field(gt=0)]


class _Quote(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    symbol: _Id
    source: _Id
    price: _Price
    session: Session
    received_at: AwareDatetime
    event_time: AwareDatetime | None
    event_time_resolution_s: Annotated[float, Field(gt=0)]
    currency: _Id | None
    declared_delay_s: Annotated[float, Field(ge=0)]
    bid: float | None
    ask: float | None
    open: float | None
    high: float | None
    low: float | None
    previous_close: float | None
    volume: float | None
    venue_only: bool
    notes: Annotated[tuple[_Text, ...], Field(max_length=20)]


class _Failure(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    source: _Id
    kind: FailureKind


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    version: Literal[1]
    quotes: Annotated[tuple[_Quote, ...], Field(min_length=1, max_length=MOST_QUOTES)]
    failures: Annotated[tuple[_Failure, ...], Field(max_length=MOST_QUOTES)]


@dataclass(frozen=True, slots=True)
class Said:
    """What sources said about an instrument.

    Attributes:
        quotes: at least one.
        failures: of the sources that had nothing.
    """

    quotes: tuple[Quote, ...]
    failures: tuple[Failure, ...]


def encode(quotes: Sequence[Quote], failures: Sequence[Failure]) -> bytes | None:
    """The quotes as bytes; None when there are none, too many, or one holds a number that is none."""
    try:
        said = _Said(
            version=VERSION,
            quotes=tuple(_Quote.model_validate(asdict(quote)) for quote in quotes),
            failures=tuple(_Failure(source=f.source, kind=f.kind) for f in failures),
        )
    except ValidationError:
        return None
    return said.model_dump_json().encode()


def decode(symbol: str, sources: Collection[str], body: bytes, now: datetime) -> Said | None:
    """What bytes say about an instrument; None when they are none of ours, or cannot be true.

    Args:
        symbol: whose quotes they have to be.
        sources: source ids there are.
        body: as stored.
        now: UTC.
    """
    try:
        said = _Said.model_validate_json(body)
        quotes = tuple(_quote(quote) for quote in said.quotes)
    except (ValidationError, ValueError, OverflowError):
        return None
    named = {quote.source for quote in quotes} | {failure.source for failure in said.failures}
    if not named <= set(sources) or any(quote.symbol != symbol for quote in quotes):
        return None
    if not all(now - OLDEST <= quote.received_at <= now + AHEAD for quote in quotes):
        return None
    return Said(quotes, tuple(Failure(f.source, f.kind, ELSEWHERE) for f in said.failures))


def _quote(stored: _Quote) -> Quote:
    """The quote; raises ValueError for an instant that is not in UTC."""
    return Quote(**{**dict(stored), "notes": tuple(clean_text(note) for note in stored.notes)})
