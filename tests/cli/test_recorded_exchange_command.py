"""`parse`: recorded exchanges read offline. The payloads are our own, in the vendors' shapes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from mdagent_mcp.cli import main

_QUOTE_URL = "https://finnhub.io/api/v1/quote?symbol=AAPL"
_QUOTE = {"c": 201.5, "d": 1.5, "dp": 0.75, "h": 203.0, "l": 199.25, "o": 200.0, "pc": 200.0, "t": 1767625200}
_CHART_URL = "https://query1.finance.yahoo.com/v8/finance/chart/MSFT?interval=1d&period1=1767571200&period2=1767744000"


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | None, Any]:
    code = main(["parse", *words])
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, json.loads(captured.out)


def _file(tmp_path: Path, content: object) -> str:
    file = tmp_path / "body"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(file)


def test_a_quote_is_told_with_its_instants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every field the reply holds, none that it lacks."""
    words = ("finnhub", "--url", _QUOTE_URL, "--received-at", "2026-01-05T15:00:02Z", "--body")
    code, shown = _run(capsys, *words, _file(tmp_path, _QUOTE))
    assert code == 0
    assert list(shown) == ["quotes"]
    (quote,) = shown["quotes"]
    expected = {
        "symbol": "AAPL",
        "source": "finnhub",
        "price": 201.5,
        "open": 200.0,
        "high": 203.0,
        "low": 199.25,
        "previous_close": 200.0,
        "session": "regular",
        "price_time": "2026-01-05T15:00:00Z",
        "event_time": "2026-01-05T15:00:00Z",
        "received_at": "2026-01-05T15:00:02Z",
    }
    assert {name: quote[name] for name in expected} == expected
    assert "volume" not in quote
    assert "bid" not in quote


@pytest.mark.parametrize(
    "received_at", ["2026-01-05T15:00:02+00:00", "2026-01-05 15:00:02", "Mon, 05 Jan 2026 15:00:02 GMT"]
)
def test_the_receive_time_is_read_in_common_spellings(
    received_at: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ISO 8601 with and without a zone, and HTTP's own."""
    words = ("finnhub", "--url", _QUOTE_URL, "--received-at", received_at, "--body")
    _, shown = _run(capsys, *words, _file(tmp_path, _QUOTE))
    assert shown["quotes"][0]["received_at"] == "2026-01-05T15:00:02Z"


def test_the_body_may_come_from_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--body -` reads it to the end."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(_QUOTE).encode())))
    words = ("finnhub", "--url", _QUOTE_URL, "--received-at", "2026-01-05T15:00:02Z", "--body", "-")
    code, shown = _run(capsys, *words)
    assert (code, shown["quotes"][0]["price"]) == (0, 201.5)


def test_bars_are_told_with_their_dates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A daily bar has a date, every figure has its name."""
    meta = {
        "currency": "USD",
        "symbol": "MSFT",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EST",
        "gmtoffset": -18000,
        "instrumentType": "EQUITY",
        "dataGranularity": "1d",
        "regularMarketTime": 1767733200,
        "regularMarketPrice": 412.5,
        "range": "",
    }
    columns = {"open": [400.0, 405.5], "high": [410.0, 415.0], "low": [399.0, 404.0], "close": [405.0, 412.5]}
    result = {
        "meta": meta,
        "timestamp": [1767623400, 1767709800],
        "indicators": {"quote": [{**columns, "volume": [1000, 2000]}], "adjclose": [{"adjclose": [405.0, 412.5]}]},
    }
    body = _file(tmp_path, {"chart": {"result": [result], "error": None}})
    code, shown = _run(capsys, "yahoo", "--url", _CHART_URL, "--received-at", "2026-01-08T12:00:00Z", "--body", body)
    assert code == 0
    assert shown["bars"] == [
        {"time": "2026-01-05", "open": 400.0, "high": 410.0, "low": 399.0, "close": 405.0, "volume": 1000},
        {"time": "2026-01-06", "open": 405.5, "high": 415.0, "low": 404.0, "close": 412.5, "volume": 2000},
    ]
    assert (shown["symbol"], shown["interval"], shown["currency"]) == ("MSFT", "1d", "USD")


def test_a_refusal_of_the_vendor_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the public code, and exit 1: the exchange holds no usable answer."""
    body = _file(tmp_path, {"error": "API limit reached. Please try again later. Remaining Limit: 0"})
    code, shown = _run(capsys, "finnhub", "--url", _QUOTE_URL, "--status", "429", "--body", body)
    assert code == 1
    assert (shown["failure"]["code"], shown["failure"]["source"]) == ("throttled", "finnhub")


def test_a_batch_without_any_price_is_a_failure_with_every_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1, and the gravest reason stands for all."""
    body = _file(tmp_path, {"quoteResponse": {"result": [{"symbol": "MSFT", "quoteType": "EQUITY"}], "error": None}})
    url = "https://query2.finance.yahoo.com/v7/finance/quote?symbols=AAPL,MSFT"
    code, shown = _run(capsys, "yahoo", "--url", url, "--body", body)
    assert (code, shown["failure"]["code"]) == (1, "no_data")
    assert [(f["symbol"], f["code"]) for f in shown["failures"]] == [("AAPL", "unknown_symbol"), ("MSFT", "no_data")]


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[1,2", b"null", b"<html></html>"])
def test_a_body_of_rubbish_is_a_malformed_reply(
    body: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing crashes on it."""
    code, shown = _run(capsys, "finnhub", "--url", _QUOTE_URL, "--body", _file(tmp_path, body))
    assert (code, shown["failure"]["code"]) == (1, "malformed_reply")


def test_an_endpoint_we_do_not_use_is_unsupported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than read as something it is not."""
    url = "https://finnhub.io/api/v1/company-news?symbol=AAPL"
    code, shown = _run(capsys, "finnhub", "--url", url, "--body", _file(tmp_path, []))
    assert (code, shown["failure"]["code"]) == (1, "unsupported")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["finhub", "--url", "u", "--body", "-"], "SOURCE: 'finhub' is not a source; did you mean 'finnhub'?"),
        (["finnhub", "--url", "u", "--body", "absent"], "--body: absent cannot be read: No such file or directory"),
        (["finnhub", "--url", "u", "--body", "b", "--received-at", "noon"], "--received-at: 'noon' is not a time"),
        (["finnhub", "--url", "u", "--body", "b", "--symbol", "A B"], "--symbol: 'A B' is not a symbol"),
    ],
)
def test_what_cannot_be_used_ends_with_2(
    words: list[str], complaint: str, empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option's name."""
    (empty_home / "b").write_bytes(b"{}")
    assert main(["parse", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"mdagent-mcp: {complaint}")
    assert captured.out == ""
