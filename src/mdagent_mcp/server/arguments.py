"""From raw arguments to the questions of the engine, for the MCP tools and the command line alike.

The rule of this module: what leaves it is complete and canonical; what is wrong is refused here with the argument's
name and the remedy, so that nothing malformed ever reaches a source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from mdagent_mcp.domain.answers import SymbolFailure
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import Instrument, InvalidSymbolError, echo, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.domain.questions import HistoryQuestion, InvalidArgumentError, QuoteQuestion
from mdagent_mcp.domain.service import AnswerKind
from mdagent_mcp.server.argument_values import (
    Arguments,
    choice_of,
    flag_of,
    nearest,
    number_of,
    refuse_unknown,
    text_of,
    texts_of,
    whole_number_of,
)
from mdagent_mcp.server.periods import PERIODS, SpanWish, range_of

MAX_SYMBOLS: Final = 100
"""Symbols that one call of get_quote may ask for."""
DEFAULT_BARS: Final = 250
"""Bars an answer shows when nothing is said."""
MAX_BARS: Final = 5000
"""Bars an answer may show at most."""

Detail = Literal["brief", "full"]

_QUOTE_ARGUMENTS: Final = ("symbols", "min_grade", "max_age_s", "sources", "detail")
_HISTORY_ARGUMENTS: Final = (
    *("symbol", "interval", "period", "start", "end", "adjustment", "extended_hours", "max_bars"),
    *("min_grade", "sources", "detail"),
)
_STATUS_ARGUMENTS: Final = ("source",)
_EXPLAIN_ARGUMENTS: Final = ("symbol", "evidence_id", "kind")

TOOL_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "get_quote": _QUOTE_ARGUMENTS,
    "get_history": _HISTORY_ARGUMENTS,
    "source_status": _STATUS_ARGUMENTS,
    "explain_quality": _EXPLAIN_ARGUMENTS,
}
"""The arguments of every tool, in the order in which it lists them."""

_SYMBOLS_EXAMPLE: Final = '["AAPL", "MSFT"]'
_EVIDENCE_ID: Final = re.compile(r"[A-Za-z0-9._:\-]{1,80}")


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What a call of get_quote comes to.

    Attributes:
        question: for the engine.
        refused: entries of `symbols` that are no symbols, beside others that are.
        detail: how much is shown.
    """

    question: QuoteQuestion
    refused: tuple[SymbolFailure, ...]
    detail: Detail


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What a call of get_history comes to.

    Attributes:
        question: for the engine.
        max_bars: bars that are shown, the newest.
        detail: how much is shown.
    """

    question: HistoryQuestion
    max_bars: int
    detail: Detail


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """What a call of explain_quality comes to: exactly one of the first two is set.

    Attributes:
        evidence_id: of an earlier answer.
        instrument: whose latest answer is meant.
        kind: which kind of answer about the instrument.
    """

    evidence_id: str | None
    instrument: Instrument | None
    kind: AnswerKind


def quote_request(arguments: Arguments, known_sources: Collection[str]) -> QuoteRequest:
    """Read the arguments of get_quote.

    Raises:
        InvalidArgumentError: naming the argument and the remedy; also when not one symbol is one.
    """
    refuse_unknown(arguments, _QUOTE_ARGUMENTS)
    instruments, refused = _symbols(arguments)
    question = QuoteQuestion(
        instruments,
        min_grade=_min_grade(arguments),
        max_age_s=number_of(arguments, "max_age_s", 0, float("inf")),
        sources=_sources(arguments, known_sources),
    )
    return QuoteRequest(question, refused, _detail(arguments))


def history_request(arguments: Arguments, known_sources: Collection[str], now: datetime) -> HistoryRequest:
    """Read the arguments of get_history as meant at the instant `now`.

    Raises:
        InvalidArgumentError: naming the argument and the remedy.
    """
    refuse_unknown(arguments, _HISTORY_ARGUMENTS)
    instrument = _instrument(arguments)
    if instrument is None:
        raise InvalidArgumentError("symbol", 'is required; write it like "AAPL"')
    interval = Interval(choice_of(arguments, "interval", tuple(Interval)) or Interval.DAY_1)
    extended_hours = flag_of(arguments, "extended_hours")
    wish = SpanWish(
        choice_of(arguments, "period", PERIODS),
        text_of(arguments, "start", '"2026-01-31"'),
        text_of(arguments, "end", '"2026-01-31"'),
        extended_hours,
    )
    dates = range_of(wish, instrument, interval, now)
    question = HistoryQuestion(
        instrument,
        interval,
        dates.first,
        dates.last,
        adjustment=Adjustment(choice_of(arguments, "adjustment", tuple(Adjustment)) or Adjustment.SPLITS),
        extended_hours=extended_hours,
        min_grade=_min_grade(arguments),
        sources=_sources(arguments, known_sources),
    )
    max_bars = whole_number_of(arguments, "max_bars", 1, MAX_BARS)
    return HistoryRequest(question, DEFAULT_BARS if max_bars is None else max_bars, _detail(arguments))


def status_source(arguments: Arguments, known_sources: Collection[str]) -> str | None:
    """Read the arguments of source_status: the source meant, None for all.

    Raises:
        InvalidArgumentError: naming the argument and the remedy.
    """
    refuse_unknown(arguments, _STATUS_ARGUMENTS)
    text = text_of(arguments, "source", '"yahoo"')
    return None if text is None else _known_source("source", text, known_sources)


def explain_request(arguments: Arguments) -> ExplainRequest:
    """Read the arguments of explain_quality.

    Raises:
        InvalidArgumentError: naming the argument and the remedy.
    """
    refuse_unknown(arguments, _EXPLAIN_ARGUMENTS)
    evidence_id = text_of(arguments, "evidence_id", '"q-…"')
    instrument = _instrument(arguments)
    if evidence_id is not None and instrument is not None:
        raise InvalidArgumentError("evidence_id", "cannot be combined with symbol; give one or the other")
    if evidence_id is None and instrument is None:
        raise InvalidArgumentError("symbol", 'is required unless evidence_id is given; write it like "AAPL"')
    if evidence_id is not None and not _EVIDENCE_ID.fullmatch(evidence_id):
        raise InvalidArgumentError(
            "evidence_id", f"'{echo(evidence_id)}' is not an evidence id; copy it from an earlier answer"
        )
    kind: AnswerKind = "history" if choice_of(arguments, "kind", ("quote", "history")) == "history" else "quote"
    return ExplainRequest(evidence_id, instrument, kind)


def _symbols(arguments: Arguments) -> tuple[tuple[Instrument, ...], tuple[SymbolFailure, ...]]:
    texts = texts_of(arguments, "symbols", _SYMBOLS_EXAMPLE)
    if not texts:
        raise InvalidArgumentError("symbols", f"is required; write it like {_SYMBOLS_EXAMPLE}")
    distinct = tuple(dict.fromkeys(texts))
    found: dict[str, Instrument] = {}
    refused: dict[str, SymbolFailure] = {}
    # Spellings may fall together, so the count is taken afterwards; a flood of them is not read to its end.
    for text in distinct[: 10 * MAX_SYMBOLS]:
        try:
            instrument = parse_symbol(text)
        except InvalidSymbolError as error:
            refused.setdefault(echo(text), _refusal(text, error))
        else:
            found.setdefault(instrument.symbol, instrument)
    if len(found) + len(refused) > MAX_SYMBOLS:
        raise InvalidArgumentError(
            "symbols", f"{len(distinct)} different ones are too many; ask for at most {MAX_SYMBOLS} at once"
        )
    if not found:
        first, more = next(iter(refused.values())), len(refused) - 1
        raise InvalidArgumentError("symbols", first.message + (f" ({more} more are none either)" if more else ""))
    return tuple(found.values()), tuple(refused.values())


def _refusal(text: str, error: InvalidSymbolError) -> SymbolFailure:
    return SymbolFailure(
        echo(text),
        FailureKind.BAD_REQUEST,
        str(error),
        "Correct this entry of symbols; no source was asked about it.",
        {},
    )


def _instrument(arguments: Arguments) -> Instrument | None:
    text = text_of(arguments, "symbol", '"AAPL"')
    if text is None:
        return None
    try:
        return parse_symbol(text)
    except InvalidSymbolError as error:
        raise InvalidArgumentError("symbol", str(error)) from error


def _min_grade(arguments: Arguments) -> Grade | None:
    text = choice_of(arguments, "min_grade", (Grade.A, Grade.B, Grade.C, Grade.D))
    return None if text is None else Grade(text)


def _sources(arguments: Arguments, known_sources: Collection[str]) -> tuple[str, ...]:
    texts = texts_of(arguments, "sources", '["yahoo", "nasdaq"]') or ()
    return tuple(dict.fromkeys(_known_source("sources", text, known_sources) for text in texts))


def _known_source(name: str, text: str, known_sources: Collection[str]) -> str:
    source = text.lower()
    if source not in known_sources:
        raise InvalidArgumentError(
            name,
            f"'{echo(text)}' is not a source; {nearest(source, known_sources)}known: {', '.join(known_sources)}",
        )
    return source


def _detail(arguments: Arguments) -> Detail:
    return "full" if choice_of(arguments, "detail", ("brief", "full")) == "full" else "brief"
