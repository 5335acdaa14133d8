"""How often one client may call: a token bucket each, for as many clients as fit.

The rule of this module: memory is bounded whatever is sent. The client seen longest ago is forgotten first, which
only gives it a full bucket again.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.resilience.token_bucket import FULL, BucketOptions, TokenBucket, draw

CLIENTS_KEPT: Final = 10_000
"""Clients whose buckets are kept."""
_IPV6_SUBSCRIBER_BITS: Final = 64
"""An IPv6 subscriber has at least 2^64 addresses, so they count as one."""


class ClientRates:
    """Requests of each client.

    Args:
        options: rate and burst; None for no limit.
        clock: time.
        kept: clients remembered.
    """

    def __init__(self, options: BucketOptions | None, clock: Clock, kept: int = CLIENTS_KEPT) -> None:
        self.options = options
        self._clock = clock
        self._kept = kept
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def draw(self, client: str) -> float:
        """Count one request: 0 when it may go on, else the seconds after which one may."""
        if self.options is None:
            return 0.0
        bucket, drawing = draw(self._buckets.get(client, FULL), self.options, self._clock.monotonic())
        self._buckets[client] = bucket
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return 0.0 if drawing.allowed else drawing.wait_s or 0.0


def client_of(address: str) -> str:
    """Who is behind an address: an IPv4 address itself, the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    mapped = found.ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return str(ipaddress.IPv6Network((int(found), _IPV6_SUBSCRIBER_BITS), strict=False).network_address)
