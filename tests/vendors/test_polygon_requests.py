"""What Polygon is asked under each plan, what its errors mean, and which recorded URLs are understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import (
    Endpoint,
    HistoryQuery,
    Key,
    Plan,
    Quota,
    QuoteQuery,
    RecordedUrl,
    Request,
    Vendor,
)
from mdagent_mcp.vendors.polygon import POLYGON
from mdagent_mcp.vendors.polygon_days import DayQuery
from mdagent_mcp.vendors.polygon_history import AskedQuery
from mdagent_mcp.vendors.polygon_replies import instrument_of, ticker_of
from vendors.vendor_exchanges import at, fixture, reply

NOW = at("2026-08-20T15:27:10")
BASIC = POLYGON.offering(POLYGON.plans["basic"].offers)
STOCKS = "/v2/snapshot/locale/us/markets/stocks"


def ask(*symbols: str) -> QuoteQuery:
    """A question for prices."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), NOW)


def bars(
    symbol: str = "ACME",
    interval: Interval = Interval.DAY_1,
    first: str = "2026-08-17",
    last: str = "2026-08-20",
    adjustment: Adjustment = Adjustment.SPLITS,
) -> HistoryQuery:
    """A question for bars."""
    days = (date.fromisoformat(first), date.fromisoformat(last))
    return HistoryQuery(parse_symbol(symbol), interval, *days, adjustment, extended_hours=False, now=NOW)


def recorded(path: str, query: dict[str, str] | None = None, symbol: str | None = None) -> RecordedUrl:
    """A recorded URL."""
    return RecordedUrl(path, query or {}, None if symbol is None else parse_symbol(symbol), NOW)


def recognised(vendor: Vendor, url: RecordedUrl) -> Any:
    """What the first call that knows a URL makes of it."""
    return next((query for offer in vendor.read_calls if (query := offer.recognise(url)) is not None), None)


@pytest.mark.parametrize(
    ("symbol", "ticker"),
    [
        ("ACME", "ACME"),
        ("BRK.B", "BRK.B"),
        ("KIM-PL", "KIMpL"),
        ("BTC-USD", "X:BTCUSD"),
        ("EURUSD", "C:EURUSD"),
        ("^GSPC", "I:SPX"),
        ("^IXIC", "I:COMP"),
    ],
)
def test_a_symbol_has_one_ticker_and_comes_back_from_it(symbol: str, ticker: str) -> None:
    """Prefixes say what a ticker is; a small p sets off a preferred share."""
    assert ticker_of(parse_symbol(symbol)) == ticker
    assert instrument_of(ticker) == parse_symbol(symbol)


@pytest.mark.parametrize(
    "ticker", ["O:SPY250321C00380000", "X:btcusd", "C:EURXXX", "APx", "TSLAAPL", "Q:AAPL", "", "BACpA", "index"]
)
def test_what_has_no_symbol_here_is_nobody(ticker: str) -> None:
    """Options, tickers in lower case, and preferred shares that would read as a listing in Paris."""
    assert instrument_of(ticker) is None


@pytest.mark.parametrize("symbol", ["VOD.L", "^FTSE", "BTC-USDT"])
def test_what_is_not_carried_is_refused_without_a_call(symbol: str) -> None:
    """Under every plan, and for bars too."""
    reason = f"Polygon has US listings, US indices, currencies and crypto, not {symbol}"
    assert POLYGON.quote.refuses(ask(symbol)) == reason
    assert POLYGON.quotes is not None
    assert POLYGON.quotes.refuses(ask("ACME", symbol)) == reason
    assert POLYGON.history is not None
    assert POLYGON.history.refuses(bars(symbol)) == reason
    assert BASIC.quote.refuses(ask(symbol)) is not None
    with pytest.raises(SourceError) as raised:
        POLYGON.quote.build(ask(symbol))
    assert raised.value.kind is FailureKind.UNSUPPORTED


def test_a_paid_plan_asks_snapshots() -> None:
    """Of a share in the older shape; of anything else, and of several, in the unified one, whose limit is told."""
    assert POLYGON.quote.build(ask("BRK.B")) == (Request(f"{STOCKS}/tickers/BRK.B"),)
    assert POLYGON.quote.build(ask("BTC-USD")) == (
        Request("/v3/snapshot", (("ticker.any_of", "X:BTCUSD"), ("limit", "250"))),
    )
    assert POLYGON.quotes is not None
    assert POLYGON.quotes.build(ask("ACME", "EURUSD", "^GSPC")) == (
        Request("/v3/snapshot", (("ticker.any_of", "ACME,C:EURUSD,I:SPX"), ("limit", "250"))),
    )
    assert POLYGON.quotes.max_batch == 250


def test_the_basic_plan_asks_closes_of_days() -> None:
    """It has no snapshots: one symbol by its previous day, several by one day of the whole market."""
    assert BASIC.quote.build(ask("^GSPC")) == (Request("/v2/aggs/ticker/I:SPX/prev", (("adjusted", "true"),)),)
    assert BASIC.quotes is not None
    grouped = "/v2/aggs/grouped/locale/us/market/stocks"
    assert BASIC.quotes.build(ask("ACME", "BOLT.B")) == (Request(f"{grouped}/2026-08-19", (("adjusted", "true"),)),)
    after_close = replace(ask("ACME", "BOLT.B"), now=at("2026-08-20T23:00:00"))
    assert BASIC.quotes.build(after_close)[0].path == f"{grouped}/2026-08-19"
    next_day = replace(ask("ACME"), now=at("2026-08-21T05:00:00"))
    assert BASIC.quotes.build(next_day)[0].path == f"{grouped}/2026-08-20"
    sunday = replace(ask("ACME"), now=at("2026-08-23T15:00:00"))
    assert BASIC.quotes.build(sunday)[0].path == f"{grouped}/2026-08-21"
    assert BASIC.quotes.max_batch == 250


def test_the_basic_plan_refuses_what_a_close_cannot_tell() -> None:
    """Yesterday's close is no price of a market that never closes, and a day of shares holds no index."""
    reason = "the Basic plan has prices of yesterday at best, and BTC-USD trades around the clock"
    assert BASIC.quote.refuses(ask("BTC-USD")) == reason
    assert BASIC.quote.refuses(ask("ACME")) is None
    assert BASIC.quotes is not None
    assert BASIC.quotes.refuses(ask("ACME", "^GSPC")) == "a day of the whole market holds US listings, not ^GSPC"
    assert BASIC.quotes.refuses(ask("ACME", "BOLT.B")) is None


def path_of(query: HistoryQuery, vendor: Vendor = POLYGON) -> str:
    """The path of the first page of a series."""
    assert vendor.history is not None
    (request,) = vendor.history.build(query)
    return request.path


@pytest.mark.parametrize(
    ("interval", "path"),
    [
        (Interval.MIN_1, "1/minute/1786939200000/1787284799999"),
        (Interval.MIN_5, "5/minute/1786939200000/1787284799999"),
        (Interval.MIN_15, "15/minute/1786939200000/1787284799999"),
        (Interval.MIN_30, "30/minute/1786939200000/1787284799999"),
        (Interval.HOUR_1, "1/hour/1786939200000/1787284799999"),
        (Interval.DAY_1, "1/day/2026-08-17/2026-08-20"),
        (Interval.WEEK_1, "1/week/2026-08-16/2026-08-22"),
        (Interval.MONTH_1, "1/month/2026-08-01/2026-08-31"),
    ],
)
def test_every_interval_is_asked_by_whole_bars(interval: Interval, path: str) -> None:
    """Short bars between midnights in New York; weeks from Sunday to Saturday, months from first to last."""
    query = bars(interval=interval)
    assert path_of(query) == f"/v2/aggs/ticker/ACME/range/{path}"
    assert POLYGON.history is not None
    asked = POLYGON.history.recognise(recorded(path_of(query)))
    assert asked is not None
    assert (asked.interval, asked.instrument, asked.adjustment) == (interval, query.instrument, Adjustment.SPLITS)
    assert asked.first <= query.first <= query.last <= asked.last


def test_a_series_is_asked_oldest_first_with_the_largest_page_and_its_basis() -> None:
    """`limit` counts the minutes or days that bars are made of."""
    assert POLYGON.history is not None
    (request,) = POLYGON.history.build(bars(adjustment=Adjustment.NONE))
    assert request.query == (("adjusted", "false"), ("sort", "asc"), ("limit", "50000"))
    assert POLYGON.history.build(bars())[0].query[0] == ("adjusted", "true")


def test_days_of_currencies_and_crypto_are_asked_where_they_begin() -> None:
    """A forex day begins at 17:00 New York the evening before, a crypto day at 00:00 UTC."""
    assert path_of(bars("EURUSD", Interval.HOUR_1, "2026-08-20")).endswith("/1787173200000/1787259599999")
    assert path_of(bars("BTC-USD", Interval.HOUR_1, "2026-08-20")).endswith("/1787184000000/1787270399999")


def refusal(query: HistoryQuery, vendor: Vendor = POLYGON) -> str | None:
    """Why bars are not asked."""
    assert vendor.history is not None
    return vendor.history.refuses(query)


def test_a_basis_that_cannot_be_reached_is_refused() -> None:
    """Dividends are never in; what has none is the same on every basis."""
    assert refusal(bars(adjustment=Adjustment.ALL)) == "Polygon adjusts its bars for splits and never for dividends"
    for symbol in ("EURUSD", "^GSPC", "BTC-USD"):
        assert refusal(bars(symbol, adjustment=Adjustment.ALL)) is None
    weeks = "Polygon's weeks begin on Sunday, those of crypto elsewhere on Monday"
    assert refusal(bars("BTC-USD", Interval.WEEK_1)) == weeks


def test_a_range_of_more_pages_than_are_followed_is_refused() -> None:
    """It would end before its end without a word; a free key has five calls a minute."""
    assert refusal(bars(interval=Interval.HOUR_1, first="2022-08-20")) == (
        "this range takes 21 calls of 50000 minutes, more than the 20 made"
    )
    assert refusal(bars(interval=Interval.HOUR_1, first="2022-12-20")) is None
    assert refusal(bars(first="1970-01-01")) is None
    year = bars(interval=Interval.HOUR_1, first="2025-08-20", last="2026-08-19")
    assert refusal(year, BASIC) == "this range takes 6 calls of 50000 minutes, more than the 4 made"
    assert refusal(replace(year, first=date(2026, 1, 20)), BASIC) is None


def test_the_basic_plan_gets_two_years_and_no_day_before_it_is_over() -> None:
    """What it would refuse is not asked, and a range that reaches today ends yesterday."""
    assert refusal(bars(first="2024-08-20"), BASIC) is None
    assert refusal(bars(first="2024-08-19"), BASIC) == "the Basic plan reaches back 2 years"
    today = bars(first="2026-08-20")
    assert refusal(today, BASIC) == "the Basic plan has no bars of a day before that day is over"
    assert refusal(today) is None
    assert path_of(bars(), BASIC).endswith("/2026-08-17/2026-08-19")
    assert path_of(bars("BTC-USD"), BASIC).endswith("/2026-08-17/2026-08-19")
    assert path_of(bars(interval=Interval.WEEK_1), BASIC).endswith("/2026-08-16/2026-08-19")
    assert path_of(bars(interval=Interval.MONTH_1, last="2026-08-18"), BASIC).endswith("/2026-08-01/2026-08-19")
    assert path_of(bars(interval=Interval.MONTH_1, first="2026-07-02", last="2026-07-03"), BASIC).endswith(
        "/2026-07-01/2026-07-31"
    )
    assert refusal(bars(interval=Interval.MONTH_1, first="2024-08-20"), BASIC) == "the Basic plan reaches back 2 years"
    assert refusal(bars(interval=Interval.MONTH_1, first="2024-09-20"), BASIC) is None
    leap = replace(bars(first="2026-02-28"), now=at("2028-02-29T15:00:00"))
    assert refusal(leap, BASIC) is None


MESSAGES = {
    "endpoint": "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing",
    "range": "Your plan doesn't include this data timeframe. Please upgrade your plan",
    "today": "Attempted to request today's data before end of day. Please upgrade your plan",
}


@pytest.mark.parametrize(
    ("status", "body", "kind", "wait_s"),
    [
        (401, {"status": "ERROR", "error": "Unknown API Key"}, FailureKind.UNAUTHORIZED, None),
        (401, {"status": "ERROR", "error": "API Key was not provided"}, FailureKind.UNAUTHORIZED, None),
        (403, {"status": "ERROR", "error": "Unknown API Key"}, FailureKind.UNAUTHORIZED, None),
        (403, {"status": "NOT_AUTHORIZED", "message": MESSAGES["endpoint"]}, FailureKind.NOT_ENTITLED, None),
        (403, {"status": "NOT_AUTHORIZED", "message": MESSAGES["range"]}, FailureKind.NOT_ENTITLED, 86400.0),
        (403, {"status": "NOT_AUTHORIZED", "message": MESSAGES["today"]}, FailureKind.NOT_ENTITLED, 3600.0),
        (404, {"status": "NOT_FOUND", "message": "Ticker not found."}, FailureKind.UNKNOWN_SYMBOL, None),
        (404, {"status": "NOT_FOUND", "message": "Data not found."}, FailureKind.NO_DATA, None),
        (404, b"404 page not found", FailureKind.SOURCE_ERROR, None),
        (
            429,
            {"status": "ERROR", "error": "You've exceeded the maximum requests per minute"},
            FailureKind.THROTTLED,
            60.0,
        ),
        (429, b"", FailureKind.THROTTLED, 60.0),
        (504, b"", FailureKind.TIMEOUT, None),
    ],
)
def test_an_error_has_its_public_code_and_wait(status: int, body: Any, kind: FailureKind, wait_s: float | None) -> None:
    """A refused range or day waits, so that it does not close the endpoint; a refused endpoint does not."""
    with pytest.raises(SourceError) as raised:
        refuse_errors(POLYGON, reply(body, "2026-08-20T15:27:10", status))
    assert (raised.value.kind, raised.value.retry_after_s) == (kind, wait_s)


def test_the_word_of_an_error_in_a_good_reply_is_no_error() -> None:
    """Every rule stands for a status of its own."""
    content = fixture("polygon", "snapshot.json") | {"note": "data not found before end of day: unknown api key"}
    refuse_errors(POLYGON, reply(content, "2026-08-20T15:27:10"))


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        (f"{STOCKS}/tickers/ACME", {}, ask("ACME")),
        (f"{STOCKS}/tickers", {"tickers": "ACME,BOLT.B"}, ask("ACME", "BOLT.B")),
        (f"{STOCKS}/gainers", {}, ask()),
        ("/v2/snapshot/locale/global/markets/crypto/tickers/X%3ABTCUSD", {}, ask("BTC-USD")),
        ("/v3/snapshot", {"ticker.any_of": "ACME,C:EURUSD"}, ask("ACME", "EURUSD")),
        ("/v3/snapshot", {"ticker.any_of": "ACME,NoNe"}, ask()),
        ("/v3/snapshot/indices", {"ticker.any_of": "SPX"}, ask("^GSPC")),
        ("/v2/last/trade/ACME", {}, ask("ACME")),
        ("/v1/last/stocks/ACME", {}, ask("ACME")),
        ("/v1/last/crypto/BTC/USD", {}, ask("BTC-USD")),
        ("/v2/last/nbbo/BRK.B", {}, ask("BRK.B")),
        ("/v1/last_quote/currencies/AUD/USD", {}, ask("AUDUSD")),
        ("/v2/aggs/ticker/I:SPX/prev", {}, ask("^GSPC")),
        ("/polygon/v2/aggs/ticker/{ticker}/prev", {}, ask()),
        (
            "/v2/aggs/grouped/locale/us/market/stocks/2026-08-19",
            {},
            DayQuery((), NOW, date(2026, 8, 19)),
        ),
        ("/v1/open-close/ACME/2026-08-19", {}, DayQuery(ask("ACME").instruments, NOW, date(2026, 8, 19))),
        ("/v1/open-close/crypto/BTC/USD/2026-08-19", {}, DayQuery(ask("BTC-USD").instruments, NOW, date(2026, 8, 19))),
        ("/v1/open-close/ACME/2026-02-31", {}, DayQuery(ask("ACME").instruments, NOW, None)),
        ("/v1/conversion/AUD/USD", {}, None),
        ("/v1/marketstatus/now", {}, None),
        ("/v3/reference/tickers", {}, None),
    ],
)
def test_a_recorded_url_names_its_call(path: str, query: dict[str, str], expected: QuoteQuery | None) -> None:
    """Of every generation; a call that nobody reads is nobody's."""
    assert recognised(POLYGON, recorded(path, query)) == expected


def test_a_person_names_what_a_recorded_url_does_not() -> None:
    """The URL's own word comes first."""
    assert recognised(POLYGON, recorded(f"{STOCKS}/tickers/{{t}}", {}, "MSFT")) == ask("MSFT")
    assert recognised(POLYGON, recorded(f"{STOCKS}/tickers/ACME", {}, "MSFT")) == ask("ACME")


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("ACME/range/1/day/2026-08-17/2026-08-20", {"unadjusted": "true"}, ("2026-08-17", "2026-08-20", "none", True)),
        ("ACME/range/1/day/2026-08-17/2026-08-20", {"adjusted": "True"}, ("2026-08-17", "2026-08-20", "splits", True)),
        (
            "ACME/range/1/minute/1787184000000/1787198400000",
            {"adjusted": "false"},
            ("2026-08-19", "2026-08-20", "none", True),
        ),
        (
            "X:BTCUSD/range/1/day/1787184000000/{to}",
            {"adjusted": "false"},
            ("2026-08-20", "2026-08-20", "splits", False),
        ),
    ],
)
def test_a_recorded_series_names_its_range_and_basis(
    path: str, query: dict[str, str], expected: tuple[Any, ...]
) -> None:
    """By date or millisecond; without a range no row is outside of it."""
    asked = recognised(POLYGON, recorded(f"/v2/aggs/ticker/{path}", query))
    assert isinstance(asked, AskedQuery)
    assert (str(asked.first), str(asked.last), asked.adjustment.value, asked.bounded) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("{ticker}/range/1/day/2026-08-17/2026-08-20", FailureKind.BAD_REQUEST),
        ("ACME/range/{multiplier}/{timespan}/2026-08-17/2026-08-20", FailureKind.BAD_REQUEST),
        ("ACME/range/7/minute/2026-08-17/2026-08-20", FailureKind.UNSUPPORTED),
    ],
)
def test_a_recorded_series_without_symbol_or_length_is_said(path: str, kind: FailureKind) -> None:
    """Rather than guessed."""
    with pytest.raises(SourceError) as raised:
        recognised(POLYGON, recorded(f"/v2/aggs/ticker/{path}"))
    assert raised.value.kind is kind


def test_the_declaration_names_hosts_key_and_plans() -> None:
    """The new host stands first, the key goes into a header, and free is the basic plan."""
    assert dict(POLYGON.hosts) == {"api": "https://api.massive.com", "second": "https://api.polygon.io"}
    assert POLYGON.key == Key(
        ("POLYGON_API_KEY", "MASSIVE_API_KEY"),
        "header",
        "Authorization",
        prefix="Bearer ",
        signup_url="https://massive.com/dashboard/signup",
    )
    assert list(POLYGON.plans) == ["basic", "starter", "developer", "advanced"]
    assert POLYGON.default_plan is POLYGON.plans["basic"]
    assert set(POLYGON.default_plan.offers) == {Endpoint.QUOTE, Endpoint.QUOTES, Endpoint.HISTORY}
    assert replace(POLYGON.default_plan, offers={}) == Plan(
        quotas=(Quota(5, 60.0, "minute"),), declared_delay_s=86400.0, cost_per_call=0.2
    )
    polite = (Quota(100, 1.0, "second"),)
    delays = {"starter": 900.0, "developer": 900.0, "advanced": 0.0}
    for name, delay_s in delays.items():
        assert POLYGON.plans[name] == Plan(quotas=polite, declared_delay_s=delay_s, cost_per_call=0.001)


def test_fifty_symbols_are_one_call_on_every_plan() -> None:
    """Fewer calls than symbols, whatever is paid."""
    for vendor in (POLYGON, BASIC):
        assert vendor.quotes is not None
        assert vendor.quotes.max_batch >= 50
        assert len(vendor.quotes.build(ask(*(f"A{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(50))))) == 1
