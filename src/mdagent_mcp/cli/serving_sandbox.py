"""`sandbox`: the simulated vendors alone, for pointing any program at them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import anyio

from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.sandbox.clock import market_hours_clock
from mdagent_mcp.sandbox.faults import VENDORS, InvalidFaultError
from mdagent_mcp.sandbox.server import DEFAULT_SEED, Sandbox, running_sandbox

_LAST_PORT = 65_535


def sandbox(arguments: argparse.Namespace) -> int:
    """Serve until stopped from the keyboard."""
    if not 0 <= arguments.port <= _LAST_PORT:
        raise CommandError(f"--port: {arguments.port} is not a port; give 0 to {_LAST_PORT}")
    machine = SystemClock()
    clock = machine if arguments.live_clock else market_hours_clock(machine)
    try:
        anyio.run(_serve, arguments, clock)
    except (InvalidFaultError, ValueError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot listen on {arguments.host} port {arguments.port}: {error.strerror}") from error
    return ExitCode.OK


async def _serve(arguments: argparse.Namespace, clock: Clock) -> None:
    seed = DEFAULT_SEED if arguments.seed is None else arguments.seed
    async with running_sandbox(
        clock, seed=seed, faults=arguments.fault, port=arguments.port, host=arguments.host
    ) as running:
        sys.stdout.write(_greeting(running, clock, arguments.fault))
        sys.stdout.flush()
        await anyio.sleep_forever()


def _greeting(running: Sandbox, clock: Clock, faults: Sequence[str]) -> str:
    lines = [
        f"Sandbox at {running.base_url} - all prices are SIMULATED. Ctrl-C ends it.",
        f"Market time {clock.now():%Y-%m-%d %H:%M:%S} UTC; more at {running.base_url}/sandbox",
        *(f"Fault: {text}" for text in faults),
        "To ask it:",
        *(f"  MDAGENT_SOURCES__{vendor.upper()}__BASE_URL={running.url_for(vendor)}" for vendor in VENDORS),
    ]
    return "\n".join([*lines, ""])
