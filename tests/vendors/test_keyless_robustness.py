"""Whatever bytes arrive, the parsers of Nasdaq, Cboe and Finnhub raise nothing but `SourceError`."""

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
from mdagent_mcp.domain.prices import Adjustment, History, Interval, Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import HistoryQuery, Offer, QuoteQuery, Vendor
from mdagent_mcp.vendors.cboe import CBOE
from mdagent_mcp.vendors.finnhub import FINNHUB
from mdagent_mcp.vendors.nasdaq import NASDAQ
from vendors.vendor_exchanges import FIXTURES, at, reply

NOW = at("2026-08-20T15:26:30")
VENDORS = {vendor.id: vendor for vendor in (NASDAQ, CBOE, FINNHUB)}
MUTABLE = sorted(str(path.relative_to(FIXTURES)) for name in VENDORS for path in (FIXTURES / name).glob("*.json"))
SYMBOLS = ("ACME", "BRK.B", "^IXIC", "^TNX", "BTC-USD")
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCRAPS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("", "N/A", "UNCH", "$", "$-1", "1e999", "9" * 400, "+" + "9" * 400, "\ud800", "Aug 20, 2026", "Closed"),
        *("Feb 31, 2026 25:61 PM ET", "Jan 1, 0001 1:00 AM ET", "Dec 31, 9999 11:59 PM ET", "12/31/9999"),
        *("9999-12-31T23:59:59-23:00", "0001-01-01", "2026-08-20T11:11:40.5+05:30", "1 - 2", " - "),
        *(None, True, False, 0, -1, 1e308, -1e308, 10**400, 4102444800, -2208988800, [], {}, [None], {"value": []}),
    ]
)


def queries(vendor: Vendor, symbol: str) -> Iterator[tuple[Offer[Any, Any], Any]]:
    """Every offer of a vendor with a query it can be parsed for."""
    instrument = parse_symbol(symbol)
    yield vendor.quote, QuoteQuery((instrument,), NOW)
    if vendor.quotes is not None:
        yield vendor.quotes, QuoteQuery((instrument, parse_symbol("BOLT.B")), NOW)
    if vendor.history is not None:
        for interval in (Interval.MIN_1, Interval.DAY_1, Interval.MONTH_1):
            span = (date(1, 1, 1), date(9999, 12, 31))
            yield vendor.history, HistoryQuery(instrument, interval, *span, Adjustment.SPLITS, False, NOW)  # noqa: FBT003


def check(vendor: Vendor, body: bytes, symbol: str) -> None:
    """Read a body with every parser; an answer must hold finite positive prices and nothing infinite."""
    for offer, query in queries(vendor, symbol):
        received = reply(body, "2026-08-20T15:26:30")
        try:
            refuse_errors(vendor, received)
            answer = offer.parse(query, received)
        except SourceError:
            continue
        if isinstance(answer, History):
            assert answer.bars
            assert all(_sane(bar.open, bar.high, bar.low, bar.close) for bar in answer.bars)
        else:
            for outcome in answer.values():
                assert isinstance(outcome, Failure) or all(_is_sane(quote) for quote in outcome.value)


def _is_sane(quote: Quote) -> bool:
    numbers = [v for f in fields(quote) if isinstance(v := getattr(quote, f.name), float)]
    return _sane(quote.price) and all(map(math.isfinite, numbers))


def _sane(*prices: float) -> bool:
    return all(math.isfinite(price) and price > 0 for price in prices)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


def with_scrap(value: Any, path: tuple[Any, ...], scrap: Any) -> None:
    """Put something else in one place."""
    *way, last = path
    for key in way:
        value = value[key]
    value[last] = copy.deepcopy(scrap)


@pytest.mark.parametrize("vendor", VENDORS)
@SETTINGS
@given(body=st.binary(max_size=200), symbol=st.sampled_from(SYMBOLS))
def test_arbitrary_bytes_are_refused_and_nothing_else(vendor: str, body: bytes, symbol: str) -> None:
    """No parser crashes on what is no reply at all."""
    check(VENDORS[vendor], body, symbol)


@pytest.mark.parametrize("vendor", VENDORS)
@SETTINGS
@given(
    value=st.recursive(
        SCRAPS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from("data status rCode c t s symbol primaryData last_trade_time".split()), inner
            ),
        ),
    ),
    symbol=st.sampled_from(SYMBOLS),
)
def test_arbitrary_json_is_refused_and_nothing_else(vendor: str, value: Any, symbol: str) -> None:
    """Nor on JSON of another shape."""
    check(VENDORS[vendor], json.dumps(value).encode(), symbol)


@pytest.mark.parametrize("name", MUTABLE)
@SETTINGS
@given(data=st.data())
def test_a_spoilt_reply_is_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    """One to three values of a good reply are replaced; what is still answered is finite and positive."""
    value = json.loads((FIXTURES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        with_scrap(value, data.draw(st.sampled_from(sorted(places(value), key=str))), data.draw(SCRAPS))
    check(VENDORS[name.split("/", 1)[0]], json.dumps(value).encode(), "ACME")
