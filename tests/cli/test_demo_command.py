"""`demo`: the newcomer's first minute."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdagent_mcp.cli import demo as demo_module
from mdagent_mcp.cli import main


def test_the_demo_shows_everything_and_ends_well(empty_home: Path) -> None:
    """Without a key, and whatever settings and keys the newcomer already has."""
    (empty_home / "mdagent.toml").write_text("[sources.nasdaq]\nenabled = false\n", encoding="utf-8")
    environment = {**os.environ, "MDAGENT_SOURCES__YAHOO__BASE_URL": "http://127.0.0.1:9", "FINNHUB_API_KEY": "mine"}
    ended = subprocess.run(
        [sys.executable, "-m", "mdagent_mcp", "demo"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    text = " ".join(ended.stdout.split())
    for part in (
        "ALL PRICES BELOW ARE SIMULATED",
        "1. connect and list the tools",
        "2. get_quote AAPL, MSFT, ZZZZ",
        "outlier: unit: 100x",
        "3. get_history MSFT",
        "4. source_status",
        "cboe throttled",
        "5. explain_quality",
        "the answered prices were right all the same",
    ):
        assert part in text
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert "mine" not in text.split()


@pytest.mark.parametrize(
    ("faults", "complaint"),
    [
        (("yahoo=throttle", "cboe=throttle"), "yahoo was not rejected for AAPL"),
        (("all=unit:100",), "was answered as"),
        (("all=server_error",), "get_quote answered: "),
    ],
)
def test_the_demo_fails_when_it_does_not_show_what_it_promises(
    faults: tuple[str, ...],
    complaint: str,
    empty_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong price or a missing answer ends with 1 and the reason, not with a proud ending."""
    monkeypatch.setattr(demo_module, "FAULTS", faults)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("mdagent-mcp: the demo failed: ")
    assert complaint in captured.err
    assert "done" not in captured.out


def test_the_demo_says_when_the_server_does_not_start(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of a traceback."""
    monkeypatch.setattr("sys.executable", str(empty_home / "no-python"))
    assert main(["demo"]) == 1
    assert capsys.readouterr().err.startswith("mdagent-mcp: the demo failed: the server did not start: ")
