"""What can be told about one source's quote from its own fields alone.

The rule of this module: a check looks at one quote and returns one `Finding`; a check that lacks a field says so and
is never taken for passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from mdagent_mcp.consensus.context import GradingThresholds
from mdagent_mcp.consensus.rules import failed, not_run, passed
from mdagent_mcp.consensus.wording import price_text
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.quality import Finding, Severity

QuoteCheck = Callable[[Quote, Session, GradingThresholds], Finding]
"""Looks at a quote, the session its price was found to belong to, and the lines it must keep."""

SOFT_CAP: Final = 66.0
"""Validity of a price that contradicts its own source."""
_EXTENDED: Final = frozenset({Session.PRE, Session.POST})
OPEN_CAP: Final = 79.0
"""Validity when only the day's open is out of order, which vendors get wrong on one bar in a hundred."""


def price_positive(quote: Quote, _session: Session, _lines: GradingThresholds) -> Finding:
    """The price is a number above zero."""
    if _is_positive(quote):
        return passed("price_positive", f"{price_text(quote.price)} is above zero")
    return failed("price_positive", f"{quote.source} states the price {quote.price:g}", Severity.FATAL, 0.0)


def book_not_crossed(quote: Quote, session: Session, _lines: GradingThresholds) -> Finding:
    """The bid does not exceed the ask."""
    missing = _no_book(quote, session)
    if missing or quote.bid is None or quote.ask is None:
        return not_run("book_not_crossed", missing)
    detail = f"{quote.source} bid {price_text(quote.bid)}, ask {price_text(quote.ask)}"
    if _is_crossed(quote, session):
        return failed("book_not_crossed", f"crossed book: {detail}", Severity.MAJOR, SOFT_CAP)
    return passed("book_not_crossed", detail)


def price_within_book(quote: Quote, session: Session, lines: GradingThresholds) -> Finding:
    """The price lies between bid and ask, a margin allowed."""
    missing = _no_book(quote, session)
    if missing or quote.bid is None or quote.ask is None:
        return not_run("price_within_book", missing)
    low, high = sorted((quote.bid, quote.ask))
    detail = f"{price_text(quote.price)} against {price_text(low)}-{price_text(high)}"
    if _is_outside_book(quote, session, lines):
        return failed("price_within_book", f"outside the book: {detail}", Severity.MAJOR, SOFT_CAP)
    return passed("price_within_book", detail)


def price_within_day_range(quote: Quote, session: Session, lines: GradingThresholds) -> Finding:
    """The price lies in the range of its own session, a margin allowed."""
    if session in _EXTENDED:
        return not_run("price_within_day_range", "the range is the regular session's, the price is not")
    if quote.low is None or quote.high is None:
        return not_run("price_within_day_range", f"{quote.source} gives no day's range")
    detail = f"{price_text(quote.price)} against {price_text(quote.low)}-{price_text(quote.high)}"
    if _is_outside_range(quote, session, lines):
        return failed("price_within_day_range", f"outside the day's range: {detail}", Severity.MAJOR, SOFT_CAP)
    return passed("price_within_day_range", detail)


def ohlc_order(quote: Quote, _session: Session, lines: GradingThresholds) -> Finding:
    """The day's low does not exceed its high, and the open lies between them."""
    if quote.low is None or quote.high is None:
        return not_run("ohlc_order", f"{quote.source} gives no day's range")
    detail = f"low {price_text(quote.low)}, high {price_text(quote.high)}"
    if _is_inverted(quote):
        return failed("ohlc_order", f"{quote.source}: low above high: {detail}", Severity.MAJOR, SOFT_CAP)
    if quote.open is None:
        return passed("ohlc_order", detail)
    margin = 1 + lines.outside_range
    if not quote.low / margin <= quote.open <= quote.high * margin:
        return failed("ohlc_order", f"open {price_text(quote.open)} outside {detail}", Severity.MINOR, OPEN_CAP)
    return passed("ohlc_order", f"open {price_text(quote.open)}, {detail}")


QUOTE_CHECKS: Final[tuple[QuoteCheck, ...]] = (
    price_positive,
    book_not_crossed,
    price_within_book,
    price_within_day_range,
    ohlc_order,
)
"""Every check of a single quote."""


def check_quote(quote: Quote, session: Session, lines: GradingThresholds) -> tuple[Finding, ...]:
    """All checks of one quote whose price belongs to `session`."""
    return tuple([check(quote, session, lines) for check in QUOTE_CHECKS])


def is_sound(quote: Quote, session: Session, lines: GradingThresholds) -> bool:
    """Whether the quote contradicts itself nowhere that matters, so that it may stand as a second opinion.

    The same as no major or fatal failure among `check_quote`, without the words.
    """
    return _is_positive(quote) and not (
        _is_crossed(quote, session)
        or _is_outside_book(quote, session, lines)
        or _is_outside_range(quote, session, lines)
        or _is_inverted(quote)
    )


def _is_positive(quote: Quote) -> bool:
    return 0 < quote.price < math.inf


def _is_crossed(quote: Quote, session: Session) -> bool:
    if quote.bid is None or quote.ask is None or session is Session.CLOSED:
        return False
    return quote.bid > quote.ask


def _is_outside_book(quote: Quote, session: Session, lines: GradingThresholds) -> bool:
    if quote.bid is None or quote.ask is None or session is Session.CLOSED:
        return False
    low, high = (quote.bid, quote.ask) if quote.bid <= quote.ask else (quote.ask, quote.bid)
    return not low * (1 - lines.outside_book) <= quote.price <= high * (1 + lines.outside_book)


def _is_outside_range(quote: Quote, session: Session, lines: GradingThresholds) -> bool:
    if quote.low is None or quote.high is None or session in _EXTENDED:
        return False
    return not quote.low * (1 - lines.outside_range) <= quote.price <= quote.high * (1 + lines.outside_range)


def _is_inverted(quote: Quote) -> bool:
    return quote.low is not None and quote.high is not None and quote.low > quote.high


def _no_book(quote: Quote, session: Session) -> str:
    if session is Session.CLOSED:
        return "there is no book beside an official close"
    if quote.bid is None or quote.ask is None:
        return f"{quote.source} gives no bid and ask"
    return ""
