"""A vendor's declaration, and what an HTTP reply means under it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import MappingProxyType

import pytest

from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import AssetClass, parse_symbol
from mdagent_mcp.domain.refusals import STATUS_KINDS, refuse_errors
from mdagent_mcp.domain.vendor import (
    Endpoint,
    ErrorRule,
    Offer,
    Plan,
    Quota,
    QuoteQuery,
    QuoteReading,
    Reply,
    Vendor,
)

NOW = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    """A reply with headers as given, underscores for hyphens."""
    return Reply(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, NOW)


def vendor(*rules: ErrorRule, rest: float = 60.0) -> Vendor:
    """A vendor with an error table."""
    offer: Offer[QuoteQuery, QuoteReading] = Offer(
        Endpoint.QUOTE, lambda _: None, lambda _: (), lambda _, __: {}, lambda _: None
    )
    return Vendor(
        id="acme",
        title="Acme",
        docs_url="https://acme.test",
        terms="None.",
        hosts={"api": "https://acme.test"},
        quote=offer,
        errors=rules,
        rest_after_throttle_s=rest,
        upstream_groups={AssetClass.CRYPTO: "feed"},
        plans=MappingProxyType({"basic": Plan(cost_per_call=1.0), "pro": Plan()}),
    )


def failure(of: Vendor, got: Reply) -> tuple[FailureKind, float | None]:
    """What a reply is refused as, with the wait."""
    with pytest.raises(SourceError) as refused:
        refuse_errors(of, got)
    return refused.value.kind, refused.value.retry_after_s


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_good_reply_passes(status: int) -> None:
    """Nothing is raised."""
    refuse_errors(vendor(), reply(status, b"{}"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [*STATUS_KINDS.items(), (301, "source_error"), (500, "source_error"), (503, "source_error"), (418, "source_error")],
)
def test_a_status_means_what_the_table_says_and_else_an_error_of_the_source(status: int, kind: str) -> None:
    """Redirects are not followed and mean nothing good."""
    assert failure(vendor(), reply(status))[0] == kind


def test_the_vendors_own_table_is_tried_first_and_in_order() -> None:
    """By status, by text whatever its case, by both; even a 200 may be an error."""
    table = (
        ErrorRule(FailureKind.QUOTA_EXHAUSTED, status=429, contains=b"Daily Limit"),
        ErrorRule(FailureKind.UNKNOWN_SYMBOL, contains=b"no such symbol"),
        ErrorRule(FailureKind.NOT_ENTITLED, status=401),
    )
    of = vendor(*table)
    assert failure(of, reply(429, b"your DAILY LIMIT is reached"))[0] is FailureKind.QUOTA_EXHAUSTED
    assert failure(of, reply(429, b"slow down"))[0] is FailureKind.THROTTLED
    assert failure(of, reply(200, b'{"error":"No Such Symbol"}'))[0] is FailureKind.UNKNOWN_SYMBOL
    assert failure(of, reply(401))[0] is FailureKind.NOT_ENTITLED
    refuse_errors(of, reply(200, b'{"price":1}'))


def test_the_wait_is_the_vendors_else_the_rules_else_the_rest() -> None:
    """Retry-After in seconds is believed; a date or nonsense is not."""
    rule = ErrorRule(FailureKind.THROTTLED, contains=b"slow", retry_after_s=30.0)
    assert failure(vendor(rule), reply(429, b"slow", retry_after="7")) == (FailureKind.THROTTLED, 7.0)
    assert failure(vendor(rule), reply(429, b"slow")) == (FailureKind.THROTTLED, 30.0)
    assert failure(vendor(rest=45.0), reply(429)) == (FailureKind.THROTTLED, 45.0)
    assert failure(vendor(), reply(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")) == (FailureKind.THROTTLED, 60.0)
    assert failure(vendor(), reply(503, retry_after="120")) == (FailureKind.SOURCE_ERROR, 120.0)
    assert failure(vendor(), reply(500)) == (FailureKind.SOURCE_ERROR, None)
    for nonsense in ("-5", "1e9", "99999999", "", "soon", "²"):
        assert failure(vendor(), reply(500, retry_after=nonsense)) == (FailureKind.SOURCE_ERROR, None)


def test_the_detail_shows_the_beginning_of_the_body_cleaned() -> None:
    """Bounded, printable, whatever the bytes."""
    with pytest.raises(SourceError) as refused:
        refuse_errors(vendor(), reply(500, b"\xff\x00bad\n" + b"x" * 5000))
    assert refused.value.detail.startswith("HTTP 500, it says ")
    assert len(refused.value.detail) <= 300
    assert refused.value.detail.isprintable()
    with pytest.raises(SourceError, match="HTTP 502 with an empty body"):
        refuse_errors(vendor(), reply(502))


@pytest.mark.parametrize(("limit", "window"), [(0, 60.0), (-1, 60.0), (5, 0.0), (5, -1.0)])
def test_a_quota_of_nothing_is_refused(limit: int, window: float) -> None:
    """It would never let a call through."""
    with pytest.raises(ValueError, match="a quota needs a positive limit and window"):
        Quota(limit, window, "minute")


def test_a_vendor_tells_its_group_its_offers_and_its_default_plan() -> None:
    """Its own id is its group where nothing is said; the first plan is the default."""
    of = vendor()
    assert of.group_of(parse_symbol("BTC-USD")) == "feed"
    assert of.group_of(parse_symbol("AAPL")) == "acme"
    assert [o.endpoint for o in of.offers] == [Endpoint.QUOTE]
    assert of.default_plan == Plan(cost_per_call=1.0)
    assert of.retirement is None
    assert NOW.date() == date(2026, 11, 23)
