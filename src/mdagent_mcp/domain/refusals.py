"""What a reply that is no answer means, and how long a vendor that refused is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.failures import FailureKind, SourceError, vendor_words
from mdagent_mcp.domain.vendor import Reply, Vendor

STATUS_KINDS: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        400: FailureKind.BAD_REQUEST,
        401: FailureKind.UNAUTHORIZED,
        402: FailureKind.QUOTA_EXHAUSTED,
        403: FailureKind.NOT_ENTITLED,
        404: FailureKind.UNKNOWN_SYMBOL,
        408: FailureKind.TIMEOUT,
        414: FailureKind.BAD_REQUEST,
        429: FailureKind.THROTTLED,
        504: FailureKind.TIMEOUT,
    }
)
"""What an HTTP status means when the vendor's own table says nothing."""


def refuse_errors(vendor: Vendor, reply: Reply) -> None:
    """Raise what the vendor's error table, or else the HTTP status, says about the reply; return when it is good.

    Raises:
        SourceError: with the wait the vendor asks for (`Retry-After` in seconds) where there is one.
    """
    for rule in vendor.errors:
        if rule.matches(reply):
            raise SourceError(rule.kind, _describe(reply), _retry_after(reply) or rule.retry_after_s)
    if reply.status < 300:
        return
    kind = STATUS_KINDS.get(reply.status, FailureKind.SOURCE_ERROR)
    rest = vendor.rest_after_throttle_s if kind is FailureKind.THROTTLED else None
    raise SourceError(kind, _describe(reply), _retry_after(reply) or rest)


def _describe(reply: Reply) -> str:
    text = reply.body[:400].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        return f"HTTP {reply.status} with a markup page"
    return f"HTTP {reply.status}, {vendor_words(text)}" if text else f"HTTP {reply.status} with an empty body"


def _retry_after(reply: Reply) -> float | None:
    text = reply.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


REST_AFTER_QUOTA_S: Final = 3600.0
"""How long a vendor is left alone whose quota is spent, when nobody says when it is whole again."""
_AFTER_MIDNIGHT: Final = timedelta(minutes=2)
"""A vendor's clock may be behind ours; asking before its midnight would cost another day."""


def rest_s(vendor: Vendor, kind: FailureKind, stated_s: float | None, now: datetime) -> float | None:
    """How long to leave a vendor alone after a failure, seconds; None when that is not what the failure asks for.

    Args:
        vendor: who failed.
        kind: how.
        stated_s: the wait that its reply or its error table states.
        now: the instant of the failure, UTC.
    """
    if kind is FailureKind.THROTTLED:
        return max(stated_s or vendor.rest_after_throttle_s, vendor.shortest_rest_s)
    if kind is not FailureKind.QUOTA_EXHAUSTED:
        return stated_s
    zone = vendor.quota_zone
    if zone is None:
        return stated_s or REST_AFTER_QUOTA_S
    local = now.astimezone(ZoneInfo(zone))
    reset = local.replace(hour=0, minute=0, second=0, microsecond=0) + _AFTER_MIDNIGHT
    return ((reset if reset > local else reset + timedelta(days=1)) - local).total_seconds()


def remaining_of(vendor: Vendor, reply: Reply) -> dict[str, int]:
    """What a reply's headers say is left of the vendor's quotas, by the quotas' names."""
    told = ((name, reply.headers.get(header, "").strip()) for name, header in vendor.remaining_headers.items())
    return {name: int(text) for name, text in told if text.isascii() and text.isdigit() and len(text) < 10}
