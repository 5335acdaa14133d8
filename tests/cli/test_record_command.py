"""`record`: one exchange, live or from the sandbox, that `parse` reads back and that has no key in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from mdagent_mcp.cli import main
from mdagent_mcp.sandbox.faults import VENDORS as SPOKEN
from mdagent_mcp.vendors.registry import VENDORS

KEY = "M4rked/Key+77abcd"
NOT_IN_A_FREE_PLAN = {("finnhub", "history"), ("alpha_vantage", "history")}
DAILY = {v.id for v in VENDORS if v.history is not None}
RETIRED = {v.id for v in VENDORS if v.retirement is not None}
IMITATED = tuple(source for source in SPOKEN if source not in RETIRED)
"""Those that `--sandbox` answers for; a retired one stays retired, whatever the sandbox could say in its place."""


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of a command."""
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def written(folder: Path) -> dict[str, Any]:
    """The one description in a folder."""
    (file,) = folder.glob("*.json")
    described = json.loads(file.read_text(encoding="utf-8"))
    assert {path.name for path in folder.iterdir()} == {file.name, described["body"]}
    return dict(described)


@pytest.mark.parametrize("kind", ["quote", "history"])
@pytest.mark.parametrize("source", IMITATED)
def test_what_is_recorded_from_the_sandbox_is_read_back(
    source: str, kind: str, empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the very command that the description names, from where the files lie."""
    if kind == "history" and source not in DAILY:
        pytest.skip(f"{source} offers no history")
    option = ["--history"] if kind == "history" else []
    code, out, _ = run(capsys, "--sandbox", "record", source, "AAPL", "--out", "here", *option)
    assert (code, out.splitlines()[0].startswith("HTTP ")) == (0, True)
    described = written(empty_home / "here")
    assert (described["source"], described["symbol"], described["kind"]) == (source, "AAPL", kind)
    assert (described["simulated"], described["parse"][:2]) == (True, ["mdagent-mcp", "parse"])
    monkeypatch.chdir(empty_home / "here")
    code, out, _ = run(capsys, *described["parse"][1:])
    read = json.loads(out)
    if (source, kind) in NOT_IN_A_FREE_PLAN:
        # Refused by the sandbox as by the vendor, and read as that.
        assert (code, read["failure"]["code"]) == (1, "not_entitled")
        return
    assert code == 0
    (found,) = read["quotes"] if kind == "quote" else [read]
    assert (found["source"], found["symbol"]) == (source, "AAPL")
    assert found["received_at"][:19] == described["received_at"][:19]
    assert (found["price"] > 0) if kind == "quote" else (len(found["bars"]) > 10)


@pytest.mark.parametrize("kind", ["quote", "history"])
def test_a_retired_source_is_recorded_from_a_server_that_is_named(
    kind: str, empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever still runs one may report what it says."""
    monkeypatch.setenv("IEX_TOKEN", KEY)
    option = ["--history"] if kind == "history" else []
    with echoing() as url:
        monkeypatch.setenv("MDAGENT_SOURCES__IEX_CLOUD__BASE_URL", url)
        code, _, _ = run(capsys, "record", "iex_cloud", "AAPL", "--out", "here", *option)
    described = written(empty_home / "here")
    assert (code, described["source"], described["status"]) == (0, "iex_cloud", 200)
    assert KEY not in json.dumps(described)


class Echo(BaseHTTPRequestHandler):
    """A vendor that repeats the key in everything it says."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer with a notice as Alpha Vantage words it."""
        self.asked.append(self.path)
        text = {"Information": f"We have detected your API key as {KEY.upper()} and our rate limit is 25 per day."}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", f"session={KEY}")
        self.send_header("X-RateLimit-Note", f"for {KEY}")
        self.end_headers()
        self.wfile.write(json.dumps(text | {"url": self.path, "json": KEY}).replace("/", r"\/").encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
        """Say nothing on stderr."""


@contextmanager
def echoing() -> Iterator[str]:
    """The vendor's address while it serves."""
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("kind", ["quote", "history"])
def test_a_live_reply_that_repeats_the_key_is_written_without_it(
    kind: str, empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in URL, headers or body, nor in what is said; it was sent, and the refusal is still read as one."""
    monkeypatch.setenv("ALPHAVANTAGE_API_KEY", KEY)
    with echoing() as url:
        monkeypatch.setenv("MDAGENT_SOURCES__ALPHA_VANTAGE__BASE_URL", url)
        option = ["--history"] if kind == "history" else []
        code, out, err = run(capsys, "record", "alpha_vantage", "IBM", "--out", "here", *option)
    assert (code, err) == (0, "")
    assert Echo.asked[-1].endswith("apikey=M4rked/Key%2B77abcd")
    described = written(empty_home / "here")
    everything = out + "".join(path.read_text() for path in (empty_home / "here").iterdir())
    for form in (KEY, KEY.replace("/", r"\/"), "M4rked%2FKey%2B77abcd", "77abcd"):
        assert form.lower() not in everything.lower()
    assert described["headers"]["x-ratelimit-note"] == "for [key removed]"
    assert "set-cookie" not in described["headers"]
    monkeypatch.chdir(empty_home / "here")
    code, out, _ = run(capsys, *described["parse"][1:])
    assert (code, json.loads(out)["failure"]["code"]) == (1, "quota_exhausted")


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["iex_cloud", "AAPL"], 2, "iex_cloud: IEX Cloud shut down on 2024-08-31; instead: tiingo"),
        (["iex_cloud", "AAPL", "--sandbox"], 2, "iex_cloud: IEX Cloud shut down on 2024-08-31; instead: tiingo"),
        (["finnhub", "AAPL"], 2, "finnhub: it needs a key: set FINNHUB_API_KEY (https://finnhub.io/register)"),
        (["cboe", "EURUSD"], 1, "Cboe shows US listings and some of its indices, not EURUSD"),
        (["iex_cloud", "MSFT"], 2, "iex_cloud: IEX Cloud shut down on 2024-08-31; instead: tiingo"),
        (["cbo", "AAPL"], 2, "SOURCE: 'cbo' is not a source; did you mean 'cboe'?"),
        (["cboe", "A B"], 2, "SYMBOL: 'A B' is not a symbol"),
        (["yahoo", "AAPL"], 2, "yahoo: it is disabled in the settings"),
        (["nasdaq", "AAPL"], 1, "nasdaq: network: "),
    ],
)
def test_what_cannot_be_recorded_is_said_in_a_line_and_writes_nothing(
    words: list[str],
    code: int,
    complaint: str,
    empty_home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wrong usage and configuration end with 2, a vendor that has nothing or cannot be reached with 1."""
    monkeypatch.setenv("MDAGENT_SOURCES__YAHOO__ENABLED", "false")
    if "MSFT" in words:
        monkeypatch.setenv("MDAGENT_SOURCES__IEX_CLOUD__BASE_URL", "https://cloud.iexapis.com/stable")
        monkeypatch.setenv("IEX_TOKEN", KEY)
    monkeypatch.setenv("MDAGENT_SOURCES__NASDAQ__BASE_URL", "http://127.0.0.1:9")
    got, out, err = run(capsys, "record", *words)
    assert (got, out, err.splitlines()[-1].startswith(f"mdagent-mcp: {complaint}")) == (code, "", True)
    assert list(empty_home.iterdir()) == []


def test_nothing_is_overwritten(
    empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be one is told with its name."""
    (empty_home / "file").write_text("kept")
    code, _, err = run(capsys, "--sandbox", "record", "cboe", "AAPL", "--out", "file")
    assert (code, err.splitlines()[-1]) == (2, "mdagent-mcp: --out: file cannot be written: File exists")
    assert (empty_home / "file").read_text() == "kept"
