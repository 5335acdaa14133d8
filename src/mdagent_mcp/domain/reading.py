"""Typed reading of untrusted JSON and display text: a miss names the field, never the whole payload.

All functions raise only `SourceError(MALFORMED_REPLY)`. NaN and infinities are refused: no price is infinite.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mdagent_mcp.domain.failures import FailureKind, SourceError, clean_text

_EARLIEST_EPOCH: Final = -2_208_988_800.0  # 1900-01-01
_LATEST_EPOCH: Final = 4_102_444_800.0  # 2100-01-01
_FIRST_PRICES: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""No price with a time of day, and no bar of minutes, is told of before."""
_DISPLAY_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[+-]?\.\d+")
_ABSENT: Final = frozenset({"", "N/A", "NA", "--", "-", "UNCH", "null"})


def malformed(detail: str) -> SourceError:
    """The error for a reply that is not the documented one."""
    return SourceError(FailureKind.MALFORMED_REPLY, detail)


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value and the path that led to it.

    Attributes:
        value: whatever the parser produced.
        path: for error messages, such as `chart.result[0].meta`.
    """

    value: Any
    path: str = "reply"

    @classmethod
    def parse(cls, body: bytes) -> Json:
        """Read a body as JSON, refusing NaN and infinities.

        Raises:
            SourceError: MALFORMED_REPLY when it is none, with its first characters.
        """
        try:
            return cls(json.loads(body, parse_constant=_refuse_constant))
        except (ValueError, RecursionError) as error:
            start = clean_text(body[:200].decode("utf-8", "replace"), 60)
            raise malformed(f"the reply is not JSON ({type(error).__name__}); it begins {start!r}") from error

    def get(self, key: str) -> Json:
        """A member that must be there (it may be null)."""
        if not isinstance(self.value, Mapping) or key not in self.value:
            raise malformed(f"{self.path}.{key} is missing")
        return Json(self.value[key], f"{self.path}.{key}")

    def find(self, key: str) -> Json | None:
        """A member, None when it is missing or null; refuses a parent that is no object."""
        if not isinstance(self.value, Mapping):
            raise malformed(f"{self.path} should be an object, is {_kind(self.value)}")
        found = self.value.get(key)
        return None if found is None else Json(found, f"{self.path}.{key}")

    def items(self) -> Iterator[Json]:
        """The elements of an array."""
        if not isinstance(self.value, list):
            raise malformed(f"{self.path} should be an array, is {_kind(self.value)}")
        for index, element in enumerate(self.value):
            yield Json(element, f"{self.path}[{index}]")

    def members(self) -> Iterator[tuple[str, Json]]:
        """The members of an object."""
        if not isinstance(self.value, Mapping):
            raise malformed(f"{self.path} should be an object, is {_kind(self.value)}")
        for key, member in self.value.items():
            yield key, Json(member, f"{self.path}.{key}")

    def number(self) -> float:
        """A finite JSON number; a boolean or a string is none."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise malformed(f"{self.path} should be a number, is {_kind(self.value)}")
        try:
            value = float(self.value)
        except OverflowError as error:
            raise malformed(f"{self.path} is too large") from error
        if not math.isfinite(value):
            raise malformed(f"{self.path} is not finite")
        return value

    def text(self, limit: int = 200) -> str:
        """A string, cleaned and bounded."""
        if not isinstance(self.value, str):
            raise malformed(f"{self.path} should be text, is {_kind(self.value)}")
        return clean_text(self.value, limit)

    def instant(self) -> datetime:
        """Epoch seconds as an instant."""
        return instant_of(self.number(), self.path)

    def optional_number(self, key: str) -> float | None:
        """A member's number; None when missing or null."""
        found = self.find(key)
        return None if found is None else found.number()

    def optional_text(self, key: str) -> str | None:
        """A member's text; None when missing or null."""
        found = self.find(key)
        return None if found is None else found.text()


def instant_of(epoch_s: float, path: str) -> datetime:
    """Epoch seconds as an aware UTC instant, refusing what cannot be a market time."""
    if not _EARLIEST_EPOCH <= epoch_s <= _LATEST_EPOCH:
        raise malformed(f"{path} is no epoch in seconds: {clean_text(str(epoch_s).removesuffix('.0'), 24)}")
    return datetime.fromtimestamp(epoch_s, UTC)


def price_time(instant: datetime, path: str) -> datetime:
    """The instant of a quote or of an intraday bar, refusing one before 1990: that is an epoch in another unit."""
    if instant < _FIRST_PRICES:
        raise malformed(f"{path} is no time of a price: {instant:%Y-%m-%d}")
    return instant


def display_number(text: str, path: str) -> float | None:
    """A number as a web page shows it: `$1,234.50`, `+3.53%`, `44,902.09`; None for `N/A`, `UNCH`, `--` and empty.

    A percent sign is dropped, not divided by.
    """
    stripped = text.strip().replace("$", "").removesuffix("%").strip()
    if stripped in _ABSENT or stripped.upper() in _ABSENT:
        return None
    if not _DISPLAY_NUMBER.fullmatch(stripped):
        raise malformed(f"{path} should show a number, shows {clean_text(text, 40)!r}")
    value = float(stripped.replace(",", ""))
    if not math.isfinite(value):
        raise malformed(f"{path} is too large")
    return value


def positive(value: float | None) -> float | None:
    """The value when it is above zero, else None: for fields where vendors write 0 for "none"."""
    return value if value is not None and value > 0 else None


def countable(value: float | None) -> float | None:
    """The value when it is zero or more, else None: for volumes, of which none is negative."""
    return value if value is not None and value >= 0 else None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
