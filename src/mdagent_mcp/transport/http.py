"""HTTP towards vendors: one small client per vendor over aiohttp's connection pool, or a browser's imitation.

The rule of this module: it knows how to send, not whether to. Everything that can go wrong comes out as a
`SourceError` without a cause, because causes quote URLs; a key goes into a request below the HTTP client (`keys`) and
is removed from what comes back. httpx and aiohttp are imported when the first client is opened, so that a server
answers `initialize` before they load.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.vendor import API, Key, Reply, Request, Vendor
from mdagent_mcp.resilience.regions import Region, answered, best, failed, order
from mdagent_mcp.transport import browser
from mdagent_mcp.transport.redaction import Redactor
from mdagent_mcp.transport.server_dates import ServerDates
from mdagent_mcp.transport.validation import Address, ValidatorCache

if TYPE_CHECKING:
    import httpx

BODY_LIMIT: Final = 16 * 1024 * 1024
"""Bytes a reply may have; the largest real one (22 years of daily bars) is half a megabyte."""
REDIRECT_LIMIT: Final = 3
SILENT_AFTER_S: Final = 1.0
"""Seconds after which a host that a call was cut off from counts as silent."""
CONNECTIONS: Final = 8
"""Connections per vendor: small pools were the fastest in every measured client."""

HostSet = Mapping[str, str]
"""Base URL by host name; `api` is always there."""
OpenTransport = Callable[[str], "httpx.AsyncBaseTransport"]
"""Makes the transport of one vendor's client; the seam where tests put their own web."""


def host_sets(vendor: Vendor, base_urls: Sequence[str] = ()) -> tuple[HostSet, ...]:
    """The alternatives a vendor can be reached at, best first.

    Args:
        vendor: whose hosts.
        base_urls: configured base URLs; each replaces all hosts of the vendor. Those that went with a retired
            service count for nothing: their old users are told that it is gone, not that it cannot be reached.
    """
    if standing := vendor.standing(base_urls):
        return tuple(dict.fromkeys((API, *vendor.hosts), url.rstrip("/")) for url in standing)
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
        hosts: where it can be reached, the preferred one first; the fastest that is well is used.
        key: the key, placed into each request as the vendor declares.
        clock: dates the replies.
        open_transport: makes the transport; None for aiohttp, or for a browser's imitation where the vendor needs one
            and it is installed.
        regional: whether the hosts are regions of which the fastest is to be used, and not a host and its stand-in.
        dates: told what the servers say the time is; None where nobody wants to know.
    """

    vendor: Vendor
    hosts: tuple[HostSet, ...]
    key: str | None = field(repr=False)
    clock: Clock
    open_transport: OpenTransport | None = None
    regional: bool = False
    dates: ServerDates | None = None
    _client: httpx.AsyncClient | None = field(default=None, repr=False)
    _current: int = 0
    _joined_headers: tuple[tuple[tuple[str, str], ...], httpx.Headers] | None = field(default=None, repr=False)
    _kept: ValidatorCache = field(default_factory=ValidatorCache, repr=False)

    def __post_init__(self) -> None:
        self._regions = [Region() for _ in self.hosts]
        self._redact = Redactor.of([self.key] if self.key is not None else [])

    @property
    def imitates_browser(self) -> bool:
        """Whether its transport is a browser's imitation; there is nothing to imitate where no TLS is spoken."""
        speaks_tls = any(base.startswith("https:") for hosts in self.hosts for base in hosts.values())
        wanted = self.open_transport is None and self.vendor.impersonates_browser and speaks_tls
        return wanted and browser.is_installed()

    def url_of(self, request: Request) -> str:
        """Where a request is sent at present, without the key."""
        query = urlencode(request.query)
        return _url(self.hosts[self._current], request) + (f"?{query}" if query else "")

    async def send(self, request: Request) -> Reply:
        """Send a request to the fastest host that is well, to the next one when it cannot be reached.

        Raises:
            SourceError: NETWORK when no host can be reached, TIMEOUT, MALFORMED_REPLY when the reply is too large.
        """
        last: SourceError | None = None
        now = self.clock.monotonic()
        tried = order(self._regions, self._current, now, measure=self.regional) if self.hosts else ()
        for place in tried:
            try:
                return await self._measured(place, request)
            except SourceError as error:
                if error.kind is not FailureKind.NETWORK:
                    raise
                last = error
        raise last if last is not None else SourceError(FailureKind.NETWORK, "no host is configured")

    async def _measured(self, place: int, request: Request) -> Reply:
        """Send to one host and learn how that went; a call that was cut short late had not been answered."""
        started = self.clock.monotonic()
        try:
            reply = await self._send_to(self.hosts[place], request)
        except SourceError as error:
            self._learn(place, started, reached=error.kind not in _UNREACHED)
            raise
        except anyio.get_cancelled_exc_class():
            if self.clock.monotonic() - started >= SILENT_AFTER_S:
                self._learn(place, started, reached=False)
            raise
        self._learn(place, started, reached=True)
        return reply

    def _learn(self, place: int, started: float, *, reached: bool) -> None:
        now, region = self.clock.monotonic(), self._regions[place]
        latency = now - started if self.regional else None
        self._regions[place] = answered(region, now, latency) if reached else failed(region, now)
        self._current = best(self._regions, self._current, now)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def forget(self, request: Request) -> None:
        """Ask for the whole the next time, because what came could not be used."""
        for hosts in self.hosts:
            self._kept.forget(self._address(hosts, request))

    def _address(self, hosts: HostSet, request: Request) -> Address:
        return (hosts.get(request.host, hosts[API]), request, self.key)

    async def _send_to(self, hosts: HostSet, request: Request) -> Reply:
        address = self._address(hosts, request)
        kept = self._kept.find(address)
        url, query = _url(hosts, request), list(request.query)
        # A browser's imitation sends the browser's own headers, which belong to its fingerprint.
        headers = {} if self.imitates_browser else dict(self.vendor.headers)
        headers |= dict(request.headers) | ({} if kept is None else dict(kept.conditions))
        for _ in range(REDIRECT_LIMIT):
            reply = await self._exchange(url, query, headers)
            target = reply.headers.get("location") if reply.status in _REDIRECTS else None
            if target is None:
                return self._kept.settle(address, kept, reply)
            url, query = self._redirected(url, target, hosts), []
        raise SourceError(FailureKind.SOURCE_ERROR, "redirected in a circle")

    async def _exchange(self, url: str, query: list[tuple[str, str]], headers: dict[str, str]) -> Reply:
        import aiohttp  # noqa: PLC0415 - loaded with the first request, after `initialize`
        import httpx  # noqa: PLC0415

        client = self._open()
        try:
            response = await client.send(self._built(client, url, query, headers), stream=True)
            try:
                return await self._read(response)
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            kind, detail = _timed_out(error)
        except (httpx.RequestError, aiohttp.ClientError, OSError) as error:
            # aiohttp's own error of a reply that is not HTTP passes through the httpx API, with the whole URL in it.
            kind, detail = FailureKind.NETWORK, _reason(error)
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            kind, detail = FailureKind.MALFORMED_REPLY, f"not HTTP: {type(error).__name__}"
        raise SourceError(kind, self._redact(detail))

    async def _read(self, response: httpx.Response) -> Reply:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise SourceError(FailureKind.MALFORMED_REPLY, f"the reply is larger than {BODY_LIMIT} bytes")
        names = {name.lower(): self._redact(value) for name, value in response.headers.items()}
        if self.dates is not None:
            self.dates.heard(self.vendor.id, names)
        return Reply(response.status_code, names, self._redact.in_body(bytes(body)), self.clock.now())

    def _built(
        self, client: httpx.AsyncClient, url: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str]
    ) -> httpx.Request:
        """The request that the client's own `build_request` makes, in half the time: the URL is read once.

        The headers of a vendor's requests are mostly the same, so that they are joined with the client's once as well.
        """
        import httpx  # noqa: PLC0415 - loaded with the first request, after `initialize`

        if query and ("?" in url or "#" in url):
            return client.build_request("GET", url, params=httpx.QueryParams(tuple(query)), headers=headers)
        told = tuple(headers.items())
        if self._joined_headers is None or self._joined_headers[0] != told:
            joined = httpx.Headers(client.headers)
            joined.update(headers)
            self._joined_headers = told, joined
        return httpx.Request(
            "GET",
            f"{url}?{urlencode(query)}" if query else url,
            headers=self._joined_headers[1],
            cookies=client.cookies or None,
            extensions={"timeout": client.timeout.as_dict()},
        )

    def _redirected(self, url: str, target: str, hosts: HostSet) -> str:
        """The target of a redirect, refused when it leaves the vendor's own hosts: the key would go along."""
        import httpx  # noqa: PLC0415

        try:
            joined = httpx.URL(url).join(target)
            site = urlsplit(str(joined))[:2]
        except (httpx.InvalidURL, ValueError):
            site = None
        if site is None:
            raise SourceError(FailureKind.MALFORMED_REPLY, "redirected to what is no URL")
        known = {urlsplit(base)[:2] for base in (*hosts.values(), *self.vendor.hosts.values())}
        known |= {("https", netloc) for _, netloc in known}
        if site not in known:
            raise SourceError(FailureKind.SOURCE_ERROR, "redirected to a host that is not this vendor's")
        return str(_without_key(joined, self.vendor.key))

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx  # noqa: PLC0415

            from mdagent_mcp.transport.keys import KeyPlacing  # noqa: PLC0415 - with httpx

            loopback = all(_is_loopback(base) for hosts in self.hosts for base in hosts.values())
            transport = self._transport()
            if self.vendor.key is not None and self.key is not None:
                transport = KeyPlacing(transport, self.vendor.key, self.key)
            # A proxy from the environment must not stand between us and an address on this machine.
            self._client = httpx.AsyncClient(transport=transport, timeout=browser.LONGEST_S, trust_env=not loopback)
        return self._client

    def _transport(self) -> httpx.AsyncBaseTransport:
        if self.open_transport is not None:
            return self.open_transport(self.vendor.id)
        if self.imitates_browser:
            return browser.browser_transport(CONNECTIONS, BODY_LIMIT)
        return _aiohttp_transport()


_UNREACHED: Final = frozenset({FailureKind.NETWORK, FailureKind.TIMEOUT})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def preload(*, imitating: bool = False) -> None:
    """Import what the first request needs and read the certificates: a quarter of a second, meant for a thread.

    Args:
        imitating: whether a browser's imitation will be needed.
    """
    import aiohttp  # noqa: F401, PLC0415
    import httpx_aiohttp  # noqa: F401, PLC0415

    _tls_context()
    if imitating:
        browser.preload()


def _aiohttp_transport() -> httpx.AsyncBaseTransport:
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


def _timed_out(error: Exception) -> tuple[FailureKind, str]:
    # httpx-aiohttp reports every dropped connection as a connect timeout; only a real timeout has one as its cause.
    if isinstance(error.__cause__, TimeoutError):
        return FailureKind.TIMEOUT, "no answer in time"
    return FailureKind.NETWORK, _reason(error)


def _reason(error: Exception) -> str:
    """The class of an error and the operating system's words; never the URL, which may carry a key."""
    cause = error.__cause__ or error
    words = getattr(cause, "strerror", None) or getattr(getattr(cause, "os_error", None), "strerror", None)
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__


def _url(hosts: HostSet, request: Request) -> str:
    return hosts.get(request.host, hosts[API]) + request.path


def _without_key(url: httpx.URL, spec: Key | None) -> httpx.URL:
    """The URL as a request names it: a redirect repeats the key, which is placed anew."""
    in_query = spec is not None and spec.place == "query" and spec.name in url.params
    return url.copy_remove_param(spec.name) if spec is not None and in_query else url


def _is_loopback(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
