"""Answers as bytes and back, exactly: what is kept so that any grade can be explained later.

The rule of this module: pure. An answer becomes deflated JSON; the bars of a series are kept by column, because they
are most of its size. Reading gives a value equal to the one that was written, or says why it cannot.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer
from mdagent_mcp.domain.prices import Bar
from mdagent_mcp.domain.service import AnswerKind

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Answer = QuoteAnswer | HistoryAnswer

LARGEST_BYTES: Final = 64 * 1024 * 1024
"""Bytes that kept evidence may inflate to; more is not ours."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LEVEL: Final = 6


class UnreadableEvidenceError(ValueError):
    """Kept bytes that are no answer of this version."""


def kind_of(answer: Answer) -> AnswerKind:
    """Whether it is a quote or a history."""
    return "quote" if isinstance(answer, QuoteAnswer) else "history"


def encode(answer: Answer) -> bytes:
    """The answer as bytes.

    Raises:
        TypeError: when something in it is no data.
    """
    if isinstance(answer, QuoteAnswer):
        return _deflated(answer)
    head = replace(answer, bars=(), unrepaired=())
    return _deflated({"head": head, "bars": _columns(answer.bars), "unrepaired": _columns(answer.unrepaired)})


def decode(kind: AnswerKind, body: bytes) -> Answer:
    """The answer that `encode` was given.

    Raises:
        UnreadableEvidenceError: when the bytes are something else.
    """
    try:
        parts = json.loads(_inflated(body))
        if kind == "quote":
            return _quotes().validate_python(parts)
        answer = _histories().validate_python(parts["head"])
        # Answers that were kept before repairs kept what they replaced have no such part.
        return replace(answer, bars=_bars(parts["bars"]), unrepaired=_bars(parts.get("unrepaired", [[]] * 6)))
    except (ValueError, KeyError, TypeError, OverflowError, zlib.error) as error:
        raise UnreadableEvidenceError(f"kept {kind} cannot be read: {type(error).__name__}") from error


def _deflated(value: object) -> bytes:
    return zlib.compress(json.dumps(value, default=_plain, separators=(",", ":")).encode(), _LEVEL)


def _plain(value: object) -> object:
    """What JSON cannot write by itself: instants, dataclasses and read-only mappings."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value):
        return {part.name: getattr(value, part.name) for part in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no data that evidence is made of")


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(body, LARGEST_BYTES)
    if not inflater.eof:
        raise ValueError("cut short, or too large")
    return text


def _columns(bars: tuple[Bar, ...]) -> list[list[Any]]:
    columns: list[list[Any]] = [
        [(bar.start - _EPOCH) // _MICROSECOND for bar in bars],
        [bar.open for bar in bars],
        [bar.high for bar in bars],
        [bar.low for bar in bars],
        [bar.close for bar in bars],
        [bar.volume for bar in bars],
    ]
    adjusted = [bar.adjusted_close for bar in bars]
    # Served bars are corrected already and carry none.
    return columns if all(each is None for each in adjusted) else [*columns, adjusted]


def _bars(columns: list[list[Any]]) -> tuple[Bar, ...]:
    starts, *values = columns
    return tuple(Bar(_EPOCH + start * _MICROSECOND, *prices) for start, *prices in zip(starts, *values, strict=True))


@cache
def _quotes() -> TypeAdapter[QuoteAnswer]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - not needed before the first answer is written or read

    return TypeAdapter(QuoteAnswer)


@cache
def _histories() -> TypeAdapter[HistoryAnswer]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - see `_quotes`

    return TypeAdapter(HistoryAnswer)
