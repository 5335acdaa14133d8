"""Replies for tests of vendor declarations: from our own fixture files, from values, and from the shared recordings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mdagent_mcp.domain.failures import Answered, Failure
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import QuoteQuery, QuoteReading, Reply, Vendor

FIXTURES = Path(__file__).parent / "fixtures"
RECORDINGS = Path(__file__).resolve().parents[2] / ".." / "shared" / "recordings"


def at(text: str) -> datetime:
    """An instant in UTC, written without offset."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fixture(vendor: str, name: str) -> Any:
    """One of our own fixtures as a JSON value, free to be changed."""
    return json.loads((FIXTURES / vendor / name).read_bytes())


def reply(content: Any, received_at: str, status: int = 200) -> Reply:
    """A reply with `content` as its body: bytes as they are, anything else as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply(status, {}, body, at(received_at))


def read_quotes(vendor: Vendor, symbol: str, content: Any, received_at: str, status: int = 200) -> tuple[Quote, ...]:
    """What a vendor's quote reply about `symbol` says; raises what the error table or the parser raises."""
    received = reply(content, received_at, status)
    refuse_errors(vendor, received)
    query = QuoteQuery((parse_symbol(symbol),), received.received_at)
    return quotes_of(vendor.quote.parse(query, received), parse_symbol(symbol).symbol)


def quotes_of(reading: QuoteReading, symbol: str) -> tuple[Quote, ...]:
    """The quotes of one symbol in a reading."""
    outcome = reading[symbol]
    assert isinstance(outcome, Answered)
    return outcome.value


def failure_of(reading: QuoteReading, symbol: str) -> Failure:
    """Why one symbol of a reading has no quote."""
    outcome = reading[symbol]
    assert isinstance(outcome, Failure)
    return outcome


def recordings_of(vendor: str) -> Path:
    """The folder of a vendor's recordings; skips the test where there are none."""
    folder = RECORDINGS / vendor
    if not (folder / "index.json").is_file():
        pytest.skip("the shared recordings are not beside the project")
    return folder
