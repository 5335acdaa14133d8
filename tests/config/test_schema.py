"""The schema of the settings, as an editor reads it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mdagent_mcp.config.schema import settings_schema
from mdagent_mcp.config.settings import SOURCE_IDS, Settings

README = Path(__file__).parents[2] / "README.md"
VALIDATOR = jsonschema.Draft202012Validator(settings_schema())


def faults(toml: str) -> list[str]:
    """Where an editor would underline."""
    return sorted(".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(tomllib.loads(toml)))


def test_it_is_a_schema_and_takes_every_example_of_the_readme() -> None:
    """What a person copies has no red line under it."""
    jsonschema.Draft202012Validator.check_schema(settings_schema())
    examples = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    assert [faults(example) for example in examples] == [[] for _ in examples]


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("[engine]\ndeadline_s = -1", "engine.deadline_s"),
        ("[engine]\ndeadlin_s = 1", "engine"),
        ('[sources.polygon]\nplan = "golden"', "sources.polygon.plan"),
        ("[sources.bloomberg]\nenabled = true", "sources"),
        ("[environments.lab.cache]\nentries = 0", "environments.lab.cache.entries"),
        ('log_level = "loud"', "log_level"),
    ],
)
def test_it_finds_what_the_settings_would_refuse(toml: str, place: str) -> None:
    """At the place where it stands."""
    assert faults(toml) == [place]


def test_every_setting_is_described() -> None:
    """A person reads the description in the editor."""
    schema = settings_schema()
    bare = [
        f"{section}.{name}"
        for section, model in {"": schema, **schema["$defs"]}.items()
        if section != "Overlay"
        for name, field in model["properties"].items()
        if not _described(field)
    ]
    assert bare == []
    assert set(schema["properties"]) == {*Settings.model_fields, "environments"}
    assert tuple(schema["properties"]["sources"]["properties"]) == SOURCE_IDS


def _described(field: dict[str, Any]) -> bool:
    return bool(field.get("description") or "$ref" in field)
