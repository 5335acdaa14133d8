"""How far two sources may be apart and still mean the same price.

`agreement = 2 bp + 3 sqrt(spread^2 / 2 + sigma^2 clip(dt, 0.5, 3600)) + tick / price`. Beyond it two prices differ;
beyond the greater of three times that and the floor of the liquidity class they are in conflict. The learned spread,
volatility and tick of the symbol are used where there are any, else the defaults of its class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mdagent_mcp.consensus.context import SymbolKnowledge
from mdagent_mcp.domain.instruments import AssetClass, Instrument

_BASE: Final = 2e-4
_SHORTEST_S: Final = 0.5
_LONGEST_S: Final = 3600.0
MOST_TICK_SHARE: Final = 0.1
"""Share of a price that its step is at most."""
_LOW_PRICE: Final = 10.0
_LOW_PRICE_FLOOR: Final = 60e-4
_DAY_S: Final = 86400.0
_REGULAR_DAY_S: Final = 23400.0
_NOTHING: Final = SymbolKnowledge()


@dataclass(frozen=True, slots=True)
class LiquidityClass:
    """What is assumed of a symbol that memory does not know.

    Attributes:
        sigma: standard deviation of the log price over one second.
        spread: relative bid-ask spread.
        floor: smallest relative difference that counts as a conflict.
        day_s: seconds of trading in its day.
    """

    sigma: float
    spread: float
    floor: float
    day_s: float


CLASSES: Final[Mapping[AssetClass, LiquidityClass]] = MappingProxyType(
    {
        AssetClass.US_EQUITY: LiquidityClass(0.8e-4, 2e-4, 25e-4, _REGULAR_DAY_S),
        AssetClass.FOREIGN_EQUITY: LiquidityClass(1.0e-4, 5e-4, 60e-4, _REGULAR_DAY_S),
        AssetClass.INDEX: LiquidityClass(0.5e-4, 0.0, 15e-4, _REGULAR_DAY_S),
        AssetClass.CRYPTO: LiquidityClass(1.2e-4, 2e-4, 40e-4, _DAY_S),
        AssetClass.FOREX: LiquidityClass(0.2e-4, 0.5e-4, 3e-4, _DAY_S),
    }
)
"""Defaults by asset class, total over it."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The tolerance of one symbol at one price level; all shares are differences of log prices.

    Attributes:
        sigma: standard deviation of the log price over one second.
        spread: relative spread.
        tick: price step as a share of the price.
        floor: smallest difference that counts as a conflict.
        daily_sigma: standard deviation over one trading day.
        tick_size: price step in the instrument's currency.
        quoted_step: the step in which it is quoted, in its currency: the usual one where prices are finer, because
            single trades and middles of bid and ask lie between two steps.
        learned: whether volatility comes from memory.
    """

    sigma: float
    spread: float
    tick: float
    floor: float
    daily_sigma: float
    tick_size: float
    quoted_step: float
    learned: bool

    def agreement(self, apart_s: float) -> float:
        """Greatest difference of two prices, `apart_s` seconds apart, that agree."""
        clipped = min(max(apart_s, _SHORTEST_S), _LONGEST_S)
        return _BASE + 3 * math.sqrt(self.spread**2 / 2 + self.sigma**2 * clipped) + self.tick

    def conflict(self, apart_s: float) -> float:
        """Difference beyond which two prices contradict each other."""
        return max(self.floor, 3 * self.agreement(apart_s))


def tolerance_for(instrument: Instrument, price: float, learned: SymbolKnowledge | None) -> Tolerance:
    """The tolerance of `instrument` around `price`."""
    assumed = CLASSES[instrument.asset_class]
    known = _NOTHING if learned is None else learned
    sigma = assumed.sigma if known.volatility_per_sqrt_s is None else known.volatility_per_sqrt_s
    usual = _tick(instrument.asset_class, price)
    # A step of another level of prices, learned or usual, says nothing about an absurdly small one.
    tick = min(usual if known.tick is None else known.tick, MOST_TICK_SHARE * price)
    cheap = price < _LOW_PRICE and instrument.asset_class is AssetClass.US_EQUITY
    return Tolerance(
        sigma=sigma,
        spread=assumed.spread if known.relative_spread is None else known.relative_spread,
        tick=tick / price,
        floor=_LOW_PRICE_FLOOR if cheap else assumed.floor,
        daily_sigma=sigma * math.sqrt(assumed.day_s),
        tick_size=tick,
        quoted_step=max(tick, min(usual, MOST_TICK_SHARE * price)),
        learned=known.volatility_per_sqrt_s is not None,
    )


def _tick(asset_class: AssetClass, price: float) -> float:
    """The price step that is usual at this price."""
    if asset_class is AssetClass.US_EQUITY:
        return 0.01 if price >= 1 else 0.0001
    if asset_class is AssetClass.INDEX:
        return 0.01
    digits = {AssetClass.FOREX: 5, AssetClass.CRYPTO: 6}.get(asset_class, 3)
    return float(10.0 ** (math.floor(math.log10(price)) - digits))
