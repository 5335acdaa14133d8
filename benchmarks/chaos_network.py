"""What can go wrong between us and a vendor: faults of the network, injected below the HTTP client.

A fault is drawn for every request by the chance that the plan gives its vendor; the request reaches the sandbox only
where a real one would have.
"""

from __future__ import annotations

import gzip
import math
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import anyio
import httpx

from chaos_clock import EventClock

MEDIAN_S: Final = 0.12
SPREAD: Final = 0.35
"""Standard deviation of the logarithm of a call's delay."""
REFUSALS: Final = (b'"code":429', b'"code": 429', b"API call frequency", b"API rate limit")
"""What vendors write that refuse a call for its number with another status than 429."""
BROUGHT_ALONG: Final = frozenset({"/yahoo/", "/yahoo/v1/test/getcrumb"})
"""Requests for a token that a call brings along: they are charged, but sent whatever our own limit says."""
DRIP_CHUNK: Final = 64
DRIP_PAUSE_S: Final = 0.5


class LinkFault(StrEnum):
    """One way in which a request goes wrong on its way."""

    REFUSED = "refused"
    DNS = "dns"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    WRITE_RESET = "write_reset"
    RESET = "reset"
    """After the vendor has done the work."""
    RESET_IN_BODY = "reset_in_body"
    SHORT_BODY = "short_body"
    """The connection ends before the stated length, as the client tells it."""
    CUT_BODY = "cut_body"
    """The body is cut and nothing says so."""
    WRONG_LENGTH = "wrong_length"
    DRIP = "drip"
    SILENCE = "silence"
    STATUS_500 = "500"
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_429 = "429"
    STATUS_429_LATER = "429_later"
    """With a Retry-After."""
    NOT_GZIP = "not_gzip"
    REDIRECT_CIRCLE = "redirect_circle"
    REDIRECT_AWAY = "redirect_away"
    EMPTY = "empty"
    GARBAGE = "garbage"
    NOT_HTTP = "not_http"


BEFORE_VENDOR: Final = frozenset(
    {
        LinkFault.REFUSED,
        LinkFault.DNS,
        LinkFault.TLS,
        LinkFault.CONNECT_TIMEOUT,
        LinkFault.WRITE_RESET,
        LinkFault.STATUS_500,
        LinkFault.STATUS_502,
        LinkFault.STATUS_503,
        LinkFault.STATUS_429,
        LinkFault.STATUS_429_LATER,
        LinkFault.REDIRECT_CIRCLE,
        LinkFault.REDIRECT_AWAY,
        LinkFault.NOT_HTTP,
    }
)
"""Faults that come from something in front of the vendor, which then never counts the call."""


@dataclass
class Network:
    """How requests fare.

    Attributes:
        clock: the true one.
        seed: of the chance that draws faults and delays, each vendor by itself: which of two that were asked
            at the same moment draws first is up to threads.
        faults: by vendor, which faults befall its requests and with what chance.
        sent: requests by vendor.
        hit: faults that befell a request.
        arrivals: by vendor, true seconds at which requests reached it.
        open_streams: bodies that are being read.
        throttled: vendors that a fault of the sandbox makes refuse calls.
        refused: calls that a vendor refused for their number by its own count, and when.
    """

    clock: EventClock
    seed: int
    faults: dict[str, tuple[tuple[LinkFault, float], ...]] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    hit: Counter[str] = field(default_factory=Counter)
    arrivals: dict[str, list[float]] = field(default_factory=dict)
    open_streams: int = 0
    throttled: frozenset[str] = frozenset()
    refused: list[tuple[str, float]] = field(default_factory=list)
    _rngs: dict[str, random.Random] = field(default_factory=dict)

    def judge(self, vendor: str, status: int, content: bytes) -> None:
        """Note a reply by which the vendor refuses a call for its number, unless it was told to."""
        says = status == 429 or any(mark in content[:300] for mark in REFUSALS)
        if says and vendor not in self.throttled:
            self.refused.append((vendor, self.clock.monotonic()))

    def draw(self, vendor: str) -> LinkFault | None:
        """The fault that befalls a request to a vendor."""
        self.sent[vendor] += 1
        for fault, chance in self.faults.get(vendor, ()):
            if self._rng(vendor).random() < chance:
                self.hit[fault.value] += 1
                return fault
        return None

    def delay_s(self, vendor: str) -> float:
        """Of a healthy call: log-normal."""
        return self._rng(vendor).lognormvariate(math.log(MEDIAN_S), SPREAD)

    def _rng(self, vendor: str) -> random.Random:
        if vendor not in self._rngs:
            self._rngs[vendor] = random.Random(f"network {vendor} {self.seed}")
        return self._rngs[vendor]


class Body(httpx.AsyncByteStream):
    """A body that comes as the fault says, and counts as open until it is closed."""

    def __init__(self, content: bytes, fault: LinkFault | None, network: Network) -> None:
        self._content = content
        self._fault = fault
        self._network = network
        self._closed = False
        network.open_streams += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, late or too few where the fault says so."""
        if self._fault is LinkFault.DRIP:
            for at in range(0, len(self._content), DRIP_CHUNK):
                await self._network.clock.sleep(DRIP_PAUSE_S)
                yield self._content[at : at + DRIP_CHUNK]
            return
        half = self._content[: len(self._content) // 2]
        if self._fault is LinkFault.RESET_IN_BODY:
            yield half
            raise httpx.ReadError("[Errno 104] Connection reset by peer")
        if self._fault is LinkFault.SHORT_BODY:
            yield half
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        yield half if self._fault is LinkFault.CUT_BODY else self._content

    async def aclose(self) -> None:
        """Count as closed."""
        if not self._closed:
            self._closed = True
            self._network.open_streams -= 1


class ChaosLine(httpx.AsyncBaseTransport):
    """The way to one vendor."""

    def __init__(self, vendor: str, network: Network, app: httpx.ASGITransport) -> None:
        self._vendor = vendor
        self._network = network
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on as well as the drawn fault lets it."""
        network = self._network
        fault = network.draw(self._vendor)
        if fault is LinkFault.SILENCE:
            await anyio.sleep_forever()
        if fault in {LinkFault.REFUSED, LinkFault.DNS, LinkFault.TLS}:
            raise _not_connected(fault)
        await network.clock.sleep(network.delay_s(self._vendor) / 2)
        if fault in BEFORE_VENDOR:
            return _instead(fault, request, network)
        if request.url.path not in BROUGHT_ALONG:
            network.arrivals.setdefault(self._vendor, []).append(network.clock.monotonic())
        response = await self._app.handle_async_request(request)
        content = await response.aread()
        await network.clock.sleep(network.delay_s(self._vendor) / 2)
        network.judge(self._vendor, response.status_code, content)
        if fault is LinkFault.RESET:
            raise httpx.ReadError("[Errno 104] Connection reset by peer")
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-length"]
        content, headers = _spoilt(fault, content, headers)
        return httpx.Response(response.status_code, headers=headers, stream=Body(content, fault, network))


def _not_connected(fault: LinkFault | None) -> httpx.ConnectError:
    """As httpx tells it, with the operating system's error as its cause."""
    causes: dict[LinkFault | None, OSError] = {
        LinkFault.DNS: socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        LinkFault.TLS: ssl.SSLCertVerificationError(1, "certificate verify failed: certificate has expired"),
    }
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = causes.get(fault, ConnectionRefusedError(111, "Connection refused"))
    return error


def _instead(fault: LinkFault | None, request: httpx.Request, network: Network) -> httpx.Response:
    """What somebody in front of the vendor says, or does."""
    if fault is LinkFault.CONNECT_TIMEOUT:
        error = httpx.ConnectTimeout("")
        error.__cause__ = TimeoutError()
        raise error
    if fault is LinkFault.WRITE_RESET:
        raise httpx.WriteError("[Errno 32] Broken pipe")
    if fault is LinkFault.NOT_HTTP:
        raise httpx.RemoteProtocolError("illegal status line")
    if fault in {LinkFault.REDIRECT_CIRCLE, LinkFault.REDIRECT_AWAY}:
        target = str(request.url) if fault is LinkFault.REDIRECT_CIRCLE else "http://127.0.0.9/elsewhere"
        return httpx.Response(302, headers={"Location": target}, stream=Body(b"", None, network))
    later = fault is LinkFault.STATUS_429_LATER
    status = 429 if later else int(str(fault))
    headers = {"Retry-After": "7"} if later else {}
    page = b"<html><body><h1>try again</h1></body></html>"
    return httpx.Response(status, headers=headers, stream=Body(page, None, network))


Headers = list[tuple[bytes, bytes]]


def _spoilt(fault: LinkFault | None, content: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """The body and headers of a right reply after the fault."""
    if fault is LinkFault.EMPTY:
        return b"", headers
    if fault is LinkFault.GARBAGE:
        return gzip.compress(content), headers
    if fault is LinkFault.NOT_GZIP:
        return content, [*headers, (b"content-encoding", b"gzip")]
    if fault is LinkFault.WRONG_LENGTH:
        return content, [*headers, (b"content-length", b"7")]
    return content, headers
