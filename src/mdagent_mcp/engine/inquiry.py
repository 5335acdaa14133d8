"""One instrument being asked about: who was asked, who answered what, and whether that is enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import anyio

from mdagent_mcp.consensus.judgement import QuoteJudgement
from mdagent_mcp.domain.answers import QuoteAnswer, Voice, VoiceVerdict
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import AssetClass, Instrument
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.quality import Grade, at_least
from mdagent_mcp.domain.questions import QuoteQuestion

_AGREEING: Final = frozenset({VoiceVerdict.SERVED, VoiceVerdict.AGREES})
_SAYS_WHEN: Final = _AGREEING | {VoiceVerdict.DIFFERS, VoiceVerdict.DELAYED, VoiceVerdict.STALE}


def delays_told(voices: Iterable[Voice]) -> dict[str, float]:
    """By how much each source's price lagged behind the market, as far as that can be said; the least of several."""
    delays: dict[str, float] = {}
    for voice in voices:
        if voice.delay_s is not None and voice.verdict in _SAYS_WHEN:
            delays[voice.source] = min(voice.delay_s, delays.get(voice.source, voice.delay_s))
    return delays


def is_complete(quote: Quote, asset_class: AssetClass) -> bool:
    """Whether a source stated all that an answer in a trading market has beside the price."""
    book = asset_class is AssetClass.INDEX or None not in {quote.bid, quote.ask}
    volume = asset_class in {AssetClass.FOREX, AssetClass.INDEX} or quote.volume is not None
    return book and volume and quote.previous_close is not None


@dataclass(frozen=True, slots=True)
class InquiryKey:
    """What makes two questions the same: equal keys share one inquiry and one cache entry.

    Attributes:
        symbol: canonical symbol.
        sources: the only sources that may be asked, sorted; empty for all.
        min_grade: the grade to keep asking for; None for the ordinary quorum.
    """

    symbol: str
    sources: tuple[str, ...] = ()
    min_grade: Grade | None = None


def key_of(question: QuoteQuestion, instrument: Instrument) -> InquiryKey:
    """What makes a question the same for one of its instruments."""
    return InquiryKey(instrument.symbol, tuple(sorted(question.sources)), question.min_grade)


@dataclass(eq=False)
class Inquiry:
    """The state of one question while sources are being asked.

    Attributes:
        key: what is asked.
        instrument: about what.
        quotes: what sources said so far.
        failures: sources that had nothing, with the reason.
        asked: every source asked so far, in order.
        sent_at: monotonic instant at which each was asked last.
        took_s: how long those took that answered with a price, seconds.
        pending: those that have not answered yet.
        unawaited: sources that were silent when they were asked, so that the next are not kept waiting for them.
        judgement: what the quotes come to; None while none is usable.
        unjudged: whether quotes came that the judgement does not know of.
        judged_from: the number of quotes and the failures that the judgement was made from.
        answer: what the askers are given; None until done, and when there is none.
        wave_started: monotonic instant of the last wave.
        hedged: whether the last wave was found slower than usual.
        good_enough_at: monotonic instant since which nobody else needs to be asked; None while somebody does.
        told: sources about which it was told what the consensus made of their word.
        taught: whether the teacher has heard what was said.
        waiters: askers waiting for it.
        done: set when the askers can be answered.
    """

    key: InquiryKey
    instrument: Instrument
    quotes: list[Quote] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent_at: dict[str, float] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    unawaited: set[str] = field(default_factory=set)
    judgement: QuoteJudgement | None = None
    unjudged: bool = False
    judged_from: tuple[int, dict[str, Failure]] | None = None
    answer: QuoteAnswer | None = None
    wave_started: float = 0.0
    hedged: bool = False
    good_enough_at: float | None = None
    told: set[str] = field(default_factory=set)
    taught: bool = False
    waiters: int = 0
    done: anyio.Event = field(default_factory=anyio.Event)

    def is_asked_again(self, source: str) -> bool:
        """Whether a source was asked more than once, which only a last resort is."""
        return self.asked.count(source) > 1

    @property
    def awaited(self) -> set[str]:
        """Sources that have not answered yet and may be expected to."""
        return self.pending - self.unawaited

    @property
    def refused_unasked(self) -> tuple[str, ...]:
        """Sources that were asked, once, and sent nothing because they are being rested."""
        resting = (name for name, told in self.failures.items() if told.kind is FailureKind.CIRCUIT_OPEN)
        return tuple(name for name in resting if self.asked.count(name) == 1)

    @property
    def wanted(self) -> Grade:
        """The grade that ends the asking."""
        return self.key.min_grade or Grade.A

    @property
    def agreeing(self) -> frozenset[str]:
        """The upstream groups that say what is answered."""
        if self.judgement is None:
            return frozenset()
        voices = self.judgement.explanation.voices
        return frozenset(v.upstream_group for v in voices if v.verdict in _AGREEING and v.weight > 0)

    @property
    def confirmed(self) -> bool:
        """Whether two upstream groups say the same."""
        return self.judgement is not None and self.judgement.confirmed

    @property
    def satisfied(self) -> bool:
        """Whether the wanted grade is reached."""
        return self.judgement is not None and at_least(self.judgement.grade, self.wanted)

    @property
    def good_enough(self) -> bool:
        """Whether nobody else needs to be asked: a B that two groups confirm lacks no second opinion."""
        return self.key.min_grade is None and self.confirmed and self.usable

    @property
    def usable(self) -> bool:
        """Whether there is an answer that may be acted upon without a second look: B or better."""
        return self.judgement is not None and at_least(self.judgement.grade, Grade.B)

    @property
    def presentable(self) -> bool:
        """Whether there is an answer one may give when patience runs out: C or better."""
        return self.judgement is not None and at_least(self.judgement.grade, Grade.C)
