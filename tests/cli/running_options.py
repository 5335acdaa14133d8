"""What a running server works with, read off the objects that it is made of."""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

from pydantic import BaseModel

PACKAGE = "mdagent_mcp"
DATA = ("mdagent_mcp.domain", "mdagent_mcp.vendors")
"""What is declared and what is answered, which is much and never an option."""


def options_of(roots: Iterable[object]) -> Mapping[str, list[Any]]:
    """Every attribute of every object of the package that the roots lead to, as `Class.attribute`, with its values.

    Settings themselves are left out: a setting that is only kept is not one that is used.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    seen: dict[int, object] = {}  # kept, so that no id is given to another object
    waiting = deque(roots)
    while waiting:
        each = waiting.popleft()
        if id(each) in seen or isinstance(each, BaseModel | type) or type(each).__module__.startswith(DATA):
            continue
        seen[id(each)] = each
        if type(each).__module__.startswith(PACKAGE):
            for name, value in _attributes(each):
                found[f"{type(each).__name__}.{name}"].append(value)
                waiting.append(value)
        else:
            waiting.extend(_inside(each))
    return found


def _attributes(each: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(each, "__dict__", {}).items()
    for kind in type(each).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(each, name):
                yield name, getattr(each, name)


def _inside(each: object) -> Iterable[object]:
    if isinstance(each, Mapping):
        return each.values()
    if isinstance(each, list | tuple | set | frozenset | deque):
        return each
    if isinstance(each, functools.partial):
        return (each.func, *each.args, *each.keywords.values())
    if isinstance(each, MethodType):
        return (each.__self__,)
    if isinstance(each, FunctionType) and each.__module__.startswith(PACKAGE):
        return [cell.cell_contents for cell in each.__closure__ or ()]
    return ()
