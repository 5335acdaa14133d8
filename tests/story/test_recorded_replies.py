"""Real vendors' recorded replies, served over real HTTP to a real server process and read through an MCP client.

The replies lie outside the repository and are read from there; without them this story is skipped.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from story.simulated_world import first_text

RECORDINGS = Path(__file__).resolve().parents[2] / ".." / "shared" / "recordings"
pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recorded replies of real vendors are not beside this checkout (../shared)"
)

SATURDAY = datetime(2026, 7, 25, 21, 26, 30, tzinfo=UTC)
"""The day on which Nasdaq's and Cboe's replies about AAPL were recorded."""

Replies = Mapping[str, tuple[int, str]]
"""Path prefix -> HTTP status and recording."""

WEEKEND: Replies = {
    "/nasdaq/api/quote/AAPL/info": (200, "nasdaq/excerpt_info_aapl_closed_2026.json"),
    "/nasdaq/api/quote/": (200, "nasdaq/error_unknown_symbol.json"),
    "/cboe/api/global/delayed_quotes/quotes/AAPL.json": (200, "cboe/quote_aapl_weekend_2026.json"),
    "/cboe/api/global/delayed_quotes/charts/historical/AAPL.json": (200, "cboe/history_daily_aapl_tail30_2026.json"),
    "/yahoo/": (429, "yahoo/error_429_edge.txt"),
    "/finnhub/api/v1/quote": (429, "finnhub/real_quoted/error_429_limit.json"),
    "/finnhub/": (403, "finnhub/real_quoted/error_403_no_access.json"),
}


@contextmanager
def serving(replies: Replies) -> Iterator[str]:
    """The recordings on a loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = next((reply for prefix, reply in replies.items() if self.path.startswith(prefix)), None)
            status, body = (404, b"") if found is None else (found[0], (RECORDINGS / found[1]).read_bytes())
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def server_at(instant: datetime, base: str, data_dir: Path) -> AsyncIterator[Client]:
    """A server process whose clock shows `instant` and whose sources are all at `base`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MDAGENT_")}
    for vendor in ("yahoo", "nasdaq", "cboe", "finnhub"):
        environment[f"MDAGENT_SOURCES__{vendor.upper()}__BASE_URL"] = f"{base}/{vendor}"
    environment |= {"FINNHUB_API_KEY": "k3y-that-must-not-leak", "MDAGENT_DATA_DIR": str(data_dir)}
    offset = (instant - datetime.now(UTC)).total_seconds()
    arguments = ["-m", "mdagent_mcp", "serve", "--clock-offset-s", f"{offset:.3f}"]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment)) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> tuple[dict[str, Any], str]:
    """Both channels of a tool's answer."""
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None
    return dict(result.structured_content), first_text(result)


async def test_a_recorded_weekend_is_answered_with_the_official_close_of_two_independent_sources(
    tmp_path: Path,
) -> None:
    """Nasdaq and Cboe state the same close; Finnhub refuses; Yahoo need not be asked; it is an A."""
    with serving(WEEKEND) as base:
        async with server_at(SATURDAY, base, tmp_path) as client:
            answer, text = await call(client, "get_quote", symbols=["AAPL", "NOPE"])
            explained, _ = await call(client, "explain_quality", symbol="AAPL")
            history, _ = await call(client, "get_history", symbol="AAPL", start="2026-06-10", end="2026-07-23")
            status, _ = await call(client, "source_status")
    (quote,) = answer["quotes"]
    assert {name: quote[name] for name in ("price", "currency", "session", "change", "previous_close", "grade")} == {
        "price": 333.02,
        "currency": "USD",
        "session": "closed",
        "change": 11.36,
        "previous_close": 321.66,
        "grade": "A",
    }
    assert quote["price_time"].startswith("2026-07-24T")
    assert set(quote["sources_used"]) == {"nasdaq", "cboe"}
    assert "333.02" in text
    assert set(explained["unanswered"]) == {"finnhub"}
    assert [failure["symbol"] for failure in answer["failures"]] == ["NOPE"]
    assert (history["bars"][0][0], history["bars"][0][4]) == ("2026-06-10", 291.58)
    assert history["sources_used"] == ["cboe"]
    assert {s["source"]: s["state"] for s in status["sources"] if s["state"] != "no_key"} == {
        "yahoo": "throttled",
        "nasdaq": "live",
        "cboe": "live",
        "finnhub": "throttled",
        "iex_cloud": "retired",
    }
    assert "k3y-that-must-not-leak" not in repr((answer, text, explained, history, status))


async def test_months_later_the_same_replies_are_stale_and_must_not_be_stated(tmp_path: Path) -> None:
    """July's close in November is an F, with the reason."""
    with serving(WEEKEND) as base:
        async with server_at(datetime(2026, 11, 24, 16, 30, tzinfo=UTC), base, tmp_path) as client:
            answer, text = await call(client, "get_quote", symbols="AAPL")
    (quote,) = answer["quotes"]
    assert (quote["price"], quote["grade"]) == (333.02, "F")
    assert "not" in text.lower()
