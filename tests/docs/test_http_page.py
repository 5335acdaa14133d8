"""The page on HTTP tells every setting with its default, and its settings load."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.server.http.hosts import refuse_unsafe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", PAGE, re.MULTILINE))


def test_every_setting_is_on_the_page_and_no_other() -> None:
    """In the order of the code."""
    assert list(ROWS) == list(HttpSettings.model_fields)


@pytest.mark.parametrize("name", HttpSettings.model_fields)
def test_the_defaults_on_the_page_are_the_defaults(name: str) -> None:
    """As numbers and words; what is empty is told in words."""
    default = getattr(HttpSettings(), name)
    if not isinstance(default, str | int | float):
        return
    told = ROWS[name].strip("`")
    assert told == (
        str(default).lower() if isinstance(default, bool | str) else f"{default:g}" if default < 1e6 else str(default)
    )


def test_the_settings_on_the_page_load_and_are_safe() -> None:
    """Every TOML block."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        settings = HttpSettings.model_validate(tomllib.loads(block)["http"])
        refuse_unsafe(settings.host, settings.tokens, settings.allowed_hosts)
