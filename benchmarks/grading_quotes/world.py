"""A simulated afternoon as the product lives through it: polled, judged, remembered, and judged again with faults.

Every poll goes through `judge_quote` with the context that the engine makes, and its answer is kept in the product's
own memory; what memory has learned by then is what the cases are judged with.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace
from typing import Final, cast

from grading_quotes.drafts import Draft, Profile, say, speak
from grading_quotes.tape import Tape
from mdagent_mcp.consensus.judgement import QuoteJudgement, answer, source_outcomes
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.domain.events import Judged
from mdagent_mcp.domain.instruments import Instrument, parse_symbol
from mdagent_mcp.domain.prices import Quote
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint
from mdagent_mcp.engine.parts import EngineParts
from mdagent_mcp.engine.ports import AskedSource
from mdagent_mcp.engine.teacher import Teacher
from mdagent_mcp.memory.store import open_memory
from mdagent_mcp.testing import ManualClock

WARM_POLLS: Final = 120
POLL_S: Final = (8.0, 16.0)
INDEPENDENT: Final = ("alpha", "beta", "gamma", "delta")
PAIR: Final = ("epsilon", "zeta")
"""Two sources that pass on the same data."""
SLOW: Final = ("eta", "theta")
"""Venues that trade seldom and stamp their last trade."""
FREEZING: Final = ("iota", "kappa")
"""Sources of one upstream that stand still from some moment on, while their stamps go on."""
LATE: Final = "lambda"
"""A source that is always three to five seconds late, without saying so."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Which afternoon is simulated.

    Attributes:
        symbol: whose.
        day: trading date.
        seed: of everything that is drawn.
        skew_s: greatest error of a source's clock.
        until_close: the tape ends with the closing bell.
        early_freeze: freezing sources stop three minutes before the first case at the latest.
    """

    symbol: str
    day: date
    seed: int
    skew_s: float
    until_close: bool = False
    early_freeze: bool = False

    @property
    def name(self) -> str:
        """For seeding chance."""
        return f"{self.symbol} {self.day} {self.seed}"


@dataclass(slots=True)
class World:
    """The afternoon under way.

    Attributes:
        setting: which one.
        tape: the truth.
        profiles: the sources by id.
        parts: what the product's engine judges with.
        teacher: the engine's, which learns from the stamps and from delayed sources.
        clock: its clock.
        rng: chance.
        now: seconds on the tape's clock.
        frozen_at: when the freezing sources stopped.
    """

    setting: Setting
    tape: Tape
    profiles: dict[str, Profile]
    parts: EngineParts
    teacher: Teacher
    clock: ManualClock
    rng: random.Random
    instrument: Instrument
    frozen_at: float
    now: float = 1500.0
    _frozen_price: dict[str, Draft] = field(default_factory=dict)

    def healthy(self, *names: str, extra_s: float = 0.0) -> list[Draft]:
        """What these sources say now."""
        return [speak(self.tape, self.profiles[name], self.now, self.rng, extra_s=extra_s) for name in names]

    def independent(self, count: int, *, extra_s: float = 0.0) -> list[Draft]:
        """What `count` independent sources say now."""
        return self.healthy(*self.rng.sample(INDEPENDENT, count), extra_s=extra_s)

    def frozen(self, name: str) -> Draft:
        """What a freezing source says now: from its moment on the old numbers under new stamps."""
        live = speak(self.tape, self.profiles[name], self.now, self.rng)
        if live.content_at < self.frozen_at:
            return live
        first = self._frozen_price.get(name)
        if first is None:
            first = say(self.tape, self.profiles[name], self.frozen_at, self.frozen_at, self.rng)
            self._frozen_price[name] = first
        old = dict(first.fields)
        fresh = {key: live.fields[key] for key in ("event_time", "received_at")}
        return Draft(live.profile, self.frozen_at, live.received_at, {**old, **fresh})

    def judge(self, quotes: Sequence[Quote]) -> QuoteJudgement | None:
        """Judge as the engine does."""
        return judge_quote(self.instrument, quotes, {}, self.parts.quote_context(self.instrument))

    def poll(self) -> None:
        """Ask some of the sources, judge, and let memory learn."""
        self.now += self.rng.uniform(*POLL_S)
        self._turn()
        names = [*self.rng.sample(INDEPENDENT, 3), self.rng.choice(PAIR), *self._often(*SLOW, LATE)]
        drafts = [*self.healthy(*names), *(self.frozen(name) for name in self._often(*FREEZING))]
        quotes = [draft.quote() for draft in drafts]
        context = self.parts.quote_context(self.instrument)
        judgement = judge_quote(self.instrument, quotes, {}, context)
        if judgement is None:
            return
        self.parts.memory.keep(answer(judgement, self.parts.evidence_id("q")))
        self.teacher.hear(self.instrument, quotes, judgement, context)
        for told in source_outcomes(judgement):
            event = Judged(told.source, judgement.symbol, Endpoint.QUOTE, judgement.judged_at, told.agreed, told.fault)
            self.parts.memory.listen(event)

    def _often(self, *names: str) -> list[str]:
        return [name for name in names if self.rng.random() < 0.7]

    def _turn(self) -> None:
        self.clock.jump_to(self.tape.instant(self.now))


@asynccontextmanager
async def open_world(setting: Setting) -> AsyncIterator[World]:
    """A world that was polled until memory knows the symbol."""
    rng = random.Random(f"world {setting.name} {setting.skew_s}")
    tape = Tape(setting.symbol, setting.day, str(setting.seed), hour=14 if setting.until_close else 11)
    clock = ManualClock(tape.start)
    profiles = _profiles(setting, rng)
    async with open_memory(None, clock) as memory:
        parts = EngineParts(
            sources={name: _stub(profile) for name, profile in profiles.items()},
            clock=clock,
            memory=memory,
            emit=memory.listen,
            spawn=_no_background,
            rng=rng,
        )
        frozen_at = 1500.0 + sum(POLL_S) / 2 * WARM_POLLS * rng.uniform(0.3, 0.85 if setting.early_freeze else 1.02)
        world = World(
            setting, tape, profiles, parts, Teacher(parts.emit), clock, rng, parse_symbol(setting.symbol), frozen_at
        )
        for _ in range(WARM_POLLS):
            world.poll()
        yield world


def _profiles(setting: Setting, rng: random.Random) -> dict[str, Profile]:
    def profile(name: str, group: str = "", *, delay_s: float | None = None, slow_gap_s: float = 0.0) -> Profile:
        return Profile(
            name,
            group or name,
            rng.uniform(0.1, 0.7) if delay_s is None else delay_s,
            rng.uniform(-setting.skew_s, setting.skew_s),
            rng.choice((1.0, 0.001)),
            slow_gap_s,
        )

    made = [profile(name) for name in INDEPENDENT]
    made += [profile(name, "one_tape") for name in PAIR]
    made += [profile(name, slow_gap_s=rng.uniform(8.0, 25.0)) for name in SLOW]
    made += [profile(name, "freezing_tape") for name in FREEZING]
    made.append(profile(LATE, delay_s=rng.uniform(3.0, 4.5)))
    return {each.id: each for each in made}


def _stub(profile: Profile) -> AskedSource:
    """As much of a source as the engine reads for a context."""
    vendor = SimpleNamespace(id=profile.id, weight=0.8, key=None)
    stub = SimpleNamespace(vendor=vendor, group_of=lambda _: profile.group, state=lambda: SourceState.LIVE)
    return cast("AskedSource", stub)


def _no_background(*_: object) -> None:
    """Nothing runs beside the simulation."""
