"""The same stream through `judge_quote` itself: quotes in, a graded answer out, with what the teacher told so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from fusion_learning import DEFAULT_SIGMA, Learner, Outcome
from fusion_streams import Query, is_right
from mdagent_mcp.consensus.context import QuoteContext, SymbolKnowledge
from mdagent_mcp.consensus.quotes import judge_quote
from mdagent_mcp.consensus.track_knowledge import PRICE, TrackKnowledge
from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Quote, Session

_NEW_YORK = calendar_named("XNYS")
_DELAYED_S = 600.0


@dataclass(frozen=True, slots=True)
class Served:
    """What `judge_quote` answered: the price, its letter, and whether it was right and in the interval."""

    query: Query
    price: float
    grade: str
    right: bool
    covered: bool


class ProductLearner(Learner):
    """Learns like `Learner`, and asks `judge_quote` beside."""

    def __init__(self, members: Sequence[str]) -> None:
        super().__init__(members)
        self.served: list[Served] = []

    def run(self, queries: Iterable[Query]) -> list[Outcome]:
        """Answer every query both ways."""
        self.served = []
        return super().run(queries)

    def _answer(self, query: Query) -> Outcome:
        now = _opening(query.day) + timedelta(seconds=query.at_s)
        quotes = [_quote(name, *query.said[name], query, now) for name in self._members if name in query.said]
        judged = judge_quote(parse_symbol(query.symbol.upper()), quotes, {}, self._context(query, now))
        if judged is not None:
            covered = judged.price_low <= query.truth <= judged.price_high
            right = is_right(judged.price, query)
            self.served.append(Served(query, judged.price, judged.grade.value, right, covered))
        return super()._answer(query)

    def _context(self, query: Query, now: datetime) -> QuoteContext:
        last = self._last.get(query.symbol)  # of an earlier day where today's is not told yet, as the engine has it
        learned = SymbolKnowledge(
            observations=200,
            volatility_per_sqrt_s=math.sqrt(self._variance(query.symbol)) or DEFAULT_SIGMA,
            relative_spread=2e-4,
            tick=0.01,
            last_price=None if last is None else math.exp(last[2]),
            last_price_time=None if last is None else _opening(last[0]) + timedelta(seconds=last[1]),
        )
        records = {source: {PRICE: record} for source, record in self._records.items()}
        return QuoteContext(now=now, calendar=_NEW_YORK, learned=learned, track=TrackKnowledge(records=records))


def _opening(day: str) -> datetime:
    session = _NEW_YORK.session_on(date.fromisoformat(day))
    if session is None:
        raise ValueError(f"{day} is no trading day")
    return session.open.astimezone(UTC)


def _quote(source: str, price: float, age_s: float | None, query: Query, now: datetime) -> Quote:
    return Quote(
        symbol=query.symbol.upper(),
        source=source,
        price=price,
        session=Session.REGULAR,
        received_at=now,
        event_time=None if age_s is None else now - timedelta(seconds=age_s),
        currency="USD",
        declared_delay_s=900.0 if age_s is not None and age_s > _DELAYED_S and "delay" in source else 0.0,
    )
