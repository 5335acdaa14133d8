"""The price process: for every symbol and trading day the four prices, the paths inside, and the volume.

Daily levels are a Brownian bridge over 4096-day blocks, found by halving the block, so that any day of any year costs
the same and needs no other day. Everything is a function of (seed, symbol, day); the caches only save
time. Prices are as traded on their own day.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from math import exp, sqrt, tanh
from typing import Final

from mdagent_mcp.domain.calendar import TradingSession, calendar_named
from mdagent_mcp.sandbox.noise import Noise, normal_of
from mdagent_mcp.sandbox.paths import Frame, Segment, bridge, day_frame, session_knots, volume_share
from mdagent_mcp.sandbox.universe import FIRST_DAY, Security, known_security

_DAY: Final = timedelta(days=1)
_ANCHOR: Final = date(2026, 7, 1)
"""The day on which every price is near its base level."""
_BLOCK_DAYS: Final = 4096
"""Days after which a level is back at its base, apart from its drift; a power of two."""
_REVERTING_BLOCK_DAYS: Final = 64
_LEAF_DAYS: Final = 8
_FAR: Final = date(2199, 12, 31)
_CAP: Final = 1.2
"""A level's logarithm stays within this of its base, apart from its drift."""
_DRIFT: Final = {"EQUITY": 0.07, "ETF": 0.08, "INDEX": 0.07, "CRYPTOCURRENCY": 0.2}
"""Yearly growth of the level by kind."""
_REVERTING_SD_BP: Final = 20.0
"""One-minute deviation from which on a level comes back often, as a volatility index does."""
_EXTENDED_KNOT_S: Final = 60
_EXTENDED_PRINT_S: Final = 15
_TRADING_DAYS: Final = 252 / 365


class PriceProcess:
    """What each symbol does on each day of one world.

    Args:
        seed: of the world.
    """

    def __init__(self, seed: int) -> None:
        self.noise = Noise(seed)
        self._displacement = lru_cache(maxsize=1 << 16)(self._draw_displacement)
        self._level = lru_cache(maxsize=1 << 16)(self._find_level)
        self._leaf = lru_cache(maxsize=1 << 14)(self._walk_leaf)
        self._numbers = lru_cache(maxsize=1 << 16)(self._draw_numbers)
        self.regular = lru_cache(maxsize=1024)(self._build_regular)
        self.before_open = lru_cache(maxsize=512)(self._build_before_open)
        self.after_close = lru_cache(maxsize=512)(self._build_after_close)

    def volume_until(self, symbol: str, day: date, elapsed_s: float) -> float:
        """Units traded in the first `elapsed_s` seconds of the regular session, whole except for coins."""
        session = session_of(symbol, day)
        length_s = session.regular_length.total_seconds()
        if elapsed_s >= length_s:
            return self.day_volume(symbol, day)
        minute = int(elapsed_s // 60)
        done = self._volume_share(symbol, day, minute, length_s)
        following = self._volume_share(symbol, day, minute + 1, length_s)
        share = done + (following - done) * (elapsed_s - 60 * minute) / 60
        return float(int(self.day_volume(symbol, day) * share))

    def _volume_share(self, symbol: str, day: date, minute: int, length_s: float) -> float:
        around_the_clock = length_s > 12 * 3600
        share = volume_share(minute * 60 / length_s, round_the_clock=around_the_clock)
        if minute == 0 or minute * 60 >= length_s:
            return share
        step = share - volume_share((minute - 1) * 60 / length_s, round_the_clock=around_the_clock)
        return share + 0.4 * step * (self.noise.uniform(symbol, day, "volume", minute) - 0.5)

    def frame(self, symbol: str, day: date) -> Frame:
        """The four prices of a trading day, as traded."""
        return self._numbers(symbol, day)[0]

    def day_volume(self, symbol: str, day: date) -> float:
        """Units traded in the whole regular session."""
        return self._numbers(symbol, day)[1]

    def _draw_numbers(self, symbol: str, day: date) -> tuple[Frame, float]:
        security = known_security(symbol)
        drawn = self.noise.octets(24, symbol, day)
        raw = day_frame(
            self._level(symbol, previous_day(security, day)),
            self._level(symbol, day),
            session_sd(security),
            gap=not is_round_the_clock(security),
            drawn=drawn[:16],
        )
        scale = security.base * security.split_factor(day, _FAR)
        frame = Frame(
            round_to_tick(security, scale * raw.open),
            round_to_tick(security, scale * raw.high),
            round_to_tick(security, scale * raw.low),
            round_to_tick(security, scale * raw.close),
        )
        return frame, float(int(security.liquidity.daily_volume * exp(0.3 * normal_of(drawn[16:]))))

    def _build_regular(self, symbol: str, day: date) -> Segment:
        security = known_security(symbol)
        session = session_of(symbol, day)
        frame = self.frame(symbol, day)
        around_the_clock = is_round_the_clock(security)
        knot_s = 60 if around_the_clock else 30
        sd = knot_sd(security, frame.open, knot_s)
        knots = session_knots(
            frame,
            int((session.close - session.open).total_seconds()) // knot_s,
            sd,
            round_the_clock=around_the_clock,
            rng=self.noise.generator(symbol, day, "path"),
        )
        return Segment(
            knots, knot_s, security.liquidity.print_s, wiggle=sd, noise=(self.noise, f"{symbol}|{day}|regular")
        )

    def _build_before_open(self, symbol: str, day: date) -> Segment:
        """From near the previous close, on this day's split basis, to the open."""
        security = known_security(symbol)
        before = previous_day(security, day)
        closed = self.frame(symbol, before).close / security.split_factor(before, day)
        opened = self.frame(symbol, day).open
        return self._extended(symbol, day, closed + 0.3 * (opened - closed), opened)

    def _build_after_close(self, symbol: str, day: date) -> Segment:
        """From the official close to wherever the evening's news takes it."""
        security = known_security(symbol)
        closed = self.frame(symbol, day).close
        move = 0.25 * session_sd(security) * self.noise.normal(symbol, day, "evening")
        return self._extended(symbol, day, closed, closed * exp(move))

    def _extended(self, symbol: str, day: date, start: float, end: float) -> Segment:
        security = known_security(symbol)
        session = session_of(symbol, day)
        evening = start == self.frame(symbol, day).close
        length = session.post_close - session.close if evening else session.open - session.pre_open
        count = int(length.total_seconds()) // _EXTENDED_KNOT_S
        sd = 0.5 * knot_sd(security, start, _EXTENDED_KNOT_S)
        bounds = (0.97 * min(start, end), 1.03 * max(start, end))
        rng = self.noise.generator(symbol, day, "evening" if evening else "morning")
        knots = [start, *bridge(start, end, [sd] * count, bounds, rng)]
        name = f"{symbol}|{day}|{'evening' if evening else 'morning'}"
        return Segment(knots, _EXTENDED_KNOT_S, _EXTENDED_PRINT_S, wiggle=sd, noise=(self.noise, name))

    def _find_level(self, symbol: str, day: date) -> float:
        """Logarithm of the day's closing level relative to the base, before splits."""
        security = known_security(symbol)
        reverting = security.liquidity.minute_sd_bp > _REVERTING_SD_BP
        daily_sd = session_sd(security) * 1.1 * sqrt(_TRADING_DAYS)
        walked = daily_sd * self._walk(symbol, day, _REVERTING_BLOCK_DAYS if reverting else _BLOCK_DAYS)
        drift = 0.0 if reverting else _DRIFT.get(security.kind, 0.0) * (day - _ANCHOR).days / 365.25
        return _CAP * tanh(walked / _CAP) + drift

    def _walk(self, symbol: str, day: date, block_days: int) -> float:
        """A Brownian bridge of unit daily variance, zero at both ends of its block."""
        block, offset = divmod((day - _ANCHOR).days, block_days)
        return self._leaf(symbol, block, block_days, offset // _LEAF_DAYS)[offset % _LEAF_DAYS]

    def _walk_leaf(self, symbol: str, block: int, block_days: int, leaf: int) -> tuple[float, ...]:
        """The bridge on the eight days of one leaf: the block is halved down to it, then filled from one draw."""
        low, high = 0, block_days
        at_low = at_high = 0.0
        while high - low > _LEAF_DAYS:
            middle = (low + high) // 2
            at_middle = (at_low + at_high) / 2 + self._displacement(symbol, block, low, high)
            if leaf * _LEAF_DAYS < middle:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
        drawn = self.noise.octets(8 * _LEAF_DAYS, symbol, "leaf", block, block_days, leaf)
        days = [at_low, *[0.0] * (_LEAF_DAYS - 1), at_high]
        for span in (8, 4, 2):
            for start in range(0, _LEAF_DAYS, span):
                middle = start + span // 2
                away = sqrt(span / 4) * normal_of(drawn[8 * middle : 8 * middle + 8])
                days[middle] = (days[start] + days[start + span]) / 2 + away
        return tuple(days[:-1])

    def _draw_displacement(self, symbol: str, block: int, low: int, high: int) -> float:
        return sqrt((high - low) / 4) * self.noise.normal(symbol, "level", block, low, high)


def is_round_the_clock(security: Security) -> bool:
    """Whether its sessions follow each other without a pause."""
    return security.instrument.calendar in ("24/7", "24/5")


def session_sd(security: Security) -> float:
    """Standard deviation of a whole session's return."""
    minutes = 1440 if is_round_the_clock(security) else 390
    return security.liquidity.minute_sd_bp * 1e-4 * sqrt(minutes)


def knot_sd(security: Security, price: float, knot_s: int) -> float:
    """Standard deviation of the move between two knots, in price units."""
    return price * security.liquidity.minute_sd_bp * 1e-4 * sqrt(knot_s / 60)


def round_to_tick(security: Security, price: float) -> float:
    """The nearest multiple of the tick, at least one tick."""
    return round(max(1, round(price / security.tick)) * security.tick, security.digits)


@lru_cache(maxsize=1 << 15)
def _session_on(calendar: str, day: date) -> TradingSession | None:
    return calendar_named(calendar).session_on(day)


def find_session(security: Security, day: date) -> TradingSession | None:
    """The session of a trading date; None when it is none, or before the simulated market began."""
    return _session_on(security.instrument.calendar, day) if day >= FIRST_DAY - _DAY * 14 else None


def session_of(symbol: str, day: date) -> TradingSession:
    """The session of what must be a trading date.

    Raises:
        ValueError: when it is none.
    """
    session = find_session(known_security(symbol), day)
    if session is None:
        raise ValueError(f"{symbol} does not trade on {day}")
    return session


def previous_day(security: Security, day: date) -> date:
    """The trading date before `day`."""
    calendar = calendar_named(security.instrument.calendar)
    before = day - _DAY
    while not calendar.is_session(before) and day - before < _DAY * 15:
        before -= _DAY
    return before
