"""What goes wrong when: a seeded sequence of episodes, each with its own mixture of faults.

An episode lasts some minutes of the true clock. Availability faults, lies, a disk that refuses and a clock that is set
wrong are drawn independently, so that they meet each other in every combination.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from chaos_disk import DiskState
from chaos_network import LinkFault
from mdagent_mcp.sandbox.faults import Faults

SOURCES: Final = ("yahoo", "nasdaq", "cboe", "finnhub", "twelve_data", "tiingo")
ROOMY: Final = frozenset({"nasdaq", "cboe", "finnhub", "twelve_data", "tiingo"})
"""Those whose quotas leave room for the runs' rate of calls."""
EPISODE_S: Final = (40.0, 240.0)
OUTAGE_LINKS: Final = (LinkFault.REFUSED, LinkFault.DNS, LinkFault.TLS, LinkFault.SILENCE, LinkFault.STATUS_503)
JUMPS_S: Final = (-86_400.0, -3_600.0, -61.0, -5.0, -0.4, 0.4, 5.0, 61.0, 3_600.0, 86_400.0)
LIES: Final = (
    "unit:100",
    "unit:0.01",
    "unit:10",
    "unit:1.01",
    "unit:0.995",
    "unit:1.05",
    "stale:3d",
    "stale:1h",
    "stale:3h,lying",
    "stale:2d,lying",
    "wrong_symbol:SIM077",
    "wrong_symbol:SIM078,lying",
)
TROUBLES: Final = (
    "delay:0.6",
    "delay:2",
    "delay:6",
    "throttle",
    "throttle:20",
    "server_error",
    "server_error:500",
    "server_error:599",
    "hang",
    "malformed",
    "malformed:html",
)


Links = dict[str, tuple[tuple[LinkFault, float], ...]]
"""Faults of the network by vendor, each with its chance."""


@dataclass(frozen=True)
class Episode:
    """Some minutes of trouble.

    Attributes:
        lasts_s: how long, by the true clock.
        sandbox: faults of the vendors, as the sandbox reads them.
        links: faults of the network by vendor, each with its chance.
        disk: what the disk does.
        offset_s: how wrong the server's wall clock is.
        outage: nobody can be reached at all.
        valkey_down: whether the server that replicas share is gone.
    """

    lasts_s: float
    sandbox: tuple[str, ...] = ()
    links: Links = field(default_factory=dict)
    disk: DiskState = DiskState.WELL
    offset_s: float = 0.0
    outage: bool = False
    valkey_down: bool = False

    @property
    def reachable(self) -> frozenset[str]:
        """Sources that nothing keeps from answering."""
        troubled = set(self.links)
        for fault in Faults.parse(self.sandbox).items:
            troubled |= set(SOURCES) if fault.vendor == "all" else {fault.vendor}
        return frozenset(SOURCES) - troubled


def episode(rng: random.Random, *, liars: int | None = None, jumps: bool = True) -> Episode:
    """Draw one.

    Args:
        rng: chance.
        liars: so many sources tell something wrong; None for none, one or two.
        jumps: whether the wall clock may be set wrong.
    """
    lasts = rng.uniform(*EPISODE_S)
    disk = rng.choice(tuple(DiskState)) if rng.random() < 0.25 else DiskState.WELL
    offset = rng.choice(JUMPS_S) if jumps and rng.random() < 0.15 else 0.0
    valkey_down = rng.random() < 0.3
    if rng.random() < 0.08:
        gone: Links = {source: ((rng.choice(OUTAGE_LINKS), 1.0),) for source in SOURCES}
        return Episode(min(lasts, 90.0), (), gone, disk, offset, outage=True, valkey_down=valkey_down)
    links: Links = {}
    for source in rng.sample(SOURCES, rng.choice((0, 0, 1, 2, 3))):
        kinds = rng.sample(tuple(LinkFault), rng.randint(1, 3))
        links[source] = tuple((kind, rng.choice((0.1, 0.3, 1.0))) for kind in kinds)
    return Episode(lasts, _sandbox_faults(rng, liars), links, disk, offset, valkey_down=valkey_down)


def _sandbox_faults(rng: random.Random, liars: int | None) -> tuple[str, ...]:
    texts = []
    for source in rng.sample(SOURCES, rng.choice((0, 0, 1, 2, 3))):
        chance = rng.choice(("", "", ",chance=0.3", ",first=4"))
        texts.append(f"{source}={rng.choice(TROUBLES)}{chance}")
    lying = rng.choice((0, 0, 1, 1, 2)) if liars is None else liars
    texts.extend(f"{source}={rng.choice(LIES)}" for source in rng.sample(SOURCES, lying))
    if rng.random() < 0.1:
        # One alone: when two say so, a symbol counts as unknown, and rightly.
        texts.append(f"{rng.choice(SOURCES)}=missing")
    return tuple(texts)
