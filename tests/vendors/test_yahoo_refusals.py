"""Yahoo's ways of saying no, and replies that are none: crumbs, the error table, and arbitrary bytes."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.failures import Answered, FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, History, Interval, Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import HistoryQuery, Offer, QuoteQuery, Reply
from mdagent_mcp.vendors.recorded import read_recorded
from mdagent_mcp.vendors.yahoo import YAHOO
from vendors.yahoo_exchange import FIXTURES, load, reply_of, utc

AT = "2026-03-18T15:04:11"


def crumb(body: bytes) -> str:
    """The crumb read from a body."""
    assert YAHOO.token is not None
    return YAHOO.token.parse(Reply(200, {}, body, utc(AT)))


def test_a_crumb_is_kept_as_sent() -> None:
    """Line ends around it are not part of it."""
    assert crumb(b"aB3/x.Yz-9_\n") == "aB3/x.Yz-9_"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<html><body>consent</body></html>",
        b"two words",
        b'{"finance":{"error":null}}',
        b"x" * 41,
        b"caf\xc3\xa9",
        b"\xff\xfe",
        b"a\x00b",
    ],
)
def test_what_does_not_look_like_a_crumb_is_never_kept(body: bytes) -> None:
    """An error text kept as a crumb spoils every batch after it."""
    with pytest.raises(SourceError) as raised:
        crumb(body)
    assert raised.value.kind is FailureKind.MALFORMED_REPLY


@pytest.mark.parametrize("body", [b"Too Many Requests", b"Edge: Too Many Requests"])
def test_a_refusal_in_place_of_a_crumb_rests_the_source(body: bytes) -> None:
    """It comes with status 200 too."""
    with pytest.raises(SourceError) as raised:
        crumb(body)
    assert (raised.value.kind, raised.value.retry_after_s) == (FailureKind.THROTTLED, 900.0)


def _stated(name: str, code: str, description: str) -> dict[str, Any]:
    return {name: {"result": None, "error": {"code": code, "description": description}}}


@pytest.mark.parametrize(
    ("status", "payload", "kind", "wait"),
    [
        (429, "Too Many Requests", FailureKind.THROTTLED, 900.0),
        (429, "", FailureKind.THROTTLED, 900.0),
        (200, "Edge: Too Many Requests", FailureKind.THROTTLED, 900.0),
        (999, "<html>Unable to process request</html>", FailureKind.THROTTLED, 900.0),
        (401, _stated("finance", "Unauthorized", "Invalid Crumb"), FailureKind.UNAUTHORIZED, None),
        (
            403,
            _stated("finance", "Unauthorized", "User is unable to access this feature - see"),
            FailureKind.UNAUTHORIZED,
            None,
        ),
        (403, "<html>Forbidden</html>", FailureKind.SOURCE_ERROR, None),
        (
            404,
            _stated("chart", "Not Found", "No data found, symbol may be delisted"),
            FailureKind.UNKNOWN_SYMBOL,
            None,
        ),
        (404, "<html><h1>Not Found</h1></html>", FailureKind.SOURCE_ERROR, None),
        (
            400,
            _stated("chart", "Bad Request", "Data doesn't exist for startDate = 1, endDate = 2"),
            FailureKind.NO_DATA,
            None,
        ),
        (
            422,
            _stated("chart", "Unprocessable Entity", "1m data not available for startDate=1 and endDate=2."),
            FailureKind.NO_DATA,
            None,
        ),
        (422, _stated("chart", "Unprocessable Entity", "Invalid input"), FailureKind.BAD_REQUEST, None),
        (200, "<html>Will be right back...</html>", FailureKind.SOURCE_ERROR, None),
        (500, _stated("finance", "internal-error", "oops"), FailureKind.SOURCE_ERROR, None),
    ],
)
def test_each_way_of_saying_no_has_its_own_meaning(
    status: int, payload: Any, kind: FailureKind, wait: float | None
) -> None:
    """An outage is never told as an unknown symbol."""
    with pytest.raises(SourceError) as raised:
        refuse_errors(YAHOO, reply_of(payload, AT, status))
    assert (raised.value.kind, raised.value.retry_after_s) == (kind, wait)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (_stated("chart", "Not Found", "No data found"), FailureKind.UNKNOWN_SYMBOL),
        (_stated("finance", "Unauthorized", "no"), FailureKind.UNAUTHORIZED),
        (_stated("chart", "Bad Request", "no"), FailureKind.BAD_REQUEST),
        (_stated("chart", "internal-error", "no"), FailureKind.SOURCE_ERROR),
        ({"chart": {"result": None, "error": None}}, FailureKind.NO_DATA),
        ({"chart": {"result": [], "error": None}}, FailureKind.NO_DATA),
        ({"spark": {}}, FailureKind.MALFORMED_REPLY),
        ("<html>consent</html>", FailureKind.MALFORMED_REPLY),
        ([], FailureKind.MALFORMED_REPLY),
    ],
)
def test_an_error_stated_with_status_200_is_still_that_error(payload: Any, kind: FailureKind) -> None:
    """Success is what the reply says, not its status."""
    with pytest.raises(SourceError) as raised:
        YAHOO.quote.parse(_QUOTE, reply_of(payload, AT))
    assert raised.value.kind is kind


def test_an_error_stated_in_a_batch_is_told_for_the_whole_batch() -> None:
    """It is no answer about any symbol."""
    with pytest.raises(SourceError) as raised:
        _BATCH.parse(_QUOTES, reply_of(_stated("finance", "Unauthorized", "Invalid Crumb"), AT))
    assert raised.value.kind is FailureKind.UNAUTHORIZED


def test_a_recorded_search_is_told_as_unsupported() -> None:
    """Searches are not asked for."""
    reading = read_recorded(YAHOO, "https://h/v1/finance/search?q=A", b"{}", status=200, received_at=utc(AT))
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.UNSUPPORTED


_QUOTE = QuoteQuery((parse_symbol("ACME"),), utc(AT))
_QUOTES = QuoteQuery(tuple(map(parse_symbol, ("BRK.B", "VOD.L", "OLD", "EURUSD", "TEXT", "NOPE"))), utc(AT))
assert YAHOO.quotes is not None
assert YAHOO.history is not None
_BATCH: Offer[Any, Any] = YAHOO.quotes
_HISTORY: Offer[Any, Any] = YAHOO.history


def _series(symbol: str, interval: Interval, adjustment: Adjustment) -> HistoryQuery:
    first, last = date(2026, 3, 1), date(2026, 3, 31)
    return HistoryQuery(parse_symbol(symbol), interval, first, last, adjustment, extended_hours=False, now=utc(AT))


CALLS: tuple[tuple[Offer[Any, Any], Any, str], ...] = (
    (YAHOO.quote, _QUOTE, "chart_quote_open.json"),
    (YAHOO.quote, _QUOTE, "chart_quote_after_hours.json"),
    (_BATCH, _QUOTES, "batch.json"),
    (_HISTORY, _series("ACME", Interval.DAY_1, Adjustment.NONE), "daily_split.json"),
    (_HISTORY, _series("ACME", Interval.DAY_1, Adjustment.ALL), "daily_split.json"),
    (_HISTORY, _series("ACME", Interval.MIN_1, Adjustment.SPLITS), "minutes.json"),
    (_HISTORY, _series("VOD.L", Interval.WEEK_1, Adjustment.NONE), "weekly_pence.json"),
)


def _prices(answer: Any) -> list[float]:
    if isinstance(answer, History):
        return [value for bar in answer.bars for value in (bar.open, bar.high, bar.low, bar.close)]
    outcomes = [o.value for o in answer.values() if isinstance(o, Answered)]
    return [quote.price for quotes in outcomes for quote in quotes if isinstance(quote, Quote)]


def _read(offer: Offer[Any, Any], query: Any, body: bytes) -> list[float]:
    """The prices in an answer; none when the reply is refused. Anything but a `SourceError` fails the test."""
    try:
        return _prices(offer.parse(query, Reply(200, {}, body, utc(AT))))
    except SourceError:
        return []


def test_every_fixture_holds_prices_for_the_mutations_to_spoil() -> None:
    """Otherwise the laws below would hold of nothing."""
    assert all(_read(offer, query, (FIXTURES / name).read_bytes()) for offer, query, name in CALLS)


@given(body=st.binary(max_size=200), call=st.sampled_from(CALLS))
def test_arbitrary_bytes_raise_nothing_but_a_source_error(body: bytes, call: tuple[Offer[Any, Any], Any, str]) -> None:
    """And never give a price."""
    assert _read(call[0], call[1], body) == []


_ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["1m", "1d", "1wk", "USD", "GBp", "NONE", "REGULAR", "ACME", 0, -1, 1e308, 5e-324, [], {}]),
    st.lists(st.none() | st.integers(-5, 2**31), max_size=6),
    st.dictionaries(st.sampled_from(["date", "amount", "start", "end", "pre", "regular"]), st.integers(), max_size=3),
)


def _spots(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, member in members for spot in _spots(member, (*path, key)))]


@given(data=st.data(), call=st.sampled_from(CALLS))
def test_a_fixture_with_odd_values_in_it_raises_nothing_but_a_source_error(
    data: st.DataObject, call: tuple[Offer[Any, Any], Any, str]
) -> None:
    """And whatever is still read has finite prices."""
    offer, query, name = call
    payload = load(name)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, key = data.draw(st.sampled_from(_spots(payload)[1:]))
        holder = payload
        for step in path:
            holder = holder[step]
        holder[key] = data.draw(_ODD_VALUES)
    assert all(math.isfinite(price) for price in _read(offer, query, json.dumps(payload).encode()))


@given(data=st.data(), call=st.sampled_from(CALLS))
def test_a_fixture_cut_or_with_a_byte_changed_raises_nothing_but_a_source_error(
    data: st.DataObject, call: tuple[Offer[Any, Any], Any, str]
) -> None:
    """Transfers break off, and proxies rewrite."""
    offer, query, name = call
    body = bytearray((FIXTURES / name).read_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([None, len(body) // 2, len(body) - 3]))
    assert all(math.isfinite(price) for price in _read(offer, query, bytes(body[:cut])))
