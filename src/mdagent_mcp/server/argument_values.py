"""Reading one raw argument: the right type and range, or an error that names the argument and says how to mend it.

The rule of this module: nothing the asker wrote is repeated beyond 40 characters, and nothing is guessed. A missing
argument and a null one are the same.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from mdagent_mcp.domain.instruments import echo
from mdagent_mcp.domain.questions import InvalidArgumentError

Arguments = Mapping[str, Any]
"""Arguments as they came off the wire or the command line: nothing about them is known yet."""

_SAME_AS: Final[Mapping[str, str]] = {
    "ticker": "symbol",
    "tickers": "symbols",
    "stock": "symbol",
    "stocks": "symbols",
    "range": "period",
    "from": "start",
    "start_date": "start",
    "to": "end",
    "end_date": "end",
    "limit": "max_bars",
    "id": "evidence_id",
}
"""Names that other servers use for the same thing."""


def refuse_unknown(arguments: Arguments, known: Sequence[str]) -> None:
    """Refuse the first argument that a tool does not have.

    Raises:
        InvalidArgumentError: naming it and the nearest that exists.
    """
    unknown = next((name for name in arguments if name not in known), None)
    if unknown is None:
        return
    raise InvalidArgumentError(
        echo(str(unknown)), f"there is no such argument; {nearest(str(unknown), known)}known: {', '.join(known)}"
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'? ` for the nearest known name, empty when none is near."""
    names = list(known)
    same = _SAME_AS.get(name.lower(), "")
    candidates = [same, f"{same}s"] if same else []
    found = [c for c in candidates if c in names] or get_close_matches(name[:60].lower(), names, n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'? " if found else ""


def text_of(arguments: Arguments, name: str, example: str) -> str | None:
    """A text argument without surrounding blanks; None when it is not given.

    Raises:
        InvalidArgumentError: when it is something else, or empty.
    """
    value = arguments.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidArgumentError(name, f"should be text, is {kind_of(value)}; write it like {example}")
    stripped = value.strip()
    if not stripped:
        raise InvalidArgumentError(name, f"is empty; write it like {example}, or leave it out")
    return stripped


def choice_of(arguments: Arguments, name: str, allowed: Sequence[str]) -> str | None:
    """One of a fixed set of words, read without regard to case; None when it is not given.

    Raises:
        InvalidArgumentError: listing what is allowed.
    """
    text = text_of(arguments, name, f'"{allowed[0]}"')
    if text is None:
        return None
    found = next((word for word in allowed if word.lower() == text.lower()), None)
    if found is None:
        raise InvalidArgumentError(name, f"'{echo(text)}' is not known; use one of {', '.join(allowed)}")
    return found


def flag_of(arguments: Arguments, name: str) -> bool:
    """A yes or no; False when it is not given.

    Raises:
        InvalidArgumentError: when it is something else.
    """
    value = arguments.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidArgumentError(name, f"should be true or false, is {kind_of(value)}; write it without quotes")
    return value


def number_of(arguments: Arguments, name: str, low: float, high: float) -> float | None:
    """A finite number within bounds, both included; None when it is not given.

    Raises:
        InvalidArgumentError: with the bounds.
    """
    value = arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgumentError(
            name, f"should be a number, is {kind_of(value)}; give {_bounds(low, high)}, without quotes"
        )
    if not low <= value <= min(high, sys.float_info.max):
        raise InvalidArgumentError(name, f"is out of range; give {_bounds(low, high)}")
    return float(value)


def whole_number_of(arguments: Arguments, name: str, low: int, high: int) -> int | None:
    """A whole number within bounds, both included; None when it is not given.

    Raises:
        InvalidArgumentError: with the bounds.
    """
    value = number_of(arguments, name, low, high)
    if value is None:
        return None
    if not value.is_integer():
        raise InvalidArgumentError(name, f"should be a whole number; give {_bounds(low, high)}")
    return int(value)


def texts_of(arguments: Arguments, name: str, example: str) -> tuple[str, ...] | None:
    """A list of texts; also as one comma-separated text or as a JSON list in a text, which some hosts send.

    None when it is not given; entries are stripped, and blank ones between commas are dropped.

    Raises:
        InvalidArgumentError: when it is neither, naming the first entry that is no text.
    """
    value = arguments.get(name)
    if isinstance(value, str):
        value = _split(value)
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise InvalidArgumentError(name, f"should be a list of texts, is {kind_of(value)}; write it like {example}")
    for index, entry in enumerate(value):
        if not isinstance(entry, str):
            raise InvalidArgumentError(
                name, f"entry {index + 1} should be text, is {kind_of(entry)}; write it like {example}"
            )
    return tuple(entry.strip() for entry in value)


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    for types, word in ((int | float, "a number"), (str, "text"), (list | tuple, "a list"), (Mapping, "an object")):
        if isinstance(value, types):
            return word
    return "something else"


def _split(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        if isinstance(found, list):
            return found
    pieces = [piece for piece in text.split(",") if piece.strip()]
    return pieces or [text]


def _bounds(low: float, high: float) -> str:
    return f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
