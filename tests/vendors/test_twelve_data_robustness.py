"""Whatever bytes arrive, the parsers of Twelve Data raise nothing but `SourceError`."""

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
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from mdagent_mcp.vendors.twelve_data_history import ZonedQuery
from vendors.vendor_exchanges import FIXTURES, at, reply

NOW = at("2026-08-20T15:27:10")
NAMES = sorted(path.name for path in (FIXTURES / "twelve_data").glob("*.json"))
SYMBOLS = ("ACME", "BRK.B", "ACME.L", "ACME.SA", "EURUSD", "BTC-USD")
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SPAN = (date(1, 1, 1), date(9999, 12, 31))

SCRAPS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("", "NaN", "-1", "0", "1e999", "1e-320", "9" * 400, "\ud800", "error", "ok", "GBp", "EUR", "XLON", "ACME"),
        *("2026-02-31", "0001-01-01", "9999-12-31", "9999-12-31 23:59:59", "0001-01-01 00:00:00", "2026-08-20"),
        *("2026-08-20 13:30:00", "1900-01-01 00:00:00", "2099-12-31 23:59:00", "1min", "1week", "Nowhere", "America"),
        *(None, True, False, 0, -1, 1e308, -1e308, 10**400, 4102444800, -2208988800, 429, 404, [], {}, [None], [{}]),
    ]
)


def _histories(symbol: str) -> Iterator[HistoryQuery]:
    instrument = parse_symbol(symbol)
    for interval in (Interval.MIN_1, Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1):
        yield HistoryQuery(instrument, interval, *SPAN, Adjustment.SPLITS, True, NOW)  # noqa: FBT003
        yield ZonedQuery(instrument, interval, *SPAN, Adjustment.SPLITS, False, NOW)  # noqa: FBT003


def check(body: bytes, symbol: str) -> None:
    """Read a body with every parser; an answer must hold finite positive prices and nothing infinite."""
    assert TWELVE_DATA.quotes is not None
    assert TWELVE_DATA.history is not None
    instrument = parse_symbol(symbol)
    one, two = QuoteQuery((instrument,), NOW), QuoteQuery((instrument, parse_symbol("BOLT.B")), NOW)
    questions: list[tuple[Any, Any]] = [(TWELVE_DATA.quote, one), (TWELVE_DATA.quotes, two)]
    questions += [(TWELVE_DATA.history, query) for query in _histories(symbol)]
    for offer, query in questions:
        received = reply(body, "2026-08-20T15:27:10")
        try:
            refuse_errors(TWELVE_DATA, received)
            answer = offer.parse(query, received)
        except SourceError:
            continue
        if isinstance(answer, History):
            assert answer.bars
            assert all(_is_price(p) for bar in answer.bars for p in (bar.open, bar.high, bar.low, bar.close))
            continue
        for outcome in answer.values():
            for quote in () if isinstance(outcome, Failure) else outcome.value:
                assert _is_price(quote.price)
                assert all(math.isfinite(v) for f in fields(quote) if isinstance(v := getattr(quote, f.name), float))


def _is_price(price: float) -> bool:
    return math.isfinite(price) and price > 0


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


@SETTINGS
@given(body=st.binary(max_size=200), symbol=st.sampled_from(SYMBOLS))
def test_arbitrary_bytes_of_twelve_data_are_refused_and_nothing_else(body: bytes, symbol: str) -> None:
    """No parser crashes on what is no reply at all."""
    check(body, symbol)


@SETTINGS
@given(
    value=st.recursive(
        SCRAPS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from("code message status meta values symbol close datetime ACME EUR/USD".split()), inner
            ),
        ),
    ),
    symbol=st.sampled_from(SYMBOLS),
)
def test_arbitrary_json_of_twelve_data_is_refused_and_nothing_else(value: Any, symbol: str) -> None:
    """Nor on JSON of another shape."""
    check(json.dumps(value).encode(), symbol)


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(data=st.data())
def test_a_spoilt_reply_of_twelve_data_is_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    """One to three values of a good reply are replaced; what is still answered is finite and positive."""
    value = json.loads((FIXTURES / "twelve_data" / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(sorted(places(value), key=str)))
        holder = value
        for key in way:
            holder = holder[key]
        holder[last] = copy.deepcopy(data.draw(SCRAPS))
    for symbol in ("ACME", "ACME.L", "EURUSD"):
        check(json.dumps(value).encode(), symbol)
