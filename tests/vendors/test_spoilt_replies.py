"""Spoilt copies of every recorded reply and of every fixture: a typed failure or a right value, and nothing else.

Each copy is made from the name of its exchange and its number alone; a failing one is printed with both and is made
again by `spoilt_copy(exchange, number)`. Every registered vendor is covered, over the shared recordings where they
lie beside the project and over our own fixtures always.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from mdagent_mcp.domain.failures import DETAIL_LIMIT, Answered, Failure, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import Adjustment, History, Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import Offer, QuoteQuery, RecordedUrl, Reply
from mdagent_mcp.vendors.recorded import read_recorded
from vendors.exchange_spoiling import dumped, leaves, renamed, shortened, spoilt
from vendors.recorded_corpus import BY_ID, Exchange, fixtures, recordings

COPIES: Final = 2000
"""Spoilt copies of each vendor's recordings."""
FIXTURE_COPIES: Final = 400
"""Spoilt copies of each vendor's fixtures, where the recordings are there too; else as many as of those."""
ALIKE: Final = frozenset(
    {("cboe", "iex_cloud"), ("iex_cloud", "cboe"), ("tiingo", "iex_cloud"), ("twelve_data", "polygon")}
)
"""Vendors whose rows of a day are alike, and name the same symbol or none: no reader can tell them apart."""
NAMELESS: Final = frozenset({"finnhub"})
"""Vendors whose replies never name what they are about."""
TEXT_LIMIT: Final = 400
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
FIRST_QUOTE: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 2, tzinfo=UTC)
FIGURES: Final = ("bid", "ask", "open", "high", "low", "previous_close")


def shrunk(exchange: Exchange) -> Exchange:
    """The exchange with its long arrays cut, where it is JSON."""
    try:
        return replace(exchange, body=dumped(shortened(json.loads(exchange.body))))
    except ValueError:
        return replace(exchange, body=exchange.body[:6000])


def spoilt_copy(exchange: Exchange, number: int, others: Sequence[Exchange]) -> tuple[Exchange, str]:
    """The spoilt copy of that number, and what was done."""
    rng = Random(f"{exchange.name}#{number}")
    body, said = spoilt(exchange.body, rng, rng.choice(others).body)
    status = rng.choice((200, 200, 200, exchange.status))
    if rng.random() < 0.03:
        status, said = rng.choice((0, 204, 302, 401, 403, 404, 429, 500, 503, 999)), f"{said}; another status"
    return replace(exchange, body=body, status=status), said


def offers_of(exchange: Exchange) -> Iterable[tuple[Offer[Any, Any], Any, Reply]]:
    """The calls that the exchange may be a recording of, each with what was asked."""
    split = urlsplit(exchange.url)
    pairs = parse_qsl(split.query)
    every = {name: tuple(value for other, value in pairs if other == name) for name, _ in pairs}
    recorded = RecordedUrl(split.path, dict(reversed(pairs)), exchange.instrument, exchange.received_at, every)
    for offer in exchange.vendor.read_calls:
        try:
            query = offer.recognise(recorded)
        except SourceError:
            continue
        if query is not None:
            yield offer, query, Reply(exchange.status, {}, exchange.body, exchange.received_at)


def check(exchange: Exchange, rng: Random) -> None:
    """Read an exchange in every way that it can be read; whatever is not a failure must be right."""
    reading = read_recorded(
        exchange.vendor,
        exchange.url,
        exchange.body,
        status=exchange.status,
        received_at=exchange.received_at,
        instrument=exchange.instrument,
    )
    check_failures([reading.failure, *(reading.failures or {}).values()])
    asked = {i.symbol for _, query, _ in offers_of(exchange) for i in asked_by(query)}
    for quote in reading.quotes:
        assert quote.symbol in asked or not asked
        check_quote(quote, exchange)
    if reading.history is not None:
        check_history(reading.history)
    for offer, query, reply in offers_of(exchange):
        asked = query
        if not isinstance(query, QuoteQuery):
            asked = replace(query, adjustment=rng.choice(list(Adjustment)), extended_hours=rng.random() < 0.5)
        check_answer(exchange, offer, asked, reply)


def check_answer(exchange: Exchange, offer: Offer[Any, Any], query: Any, reply: Reply) -> None:
    """Ask one parser; it raises nothing but `SourceError` and answers for what was asked."""
    try:
        refuse_errors(exchange.vendor, reply)
        answer = offer.parse(query, reply)
    except SourceError as error:
        check_failures([error.as_failure(exchange.vendor.id)])
        return
    if isinstance(answer, History):
        if not isinstance(query, QuoteQuery):
            assert (answer.symbol, answer.interval) == (query.instrument.symbol, query.interval)
        check_history(answer)
        return
    assert set(answer) <= {i.symbol for i in query.instruments} or not query.instruments
    for symbol, outcome in answer.items():
        if isinstance(outcome, Answered):
            assert outcome.value
            assert {quote.symbol for quote in outcome.value} == {symbol}
            for quote in outcome.value:
                check_quote(quote, exchange)
        else:
            check_failures([outcome])


def check_failures(failures: Iterable[Failure | None]) -> None:
    """Reasons are words for a person: bounded, without control characters."""
    for failure in failures:
        if failure is not None:
            assert len(failure.detail) <= DETAIL_LIMIT
            assert failure.detail.isprintable()
            assert failure.retry_after_s is None or 0 < failure.retry_after_s < 1e7


def check_quote(quote: Quote, exchange: Exchange) -> None:
    """A price that the reply holds, positive and finite, under a time that a price may have."""
    assert _is_price(quote.price), quote
    assert all(value is None or _is_price(value) for value in (getattr(quote, name) for name in FIGURES)), quote
    assert quote.volume is None or (math.isfinite(quote.volume) and quote.volume >= 0), quote
    assert quote.event_time is None or FIRST_QUOTE <= quote.event_time <= LATEST, quote
    assert 0 <= quote.declared_delay_s <= 86400.0
    assert 0 < quote.event_time_resolution_s <= 31 * 86400.0
    assert quote.source == exchange.vendor.id
    assert quote.received_at == exchange.received_at
    _check_texts((quote.symbol, quote.currency or "", *quote.notes))


def check_history(history: History) -> None:
    """Bars of positive finite prices with sane times."""
    assert history.bars
    for bar in history.bars:
        assert all(map(_is_price, (bar.open, bar.high, bar.low, bar.close))), bar
        assert bar.volume is None or (math.isfinite(bar.volume) and bar.volume >= 0), bar
    for start in (*(bar.start for bar in history.bars), *history.null_rows):
        assert EARLIEST - timedelta(days=31) <= start <= LATEST, start
    assert all(math.isfinite(d.amount) and d.amount > 0 for d in history.dividends), history.dividends
    assert all(math.isfinite(s.ratio) and s.ratio > 0 for s in history.splits), history.splits
    assert history.received_at.utcoffset() == timedelta(0)
    _check_texts((history.symbol, history.currency or "", history.timezone, *history.notes))


def _is_price(value: float) -> bool:
    return type(value) in {float, int} and math.isfinite(value) and value > 0


def _check_texts(texts: Sequence[str]) -> None:
    assert len(texts) < 60
    for text in texts:
        assert len(text) <= TEXT_LIMIT
        assert text.isprintable()


def run(corpus: Sequence[Exchange], copies: int) -> int:
    """Check so many spoilt copies, every exchange as often as every other; says how many."""
    small = [shrunk(exchange) for exchange in corpus]
    others = [e for vendor in BY_ID for e in fixtures(vendor)[:3] if vendor != corpus[0].vendor.id]
    for number in range(copies):
        exchange = small[number % len(small)]
        copy, said = spoilt_copy(exchange, number, others)
        try:
            check(copy, Random(number))
        except BaseException as error:
            error.add_note(f"spoilt copy {number} of {exchange.name}, {exchange.url}: {said}\n{copy.body[:1500]!r}")
            raise
    return copies


def names_of(exchange: Exchange) -> frozenset[str]:
    """How the exchange may call what it is about, in upper case: symbols, and the spellings of them in a request."""
    asked: set[str] = set()
    for _, query, _ in offers_of(exchange):
        for i in asked_by(query):
            asked |= {i.symbol, i.root, i.root + i.suffix, i.symbol.replace("^", "_"), f"{i.symbol}=X", f"{i.suffix}=X"}
            asked |= {f"{i.root}{joint}{i.suffix}" for joint in "-./_"}
        for offer in exchange.vendor.offers:
            asked |= _spellings(offer, query)
    return frozenset(name.upper() for name in asked)


def asked_by(query: Any) -> tuple[Instrument, ...]:
    """What a question is about."""
    return query.instruments if isinstance(query, QuoteQuery) else (query.instrument,)


def _spellings(offer: Offer[Any, Any], query: Any) -> set[str]:
    """What our own request would call it."""
    try:
        requests = offer.build(query)
    except (SourceError, AttributeError, IndexError):
        return set()  # not askable, or the question of another call
    return {piece for r in requests for _, value in r.query for piece in value.replace("|", ",").split(",")}


def prices_of(exchange: Exchange) -> dict[str, tuple[float, ...]]:
    """The prices, or the closes, that an exchange gives under each symbol."""
    reading = read_recorded(
        exchange.vendor,
        exchange.url,
        exchange.body,
        status=exchange.status,
        received_at=exchange.received_at,
        instrument=exchange.instrument,
    )
    told: dict[str, tuple[float, ...]] = {}
    for quote in reading.quotes:
        told[quote.symbol] = (*told.get(quote.symbol, ()), quote.price)
    if reading.history is not None:
        told[reading.history.symbol] = tuple(bar.close for bar in reading.history.bars)
    return told


@pytest.mark.parametrize("vendor", BY_ID)
def test_a_reply_about_a_stranger_is_not_told_under_the_symbol_asked(vendor: str) -> None:
    """Where a reply names what it is about, another name in its place is noticed, however good its prices are."""
    checked = 0
    for exchange in (*recordings(vendor), *fixtures(vendor)):
        told = prices_of(exchange)
        if not told or exchange.body[:1] not in {b"{", b"["}:
            continue
        value = json.loads(exchange.body)
        foreign = renamed(value, names_of(exchange))
        if foreign != value:
            again = prices_of(replace(exchange, body=dumped(foreign)))
            asked = {i.symbol for _, query, _ in offers_of(exchange) for i in asked_by(query)}
            assert not asked & told.keys() & again.keys(), exchange.name
            checked += 1
    assert (checked > 0) is (vendor not in NAMELESS)


@pytest.mark.parametrize("vendor", BY_ID)
def test_an_encoding_changes_no_price(vendor: str) -> None:
    """A mark, another Unicode form or white space around a reply: the same prices, or a refusal."""
    for exchange in (*recordings(vendor), *fixtures(vendor)):
        told = prices_of(exchange)
        text = exchange.body.decode("utf-8", "replace")
        for body in (
            b"\xef\xbb\xbf" + exchange.body,
            text.encode("utf-16"),
            text.encode("utf-32-be"),
            b" \r\n\t" + exchange.body + b"\n \n",
            text.encode("latin-1", "replace"),
        ):
            assert prices_of(replace(exchange, body=body)) in (told, {}), (exchange.name, body[:20])


@pytest.mark.parametrize("vendor", BY_ID)
def test_a_price_stands_in_the_reply(vendor: str) -> None:
    """It is the source's own number, at most in another unit."""
    for exchange in (*recordings(vendor), *fixtures(vendor)):
        if not prices_of(exchange) or exchange.body[:1] not in {b"{", b"["}:
            continue
        numbers = {_number(leaf) for leaf in leaves(json.loads(exchange.body))}
        units = {round(n / unit, 8) for n in numbers if n is not None for unit in (1, 10, 100)}
        reading = read_recorded(
            exchange.vendor,
            exchange.url,
            exchange.body,
            status=exchange.status,
            received_at=exchange.received_at,
            instrument=exchange.instrument,
        )
        assert all(round(quote.price, 8) in units for quote in reading.quotes), exchange.name


def _number(leaf: Any) -> float | None:
    try:
        return float(str(leaf).replace("$", "").replace(",", ""))
    except ValueError:
        return None


@pytest.mark.parametrize("vendor", BY_ID)
def test_no_reply_of_another_vendor_is_read(vendor: str) -> None:
    """A proxy or a wrong base URL mixes vendors up; their formats are told apart."""
    strangers = [e for other in BY_ID if other != vendor for e in (*recordings(other), *fixtures(other)[::5])]
    for exchange in (*recordings(vendor), *fixtures(vendor)[::5]):
        for stranger in strangers:
            if (vendor, stranger.vendor.id) in ALIKE:
                continue
            mixed = replace(exchange, body=stranger.body, status=200)
            assert prices_of(mixed) == {}, (exchange.name, stranger.name)


@pytest.mark.parametrize("vendor", BY_ID)
def test_spoilt_recordings_are_refused_or_read_right(vendor: str) -> None:
    """Two thousand copies of each vendor's recordings."""
    corpus = recordings(vendor)
    if not corpus:
        pytest.skip("THE SHARED RECORDINGS ARE NOT BESIDE THE PROJECT: only copies of our own fixtures are checked")
    assert run(corpus, COPIES) >= 2000


@pytest.mark.parametrize("vendor", BY_ID)
def test_spoilt_fixtures_are_refused_or_read_right(vendor: str) -> None:
    """The same laws without the recordings."""
    assert run(fixtures(vendor), FIXTURE_COPIES if recordings(vendor) else COPIES)
