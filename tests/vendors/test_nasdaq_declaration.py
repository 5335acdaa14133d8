"""What Nasdaq is asked, and which recorded URLs are understood."""

from __future__ import annotations

from datetime import date

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, Plan, Quota, QuoteQuery, RecordedUrl, Request
from mdagent_mcp.vendors.nasdaq import NASDAQ
from vendors.vendor_exchanges import at

NOW = at("2026-08-20T15:26:30")


def ask(*symbols: str) -> QuoteQuery:
    """A question for prices."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), NOW)


def recorded(path: str, query: dict[str, str], instrument: Instrument | None = None) -> RecordedUrl:
    """A recorded URL."""
    return RecordedUrl(path, query, instrument, NOW)


@pytest.mark.parametrize(
    ("symbol", "requests"),
    [
        ("ACME", [("/api/quote/ACME/info", "stocks"), ("/api/quote/ACME/info", "etf")]),
        ("BRK.B", [("/api/quote/BRK%25sl%25B/info", "stocks"), ("/api/quote/BRK%25sl%25B/info", "etf")]),
        ("^IXIC", [("/api/quote/COMP/info", "index")]),
        ("^NDX", [("/api/quote/NDX/info", "index")]),
        ("BTC-USD", [("/api/quote/BTC/info", "crypto")]),
    ],
)
def test_a_listing_is_asked_as_share_and_then_as_fund(symbol: str, requests: list[tuple[str, str]]) -> None:
    """A symbol under the wrong asset class is unknown, so the second request settles it."""
    built = tuple(Request(path, (("assetclass", asset_class),)) for path, asset_class in requests)
    assert NASDAQ.quote.build(ask(symbol)) == built
    assert NASDAQ.quote.refuses(ask(symbol)) is None


@pytest.mark.parametrize("symbol", ["^GSPC", "VOD.L", "EURUSD", "BTC-EUR"])
def test_what_is_not_carried_is_refused_without_a_call(symbol: str) -> None:
    """Other indices, foreign listings, currencies and coins against other money."""
    reason = f"Nasdaq shows US listings, COMP, NDX and crypto in US dollars, not {symbol}"
    assert NASDAQ.quotes is not None
    assert NASDAQ.quote.refuses(ask(symbol)) == reason
    assert NASDAQ.quotes.refuses(ask("ACME", symbol)) == reason
    with pytest.raises(SourceError) as raised:
        NASDAQ.quote.build(ask(symbol))
    assert raised.value.kind is FailureKind.UNSUPPORTED


@pytest.mark.parametrize(
    ("path", "asset_class", "symbol"),
    [
        ("/api/quote/AAPL/info", "stocks", "AAPL"),
        ("/nasdaq/api/quote/spy/info", "etf", "SPY"),
        ("/api/quote/BRK%25sl%25B/info", "stocks", "BRK.B"),
        ("/api/quote/COMP/info", "index", "^IXIC"),
        ("/api/quote/OMXS30/info", "index", "^OMXS30"),
        ("/api/quote/BTC/info", "crypto", "BTC-USD"),
    ],
)
def test_a_recorded_page_names_its_instrument(path: str, asset_class: str, symbol: str) -> None:
    """Under any host and any prefix of the path."""
    understood = NASDAQ.quote.recognise(recorded(path, {"assetclass": asset_class}))
    assert understood == ask(symbol)


def test_a_recorded_watchlist_names_one_of_its_symbols() -> None:
    """Its rows name the others."""
    assert NASDAQ.quotes is not None
    url = recorded("/api/quote/watchlist", {"symbol": "aacg|stocks"})
    assert NASDAQ.quotes.recognise(url) == ask("AACG")
    assert NASDAQ.quote.recognise(url) is None


def test_a_recorded_history_keeps_its_range() -> None:
    """Without dates in the URL every row counts."""
    assert NASDAQ.history is not None
    asked = {"assetclass": "stocks", "fromdate": "2026-08-03", "todate": "2026-08-14"}
    expected = HistoryQuery(
        instrument=parse_symbol("CAPR"),
        interval=Interval.DAY_1,
        first=date(2026, 8, 3),
        last=date(2026, 8, 14),
        adjustment=Adjustment.SPLITS,
        extended_hours=False,
        now=NOW,
    )
    assert NASDAQ.history.recognise(recorded("/api/quote/CAPR/historical", asked)) == expected
    open_range = NASDAQ.history.recognise(recorded("/api/quote/CAPR/historical", {}))
    assert open_range is not None
    assert (open_range.first, open_range.last) == (date(1970, 1, 1), NOW.date())


@pytest.mark.parametrize("path", ["/api/quote/AAPL/summary", "/api/market-info", "/api/quote/AAPL/chart"])
def test_other_pages_are_nobodys(path: str) -> None:
    """They are not asked, so they are not read."""
    assert [offer.recognise(recorded(path, {})) for offer in NASDAQ.offers] == [None, None, None]


def test_a_recorded_url_without_a_symbol_needs_it_named() -> None:
    """The person's word is taken where the URL has none."""
    url = "/api/quote/%20/info"
    named = parse_symbol("AAPL")
    assert NASDAQ.quote.recognise(recorded(url, {}, named)) == QuoteQuery((named,), NOW)
    with pytest.raises(SourceError) as raised:
        NASDAQ.quote.recognise(recorded(url, {}))
    assert raised.value.kind is FailureKind.BAD_REQUEST


def test_a_recorded_range_that_is_no_date_is_a_bad_request() -> None:
    """The parameter is named."""
    assert NASDAQ.history is not None
    with pytest.raises(SourceError) as raised:
        NASDAQ.history.recognise(recorded("/api/quote/CAPR/historical", {"fromdate": "August"}))
    assert (raised.value.kind, raised.value.detail) == (FailureKind.BAD_REQUEST, "fromdate of the URL is no date")


def test_the_declaration_is_polite_and_shares_its_upstream() -> None:
    """Five calls in five seconds; a browser's name; the feed that other sources pass on as well."""
    assert dict(NASDAQ.plans) == {"free": Plan(quotas=(Quota(5, 5.0, "5 seconds"),))}
    assert dict(NASDAQ.hosts) == {"api": "https://api.nasdaq.com"}
    assert {name for name, _ in NASDAQ.headers} == {"User-Agent", "Accept", "Accept-Language", "Origin", "Referer"}
    assert NASDAQ.group_of(parse_symbol("AAPL")) == "nasdaq_last_sale"
    assert NASDAQ.group_of(parse_symbol("BTC-USD")) == "nasdaq"
    assert (NASDAQ.id, NASDAQ.timeout_s, NASDAQ.weight, NASDAQ.key) == ("nasdaq", 4.0, 0.85, None)
