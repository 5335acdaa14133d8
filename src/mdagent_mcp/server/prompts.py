"""Prompts: the Markdown files in `prompts/`, with name, title, description and arguments in front matter.

The rule of this module: a prompt is text with `{argument}` places and nothing more; a file that does not keep the
format is refused at start-up, with its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import PromptArgument

from mdagent_mcp.domain.failures import clean_text

_FRONT_MATTER: Final = re.compile(r"---\n(?P<head>.*?)\n---\n(?P<body>.*)", re.DOTALL)
_PLACE: Final = re.compile(r"\{([a-z_]+)\}")
_ARGUMENT_LIMIT: Final = 500
"""Characters of one argument that a prompt takes over."""


class PromptFormatError(ValueError):
    """A prompt file is not written as it should be; the message names the file and the defect."""


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt as its file declares it.

    Attributes:
        name: as it is called.
        title: for people.
        description: for people and models.
        arguments: name -> description, in order; one whose description ends in `(optional)` may be left out.
        body: Markdown with `{argument}` places.
    """

    name: str
    title: str
    description: str
    arguments: Mapping[str, str]
    body: str

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments that it cannot do without."""
        return tuple(name for name, text in self.arguments.items() if not text.endswith("(optional)"))

    def text(self, arguments: Mapping[str, str]) -> str:
        """The body with every place filled; an argument that was left out becomes `not given`."""

        def fill(place: re.Match[str]) -> str:
            return clean_text(str(arguments.get(place[1], "")), _ARGUMENT_LIMIT) or "not given"

        return _PLACE.sub(fill, self.body)


def read_prompt(filename: str, text: str) -> PromptFile:
    """Read one prompt file.

    Raises:
        PromptFormatError: naming the file and the defect.
    """
    found = _FRONT_MATTER.fullmatch(text.replace("\r\n", "\n"))
    if found is None:
        raise PromptFormatError(f"{filename}: no front matter between two lines of three dashes")
    head, arguments = _read_head(filename, found["head"])
    missing = [key for key in ("name", "title", "description") if not head.get(key)]
    if missing:
        raise PromptFormatError(f"{filename}: front matter lacks {', '.join(missing)}")
    undeclared = set(_PLACE.findall(found["body"])) ^ set(arguments)
    if undeclared:
        raise PromptFormatError(f"{filename}: declared arguments and places differ: {', '.join(sorted(undeclared))}")
    return PromptFile(head["name"], head["title"], head["description"], arguments, found["body"].strip())


def packaged_prompts() -> tuple[PromptFile, ...]:
    """All prompt files that ship with the package, by file name; in a source tree those at its root."""
    files = sorted((f for f in _folder().iterdir() if f.name.endswith(".md")), key=lambda f: f.name)
    return tuple(read_prompt(f.name, f.read_text(encoding="utf-8")) for f in files)


def registered(file: PromptFile) -> Prompt:
    """A prompt as the SDK wants it."""
    return Prompt(
        name=file.name,
        title=file.title,
        description=file.description,
        arguments=[
            PromptArgument(name=name, description=text, required=name in file.required)
            for name, text in file.arguments.items()
        ],
        fn=_filling(file),
        context_kwarg=None,
    )


def _filling(file: PromptFile) -> Callable[..., str]:
    def fill(**arguments: str) -> str:
        return file.text(arguments)

    return fill


def _read_head(filename: str, head: str) -> tuple[dict[str, str], dict[str, str]]:
    """`key: value` lines; under `arguments:` the same, indented by two blanks."""
    top: dict[str, str] = {}
    arguments: dict[str, str] = {}
    for line in filter(str.strip, head.split("\n")):
        key, colon, value = line.strip().partition(":")
        indented = line.startswith("  ")
        if not colon or (indented and "arguments" not in top):
            raise PromptFormatError(f"{filename}: cannot read the line '{clean_text(line, 60)}'")
        (arguments if indented else top)[key.strip()] = value.strip()
    return top, arguments


def _folder() -> Traversable:
    packaged = resources.files("mdagent_mcp").joinpath("prompts")
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "prompts"
