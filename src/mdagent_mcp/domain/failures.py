"""Why there is no price: the closed list of failure kinds, what each means, and how it travels.

Inside the engine a failure is a value (`Failure`); vendor code raises `SourceError`, which the transport turns
into a `Failure`. `TRAITS` is total over `FailureKind` and the only place that says how a kind is treated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")

DETAIL_LIMIT: Final = 300
"""Characters of vendor text that a failure may carry."""


class FailureKind(StrEnum):
    """The public failure codes."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    UNSUPPORTED = "unsupported"
    NO_DATA = "no_data"
    STALE = "stale"
    THROTTLED = "throttled"
    QUOTA_EXHAUSTED = "quota_exhausted"
    UNAUTHORIZED = "unauthorized"
    NOT_ENTITLED = "not_entitled"
    SOURCE_ERROR = "source_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    MALFORMED_REPLY = "malformed_reply"
    CIRCUIT_OPEN = "circuit_open"
    RETIRED = "retired"
    BAD_REQUEST = "bad_request"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Traits:
    """How one failure kind is treated.

    Attributes:
        meaning: one sentence for a person.
        hint: what the asker can do about it.
        retry_may_heal: asking the same source again soon may succeed.
        trips_breaker: it is evidence that the source itself is unwell.
        counts_against_reliability: it lowers the learned reliability of the source.
        precedence: when several sources failed differently, the highest names the answer's failure, so that an
            outage is never told as an unknown symbol.
    """

    meaning: str
    hint: str
    retry_may_heal: bool
    trips_breaker: bool
    counts_against_reliability: bool
    precedence: int


TRAITS: Final[Mapping[FailureKind, Traits]] = MappingProxyType(
    {
        FailureKind.UNKNOWN_SYMBOL: Traits(
            "No source that was asked knows this symbol.",
            "Check the spelling; foreign listings need their exchange suffix (VOD.L), indices a caret (^GSPC).",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=20,
        ),
        FailureKind.UNSUPPORTED: Traits(
            "The source does not offer this kind of data for this instrument.",
            "Ask without `sources`, or enable a source that covers this market.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=10,
        ),
        FailureKind.NO_DATA: Traits(
            "The source knows the symbol but has no data for what was asked.",
            "Ask for another range, interval or time.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=30,
        ),
        FailureKind.STALE: Traits(
            "Only a price from before the last completed session was available.",
            "Do not use an older price as the current one; ask again later.",
            retry_may_heal=True,
            trips_breaker=False,
            counts_against_reliability=True,
            precedence=35,
        ),
        FailureKind.THROTTLED: Traits(
            "The source asked us to slow down, or our own limit for it is reached for the moment.",
            "Try again after the time given, or add a key for another source.",
            retry_may_heal=True,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=80,
        ),
        FailureKind.QUOTA_EXHAUSTED: Traits(
            "The key's quota is spent until it resets.",
            "Wait for the reset, add a key for another source, or raise the plan.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=75,
        ),
        FailureKind.UNAUTHORIZED: Traits(
            "The source refused the key, or needs one.",
            "Set or correct the key of this source.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=60,
        ),
        FailureKind.NOT_ENTITLED: Traits(
            "The plan of this key does not include this data.",
            "Ask another source, or raise the plan.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=50,
        ),
        FailureKind.SOURCE_ERROR: Traits(
            "The source reported an error of its own.",
            "Try again shortly; nothing is wrong with the symbol.",
            retry_may_heal=True,
            trips_breaker=True,
            counts_against_reliability=True,
            precedence=95,
        ),
        FailureKind.TIMEOUT: Traits(
            "The source did not answer in time.",
            "Try again shortly; nothing is wrong with the symbol.",
            retry_may_heal=True,
            trips_breaker=True,
            counts_against_reliability=True,
            precedence=100,
        ),
        FailureKind.NETWORK: Traits(
            "The source could not be reached.",
            "Check this machine's network connection; nothing is wrong with the symbol.",
            retry_may_heal=True,
            trips_breaker=True,
            counts_against_reliability=True,
            precedence=100,
        ),
        FailureKind.MALFORMED_REPLY: Traits(
            "The source answered with something that is not its documented reply.",
            "Try again later; if it stays, report it with the reply that `mdagent-mcp parse` cannot read.",
            retry_may_heal=False,
            trips_breaker=True,
            counts_against_reliability=True,
            precedence=90,
        ),
        FailureKind.CIRCUIT_OPEN: Traits(
            "The source failed repeatedly and is being rested.",
            "It is tried again by itself; see source_status.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=85,
        ),
        FailureKind.RETIRED: Traits(
            "The service behind this source was shut down for good.",
            "Use one of its successors; see source_status.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=5,
        ),
        FailureKind.BAD_REQUEST: Traits(
            "The request was wrong and was not sent.",
            "Correct the named argument.",
            retry_may_heal=False,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=40,
        ),
        FailureKind.CANCELLED: Traits(
            "The asker cancelled the request.",
            "Ask again.",
            retry_may_heal=True,
            trips_breaker=False,
            counts_against_reliability=False,
            precedence=1,
        ),
    }
)


def clean_text(text: str, limit: int = DETAIL_LIMIT) -> str:
    """Foreign text made safe to show: control characters and line breaks become spaces, the length is bounded."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


WORDS_LIMIT: Final = 160
"""Characters of a vendor's own words that are passed on: enough to know a notice by."""


def vendor_words(text: str) -> str:
    """A vendor's own words as what they are: `it says "…"`, clean, cut, without a quotation mark of their own.

    Whoever reads an answer is told that such words are data and never instructions.
    """
    words = clean_text(text, WORDS_LIMIT).replace('"', "'")
    return f'it says "{words}"' if words else "it says nothing"


@dataclass(frozen=True, slots=True)
class Failure:
    """One source's reason for having no answer.

    Attributes:
        source: the source id, `""` when no source was involved.
        kind: the public code.
        detail: what was seen, safe to show; never contains a key.
        retry_after_s: seconds after which asking again makes sense, where known.
    """

    source: str
    kind: FailureKind
    detail: str
    retry_after_s: float | None = None


class SourceError(Exception):
    """Raised by vendor code and by reading; turned into a `Failure` by whoever knows the source.

    Attributes:
        kind: the public code.
        detail: what was seen, already cleaned.
        retry_after_s: seconds to wait, where the vendor said so.
    """

    def __init__(self, kind: FailureKind, detail: str, retry_after_s: float | None = None) -> None:
        self.kind = kind
        self.detail = clean_text(detail)
        self.retry_after_s = retry_after_s
        super().__init__(f"{kind}: {self.detail}")

    def as_failure(self, source: str) -> Failure:
        """The same reason as a value, with the name of the source that gave it."""
        return Failure(source, self.kind, self.detail, self.retry_after_s)


@dataclass(frozen=True, slots=True)
class Answered(Generic[_T]):
    """A source's usable answer."""

    value: _T


Outcome = Answered[_T] | Failure
"""What asking one source comes to: an answer or a reason."""


def gravest(failures: tuple[Failure, ...]) -> Failure | None:
    """The failure that names an answer in which every source failed; None without any."""
    return max(failures, key=lambda f: TRAITS[f.kind].precedence, default=None)
