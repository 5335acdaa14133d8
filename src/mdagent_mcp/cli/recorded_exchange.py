"""`parse`: what our parser reads from one recorded HTTP exchange, offline, as JSON.

The rule of this module: it adds nothing to what the vendor's parser says; absent values are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.failures import Failure
from mdagent_mcp.domain.instruments import Instrument, InvalidSymbolError, echo, parse_symbol
from mdagent_mcp.domain.prices import Bar, History, Interval, Quote
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.server.argument_values import nearest
from mdagent_mcp.server.views import bar_time, count, instant, number
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from mdagent_mcp.vendors.registry import VENDORS

_STDIN: Final = "-"


def parse(arguments: argparse.Namespace) -> int:
    """Print what an exchange says; exit 1 when nothing usable."""
    reading = read_recorded(
        vendor_named(arguments.source),
        arguments.url,
        _body(arguments.body),
        status=arguments.status,
        received_at=_received_at(arguments.received_at),
        instrument=_instrument(arguments.symbol),
    )
    sys.stdout.write(json.dumps(reading_json(reading), indent=2) + "\n")
    return ExitCode.OK if reading.failure is None else ExitCode.NO_ANSWER


def reading_json(reading: RecordedReading) -> dict[str, Any]:
    """A reading as JSON: `quotes`, `bars`, `token` or `failure`; for a batch with the `failures` of its symbols."""
    if reading.failure is not None:
        return {"failure": _failure(reading.failure), **_failures(reading)}
    if reading.token:
        return {"token": True}
    if reading.history is not None:
        return _history(reading.history)
    return {"quotes": [_quote(quote) for quote in reading.quotes], **_failures(reading)}


def _failures(reading: RecordedReading) -> dict[str, Any]:
    if not reading.failures:
        return {}
    return {"failures": [{"symbol": symbol, **_failure(f)} for symbol, f in reading.failures.items()]}


def vendor_named(source: str) -> Vendor:
    """The vendor of a source id.

    Raises:
        CommandError: naming the nearest one.
    """
    found = next((vendor for vendor in VENDORS if vendor.id == source.lower()), None)
    if found is None:
        known = [vendor.id for vendor in VENDORS]
        hint = f"{nearest(source, known)}known: {', '.join(known)}"
        raise CommandError(f"SOURCE: '{echo(source)}' is not a source; {hint}")
    return found


def _body(name: str) -> bytes:
    if name == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"--body: {name} cannot be read: {error.strerror}") from error


def _received_at(text: str | None) -> datetime:
    """An instant in ISO 8601 or as HTTP's Date header writes it; without a zone it is UTC."""
    if text is None:
        return SystemClock().now()
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except ValueError as error:
            problem = f"'{echo(text)}' is not a time; write it like 2026-01-31T15:04:05Z"
            raise CommandError(f"--received-at: {problem}") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _instrument(text: str | None) -> Instrument | None:
    try:
        return None if text is None else parse_symbol(text)
    except InvalidSymbolError as error:
        raise CommandError(f"--symbol: {error}") from error


def _quote(quote: Quote) -> dict[str, Any]:
    prices = ("price", "bid", "ask", "open", "high", "low", "previous_close")
    return _without_none(
        {
            "symbol": quote.symbol,
            "source": quote.source,
            **{name: number(getattr(quote, name)) for name in prices},
            "currency": quote.currency,
            "volume": count(quote.volume),
            "session": quote.session.value,
            # The contract knows this instant under two names: in an answer, and in a source's evidence.
            "price_time": instant(quote.event_time),
            "event_time": instant(quote.event_time),
            "event_time_resolution_s": number(quote.event_time_resolution_s),
            "received_at": instant(quote.received_at),
            "declared_delay_s": number(quote.declared_delay_s),
            "venue_only": quote.venue_only,
            "notes": list(quote.notes),
        }
    )


def _history(history: History) -> dict[str, Any]:
    return _without_none(
        {
            "symbol": history.symbol,
            "source": history.source,
            "interval": history.interval.value,
            "currency": history.currency,
            "timezone": history.timezone,
            "adjustment": history.adjustment.value,
            "received_at": instant(history.received_at),
            "partial_last_bar": history.partial_last_bar,
            "extended_hours": history.extended_hours,
            "bars": [_bar(bar, history.interval) for bar in history.bars],
            "null_rows": [bar_time(start, history.interval) for start in history.null_rows],
            "dividends": [{"date": d.day.isoformat(), "amount": number(d.amount)} for d in history.dividends],
            "splits": [{"date": s.day.isoformat(), "ratio": number(s.ratio)} for s in history.splits],
            "notes": list(history.notes),
        }
    )


def _bar(bar: Bar, interval: Interval) -> dict[str, Any]:
    prices = {name: number(getattr(bar, name)) for name in ("open", "high", "low", "close")}
    return {"time": bar_time(bar.start, interval), **prices, "volume": count(bar.volume)}


def _failure(failure: Failure) -> dict[str, Any]:
    return _without_none(
        {
            "code": failure.kind.value,
            "source": failure.source,
            "message": failure.detail,
            "retry_after_s": number(failure.retry_after_s),
        }
    )


def _without_none(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value is not None}
