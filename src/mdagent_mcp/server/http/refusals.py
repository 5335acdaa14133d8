"""What a request is told that is not served: an HTTP status, and a JSON-RPC error that says why.

The rule of this module: nothing that was sent is repeated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from starlette.types import Send

_SERVER_ERROR: Final = -32000
_REALM: Final = b'Bearer realm="mdagent-mcp"'


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served.

    Attributes:
        status: of HTTP.
        message: for people.
        headers: beside the usual ones.
        code: of JSON-RPC.
        closes: whether the connection ends with it, since more may be on its way.
    """

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    code: int = _SERVER_ERROR
    closes: bool = False

    async def send(self, send: Send) -> None:
        """Answer with it."""
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": self.code, "message": self.message}}
        body = json.dumps(error, separators=(",", ":")).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            *self.headers,
            *(((b"connection", b"close"),) if self.closes else ()),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


WRONG_HOST: Final = Refusal(421, "This server does not answer to the name in the Host header.")
WRONG_ORIGIN: Final = Refusal(403, "Pages of this origin may not call this server.")
NO_TOKEN: Final = Refusal(401, "A bearer token is required.", ((b"www-authenticate", _REALM),))
WRONG_TOKEN: Final = Refusal(
    401, "The bearer token is not accepted.", ((b"www-authenticate", _REALM + b', error="invalid_token"'),)
)
NO_SUCH_PATH: Final = Refusal(404, "There is nothing here; MCP is served at /mcp.")
DRAINING: Final = Refusal(503, "The server is shutting down.", ((b"retry-after", b"1"),), closes=True)
TOO_SLOW: Final = Refusal(408, "The request did not arrive in time.", closes=True)


def too_often(wait_s: float) -> Refusal:
    """A client that called too often, with the whole seconds after which it may again."""
    seconds = max(1, -int(-wait_s // 1))
    return Refusal(429, f"Too many requests; try again in {seconds} s.", ((b"retry-after", b"%d" % seconds),))
