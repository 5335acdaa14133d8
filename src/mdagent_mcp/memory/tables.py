"""The tables of what was learned, as data: columns, keys and types, for whatever treats all of them alike.

The rule of this module: a table that holds knowledge is listed here, or it is neither exported nor reset; a test
compares the list with the schema. Statements are plain SQL that SQLite and PostgreSQL both take.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import Enum
from typing import Any, Final

MOST_PARAMETERS: Final = 900
"""Parameters of one statement: databases bound their number."""

Value = str | int | float | None
Row = dict[str, Value]


class Column(Enum):
    """What a column holds."""

    TEXT = "text"
    REAL = "a finite number"
    COUNT = "a whole number"
    OPTIONAL_TEXT = "text or null"
    OPTIONAL_REAL = "a finite number or null"
    JSON = "JSON"
    DATE = "an ISO date"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of knowledge.

    Attributes:
        name: of the table.
        keys: columns of the primary key.
        columns: all columns, in order, with what they hold.
        defaults: of columns that files of earlier versions do not have.
    """

    name: str
    keys: tuple[str, ...]
    columns: Mapping[str, Column]
    defaults: Mapping[str, Value] = field(default_factory=dict)

    @property
    def upsert(self) -> str:
        """The statement that writes a row, whatever was there."""
        names, marks = ", ".join(self.columns), ",".join("?" for _ in self.columns)
        changed = ", ".join(f"{name} = excluded.{name}" for name in self.columns if name not in self.keys)
        return (
            f"INSERT INTO {self.name} ({names}) VALUES ({marks}) "  # noqa: S608 - constants only
            f"ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {changed}"
        )

    @property
    def select(self) -> str:
        """The query for all rows."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"  # noqa: S608 - constants only

    def checked(self, values: Any) -> Row:
        """A row of this table from foreign data.

        Raises:
            ValueError: saying which column is wrong.
        """
        if not isinstance(values, dict) or (given := {**self.defaults, **values}).keys() != self.columns.keys():
            wanted = ", ".join(self.columns)
            raise ValueError(f"{self.name} needs exactly the columns {wanted}")
        return {name: _checked(f"{self.name}.{name}", column, given[name]) for name, column in self.columns.items()}


def _table(name: str, keys: str, **columns: Column) -> Table:
    return Table(name, tuple(keys.split()), columns)


_T, _R, _C, _J, _D = Column.TEXT, Column.REAL, Column.COUNT, Column.JSON, Column.DATE
_OT, _OR = Column.OPTIONAL_TEXT, Column.OPTIONAL_REAL

_CELL: Final = _table(
    "cell",
    "source endpoint scope",
    source=_T,
    endpoint=_T,
    scope=_T,
    updated_at=_R,
    right_count=_R,
    wrong_count=_R,
    outcomes=_C,
    latency=_J,
    last_success_at=_OR,
    last_error_at=_OR,
    last_error=_T,
    recent_right=_R,
    recent_wrong=_R,
    delay=_J,
    recent_full=_R,
    recent_bare=_R,
    recent_s=_R,
    recent_calls=_R,
    contradicted=_R,
)
CELL: Final = replace(_CELL, defaults={name: "[]" if name == "delay" else 0.0 for name in tuple(_CELL.columns)[11:]})
FAULT: Final = _table("fault", "source fault", source=_T, fault=_T, n=_C, last_at=_R)
SYMBOL: Final = _table(
    "symbol",
    "symbol",
    symbol=_T,
    price=_R,
    price_at=_R,
    low=_R,
    high=_R,
    currency=_OT,
    previous_close=_OR,
    previous_close_at=_OR,
    observations=_C,
    first_day=_D,
    last_day=_D,
    days=_C,
)
MEMBERSHIP: Final = _table("membership", "source asset_class", source=_T, asset_class=_T, upstream_group=_T, seen_at=_R)
SYMBOL_STATISTICS: Final = _table("symbol_statistics", "symbol", symbol=_T, updated_at=_R, body=_J)
TRACK_RECORD: Final = _table(
    "track_record",
    "source field",
    source=_T,
    field=_T,
    trials=_R,
    hits=_R,
    faults=_R,
    sound=_R,
    lags=_R,
    errors=_R,
    deviations=_R,
)
CONFIDENCE: Final = _table("confidence", "bin", bin=_C, trials=_R, hits=_R, stated=_R)
INTERVAL_MISS: Final = _table("interval_miss", "confirming", confirming=_C, misses=_J)
CLOCK_OFFSET: Final = _table("clock_offset", "source", source=_T, least_s=_R, samples=_C, seen_at=_R)
DEVIATION: Final = _table(
    "deviation",
    "source scope field",
    source=_T,
    scope=_T,
    field=_T,
    bias=_R,
    spread=_R,
    samples=_C,
    updated_at=_R,
)
DEPENDENCE: Final = _table(
    "dependence",
    "first_source second_source",
    first_source=_T,
    second_source=_T,
    shared=_R,
    apart=_R,
    lag_s=_R,
    updated_at=_R,
)
FAULT_TALLY: Final = _table("fault_tally", "source context", source=_T, context=_T, trials=_R, updated_at=_R, faults=_J)
SYMBOL_FAULT: Final = _table(
    "symbol_fault", "symbol source fault", symbol=_T, source=_T, fault=_T, n=_C, last_at=_R, evidence_id=_T
)
TABLES: Final[tuple[Table, ...]] = (
    CELL,
    FAULT,
    SYMBOL,
    MEMBERSHIP,
    SYMBOL_STATISTICS,
    TRACK_RECORD,
    CONFIDENCE,
    INTERVAL_MISS,
    CLOCK_OFFSET,
    DEVIATION,
    DEPENDENCE,
    FAULT_TALLY,
    SYMBOL_FAULT,
)
"""Everything that was learned; `note` (what others wrote into an imported file), the sessions and the evidence are
kept apart."""
SESSION_TABLES: Final = ("session", "session_figures")
KEPT_TABLES: Final = ("evidence", "note")


def _checked(name: str, column: Column, value: Any) -> Value:
    if value is None and column in {Column.OPTIONAL_TEXT, Column.OPTIONAL_REAL}:
        return None
    if column is Column.JSON:
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), allow_nan=False)
    checks = {Column.COUNT: _is_count, Column.DATE: _is_date, Column.REAL: _is_real, Column.OPTIONAL_REAL: _is_real}
    if not checks.get(column, _is_text)(value):
        raise ValueError(f"{name} must be {column.value}")
    return float(value) if column in {Column.REAL, Column.OPTIONAL_REAL} else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\x00" not in value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_real(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
