"""The grammar of the command line and the exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdagent_mcp import __version__
from mdagent_mcp.cli import main
from mdagent_mcp.cli.parser import parse_arguments


def test_without_a_command_it_serves() -> None:
    """A bare call is `serve` with the defaults of `serve`."""
    assert vars(parse_arguments([])) == vars(parse_arguments(["serve"]))
    assert parse_arguments([]).command == "serve"


def test_global_options_of_a_bare_call_are_kept() -> None:
    """`mdagent-mcp --sandbox` serves the sandbox."""
    arguments = parse_arguments(["--sandbox", "--data-dir", "d"])
    assert (arguments.command, arguments.sandbox, arguments.data_dir) == ("serve", True, "d")


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "c.toml", "--env", "prod", "--log-level", "INFO", "--sandbox", "quote", "AAPL"],
        ["quote", "AAPL", "--config", "c.toml", "--env", "prod", "--log-level", "info", "--sandbox"],
        ["--config", "c.toml", "--sandbox", "quote", "--env", "prod", "AAPL", "--log-level", "info"],
    ],
)
def test_global_options_stand_before_or_after_the_command(words: list[str]) -> None:
    """Where an option stands makes no difference."""
    arguments = parse_arguments(words)
    found = (arguments.command, arguments.config, arguments.env, arguments.log_level, arguments.sandbox)
    assert found == ("quote", "c.toml", "prod", "info", True)
    assert arguments.data_dir is None


def test_a_global_option_after_an_action_of_config_is_taken() -> None:
    """`config` has actions of its own, which take them too."""
    arguments = parse_arguments(["--env", "a", "config", "show", "--config", "c.toml", "--json"])
    assert (arguments.action, arguments.env, arguments.config, arguments.json) == ("show", "a", "c.toml", True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["bogus"], "invalid choice: 'bogus'"),
        (["quote"], "the following arguments are required: SYMBOL"),
        (["quote", "AAPL", "--max-age", "soon"], "argument --max-age: invalid float value: 'soon'"),
        (["history", "AAPL", "--max-bars", "many"], "argument --max-bars: invalid int value: 'many'"),
        (["config"], "the following arguments are required: ACTION"),
        (["parse", "yahoo"], "the following arguments are required: --url, --body"),
        (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
        (["serve", "--sand"], "unrecognized arguments: --sand"),
    ],
)
def test_words_that_are_no_command_end_with_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage is told on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["quote", "A B"], "SYMBOL: 'A B' is not a symbol; write it like AAPL"),
        (["quote", "AAPL", "--min-grade", "E"], "--min-grade: 'E' is not known; use one of A, B, C, D"),
        (["quote", "AAPL", "--max-age", "-1"], "--max-age: is out of range; give 0 or more"),
        (["quote", "AAPL", "--sources", "yaho"], "--sources: 'yaho' is not a source; did you mean 'yahoo'?"),
        (["history", "AAPL", "--interval", "2h"], "--interval: '2h' is not known; use one of 1m, 5m"),
        (["history", "AAPL", "--start", "2026-02-30"], "--start: '2026-02-30' is not in the calendar"),
        (["history", "AAPL", "--max-bars", "0"], "--max-bars: is out of range; give 1 to 5000"),
        (["sources", "nasdak"], "SOURCE: 'nasdak' is not a source; did you mean 'nasdaq'?"),
        (["explain"], "SYMBOL: is required unless evidence_id is given"),
        (["explain", "AAPL", "--kind", "trade"], "--kind: 'trade' is not known; use one of quote, history"),
        (["serve", "--port", "8000"], "--host and --port belong to serve --http"),
    ],
)
def test_values_that_cannot_be_used_end_with_2_and_one_line(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    """The line names the option as the person wrote it and says how to mend it."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"mdagent-mcp: {complaint}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_settings_that_cannot_be_used_end_with_2(capsys: pytest.CaptureFixture[str], empty_home: Path) -> None:
    """Also for `serve`, before anything is served."""
    settings = empty_home / "wrong.toml"
    settings.write_text("[engine]\ndeadline = 3\n", encoding="utf-8")
    for words in (["serve"], ["quote", "AAPL"], ["config", "check"]):
        assert main([*words, "--config", str(settings)]) == 2
        assert capsys.readouterr().err == (
            f"mdagent-mcp: {settings}: unknown setting 'engine.deadline'; did you mean 'deadline_s'?\n"
        )


def test_a_settings_file_that_is_not_there_ends_with_2(capsys: pytest.CaptureFixture[str], empty_home: Path) -> None:
    """The person named it, so it is not passed over."""
    assert main(["config", "check", "--config", "absent.toml"]) == 2
    assert capsys.readouterr().err == "mdagent-mcp: absent.toml: there is no such settings file\n"


def test_the_module_tells_its_version(tmp_path: Path) -> None:
    """`python -m mdagent_mcp --version` needs nothing else."""
    ended = subprocess.run(
        [sys.executable, "-m", "mdagent_mcp", "--version"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"mdagent-mcp {__version__}\n", "")


def test_a_reader_that_has_seen_enough_is_no_error(empty_home: Path) -> None:
    """`mdagent-mcp config show | head -1` says nothing on stderr."""
    words = [sys.executable, "-m", "mdagent_mcp", "config", "show"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    assert (process.returncode, complaint) == (0, b"")


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    """Every command's module is imported when it is run."""
    code = "import sys, mdagent_mcp.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    heavy = {"rich", "mcp", "pydantic", "httpx", "aiohttp", "numpy", "scipy", "networkx", "starlette", "aiosqlite"}
    assert loaded & heavy == set()
    assert "mdagent_mcp" in loaded
