"""Every recorded exchange of Alpha Vantage, read as the engine would read it.

Expected values are read off the payloads by hand; `test_recordings_coverage` fails for a recording that is in no
table. Most URLs were recorded without parameters; where it matters, the function is put back.
"""

from __future__ import annotations

import json

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Adjustment, Bar, Interval, Quote, Session
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from vendors.vendor_exchanges import at, recordings_of

DURING = "2026-10-07T17:00:00"
LISTING = "the reply names no currency; it is that of the listing"
DAILY = "daily_adjusted_sample_2023.json"
EXTENDED = "intraday_extended_head.csv"

QUOTES: dict[str, Quote] = {
    "global_quote_ibm_demo_2026.json": Quote(
        symbol="IBM",
        source="alpha_vantage",
        price=221.29,
        session=Session.CLOSED,
        received_at=at(DURING),
        event_time=at("2026-10-06T20:00:00"),
        event_time_resolution_s=86400.0,
        currency="USD",
        volume=3938659.0,
        notes=(LISTING,),
    ),
    "global_quote_delayed_key.json": Quote(
        symbol="PYPL",
        source="alpha_vantage",
        price=88.2,
        session=Session.REGULAR,
        received_at=at(DURING),
        currency="USD",
        declared_delay_s=900.0,
        notes=(LISTING, "the reply has no trading day; the session is the one at receipt"),
    ),
}

FAILURES: dict[str, tuple[FailureKind, float | None]] = {
    "error_burst_paid.json": (FailureKind.THROTTLED, 5.0),
    "error_old_note_5_per_minute.json": (FailureKind.THROTTLED, 60.0),
    "error_premium_endpoint.json": (FailureKind.NOT_ENTITLED, 86400.0),
    "error_demo_key.json": (FailureKind.UNAUTHORIZED, None),
    "error_invalid_call.json": (FailureKind.UNKNOWN_SYMBOL, None),
    "unknown_symbol_global_quote.json": (FailureKind.UNKNOWN_SYMBOL, None),
    "symbol_search_ba.json": (FailureKind.UNSUPPORTED, None),
}


def read(name: str, received_at: str = DURING, parameters: str | None = None) -> RecordedReading:
    """What a recording says, under its own URL or with the parameters it was asked with."""
    folder = recordings_of("alpha_vantage")
    (entry,) = (e for e in json.loads((folder / "index.json").read_bytes()) if e["file"] == name)
    url = entry["url"] if parameters is None else entry["url"].replace("...", parameters)
    body = (folder / name).read_bytes()
    return read_recorded(ALPHA_VANTAGE, url, body, status=entry["status"], received_at=at(received_at))


@pytest.mark.parametrize("name", QUOTES)
@pytest.mark.parametrize("function", [None, "GLOBAL_QUOTE"])
def test_a_recorded_quote_says_what_its_payload_says(name: str, function: str | None) -> None:
    """Price, day and every figure; the session of a price without a day is the one at receipt."""
    expected = QUOTES[name]
    parameters = None if function is None else f"function={function}&symbol={expected.symbol}"
    assert read(name, parameters=parameters).quotes == (expected,)


def test_the_recorded_series_says_what_its_payload_says() -> None:
    """Two days of a Canadian listing, nothing to adjust."""
    parameters = "function=TIME_SERIES_DAILY_ADJUSTED&symbol=GPV.TRV&outputsize=full"
    history = read(DAILY, "2023-06-21T12:00:00", parameters).history
    assert history is not None
    assert history.bars == (
        Bar(at("2023-06-19"), 3.75, 3.75, 3.62, 3.62, 300.0),
        Bar(at("2023-06-20"), 3.6, 3.73, 3.49, 3.62, 7195.0),
    )
    assert (history.symbol, history.currency, history.adjustment) == ("GPV.V", "CAD", Adjustment.SPLITS)
    assert (history.partial_last_bar, history.splits, history.dividends) == (False, (), ())


def test_a_recorded_series_without_its_function_is_read_as_what_it_names() -> None:
    """Symbol, bars and basis are those of the reply."""
    parameters = "function=TIME_SERIES_DAILY_ADJUSTED&symbol=GPV.TRV&outputsize=full"
    assert read(DAILY).history == read(DAILY, DURING, parameters).history


def test_the_recorded_table_of_minutes_says_what_its_payload_says() -> None:
    """Its times are the ends of the bars: the last one ends with the post-market."""
    history = read(EXTENDED).history
    assert history is not None
    assert (history.symbol, history.interval, history.adjustment) == ("MSFT", Interval.MIN_1, Adjustment.ALL)
    assert (len(history.bars), history.extended_hours, history.partial_last_bar) == (199, True, False)
    assert history.bars[0] == Bar(at("2020-12-18T19:42:00"), 216.63, 216.76, 216.625, 216.69, 33894.0)
    assert history.bars[-1] == Bar(at("2020-12-19T00:59:00"), 218.79, 218.79, 218.75, 218.75, 1102.0)


@pytest.mark.parametrize("name", FAILURES)
def test_a_recorded_refusal_has_its_public_code(name: str) -> None:
    """All have status 200; endpoints that are not asked are unsupported."""
    failure = read(name).failure
    assert failure is not None
    assert (failure.source, failure.kind, failure.retry_after_s) == ("alpha_vantage", *FAILURES[name])
