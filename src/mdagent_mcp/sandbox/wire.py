"""What the sandbox needs of a vendor's wire format, and the replies all of them are made of.

The rule of this module: a wire format is declared as data and pure functions from (view, request) to a reply; faults,
counting and waiting happen in `app`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mdagent_mcp.domain.instruments import InvalidSymbolError, parse_symbol
from mdagent_mcp.sandbox.venues import VendorView

Answer = Callable[[VendorView, Request], Response]
SymbolsOf = Callable[[Request], tuple[str, ...]]
Query = Mapping[str, str]
"""The parameters of a call."""


def no_symbols(request: Request) -> tuple[str, ...]:
    """For endpoints that are about no symbol."""
    del request
    return ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of a vendor.

    Attributes:
        path: template below `/<vendor>`.
        answer: makes the reply.
        symbols: canonical symbols that a call is about, for faults limited to some of them.
    """

    path: str
    answer: Answer
    symbols: SymbolsOf = no_symbols


@dataclass(frozen=True, slots=True)
class Wire:
    """One vendor's wire format.

    Attributes:
        id: vendor id.
        endpoints: its paths.
        throttled: its refusal of too many calls, before a Retry-After is added.
        broken: its answer with a 5xx status.
        refuses: why a call is refused at the edge, before anything else: the refusal; None when it is let in.
        ignores: whether a call is left without any answer.
    """

    id: str
    endpoints: tuple[Endpoint, ...]
    throttled: Callable[[], Response]
    broken: Callable[[int], Response]
    refuses: Callable[[Request], Response | None] = lambda _: None
    ignores: Callable[[Request], bool] = lambda _: False


def json_reply(
    payload: Any,
    status: int = 200,
    *,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A compact JSON reply."""
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(body.encode(), status, headers, media_type)


def canonical(text: str) -> str | None:
    """The canonical symbol of a text, None when it is none."""
    try:
        return parse_symbol(text).symbol
    except InvalidSymbolError:
        return None
