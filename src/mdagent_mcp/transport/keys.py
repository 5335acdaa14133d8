"""The one place where a key is put into a request: below the HTTP client, so that nothing above ever holds it.

httpx logs the URL of every request and attaches the request to its errors; what it sees here has no key in it.
Imported with httpx when the first client is opened.
"""

from __future__ import annotations

import httpx

from mdagent_mcp.domain.vendor import Key


class KeyPlacing(httpx.AsyncBaseTransport):
    """Puts the key where the vendor wants it, on the last step before the wire.

    Args:
        inner: sends.
        spec: where the vendor wants it.
        key: the key.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, spec: Key, key: str) -> None:
        self._inner = inner
        self._spec = spec
        self._key = key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a copy of the request that carries the key."""
        return await self._inner.handle_async_request(self._keyed(request))

    async def aclose(self) -> None:
        """Close the transport beneath."""
        await self._inner.aclose()

    def _keyed(self, request: httpx.Request) -> httpx.Request:
        url, headers = request.url, httpx.Headers(request.headers)
        if self._spec.place == "header":
            headers[self._spec.name] = self._spec.prefix + self._key
        else:
            url = url.copy_set_param(self._spec.name, self._key)
        return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)
