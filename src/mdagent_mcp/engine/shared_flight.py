"""Asking once for all replicas: take what another one found out, wait a moment for one that is asking, or ask.

The rule of this module: nobody waits for another replica longer than `FOLLOW_S`, and without the server everybody asks
at once by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from mdagent_mcp.cache.shared_flights import Follows, Found, Leads, Look, SharedFlights
from mdagent_mcp.cache.shared_server import SharedServerError
from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.isolation import run_isolated
from mdagent_mcp.engine.flight import Spawn

FOLLOW_S: Final = 1.5
"""Seconds that a question waits for other replicas: for one that died, and then for the one that takes its place."""
POLL_S: Final = 0.02

Accept = Callable[[str, Found], bool]
"""Takes what another replica found out about a name; False when it does not do."""


class SharedFlight:
    """Questions of one kind that replicas ask once.

    Args:
        flights: values and leases on the server.
        clock: time.
        spawn: starts background work.
        follow_s: how long a question waits for other replicas at most, seconds.
    """

    def __init__(self, flights: SharedFlights, clock: Clock, spawn: Spawn, *, follow_s: float = FOLLOW_S) -> None:
        self._follow_s = min(follow_s, FOLLOW_S)
        self._flights = flights
        self._clock = clock
        self._spawn = spawn
        self._leases: set[str] = set()

    async def consult(self, names: Iterable[str], accept: Accept) -> None:
        """Return when each name was accepted, is ours to ask about, or has been waited for long enough."""
        ends = self._clock.monotonic() + self._follow_s
        wanted, seen = list(dict.fromkeys(names)), dict[str, bytes]()
        while wanted:
            try:
                looks = await self._flights.look(wanted, seen)
            except SharedServerError:
                return
            fresh = {name: look.at for name, look in looks.items() if isinstance(look, Found)}
            seen.update(fresh)
            wanted = [name for name in wanted if not self._is_settled(name, looks[name], accept)]
            if not wanted or self._clock.monotonic() >= ends:
                return
            if not fresh:
                await self._clock.sleep(POLL_S)

    def tell(self, name: str, body: bytes | None, *, kept_s: float) -> None:
        """Leave what we found out for the others, behind the answer; None only gives the lease back."""
        if body is not None:
            self._spawn(run_isolated, f"the sharing of {name}", self._tell, name, body, self._clock.monotonic(), kept_s)
        elif name in self._leases:
            self._spawn(run_isolated, f"the release of {name}", self._release, name)
        self._leases.discard(name)

    def leads(self, name: str) -> bool:
        """Whether the lease of a name is ours, as far as we know."""
        return name in self._leases

    def _is_settled(self, name: str, look: Look, accept: Accept) -> bool:
        match look:
            case Found():
                return accept(name, look)
            case Leads():
                self._leases.add(name)
                return True
            case Follows():
                return False

    async def _tell(self, name: str, body: bytes, since: float, kept_s: float) -> None:
        try:
            await self._flights.tell(name, body, age_s=self._clock.monotonic() - since, kept_s=kept_s)
        except SharedServerError:
            return

    async def _release(self, name: str) -> None:
        try:
            await self._flights.release([name])
        except SharedServerError:
            return
