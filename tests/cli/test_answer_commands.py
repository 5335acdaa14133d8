"""`quote`, `history`, `sources`, `explain` over the embedded sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mdagent_mcp.cli import main
from mdagent_mcp.cli.simulation import NOTICE
from mdagent_mcp.sandbox.faults import VENDORS as IMITATED
from mdagent_mcp.server.output_models import ExplanationOutput, HistoryOutput, QuotesOutput, StatusOutput
from mdagent_mcp.vendors.registry import VENDORS

pytestmark = pytest.mark.usefixtures("empty_home")


def _json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | None, Any]:
    code = main([*words, "--json", "--sandbox"])
    return code, json.loads(capsys.readouterr().out)


def test_quotes_as_json_are_the_tools_structured_content(capsys: pytest.CaptureFixture[str]) -> None:
    """Some symbols answered, some not, some that are none: a partial success is a success."""
    code, shown = _json(capsys, "quote", "AAPL,msft", "AAPL", "ZZZZ", "A B", "--detail", "full")
    assert code == 0
    QuotesOutput.model_validate_json(json.dumps(shown), strict=True)
    assert [quote["symbol"] for quote in shown["quotes"]] == ["AAPL", "MSFT"]
    assert {failure["symbol"]: failure["code"] for failure in shown["failures"]} == {
        "ZZZZ": "unknown_symbol",
        "A B": "bad_request",
    }
    assert shown["quotes"][0]["observations"]


def test_no_quote_at_all_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """And says why."""
    assert main(["quote", "ZZZZ", "--sandbox"]) == 1
    assert "ZZZZ  unknown_symbol:" in capsys.readouterr().out


def test_only_the_sources_named_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """`--sources` is the tool's argument."""
    _, shown = _json(capsys, "quote", "AAPL", "--sources", "nasdaq")
    assert shown["quotes"][0]["sources_used"] == ["nasdaq"]


def test_simulated_answers_say_so_wherever_they_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, in the summary, in the headline."""
    assert main(["quote", "AAPL", "--sandbox"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "mdagent-mcp: --sandbox: all prices are SIMULATED\n"
    assert NOTICE in " ".join(captured.out.split())
    _, shown = _json(capsys, "explain", "AAPL")
    assert shown["headline"].startswith(NOTICE)
    _, shown = _json(capsys, "history", "AAPL", "--period", "5d")
    assert shown["summary"].startswith(NOTICE)


def test_a_history_as_json_is_the_tools_structured_content(capsys: pytest.CaptureFixture[str]) -> None:
    """With the newest bars that were asked for."""
    code, shown = _json(capsys, "history", "MSFT", "--period", "3mo", "--max-bars", "7")
    assert code == 0
    HistoryOutput.model_validate_json(json.dumps(shown), strict=True)
    assert (shown["symbol"], shown["interval"], len(shown["bars"]), shown["truncated"]) == ("MSFT", "1d", 7, True)


def test_a_history_is_drawn_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    """With its shape."""
    assert main(["history", "MSFT", "--period", "1mo", "--sandbox"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("MSFT  1d bars in USD, ")
    assert "▁" in out
    assert "█" in out


def test_a_terminal_without_block_characters_is_no_obstacle(empty_home: Path) -> None:
    """What it cannot show becomes question marks; the figures are there."""
    ended = subprocess.run(
        [sys.executable, "-m", "mdagent_mcp", "history", "MSFT", "--period", "1mo", "--sandbox"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert ended.returncode == 0
    assert b"???" in ended.stdout
    assert b"expected bars" in ended.stdout


def test_no_history_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """As the tool's error result."""
    code, shown = _json(capsys, "history", "ZZZZ")
    assert (code, shown["bars"], shown["failures"][0]["code"]) == (1, [], "unknown_symbol")


def test_an_earlier_answer_is_explained_by_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    """By symbol and by evidence id: memory is on disk."""
    _, quoted = _json(capsys, "quote", "AAPL")
    evidence_id = quoted["quotes"][0]["evidence_id"]
    code, by_symbol = _json(capsys, "explain", "AAPL")
    assert code == 0
    ExplanationOutput.model_validate_json(json.dumps(by_symbol), strict=True)
    assert by_symbol["evidence_id"] == evidence_id
    assert _json(capsys, "explain", "--evidence-id", evidence_id) == (0, by_symbol)


def test_what_was_never_asked_cannot_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that comes first."""
    code, shown = _json(capsys, "explain", "TSLA", "--kind", "history")
    assert (code, shown["failures"][0]["code"]) == (1, "no_data")
    assert shown["failures"][0]["hint"] == "Run `mdagent-mcp history TSLA` first, then explain it."


def test_sources_as_json_are_the_tools_structured_content(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, or the one named."""
    code, shown = _json(capsys, "sources")
    assert code == 0
    StatusOutput.model_validate_json(json.dumps(shown), strict=True)
    assert [source["source"] for source in shown["sources"]] == [vendor.id for vendor in VENDORS]
    states = {source["source"]: source["state"] for source in shown["sources"]}
    assert {states[source] for source in IMITATED if source != "iex_cloud"} == {"live"}
    assert states["iex_cloud"] == "retired"
    _, one = _json(capsys, "sources", "Nasdaq")
    assert [source["source"] for source in one["sources"]] == ["nasdaq"]


def test_without_a_key_a_source_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked of any vendor for it."""
    assert main(["sources", "finnhub", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"][0]["state"] == "no_key"


def test_simulated_prices_never_reach_the_memory_of_real_ones(
    capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    """They have a folder of their own under the same data directory."""
    data = empty_home / "memory"
    assert main(["quote", "AAPL", "--sandbox", "--data-dir", str(data)]) == 0
    assert [file.name for file in data.iterdir()] == ["sandbox"]
    capsys.readouterr()
    assert main(["explain", "AAPL", "--data-dir", str(data)]) == 1
    assert "No answer is kept for a quote of AAPL" in " ".join(capsys.readouterr().out.split())


def test_addresses_and_keys_of_real_sources_do_not_reach_the_sandbox(
    capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    """Another host, a real key: the sandbox answers for every source all the same; what is disabled stays so."""
    settings = empty_home / "mdagent.toml"
    settings.write_text(
        '[sources.cboe]\nenabled = false\n[sources.finnhub]\nbase_url = "http://127.0.0.1:9"\napi_key = "real"\n',
        encoding="utf-8",
    )
    _, shown = _json(capsys, "quote", "AAPL", "--sources", "yahoo,finnhub", "--min-grade", "A")
    assert sorted(shown["quotes"][0]["sources_used"]) == ["finnhub", "yahoo"]
    _, shown = _json(capsys, "quote", "AAPL", "--sources", "cboe")
    assert shown["failures"][0]["sources"] == {"cboe": "unsupported"}
