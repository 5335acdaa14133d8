"""Reading Polygon's current prices: snapshots of both generations, last trades and last quotes.

The rule of this module: the shapes differ by generation and by market (`p` and `P` are bid and ask in a quote of a
share, `p` is a price in a trade); what a price means is decided once, in `polygon_snapshots`. A reply without a query's
instruments, as a recorded URL without symbols makes it, is about what it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.reading import Json, malformed, positive
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply
from mdagent_mcp.vendors.polygon_replies import (
    DELAY_S,
    SOURCE,
    instrument_of,
    item_failure,
    moment,
    named,
    open_reply,
    rows_of,
    ticker_of,
)
from mdagent_mcp.vendors.polygon_snapshots import MINUTE_S, Print, Snapshot, quotes_from

_BOOK_NOTE: Final = "the reply holds a book and no trade; the price is its bid"
_MARKETS: Final[Mapping[str, Session]] = MappingProxyType(
    {
        "open": Session.REGULAR,
        "early_trading": Session.PRE,
        "late_trading": Session.POST,
        "closed": Session.CLOSED,
    }
)

_Reader = Callable[[Instrument, Json, float], Snapshot]


def read_snapshot(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read a v2 snapshot: `ticker` of one instrument, or `tickers` of several.

    Raises:
        SourceError: by the reply's own status; of one instrument also NO_DATA and MALFORMED_REPLY.
    """
    root, delay_s = open_reply(reply.body)
    several = root.find("tickers")
    if several is not None:
        return _reading(query, several.items(), _classic, delay_s, reply.received_at)
    item = root.get("ticker")
    instrument = _only(query, item.get("ticker").text(40))
    named(item.get("ticker"), instrument)
    return _one(instrument, _classic(instrument, item, delay_s), reply.received_at)


def read_unified(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read a v3 snapshot of any markets; bad items are errors beside the good ones.

    Raises:
        SourceError: by the reply's own status; MALFORMED_REPLY.
    """
    root, delay_s = open_reply(reply.body)
    return _reading(query, rows_of(root), _unified, delay_s, reply.received_at)


def read_snapshot_or_unified(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the snapshot of one instrument: of a share in the v2 shape, of anything else in the v3 shape.

    Raises:
        SourceError: as the two readers do.
    """
    root, delay_s = open_reply(reply.body)
    if root.find("ticker") is not None or root.find("tickers") is not None:
        return read_snapshot(query, reply)
    return _reading(query, rows_of(root), _unified, delay_s, reply.received_at)


def read_last_trade(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the last trade of a share (`results`), or of a share or crypto in the older shape (`last`).

    Raises:
        SourceError: by the reply's own status; NO_DATA, MALFORMED_REPLY.
    """
    root, delay_s = open_reply(reply.body)
    instrument, last, present = _last(query, root)
    made = _print(last, "p", "t") if present else _print(last, "price", "timestamp")
    newest = None if made is None else made.at
    return _one(instrument, Snapshot(live=made, newest=newest, delay_s=delay_s), reply.received_at)


def read_last_quote(query: QuoteQuery, reply: Reply) -> QuoteReading:
    """Read the last bid and ask of a share (`results`), or of a share or currency in the older shapes (`last`).

    Raises:
        SourceError: by the reply's own status; NO_DATA, MALFORMED_REPLY.
    """
    root, delay_s = open_reply(reply.body)
    instrument, last, present = _last(query, root)
    if present:
        names = ("p", "P", "t")
    elif last.find("bidprice") is not None:
        names = ("bidprice", "askprice", "timestamp")
    else:
        names = ("bid", "ask", "timestamp")
    return _one(instrument, _book(last, names, delay_s), reply.received_at)


def _last(query: QuoteQuery, root: Json) -> tuple[Instrument, Json, bool]:
    """Whom the present or the older shape is about, its block, and whether it is the present one."""
    results = root.find("results")
    cell = results.get("T") if results is not None else root.get("symbol")
    instrument = _only(query, cell.text(40))
    named(cell, instrument)
    return (instrument, results, True) if results is not None else (instrument, root.get("last"), False)


def _only(query: QuoteQuery, ticker: str) -> Instrument:
    """The instrument asked, or the one that the reply names; `BTC-USD` and `AUD/USD` name pairs."""
    if query.instruments:
        return query.instruments[0]
    plain = ticker.replace("-", "").replace("/", "")
    found = instrument_of(ticker) or instrument_of(f"X:{plain}" if "-" in ticker else f"C:{plain}")
    if found is None:
        raise SourceError(FailureKind.UNSUPPORTED, f"{ticker!r} has no symbol here")
    return found


def _one(instrument: Instrument, told: Snapshot, received_at: datetime) -> QuoteReading:
    return {instrument.symbol: Answered(quotes_from(instrument, told, received_at))}


def _reading(
    query: QuoteQuery, items: Iterable[Json], read: _Reader, delay_s: float, received_at: datetime
) -> QuoteReading:
    """Every asked instrument with its quotes or its reason; without any asked, everything in the reply."""
    wanted: dict[str | None, list[Instrument]] = {}
    for instrument in query.instruments:
        wanted.setdefault(ticker_of(instrument), []).append(instrument)
    found: dict[str, Outcome[tuple[Quote, ...]]] = {}
    for item in items:
        ticker = item.get("ticker").text(40)
        # Before the prefixes came, indices were named without one.
        if ":" not in ticker and item.optional_text("type") == "indices":
            ticker = f"I:{ticker}"
        for named_so in wanted.get(ticker, ()) if wanted else (instrument_of(ticker),):
            key = ticker if named_so is None else named_so.symbol
            if key not in found:
                found[key] = _outcome(named_so, item, read, delay_s, received_at)
    missing = Failure(SOURCE, FailureKind.NO_DATA, "not in the reply")
    return found if not wanted else {i.symbol: found.get(i.symbol, missing) for i in query.instruments}


def _outcome(
    instrument: Instrument | None, item: Json, read: _Reader, delay_s: float, received_at: datetime
) -> Outcome[tuple[Quote, ...]]:
    try:
        failure = item_failure(item)
        if failure is not None:
            return failure
        if instrument is None:
            return Failure(SOURCE, FailureKind.UNSUPPORTED, "the ticker has no symbol here")
        return Answered(quotes_from(instrument, read(instrument, item, delay_s), received_at))
    except SourceError as error:
        return error.as_failure(SOURCE)


def _classic(instrument: Instrument, item: Json, delay_s: float) -> Snapshot:
    """A v2 snapshot: `lastTrade` and `lastQuote` are there when the plan has them, `min` is the last minute's bar."""
    day, before = item.find("day"), item.find("prevDay")
    trade, quote, minute = item.find("lastTrade"), item.find("lastQuote"), item.find("min")
    live = _print(trade, "p", "t") or _print(minute, "c", "t", MINUTE_S)
    # Of currencies and crypto `updated` was seen hours ahead of the reply itself.
    updated = moment(item, "updated") if instrument.asset_class is AssetClass.US_EQUITY else None
    told = Snapshot(
        live=live,
        close=_figure(day, "c"),
        open=_figure(day, "o"),
        high=_figure(day, "h"),
        low=_figure(day, "l"),
        volume=None if instrument.asset_class is AssetClass.FOREX else _figure(day, "v"),
        previous_close=_figure(before, "c"),
        bid=_figure(quote, "p"),
        ask=_figure(quote, "P"),
        newest=_latest([None if live is None else live.at, updated]),
        delay_s=delay_s,
    )
    if instrument.asset_class is not AssetClass.FOREX:
        return told
    return _currency(told, told.close, quote, ("b", "a", "t"))


def _unified(instrument: Instrument, item: Json, delay_s: float) -> Snapshot:
    """A v3 snapshot: `price` is the newest of all hours, `close` the newest of regular hours."""
    session, trade, quote = item.find("session"), item.find("last_trade"), item.find("last_quote")
    updated = moment(item, "last_updated")
    told = Snapshot(
        live=_unified_print(item, session, trade, updated),
        close=_figure(session, "close"),
        open=_figure(session, "open"),
        high=_figure(session, "high"),
        low=_figure(session, "low"),
        volume=None if instrument.asset_class is AssetClass.FOREX else _figure(session, "volume"),
        previous_close=_figure(session, "previous_close"),
        bid=_figure(quote, "bid"),
        ask=_figure(quote, "ask"),
        newest=_latest([_trade_time(trade), updated]),
        market=_MARKETS.get(item.optional_text("market_status") or ""),
        delay_s=max(delay_s, *(_declared(block) for block in (item, trade))),
    )
    if instrument.asset_class is not AssetClass.FOREX:
        return told
    return _currency(told, _figure(session, "price") or told.close, quote, ("bid", "ask", "last_updated"))


def _declared(block: Json | None) -> float:
    return DELAY_S if block is not None and block.optional_text("timeframe") == "DELAYED" else 0.0


def _unified_print(item: Json, session: Json | None, trade: Json | None, updated: datetime | None) -> Print | None:
    """The last trade where the plan has it; else a level, or the price of the newest bar, as of the last update."""
    price = _figure(trade, "price")
    if price is not None:
        return Print(price, _trade_time(trade))
    level = _figure(item, "value")
    if level is not None:
        return Print(level, updated)
    price = _figure(session, "price") or _figure(item.find("last_minute"), "close") or _figure(item, "price")
    return None if price is None else Print(price, updated, MINUTE_S)


def _trade_time(trade: Json | None) -> datetime | None:
    if trade is None:
        return None
    names = ("sip_timestamp", "participant_timestamp", "last_updated")
    return next((at for name in names if (at := moment(trade, name)) is not None), None)


def _currency(told: Snapshot, price: float | None, quote: Json | None, names: tuple[str, str, str]) -> Snapshot:
    """Of a currency only its quote has a time of its own, which is that of the last price when it lies in the book."""
    if quote is None:
        return told
    book = _book(quote, names, told.delay_s)
    lies_within = price is not None and book.bid is not None and book.ask is not None and book.bid <= price <= book.ask
    return replace(
        told,
        live=Print(price, book.newest) if lies_within and price is not None else book.live,
        bid=book.bid,
        ask=book.ask,
        newest=book.newest,
        notes=() if lies_within else book.notes,
    )


def _book(quote: Json, names: tuple[str, str, str], delay_s: float) -> Snapshot:
    """A book without a trade. Its price is a side as the source states it: a middle would be our own."""
    bid, ask, at = names
    made = _print(quote, bid, at)
    return Snapshot(
        live=made,
        bid=_figure(quote, bid),
        ask=_figure(quote, ask),
        newest=moment(quote, at),
        delay_s=delay_s,
        notes=(_BOOK_NOTE,),
    )


def _print(block: Json | None, price: str, at: str, resolution_s: float = 1.0) -> Print | None:
    made = _figure(block, price)
    return None if block is None or made is None else Print(made, moment(block, at), resolution_s)


def _figure(block: Json | None, name: str) -> float | None:
    """A member's number; None when it is missing, null or 0, which is written for none.

    Raises:
        SourceError: MALFORMED_REPLY when it is negative or no number.
    """
    value = None if block is None else block.optional_number(name)
    if value is not None and value < 0:
        raise malformed(f"{name} is negative")
    return positive(value)


def _latest(stamps: Iterable[datetime | None]) -> datetime | None:
    return max((at for at in stamps if at is not None), default=None)
