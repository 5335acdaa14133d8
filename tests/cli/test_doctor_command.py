"""`doctor`: findings with what to do about each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mdagent_mcp.cli import main


def findings(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """By what was looked at."""
    assert main(["doctor", "--json", *words]) == code
    return {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}


def test_over_the_sandbox_every_source_answers(empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the clocks agree."""
    found = findings(capsys, "--sandbox")
    levels = {check: finding["level"] for check, finding in found.items() if check.startswith("source ")}
    assert levels == {
        "source yahoo": "ok",
        "source nasdaq": "ok",
        "source cboe": "ok",
        "source alpha_vantage": "ok",
        "source polygon": "ok",
        "source twelve_data": "ok",
        "source finnhub": "ok",
        "source iex_cloud": "note",
        "source tiingo": "ok",
    }
    assert found["source iex_cloud"]["found"].startswith("retired: ")
    assert found["clock"]["level"] == "ok"
    assert found["memory"]["level"] == "ok"


def test_without_a_network_it_says_so_and_which_keys_would_help(
    empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1, since nothing would be answered."""
    for source in ("YAHOO", "NASDAQ", "CBOE"):
        monkeypatch.setenv(f"MDAGENT_SOURCES__{source}__BASE_URL", "http://127.0.0.1:9")
    found = findings(capsys, code=1)
    assert found["source yahoo"]["level"] == "error"
    assert found["source yahoo"]["advice"] == "it cannot be reached: look at the network, a proxy or a firewall"
    assert (found["source finnhub"]["found"], found["source finnhub"]["advice"]) == (
        "no key",
        "set FINNHUB_API_KEY; free at https://finnhub.io/register",
    )
    assert (found["corroboration"]["level"], found["corroboration"]["found"]) == ("error", "no source answers")
    assert "clock" not in found


def test_offline_nobody_is_asked(empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is configured is told all the same."""
    found = findings(capsys, "--offline")
    assert found["source yahoo"]["found"] == "configured; not asked (--offline)"
    assert "corroboration" not in found


def test_a_data_directory_that_cannot_be_used_is_an_error_with_a_way_out(
    empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where the folder should be."""
    (empty_home / "taken").write_text("")
    found = findings(capsys, "--offline", "--data-dir", str(empty_home / "taken"), code=1)
    assert found["memory"] == {
        "check": "memory",
        "level": "error",
        "found": f"{empty_home / 'taken'} cannot be written: File exists",
        "advice": "choose another with --data-dir or data_dir",
        "offset_s": None,
    }


def test_a_channel_that_does_not_work_is_named_by_its_number(
    empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is a secret."""
    monkeypatch.setenv("MDAGENT_ALERTS__CHANNELS", '["json://127.0.0.1:9/t0ken"]')
    found = findings(capsys, "--offline", "--alerts", code=1)
    assert found["alert channel 1 (json)"]["found"] == "the message was not accepted"
    assert "t0ken" not in json.dumps(found)


def test_a_person_reads_a_table(empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a check, with what to do."""
    assert main(["doctor", "--offline"]) == 0
    shown = capsys.readouterr().out
    assert "What to do" in shown
    assert "source tiingo" in shown
