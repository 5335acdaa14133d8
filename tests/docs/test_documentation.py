"""What the documentation promises is there, and what is there is documented."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from mdagent_mcp.cli.parser import parse_arguments
from mdagent_mcp.config.loading import load
from mdagent_mcp.consensus.history_checks import RULES as HISTORY_RULES
from mdagent_mcp.consensus.history_reasons import REASONS
from mdagent_mcp.consensus.rules import RULES
from mdagent_mcp.domain.quality import Grade
from mdagent_mcp.server.arguments import TOOL_ARGUMENTS
from mdagent_mcp.vendors.registry import VENDORS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tool(name: str) -> ModuleType:
    """A script of `tools/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_checks_is_what_the_code_says() -> None:
    """Run `python tools/generate_checks_page.py` after changing a rule; every part of it is on the page."""
    text = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    generator = tool("generate_checks_page")
    assert text == generator.page(text)
    assert re.findall(r"<!-- generated: ([a-z ]+) -->", text) == list(generator.PARTS)
    assert [rule.id for rule in (*RULES, *HISTORY_RULES) if f"| `{rule.id}` |" not in text] == []
    assert [rule.id for rule in HISTORY_RULES if not rule.reason and rule.id not in REASONS] == []


@pytest.mark.parametrize("source", [vendor.id for vendor in VENDORS])
def test_every_source_is_in_the_readme_with_its_key(source: str) -> None:
    """Which source needs which key is told on the first pages."""
    vendor = next(v for v in VENDORS if v.id == source)
    (row,) = re.findall(rf"^\| `{source}` \|(.*)$", README, re.MULTILINE)
    assert ("none" in row.split("|")[0]) is (vendor.key is None)
    if vendor.key is not None:
        assert f"`{vendor.key.environment[0]}`" in row


@pytest.mark.parametrize("name", TOOL_ARGUMENTS)
def test_every_tool_is_in_the_readme(name: str) -> None:
    """Four of them."""
    assert f"**`{name}`**" in README


def test_every_grade_is_explained_in_the_readme() -> None:
    """With what an agent may do with it."""
    assert [grade for grade in Grade if f"| **{grade}** |" not in README] == []


def test_the_settings_in_the_readme_are_settings(tmp_path: Path) -> None:
    """Every TOML block loads."""
    blocks = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert all(tomllib.loads(block) for block in blocks)
    file = tmp_path / "mdagent.toml"
    file.write_text("\n".join(blocks), encoding="utf-8")
    settings = load({}, config=file).settings
    assert settings.source("yahoo").enabled is False
    assert settings.alerts.watch == ("AAPL",)


def test_the_desktop_configurations_are_json_that_starts_the_server() -> None:
    """The README's and the example file's: every argument list is one the command line understands."""
    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    example = (ROOT / "claude_desktop_config.example.json").read_text(encoding="utf-8")
    for text in (block, example):
        servers = json.loads(text)["mcpServers"]
        assert servers
        for server in servers.values():
            words = [word for word in server["args"] if word in {"serve", "--sandbox"}]
            assert parse_arguments(words or ["serve"]) is not None


def test_prompts_are_part_of_the_package() -> None:
    """The wheel carries them, so the build is told to."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"prompts": "mdagent_mcp/prompts"}
    assert sorted(path.name for path in (ROOT / "prompts").glob("*.md"))


def test_nothing_is_longer_than_it_should_be() -> None:
    """No module over 400 lines, but for the domain's plain declarations of answers."""
    long = {
        str(p.relative_to(ROOT)): n for p in ROOT.glob("src/**/*.py") if (n := len(p.read_text().splitlines())) > 400
    }
    assert set(long) <= {"src/mdagent_mcp/domain/answers.py"}
