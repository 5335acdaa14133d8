"""Single flight: equal questions asked at the same time share one piece of work.

The work runs in the background, so that the first asker's cancellation does not hurt the others; it is cancelled
when the last asker has gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio

from mdagent_mcp.domain.isolation import run_isolated

KeyT = TypeVar("KeyT", bound=Hashable)
ResultT = TypeVar("ResultT")


class Spawn(Protocol):
    """Starts a task in the background of the application."""

    def __call__(self, func: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> object:
        """Start it."""
        ...


class WorkFailedError(RuntimeError):
    """The shared work ended without a result, by a fault of its own that was logged."""


_MISSING: Final = object()


@dataclass(eq=False)
class _Flight:
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    landed: anyio.Event = field(default_factory=anyio.Event)
    result: Any = _MISSING
    waiters: int = 0


class SingleFlight(Generic[KeyT, ResultT]):
    """Runs work once per key, however many ask for it meanwhile.

    Args:
        spawn: starts the work in the background.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._flights: dict[KeyT, _Flight] = {}

    async def run(self, key: KeyT, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """The result of `work`, or of an equal one that is under way.

        Raises:
            WorkFailedError: when the work raised; the reason is in the log.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._spawn(run_isolated, f"work on {key}", self._fly, key, flight, work)
        flight.waiters += 1
        try:
            await flight.landed.wait()
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.landed.is_set():
                flight.scope.cancel()
                self._forget(key, flight)
        if flight.result is _MISSING:
            raise WorkFailedError(f"{key}")
        result: ResultT = flight.result
        return result

    async def _fly(self, key: KeyT, flight: _Flight, work: Callable[[], Awaitable[ResultT]]) -> None:
        try:
            with flight.scope:
                flight.result = await work()
        finally:
            self._forget(key, flight)
            flight.landed.set()

    def _forget(self, key: KeyT, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
