"""The JSON Schema of the settings file, for editors that complete and check TOML.

The rule of this module: it is made from the settings themselves, so that it cannot say anything else.
"""

from __future__ import annotations

from typing import Any, Final

from mdagent_mcp.config.settings import SOURCE_IDS, Settings
from mdagent_mcp.vendors.registry import VENDORS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def settings_schema() -> dict[str, Any]:
    """The schema of a whole settings file: every section, every source by its id, and overlays of the same shape."""
    schema = Settings.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    properties: dict[str, Any] = schema["properties"]
    properties["sources"] = {
        "type": "object",
        "description": "by source id",
        "additionalProperties": False,
        "properties": {source: _source(source) for source in SOURCE_IDS},
    }
    definitions["Overlay"] = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    properties["environments"] = {
        "type": "object",
        "description": "overlays, chosen by --env or $MDAGENT_ENV",
        "additionalProperties": {"$ref": "#/$defs/Overlay"},
    }
    return {"$schema": DIALECT, "title": "Settings of mdagent-mcp", **_without_title(schema), "$defs": definitions}


def _source(source: str) -> dict[str, Any]:
    """A source's settings, with the plans that this vendor sells."""
    vendor = next(vendor for vendor in VENDORS if vendor.id == source)
    plans = list(dict.fromkeys(("free", *vendor.plans)))
    narrowed: dict[str, Any] = {"plan": {"enum": plans}}
    if vendor.entitlements:
        narrowed["entitlement"] = {"enum": list(vendor.entitlements)}
    return {"description": vendor.title, "$ref": "#/$defs/SourceSettings", "properties": narrowed}


def _without_title(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in {"title", "description"}}
