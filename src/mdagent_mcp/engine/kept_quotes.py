"""What the cache keeps about an instrument: the sources' own quotes, and the answer last given from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mdagent_mcp.cache import Entry, TimedStore
from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.domain.answers import QuoteAnswer
from mdagent_mcp.domain.failures import Failure
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.engine.inquiry import InquiryKey

JUDGEMENT_SERVES_S: Final = 0.1
"""How long a judgement serves without being made again: its delay is told as it was then, which is that exact."""


@dataclass(frozen=True, slots=True)
class KeptQuotes:
    """What sources said about an instrument.

    Attributes:
        quotes: theirs.
        failures: of the sources that had nothing.
        grade: of the answer last given from it.
        evidence_id: under which that answer was kept; empty where it was given by another replica.
        served: the answer as it was last served from here; None before the first time.
    """

    quotes: tuple[Quote, ...]
    failures: tuple[Failure, ...]
    grade: Grade
    evidence_id: str
    served: QuoteAnswer | None = None

    def still_serves(self, now: datetime) -> QuoteAnswer | None:
        """The answer served last, while its judgement is of this instant."""
        return self.served if self.served is not None and is_of_this_instant(self.served, now) else None


class Fallbacks:
    """What an outage falls back on: the last answers that could be stated, and the last that were confirmed.

    What one source said a minute ago may be past stating when what two said before is not: neither displaces the other.

    Args:
        entries: how many of each are kept.
    """

    def __init__(self, entries: int) -> None:
        self._stated: TimedStore[InquiryKey, KeptQuotes] = TimedStore(entries)
        self._confirmed: TimedStore[InquiryKey, KeptQuotes] = TimedStore(entries)

    def store(self, key: InquiryKey, kept: KeptQuotes, now: datetime) -> None:
        """Keep what an inquiry came to, unless it must not be stated."""
        for store, least in ((self._stated, Grade.D), (self._confirmed, Grade.B)):
            if at_least(kept.grade, least):
                store.store(key, kept, now)

    def amend(self, key: InquiryKey, kept: KeptQuotes, now: datetime) -> None:
        """Replace what was kept last, which a late answer changed, and perhaps confirmed only now."""
        if at_least(kept.grade, Grade.D):
            self._stated.amend(key, kept)
        if at_least(kept.grade, Grade.B):
            self._confirmed.store(key, kept, now)

    def heard(self, key: InquiryKey, kept: KeptQuotes, at: datetime) -> None:
        """Keep what another replica found out, of which the grade is not known."""
        self._stated.store(key, kept, at)

    def of(self, key: InquiryKey) -> tuple[Entry[KeptQuotes], ...]:
        """What there is to fall back on, the latest first."""
        found = (self._stated.find(key), self._confirmed.find(key))
        return tuple(entry for entry in found if entry is not None)


def is_of_this_instant(judged: QuoteJudgement | QuoteAnswer, now: datetime) -> bool:
    """Whether a judgement is young enough to serve as it is."""
    return 0.0 <= (now - judged.judged_at).total_seconds() <= JUDGEMENT_SERVES_S
