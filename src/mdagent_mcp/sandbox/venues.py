"""What one vendor sees of the market: later than it happened, through its own venue, and spoilt by faults.

The rule of this module: a vendor's wire format asks only a `VendorView`; it never touches the market, so delays and
faults hold for quotes and for bars alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final

from mdagent_mcp.domain.prices import Bar, Dividend, Split
from mdagent_mcp.sandbox.faults import Fault, FaultKind, span
from mdagent_mcp.sandbox.market import ExtendedPrint, SimulatedMarket, Snapshot, UnknownSymbolError
from mdagent_mcp.sandbox.paths import Extremes
from mdagent_mcp.sandbox.universe import DELISTED, Security, known_security


@dataclass(frozen=True, slots=True)
class Venue:
    """How a vendor comes by its prices.

    Attributes:
        id: vendor id.
        delay_s: how late they are.
        delay_by_exchange_s: exceptions, by the exchange code of the security.
        skew_s: each symbol is up to so much later still, always by the same amount.
        own_print_ticks: its prints may be off the tape's by so many ticks.
        own_print_chance: how often they are.
    """

    id: str
    delay_s: float
    delay_by_exchange_s: Mapping[str, float] = field(default_factory=dict)
    skew_s: float = 1.0
    own_print_ticks: float = 0.0
    own_print_chance: float = 0.0


VENUES: Final = {
    venue.id: venue
    for venue in (
        Venue("yahoo", 0.4, {"LSE": 903.0, "CCC": 75.0, "CCY": 12.0}),
        Venue("nasdaq", 0.6, {"CCC": 60.0}),
        Venue("cboe", 900.0, skew_s=20.0, own_print_ticks=1.0, own_print_chance=0.3),
        Venue("finnhub", 0.2, skew_s=0.8, own_print_ticks=0.5, own_print_chance=0.4),
        Venue("twelve_data", 0.7, {"LSE": 902.0}, skew_s=0.6),
        Venue("alpha_vantage", 1.5, {"CCC": 30.0, "CCY": 5.0}),
        Venue("tiingo", 0.5, skew_s=0.5, own_print_ticks=1.0, own_print_chance=0.3),
        Venue("polygon", 0.1, skew_s=0.3),
        Venue("iex_cloud", 0.3, skew_s=0.5, own_print_ticks=1.0, own_print_chance=0.4),
    )
}


class VendorView:
    """The market as one vendor tells it in one call.

    Args:
        market: what really happened.
        venue: how the vendor comes by it.
        now: the instant of the call, UTC.
        faults: those that hit this call.
    """

    def __init__(self, market: SimulatedMarket, venue: Venue, now: datetime, faults: tuple[Fault, ...] = ()) -> None:
        self._market = market
        self._venue = venue
        self._faults = faults
        self.now = now
        self.noise = market.noise

    def as_of(self, instant: datetime) -> VendorView:
        """The same vendor, told exactly what was true at `instant`; faults still hold."""
        exact = Venue(self._venue.id, 0.0, skew_s=0.0)
        return VendorView(self._market, exact, instant, self._faults)

    def later(self, seconds: float) -> VendorView:
        """The same for a plan whose prices are so many seconds later."""
        delayed = {exchange: delay + seconds for exchange, delay in self._venue.delay_by_exchange_s.items()}
        venue = replace(self._venue, delay_s=self._venue.delay_s + seconds, delay_by_exchange_s=delayed)
        return VendorView(self._market, venue, self.now, self._faults)

    def find(self, symbol: str) -> Security | None:
        """The security this vendor tells about when asked for `symbol`; None when it knows none."""
        if self._hit(FaultKind.MISSING, symbol) is not None:
            return None
        other = self._hit(FaultKind.WRONG_SYMBOL, symbol)
        try:
            return self._market.security(other.word if other is not None and not other.lying else symbol)
        except UnknownSymbolError:
            return None

    def is_delisted(self, symbol: str) -> bool:
        """Whether the vendor knew the symbol once."""
        return symbol == DELISTED and self._hit(FaultKind.MISSING, symbol) is None

    def seen_at(self, security: Security) -> datetime:
        """The instant whose truth this vendor tells now."""
        stale = self._hit(FaultKind.STALE, security.symbol)
        return self._fresh_at(security) - (timedelta(0) if stale is None else span(stale))

    def snapshot(self, security: Security) -> Snapshot:
        """The newest numbers."""
        source = self._source(security)
        truth = self._market.snapshot(source, self.seen_at(security))
        stale = self._hit(FaultKind.STALE, security.symbol)
        if stale is not None and stale.lying:
            truth = _redated(truth, self._market.snapshot(source, self._fresh_at(security)))
        return _scaled(replace(self._through_venue(truth), symbol=security.symbol), self._factor(security))

    def last_own_print(self, security: Security, day: date) -> tuple[float, datetime]:
        """The venue's own last trade of a session that is over, and when it was."""
        source = self._source(security)
        price, when = self._market.last_regular_print(source, day)
        off_bp = 12 * self.noise.normal(self._venue.id, source, day, "last print")
        return round(price * (1 + off_bp * 1e-4) * self._factor(security), 2), when

    def daily_bars(self, security: Security, first: date, last: date, *, as_traded: bool = False) -> tuple[Bar, ...]:
        """Daily bars adjusted for splits, or as traded; the running session as far as it is seen."""
        until = self.seen_at(security)
        bars = self._market.daily_bars(self._source(security), first, last, until=until, as_traded=as_traded)
        return self._scaled_bars(security, bars)

    def intraday_bars(self, security: Security, day: date, length_s: int, *, extended: bool = False) -> tuple[Bar, ...]:
        """Bars of a day as traded, as far as they are seen."""
        until = self.seen_at(security)
        source = self._source(security)
        bars = self._market.intraday_bars(source, day, length_s, extended=extended, until=until)
        return self._scaled_bars(security, bars)

    def year_range(self, security: Security) -> Extremes:
        """High and low of the last year."""
        found = self._market.year_range(self._source(security), self.seen_at(security))
        factor = self._factor(security)
        return Extremes(round(found.high * factor, 6), round(found.low * factor, 6))

    def dividends(self, security: Security, first: date, last: date) -> tuple[Dividend, ...]:
        """Dividends known by now."""
        known = min(last, self.seen_at(security).date())
        factor = self._factor(security)
        found = self._market.dividends(self._source(security), first, known)
        return tuple(replace(dividend, amount=dividend.amount * factor) for dividend in found)

    def splits(self, security: Security, first: date, last: date) -> tuple[Split, ...]:
        """Splits known by now."""
        return self._market.splits(self._source(security), first, min(last, self.seen_at(security).date()))

    def _fresh_at(self, security: Security) -> datetime:
        delay = self._venue.delay_by_exchange_s.get(security.exchange, self._venue.delay_s)
        skew = self._venue.skew_s * self.noise.uniform(self._venue.id, security.symbol, "skew")
        return self.now - timedelta(seconds=delay + skew)

    def _source(self, security: Security) -> str:
        """Whose numbers are told under this security's name."""
        other = self._hit(FaultKind.WRONG_SYMBOL, security.symbol)
        return other.word if other is not None and other.lying else security.symbol

    def _hit(self, kind: FaultKind, symbol: str) -> Fault | None:
        return next((f for f in self._faults if f.kind is kind and f.spoils(symbol)), None)

    def _factor(self, security: Security) -> float:
        fault = self._hit(FaultKind.UNIT, security.symbol)
        return 1.0 if fault is None or fault.amount is None else fault.amount

    def _through_venue(self, truth: Snapshot) -> Snapshot:
        """The same with the venue's own print, while the session runs."""
        regular = truth.regular
        if regular.over or self._venue.own_print_chance == 0:
            return truth
        drawn = self.noise.uniform(self._venue.id, truth.symbol, "own print", int(regular.close_time.timestamp()))
        if drawn >= self._venue.own_print_chance:
            return truth
        tick = known_security(truth.symbol).tick * self._venue.own_print_ticks
        up = drawn < self._venue.own_print_chance / 2
        close = round(regular.close + (tick if up else -tick), 6)
        seen = replace(regular, close=close, high=max(regular.high, close), low=min(regular.low, close))
        return replace(truth, price=close, regular=seen)

    def _scaled_bars(self, security: Security, bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
        factor = self._factor(security)
        if factor == 1:
            return bars
        return tuple(
            Bar(b.start, b.open * factor, b.high * factor, b.low * factor, b.close * factor, b.volume) for b in bars
        )


def _scaled(truth: Snapshot, factor: float) -> Snapshot:
    if factor == 1:
        return truth
    extended, regular = truth.extended, truth.regular
    return replace(
        truth,
        price=round(truth.price * factor, 6),
        bid=round(truth.bid * factor, 6),
        ask=round(truth.ask * factor, 6),
        regular=replace(
            regular,
            open=round(regular.open * factor, 6),
            high=round(regular.high * factor, 6),
            low=round(regular.low * factor, 6),
            close=round(regular.close * factor, 6),
            previous_close=round(regular.previous_close * factor, 6),
        ),
        extended=None if extended is None else replace(extended, price=round(extended.price * factor, 6)),
    )


def _redated(old: Snapshot, new: Snapshot) -> Snapshot:
    """Old numbers under new time stamps."""
    extended: ExtendedPrint | None = None
    if new.extended is not None:
        extended = replace(new.extended, price=old.price if old.extended is None else old.extended.price)
    return replace(
        new,
        price=old.price,
        bid=old.bid,
        ask=old.ask,
        regular=replace(old.regular, day=new.regular.day, close_time=new.regular.close_time, over=new.regular.over),
        extended=extended,
    )
