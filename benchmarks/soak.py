"""An hour of a real server with faults switched on and off, to see that it ends as it was after its first minutes.

    python benchmarks/soak.py [--minutes 60] [--clients 4] [--rate 4] [--seed 1]

`mdagent-mcp serve --http --sandbox` runs as a process of its own; a few clients ask over loopback, and after some calls
one of them leaves and another comes. Through the sandbox its vendors fail for a while and recover, by the seed. Memory,
descriptors and threads of the server are read from Linux every few seconds. Its first five minutes (of a short run the
first third) are its warm-up, in which `HASTE` times as many clients ask, so that what is kept up to a number (series,
answers, evidence, claims to be proved) is nearly full as it ends. What it holds in the last minutes under load, and
after a minute without faults or calls, may exceed what it held then by `MOST_MEMORY` and `MOST_FILES`. Every call must
end within its deadline, and none may fail but by one of the contract's codes.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from mcp import Client, MCPError

from chaos_calls import SERIES, SYMBOLS, draw_quiet_call
from chaos_checks import CODES
from chaos_plan import TROUBLES
from mdagent_mcp.sandbox.faults import VENDORS
from soak_server import Held, Serving, serving

WARM_UP_S: Final = 300.0
WARM_UP_SHARE: Final = 1 / 3
"""Of the time, at most, for short runs."""
QUIET_SHARE: Final = 1 / 60
HASTE: Final = 4
HASTE_SHARE: Final = 0.8
"""Of the warm-up, so that what those clients held is closed again when it is looked what the server holds."""
MOST_MEMORY: Final = 0.05
"""Of what was resident after the warm-up."""
MOST_FILES: Final = 8
"""Descriptors more than after the warm-up: the pools' connections come and go."""
LONGEST_S: Final = 10.75
"""The engine's deadline with its grace, and what loopback adds; a busy machine adds its `lag_s`."""
CALLS_A_CLIENT: Final = 60
SAMPLE_S: Final = 2.0
EPISODE_S: Final = (10.0, 40.0)
ROWS: Final = 12
EVERY_DAY: Final = "/cboe/api/global/delayed_quotes/charts/historical/{}.json"


@dataclass
class Soak:
    """What was seen.

    Attributes:
        took_s: of every call.
        grades: of quotes.
        codes: of failures.
        troubles: what must not happen, in words.
        samples: seconds since the start and what the server held.
        episodes: sets of faults that were switched on.
        lag_s: by how much the machine let our own timers fire late, lately; the server's are no better.
    """

    took_s: list[float] = field(default_factory=list)
    grades: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    samples: list[tuple[float, Held]] = field(default_factory=list)
    episodes: int = 0
    lag_s: float = 0.0

    def held(self, start_s: float, end_s: float) -> Held:
        """The median of what was held in a span of time."""
        inside = [held for at, held in self.samples if start_s <= at <= end_s] or [self.samples[-1][1]]
        return Held(
            statistics.median(h.rss_mib for h in inside),
            int(statistics.median(h.files for h in inside)),
            int(statistics.median(h.threads for h in inside)),
            inside[-1].cpu_s,
        )


async def soak(server: Serving, seconds: float, clients: int, rate: float, seed: int) -> Soak:
    """Run clients, faults and sampling for so long."""
    async with Client(server.url) as client:
        await client.call_tool("source_status", {})  # answered once engine and sandbox are open
        sandbox = server.sandbox_url()
        await _fill_tables(client, sandbox)
    seen, started = Soak(), time.monotonic()
    haste_until = started + HASTE_SHARE * warm_up_s(seconds)

    async with anyio.create_task_group() as everything:
        everything.start_soon(_sample, server, seen, started)
        with anyio.move_on_after(seconds - quiet_s(seconds)):
            async with anyio.create_task_group() as tasks:
                for number in range(HASTE * clients):
                    until = math.inf if number < clients else haste_until
                    rng = random.Random(f"{seed} {number}")
                    tasks.start_soon(_clients, server.url, clients / rate, until, rng, seen)
                tasks.start_soon(_break, sandbox, random.Random(f"{seed} faults"), seen)
        await _set_faults(sandbox, ())
        await anyio.sleep(quiet_s(seconds))
        everything.cancel_scope.cancel()
    seen.samples.append((time.monotonic() - started, server.held()))
    return seen


async def _fill_tables(client: Client, sandbox: str) -> None:
    """Have the sandbox fill its tables of what it worked out, which lie in the server's process and grow until then.

    Cboe's whole history of a symbol needs every day there is. The series that are asked for later are known from then
    on as well.
    """
    async with httpx.AsyncClient(trust_env=False, timeout=60.0) as http:
        for symbol in SYMBOLS:
            (await http.get(f"{sandbox}{EVERY_DAY.format(symbol)}")).raise_for_status()
    for interval, period in (("1d", "2y"), *SERIES):
        for symbol in SYMBOLS:
            asked = {"symbol": symbol, "interval": interval, "period": period, "max_bars": 1}
            await _patiently(client, "get_history", asked)


async def _patiently(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    """Call when the server's own rate lets this client."""
    while True:
        try:
            await client.call_tool(tool, arguments)
        except MCPError as error:
            if "Too many requests" not in error.message:
                raise
            await anyio.sleep(1.0)
        else:
            return


async def _sample(server: Serving, seen: Soak, started: float) -> None:
    while True:
        due = time.monotonic() + SAMPLE_S
        seen.samples.append((time.monotonic() - started, server.held()))
        await anyio.sleep(SAMPLE_S)
        seen.lag_s = max(0.8 * seen.lag_s, time.monotonic() - due)


async def _clients(url: str, pause_s: float, until: float, rng: random.Random, seen: Soak) -> None:
    """One client after another, each with a connection of its own, until that second of the monotonic clock."""
    while time.monotonic() < until:
        async with Client(url) as client:
            for _ in range(CALLS_A_CLIENT):
                if time.monotonic() >= until:
                    break
                await _call(client, rng, seen)
                await anyio.sleep(rng.expovariate(1 / pause_s))


async def _call(client: Client, rng: random.Random, seen: Soak) -> None:
    tool, arguments = draw_quiet_call(rng)
    started = time.monotonic()
    try:
        result = await client.call_tool(tool, arguments)
    except (MCPError, httpx.HTTPError, OSError) as error:
        seen.troubles.append(f"{tool}: {type(error).__name__}: {error}")
        return
    took = time.monotonic() - started
    seen.took_s.append(took)
    if took > LONGEST_S + 2 * seen.lag_s:
        seen.troubles.append(f"{tool} took {took:.1f} s")
    content: dict[str, Any] = dict(result.structured_content or {})
    seen.grades.update(quote["grade"] for quote in content.get("quotes", ()))
    for failure in content.get("failures", ()):
        seen.codes[failure["code"]] += 1
        if failure["code"] not in CODES or "inside the server" in failure["message"]:
            seen.troubles.append(f"{tool}: {failure['code']}: {failure['message'][:200]}")


async def _break(sandbox: str, rng: random.Random, seen: Soak) -> None:
    """Vendors fail and recover."""
    while True:
        await anyio.sleep(rng.uniform(*EPISODE_S) / 2)
        troubled = rng.sample(VENDORS, rng.randint(1, 5))
        await _set_faults(sandbox, [f"{vendor}={rng.choice(TROUBLES)}" for vendor in troubled])
        seen.episodes += 1
        await anyio.sleep(rng.uniform(*EPISODE_S))
        await _set_faults(sandbox, ())


async def _set_faults(sandbox: str, texts: Sequence[str]) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        (await http.put(f"{sandbox}/sandbox/faults", json=list(texts))).raise_for_status()


def warm_up_s(seconds: float) -> float:
    """How long the warm-up lasts."""
    return min(WARM_UP_S, seconds * WARM_UP_SHARE)


def quiet_s(seconds: float) -> float:
    """How long nothing is asked at the end."""
    return max(5.0, seconds * QUIET_SHARE)


def verdict(seen: Soak, seconds: float) -> list[str]:
    """What does not hold; empty when all does."""
    found = list(seen.troubles)
    before, *afterwards = milestones(seen, seconds)
    for after in afterwards:
        if after.rss_mib > before.rss_mib * (1 + MOST_MEMORY):
            found.append(f"memory grew from {before.rss_mib:.0f} to {after.rss_mib:.0f} MiB")
        if after.files > before.files + MOST_FILES:
            found.append(f"descriptors grew from {before.files} to {after.files}")
        if after.threads > before.threads + MOST_FILES:
            found.append(f"threads grew from {before.threads} to {after.threads}")
    return found


def milestones(seen: Soak, seconds: float) -> tuple[Held, Held, Held]:
    """What was held as the warm-up ended, in the last minutes under load, and when all was quiet."""
    warm, loaded = warm_up_s(seconds), seconds - quiet_s(seconds)
    return seen.held(warm * 0.9, warm * 1.1), seen.held(loaded - warm * 0.6, loaded), seen.samples[-1][1]


def report(seen: Soak, seconds: float) -> list[str]:
    """A small table, one line each."""
    lines = [f"{'minute':>7} {'MiB':>6} {'files':>6} {'threads':>8} {'CPU s':>7}"]
    every = max(1, len(seen.samples) // ROWS)
    for at, held in [*seen.samples[::every], seen.samples[-1]]:
        lines.append(f"{at / 60:7.1f} {held.rss_mib:6.1f} {held.files:6} {held.threads:8} {held.cpu_s:7.1f}")
    ordered = sorted(seen.took_s) or [0.0]
    p50, p99 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    quantiles = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    grades = ", ".join(f"{n} {grade}" for grade, n in sorted(seen.grades.items()))
    codes = ", ".join(f"{n} {code}" for code, n in seen.codes.most_common()) or "none"
    lines += [
        f"{len(seen.took_s)} calls, {seen.episodes} sets of faults; {quantiles}, slowest {ordered[-1]:.2f} s",
        f"quotes: {grades}; failures: {codes}",
        *(
            f"{when:18} {held.rss_mib:6.1f} MiB, {held.files} files, {held.threads} threads"
            for when, held in zip(
                ("after the warm-up", "at the end", "when all is quiet"), milestones(seen, seconds), strict=True
            )
        ),
    ]
    return lines


def main() -> int:
    """Read the options, run, print; 0 when all holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4.0, help="calls a second, all clients together")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as server:
        seen = anyio.run(soak, server, seconds, options.clients, options.rate, options.seed)
        logged = (Path(directory) / "server.log").read_text()
    tracebacks = logged.count("Traceback")
    if tracebacks:
        seen.troubles.append(
            f"{tracebacks} tracebacks in the server's log: {logged[logged.find('Traceback') :][:2000]}"
        )
    found = verdict(seen, seconds)
    print("\n".join([*report(seen, seconds), *(f"MISSED: {what}" for what in found[:10])]))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
