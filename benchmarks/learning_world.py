"""Seeded worlds of ten unknown sources for the learning benchmark: what each is like, when it changes, what it says.

Everything a source does is drawn from (seed, source, session, question, attempt), never from a shared generator, so
that all arms of the benchmark meet the same fate when they ask the same source the same question.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

import httpx

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import Answered
from mdagent_mcp.domain.prices import Quote, Session
from mdagent_mcp.domain.vendor import Endpoint, Offer, QuoteQuery, QuoteReading, Reply, Request, Vendor

SOURCES: Final = ("amber", "basil", "cedar", "delta", "ember", "fjord", "gravel", "harbor", "island", "jasper")
SYMBOLS: Final = ("AAPL", "MSFT", "IBM", "KO", "SPY")
COSTS: Final = (0.0, 0.0, 0.01, 0.02, 0.02, 0.05, 0.05, 0.1, 0.1, 0.2)
"""Of a call, dealt to the sources by chance: what something costs says nothing of what it is worth."""
CHANGES: Final = 0.06
"""Chance that a source is another kind of source from one session to the next."""
OUTAGES: Final = 0.35
"""Chance that one source cannot be reached for part of a session."""
FIRST_SESSION: Final = datetime(2026, 9, 8, 15, 0, tzinfo=UTC)
"""Tuesday 11:00 in New York; the sessions are on the trading days after it, none of which is a holiday."""
PERIODS: Final = ((3600.0, 30e-4), (600.0, 10e-4), (97.0, 3e-4), (23.0, 1.5e-4), (7.0, 0.7e-4))
"""Seconds and amplitude of the waves that a price is made of."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a source is like.

    Attributes:
        fails: share of calls that end with an error of the server.
        wrong: share of prices that are wrong, by a third of a per cent to two.
        lag_s: usual age of its prices, which it states truthfully.
        latency_s: usual time of a call.
        complete: whether it states bid and ask.
    """

    fails: float
    wrong: float
    lag_s: float
    latency_s: float
    complete: bool = True


GOOD: Final = Kind(0.01, 0.0, 0.5, 0.12)
OTHERS: Final = (
    Kind(0.05, 0.0, 3.5, 0.30),  # mediocre
    Kind(0.02, 0.0, 120.0, 0.15),  # late without saying so beforehand
    Kind(0.02, 0.5, 0.5, 0.12),  # wrong every other time
    Kind(0.02, 0.8, 0.5, 0.12),  # mostly wrong
    Kind(0.5, 0.0, 0.7, 0.20),  # flaky
    Kind(0.02, 0.0, 0.7, 1.2),  # slow
    Kind(0.02, 0.0, 0.6, 0.14, complete=False),  # says less
)
GOOD_SHARE: Final = 0.3


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        seed: everything in it follows from.
        sessions: how many it has.
        swap_at: session at which the best become the worst; None for never. Nothing else changes then.
    """

    seed: int
    sessions: int = 20
    swap_at: int | None = None

    def draw(self, *about: object) -> random.Random:
        """Chance that depends on nothing but the seed and what it is about."""
        return random.Random(":".join(map(str, (self.seed, *about))))

    @cached_property
    def costs(self) -> Mapping[str, float]:
        """Cost per call of every source."""
        costs = list(COSTS)
        self.draw("costs").shuffle(costs)
        return dict(zip(SOURCES, costs, strict=True))

    @cached_property
    def _kinds(self) -> tuple[Mapping[str, Kind], ...]:
        rng = self.draw("kinds")
        first = [GOOD, GOOD, GOOD, *rng.sample(OTHERS, len(SOURCES) - 3)]
        rng.shuffle(first)
        now = dict(zip(SOURCES, first, strict=True))
        all_kinds = []
        for session in range(self.sessions):
            if session == self.swap_at:
                ranked = sorted(SOURCES, key=lambda s: (now[s] is not GOOD, s))
                now = dict(zip(ranked, [now[s] for s in reversed(ranked)], strict=True))
            elif session and self.swap_at is None:
                now = {s: _redrawn(rng) if rng.random() < CHANGES else kind for s, kind in now.items()}
            all_kinds.append(now)
        return tuple(all_kinds)

    def kind(self, source: str, session: int) -> Kind:
        """What a source is like in a session."""
        return self._kinds[session][source]

    def is_down(self, source: str, session: int, progress: float) -> bool:
        """Whether a source cannot be reached after so much (0 to 1) of a session."""
        rng = self.draw("outage", session)
        if self.swap_at is not None or rng.random() >= OUTAGES:
            return False
        down, begin, length = rng.choice(SOURCES), rng.uniform(0.0, 0.8), rng.uniform(0.1, 0.5)
        return source == down and begin <= progress <= begin + length

    def begins(self, session: int) -> datetime:
        """When a session begins: one on each trading day."""
        weeks, day = divmod(session + FIRST_SESSION.weekday(), 5)
        return FIRST_SESSION + timedelta(days=weeks * 7 + day - FIRST_SESSION.weekday())

    def price(self, symbol: str, at: datetime) -> float:
        """The true price."""
        return round(self._level(symbol, at.date().toordinal()) * math.exp(self._wave(symbol, at.timestamp())), 2)

    def _level(self, symbol: str, day: int) -> float:
        return 100.0 + 40.0 * SYMBOLS.index(symbol) + self.draw("level", symbol, day).uniform(-1.0, 1.0)

    def _wave(self, symbol: str, seconds: float) -> float:
        shift = 1.7 * SYMBOLS.index(symbol) + self.seed
        return sum(a * math.sin(2.0 * math.pi * seconds / period + shift * period) for period, a in PERIODS)


def _redrawn(rng: random.Random) -> Kind:
    return GOOD if rng.random() < GOOD_SHARE else rng.choice(OTHERS)


@dataclass
class Position:
    """Where in a world one is.

    Attributes:
        session: which.
        question: which of its questions.
        questions: how many it has.
    """

    session: int
    question: int = 0
    questions: int = 1


class Line(httpx.AsyncBaseTransport):
    """One source's server, and the way to it.

    Attributes:
        said_wrong: whether its latest price was wrong.
    """

    def __init__(self, world: World, source: str, clock: Clock, position: Position) -> None:
        self.said_wrong = False
        self._world = world
        self._source = source
        self._clock = clock
        self._position = position
        self._asked = (-1, 0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the source's kind does."""
        world, where = self._world, self._position
        question, attempt = self._asked
        self._asked = (where.question, attempt + 1 if question == where.question else 0)
        rng = world.draw(self._source, where.session, *self._asked)
        kind = world.kind(self._source, where.session)
        if world.is_down(self._source, where.session, where.question / where.questions):
            raise httpx.ConnectError("Connection refused")
        await self._clock.sleep(rng.lognormvariate(math.log(kind.latency_s), 0.3))
        if rng.random() < kind.fails:
            return httpx.Response(500, content=b"{}")
        return httpx.Response(200, json=self._said(rng, kind, request.url.params["symbol"]))

    def _said(self, rng: random.Random, kind: Kind, symbol: str) -> dict[str, float | None]:
        at = self._clock.now() - timedelta(seconds=kind.lag_s * rng.lognormvariate(0.0, 0.4))
        true = self._world.price(symbol, at)
        wrong = rng.random() < kind.wrong
        self.said_wrong = wrong
        error = rng.uniform(0.003, 0.02) * rng.choice((-1.0, 1.0)) if wrong else 0.0
        price = round(true * (1.0 + error), 2)
        half = round(price * 1e-4, 2)
        before = at.date() - timedelta(days=1 if at.weekday() else 3)
        return {
            "price": price,
            "at": at.timestamp(),
            "bid": price - half if kind.complete else None,
            "ask": price + half if kind.complete else None,
            "close": self._world.price(symbol, datetime(before.year, before.month, before.day, 20, tzinfo=UTC)),
        }


def vendor(name: str) -> Vendor:
    """The declaration of a source: nothing is known of it beforehand but how it is asked."""

    def parse(query: QuoteQuery, reply: Reply) -> QuoteReading:
        symbol = query.instruments[0].symbol
        said = json.loads(reply.body)
        quote = Quote(
            symbol=symbol,
            source=name,
            price=said["price"],
            session=Session.REGULAR,
            received_at=reply.received_at,
            event_time=datetime.fromtimestamp(said["at"], UTC),
            event_time_resolution_s=0.001,
            currency="USD",
            bid=said["bid"],
            ask=said["ask"],
            previous_close=said["close"],
            volume=1e6,
        )
        return {symbol: Answered((quote,))}

    offer: Offer[QuoteQuery, QuoteReading] = Offer(
        Endpoint.QUOTE,
        lambda _: None,
        lambda query: (Request("/quote", (("symbol", query.instruments[0].symbol),)),),
        parse,
        lambda _: None,
    )
    return Vendor(
        id=name, title=name, docs_url="", terms="", hosts={"api": f"http://{name}.invalid"}, quote=offer, weight=0.8
    )
