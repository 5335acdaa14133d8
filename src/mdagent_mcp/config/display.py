"""Settings as a person sees them: every effective value with its origin, secrets masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from mdagent_mcp.config.loading import Loaded
from mdagent_mcp.config.settings import SOURCE_IDS, Settings

MASK: Final = "********"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One value in effect.

    Attributes:
        name: dotted.
        value: JSON-able; a secret is masked, None means not set.
        origin: `default` or where it came from.
        unit: what the setting's description says.
    """

    name: str
    value: Any
    origin: str
    unit: str


def effective_settings(loaded: Loaded) -> tuple[EffectiveSetting, ...]:
    """Every setting in the order of its section; sources all listed, whether set or not."""
    return tuple(_walk(loaded.settings, loaded.origins, ""))


def _walk(model: BaseModel, origins: Mapping[str, str], prefix: str) -> Iterator[EffectiveSetting]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        dotted = f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _walk(value, origins, f"{dotted}.")
        elif isinstance(model, Settings) and name == "sources":
            for source in SOURCE_IDS:
                yield from _walk(model.source(source), origins, f"sources.{source}.")
        else:
            yield EffectiveSetting(dotted, _shown(value), origins.get(dotted, "default"), field.description or "")


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Mapping):
        return {str(name): _shown(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [v.model_dump() if isinstance(v, BaseModel) else _shown(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
