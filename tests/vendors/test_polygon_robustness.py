"""Whatever bytes arrive, the parsers of Polygon raise nothing but `SourceError`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import Failure, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, History, Interval, Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import HistoryQuery, Offer, QuoteQuery
from mdagent_mcp.vendors.polygon import POLYGON
from mdagent_mcp.vendors.polygon_days import DayQuery
from mdagent_mcp.vendors.recorded import read_recorded
from vendors.test_keyless_robustness import SETTINGS, _is_sane, _sane, places, with_scrap
from vendors.vendor_exchanges import FIXTURES, at, recordings_of, reply

AT = "2026-08-20T15:27:10"
NOW = at(AT)
NAMES = sorted(path.name for path in (FIXTURES / "polygon").glob("*.json"))
SYMBOLS = ("ACME", "BOLT.B", "BTC-USD", "EURUSD", "^GSPC")
SPAN = (date(1, 1, 1), date(9999, 12, 31))
MUTATIONS = 45
"""Of every recording; there are about fifty."""

SCRAPS: tuple[Any, ...] = (
    *("", "NaN", "-1", "0", "1e999", "\ud800", "OK", "ERROR", "DELAYED", "indices", "O:X", "X:BTCUSD", "BOLT", "p"),
    *("2026-02-31", "0001-01-01", "9999-12-31", "https://evil.example/v2/aggs/ticker/ACME/range/1/day/1/2", "open"),
    *(None, True, False, 0, -1, 0.5, 1e308, -1e308, 10**400, 10**19 - 1, 10**16, 10**11, 4102444800000, 1, [], {}),
    *([None], [{}], [[]], {"p": 1, "t": 1}, {"c": 10.0, "t": 1787239628000}, {"price": 3}),
)


def queries(symbol: str) -> Iterator[tuple[Offer[Any, Any], Any]]:
    """Every call that is read with questions it can be parsed for: of one symbol, of two, and of whatever it names."""
    instrument = parse_symbol(symbol)
    for offer in POLYGON.read_calls:
        if offer.recognise.__name__ == "recognise_bars":
            for interval in (Interval.MIN_1, Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1):
                query = HistoryQuery(instrument, interval, *SPAN, Adjustment.SPLITS, extended_hours=False, now=NOW)
                yield offer, query
                yield offer, replace(query, adjustment=Adjustment.NONE, extended_hours=True)
        else:
            yield offer, QuoteQuery((instrument,), NOW)
            yield offer, QuoteQuery((instrument, parse_symbol("BOLT.B")), NOW)
            yield offer, QuoteQuery((), NOW)
            yield offer, DayQuery((instrument,), NOW, date(9999, 12, 31))


def check(body: bytes, symbol: str) -> None:
    """Read a body with every parser; an answer must hold finite positive prices of its symbol and nothing infinite."""
    for offer, query in queries(symbol):
        received = reply(body, AT)
        try:
            refuse_errors(POLYGON, received)
            if offer.next_page is not None:
                offer.next_page(query, received)
            answer = offer.parse(query, received)
        except SourceError:
            continue
        if isinstance(answer, History):
            assert answer.symbol == symbol
            assert answer.bars
            assert all(_sane(bar.open, bar.high, bar.low, bar.close) for bar in answer.bars)
            continue
        for key, outcome in answer.items():
            assert isinstance(outcome, Failure) or all(_is_sane(q) and q.symbol == key for q in outcome.value)
            assert not query.instruments or key in {i.symbol for i in query.instruments}


@SETTINGS
@given(body=st.binary(max_size=200), symbol=st.sampled_from(SYMBOLS))
def test_arbitrary_bytes_of_polygon_are_refused_and_nothing_else(body: bytes, symbol: str) -> None:
    """No parser crashes on what is no reply at all."""
    check(body, symbol)


@SETTINGS
@given(
    value=st.recursive(
        st.sampled_from(SCRAPS),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from("status results ticker tickers T t p last symbol from next_url".split()), inner
            ),
        ),
    ),
    symbol=st.sampled_from(SYMBOLS),
)
def test_arbitrary_json_of_polygon_is_refused_and_nothing_else(value: Any, symbol: str) -> None:
    """Nor on JSON of another shape."""
    check(json.dumps(value).encode(), symbol)


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(data=st.data())
def test_a_spoilt_reply_of_polygon_is_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    """One to three values of a good reply are replaced; what is still answered is finite and positive."""
    value = json.loads((FIXTURES / "polygon" / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        with_scrap(
            value, data.draw(st.sampled_from(sorted(places(value), key=str))), data.draw(st.sampled_from(SCRAPS))
        )
    symbol = {"currency.json": "EURUSD", "crypto.json": "BTC-USD"}.get(name, "ACME")
    check(json.dumps(value).encode(), symbol)


def spoilt(body: bytes, chance: random.Random) -> bytes:
    """A body cut short, wrongly encoded, replaced by a page, or with one to three values of its JSON exchanged."""
    way = chance.randrange(8)
    if way == 0:
        return body[: chance.randrange(len(body))]
    if way == 1:
        return body.decode().encode("utf-16")
    if way == 2:
        return b"<html><body>Service Unavailable</body></html>"
    if way == 3:
        return body.replace(b'"p":', b'"P":').replace(b'"c":', b'"c":NaN,"cc":')
    value = json.loads(body)
    for _ in range(chance.randint(1, 3)):
        with_scrap(value, chance.choice(sorted(places(value), key=str)), chance.choice(SCRAPS))
    return json.dumps(value).encode()


def test_a_spoilt_recording_is_read_or_refused_and_nothing_else() -> None:
    """More than two thousand of them, always the same ones; a quote is never of a symbol that was not asked."""
    folder = recordings_of("polygon")
    chance = random.Random(20260820)
    for entry in json.loads((folder / "index.json").read_bytes()):
        body = (folder / entry["file"]).read_bytes()
        url = entry.get("url", "https://api.massive.com/v2/aggs/ticker/AAPL/prev")
        named = {q.symbol for q in _quotes(url, body)}
        for _ in range(MUTATIONS):
            for quote in _quotes(url, spoilt(body, chance)):
                assert _is_sane(quote)
                assert quote.symbol in named or "/tickers/" not in url or "{" in url


def _quotes(url: str, body: bytes) -> tuple[Quote, ...]:
    reading = read_recorded(POLYGON, url, body, status=200, received_at=NOW)
    if reading.history is not None:
        assert all(_sane(bar.open, bar.high, bar.low, bar.close) for bar in reading.history.bars)
    return reading.quotes
