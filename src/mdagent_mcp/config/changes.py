"""What differs between two settings, and what of it a running server can take over.

The rule of this module: it decides and does nothing; names and marks come from the settings themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from mdagent_mcp.config.settings import SOURCE_IDS, Settings
from mdagent_mcp.config.taking_effect import is_read_at_start


def changed(began: Settings, now: Settings) -> tuple[str, ...]:
    """The dotted names of the settings that differ, in the order of their sections."""
    before = dict(_values(began, ""))
    return tuple(name for name, value in _values(now, "") if value != before[name])


def in_force(began: Settings, wanted: Settings) -> Settings:
    """The wanted settings, but for those that are read at the start, which stay as they began."""
    sections: dict[str, BaseModel] = {}
    for name in type(wanted).model_fields:
        section = getattr(began, name)
        if isinstance(section, BaseModel):
            kept = {f: getattr(section, f) for f, info in type(section).model_fields.items() if is_read_at_start(info)}
            sections[name] = getattr(wanted, name).model_copy(update=kept)
    return wanted.model_copy(update=sections)


def _values(model: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _values(value, f"{prefix}{name}.")
        elif isinstance(model, Settings) and isinstance(value, Mapping):
            for source in SOURCE_IDS:
                yield from _values(model.source(source), f"{name}.{source}.")
        else:
            yield f"{prefix}{name}", value
