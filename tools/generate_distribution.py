"""Write the files by which hosts and registries install the server, from the code: a test compares them with it.

    python tools/generate_distribution.py

- `deploy/mcpb/manifest.json`: an MCP bundle for one-click installation, manifest version 0.4 with a `uv` server, so
  that the host fetches Python and the dependencies; every vendor's key is a sensitive user setting that may stay empty.
- `server.json`: the entry of the MCP registry, schema of 2025-12-11.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from mdagent_mcp import __version__
from mdagent_mcp.domain.vendor import Key, Vendor
from mdagent_mcp.server.prompts import PromptFile, packaged_prompts
from mdagent_mcp.server.tool_declarations import DECLARATIONS
from mdagent_mcp.vendors.registry import VENDORS

ROOT: Final = Path(__file__).parents[1]
MANIFEST: Final = ROOT / "deploy" / "mcpb" / "manifest.json"
REGISTRY_ENTRY: Final = ROOT / "server.json"

NAME: Final = "mdagent-mcp"
NAMESPACE: Final = "io.github.mdagent"
"""Of the MCP registry; whoever publishes under another account puts it here and into README's `mcp-name` line."""
TITLE: Final = "Market data with a grade"
SUMMARY: Final = "Stock quotes and history from several vendors, reconciled and graded A-F with the evidence."
"""The registry takes at most 100 characters."""
DESCRIPTION: Final = (
    "Asks several market data vendors at once, reconciles what they say, and answers with one price, an A-F grade and "
    "the evidence for it. Works without any key (Yahoo, Nasdaq, Cboe); each free key makes better grades possible."
)


def manifest() -> dict[str, Any]:
    """The bundle's manifest."""
    return {
        "manifest_version": "0.4",
        "name": NAME,
        "display_name": TITLE,
        "version": __version__,
        "description": SUMMARY,
        "long_description": DESCRIPTION,
        "author": {"name": "The mdagent-mcp developers"},
        "license": "Apache-2.0",
        "keywords": ["market data", "stocks", "quotes", "data quality"],
        "server": {
            "type": "uv",
            "entry_point": "src/mdagent_mcp/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", NAME, "serve"],
                "env": {key.environment[0]: f"${{user_config.{vendor.id}_key}}" for vendor, key in _keyed()},
            },
        },
        "tools": [{"name": tool.name, "description": tool.description} for tool in DECLARATIONS],
        "prompts": [_prompt(prompt) for prompt in packaged_prompts()],
        "user_config": {f"{vendor.id}_key": _key_setting(vendor, key) for vendor, key in _keyed()},
        "compatibility": {"platforms": ["darwin", "win32", "linux"], "runtimes": {"python": ">=3.11"}},
    }


def registry_entry() -> dict[str, Any]:
    """The entry of the MCP registry."""
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": f"{NAMESPACE}/{NAME}",
        "title": TITLE,
        "description": SUMMARY,
        "version": __version__,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": NAME,
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    {
                        "name": key.environment[0],
                        "description": f"Key of {vendor.title}, free at {key.signup_url}",
                        "format": "string",
                        "isRequired": False,
                        "isSecret": True,
                    }
                    for vendor, key in _keyed()
                ],
            }
        ],
    }


def text(data: dict[str, Any]) -> str:
    """As it stands in the file."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _keyed() -> list[tuple[Vendor, Key]]:
    """The vendors that take a key and still have something to ask."""
    return [(vendor, vendor.key) for vendor in VENDORS if vendor.key is not None and vendor.retirement is None]


def _key_setting(vendor: Vendor, key: Key) -> dict[str, Any]:
    return {
        "type": "string",
        "title": f"{vendor.title} key",
        "description": f"Optional. Free at {key.signup_url}",
        "required": False,
        "sensitive": True,
        "default": "",
    }


def _prompt(prompt: PromptFile) -> dict[str, Any]:
    """A bundle's prompt names its places `${arguments.name}`."""
    body = prompt.body
    for name in prompt.arguments:
        body = body.replace(f"{{{name}}}", f"${{arguments.{name}}}")
    return {
        "name": prompt.name,
        "description": prompt.description,
        "arguments": list(prompt.arguments),
        "text": body,
    }


def main() -> None:
    """Write both files."""
    for target, data in ((MANIFEST, manifest()), (REGISTRY_ENTRY, registry_entry())):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(data), encoding="utf-8")
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
