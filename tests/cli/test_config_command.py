"""`config check` and `config show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mdagent_mcp.cli import main

_SETTINGS = """\
[engine]
deadline_s = 7.5

[sources.finnhub]
api_key = "file-secret-1"

[sources.nasdaq]
enabled = false

[environments.prod.engine]
deadline_s = 5.0
"""


@pytest.fixture
def settings_file(empty_home: Path) -> Path:
    """Settings in the directory the command works in."""
    file = empty_home / "mdagent.toml"
    file.write_text(_SETTINGS, encoding="utf-8")
    return file


def _settings(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["config", "show", "--json", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    return {setting["name"]: (setting["value"], setting["origin"]) for setting in shown["settings"]}


def test_every_value_is_shown_with_where_it_came_from(
    settings_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, overlay, environment variable, vendor's own variable, option, default."""
    monkeypatch.setenv("MDAGENT_CACHE__HISTORY_S", "30")
    shown = _settings(capsys, "--env", "prod", "--log-level", "error")
    assert shown["engine.deadline_s"] == (5.0, f"{settings_file.name and settings_file} [environments.prod]")
    assert shown["sources.nasdaq.enabled"] == (False, str(settings_file))
    assert shown["cache.history_s"] == (30.0, "environment MDAGENT_CACHE__HISTORY_S")
    assert shown["log_level"] == ("error", "command line")
    assert shown["cache.open_market_s"] == (2.0, "default")


def test_secrets_are_masked_wherever_they_come_from(
    settings_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the table, in the JSON, in the check."""
    for words in (["config", "show"], ["config", "show", "--json"], ["config", "check"]):
        assert main(words) == 0
        assert "file-secret-1" not in capsys.readouterr().out
    monkeypatch.setenv("FINNHUB_API_KEY", "environment-secret-2")
    assert _settings(capsys)["sources.finnhub.api_key"] == ("********", "environment FINNHUB_API_KEY")


def test_the_table_names_file_values_and_origins(settings_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads the same."""
    assert main(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"File: {settings_file}" or lines[0].startswith("File: ")
    deadline = next(line for line in lines if line.startswith("engine.deadline_s"))
    assert "7.5" in deadline
    key = next(line for line in lines if line.startswith("sources.finnhub.api_key"))
    assert "********" in key


def test_a_check_says_which_sources_can_be_used(settings_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is missing."""
    assert main(["config", "check"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The settings are valid.\n")
    lines = {line.partition(":")[0].strip(): line.partition(": ")[2] for line in out.splitlines() if ":" in line}
    assert lines["nasdaq"] == "disabled"
    assert lines["yahoo"].startswith("ready")
    assert lines["finnhub"] == "ready, plan free"


def test_a_check_without_a_key_says_where_to_get_one(empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And that there is no settings file."""
    assert main(["config", "check"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "File: none found" in out
    assert "finnhub: no key: set FINNHUB_API_KEY (https://" in out


@pytest.mark.parametrize("value", ["", "   ", "${user_config.finnhub_api_key}"])
def test_an_unset_key_of_a_host_is_no_key(
    value: str, empty_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the example configuration, and in a desktop bundle whose option was left empty."""
    monkeypatch.setenv("FINNHUB_API_KEY", value)
    assert _settings(capsys)["sources.finnhub.api_key"] == (None, "default")


def test_the_example_for_claude_desktop_starts_a_server_without_keys_and_a_simulated_one() -> None:
    """It is JSON in the host's form, and its empty key means not set."""
    file = Path(__file__).resolve().parents[2] / "claude_desktop_config.example.json"
    command = "/absolute/path/to/mdagent-mcp/.venv/bin/mdagent-mcp"
    assert json.loads(file.read_text(encoding="utf-8"))["mcpServers"] == {
        "mdagent": {"command": command, "args": ["serve"], "env": {"FINNHUB_API_KEY": ""}},
        "mdagent-simulated": {"command": command, "args": ["serve", "--sandbox"]},
    }


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        (True, "ready, asked as a browser"),
        (False, "ready; it may turn programs away: pip install 'mdagent-mcp[yahoo]'"),
    ],
)
def test_a_check_says_how_yahoo_is_spoken_to(
    installed: bool,
    told: str,
    empty_home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what to install where it is not yet."""
    monkeypatch.setattr("mdagent_mcp.cli.configuration.is_installed", lambda: installed)
    assert main(["config", "check"]) == 0
    assert f"  yahoo: {told}\n" in capsys.readouterr().out
