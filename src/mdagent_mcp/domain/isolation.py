"""Keeping one part's fault from becoming another's: the only broad excepts of the package, with their reason.

Three things run on behalf of nobody who could handle their errors: listeners to events, tasks in the background that
finish after the asker was answered, and the judgement of one instrument among those of a shared question. A fault
there is logged with its traceback and goes no further, because a listener's or a straggler's bug must never cost an
agent its answer or the server its life, nor one instrument's the answers about the others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_log: Final = logging.getLogger("mdagent_mcp")


def call_isolated(what: str, function: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> bool:
    """Call a function; when it raises, log `what` failed and return False."""
    try:
        function(*args, **kwargs)
    except Exception:  # noqa: BLE001 - see the module's docstring
        _log.exception("%s failed", what)
        return False
    return True


def result_isolated(what: str, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> tuple[_T] | None:
    """What a function returns, in a tuple of one; when it raises, log `what` failed and return None."""
    try:
        return (function(*args, **kwargs),)
    except Exception:  # noqa: BLE001 - see the module's docstring
        _log.exception("%s failed", what)
        return None


async def run_isolated(
    what: str, function: Callable[_P, Awaitable[object]], *args: _P.args, **kwargs: _P.kwargs
) -> bool:
    """Await a function; when it raises, log `what` failed and return False. Cancellation passes through."""
    try:
        await function(*args, **kwargs)
    except Exception:  # noqa: BLE001 - see the module's docstring
        _log.exception("%s failed", what)
        return False
    return True
