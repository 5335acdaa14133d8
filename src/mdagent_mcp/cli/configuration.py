"""`config check`, `show` and `schema`: what is set, where, whether it can be used, and what could be."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.text import Text

from mdagent_mcp.cli.outcome import ExitCode
from mdagent_mcp.cli.render import table, terminal
from mdagent_mcp.cli.startup import data_directory, load_settings
from mdagent_mcp.config.display import effective_settings
from mdagent_mcp.config.loading import Loaded
from mdagent_mcp.config.schema import settings_schema
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.transport.browser import INSTALL, is_installed
from mdagent_mcp.vendors.registry import VENDORS


def config(arguments: argparse.Namespace) -> int:
    """Check or show the settings, or say which there are; wrong ones end the command with exit 2 before this."""
    if arguments.action == "schema":
        sys.stdout.write(json.dumps(settings_schema(), indent=2) + "\n")
        return ExitCode.OK
    loaded = load_settings(arguments)
    if arguments.action == "check":
        _check(loaded)
    elif arguments.json:
        sys.stdout.write(json.dumps(_settings_json(loaded), indent=2) + "\n")
    else:
        _show(loaded)
    return ExitCode.OK


def _check(loaded: Loaded) -> None:
    console = terminal()
    console.print(Text("The settings are valid."))
    for line in _heading(loaded):
        console.print(Text(line))
    for vendor in VENDORS:
        console.print(Text(f"  {vendor.id}: {_readiness(vendor, loaded.settings)}"))


def _show(loaded: Loaded) -> None:
    console = terminal()
    for line in _heading(loaded):
        console.print(Text(line))
    drawn = table("Setting", "Value", "From")
    for setting in effective_settings(loaded):
        value = "not set" if setting.value is None else json.dumps(setting.value)
        drawn.add_row(setting.name, value, Text(setting.origin, style="dim" if setting.origin == "default" else "bold"))
    console.print(drawn)


def _settings_json(loaded: Loaded) -> dict[str, Any]:
    return {
        "file": None if loaded.file is None else str(loaded.file),
        "environment": loaded.environment,
        "settings": [
            {"name": s.name, "value": s.value, "origin": s.origin, "description": s.unit}
            for s in effective_settings(loaded)
        ],
    }


def _heading(loaded: Loaded) -> list[str]:
    overlay = f", overlay [environments.{loaded.environment}]" if loaded.environment else ""
    return [
        f"File: {loaded.file or 'none found; defaults, environment variables and options only'}{overlay}",
        f"Data directory: {data_directory(loaded.settings)}",
    ]


def _readiness(vendor: Vendor, settings: Settings) -> str:
    chosen = settings.source(vendor.id)
    if not chosen.enabled:
        return "disabled"
    standing = vendor.standing(chosen.urls)
    if vendor.retirement is not None and not standing:
        return f"retired since {vendor.retirement.since}: {vendor.retirement.told}"
    if vendor.key is not None and chosen.api_key is None:
        place = f" ({vendor.key.signup_url})" if vendor.key.signup_url else ""
        return f"no key: set {vendor.key.environment[0]}{place}"
    where = f" at {', '.join(standing)}" if standing else ""
    return f"ready{where}{'' if vendor.key is None else f', plan {chosen.plan}'}{_spoken(vendor)}"


def _spoken(vendor: Vendor) -> str:
    if not vendor.impersonates_browser:
        return ""
    return ", asked as a browser" if is_installed() else f"; it may turn programs away: {INSTALL}"
