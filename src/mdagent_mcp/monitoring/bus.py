"""The event fan-out: whoever has something to say emits once, every listener hears it, none can hurt the answer."""

from __future__ import annotations

from collections.abc import Callable

from mdagent_mcp.domain.events import Event
from mdagent_mcp.domain.isolation import call_isolated

Listener = Callable[[Event], None]


class EventBus:
    """Passes events on to listeners, in the order they were added."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Add a listener; it must return quickly."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Tell every listener; one that raises is logged and the others still hear."""
        for listener in self._listeners:
            call_isolated(f"a listener to {type(event).__name__}", listener, event)
