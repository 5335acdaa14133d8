"""What Twelve Data is asked, what its errors mean, and which recorded URLs are understood."""

from __future__ import annotations

from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import Key, Plan, Quota, QuoteQuery, RecordedUrl, Request
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from vendors.vendor_exchanges import at, fixture, read_quotes, reply

NOW = at("2026-08-20T15:27:10")


def ask(*symbols: str) -> QuoteQuery:
    """A question for prices."""
    return QuoteQuery(tuple(map(parse_symbol, symbols)), NOW)


def recorded(path: str, query: dict[str, str], instrument: Instrument | None = None) -> RecordedUrl:
    """A recorded URL."""
    return RecordedUrl(path, query, instrument, NOW)


@pytest.mark.parametrize(
    ("symbol", "parameters"),
    [
        ("ACME", (("symbol", "ACME"),)),
        ("BRK.B", (("symbol", "BRK.B"),)),
        ("EURUSD", (("symbol", "EUR/USD"),)),
        ("BTC-USD", (("symbol", "BTC/USD"),)),
        ("VOD.L", (("symbol", "VOD"), ("mic_code", "XLON"))),
        ("7203.T", (("symbol", "7203"), ("mic_code", "XJPX"))),
        ("ACME.NS", (("symbol", "ACME"), ("mic_code", "XNSE"))),
    ],
)
def test_a_quote_is_asked_by_symbol_and_market(symbol: str, parameters: tuple[tuple[str, str], ...]) -> None:
    """And understood again from the URL."""
    assert TWELVE_DATA.quote.build(ask(symbol)) == (Request("/quote", parameters),)
    assert TWELVE_DATA.quote.recognise(recorded("/quote", dict(parameters))) == ask(symbol)
    assert TWELVE_DATA.quote.refuses(ask(symbol)) is None


def test_a_list_costs_a_credit_for_every_symbol() -> None:
    """Which it says, so that no batch is larger than what the key's quotas pay for."""
    assert TWELVE_DATA.quotes is not None
    built = TWELVE_DATA.quotes.build(ask("ACME", "EURUSD", "BRK.B"))
    assert built == (Request("/quote", (("symbol", "ACME,EUR/USD,BRK.B"),), cost=3),)
    assert TWELVE_DATA.quotes.recognise(recorded("/quote", dict(built[0].query))) == ask("ACME", "EURUSD", "BRK.B")
    assert TWELVE_DATA.quote.recognise(recorded("/quote", dict(built[0].query))) is None
    assert (TWELVE_DATA.quotes.max_batch, min(quota.limit for quota in TWELVE_DATA.default_plan.quotas)) == (120, 8)


@pytest.mark.parametrize("symbol", ["^GSPC", "VOLV-B.ST"])
def test_what_is_not_carried_is_refused_without_a_call(symbol: str) -> None:
    """Indices, and share classes abroad whose spelling is not known."""
    reason = f"Twelve Data has shares, currencies and crypto under symbols we can spell, not {symbol}"
    assert TWELVE_DATA.quote.refuses(ask(symbol)) == reason
    with pytest.raises(SourceError) as raised:
        TWELVE_DATA.quote.build(ask(symbol))
    assert raised.value.kind is FailureKind.UNSUPPORTED


def test_a_foreign_listing_is_no_part_of_a_list() -> None:
    """Its market is a parameter of the whole call."""
    assert TWELVE_DATA.quotes is not None
    assert TWELVE_DATA.quotes.refuses(ask("ACME", "VOD.L")) == "a list of symbols cannot name the exchange of VOD.L"
    assert TWELVE_DATA.quotes.refuses(ask("ACME", "EURUSD")) is None
    assert TWELVE_DATA.quotes.refuses(ask("^GSPC")) is not None


@pytest.mark.parametrize(
    ("query", "symbol"),
    [
        ({"symbol": "AAPL:NASDAQ"}, "AAPL"),
        ({"symbol": "VOD:XLON"}, "VOD.L"),
        ({"symbol": "BTC/USD:Huobi"}, "BTC-USD"),
        ({"symbol": "AAPL", "mic_code": "XNGS"}, "AAPL"),
        ({"symbol": ""}, "MSFT"),
    ],
)
def test_a_recorded_quote_names_its_instrument_or_needs_it_named(query: dict[str, str], symbol: str) -> None:
    """The URL's word comes first."""
    assert TWELVE_DATA.quote.recognise(recorded("/v/quote", query, parse_symbol("MSFT"))) == ask(symbol)


def test_a_recorded_url_of_nobody_is_none_and_one_without_a_symbol_is_bad() -> None:
    """Tables of text are never asked for."""
    asked = {"symbol": "AAPL"}
    for url in (recorded("/price", asked), recorded("/quote", asked | {"format": "CSV"})):
        assert [offer.recognise(url) for offer in TWELVE_DATA.offers] == [None, None, None]
    with pytest.raises(SourceError) as raised:
        TWELVE_DATA.quote.recognise(recorded("/quote", {}))
    assert raised.value.kind is FailureKind.BAD_REQUEST


def envelope(code: int, message: str, **more: Any) -> dict[str, Any]:
    """An error as the vendor writes it."""
    return {"code": code, "message": message} | more


NEEDS_PLAN = "This symbol is available starting with the Grow plan."


@pytest.mark.parametrize("in_body_only", [True, False])
@pytest.mark.parametrize(
    ("error", "kind", "retry_after_s"),
    [
        (envelope(400, "**symbol** not found: ACME.", status="error"), FailureKind.UNKNOWN_SYMBOL, None),
        (
            envelope(404, "**symbol** or **figi** is missing", status="error"),
            FailureKind.UNKNOWN_SYMBOL,
            None,
        ),
        (envelope(404, "nothing of that name"), FailureKind.UNKNOWN_SYMBOL, None),
        (envelope(400, "Invalid **interval** provided", status="error"), FailureKind.BAD_REQUEST, None),
        (envelope(400, "No data is available on those dates.", status="error"), FailureKind.NO_DATA, None),
        (envelope(401, "**apikey** parameter is incorrect", status="error"), FailureKind.UNAUTHORIZED, None),
        (envelope(403, "/quote is for the Pro plan", status="error"), FailureKind.NOT_ENTITLED, None),
        (envelope(404, NEEDS_PLAN, status="error"), FailureKind.NOT_ENTITLED, 86400.0),
        (envelope(403, NEEDS_PLAN, status="error"), FailureKind.NOT_ENTITLED, 86400.0),
        (envelope(403, "**prepost** needs the Pro plan", status="error"), FailureKind.NOT_ENTITLED, 86400.0),
        (envelope(414, "too many symbols", status="error"), FailureKind.BAD_REQUEST, None),
        (envelope(429, "credits for the current minute", status="error"), FailureKind.THROTTLED, 60.0),
        (fixture("twelve_data", "out_of_credits.json"), FailureKind.QUOTA_EXHAUSTED, 3600.0),
        (envelope(500, "internal error", status="error"), FailureKind.SOURCE_ERROR, None),
    ],
)
def test_an_error_means_the_same_in_the_status_and_in_the_body(
    error: dict[str, Any], kind: FailureKind, retry_after_s: float | None, *, in_body_only: bool
) -> None:
    """The vendor has answered both ways."""
    with pytest.raises(SourceError) as raised:
        read_quotes(TWELVE_DATA, "ACME", error, "2026-08-20T15:27:10", 200 if in_body_only else error["code"])
    assert (raised.value.kind, raised.value.retry_after_s) == (kind, retry_after_s)
    assert error["message"][:20] in raised.value.detail


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"status": "error"}, 200, FailureKind.SOURCE_ERROR),
        (b"404 page not found", 404, FailureKind.SOURCE_ERROR),
        (b"error code: 520", 520, FailureKind.SOURCE_ERROR),
        (b"error code: 520", 200, FailureKind.SOURCE_ERROR),
        (b"symbol,close\nACME,1", 200, FailureKind.MALFORMED_REPLY),
        ([], 200, FailureKind.MALFORMED_REPLY),
        ({}, 200, FailureKind.MALFORMED_REPLY),
    ],
)
def test_other_text_is_told_for_what_it_is(body: Any, status: int, kind: FailureKind) -> None:
    """An outage is no unknown symbol."""
    with pytest.raises(SourceError) as raised:
        read_quotes(TWELVE_DATA, "ACME", body, "2026-08-20T15:27:10", status)
    assert raised.value.kind is kind


def test_an_error_of_one_item_is_not_the_whole_replys() -> None:
    """A list in which one symbol was throttled is a good reply; the table is read by status first."""
    refuse_errors(TWELVE_DATA, reply(fixture("twelve_data", "quotes.json"), "2026-08-20T15:27:10"))
    assert all(rule.status is not None for rule in TWELVE_DATA.errors)


def test_the_declaration_keeps_the_key_out_of_the_url() -> None:
    """Plans by the vendor's own names, the smallest first."""
    assert TWELVE_DATA.key == Key(
        ("TWELVE_DATA_API_KEY", "TWELVEDATA_API_KEY"),
        "header",
        "Authorization",
        prefix="apikey ",
        signup_url="https://twelvedata.com/register",
    )
    assert TWELVE_DATA.default_plan == Plan(
        quotas=(Quota(8, 60.0, "minute"), Quota(800, 86400.0, "day", resets="day")), cost_per_call=0.13
    )
    minutes = {name: plan.quotas[0].limit for name, plan in TWELVE_DATA.plans.items()}
    assert minutes == {"basic": 8, "grow": 377, "pro": 1597, "ultra": 10946}
    assert dict(TWELVE_DATA.hosts) == {"api": "https://api.twelvedata.com"}
    assert TWELVE_DATA.group_of(parse_symbol("AAPL")) == TWELVE_DATA.id == "twelve_data"
