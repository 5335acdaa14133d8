"""The simulated market: what really happened, as a pure function of (seed, symbol, instant).

The rule of this module: nothing here knows any vendor, a wire format or the present; whoever asks hands in the
instant. Prices are as traded at that instant (before a split they are the old ones), rounded to the tick, and move
only while the market trades.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from math import ceil, floor
from typing import Final

from mdagent_mcp.domain.calendar import MarketState, TradingSession, calendar_named
from mdagent_mcp.domain.prices import Bar, Dividend, Session, Split, require_utc
from mdagent_mcp.sandbox.paths import Extremes, Frame
from mdagent_mcp.sandbox.process import PriceProcess, find_session, previous_day, round_to_tick, session_of
from mdagent_mcp.sandbox.universe import DELISTED, FIRST_DAY, Security, dividends_of, find_security

_DAY: Final = timedelta(days=1)
_FAR: Final = date(2199, 12, 31)


class UnknownSymbolError(LookupError):
    """The simulated market has no such symbol, or no longer."""


@dataclass(frozen=True, slots=True)
class ExtendedPrint:
    """The newest trade outside regular hours.

    Attributes:
        price: as traded.
        event_time: when, UTC.
        session: PRE or POST.
    """

    price: float
    event_time: datetime
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class RegularNumbers:
    """One regular session as far as it has gone, on the split basis of the instant asked about.

    Attributes:
        day: trading date.
        open: first price.
        high: high so far.
        low: low so far.
        close: newest print, or the official close once the session is over.
        close_time: when `close` was traded, UTC.
        previous_close: official close of the session before.
        volume: units traded so far.
        over: whether it has ended.
    """

    day: date
    open: float
    high: float
    low: float
    close: float
    close_time: datetime
    previous_close: float
    volume: float
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything true about one symbol at one instant.

    Attributes:
        symbol: canonical symbol.
        at: the instant, UTC.
        state: what its market is doing.
        session: what `price` is: a print of the pre, regular or post session, or CLOSED for the official close.
        price: the newest print while anything trades, else the official close.
        event_time: when `price` was traded.
        bid: best bid, at most `price`.
        ask: best ask, at least `price`.
        regular: the regular session running or last ended.
        extended: newest print since that session ended, None where there is none.
    """

    symbol: str
    at: datetime
    state: MarketState
    session: Session
    price: float
    event_time: datetime
    bid: float
    ask: float
    regular: RegularNumbers
    extended: ExtendedPrint | None


class SimulatedMarket:
    """The market of one seed.

    Args:
        seed: equal seeds give equal markets, also in other processes.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._process = PriceProcess(seed)
        self.noise = self._process.noise

    def security(self, symbol: str) -> Security:
        """What a canonical symbol names.

        Raises:
            UnknownSymbolError: when it is not traded.
        """
        found = find_security(symbol)
        if found is None or symbol == DELISTED:
            raise UnknownSymbolError(symbol)
        return found

    def state(self, symbol: str, instant: datetime) -> MarketState:
        """What the symbol's market is doing; closed outside regular hours for what has no extended ones."""
        require_utc("instant", instant)
        security = self.security(symbol)
        state = calendar_named(security.instrument.calendar).state_at(instant)
        extended = state in (MarketState.PRE, MarketState.POST)
        return MarketState.CLOSED if extended and not security.has_extended_hours else state

    def price(self, symbol: str, instant: datetime) -> float:
        """The newest print at `instant`, or the official close while nothing trades."""
        return self.snapshot(symbol, instant).price

    def snapshot(self, symbol: str, instant: datetime) -> Snapshot:
        """Everything true about `symbol` at `instant`.

        Raises:
            UnknownSymbolError: when it is not traded.
            ValueError: when the calendar does not reach that far.
        """
        state = self.state(symbol, instant)
        security = self.security(symbol)
        session = self._latest_opened(security, instant)
        regular = self._regular_numbers(security, session, instant)
        extended = self._extended_print(security, session, instant)
        price, event_time = regular.close, regular.close_time
        traded = Session.CLOSED if regular.over else Session.REGULAR
        if extended is not None and state in (MarketState.PRE, MarketState.POST):
            price, event_time, traded = extended.price, extended.event_time, extended.session
        bid, ask = self._book(security, price, event_time, wide=traded is not Session.REGULAR)
        return Snapshot(
            symbol=symbol,
            at=instant,
            state=state,
            session=traded,
            price=price,
            event_time=event_time,
            bid=bid,
            ask=ask,
            regular=regular,
            extended=extended,
        )

    def last_regular_print(self, symbol: str, day: date) -> tuple[float, datetime]:
        """The last trade before the closing auction of `day`, and when it was: not the official close."""
        session = session_of(symbol, day)
        path = self._process.regular(symbol, day)
        at = path.print_time(path.length_s)
        return round_to_tick(self.security(symbol), path.price(at)), session.open + timedelta(seconds=at)

    def daily_bars(
        self, symbol: str, first: date, last: date, *, until: datetime | None = None, as_traded: bool = False
    ) -> tuple[Bar, ...]:
        """The daily bars of the trading dates from `first` to `last`, oldest first, adjusted for splits.

        Args:
            symbol: canonical symbol.
            first: first date wanted.
            last: last date wanted, included.
            until: nothing later is told: a session still running then ends the series as far as it has gone. Splits
                are those in effect at that instant; without it, those in effect at the end of `last`.
            as_traded: each bar on the split basis of its own date instead.
        """
        security = self.security(symbol)
        basis = last if until is None else self._basis(security, until)
        bars = []
        day = max(first, FIRST_DAY)
        is_session = calendar_named(security.instrument.calendar).is_session
        running = None if until is None else self._latest_opened(security, until)
        end = last if running is None else min(last, running.day)
        while day <= end:
            if is_session(day):
                bars.append(self._daily_bar(security, day, day if as_traded else basis))
            day += _DAY
        if bars and running is not None and until is not None and running.close > until and end == running.day:
            bars[-1] = _bar_so_far(self._regular_numbers(security, running, until))
        return tuple(bars)

    def minute_bars(
        self, symbol: str, day: date, *, extended: bool = False, until: datetime | None = None
    ) -> tuple[Bar, ...]:
        """The one-minute bars of a trading date; see `intraday_bars`."""
        return self.intraday_bars(symbol, day, 60, extended=extended, until=until)

    def intraday_bars(
        self, symbol: str, day: date, length_s: int, *, extended: bool = False, until: datetime | None = None
    ) -> tuple[Bar, ...]:
        """The bars of a trading date as traded, stamped with their start; empty when it is none.

        Each session is cut from its own start, so that its last bar may be shorter than the others.

        Args:
            symbol: canonical symbol.
            day: trading date.
            length_s: seconds of a bar, whole minutes.
            extended: whether pre- and post-market bars (without volume) are wanted.
            until: nothing later is told; the bar running then ends the series as far as it has gone.
        """
        security = self.security(symbol)
        session = find_session(security, day)
        if session is None or day < FIRST_DAY:
            return ()
        stretches = [(session.open, self._process.regular(symbol, day))]
        if extended and security.has_extended_hours:
            before = (session.pre_open, self._process.before_open(symbol, day))
            stretches = [before, *stretches, (session.close, self._process.after_close(symbol, day))]
        bars: list[Bar] = []
        for start, path in stretches:
            known_s = path.length_s if until is None else min(ceil((until - start).total_seconds()), path.length_s)
            traded = 0.0
            for begin_s in range(0, known_s, length_s):
                end_s = min(begin_s + length_s, known_s)
                so_far = self._process.volume_until(symbol, day, end_s) if start == session.open else 0.0
                prices = path.bar(begin_s, end_s - begin_s)
                bars.append(_priced(security, start + timedelta(seconds=begin_s), prices, so_far - traded))
                traded = so_far
        return tuple(bars)

    def year_range(self, symbol: str, instant: datetime) -> Extremes:
        """About the highest and the lowest price of the year before `instant`: one session a week and the newest."""
        regular = self.snapshot(symbol, instant).regular
        security = self.security(symbol)
        days = (regular.day - 7 * n * _DAY for n in range(1, 53))
        frames = [
            (self._process.frame(symbol, day), security.split_factor(day, regular.day))
            for day in days
            if day >= FIRST_DAY and find_session(security, day) is not None
        ]
        high = max([regular.high, *(frame.high / scale for frame, scale in frames)])
        return Extremes(high, min([regular.low, *(frame.low / scale for frame, scale in frames)]))

    def dividends(self, symbol: str, first: date, last: date) -> tuple[Dividend, ...]:
        """Cash dividends with ex-dates from `first` to `last`, per share on the split basis of `last`."""
        security = self.security(symbol)
        scale = security.split_factor(last, _FAR)
        moved = (
            Dividend(self._next_trading_day(security, d.day), d.amount * scale)
            for d in dividends_of(security, first - _DAY * 14, last)
        )
        return tuple(d for d in moved if first <= d.day <= last)

    def splits(self, symbol: str, first: date, last: date) -> tuple[Split, ...]:
        """Splits effective from `first` to `last`."""
        return tuple(s for s in self.security(symbol).splits if first <= s.day <= last)

    def _latest_opened(self, security: Security, instant: datetime) -> TradingSession:
        session = calendar_named(security.instrument.calendar).latest_opened(instant)
        if session is None or session.day < FIRST_DAY:
            raise ValueError(f"the simulated market knows no session of {security.symbol} before {instant.isoformat()}")
        return session

    def _basis(self, security: Security, instant: datetime) -> date:
        """The trading date whose splits are in effect at `instant`."""
        within = calendar_named(security.instrument.calendar).session_at(instant)
        return self._latest_opened(security, instant).day if within is None else within.day

    def _regular_numbers(self, security: Security, session: TradingSession, instant: datetime) -> RegularNumbers:
        symbol, day = security.symbol, session.day
        basis = self._basis(security, instant) if security.splits else day
        scale = security.split_factor(day, basis)
        frame = self._process.frame(symbol, day)
        high, low, close, close_time = frame.high, frame.low, frame.close, session.close
        elapsed_s = (instant - session.open).total_seconds()
        over = session.close <= instant
        if not over:
            path = self._process.regular(symbol, day)
            extremes = path.extremes_until(elapsed_s)
            high, low, close = extremes.high, extremes.low, path.price(elapsed_s)
            close_time = session.open + timedelta(seconds=path.print_time(elapsed_s))
        before = previous_day(security, day)
        previous_close = self._process.frame(symbol, before).close / security.split_factor(before, basis)
        return RegularNumbers(
            day=day,
            open=round_to_tick(security, frame.open / scale),
            high=round_to_tick(security, high / scale),
            low=round_to_tick(security, low / scale),
            close=round_to_tick(security, close / scale),
            close_time=close_time,
            previous_close=round_to_tick(security, previous_close),
            volume=float(int(self._process.volume_until(symbol, day, elapsed_s) * scale)),
            over=over,
        )

    def _extended_print(self, security: Security, regular: TradingSession, instant: datetime) -> ExtendedPrint | None:
        if not security.has_extended_hours or instant < regular.close:
            return None
        within = calendar_named(security.instrument.calendar).session_at(instant)
        if within is not None and within.day > regular.day:
            path, start, session = self._process.before_open(security.symbol, within.day), within.pre_open, Session.PRE
        else:
            path, start, session = self._process.after_close(security.symbol, regular.day), regular.close, Session.POST
        elapsed_s = (instant - start).total_seconds()
        price = round_to_tick(security, path.price(elapsed_s))
        return ExtendedPrint(price, start + timedelta(seconds=path.print_time(elapsed_s)), session)

    def _book(self, security: Security, price: float, event_time: datetime, *, wide: bool) -> tuple[float, float]:
        spread_bp = security.liquidity.spread_bp * (5 if wide else 1)
        ticks = max(1, round(price * spread_bp * 1e-4 / security.tick))
        below = floor(self.noise.uniform(security.symbol, "book", int(event_time.timestamp())) * (ticks + 1))
        bid = round_to_tick(security, price - below * security.tick)
        return min(bid, price), round_to_tick(security, price + (ticks - below) * security.tick)

    def _daily_bar(self, security: Security, day: date, basis: date) -> Bar:
        frame = self._process.frame(security.symbol, day)
        scale = security.split_factor(day, basis)
        opened, high, low, close = (round(p / scale, 6) for p in (frame.open, frame.high, frame.low, frame.close))
        volume = float(int(self._process.day_volume(security.symbol, day) * scale))
        return Bar(datetime.combine(day, time(0), UTC), opened, high, low, close, volume)

    def _next_trading_day(self, security: Security, day: date) -> date:
        while find_session(security, day) is None:
            day += _DAY
        return day


def _bar_so_far(regular: RegularNumbers) -> Bar:
    start = datetime.combine(regular.day, time(0), UTC)
    return Bar(start, regular.open, regular.high, regular.low, regular.close, regular.volume)


def _priced(security: Security, start: datetime, frame: Frame, volume: float) -> Bar:
    prices = (frame.open, frame.high, frame.low, frame.close)
    opened, high, low, close = (round_to_tick(security, price) for price in prices)
    return Bar(start, opened, high, low, close, volume)
