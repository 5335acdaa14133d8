"""A running server whose settings file is edited."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters


async def test_an_edit_takes_effect_and_a_broken_one_is_told_while_calls_go_on(empty_home: Path) -> None:
    """Over stdio, as a desktop application runs it; no call fails meanwhile."""
    file = empty_home / "mdagent.toml"
    file.write_text("[cache]\nopen_market_s = 60\n", encoding="utf-8")
    words = ["-m", "mdagent_mcp", "serve", "--sandbox", "--config", str(file), "--data-dir", str(empty_home / "data")]
    parameters = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with Client(parameters) as client, anyio.create_task_group() as asking:
        answers: list[Any] = []

        async def ask() -> None:
            while True:
                answers.append(await client.call_tool("get_quote", {"symbols": ["AAPL", "MSFT"]}))
                await anyio.sleep(0.02)

        asking.start_soon(ask)
        await until(client, lambda overall: overall["settings"] == "ok")
        file.write_text("[cache]\nopen_market_s = sixty\n", encoding="utf-8")
        told = await until(client, lambda overall: overall["settings"] != "ok")
        assert told["settings"].startswith(f"{file}: is not TOML")
        file.write_text("[cache]\nopen_market_s = 0\n", encoding="utf-8")
        await until(client, lambda overall: overall["settings"] == "ok")
        first = await client.call_tool("get_quote", {"symbols": ["NVDA"]})
        second = await client.call_tool("get_quote", {"symbols": ["NVDA"]})
        assert [quote_of(result)["cached"] for result in (first, second)] == [False, False]
        asking.cancel_scope.cancel()
    assert len(answers) > 3
    assert [answer.is_error for answer in answers] == [False] * len(answers)


def quote_of(result: Any) -> dict[str, Any]:
    """The one quote of an answer."""
    quote: dict[str, Any] = result.structured_content["quotes"][0]
    return quote


async def until(client: Client, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What source_status says of the server as a whole once a condition holds."""
    with anyio.fail_after(30):
        while True:
            result = await client.call_tool("source_status", {"source": "yahoo"})
            assert result.structured_content is not None
            overall: dict[str, Any] = result.structured_content["overall"]
            if condition(overall):
                return overall
            await anyio.sleep(0.05)
