"""What Alpha Vantage is asked, and which recorded URLs are understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, Key, Plan, Quota, QuoteQuery, RecordedUrl, Request
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from vendors.vendor_exchanges import at

NONE, SPLITS, ALL = Adjustment.NONE, Adjustment.SPLITS, Adjustment.ALL
DAY, WEEK, MONTH, MINUTE = Interval.DAY_1, Interval.WEEK_1, Interval.MONTH_1, Interval.MIN_1
NOW = at("2026-08-20T15:26:30")


def asked(
    interval: Interval = DAY,
    adjustment: Adjustment = NONE,
    symbol: str = "ACME",
    first: str = "2026-08-03",
    last: str = "2026-08-20",
) -> HistoryQuery:
    """A question for bars."""
    return HistoryQuery(
        instrument=parse_symbol(symbol),
        interval=interval,
        first=date.fromisoformat(first),
        last=date.fromisoformat(last),
        adjustment=adjustment,
        extended_hours=False,
        now=NOW,
    )


def sent(query: HistoryQuery) -> dict[str, str]:
    """The parameters of the one request that is sent."""
    assert ALPHA_VANTAGE.history is not None
    assert ALPHA_VANTAGE.history.refuses(query) is None
    (request,) = ALPHA_VANTAGE.history.build(query)
    assert (request.path, request.headers, request.cost) == ("/query", (), 1)
    return dict(request.query)


def refusal(query: HistoryQuery) -> str | None:
    """Why a question is not put."""
    assert ALPHA_VANTAGE.history is not None
    return ALPHA_VANTAGE.history.refuses(query)


def recorded(query: dict[str, str], instrument: Instrument | None = None, path: str = "/query") -> RecordedUrl:
    """A recorded URL."""
    return RecordedUrl(path, query, instrument, NOW)


def series_of(**parameters: str) -> HistoryQuery | None:
    """What a recorded URL asked for, by its parameters."""
    assert ALPHA_VANTAGE.history is not None
    return ALPHA_VANTAGE.history.recognise(recorded({"symbol": "ACME", "apikey": "x"} | parameters))


@pytest.mark.parametrize(
    ("symbol", "parameters"),
    [
        ("ACME", (("function", "GLOBAL_QUOTE"), ("symbol", "ACME"))),
        ("BRK.B", (("function", "GLOBAL_QUOTE"), ("symbol", "BRK.B"))),
        ("VOD.L", (("function", "GLOBAL_QUOTE"), ("symbol", "VOD.LON"))),
        ("SHOP.TO", (("function", "GLOBAL_QUOTE"), ("symbol", "SHOP.TRT"))),
        ("GPV.V", (("function", "GLOBAL_QUOTE"), ("symbol", "GPV.TRV"))),
        ("AIR.PA", (("function", "GLOBAL_QUOTE"), ("symbol", "AIR.PAR"))),
        ("TCS.BO", (("function", "GLOBAL_QUOTE"), ("symbol", "TCS.BSE"))),
        ("SAP.DE", (("function", "GLOBAL_QUOTE"), ("symbol", "SAP.DEX"))),
        ("000002.SZ", (("function", "GLOBAL_QUOTE"), ("symbol", "000002.SHZ"))),
        ("600519.SS", (("function", "GLOBAL_QUOTE"), ("symbol", "600519.SHH"))),
        ("BTC-EUR", (("function", "CURRENCY_EXCHANGE_RATE"), ("from_currency", "BTC"), ("to_currency", "EUR"))),
        ("EURUSD", (("function", "CURRENCY_EXCHANGE_RATE"), ("from_currency", "EUR"), ("to_currency", "USD"))),
    ],
)
def test_a_quote_is_asked_in_their_spelling_and_understood_again(
    symbol: str, parameters: tuple[tuple[str, str], ...]
) -> None:
    """Without the key, which the transport places."""
    query = QuoteQuery((parse_symbol(symbol),), NOW)
    assert ALPHA_VANTAGE.quote.refuses(query) is None
    assert ALPHA_VANTAGE.quote.build(query) == (Request("/query", parameters),)
    assert ALPHA_VANTAGE.quote.recognise(recorded(dict(parameters))) == query


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("^GSPC", "Alpha Vantage carries no index levels, so not ^GSPC"),
        ("7203.T", "Alpha Vantage does not carry the exchange of 7203.T"),
        ("BTC-USDT", "Alpha Vantage prices crypto in national currencies, not BTC-USDT"),
    ],
)
def test_what_it_does_not_carry_is_refused_without_a_call(symbol: str, reason: str) -> None:
    """A call is a twenty-fifth of a day."""
    assert ALPHA_VANTAGE.quote.refuses(QuoteQuery((parse_symbol(symbol),), NOW)) == reason
    assert refusal(asked(symbol=symbol)) == reason


@pytest.mark.parametrize(
    ("interval", "adjustment", "function", "size"),
    [
        (DAY, NONE, "TIME_SERIES_DAILY", "compact"),
        (DAY, SPLITS, "TIME_SERIES_DAILY_ADJUSTED", "compact"),
        (DAY, ALL, "TIME_SERIES_DAILY_ADJUSTED", "compact"),
        (WEEK, NONE, "TIME_SERIES_WEEKLY", None),
        (WEEK, ALL, "TIME_SERIES_WEEKLY_ADJUSTED", None),
        (MONTH, NONE, "TIME_SERIES_MONTHLY", None),
        (MONTH, ALL, "TIME_SERIES_MONTHLY_ADJUSTED", None),
    ],
)
def test_the_basis_decides_the_function(
    interval: Interval, adjustment: Adjustment, function: str, size: str | None
) -> None:
    """Weeks and months come whole."""
    expected = {"function": function, "symbol": "ACME"} | ({} if size is None else {"outputsize": size})
    assert sent(asked(interval, adjustment)) == expected
    understood = series_of(function=function)
    # A recorded daily adjusted series may be read on two bases; the default of every question is taken.
    basis = SPLITS if function == "TIME_SERIES_DAILY_ADJUSTED" else adjustment
    assert understood == asked(interval, basis, first="1970-01-01")


@pytest.mark.parametrize(
    ("symbol", "first", "size"),
    [
        ("ACME", "2026-03-30", "compact"),
        ("ACME", "2026-03-27", "full"),
        ("ACME", "2016-01-01", "full"),
        ("EURUSD", "2026-05-13", "compact"),
        ("EURUSD", "2026-05-12", "full"),
        ("GPV.V", "2026-05-13", "compact"),
        ("GPV.V", "2026-05-12", "full"),
    ],
)
def test_the_free_size_is_asked_where_it_reaches_back_far_enough(symbol: str, first: str, size: str) -> None:
    """A hundred sessions by the calendar; a hundred days where there is none."""
    assert sent(asked(symbol=symbol, first=first))["outputsize"] == size


@pytest.mark.parametrize("adjustment", Adjustment)
def test_a_pair_is_asked_by_its_currencies_on_any_basis(adjustment: Adjustment) -> None:
    """It has nothing to adjust."""
    crypto = {"function": "DIGITAL_CURRENCY_DAILY", "symbol": "BTC", "market": "EUR"}
    forex = {"function": "FX_DAILY", "from_symbol": "EUR", "to_symbol": "USD"}
    assert sent(asked(DAY, adjustment, "BTC-EUR")) == crypto
    assert sent(asked(DAY, adjustment, "EURUSD")) == forex | {"outputsize": "compact"}
    assert series_of(**crypto) == asked(symbol="BTC-EUR", first="1970-01-01")
    assert series_of(**forex) == asked(symbol="EURUSD", first="1970-01-01")


@pytest.mark.parametrize(
    ("interval", "code"),
    [
        (Interval.MIN_1, "1min"),
        (Interval.MIN_5, "5min"),
        (Interval.MIN_15, "15min"),
        (Interval.MIN_30, "30min"),
        (Interval.HOUR_1, "60min"),
    ],
)
def test_intraday_bars_are_asked_raw_or_adjusted_for_everything(interval: Interval, code: str) -> None:
    """Their default is adjusted, so both are said."""
    expected = {
        "function": "TIME_SERIES_INTRADAY",
        "symbol": "ACME",
        "interval": code,
        "adjusted": "false",
        "extended_hours": "false",
        "outputsize": "full",
    }
    assert sent(asked(interval, NONE)) == expected
    assert sent(asked(interval, ALL)) == expected | {"adjusted": "true"}
    assert sent(replace(asked(interval, NONE), extended_hours=True)) == expected | {"extended_hours": "true"}
    assert series_of(**expected) == asked(interval, NONE, first="1970-01-01")
    plain = series_of(function="TIME_SERIES_INTRADAY", interval=code)
    assert plain == replace(asked(interval, ALL, first="1970-01-01"), extended_hours=True)


def test_an_older_month_is_named() -> None:
    """The last thirty days need no month; several older months would need several calls."""
    recent = asked(MINUTE, first="2026-07-22")
    assert "month" not in sent(recent)
    older = asked(MINUTE, first="2026-02-03", last="2026-02-27")
    assert sent(older)["month"] == "2026-02"
    assert series_of(**sent(older)) == asked(MINUTE, first="2026-02-01", last="2026-02-28")
    reason = "Alpha Vantage sends the intraday bars of one month, or of the last 30 days"
    assert refusal(asked(MINUTE, first="2026-07-21")) == reason


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (asked(WEEK, SPLITS), "Alpha Vantage has no 1wk bars on the basis 'splits'"),
        (asked(MONTH, SPLITS), "Alpha Vantage has no 1mo bars on the basis 'splits'"),
        (asked(MINUTE, SPLITS), "Alpha Vantage has no 1m bars on the basis 'splits'"),
        (asked(WEEK, NONE, "EURUSD"), "Alpha Vantage's bars of EURUSD are daily"),
        (asked(MINUTE, NONE, "BTC-USD"), "Alpha Vantage's bars of BTC-USD are daily"),
        (asked(MINUTE, NONE, "SAP.DE"), "Alpha Vantage's intraday bars are of US listings, not of SAP.DE"),
        (
            asked(DAY, NONE, "VOD.L"),
            "Alpha Vantage does not say whether a London series is in pence, pounds or dollars",
        ),
    ],
)
def test_a_basis_or_unit_that_cannot_be_reached_is_refused(query: HistoryQuery, reason: str) -> None:
    """Rather than passed off as another."""
    assert refusal(query) == reason


@pytest.mark.parametrize(
    "function", ["SYMBOL_SEARCH", "TIME_SERIES_INTRADAY_EXTENDED", "OVERVIEW", "REALTIME_BULK_QUOTES"]
)
def test_other_functions_are_nobodys(function: str) -> None:
    """They are not asked, so they are not read."""
    url = recorded({"function": function, "symbol": "ACME"})
    assert [offer.recognise(url) for offer in ALPHA_VANTAGE.offers] == [None, None]
    elsewhere = recorded({"function": "GLOBAL_QUOTE", "symbol": "ACME"}, path="/documentation/")
    assert [offer.recognise(elsewhere) for offer in ALPHA_VANTAGE.offers] == [None, None]


def test_a_recorded_url_names_its_instrument_or_needs_it_named() -> None:
    """A URL shortened to its path is about what it or its reply names."""
    recognise, named = ALPHA_VANTAGE.quote.recognise, parse_symbol("MSFT")
    assert recognise(recorded({"function": "GLOBAL_QUOTE"}, named)) == QuoteQuery((named,), NOW)
    shortened = ALPHA_VANTAGE.readable[0].recognise
    assert shortened(recorded({"symbol": "ACME"}, named)) == QuoteQuery((parse_symbol("ACME"),), NOW)
    assert shortened(recorded({}, named, "/alpha_vantage/query")) == QuoteQuery((named,), NOW)
    assert shortened(recorded({})) == QuoteQuery((), NOW)
    assert recognise(recorded({})) is shortened(recorded({"function": "GLOBAL_QUOTE"}, named)) is None
    for parameters in ({"function": "GLOBAL_QUOTE"}, {"function": "CURRENCY_EXCHANGE_RATE", "from_currency": "BTC"}):
        with pytest.raises(SourceError) as raised:
            recognise(recorded(parameters))
        assert raised.value.kind is FailureKind.BAD_REQUEST


@pytest.mark.parametrize(
    "parameters",
    [
        {"function": "TIME_SERIES_INTRADAY"},
        {"function": "TIME_SERIES_INTRADAY", "interval": "45min"},
        {"function": "TIME_SERIES_INTRADAY", "interval": "5min", "month": "August"},
        {"function": "FX_DAILY", "from_symbol": "AAPL", "to_symbol": "MSFT"},
    ],
)
def test_a_recorded_url_with_odd_parameters_is_a_bad_request(parameters: dict[str, str]) -> None:
    """It is said rather than guessed."""
    with pytest.raises(SourceError) as raised:
        series_of(**parameters)
    assert raised.value.kind is FailureKind.BAD_REQUEST


def test_the_free_plan_is_scarce_and_every_plan_is_late() -> None:
    """A quote is yesterday's until the day is over, whatever the plan."""
    assert ALPHA_VANTAGE.default_plan == Plan(
        quotas=(Quota(25, 86400.0, "day"), Quota(1, 1.0, "second")),
        declared_delay_s=86400.0,
        cost_per_call=0.9,
        excluded=frozenset({Endpoint.QUOTES}),
    )
    paid = {name: (plan.quotas[0].limit, plan.quotas[1].limit) for name, plan in list(ALPHA_VANTAGE.plans.items())[1:]}
    assert paid == {
        "premium_75": (75, 5),
        "premium_150": (150, 5),
        "premium_300": (300, 5),
        "premium_600": (600, 10),
        "premium_1200": (1200, 20),
    }
    assert ALPHA_VANTAGE.plans["premium_75"] == Plan(
        quotas=(Quota(75, 60.0, "minute"), Quota(5, 1.0, "second")), declared_delay_s=86400.0, cost_per_call=0.01
    )


def test_the_declaration_names_host_key_and_source() -> None:
    """The key has no other place than the query."""
    assert dict(ALPHA_VANTAGE.hosts) == {"api": "https://www.alphavantage.co"}
    assert ALPHA_VANTAGE.key == Key(
        ("ALPHAVANTAGE_API_KEY", "ALPHA_VANTAGE_API_KEY"),
        "query",
        "apikey",
        signup_url="https://www.alphavantage.co/support/#api-key",
    )
    assert (ALPHA_VANTAGE.id, ALPHA_VANTAGE.quotes, ALPHA_VANTAGE.weight) == ("alpha_vantage", None, 0.7)
    assert ALPHA_VANTAGE.group_of(parse_symbol("AAPL")) == "alpha_vantage"
