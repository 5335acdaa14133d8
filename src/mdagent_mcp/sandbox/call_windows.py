"""Counting calls by key within windows of time, for vendors that refuse what is beyond a plan.

The rule of this module: it counts and never judges; a window is named by its number, so that whoever asks decides how
long it is and where it begins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from starlette.requests import Request


class CallWindows:
    """Calls by key; of each kind of window only the present one is kept."""

    def __init__(self) -> None:
        self._present: dict[str, int] = {}
        self._used: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seen: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def count(self, kind: str, window: int, key: str) -> int:
        """The calls with `key` in this window, the present one included.

        Args:
            kind: names the sort of window, with its vendor: `tiingo hour`.
            window: its number; another one than last time begins anew.
            key: whose call it is.
        """
        self._enter(kind, window)
        self._used[kind][key] += 1
        return self._used[kind][key]

    def used(self, kind: str, window: int, key: str) -> int:
        """The calls with `key` in this window so far; the arguments are those of `count`."""
        self._enter(kind, window)
        return self._used[kind][key]

    def distinct(self, kind: str, window: int, key: str, names: tuple[str, ...]) -> int:
        """How many different names were asked for with `key` in this window, these included."""
        self._enter(kind, window)
        self._seen[kind, key].update(names)
        return len(self._seen[kind, key])

    def _enter(self, kind: str, window: int) -> None:
        if self._present.get(kind) == window:
            return
        self._present[kind] = window
        self._used.pop(kind, None)
        for entry in [entry for entry in self._seen if entry[0] == kind]:
            del self._seen[entry]


_NAME: Final = "call_windows"


def windows_of(request: Request) -> CallWindows:
    """The counts of the running sandbox."""
    state = request.app.state
    if not hasattr(state, _NAME):
        setattr(state, _NAME, CallWindows())
    found: CallWindows = getattr(state, _NAME)
    return found
