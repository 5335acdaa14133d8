"""Behaviour of the settings: where they come from, what wins, what is refused and how it is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdagent_mcp.config.display import MASK, effective_settings
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.consensus.context import GradingThresholds

TOML = """
log_level = "info"
[engine]
deadline_s = 8
[sources.finnhub]
api_key = "from-file"
plan = "premium"
[sources.yahoo]
enabled = false
[environments.lab.sources.yahoo]
enabled = true
base_url = "http://127.0.0.1:9000/yahoo/"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with an overlay."""
    path = tmp_path / "mdagent.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    """No file, no environment: every source enabled, no key, nothing on record as set."""
    loaded = load({})
    assert (loaded.origins, loaded.file, loaded.environment) == ({}, None, None)
    assert loaded.settings.source("finnhub").api_key is None
    assert loaded.settings.source("yahoo").enabled is True


def test_later_layers_win_and_every_value_remembers_its_origin(file: Path) -> None:
    """Command line over environment over overlay over file."""
    loaded = load(
        {"MDAGENT_ENGINE__DEADLINE_S": "6", "FINNHUB_API_KEY": "from-env", "MDAGENT_ENV": "lab"},
        config=file,
        overrides={"log_level": "debug"},
    )
    yahoo = loaded.settings.source("yahoo")
    assert (yahoo.enabled, yahoo.base_url) == (True, "http://127.0.0.1:9000/yahoo")
    assert loaded.settings.engine.deadline_s == 6.0
    assert loaded.settings.log_level == "debug"
    key = loaded.settings.source("finnhub").api_key
    assert key is not None
    assert key.get_secret_value() == "from-env"
    assert loaded.origins == {
        "log_level": "command line",
        "engine.deadline_s": "environment MDAGENT_ENGINE__DEADLINE_S",
        "sources.finnhub.api_key": "environment FINNHUB_API_KEY",
        "sources.finnhub.plan": str(file),
        "sources.yahoo.enabled": f"{file} [environments.lab]",
        "sources.yahoo.base_url": f"{file} [environments.lab]",
    }


@pytest.mark.parametrize("unset", ["", "  ", "${user_config.finnhub_api_key}"])
def test_an_unset_option_of_a_desktop_bundle_means_not_set(unset: str) -> None:
    """An empty string and an unreplaced placeholder are no key."""
    assert load({"FINNHUB_API_KEY": unset}).settings.source("finnhub").api_key is None


def test_the_file_is_looked_for_in_order(tmp_path: Path, file: Path) -> None:
    """The first directory that has one wins; a file named by the environment wins over them."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mdagent.toml").write_text('log_level = "error"', encoding="utf-8")
    assert load({}, directories=(tmp_path / "none", other, tmp_path)).settings.log_level == "error"
    assert load({"MDAGENT_CONFIG": str(file)}, directories=(other,)).settings.log_level == "info"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"MDAGENT_ENGIN__DEADLINE_S": "1"}, "environment MDAGENT_ENGIN__DEADLINE_S: unknown setting 'engin'; did you mean 'engine'?"),
        ({"MDAGENT_SOURCES__FINHUB__PLAN": "free"}, "environment MDAGENT_SOURCES__FINHUB__PLAN: unknown source 'finhub'; did you mean 'finnhub'?"),
        ({"MDAGENT_SOURCES__YAHOO__BASEURL": "x"}, "environment MDAGENT_SOURCES__YAHOO__BASEURL: unknown setting 'sources.yahoo.baseurl'; did you mean 'base_url'?"),
        ({"MDAGENT_SOURCES__YAHOO__BASE_URL": "ftp://x"}, "environment MDAGENT_SOURCES__YAHOO__BASE_URL: sources.yahoo.base_url: should be an http:// or https:// URL with a host"),
        ({"MDAGENT_ENGINE__DEADLINE_S": "-1"}, "environment MDAGENT_ENGINE__DEADLINE_S: engine.deadline_s: Input should be greater than 0"),
        ({"MDAGENT_ENV": "prod"}, "no settings file: has no [environments.prod]; it has: none"),
        ({"MDAGENT_CONFIG": "/nowhere/mdagent.toml"}, "/nowhere/mdagent.toml: there is no such settings file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_origin(environ: dict[str, str], message: str) -> None:
    """A person can mend it without reading code."""
    with pytest.raises(ConfigurationError) as caught:
        load(environ)
    assert str(caught.value) == message


def test_an_unknown_plan_lists_the_plans() -> None:
    """Plans carry the vendors' own names."""
    with pytest.raises(ConfigurationError, match="'gold' is not a plan of finnhub; use one of: free, premium"):
        load({"MDAGENT_SOURCES__FINNHUB__PLAN": "gold"})


def test_a_broken_file_is_told_with_its_place(tmp_path: Path) -> None:
    """TOML errors carry line and column."""
    path = tmp_path / "mdagent.toml"
    path.write_text("log_level = \n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"mdagent\.toml: is not TOML: .*line 1"):
        load({}, config=path)


def test_no_error_and_no_display_shows_a_key(file: Path) -> None:
    """Secrets are masked wherever settings are shown."""
    loaded = load({"FINNHUB_API_KEY": "very-secret-key"}, config=file)
    shown = {s.name: (s.value, s.origin) for s in effective_settings(loaded)}
    assert shown["sources.finnhub.api_key"] == (MASK, "environment FINNHUB_API_KEY")
    assert shown["engine.deadline_s"] == (8.0, str(file))
    assert "very-secret-key" not in repr(loaded)
    with pytest.raises(ConfigurationError) as caught:
        load({"MDAGENT_SOURCES__FINNHUB__API_KEY": '["very-secret-key"]'})
    assert "very-secret-key" not in str(caught.value)


def test_the_lines_of_the_rubric_are_settings(tmp_path: Path) -> None:
    """What is set reaches the judgement, what is not keeps the documented default."""
    file = tmp_path / "mdagent.toml"
    file.write_text("[grading]\nreal_time_s = 1.5\nstale_s = 900\n", encoding="utf-8")
    grading = load({}, config=file).settings.grading
    assert grading.thresholds() == GradingThresholds(real_time_s=1.5, stale_s=900.0)
    assert load({}).settings.grading.thresholds() == GradingThresholds()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("real_time_s = 6", "grading: the delay limits must rise"),
        ("vote_age_s = 10", "grading: corroboration_age_s (30) must not exceed vote_age_s (10)"),
        ("same_price = 0.01", "grading: same_price (0.01) must be below conflicting_price (0.0025)"),
        ("large_move = 1.5", "grading.large_move: Input should be less than 1"),
        ("real_time = 1", "unknown setting 'grading.real_time'; did you mean 'real_time_s'?"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Every line alone, and their order."""
    file = tmp_path / "mdagent.toml"
    file.write_text(f"[grading]\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load({}, config=file)
