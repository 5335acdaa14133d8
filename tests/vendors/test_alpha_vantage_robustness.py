"""Whatever bytes arrive, Alpha Vantage's parsers raise nothing but `SourceError`."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import Failure, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, History, Interval
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import HistoryQuery, Offer, QuoteQuery
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from vendors.vendor_exchanges import FIXTURES, at, reply

RECEIVED = "2026-08-20T22:00:00"
FILES = sorted((FIXTURES / "alpha_vantage").glob("*.json"))
SYMBOLS = ("ACME", "ACME.V", "VOD.L", "BTC-USD", "EURUSD")
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = (
    "Global Quote",
    "05. price",
    "Information",
    "Note",
    "Meta Data",
    "Time Series (Daily)",
    "2026-08-20",
    "4. close",
)

SCRAPS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("", "-", "None", "N/A", "NaN", "1e999", "1e308", "-1", "9" * 400, "1e-308", "\ud800", "\u0663", "1,000"),
        *("2026-02-31", "0001-01-01", "9999-12-31", "2026-08-20 25:61:00", "2099-12-31 23:59:59", "20260820"),
        *(None, True, False, 0, -1, 1e308, -1e308, 10**400, [], {}, [None], {"5. price": []}),
    ]
)


def queries(symbol: str) -> Iterator[tuple[Offer[Any, Any], Any]]:
    """Both offers, with every kind of query they can be parsed for."""
    assert ALPHA_VANTAGE.history is not None
    instrument, now, span = parse_symbol(symbol), at(RECEIVED), (date(1, 1, 1), date(9999, 12, 31))
    yield ALPHA_VANTAGE.quote, QuoteQuery((instrument,), now)
    yield ALPHA_VANTAGE.quote, QuoteQuery((), now)
    for interval in (Interval.HOUR_1, Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1):
        for basis in Adjustment:
            yield ALPHA_VANTAGE.history, HistoryQuery(instrument, interval, *span, basis, False, now)  # noqa: FBT003


def check(body: bytes, symbol: str) -> None:
    """Read a body with every parser; an answer must hold finite positive prices and nothing infinite."""
    for offer, query in queries(symbol):
        received = reply(body, RECEIVED)
        try:
            refuse_errors(ALPHA_VANTAGE, received)
            answer = offer.parse(query, received)
        except SourceError:
            continue
        if isinstance(answer, History):
            assert answer.bars
            assert all(_sane(b.open, b.high, b.low, b.close) and math.isfinite(b.volume or 0) for b in answer.bars)
            assert all(math.isfinite(d.amount) for d in answer.dividends)
            continue
        for outcome in answer.values():
            assert not isinstance(outcome, Failure)
            for quote in outcome.value:
                numbers = [v for f in fields(quote) if isinstance(v := getattr(quote, f.name), float)]
                assert _sane(quote.price)
                assert all(map(math.isfinite, numbers))


def _sane(*prices: float) -> bool:
    return all(math.isfinite(price) and price > 0 for price in prices)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


def spoil(value: Any, path: tuple[Any, ...], scrap: Any, *, as_key: bool) -> None:
    """Put something else in one place, or under another key."""
    *way, last = path
    for key in way:
        value = value[key]
    if as_key and isinstance(scrap, str) and isinstance(value, dict):
        value[scrap] = value.pop(last)
    else:
        value[last] = copy.deepcopy(scrap)


@SETTINGS
@given(body=st.binary(max_size=200), symbol=st.sampled_from(SYMBOLS))
def test_arbitrary_bytes_are_refused_and_nothing_else(body: bytes, symbol: str) -> None:
    """No parser crashes on what is no reply at all."""
    check(body, symbol)


@SETTINGS
@given(
    value=st.recursive(
        SCRAPS,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    ),
    symbol=st.sampled_from(SYMBOLS),
)
def test_arbitrary_json_is_refused_and_nothing_else(value: Any, symbol: str) -> None:
    """Nor on JSON of another shape."""
    check(json.dumps(value).encode(), symbol)


@pytest.mark.parametrize("name", [path.name for path in FILES])
@SETTINGS
@given(data=st.data())
def test_a_spoilt_reply_is_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    """One to three values or keys of a good reply are replaced; what is still answered is finite and positive."""
    value = json.loads((FIXTURES / "alpha_vantage" / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        paths = sorted(places(value), key=str)
        if paths:
            spoil(value, data.draw(st.sampled_from(paths)), data.draw(SCRAPS), as_key=data.draw(st.booleans()))
    check(json.dumps(value).encode(), data.draw(st.sampled_from(SYMBOLS)))
