"""A transport that speaks TLS and HTTP/2 as a browser does, for vendors that turn programs away by how they speak.

It comes with an extra (`pip install 'mdagent-mcp[yahoo]'`): curl-impersonate behind the httpx API. No proxy of the
environment stands in between, and cookies are kept by the httpx client above, as with the other transport.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from mdagent_mcp.domain.failures import FailureKind, SourceError

if TYPE_CHECKING:
    import httpx

INSTALL: Final = "pip install 'mdagent-mcp[yahoo]'"
LONGEST_S: Final = 120.0
"""curl cannot be told to have no time limit of its own; ours ends a call long before."""


@cache
def is_installed() -> bool:
    """Whether the extra is there."""
    return all(find_spec(name) is not None for name in ("curl_cffi", "httpx_curl_cffi"))


def preload() -> None:
    """Import it: a fifth of a second, meant for a thread."""
    if is_installed():
        importlib.import_module("httpx_curl_cffi")


def browser_transport(connections: int, body_limit: int) -> httpx.AsyncBaseTransport:
    """A transport with the fingerprint and the default headers of Chrome.

    Args:
        connections: at most.
        body_limit: bytes after which a reply is cut off; that is a `SourceError`, as no httpx error tells of it.

    Raises:
        ImportError: when the extra is not installed.
    """
    import httpx  # noqa: PLC0415 - loaded with the first request
    from curl_cffi import CurlECode, CurlOpt  # noqa: PLC0415 - an extra, and slow to import
    from httpx_curl_cffi import AsyncCurlTransport  # noqa: PLC0415

    class WholeReplies(AsyncCurlTransport):
        """Replies come whole: a streamed one goes on in the background when its asker is cancelled."""

        _stream_enabled = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                return await super().handle_async_request(request)
            except httpx.RequestError as error:
                too_large = getattr(error.__cause__, "code", None) == CurlECode.FILESIZE_EXCEEDED
                if not too_large:
                    raise
            raise SourceError(FailureKind.MALFORMED_REPLY, f"the reply is larger than {body_limit} bytes")

    options = {CurlOpt.MAXFILESIZE: body_limit}
    return WholeReplies(max_connections=connections, impersonate="chrome", default_headers=True, curl_options=options)
