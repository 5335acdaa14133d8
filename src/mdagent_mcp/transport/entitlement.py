"""What a key may ask: by its plan, and by what the vendor refused to it.

The rule of this module: plans are sold by asset class, so a refusal of currencies closes nothing for shares. A refusal
with a wait is about the day or range asked for, not about the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mdagent_mcp.domain.failures import Failure, FailureKind, Outcome
from mdagent_mcp.domain.instruments import AssetClass, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.vendor import Endpoint

REFUSALS_TO_EXCLUDE: Final = 2
"""Different symbols of one class that a vendor must refuse before it counts as not included in the key's plan."""

_Scope = tuple[Endpoint, AssetClass]


class Entitlements:
    """Which endpoints are asked, per asset class; learns from outcomes until the process ends."""

    def __init__(self, excluded: Iterable[Endpoint]) -> None:
        self._by_plan = frozenset(excluded)
        self._refused: dict[_Scope, set[str]] = {}
        self._served: set[_Scope] = set()

    @property
    def excluded(self) -> frozenset[Endpoint]:
        """Endpoints that serve this key nothing: not in its plan, or refused and never served for any class."""
        refused = {endpoint for endpoint, _ in filter(self._is_refused, self._refused)}
        return self._by_plan | (refused - {endpoint for endpoint, _ in self._served})

    def includes(self, endpoint: Endpoint, asset_class: AssetClass) -> bool:
        """Whether it is worth asking."""
        return endpoint not in self._by_plan and not self._is_refused((endpoint, asset_class))

    def heed(self, endpoint: Endpoint, symbols: Iterable[str], outcome: Outcome[Any]) -> None:
        """Learn from what became of a call."""
        told = {symbol: _told(symbol, outcome) for symbol in symbols}
        refused = {symbol for symbol, of_symbol in told.items() if _is_refusal(of_symbol)}
        # A refused call about several classes does not say which of them it was refused for.
        if not isinstance(outcome, Failure) or len({_class_of(symbol) for symbol in refused}) == 1:
            for symbol in refused:
                self._refused.setdefault((endpoint, _class_of(symbol)), set()).add(symbol)
        for symbol, of_symbol in told.items():
            if not isinstance(of_symbol, Failure):
                self._served.add((endpoint, _class_of(symbol)))
                self._refused.pop((endpoint, _class_of(symbol)), None)

    def _is_refused(self, scope: _Scope) -> bool:
        return len(self._refused.get(scope, ())) >= REFUSALS_TO_EXCLUDE


def _told(symbol: str, outcome: Outcome[Any]) -> Outcome[Any]:
    """What a call told about one symbol: a reply about several may refuse some of them."""
    if isinstance(outcome, Failure) or not isinstance(outcome.value, Mapping):
        return outcome
    of_symbol = outcome.value.get(symbol)
    return of_symbol if isinstance(of_symbol, Failure) else outcome


def _is_refusal(outcome: Outcome[Any]) -> bool:
    return isinstance(outcome, Failure) and outcome.kind is FailureKind.NOT_ENTITLED and outcome.retry_after_s is None


def _class_of(symbol: str) -> AssetClass:
    try:
        return parse_symbol(symbol).asset_class
    except InvalidSymbolError:
        return AssetClass.US_EQUITY
