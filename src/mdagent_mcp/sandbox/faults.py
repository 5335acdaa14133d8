"""Faults that the sandbox shows on request: what can go wrong at a vendor, as short texts.

A text is `vendor=kind[:value][,option...]`; vendor `all` means each of them. Options: `symbols=AAPL+MSFT` (only calls
about one of these), `first=3` (only the first three calls that match), `chance=0.2` (seeded), `lying` (for `stale`
and `wrong_symbol`: time stamps, or names, pretend that nothing is wrong).

| text | meaning |
|---|---|
| `finnhub=delay:1.5` | answers 1.5 s late |
| `nasdaq=stale:3d` | tells what was true 3 days ago (`s m h d`) |
| `yahoo=throttle:60` | refuses as the vendor does, mostly with 429, and, given a value, with `Retry-After` |
| `cboe=server_error:502` | fails with that status (503 when not said) |
| `yahoo=hang` | never answers |
| `finnhub=malformed` | half of the right reply; `malformed:html` a page instead |
| `cboe=unit:100` | every price times 100 |
| `nasdaq=wrong_symbol:MSFT` | tells about another company |
| `yahoo=missing` | knows no symbol |
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.instruments import InvalidSymbolError, parse_symbol
from mdagent_mcp.sandbox.noise import Noise

VENDORS: Final = (
    "yahoo",
    "nasdaq",
    "cboe",
    "finnhub",
    "twelve_data",
    "alpha_vantage",
    "tiingo",
    "polygon",
    "iex_cloud",
)
"""The vendors the sandbox imitates."""
EVERY_VENDOR: Final = "all"

_TEXT: Final = re.compile(r"(?P<vendor>[a-z_]+)=(?P<kind>[a-z_]+)(?::(?P<value>[^,]+))?(?P<options>(?:,[^,]+)*)")
_SPAN: Final = re.compile(r"(?P<amount>[0-9]{1,9}(?:\.[0-9]{1,9})?)(?P<unit>[smhd]?)")
_UNIT_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S: Final = 3650 * 86400.0


class FaultKind(StrEnum):
    """What can go wrong."""

    DELAY = "delay"
    STALE = "stale"
    THROTTLE = "throttle"
    SERVER_ERROR = "server_error"
    HANG = "hang"
    MALFORMED = "malformed"
    UNIT = "unit"
    WRONG_SYMBOL = "wrong_symbol"
    MISSING = "missing"


_NEEDS_VALUE: Final = frozenset({FaultKind.DELAY, FaultKind.STALE, FaultKind.UNIT, FaultKind.WRONG_SYMBOL})
_TAKES_NO_VALUE: Final = frozenset({FaultKind.HANG, FaultKind.MISSING})
_MAY_LIE: Final = frozenset({FaultKind.STALE, FaultKind.WRONG_SYMBOL})


class InvalidFaultError(ValueError):
    """The text describes no fault; the message says what would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        vendor: vendor id, or `all`.
        kind: what goes wrong.
        amount: seconds for delay, stale and throttle (None: no Retry-After), factor for unit, status for server_error.
        word: the other company for wrong_symbol, `html` or empty for malformed.
        lying: time stamps or names pretend that nothing is wrong.
        symbols: canonical symbols it is limited to; empty for every call.
        first: it ends after so many calls; None for never.
        chance: with which it befalls a call.
        text: as it was written.
    """

    vendor: str
    kind: FaultKind
    amount: float | None = None
    word: str = ""
    lying: bool = False
    symbols: frozenset[str] = frozenset()
    first: int | None = None
    chance: float = 1.0
    text: str = ""

    def concerns(self, vendor: str, symbols: Iterable[str]) -> bool:
        """Whether a call to `vendor` about `symbols` can be hit."""
        if self.vendor not in (EVERY_VENDOR, vendor):
            return False
        return not self.symbols or not self.symbols.isdisjoint(symbols)

    def spoils(self, symbol: str) -> bool:
        """Whether the data about `symbol` within a call that was hit is spoilt."""
        return not self.symbols or symbol in self.symbols


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults in force."""

    items: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str | Fault]) -> Faults:
        """Read a list of texts; a `Fault` is taken as it is.

        Raises:
            InvalidFaultError: naming the text that is wrong.
        """
        return cls(tuple(t if isinstance(t, Fault) else parse_fault(t) for t in texts))

    @property
    def texts(self) -> tuple[str, ...]:
        """As they were written."""
        return tuple(fault.text for fault in self.items)


class FaultBoard:
    """Which faults are in force, and which calls they have hit.

    Args:
        faults: in force from the start.
        seed: decides which calls a fault with a chance hits.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self._noise = Noise(seed)
        self.replace(faults)

    @property
    def faults(self) -> Faults:
        """Those in force."""
        return self._faults

    def replace(self, faults: Faults) -> None:
        """Put others in force; counting begins anew."""
        self._faults = faults
        self._calls: Counter[int] = Counter()
        self._hits: Counter[int] = Counter()

    def draw(self, vendor: str, symbols: Iterable[str]) -> tuple[Fault, ...]:
        """The faults that hit this call, counted as having hit it."""
        asked = tuple(symbols)
        return tuple(
            fault
            for index, fault in enumerate(self._faults.items)
            if fault.concerns(vendor, asked) and self._hits_now(index, fault)
        )

    def _hits_now(self, index: int, fault: Fault) -> bool:
        if fault.first is not None and self._hits[index] >= fault.first:
            return False
        self._calls[index] += 1
        if fault.chance < 1 and self._noise.uniform("fault", index, fault.text, self._calls[index]) >= fault.chance:
            return False
        self._hits[index] += 1
        return True


def parse_fault(text: str) -> Fault:
    """Read one fault; see the module's docstring for the form.

    Raises:
        InvalidFaultError: with what is wrong and what would be right.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise _wrong(text, "write it like yahoo=throttle, cboe=unit:100 or nasdaq=stale:3d,symbols=AAPL+MSFT,first=2")
    vendor = match["vendor"]
    if vendor not in (*VENDORS, EVERY_VENDOR):
        raise _wrong(text, f"unknown vendor; one of {', '.join((*VENDORS, EVERY_VENDOR))}")
    if match["kind"] not in set(FaultKind):
        raise _wrong(text, f"unknown kind; one of {', '.join(FaultKind)}")
    kind = FaultKind(match["kind"])
    amount, word = _read_value(text, kind, match["value"])
    fault = Fault(vendor=vendor, kind=kind, amount=amount, word=word, text=text.strip())
    for option in filter(None, match["options"].split(",")):
        fault = _with_option(fault, option)
    return fault


def _read_value(text: str, kind: FaultKind, value: str | None) -> tuple[float | None, str]:
    if value is None:
        if kind in _NEEDS_VALUE:
            raise _wrong(text, f"{kind} needs a value, as in {_EXAMPLES[kind]}")
        return (503.0 if kind is FaultKind.SERVER_ERROR else None), ""
    if kind in _TAKES_NO_VALUE:
        raise _wrong(text, f"{kind} takes no value")
    if kind is FaultKind.MALFORMED:
        if value != "html":
            raise _wrong(text, "malformed stands alone or as malformed:html")
        return None, value
    if kind is FaultKind.WRONG_SYMBOL:
        return None, _read_symbol(text, value)
    return _read_amount(text, kind, value), ""


def _read_amount(text: str, kind: FaultKind, value: str) -> float:
    if kind is FaultKind.UNIT:
        return _number(text, value, above=0.0, most=1e6)
    if kind is FaultKind.SERVER_ERROR:
        status = _number(text, value, above=499, most=599)
        if status != int(status):
            raise _wrong(text, "a status is a whole number from 500 to 599")
        return status
    match = _SPAN.fullmatch(value)
    if match is None:
        raise _wrong(text, f"'{clean_text(value, 20)}' is no span of time; write 1.5, 90s, 15m, 2h or 3d")
    seconds = float(match["amount"]) * _UNIT_S[match["unit"]]
    if seconds > _LONGEST_S:
        raise _wrong(text, "no longer than ten years")
    return seconds


def _with_option(fault: Fault, option: str) -> Fault:
    name, _, value = option.partition("=")
    if name == "lying" and not value and fault.kind in _MAY_LIE:
        return replace(fault, lying=True)
    if name == "symbols" and value:
        return replace(fault, symbols=frozenset(_read_symbol(fault.text, s) for s in value.split("+")))
    if name == "first" and value.isdecimal() and int(value[:9]) > 0:
        return replace(fault, first=int(value[:9]))
    if name == "chance":
        return replace(fault, chance=_number(fault.text, value, above=0.0, most=1.0))
    known = "symbols=A+B, first=3, chance=0.2" + (", lying" if fault.kind in _MAY_LIE else "")
    raise _wrong(fault.text, f"'{clean_text(option, 30)}' is no option of {fault.kind}; these are: {known}")


def _read_symbol(text: str, symbol: str) -> str:
    try:
        return parse_symbol(symbol).symbol
    except InvalidSymbolError as error:
        raise _wrong(text, str(error)) from error


def _number(text: str, value: str, *, above: float, most: float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise _wrong(text, f"'{clean_text(value, 20)}' is no number") from None
    if not math.isfinite(number) or not above < number <= most:
        raise _wrong(text, f"{clean_text(value, 20)} must be above {above:g} and at most {most:g}")
    return number


def _wrong(text: str, reason: str) -> InvalidFaultError:
    return InvalidFaultError(f"fault '{clean_text(text, 60)}': {reason}")


def span(fault: Fault) -> timedelta:
    """The time a fault is about."""
    return timedelta(seconds=fault.amount or 0.0)


_EXAMPLES: Final = {
    FaultKind.DELAY: "finnhub=delay:1.5",
    FaultKind.STALE: "nasdaq=stale:3d",
    FaultKind.UNIT: "cboe=unit:100",
    FaultKind.WRONG_SYMBOL: "nasdaq=wrong_symbol:MSFT",
}
