"""Reading one recorded HTTP exchange offline: which call was it, and what does our parser make of the reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError, gravest
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import History, Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import RecordedUrl, Reply, Vendor


@dataclass(frozen=True, slots=True)
class RecordedReading:
    """What one exchange says; exactly one of the fields is filled, and for a batch `failures` beside it.

    Attributes:
        quotes: every quote in the reply.
        failures: symbols of a batch that have no quote.
        history: the series, for a history call.
        failure: why nothing could be read; the gravest reason where every symbol of a batch has one.
        token: whether it carries a usable session token.
    """

    quotes: tuple[Quote, ...] = ()
    failures: Mapping[str, Failure] | None = None
    history: History | None = None
    failure: Failure | None = None
    token: bool = False


def read_recorded(
    vendor: Vendor,
    url: str,
    body: bytes,
    *,
    status: int,
    received_at: datetime,
    headers: Mapping[str, str] | None = None,
    instrument: Instrument | None = None,
) -> RecordedReading:
    """Read an exchange as the engine would have.

    Args:
        vendor: whose it is.
        url: as requested; the host does not matter.
        body: the reply's bytes, decompressed.
        status: HTTP status.
        received_at: when it was received, UTC.
        headers: of the reply.
        instrument: what it was about, where the URL does not say.
    """
    split = urlsplit(url)
    values = _values(split.query)
    first = {name: told[0] for name, told in values.items()}
    recorded = RecordedUrl(split.path, first, instrument, received_at, values)
    reply = Reply(status, {k.lower(): v for k, v in (headers or {}).items()}, body, received_at)
    try:
        return _read(vendor, recorded, reply)
    except SourceError as error:
        return RecordedReading(failure=error.as_failure(vendor.id))


def _values(query: str) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(query):
        values[name] = (*values.get(name, ()), value)
    return values


def _read(vendor: Vendor, recorded: RecordedUrl, reply: Reply) -> RecordedReading:
    if vendor.token is not None and recorded.path.endswith(vendor.token.fetch.path):
        refuse_errors(vendor, reply)
        vendor.token.parse(reply)
        return RecordedReading(token=True)
    for offer in vendor.read_calls:
        query = offer.recognise(recorded)
        if query is None:
            continue
        refuse_errors(vendor, reply)
        answer = offer.parse(query, reply)
        if isinstance(answer, History):
            return RecordedReading(history=answer)
        return _quotes(answer)
    refuse_errors(vendor, reply)
    raise SourceError(FailureKind.UNSUPPORTED, f"{vendor.id} has no call at this path that is read")


def _quotes(answer: Mapping[str, object]) -> RecordedReading:
    failures = {symbol: outcome for symbol, outcome in answer.items() if isinstance(outcome, Failure)}
    quotes = tuple(quote for outcome in answer.values() if not isinstance(outcome, Failure) for quote in outcome.value)  # type: ignore[attr-defined]
    if not quotes:
        failure = gravest(tuple(failures.values()))
        if failure is None:
            raise SourceError(FailureKind.NO_DATA, "the reply holds no quotes")
        return RecordedReading(failure=failure, failures=failures if len(failures) > 1 else None)
    return RecordedReading(quotes=quotes, failures=failures)
