"""The sandbox as a server on a loopback port, inside the event loop of whoever wants one.

No signal handlers, no access log, nothing on stdout; going down does not wait for calls that hang.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.sandbox.faults import VENDORS, Fault, FaultBoard, Faults
from mdagent_mcp.sandbox.market import SimulatedMarket

if TYPE_CHECKING:
    from mdagent_mcp.sandbox.app import Desk

DEFAULT_SEED: Final = 20_261_124
_BACKLOG: Final = 512


class Sandbox:
    """A running sandbox.

    Attributes:
        base_url: where it listens, without a slash at the end.
        market: the truth behind all vendors, to compare with.
    """

    def __init__(self, base_url: str, desk: Desk) -> None:
        self.base_url = base_url
        self.market = desk.market
        self._desk = desk

    def url_for(self, vendor: str) -> str:
        """The base URL that takes the place of a vendor's host.

        Raises:
            ValueError: when the sandbox does not speak for this vendor.
        """
        if vendor not in VENDORS:
            raise ValueError(f"no vendor {vendor!r} in the sandbox; one of {', '.join(VENDORS)}")
        return f"{self.base_url}/{vendor}"

    @property
    def calls(self) -> Counter[str]:
        """Calls received so far, by vendor."""
        totals = Counter(dict.fromkeys(VENDORS, 0))
        for (vendor, _), count in self._desk.calls.items():
            totals[vendor] += count
        return totals

    @property
    def calls_by_path(self) -> dict[str, dict[str, int]]:
        """Calls received so far, by vendor and path template."""
        return self._desk.calls_by_vendor()

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._desk.board.faults

    def set_faults(self, *faults: str | Fault) -> None:
        """Put these faults in force instead of the present ones; none heals everything.

        Raises:
            InvalidFaultError: when a text describes no fault; then nothing changes.
        """
        self._desk.board.replace(Faults.parse(faults))


@asynccontextmanager
async def running_sandbox(
    clock: Clock,
    *,
    seed: int = DEFAULT_SEED,
    faults: Iterable[str | Fault] = (),
    port: int = 0,
    host: str = "127.0.0.1",
) -> AsyncIterator[Sandbox]:
    """Serve the sandbox on a loopback port while the body runs.

    Args:
        clock: tells the present of the market; delay faults wait on it.
        seed: of the simulated market.
        faults: in force from the start.
        port: 0 for any free one.
        host: a loopback address or `localhost`.

    Raises:
        ValueError: when `host` is not a loopback address.
        InvalidFaultError: when a text describes no fault.
        OSError: when the port is taken.
    """
    from mdagent_mcp.sandbox.app import Desk, app_of, is_loopback  # noqa: PLC0415 - loads starlette only when wanted

    if not is_loopback(host):
        raise ValueError(f"the sandbox serves this machine only; {host!r} is not a loopback address")
    desk = Desk(SimulatedMarket(seed), clock, FaultBoard(Faults.parse(faults), seed))
    listener = _listen(host, port)
    try:
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        async with _serving(app_of(desk), listener, desk):
            yield Sandbox(url, desk)
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol; with it a reply takes 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


@asynccontextmanager
async def _serving(app: object, listener: socket.socket, desk: Desk) -> AsyncIterator[None]:
    import uvicorn  # noqa: PLC0415 - heavy, and needed only here

    class QuietServer(uvicorn.Server):
        """Leaves the process's signals to whoever owns the process."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
        loop="asyncio",
        ws="none",
    )
    server = QuietServer(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        desk.closing.set()
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await running
