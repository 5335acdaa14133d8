"""What hosts and registries install from says what the code does."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import build_bundle
import generate_distribution
import pytest

from mdagent_mcp import __version__
from mdagent_mcp.config.loading import load

ROOT = Path(__file__).parents[2]
MCPB = os.environ.get("MCPB") or shutil.which("mcpb")
KEYS = {
    "ALPHAVANTAGE_API_KEY",
    "POLYGON_API_KEY",
    "TWELVE_DATA_API_KEY",
    "FINNHUB_API_KEY",
    "TIINGO_API_KEY",
}


def test_the_written_files_are_those_the_code_generates() -> None:
    """`python tools/generate_distribution.py` writes them anew."""
    written = generate_distribution.MANIFEST.read_text(encoding="utf-8")
    assert written == generate_distribution.text(generate_distribution.manifest())
    entry = generate_distribution.REGISTRY_ENTRY.read_text(encoding="utf-8")
    assert entry == generate_distribution.text(generate_distribution.registry_entry())


def test_the_bundle_asks_for_every_key_as_a_secret_that_may_stay_empty() -> None:
    """Five vendors sell or give keys; the retired one is not asked for."""
    manifest = generate_distribution.manifest()
    environment = manifest["server"]["mcp_config"]["env"]
    assert set(environment) == KEYS
    asked = {f"${{user_config.{name}}}": setting for name, setting in manifest["user_config"].items()}
    assert {(asked[place]["sensitive"], asked[place]["required"]) for place in environment.values()} == {(True, False)}


def test_a_bundle_without_a_single_key_filled_in_configures_no_key() -> None:
    """A host may leave the place of an unset option as it stands."""
    environment = generate_distribution.manifest()["server"]["mcp_config"]["env"]
    assert dict(load(environment).settings.sources) == {}


def test_every_place_of_a_prompt_is_written_as_a_bundle_writes_it() -> None:
    """`{symbol}` of ours is `${arguments.symbol}` there."""
    for prompt in generate_distribution.manifest()["prompts"]:
        places = set(re.findall(r"\$\{arguments\.([a-z_]+)\}", prompt["text"]))
        assert places == set(prompt["arguments"])
        assert not re.search(r"(?<!\$)\{[a-z_]+\}", prompt["text"])


def test_the_registry_entry_keeps_the_registrys_limits_and_is_proved_by_the_readme() -> None:
    """The registry finds its own name in the README of the package index."""
    entry = generate_distribution.registry_entry()
    assert len(entry["description"]) <= 100
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    package = entry["packages"][0]
    assert (entry["version"], package["version"]) == (__version__, __version__)
    assert {variable["name"] for variable in package["environmentVariables"] if variable["isSecret"]} == KEYS
    assert f"<!-- mcp-name: {entry['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_staged_bundle_holds_what_the_build_of_the_package_needs(tmp_path: Path) -> None:
    """The host builds the package from it."""
    build_bundle.stage(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert (tmp_path / manifest["server"]["entry_point"]).is_file()
    assert {path.name for path in (tmp_path / "prompts").iterdir()} == {p.name for p in (ROOT / "prompts").iterdir()}
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.skipif(MCPB is None, reason="needs the official tool: npm install -g @anthropic-ai/mcpb, or $MCPB")
def test_the_official_tool_validates_and_packs_the_bundle(tmp_path: Path) -> None:
    """The command that makes a release."""
    bundle = tmp_path / "mdagent-mcp.mcpb"
    run = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_bundle.py"), str(bundle)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MCPB": str(MCPB)},
    )
    assert (run.returncode, bundle.is_file()) == (0, True), run.stdout + run.stderr
