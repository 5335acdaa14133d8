"""The mark of a setting that a running server takes over at its next start only.

The rule of this module: it stands beside the setting itself, so that schema, server and tests read the same.
"""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue
from pydantic.fields import FieldInfo

AT_START: Final[dict[str, JsonValue]] = {"x-takes-effect": "at the next start"}
"""For `Field(json_schema_extra=…)`; every other setting is followed while the server runs."""


def is_read_at_start(field: FieldInfo) -> bool:
    """Whether a setting takes effect at the next start only."""
    return field.json_schema_extra == AT_START
