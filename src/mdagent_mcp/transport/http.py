"""HTTP towards vendors: one small client per vendor over aiohttp's connection pool, keys placed here and nowhere else.

The rule of this module: it knows how to send, not whether to. Everything that can go wrong comes out as a
`SourceError`; no URL with a key in it is ever put into text. httpx and aiohttp are imported when the first client
is opened, so that a server answers `initialize` before they load.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.vendor import API, Reply, Request, Vendor

if TYPE_CHECKING:
    import httpx

BODY_LIMIT: Final = 16 * 1024 * 1024
"""Bytes a reply may have; the largest real one (22 years of daily bars) is half a megabyte."""
REDIRECT_LIMIT: Final = 3
CONNECTIONS: Final = 8
"""Connections per vendor: small pools were the fastest in every measured client."""

HostSet = Mapping[str, str]
"""Base URL by host name; `api` is always there."""
_Parameter = tuple[str, str | int | float | bool | None]
OpenTransport = Callable[[str], "httpx.AsyncBaseTransport"]
"""Makes the transport of one vendor's client; the seam where tests put their own web."""


def host_sets(vendor: Vendor, base_urls: Sequence[str] = ()) -> tuple[HostSet, ...]:
    """The alternatives a vendor can be reached at, best first.

    Args:
        vendor: whose hosts.
        base_urls: configured base URLs; each replaces all hosts of the vendor.
    """
    if base_urls:
        return tuple(dict.fromkeys((API, *vendor.hosts), url.rstrip("/")) for url in base_urls)
    if API not in vendor.hosts:
        return ()
    second = vendor.hosts.get("second")
    first = {name: url for name, url in vendor.hosts.items() if name != "second"}
    return (first,) if second is None else (first, {**first, API: second})


@dataclass
class VendorClient:
    """Sends a vendor's requests.

    Attributes:
        vendor: the declaration.
        hosts: where it can be reached, best first; the one that last worked stays in use.
        key: the key, placed into each request as the vendor declares.
        clock: dates the replies.
        open_transport: makes the transport; None for aiohttp.
    """

    vendor: Vendor
    hosts: tuple[HostSet, ...]
    key: str | None = field(repr=False)
    clock: Clock
    open_transport: OpenTransport | None = None
    _client: httpx.AsyncClient | None = field(default=None, repr=False)
    _current: int = 0

    async def send(self, request: Request) -> Reply:
        """Send a request to the host in use, to the next one when it cannot be reached.

        Raises:
            SourceError: NETWORK when no host can be reached, TIMEOUT, MALFORMED_REPLY when the reply is too large.
        """
        last: SourceError | None = None
        for _ in self.hosts:
            try:
                return await self._send_to(self.hosts[self._current], request)
            except SourceError as error:
                if error.kind is not FailureKind.NETWORK:
                    raise
                last = error
                self._current = (self._current + 1) % len(self.hosts)
        raise last if last is not None else SourceError(FailureKind.NETWORK, "no host is configured")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send_to(self, hosts: HostSet, request: Request) -> Reply:
        url = hosts.get(request.host, hosts[API]) + request.path
        query: list[_Parameter] = list(request.query)
        headers = dict(self.vendor.headers) | dict(request.headers)
        spec = self.vendor.key
        if spec is not None and self.key is not None:
            if spec.place == "header":
                headers[spec.name] = spec.prefix + self.key
            else:
                query.append((spec.name, self.key))
        for _ in range(REDIRECT_LIMIT):
            reply = await self._exchange(url, query, headers)
            target = reply.headers.get("location") if reply.status in _REDIRECTS else None
            if target is None:
                return reply
            url, query = self._redirected(url, target, hosts), []
        raise SourceError(FailureKind.SOURCE_ERROR, "redirected in a circle")

    async def _exchange(self, url: str, query: list[_Parameter], headers: dict[str, str]) -> Reply:
        import httpx  # noqa: PLC0415 - loaded with the first request, after `initialize`

        client = self._open()
        try:
            async with client.stream(
                "GET", url, params=httpx.QueryParams(tuple(query)) or None, headers=headers
            ) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > BODY_LIMIT:
                        raise SourceError(FailureKind.MALFORMED_REPLY, f"the reply is larger than {BODY_LIMIT} bytes")
                names = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, names, bytes(body), self.clock.now())
        except httpx.TimeoutException as error:
            raise _timed_out(error) from error
        except (httpx.TransportError, httpx.DecodingError, OSError) as error:
            raise SourceError(FailureKind.NETWORK, _reason(error)) from error
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            raise SourceError(FailureKind.MALFORMED_REPLY, f"not HTTP: {type(error).__name__}") from error

    def _redirected(self, url: str, target: str, hosts: HostSet) -> str:
        """The target of a redirect, refused when it leaves the vendor's own hosts: the key would go along."""
        import httpx  # noqa: PLC0415

        joined = str(httpx.URL(url).join(target))
        known = {urlsplit(base).netloc for base in (*hosts.values(), *self.vendor.hosts.values())}
        if urlsplit(joined).netloc not in known:
            raise SourceError(FailureKind.SOURCE_ERROR, "redirected to a host that is not this vendor's")
        return joined

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx  # noqa: PLC0415

            loopback = all(_is_loopback(base) for hosts in self.hosts for base in hosts.values())
            transport = (self.open_transport or _aiohttp_transport)(self.vendor.id)
            # A proxy from the environment must not stand between us and an address on this machine.
            self._client = httpx.AsyncClient(transport=transport, timeout=None, trust_env=not loopback)  # noqa: S113 - the clock's limit stands around every call
        return self._client


_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def preload() -> None:
    """Import what the first request needs and read the certificates: a quarter of a second, meant for a thread."""
    import aiohttp  # noqa: F401, PLC0415
    import httpx_aiohttp  # noqa: F401, PLC0415

    _tls_context()


def _aiohttp_transport(_vendor: str) -> httpx.AsyncBaseTransport:
    import aiohttp  # noqa: PLC0415
    import httpx_aiohttp  # noqa: PLC0415

    def open_session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_tls_context(), keepalive_timeout=55.0)
        # Yahoo's header lines exceed aiohttp's default of 8,190 bytes; cookies are kept by the httpx client above.
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=65_536,
            max_field_size=65_536,
        )

    return httpx_aiohttp.AiohttpTransport(verify=_tls_context(), client=open_session)


@cache
def _tls_context() -> ssl.SSLContext:
    import httpx  # noqa: PLC0415

    return httpx.create_ssl_context()


def _timed_out(error: Exception) -> SourceError:
    # httpx-aiohttp reports every dropped connection as a connect timeout; only a real timeout has one as its cause.
    if isinstance(error.__cause__, TimeoutError):
        return SourceError(FailureKind.TIMEOUT, "no answer in time")
    return SourceError(FailureKind.NETWORK, _reason(error))


def _reason(error: Exception) -> str:
    """The class of an error and the operating system's words; never the URL, which may carry a key."""
    cause = error.__cause__ or error
    words = getattr(cause, "strerror", None) or getattr(getattr(cause, "os_error", None), "strerror", None)
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__


def _is_loopback(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
