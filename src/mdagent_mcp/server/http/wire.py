"""The HTTP/1.1 protocol with bounds that uvicorn leaves open: how long the head of a request may be and may take.

The rule of this module: a request that is not understood is answered once and the connection closed; nothing of it is
kept or logged.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_TEXTS: Final = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class HeadTooLargeError(Exception):
    """The request line and headers are longer than allowed."""


class UnknownVersionError(Exception):
    """The parser would take HTTP/0.9, in which a request line may end where no proxy ends it."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    Class attributes are set by `bounded`, since uvicorn makes the instances.
    """

    head_bytes_limit: int
    head_s_limit: float

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = False
        self._head_bytes = 0
        self._counted = 0
        self._too_large = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected and should send something."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes have come; those of an unfinished head are counted before they are kept."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.head_bytes_limit:
                self._refuse(431)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._counted = self._head_bytes = 0
        self._begin_head()

    def on_url(self, url: bytes) -> None:
        """A part of the request line has been read."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has been read; the parser leaves the blanks after a value, which are none of it (RFC 9110, 5.5)."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._end_head()
        if self.parser.get_http_version() not in _VERSIONS:
            raise UnknownVersionError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, which are not sent
        """Answer what could not be read."""
        self._refuse(431 if self._too_large else 400)

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > self.head_bytes_limit:
            self._too_large = True
            raise HeadTooLargeError

    def _begin_head(self) -> None:
        self._end_head()
        self._in_head = True
        self._head_timer = self.loop.call_later(self.head_s_limit, self._refuse, 408)

    def _end_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int) -> None:
        self._end_head()
        if self.transport.is_closing():
            return
        text = _TEXTS[status]
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, text, len(text), text)
        )
        self.transport.close()


def bounded(head_bytes: int, head_s: float) -> type[BoundedHttpProtocol]:
    """The protocol with its bounds.

    Args:
        head_bytes: request line and headers together.
        head_s: seconds until they are complete.
    """
    return type("BoundedHttp", (BoundedHttpProtocol,), {"head_bytes_limit": head_bytes, "head_s_limit": head_s})
