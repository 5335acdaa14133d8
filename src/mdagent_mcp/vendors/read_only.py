"""Calls of a vendor that are read from recordings and never sent, and what their readers have in common.

The rule of this module: a reply that tells a price without its time gets no time, and says so.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import History, Session
from mdagent_mcp.domain.reading import Json, malformed
from mdagent_mcp.domain.sessions import session_of
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, Offer, QuoteQuery, QuoteReading, RecordedUrl, Reply

UNTIMED: Final = "the reply gives no time; the session is the one at receipt"
"""What is noted beside such a price."""
NO_CURRENCY: Final = "the reply names no currency; it is that of the listing"
"""What is noted beside a price whose unit is known from its listing only."""


def refuse_sending(_query: object) -> str:
    """Why such a call is not sent."""
    return "this call is read from recordings and never sent"


def read_only_quotes(
    parse: Callable[[QuoteQuery, Reply], QuoteReading], recognise: Callable[[RecordedUrl], QuoteQuery | None]
) -> Offer[QuoteQuery, QuoteReading]:
    """A call for prices that is never sent."""
    return Offer(Endpoint.QUOTE, refuse_sending, lambda _query: (), parse, recognise)


def read_only_history(
    parse: Callable[[HistoryQuery, Reply], History], recognise: Callable[[RecordedUrl], HistoryQuery | None]
) -> Offer[HistoryQuery, History]:
    """A call for bars that is never sent."""
    return Offer(Endpoint.HISTORY, refuse_sending, lambda _query: (), parse, recognise)


def session_at(instrument: Instrument, instant: datetime) -> Session:
    """The session that a price of that instant was made in; `CLOSED` outside all of them."""
    return session_of(calendar_named(instrument.calendar).state_at(instant))


def table_rows(body: bytes, columns: frozenset[str], separators: str = ",") -> Iterator[Json]:
    """The rows of a CSV, each as an object of texts under the names of its columns in lower case.

    Args:
        body: the reply.
        columns: those that must be there.
        separators: what may stand between cells.

    Raises:
        SourceError: MALFORMED_REPLY when it is no such table.
    """
    try:
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        lines = list(csv.reader(text, delimiter=_separator(body, separators), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise malformed("the reply is no CSV") from error
    head = [name.strip().lower() for name in lines[0]] if lines else []
    if len(set(head)) != len(head) or not columns <= set(head):
        raise malformed(f"the reply is no table of {', '.join(sorted(columns))}")
    for number, line in enumerate(line for line in lines[1:] if line):
        if len(line) != len(head):
            raise malformed(f"row {number} has another number of columns than the head")
        yield Json(dict(zip(head, line, strict=True)), f"reply[{number}]")


def _separator(body: bytes, separators: str) -> str:
    head = body[:200].partition(b"\n")[0].decode("ascii", "replace")
    return next((s for s in separators if s in head), separators[0])


_JOINED: Final = re.compile(r"(?P<base>[A-Z0-9]{2,10}?)(?P<quote>USDT|USDC|USD|EUR|GBP|JPY|BTC|ETH)", re.IGNORECASE)


def joined_pair(text: str) -> str:
    """`BTC-USDT` for a pair written as `btcusdt`; any other text as it is."""
    match = _JOINED.fullmatch(text)
    return text if match is None else f"{match['base']}-{match['quote']}".upper()
