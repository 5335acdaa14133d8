"""What a vendor is: a declaration the engine can read, with pure functions to build requests and read replies.

The rule of this module: a vendor file does no I/O, never sees a key, and never decides when or whether it is asked.
The key is placed by the transport where `Key` says; the reply comes back as a `Reply` with its receive time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, TypeVar

from mdagent_mcp.domain.failures import FailureKind, Outcome, SourceError, clean_text
from mdagent_mcp.domain.instruments import SYMBOL_LIMIT, AssetClass, Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, History, Interval, Quote
from mdagent_mcp.domain.status import Retirement

QueryT = TypeVar("QueryT")
AnswerT = TypeVar("AnswerT")

API: Final = "api"
"""The name of a vendor's main host."""


class Endpoint(StrEnum):
    """The kinds of call a vendor may offer."""

    QUOTE = "quote"
    QUOTES = "quotes"
    """Several symbols in one call."""
    HISTORY = "history"


class Storing(StrEnum):
    """What a vendor's terms say about keeping its past prices on disk."""

    ALLOWED = "allowed"
    UNSTATED = "unstated"
    """As far as we know they say nothing; whoever has read the terms of the own plan may switch it on."""
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class QuoteQuery:
    """Ask for the current price of one instrument, or of several where the endpoint is a batch.

    Attributes:
        instruments: what is asked, in order.
        now: the instant of asking, UTC.
    """

    instruments: tuple[Instrument, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Ask for bars.

    Attributes:
        instrument: what is asked.
        interval: bar length.
        first: first trading date wanted.
        last: last trading date wanted, included.
        adjustment: the basis wanted.
        extended_hours: whether pre- and post-market bars are wanted (intraday only).
        now: the instant of asking, UTC.
    """

    instrument: Instrument
    interval: Interval
    first: date
    last: date
    adjustment: Adjustment
    extended_hours: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """A GET to be sent, without key and without host.

    Attributes:
        path: absolute path on the host, already percent-encoded where a symbol needs it.
        query: parameters in order, not yet encoded.
        headers: headers beyond the vendor's own.
        host: which of the vendor's hosts.
        cost: calls or credits that the vendor charges for it.
    """

    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    host: str = API
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: the bytes, decompressed.
        received_at: when the last byte had arrived, UTC.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class RecordedUrl:
    """The URL of a recorded exchange, for finding out what was asked.

    Attributes:
        path: the path as sent, still percent-encoded, with whatever the server's own address puts before it.
        query: first value of each parameter, decoded; a parameter that is given but empty has the empty text.
        instrument: what the person names where the URL does not; None when nobody does.
        received_at: when the reply was received, UTC: recorded replies often tell times only relative to it.
        repeated: every value of each parameter, decoded, in order; empty where nobody looks for a second one.
    """

    path: str
    query: Mapping[str, str]
    instrument: Instrument | None
    received_at: datetime
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def recorded_instrument(symbol: str, otherwise: Instrument | None) -> Instrument:
    """The instrument a recorded URL is about; a text that is no symbol is taken for a share of that name.

    Args:
        symbol: as the URL names it, in canonical spelling; empty when it does not.
        otherwise: the one a person names.

    Raises:
        SourceError: BAD_REQUEST when neither names one.
    """
    try:
        return parse_symbol(symbol)
    except InvalidSymbolError as error:
        if otherwise is not None:
            return otherwise
        name = clean_text(symbol, SYMBOL_LIMIT)
        if not name:
            raise SourceError(FailureKind.BAD_REQUEST, "the URL names no symbol; name it") from error
        return Instrument(name, AssetClass.US_EQUITY, "XNYS", "USD", name)


QuoteReading = Mapping[str, Outcome[tuple[Quote, ...]]]
"""Every asked canonical symbol with its quotes (an extended-hours print and a regular close are two) or its reason."""


@dataclass(frozen=True)
class Offer(Generic[QueryT, AnswerT]):
    """One kind of call a vendor offers.

    Attributes:
        endpoint: which kind.
        refuses: why a query cannot be served at all (the reason), None when it can; decided without a call.
        build: the requests that may answer, best first; the next is sent only when one says UNKNOWN_SYMBOL.
        parse: reads a reply that passed the error rules. Raises only `SourceError`.
        recognise: the query behind a recorded URL; None when it is not this endpoint's. Raises `SourceError`
            (BAD_REQUEST) when it is, but the symbol must be named.
        max_batch: symbols one call may carry.
        next_page: the request for what a reply left out, never on a host that the reply names; None after the last.
    """

    endpoint: Endpoint
    refuses: Callable[[QueryT], str | None]
    build: Callable[[QueryT], tuple[Request, ...]]
    parse: Callable[[QueryT, Reply], AnswerT]
    recognise: Callable[[RecordedUrl], QueryT | None]
    max_batch: int = 1
    next_page: Callable[[QueryT, Reply], Request | None] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """Where a vendor wants its key.

    Attributes:
        environment: names under which the vendors' own clients look for it, first match wins.
        place: in a header (preferred: it stays out of URLs) or in the query.
        name: of the header or parameter.
        prefix: put before the key, such as `Bearer `.
        signup_url: where a person gets one.
    """

    environment: tuple[str, ...]
    place: Literal["header", "query"]
    name: str
    prefix: str = ""
    signup_url: str = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` calls in any window of `window_s` seconds, or between two resets of the vendor's own calendar.

    Attributes:
        limit: calls (or credits).
        window_s: seconds; the usual length where the quota is reset by calendar.
        name: for people, such as `minute`.
        resets: what begins it anew at the vendor's midnight: every `day`, or the first day of every `month`; None
            for a window that slides.
        zone: IANA time zone of that midnight.
    """

    limit: int
    window_s: float
    name: str
    resets: Literal["day", "month"] | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_s <= 0:
            raise ValueError(f"a quota needs a positive limit and window, got {self.limit} in {self.window_s} s")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a key may do under one of the vendor's plans; what the settings state themselves goes before it.

    Attributes:
        quotas: calls or credits, as `Request.cost` counts them; all of them hold at once.
        declared_delay_s: how late its prices are by contract, seconds; 0 for real time, a day for closes only. A
            source of closes is not asked for the price of a market that trades while anybody else is left, and a
            quote without a time of its own is taken to be at least this late.
        cost_per_call: in the routing's own unit: 0 is free, 1 is a scarce call (4 % of a day's quota is scarce).
        excluded: endpoints that this plan does not include; never asked, and learned besides from refusals.
        offers: calls that take the place of the vendor's own, where this plan needs others.
    """

    quotas: tuple[Quota, ...] = ()
    declared_delay_s: float = 0.0
    cost_per_call: float = 0.0
    excluded: frozenset[Endpoint] = frozenset()
    offers: Mapping[Endpoint, Offer[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a key was cleared for by the exchanges, beside its plan: their delay and the calls they need."""

    declared_delay_s: float
    offers: Mapping[Endpoint, Offer[Any, Any]]


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """A row of a vendor's error table: a reply that matches all that is given means `kind`.

    Attributes:
        kind: the failure it means.
        status: HTTP status; None for any.
        contains: bytes the body contains, compared without case; None for any.
        retry_after_s: how long to wait when the vendor does not say; None for unknown.
    """

    kind: FailureKind
    status: int | None = None
    contains: bytes | None = None
    retry_after_s: float | None = None

    def matches(self, reply: Reply) -> bool:
        """Whether this row speaks of the reply."""
        if self.status is not None and self.status != reply.status:
            return False
        return self.contains is None or self.contains.lower() in reply.body.lower()


@dataclass(frozen=True)
class SessionToken:
    """A short-lived token that some endpoints need beside cookies (Yahoo's crumb).

    Attributes:
        endpoints: which calls need it.
        warm_up: sent first for its cookies; its reply is ignored.
        fetch: gets the token.
        parse: reads it. Raises `SourceError`; a token that fails here is never kept.
        parameter: query parameter that carries it.
    """

    endpoints: frozenset[Endpoint]
    warm_up: Request
    fetch: Request
    parse: Callable[[Reply], str]
    parameter: str


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """The declaration of one vendor.

    Attributes:
        id: source id of the public contract.
        title: its name for people.
        docs_url: where its API is described, or by whom it was found out.
        terms: one sentence on what its terms allow.
        storing: what they say about keeping past prices on disk.
        hosts: base URLs by name; `api` must be there unless it is retired. A configured base URL replaces all.
        quote: one symbol.
        quotes: several symbols in one call, where it has that.
        history: bars, where it has them.
        errors: its error table, tried in order before the general meaning of HTTP statuses.
        plans: by name; the first is the default and is also called `free`.
        entitlements: by name, where it sells them.
        key: None when it needs none.
        headers: sent with every request.
        token: a session token some endpoints need.
        upstream_groups: whose data it passes on, by asset class; its own id where nothing is said. Sources of one
            group are one voice.
        timeout_s: default time limit of one call.
        rest_after_throttle_s: how long it rests after refusing us, when it does not say.
        shortest_rest_s: how long it rests then at least, whatever it says.
        concurrency: calls it may have at once, over all questions.
        impersonates_browser: whether it turns away programs by how they speak TLS, so that a transport which speaks
            like a browser is used where one is installed (the extra named like the vendor).
        weight: static trust of routing, 0 to 1, before anything is learned.
        remaining_headers: response headers (lower case) that tell what is left of a quota, by the quota's name.
        retirement: set when the service no longer exists.
        readable: further calls that are never sent; their recorded replies can be read.
    """

    id: str
    title: str
    docs_url: str
    terms: str
    hosts: Mapping[str, str]
    quote: Offer[QuoteQuery, QuoteReading]
    quotes: Offer[QuoteQuery, QuoteReading] | None = None
    history: Offer[HistoryQuery, History] | None = None
    errors: tuple[ErrorRule, ...] = ()
    plans: Mapping[str, Plan] = field(default_factory=lambda: MappingProxyType({"free": Plan()}))
    entitlements: Mapping[str, Entitlement] = field(default_factory=dict)
    key: Key | None = None
    headers: tuple[tuple[str, str], ...] = ()
    token: SessionToken | None = None
    upstream_groups: Mapping[AssetClass, str] = field(default_factory=dict)
    timeout_s: float = 4.0
    rest_after_throttle_s: float = 60.0
    shortest_rest_s: float = 0.0
    concurrency: int = 8
    impersonates_browser: bool = False
    weight: float = 0.8
    remaining_headers: Mapping[str, str] = field(default_factory=dict)
    retirement: Retirement | None = None
    readable: tuple[Offer[Any, Any], ...] = ()
    storing: Storing = Storing.UNSTATED

    def group_of(self, instrument: Instrument) -> str:
        """Whose data this vendor passes on for `instrument`."""
        return self.upstream_groups.get(instrument.asset_class, self.id)

    @property
    def offers(self) -> tuple[Offer[Any, Any], ...]:
        """Everything it is asked for."""
        return tuple(o for o in (self.quote, self.quotes, self.history) if o is not None)

    @property
    def read_calls(self) -> tuple[Offer[Any, Any], ...]:
        """Every call whose recorded reply can be read: of any plan and entitlement, and those that are never sent."""
        others = (*(p.offers for p in self.plans.values()), *(e.offers for e in self.entitlements.values()))
        return (*self.offers, *(offer for offers in others for offer in offers.values()), *self.readable)

    def offering(self, offers: Mapping[Endpoint, Offer[Any, Any]]) -> Vendor:
        """The vendor as it is asked under a plan or an entitlement that needs other calls."""
        quote, quotes = offers.get(Endpoint.QUOTE, self.quote), offers.get(Endpoint.QUOTES, self.quotes)
        return replace(self, quote=quote, quotes=quotes, history=offers.get(Endpoint.HISTORY, self.history))

    def standing(self, base_urls: Sequence[str]) -> tuple[str, ...]:
        """Those of the configured base URLs at which there still is a server, as far as the retirement tells."""
        return tuple(url for url in base_urls if self.retirement is None or not self.retirement.took(url))

    @property
    def quota_zone(self) -> str | None:
        """The time zone at whose midnight a daily quota is whole again, as its plans say; None where none does."""
        quotas = (quota for plan in self.plans.values() for quota in plan.quotas)
        return next((quota.zone for quota in quotas if quota.resets == "day"), None)

    @property
    def default_plan(self) -> Plan:
        """The plan of a key nothing is said about."""
        return next(iter(self.plans.values()))
