"""Reading the body of a request: so many bytes, so deep, in so much time, one message at a time.

The rule of this module: what is too much is refused before anything parses it.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Receive

from mdagent_mcp.server.http.refusals import Refusal

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_OPENING: Final = frozenset((b"[", b"{"))
_THROWN_AWAY: Final = 4
"""Bodies up to so many times the limit are read to their end, though not kept."""
_INVALID_REQUEST: Final = -32600
_PARSE_ERROR: Final = -32700


class ClientGoneError(Exception):
    """The client closed the connection before it had sent everything."""


def too_large(limit: int) -> Refusal:
    """More bytes than are taken."""
    return Refusal(413, f"The request is larger than {limit} bytes.", closes=True)


def declared_too_large(content_length: str | None, limit: int) -> bool:
    """Whether the headers already say that the body is so large that nobody waits for its end."""
    return content_length is not None and content_length.isdecimal() and int(content_length[:20]) > _THROWN_AWAY * limit


async def read_body(receive: Receive, limit: int) -> bytes | Refusal:
    """The whole body, or why it is not taken.

    What is somewhat too large is read to its end and thrown away: a connection that is closed while its client still
    writes is reset, and the client never sees why.

    Raises:
        ClientGoneError: it did not come to its end.
    """
    found = bytearray()
    size, more = 0, True
    while more and size <= _THROWN_AWAY * limit:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        part = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size <= limit:
            found += part
    return bytes(found) if size <= limit else too_large(limit)


def refusal_of_message(body: bytes, max_depth: int) -> Refusal | None:
    """Why a body is not handed to a parser: a batch, or nesting that is too deep; None when it may be."""
    if body.lstrip(b" \t\r\n")[:1] == b"[":
        return Refusal(400, "One message per request; batches are not served.", code=_INVALID_REQUEST)
    if nesting(body, max_depth) > max_depth:
        return Refusal(400, f"The JSON is nested deeper than {max_depth} levels.", code=_PARSE_ERROR)
    return None


def nesting(body: bytes, enough: int) -> int:
    """Levels of brackets outside strings; some number above `enough` when there are more than that."""
    if body.count(b"{") + body.count(b"[") <= enough:
        return 0
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket[0] in _OPENING else -1
        deepest = max(deepest, depth)
        if deepest > enough:
            break
    return deepest
