"""Reading one recorded HTTP exchange offline: which call was it, and what does our parser make of the reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from mdagent_mcp.domain.failures import Failure, FailureKind, SourceError
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.prices import History, Quote
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import RecordedUrl, Reply, Vendor


@dataclass(frozen=True, slots=True)
class RecordedReading:
    """What one exchange says; exactly one of the fields is filled, `quotes` beside `failures` for a batch.

    Attributes:
        quotes: every quote in the reply.
        failures: symbols of a batch that have none.
        history: the series, for a history call.
        failure: why nothing could be read.
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
    recorded = RecordedUrl(split.path, _first_values(split.query), instrument, received_at)
    reply = Reply(status, {k.lower(): v for k, v in (headers or {}).items()}, body, received_at)
    try:
        return _read(vendor, recorded, reply)
    except SourceError as error:
        return RecordedReading(failure=error.as_failure(vendor.id))


def _first_values(query: str) -> dict[str, str]:
    first: dict[str, str] = {}
    for name, value in parse_qsl(query):
        first.setdefault(name, value)
    return first


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
    if not quotes and len(failures) == 1:
        return RecordedReading(failure=next(iter(failures.values())))
    return RecordedReading(quotes=quotes, failures=failures)
