"""One instrument under every vendor's own spelling, and without a call where a vendor does not carry it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, QuoteQuery, RecordedUrl
from vendors.recorded_corpus import BY_ID
from vendors.vendor_exchanges import at, read_quotes

NOW: Final = at("2026-08-20T15:26:30")
COLUMNS: Final = (
    "yahoo",
    "nasdaq",
    "cboe",
    "alpha_vantage",
    "twelve_data",
    "finnhub",
    "iex_cloud",
    "tiingo",
    "polygon",
)
REFUSED: Final = None

SPELLINGS: Final[Mapping[str, tuple[str | None, ...]]] = {
    # Shares of the United States, and their classes.
    "AAPL": ("AAPL", "AAPL", "AAPL", "AAPL", "AAPL", "AAPL", "AAPL", "AAPL", "AAPL"),
    "BRK.B": ("BRK-B", "BRK%25sl%25B", "BRK.B", "BRK.B", "BRK.B", "BRK.B", "BRK.B", "BRK-B", "BRK.B"),
    # Shares of other exchanges.
    "VOD.L": ("VOD.L", None, None, "VOD.LON", "VOD XLON", None, None, None, None),
    "RY.TO": ("RY.TO", None, None, "RY.TRT", "RY XTSE", None, None, None, None),
    "SAP.DE": ("SAP.DE", None, None, "SAP.DEX", "SAP XETR", None, None, None, None),
    "MC.PA": ("MC.PA", None, None, "MC.PAR", "MC XPAR", None, None, None, None),
    "600519.SS": ("600519.SS", None, None, "600519.SHH", "600519 XSHG", None, None, None, None),
    "000001.SZ": ("000001.SZ", None, None, "000001.SHZ", "000001 XSHE", None, None, None, None),
    "7203.T": ("7203.T", None, None, None, "7203 XJPX", None, None, None, None),
    "NPN.JO": ("NPN.JO", None, None, None, "NPN XJSE", None, None, None, None),
    "TEVA.TA": ("TEVA.TA", None, None, None, "TEVA XTAE", None, None, None, None),
    "VOLV-B.ST": ("VOLV-B.ST", None, None, None, None, None, None, None, None),
    # Indices.
    "^GSPC": ("%5EGSPC", None, "_SPX", None, None, None, None, None, "I:SPX"),
    "^VIX": ("%5EVIX", None, "_VIX", None, None, None, None, None, "I:VIX"),
    "^NDX": ("%5ENDX", "NDX", "_NDX", None, None, None, None, None, "I:NDX"),
    "^IXIC": ("%5EIXIC", "COMP", None, None, None, None, None, None, "I:COMP"),
    "^TNX": ("%5ETNX", None, "_TNX", None, None, None, None, None, None),
    "^FTSE": ("%5EFTSE", None, None, None, None, None, None, None, None),
    # Pairs.
    "BTC-USD": ("BTC-USD", "BTC", None, "BTC USD", "BTC/USD", None, None, None, "X:BTCUSD"),
    "BTC-USDT": ("BTC-USDT", None, None, None, "BTC/USDT", None, None, None, None),
    "ETH-BTC": ("ETH-BTC", None, None, None, "ETH/BTC", None, None, None, None),
    "EURUSD": ("EURUSD=X", None, None, "EUR USD", "EUR/USD", None, None, None, "C:EURUSD"),
    "USDJPY": ("USDJPY=X", None, None, "USD JPY", "USD/JPY", None, None, None, "C:USDJPY"),
}
"""How each vendor of `COLUMNS` is asked for the current price; None where it is refused without a call."""

SHAPES: Final[Mapping[str, str]] = {
    "yahoo": "/v8/finance/chart/{}",
    "nasdaq": "/api/quote/{}/info",
    "cboe": "/api/global/delayed_quotes/quotes/{}.json",
    "alpha_vantage": "symbol from_currency to_currency",
    "twelve_data": "symbol mic_code",
    "finnhub": "symbol",
    "iex_cloud": "/stable/stock/{}/quote",
    "tiingo": "tickers",
    "polygon": "ticker.any_of",
}
"""Where a spelling stands: in the path, or as the values of parameters; without these it ends the path."""

CASES: Final = [
    (symbol, vendor, told) for symbol, row in SPELLINGS.items() for vendor, told in zip(COLUMNS, row, strict=True)
]


def asked(symbol: str) -> QuoteQuery:
    """A question about one instrument."""
    return QuoteQuery((parse_symbol(symbol),), NOW)


@pytest.mark.parametrize(("symbol", "vendor", "spelling"), [case for case in CASES if case[2] is not REFUSED])
def test_an_instrument_is_asked_under_the_vendors_own_spelling(symbol: str, vendor: str, spelling: str) -> None:
    """And a recording of that call is understood as the same instrument again."""
    offer = BY_ID[vendor].quote
    assert offer.refuses(asked(symbol)) is None
    request = offer.build(asked(symbol))[0]
    shape = SHAPES[vendor]
    if shape.startswith("/"):
        assert request.path == shape.format(spelling)
    else:
        named = " ".join(value for name, value in request.query if name in shape.split())
        assert (named or request.path.rpartition("/")[2]) == spelling
    recorded = RecordedUrl(request.path, dict(request.query), None, NOW)
    recognised = next(query for o in BY_ID[vendor].offers if (query := o.recognise(recorded)) is not None)
    assert recognised.instruments == (parse_symbol(symbol),)


@pytest.mark.parametrize(("symbol", "vendor"), [case[:2] for case in CASES if case[2] is REFUSED])
def test_what_a_vendor_does_not_carry_is_refused_without_a_call(symbol: str, vendor: str) -> None:
    """The reason names the instrument; alone, in a list and as a series."""
    instrument, declared = parse_symbol(symbol), BY_ID[vendor]
    offers = [declared.quote] if declared.quotes is None else [declared.quote, declared.quotes]
    for offer in offers:
        reason = offer.refuses(QuoteQuery((instrument,), NOW))
        assert reason is not None
        assert symbol in reason or "class" in reason
    if declared.history is not None and (symbol, vendor) not in SERIES_ONLY:
        day = NOW.date()
        series = HistoryQuery(instrument, Interval.DAY_1, day, day, Adjustment.SPLITS, extended_hours=False, now=NOW)
        assert declared.history.refuses(series) is not None


SERIES_ONLY: Final = frozenset({("BTC-USD", "tiingo"), ("BTC-USDT", "tiingo"), ("ETH-BTC", "tiingo")})
"""What has bars at a vendor that has no current price of it."""


def test_every_vendor_has_its_column() -> None:
    """A new vendor has to say how it spells things."""
    assert set(COLUMNS) == set(BY_ID)


@pytest.mark.parametrize(
    ("symbol", "label", "currency", "exchange", "zone"),
    [
        ("ACME.L", "GBp", "GBP", "LSE", "Europe/London"),
        ("ACME.L", "GBX", "GBP", "LSE", "Europe/London"),
        ("ACME.JO", "ZAc", "ZAR", "JSE", "Africa/Johannesburg"),
        ("ACME.TA", "ILA", "ILS", "TASE", "Asia/Jerusalem"),
    ],
)
def test_hundredths_become_the_major_unit_and_the_answer_says_so(
    symbol: str, label: str, currency: str, exchange: str, zone: str
) -> None:
    """Pence, cents and agorot, wherever a vendor quotes in them."""
    yahoo = {
        "symbol": symbol,
        "currency": label,
        "regularMarketPrice": 12345.0,
        "regularMarketPreviousClose": 12300.0,
        "exchangeTimezoneName": zone,
    }
    quotes = [
        *read_quotes(
            BY_ID["yahoo"],
            symbol,
            {
                "chart": {
                    "result": [
                        {
                            "meta": yahoo,
                            "timestamp": [],
                            "indicators": {"quote": [{}]},
                        }
                    ],
                    "error": None,
                }
            },
            "2026-08-20T10:00:00",
        ),
        *read_quotes(
            BY_ID["twelve_data"],
            symbol,
            {
                "symbol": "ACME",
                "exchange": exchange,
                "currency": label,
                "close": "12345.0",
                "previous_close": "12300.0",
                "datetime": "2026-08-19",
            },
            "2026-08-20T10:00:00",
        ),
    ]
    assert {(q.price, q.currency) for q in quotes} == {(123.45, currency)}
    assert {q.notes[0] for q in quotes} == {f"prices are quoted in {label} and were divided by 100"}
