"""What was learned in the JSONL format of the reference memory server of MCP, and back, exactly.

One JSON object per line: `{"type":"entity","name","entityType","observations"}`, then
`{"type":"relation","from","to","relationType"}`. Every entity of ours has sentences for the reader and then one
observation `mdagent.v1 {…}` with the rows it stands for, by table. What comes after that one was added by somebody
else and is kept as a note, like entities and relations that are not ours.

The rule of this module: pure, lines out and lines in; the same contents give the same lines, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mdagent_mcp.memory.finding_rows import tally_of
from mdagent_mcp.memory.graph_findings import pattern_name
from mdagent_mcp.memory.learning import asset_class
from mdagent_mcp.memory.patterns import Pattern, TallyKey, find_patterns, venue_of
from mdagent_mcp.memory.sentences import kind_of, place_of, sentences_of
from mdagent_mcp.memory.tables import TABLES, Column, Row

MARK: Final = "mdagent.v1 "
LONGEST_LINE: Final = 8_000_000
"""Characters of one line; a longer one is no memory."""
_BY_NAME: Final = {table.name: table for table in TABLES}


class Relation(NamedTuple):
    """A directed edge without attributes."""

    start: str
    kind: str
    end: str


@dataclass(frozen=True, slots=True)
class Entity:
    """A node as the format has it."""

    kind: str
    observations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    Attributes:
        rows: what was learned: table -> rows.
        entities: nodes of others, and under the names of ours what others observed about them, by name.
        relations: edges of others.
    """

    rows: Mapping[str, Sequence[Row]]
    entities: Mapping[str, Entity] = field(default_factory=dict)
    relations: frozenset[Relation] = frozenset()


class BadLineError(ValueError):
    """A line that cannot be read; the message says which and why."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number}: {why}")


@dataclass(slots=True)
class _Drawn:
    """The graph that rows make: what each node says, its rows by table, and the edges."""

    sentences: dict[str, list[str]] = field(default_factory=dict)
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    relations: set[Relation] = field(default_factory=set)

    def node(self, name: str) -> None:
        self.sentences.setdefault(name, [])
        self.payloads.setdefault(name, {})

    def edge(self, start: str, kind: str, end: str) -> None:
        self.node(start)
        self.node(end)
        self.relations.add(Relation(start, kind, end))


def to_lines(contents: Contents) -> Iterator[str]:
    """The lines of a file, without line ends."""
    drawn = _draw(contents.rows)
    names = sorted({*drawn.payloads, *contents.entities})
    for name in names:
        theirs = contents.entities.get(name)
        if name in drawn.payloads:
            kind = "edge" if name.startswith("edge:") else kind_of(name)
            ours = (*drawn.sentences[name], MARK + _compact(drawn.payloads[name]))
            observations = (*ours, *(theirs.observations if theirs is not None else ()))
        elif theirs is not None:
            kind, observations = theirs.kind, theirs.observations
        yield _compact({"type": "entity", "name": name, "entityType": kind, "observations": list(observations)})
    for start, kind, end in sorted({*drawn.relations, *contents.relations}):
        yield _compact({"type": "relation", "from": start, "to": end, "relationType": kind})


def from_lines(lines: Iterable[str]) -> Contents:
    """Read what `to_lines` wrote, or what others made of it.

    Raises:
        BadLineError: when a line cannot be read.
    """
    rows: dict[str, dict[tuple[Any, ...], Row]] = {table.name: {} for table in TABLES}
    entities: dict[str, Entity] = {}
    relations: set[Relation] = set()
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        try:
            parsed = _parsed(line)
            if parsed.get("type") == "entity":
                name = _text(parsed, "name")
                _note_name(name, seen)
                _take_entity(name, parsed, rows, entities)
            elif parsed.get("type") == "relation":
                relations.add(Relation(_text(parsed, "from"), _text(parsed, "relationType"), _text(parsed, "to")))
        except (ValueError, RecursionError) as error:
            raise BadLineError(number, str(error) or type(error).__name__) from error
    learned = {name: list(found.values()) for name, found in rows.items()}
    return Contents(learned, entities, frozenset(relations - _draw(learned).relations))


def _draw(rows: Mapping[str, Sequence[Row]]) -> _Drawn:
    drawn = _Drawn()
    for table in TABLES:
        for row in rows.get(table.name, ()):
            place = place_of(table.name, row)
            drawn.node(place.name)
            drawn.sentences[place.name].extend(sentences_of(table.name, row))
            drawn.payloads[place.name][table.name] = {
                name: _opened(column, row[name]) for name, column in table.columns.items()
            }
            if place.relation:
                drawn.edge(place.start, place.relation, place.end)
    _draw_symbols(drawn)
    for pattern in _patterns(rows.get("fault_tally", ())):
        _draw_pattern(drawn, pattern)
    return drawn


def _draw_symbols(drawn: _Drawn) -> None:
    for node in [name for name in drawn.payloads if name.startswith("symbol:")]:
        symbol = node.removeprefix("symbol:")
        drawn.edge(node, "ON", f"asset:{asset_class(symbol)}")
        if venue := venue_of(symbol):
            drawn.edge(node, "ON", f"venue:{venue}")


def _draw_pattern(drawn: _Drawn, pattern: Pattern) -> None:
    name = pattern_name(pattern)
    evidence = f" Evidence: {', '.join(pattern.evidence)}." if pattern.evidence else ""
    drawn.edge(f"source:{pattern.source}", "PRONE_TO", name)
    drawn.edge(name, "OF", f"fault:{pattern.fault}")
    drawn.edge(name, "WITHIN", pattern.context)
    drawn.sentences[name].append(f"{pattern.told}.{evidence}")


def _patterns(rows: Iterable[Row]) -> tuple[Pattern, ...]:
    tallies = {}
    for row in rows:
        trials, updated_at, faults = (row[name] for name in ("trials", "updated_at", "faults"))
        key = TallyKey(str(row["source"]), str(row["context"]))
        tallies[key] = tally_of(float(trials or 0.0), float(updated_at or 0.0), str(faults))
    return find_patterns(tallies).all


def _take_entity(
    name: str, parsed: Mapping[str, Any], rows: dict[str, dict[tuple[Any, ...], Row]], entities: dict[str, Entity]
) -> None:
    kind, observations = _text(parsed, "entityType"), parsed.get("observations")
    if not isinstance(observations, list) or not all(isinstance(o, str) for o in observations):
        raise ValueError("observations must be a list of texts")
    ours = next((place for place, text in enumerate(observations) if text.startswith(MARK)), None)
    if ours is None:
        entities[name] = Entity(kind, tuple(observations))
        return
    for table, row in _payload(observations[ours]):
        key = tuple(row[column] for column in _BY_NAME[table].keys)
        if key in rows[table]:
            raise ValueError(f"{table} {', '.join(map(str, key))} was there before")
        rows[table][key] = row
    if theirs := tuple(observations[ours + 1 :]):
        entities[name] = Entity(kind, theirs)


def _payload(observation: str) -> Iterator[tuple[str, Row]]:
    for name, values in _object(_json(observation.removeprefix(MARK))).items():
        if name not in _BY_NAME:
            raise ValueError(f"{name} is nothing that this version learns")
        yield name, _BY_NAME[name].checked(values)


def _opened(column: Column, value: Any) -> Any:
    """JSON in a column as JSON rather than as text of it, where that can be undone exactly."""
    if column is not Column.JSON:
        return value
    try:
        opened = _json(value)
    except ValueError:
        return value
    return opened if isinstance(opened, dict | list) and _compact(opened, ascii_only=True) == value else value


def _parsed(line: str) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE} characters")
    parsed = _object(_json(line)) if line.strip() else {}
    text = _compact(parsed).encode("utf-8")  # raises for half of a surrogate pair
    if b"\\u0000" in text:
        raise ValueError("texts must not contain the character NUL")
    return parsed


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError("not a JSON object")


def _note_name(name: str, seen: set[str]) -> None:
    if name in seen:
        raise ValueError("an entity of this name was there before")
    seen.add(name)


def _text(parsed: Mapping[str, Any], name: str) -> str:
    if isinstance(value := parsed.get(name), str):
        return value
    raise ValueError(f"{name} must be text")


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _compact(value: Any, *, ascii_only: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), allow_nan=False)
