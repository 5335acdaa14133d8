"""What is asked of Yahoo, what is refused without asking, and which call a recorded URL was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, Instrument, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, QuoteQuery, RecordedUrl, Request
from mdagent_mcp.vendors.yahoo import YAHOO
from vendors.yahoo_exchange import utc

NOW = utc("2026-03-18T15:04:11")
DAILY = HistoryQuery(
    parse_symbol("BRK.B"),
    Interval.DAY_1,
    date(2026, 3, 12),
    date(2026, 3, 18),
    Adjustment.SPLITS,
    extended_hours=False,
    now=NOW,
)


def epoch(text: str) -> str:
    """An instant as Yahoo wants it."""
    return str(int(utc(text).timestamp()))


def built(query: HistoryQuery) -> Request:
    """The only request for a series."""
    assert YAHOO.history is not None
    assert YAHOO.history.refuses(query) is None
    (request,) = YAHOO.history.build(query)
    return request


def refused(query: HistoryQuery) -> str | None:
    """Why a series is not asked for."""
    assert YAHOO.history is not None
    return YAHOO.history.refuses(query)


@pytest.mark.parametrize(
    ("symbol", "segment"),
    [
        ("AAPL", "AAPL"),
        ("BRK.B", "BRK-B"),
        ("EURUSD", "EURUSD=X"),
        ("USDJPY", "USDJPY=X"),
        ("BTC-USD", "BTC-USD"),
        ("^GSPC", "%5EGSPC"),
        ("VOD.L", "VOD.L"),
        ("NOVO-B.CO", "NOVO-B.CO"),
    ],
)
def test_a_quote_is_one_day_of_minutes_under_yahoos_spelling(symbol: str, segment: str) -> None:
    """The chart needs neither cookie nor crumb; extended hours come along."""
    query = QuoteQuery((parse_symbol(symbol),), NOW)
    assert YAHOO.quote.refuses(query) is None
    assert YAHOO.quote.build(query) == (
        Request(
            f"/v8/finance/chart/{segment}",
            (("interval", "1m"), ("range", "1d"), ("includePrePost", "true")),
        ),
    )
    recorded = RecordedUrl(f"/v8/finance/chart/{segment}", {"interval": "1m", "range": "1d"}, None, NOW)
    assert YAHOO.quote.recognise(recorded) == query


def test_a_batch_is_one_request_of_at_most_fifty_symbols() -> None:
    """The crumb is put in by the transport, not here."""
    assert YAHOO.quotes is not None
    query = QuoteQuery(tuple(map(parse_symbol, ("BRK.B", "^GSPC", "EURUSD"))), NOW)
    assert YAHOO.quotes.refuses(query) is None
    assert YAHOO.quotes.build(query) == (Request("/v7/finance/quote", (("symbols", "BRK-B,^GSPC,EURUSD=X"),)),)
    assert YAHOO.quotes.max_batch == 50


def test_daily_bars_are_asked_between_instants_that_hold_the_days_of_every_zone() -> None:
    """Never by `range`, which may answer with longer bars."""
    assert built(DAILY) == Request(
        "/v8/finance/chart/BRK-B",
        (
            ("period1", epoch("2026-03-11T10:00:00")),
            ("period2", epoch("2026-03-19T12:00:00")),
            ("interval", "1d"),
            ("events", "div,splits,capitalGains"),
            ("includePrePost", "false"),
        ),
    )


def span(query: HistoryQuery) -> tuple[str, str, str]:
    """From when, until when and in what bars a request asks."""
    parameters = dict(built(query).query)
    start, end = (datetime.fromtimestamp(int(parameters[name]), UTC) for name in ("period1", "period2"))
    return f"{start:%Y-%m-%dT%H:%M:%S}", f"{end:%Y-%m-%dT%H:%M:%S}", parameters["interval"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"interval": Interval.WEEK_1}, ("2026-03-08T10:00:00", "2026-03-23T12:00:00", "1wk")),
        ({"interval": Interval.MONTH_1}, ("2026-02-28T10:00:00", "2026-04-01T12:00:00", "1mo")),
        ({"last": date(2026, 3, 13)}, ("2026-03-11T10:00:00", "2026-03-14T12:00:00", "1d")),
        (
            {"last": date(2026, 3, 13), "adjustment": Adjustment.NONE},
            ("2026-03-11T10:00:00", "2026-03-18T15:04:11", "1d"),
        ),
        ({"interval": Interval.HOUR_1}, ("2026-03-12T04:00:00", "2026-03-18T15:04:11", "1h")),
        (
            {"interval": Interval.MIN_5, "last": date(2026, 3, 13)},
            ("2026-03-12T04:00:00", "2026-03-14T04:00:00", "5m"),
        ),
        (
            {"interval": Interval.MIN_5, "last": date(2026, 3, 13), "adjustment": Adjustment.NONE},
            ("2026-03-12T04:00:00", "2026-03-18T15:04:11", "5m"),
        ),
        (
            {"interval": Interval.MIN_15, "instrument": parse_symbol("EURUSD"), "last": date(2026, 3, 16)},
            ("2026-03-11T21:00:00", "2026-03-16T21:00:00", "15m"),
        ),
        (
            {"interval": Interval.MIN_15, "instrument": parse_symbol("TEVA.TA"), "last": date(2026, 3, 16)},
            ("2026-03-11T12:00:00", "2026-03-16T12:00:00", "15m"),
        ),
        ({"first": date(1, 1, 1), "last": date.max}, ("1899-12-31T10:00:00", "2099-12-31T12:00:00", "1d")),
    ],
)
def test_the_asked_span_holds_whole_periods_and_for_prices_as_traded_reaches_up_to_now(
    change: dict[str, object], expected: tuple[str, str, str]
) -> None:
    """Weeks from Monday, months from the first, forex days from 17:00 New York; short bars never beyond now."""
    assert span(replace(DAILY, **change)) == expected  # type: ignore[arg-type]


def test_extended_hours_are_asked_for_short_bars_only() -> None:
    """A daily bar has none."""
    asked = [
        dict(built(replace(DAILY, interval=i, extended_hours=True)).query) for i in (Interval.HOUR_1, Interval.DAY_1)
    ]
    assert [parameters["includePrePost"] for parameters in asked] == ["true", "false"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"interval": Interval.MIN_1, "first": date(2026, 2, 16), "last": date(2026, 2, 17)},
            "Yahoo keeps 1m bars for 30 days; 2026-02-16 is 30 days ago",
        ),
        ({"interval": Interval.MIN_1, "first": date(2026, 2, 17), "last": date(2026, 2, 18)}, None),
        (
            {"interval": Interval.MIN_1, "first": date(2026, 3, 9), "last": date(2026, 3, 16)},
            "Yahoo serves less than 8 days of 1m bars at once",
        ),
        ({"interval": Interval.MIN_1, "first": date(2026, 3, 9), "last": date(2026, 3, 15)}, None),
        ({"interval": Interval.MIN_1, "first": date(2026, 3, 11)}, None),
        (
            {
                "interval": Interval.MIN_1,
                "first": date(2026, 3, 10),
                "last": date(2026, 3, 10),
                "adjustment": Adjustment.NONE,
            },
            "Yahoo serves less than 8 days of 1m bars at once and prices as traded need every split up to now",
        ),
        (
            {"interval": Interval.MIN_30, "first": date(2026, 1, 17)},
            "Yahoo keeps 30m bars for 60 days; 2026-01-17 is 60 days ago",
        ),
        ({"interval": Interval.MIN_30, "first": date(2026, 1, 18)}, None),
        (
            {"interval": Interval.HOUR_1, "first": date(2024, 3, 18)},
            "Yahoo keeps 1h bars for 730 days; 2024-03-18 is 730 days ago",
        ),
        (
            {"interval": Interval.HOUR_1, "adjustment": Adjustment.ALL},
            "Yahoo adjusts for dividends only in daily and longer bars",
        ),
        (
            {"interval": Interval.HOUR_1, "adjustment": Adjustment.ALL, "instrument": parse_symbol("BTC-USD")},
            None,
        ),
        ({"interval": Interval.DAY_1, "first": date(1990, 1, 1), "adjustment": Adjustment.ALL}, None),
    ],
)
def test_what_yahoo_does_not_keep_is_refused_with_the_reason(change: dict[str, object], reason: str | None) -> None:
    """No request is spent on it."""
    assert refused(replace(DAILY, **change)) == reason  # type: ignore[arg-type]


def recorded(path: str, instrument: Instrument | None = None, **query: str) -> RecordedUrl:
    """A URL with these parameters."""
    return RecordedUrl(path, query, instrument, NOW)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            recorded("/v8/finance/chart/%5EGSPC", period1="1577836800", period2="1578009600", interval="1d"),
            (parse_symbol("^GSPC"), Interval.DAY_1, date(2020, 1, 1), date(2020, 1, 3), False),
        ),
        (
            recorded("/yahoo/v8/finance/chart/BRK-B", period1="1577836800", period2="1578009600", interval="60m"),
            (parse_symbol("BRK.B"), Interval.HOUR_1, date(2020, 1, 1), date(2020, 1, 2), False),
        ),
        (
            recorded("/v8/finance/chart/JPY=X", range="5d", interval="1m", includePrePost="true"),
            (parse_symbol("USDJPY"), Interval.MIN_1, date(1900, 1, 1), date(2099, 12, 30), True),
        ),
        (
            recorded("/v8/finance/chart/", parse_symbol("VOD.L"), range="1y"),
            (parse_symbol("VOD.L"), Interval.DAY_1, date(1900, 1, 1), date(2099, 12, 30), False),
        ),
    ],
)
def test_a_chart_url_with_a_period_or_a_longer_range_was_a_series(
    url: RecordedUrl, expected: tuple[object, ...]
) -> None:
    """Its dates come from the URL; what a range means is left to what was sent."""
    assert YAHOO.history is not None
    assert YAHOO.quote.recognise(url) is None
    query = YAHOO.history.recognise(url)
    assert query is not None
    assert (query.instrument, query.interval, query.first, query.last, query.extended_hours) == expected
    assert (query.adjustment, query.now) == (Adjustment.SPLITS, NOW)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (recorded("/v8/finance/chart/", range="1y"), FailureKind.BAD_REQUEST),
        (recorded("/v8/finance/chart/AAPL", interval="3mo", range="max"), FailureKind.UNSUPPORTED),
        (recorded("/v8/finance/chart/AAPL", interval="1d", period1="soon"), FailureKind.BAD_REQUEST),
        (recorded("/v8/finance/chart/AAPL", interval="1d", period1="999999999999"), FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_chart_url_that_does_not_say_enough_is_refused_by_what_is_wrong(url: RecordedUrl, kind: FailureKind) -> None:
    """The person is told to name the symbol, or that such bars are not read."""
    assert YAHOO.history is not None
    with pytest.raises(SourceError) as raised:
        YAHOO.history.recognise(url)
    assert raised.value.kind is kind


def test_a_batch_url_names_its_symbols_and_contracts_without_a_canonical_symbol_keep_their_name() -> None:
    """An option or a future is nothing we know the market of."""
    assert YAHOO.quotes is not None
    query = YAHOO.quotes.recognise(recorded("/v7/finance/quote", symbols="BRK-B,AAPL220121C00025000,GC=F,BRK-B"))
    assert query is not None
    option, future = (
        Instrument(name, AssetClass.FOREIGN_EQUITY, "unlisted", None, name) for name in ("AAPL220121C00025000", "GC=F")
    )
    assert query.instruments == (parse_symbol("BRK.B"), option, future)


def test_a_batch_url_is_read_for_the_symbol_a_person_names() -> None:
    """And cannot be read when neither the person nor the URL names one."""
    assert YAHOO.quotes is not None
    query = YAHOO.quotes.recognise(recorded("/v7/finance/quote", parse_symbol("BABA"), symbols="AAPL,BABA"))
    assert query == QuoteQuery((parse_symbol("BABA"),), NOW)
    with pytest.raises(SourceError, match="name the symbol") as raised:
        YAHOO.quotes.recognise(recorded("/v7/finance/quote", symbols=","))
    assert raised.value.kind is FailureKind.BAD_REQUEST


@pytest.mark.parametrize(
    "path", ["/v7/finance/spark", "/v1/finance/search", "/v7/finance/quotes", "/v8/finance/charts"]
)
def test_other_paths_are_nobodys(path: str) -> None:
    """Searches and sparks are not asked for."""
    assert [offer.recognise(recorded(path, symbols="AAPL", q="AAPL")) for offer in YAHOO.offers] == [None] * 3


def test_yahoo_is_declared_keyless_polite_and_no_voice_of_its_own_for_us_prices() -> None:
    """Its US prices are Nasdaq's last sale, its coins CoinMarketCap's; a refusal rests it for a quarter of an hour."""
    assert (YAHOO.id, YAHOO.key, YAHOO.retirement, YAHOO.rest_after_throttle_s) == ("yahoo", None, None, 900.0)
    assert list(YAHOO.plans) == ["free"]
    quotas = YAHOO.default_plan.quotas
    assert [(quota.limit, quota.window_s) for quota in quotas] == [(5, 10.0), (40, 2400.0)]
    assert (YAHOO.shortest_rest_s, YAHOO.concurrency, YAHOO.impersonates_browser) == (900.0, 2, True)
    assert dict(YAHOO.headers)["User-Agent"].startswith("Mozilla/5.0")
    groups = {symbol: YAHOO.group_of(parse_symbol(symbol)) for symbol in ("AAPL", "BTC-USD", "VOD.L", "EURUSD", "^VIX")}
    assert groups == {
        "AAPL": "nasdaq_last_sale",
        "BTC-USD": "coinmarketcap",
        "VOD.L": "yahoo",
        "EURUSD": "yahoo",
        "^VIX": "yahoo",
    }


def test_only_the_batch_needs_cookie_and_crumb() -> None:
    """The cookie's host answers first, then the crumb is fetched from the main host."""
    token = YAHOO.token
    assert token is not None
    assert token.endpoints == {Endpoint.QUOTES}
    assert (token.warm_up, token.fetch) == (Request("/", host="cookie"), Request("/v1/test/getcrumb"))
    assert token.parameter == "crumb"
    assert YAHOO.hosts == {
        "api": "https://query1.finance.yahoo.com",
        "second": "https://query2.finance.yahoo.com",
        "cookie": "https://fc.yahoo.com",
    }
