"""Every recorded exchange of Twelve Data, read as the engine would read it.

Expected values are read off the payloads by hand; `test_recordings_coverage` fails for a recording that is in no table.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.vendors.recorded import RecordedReading, read_recorded
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from vendors.vendor_exchanges import at, recordings_of

SUNDAY = "2024-11-24T12:00:00"

Row = tuple[str, float, str, float, dict[str, float]]
"""Symbol, price, event time, its resolution, and the figures beside it; all of them are official closes in dollars."""

QUOTES: dict[str, tuple[str, tuple[Row, ...]]] = {
    "real/2021_quote_IBM.json": (
        "2021-07-01T22:23:00",
        (
            (
                "IBM",
                146.84,
                "2021-07-01T20:00:00",
                86400.0,
                {"open": 146.96001, "high": 147.5, "low": 146.55, "previous_close": 146.59, "volume": 2665427.0},
            ),
        ),
    ),
    "synthetic/batch_quote_2_symbols.json": (
        SUNDAY,
        (
            (
                "AAPL",
                229.87,
                "2024-11-22T20:00:00",
                1.0,
                {"open": 228.84, "high": 230.5, "low": 227.25, "previous_close": 228.52, "volume": 35462000.0},
            ),
            (
                "MSFT",
                414.17,
                "2024-11-22T20:00:00",
                1.0,
                {"open": 412.18, "high": 415.63, "low": 411.36, "previous_close": 412.87, "volume": 18934500.0},
            ),
        ),
    ),
}

HISTORIES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "real/2021_time_series_1day_IBM.json": (
        "2021-07-01T22:23:00",
        (
            "IBM",
            30,
            ("2021-05-20T00:00", 143.17, 144.89999, 142.16, 143.87, 3666726.0),
            ("2021-07-01T00:00", 146.96001, 147.5, 146.55, 146.84, 2665427.0),
        ),
    ),
    "real_quoted/2021_time_series_1min_AAPL.json": (
        "2021-03-02T00:00:00",
        (
            "AAPL",
            1,
            ("2021-03-01T20:59", 127.6399, 127.93, 127.63, 127.79, 1691294.0),
            ("2021-03-01T20:59", 127.6399, 127.93, 127.63, 127.79, 1691294.0),
        ),
    ),
    "synthetic/batch_time_series_2_symbols.json": (
        SUNDAY,
        (
            "AAPL",
            1,
            ("2024-11-22T00:00", 228.84, 230.5, 227.25, 229.87, 35462000.0),
            ("2024-11-22T00:00", 228.84, 230.5, 227.25, 229.87, 35462000.0),
        ),
    ),
    "synthetic/batch_time_series_one_bad_symbol.json": (
        SUNDAY,
        (
            "AAPL",
            1,
            ("2024-11-22T00:00", 228.84, 230.5, 227.25, 229.87, 35462000.0),
            ("2024-11-22T00:00", 228.84, 230.5, 227.25, 229.87, 35462000.0),
        ),
    ),
}

FAILURES: dict[str, FailureKind] = {
    "real/2021_api_usage_basic_plan.json": FailureKind.UNSUPPORTED,
    "real/2021_api_usage_basic_plan_csv.csv": FailureKind.UNSUPPORTED,
    "real/error_404_nothing_found.json": FailureKind.UNKNOWN_SYMBOL,
    "synthetic/post_batch_mixed.json": FailureKind.UNSUPPORTED,
}


def read(name: str, received_at: str, url: str | None = None) -> RecordedReading:
    """What a recording says; a status that was not kept is the one in the body."""
    folder = recordings_of("twelvedata")
    (entry,) = (e for e in json.loads((folder / "index.json").read_bytes()) if e["file"] == name)
    return read_recorded(
        TWELVE_DATA,
        url or entry["url"],
        (folder / name).read_bytes(),
        status=entry["status"] if isinstance(entry["status"], int) else 404,
        received_at=at(received_at),
    )


@pytest.mark.parametrize("name", QUOTES)
def test_a_recorded_quote_says_what_its_payload_says(name: str) -> None:
    """Official closes, with the figures of their day."""
    received_at, rows = QUOTES[name]
    quotes = read(name, received_at).quotes
    figures = ("bid", "ask", "open", "high", "low", "previous_close", "volume")
    assert (
        tuple(
            (
                q.symbol,
                q.price,
                f"{q.event_time:%Y-%m-%dT%H:%M:%S}",
                q.event_time_resolution_s,
                {name: value for name in figures if (value := getattr(q, name)) is not None},
            )
            for q in quotes
        )
        == rows
    )
    assert {(q.session, q.currency, q.source) for q in quotes} == {(Session.CLOSED, "USD", "twelve_data")}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_series_says_what_its_payload_says(name: str) -> None:
    """Oldest first, with its first and last bar; of several series the first."""
    received_at, (symbol, count, first, last) = HISTORIES[name]
    history = read(name, received_at).history
    assert history is not None
    ends = [
        (f"{bar.start:%Y-%m-%dT%H:%M}", bar.open, bar.high, bar.low, bar.close, bar.volume)
        for bar in (history.bars[0], history.bars[-1])
    ]
    assert (history.symbol, len(history.bars), *ends) == (symbol, count, first, last)
    assert list(history.bars) == sorted(history.bars, key=lambda bar: bar.start)
    assert (history.partial_last_bar, history.currency, history.null_rows) == (False, "USD", ())


def test_a_recorded_series_of_the_running_day_is_partial() -> None:
    """The same bytes, had they come before the close."""
    history = read("real/2021_time_series_1day_IBM.json", "2021-07-01T19:00:00").history
    assert history is not None
    assert history.partial_last_bar is True


@pytest.mark.parametrize("name", FAILURES)
def test_a_recorded_refusal_has_its_public_code(name: str) -> None:
    """Endpoints that are not asked are unsupported."""
    failure = read(name, "2026-08-20T15:00:00").failure
    assert failure is not None
    assert (failure.source, failure.kind) == ("twelve_data", FAILURES[name])


@pytest.mark.parametrize(
    ("name", "url", "kind"),
    [
        ("real/error_404_nothing_found.json", "/quote?symbol=AAPL", FailureKind.UNKNOWN_SYMBOL),
        ("synthetic/batch_time_series_one_bad_symbol.json", "/time_series?symbol=INVALID", FailureKind.UNKNOWN_SYMBOL),
        ("real/2021_quote_IBM.json", "/quote?symbol=AAPL", FailureKind.MALFORMED_REPLY),
        ("real_quoted/2021_time_series_1min_AAPL.json", "/time_series?symbol=AAPL", FailureKind.MALFORMED_REPLY),
    ],
)
def test_a_recorded_body_does_not_answer_another_question(name: str, url: str, kind: FailureKind) -> None:
    """Nothing found, a bad symbol of a list, another symbol, another bar length."""
    failure = read(name, "2026-08-20T15:00:00", f"https://api.twelvedata.com{url}").failure
    assert failure is not None
    assert failure.kind is kind
