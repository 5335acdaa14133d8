"""Build the MCP bundle for one-click installation, with the official tool (`npm install -g @anthropic-ai/mcpb`).

    python tools/build_bundle.py dist/mdagent-mcp.mcpb

The bundle is a `uv` server: it carries the source tree that the wheel is made of, no environment and no dependency; the
host installs those. `$MCPB` names the tool where it is not on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FILES: Final = ("pyproject.toml", "README.md", "LICENSE", "claude_desktop_config.example.json")
FOLDERS: Final = ("src", "prompts")


def stage(target: Path) -> None:
    """Lay out what the bundle holds: the manifest at its top, and what the build of the package needs."""
    shutil.copy(ROOT / "deploy" / "mcpb" / "manifest.json", target / "manifest.json")
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def build(output: Path, tool: str) -> None:
    """Stage, validate and pack.

    Raises:
        subprocess.CalledProcessError: when the tool refuses the manifest or cannot pack.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        stage(staged)
        subprocess.run([tool, "validate", str(staged / "manifest.json")], check=True)
        subprocess.run([tool, "pack", str(staged), str(output)], check=True)


def main() -> int:
    """The command."""
    if len(sys.argv) != 2:
        print("usage: python tools/build_bundle.py OUTPUT.mcpb", file=sys.stderr)
        return 2
    tool = os.environ.get("MCPB") or shutil.which("mcpb")
    if tool is None:
        print("the official tool is missing: npm install -g @anthropic-ai/mcpb", file=sys.stderr)
        return 1
    try:
        build(Path(sys.argv[1]).resolve(), tool)
    except subprocess.CalledProcessError as error:
        print(f"the bundle could not be built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
