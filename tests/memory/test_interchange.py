"""Export and import: nothing lost, nothing half-done, and the words of others kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mdagent_mcp.domain.events import Compared, Stamped, Verified
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.memory.connection import Connection, StoreError
from mdagent_mcp.memory.interchange import MARK, BadLineError, Contents, Entity, Relation, from_lines, to_lines
from mdagent_mcp.memory.migrations import migrate
from mdagent_mcp.memory.sentences import place_of
from mdagent_mcp.memory.sqlite_connection import SqliteConnection
from mdagent_mcp.memory.store import Memory, open_memory
from mdagent_mcp.memory.tables import TABLES, Column, Row, Table
from mdagent_mcp.memory.transfer import (
    UnusableContentsError,
    count_rows,
    forget_everything,
    read_contents,
    replace_contents,
)
from mdagent_mcp.testing import ManualClock
from memory.memory_samples import NOON, fetched, history_answer, judged, quote_answer
from memory.test_findings_kept import london_faults

Lines = list[str]


@pytest.fixture
async def store() -> AsyncIterator[Connection]:
    """An empty one."""
    async with aiosqlite.connect(":memory:", isolation_level=None) as raw:
        connection = SqliteConnection(raw)
        await migrate(connection, 1.0)
        yield connection


def store_of(memory: Memory) -> Connection:
    """What a memory writes to."""
    assert memory._writer.opened is not None
    return memory._writer.opened.connection


def learn(memory: Memory) -> None:
    """A bit of everything."""
    london_faults(memory, 0, 14)
    memory.keep(quote_answer())
    memory.keep(history_answer())
    for n in range(5):
        memory.listen(fetched("alpha", None, "AAPL", "BTC-USD", latency_s=0.1 + n / 10))
    memory.listen(fetched("beta", FailureKind.TIMEOUT, "EURUSD"))
    memory.listen(judged("beta", agreed=False, fault="unit"))
    for name in ("price", "volume"):
        for source, error in (("alpha", 0.01), ("beta", 0.01), ("gamma", 0.0)):
            memory.listen(Compared(source, "AAPL", name, NOON, error, 5e-4, 50e-4, 1e-8, 1.0))
    memory.listen(Verified("AAPL", NOON, 0.9, True, 2, 0.7))  # noqa: FBT003 - an event as it is
    memory.listen(Stamped("alpha", NOON, 0.4))


async def exported(connection: Connection) -> Lines:
    """What the store exports."""
    return list(to_lines(await read_contents(connection)))


async def test_a_real_memory_goes_out_and_in_and_out_unchanged(tmp_path: Path) -> None:
    """Every table has rows, and the second memory knows what the first one knew."""
    first, second, clock = tmp_path / "first.sqlite3", tmp_path / "second.sqlite3", ManualClock(NOON)
    async with open_memory(first, clock) as memory:
        learn(memory)
        await memory.flush()
        lines = await exported(store_of(memory))
        patterns, copies = memory.patterns().all, memory.copies()
        known, lessons = memory.source_knowledge("alpha"), memory.lessons()
    contents = from_lines(lines)
    assert {name for name, rows in contents.rows.items() if rows} == {table.name for table in TABLES}
    assert (contents.entities, contents.relations) == ({}, frozenset())
    assert patterns
    assert copies
    async with open_memory(second, clock) as memory:
        await replace_contents(store_of(memory), contents)
        assert await exported(store_of(memory)) == lines
    async with open_memory(second, clock) as memory:
        assert (memory.patterns().all, memory.copies()) == (patterns, copies)
        assert memory.lessons() == lessons
        assert memory.source_knowledge("alpha") is not None
        assert known is not None
        assert memory.source_knowledge("alpha").reliability == known.reliability  # type: ignore[union-attr]


async def test_what_was_there_before_is_replaced_and_answers_stay(store: Connection, tmp_path: Path) -> None:
    """An import restores; it does not mix two memories, which would count the common part twice."""
    await store.execute("INSERT INTO fault VALUES ('old', 'unit', 3, 1.0)")
    await store.execute("INSERT INTO evidence VALUES (1, 'q-1', 'quote', 'AAPL', 1.0, x'00')")
    await store.execute("INSERT INTO session (id, started_at, seen_at) VALUES (1, 1.0, 2.0)")
    await replace_contents(store, from_lines([]))
    counts = await count_rows(store)
    assert (counts["fault"], counts["evidence"], counts["session"]) == (0, 1, 1)
    await forget_everything(store)
    assert set((await count_rows(store)).values()) == {0}


def test_each_line_is_one_that_the_reference_server_knows() -> None:
    """Entities with names that occur once and texts, then relations between them."""
    row: Row = {"source": "alpha", "fault": "unit", "n": 2, "last_at": 1.0}
    lines = [json.loads(line) for line in to_lines(Contents({"fault": [row]}))]
    assert [sorted(line) for line in lines[:3]] == [["entityType", "name", "observations", "type"]] * 3
    assert lines == [
        {
            "type": "entity",
            "name": "edge:source:alpha|SHOWS|fault:unit",
            "entityType": "edge",
            "observations": [
                "Seen 2 times, last at 1970-01-01T00:00:01+00:00.",
                'mdagent.v1 {"fault":{"source":"alpha","fault":"unit","n":2,"last_at":1.0}}',
            ],
        },
        {"type": "entity", "name": "fault:unit", "entityType": "fault", "observations": ["mdagent.v1 {}"]},
        {"type": "entity", "name": "source:alpha", "entityType": "source", "observations": ["mdagent.v1 {}"]},
        {"type": "relation", "from": "source:alpha", "to": "fault:unit", "relationType": "SHOWS"},
    ]


async def test_a_pattern_is_told_to_the_agent_that_reads_the_file() -> None:
    """As an entity with a sentence, between the source, the fault and the circumstance."""
    async with open_memory(None, ManualClock(NOON)) as memory:
        london_faults(memory, 0, 20)
        await memory.flush()
        lines = [json.loads(line) for line in await exported(store_of(memory))]
    (pattern,) = [e for e in lines if e.get("name") == "pattern:alpha|unit|venue:XLON"]
    assert pattern["observations"][0].startswith("alpha shows unit on XLON: ")
    assert "Evidence: l-17, l-18, l-19." in pattern["observations"][0]
    assert pattern["observations"][1:] == ["mdagent.v1 {}"]
    edges = {(e["from"], e["relationType"], e["to"]) for e in lines if e["type"] == "relation"}
    assert {
        ("source:alpha", "PRONE_TO", pattern["name"]),
        (pattern["name"], "OF", "fault:unit"),
        (pattern["name"], "WITHIN", "venue:XLON"),
        ("source:alpha_copy", "COPIES", "source:alpha"),
    } <= edges


async def test_words_of_others_are_kept_as_notes(store: Connection) -> None:
    """Observations about our nodes, nodes and relations of their own; unknown lines are passed over."""
    row: Row = {"source": "alpha", "fault": "unit", "n": 2, "last_at": 1.0}
    ours = list(to_lines(Contents({"fault": [row]})))
    node = json.loads(ours[2])
    node["observations"].append("The user does not like this source. \u2028 \N{SNOWMAN}")
    foreign = [
        json.dumps({"type": "entity", "name": "Ana", "entityType": "person", "observations": ["asks every morning"]}),
        json.dumps({"type": "relation", "from": "Ana", "to": "source:alpha", "relationType": "distrusts"}),
        json.dumps({"type": "remark", "text": "unknown to the format"}),
        "",
    ]
    contents = from_lines([*ours[:2], json.dumps(node), *ours[3:], *foreign])
    assert contents.entities == {
        "source:alpha": Entity("source", ("The user does not like this source. \u2028 \N{SNOWMAN}",)),
        "Ana": Entity("person", ("asks every morning",)),
    }
    assert contents.relations == {Relation("Ana", "distrusts", "source:alpha")}
    await replace_contents(store, contents)
    lines = await exported(store)
    assert from_lines(lines) == contents
    await replace_contents(store, from_lines(lines))
    assert await exported(store) == lines
    assert any("does not like" in line and MARK in line for line in lines)


GOOD = '{"type":"entity","name":"source:a","entityType":"source","observations":["mdagent.v1 {}"]}'


def _with(payload: str) -> str:
    return json.dumps({"type": "entity", "name": "x", "entityType": "y", "observations": [f"mdagent.v1 {payload}"]})


FAULT_ROW = '{"fault":{"source":"a","fault":"unit","n":%s,"last_at":%s}}'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not JSON|RecursionError|maximum recursion|too deep"),
        ('{"type":"entity","entityType":"y","observations":[]}', "name must be text"),
        ('{"type":"entity","name":"x","entityType":1,"observations":[]}', "entityType must be text"),
        ('{"type":"entity","name":"x","entityType":"y","observations":"z"}', "observations must be a list"),
        ('{"type":"entity","name":"x","entityType":"y","observations":[1]}', "observations must be a list"),
        ('{"type":"relation","from":"x","to":null,"relationType":"y"}', "to must be text"),
        (GOOD, "was there before"),
        ('{"type":"entity","name":"x","entityType":"y","observations":["\\ud800"]}', "surrogates"),
        ('{"type":"entity","name":"x","entityType":"y","observations":["a\\u0000b"]}', "NUL"),
        (_with("nonsense"), "not JSON"),
        (_with("[]"), "not a JSON object"),
        (_with('{"budget":{}}'), "nothing that this version learns"),
        (_with('{"fault":{"source":"a"}}'), "needs exactly the columns"),
        (_with(FAULT_ROW % ("-1", "1.0")), "fault.n must be a whole number"),
        (_with(FAULT_ROW % ("1.5", "1.0")), "fault.n must be a whole number"),
        (_with(FAULT_ROW % ("true", "1.0")), "fault.n must be a whole number"),
        (_with(FAULT_ROW % ("9" * 30, "1.0")), "fault.n must be a whole number"),
        (_with(FAULT_ROW % ("1", "NaN")), "NaN is no number"),
        (_with(FAULT_ROW % ("1", '"x"')), "fault.last_at must be a finite number"),
        (_with(FAULT_ROW % ("1", "1" + "0" * 400)), "fault.last_at must be a finite number"),
        (_with(FAULT_ROW % ("1", "1e999")), "fault.last_at must be a finite number"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_what_is_wrong(line: str, why: str) -> None:
    """For somebody who has to find it in a file of thousands."""
    with pytest.raises(BadLineError, match=f"^line 2: .*({why})"):
        from_lines([GOOD, line])


def test_a_row_that_is_there_twice_is_refused() -> None:
    """Under two names."""
    line = _with(FAULT_ROW % ("1", "1.0"))
    with pytest.raises(BadLineError, match="line 2: fault a, unit was there before"):
        from_lines([line, line.replace('"x"', '"z"')])


def test_a_file_of_an_earlier_version_gets_the_defaults_of_new_columns() -> None:
    """What a column added later is when nothing is said."""
    table = Table("t", ("a",), {"a": Column.TEXT, "b": Column.REAL}, {"b": 0.0})
    assert table.checked({"a": "x"}) == {"a": "x", "b": 0.0}
    with pytest.raises(ValueError, match="exactly"):
        table.checked({"a": "x", "c": 1})


async def test_a_file_that_a_server_could_not_begin_with_changes_nothing(store: Connection) -> None:
    """It is read back before it counts."""
    await store.execute("INSERT INTO fault VALUES ('old', 'unit', 3, 1.0)")
    row = {name: 1.0 for name, column in _TABLE["symbol"].columns.items() if column is Column.REAL}
    spoiled: Row = {"symbol": "A", **row, "currency": None, "previous_close": None, "previous_close_at": None}
    spoiled |= {"observations": 1, "first_day": "no day", "last_day": "2026-11-23", "days": 1}
    ordered = {name: spoiled[name] for name in _TABLE["symbol"].columns}
    with pytest.raises(UnusableContentsError, match="could not be read back"):
        await replace_contents(store, Contents({"symbol": [ordered]}))
    assert (await count_rows(store))["fault"] == 1
    assert (await count_rows(store))["symbol"] == 0


async def test_a_store_that_refuses_in_the_middle_keeps_what_it_had(store: Connection) -> None:
    """One transaction."""
    await store.execute("INSERT INTO fault VALUES ('old', 'unit', 3, 1.0)")
    await store.execute("CREATE TRIGGER no BEFORE INSERT ON note BEGIN SELECT RAISE(ABORT, 'full'); END")
    contents = Contents({}, {"Ana": Entity("person", ())})
    with pytest.raises(StoreError, match="full"):
        await replace_contents(store, contents)
    assert (await count_rows(store))["fault"] == 1


_TABLE = {table.name: table for table in TABLES}
_WORDS = st.text("abcdefghijklmnopqrstuvwxyz_:./^-", min_size=1, max_size=12)
_REALS = st.floats(allow_nan=False, allow_infinity=False, width=64)
_JSONS = st.one_of(
    st.just("not json"),
    st.dictionaries(_WORDS, st.lists(st.integers(-9, 9) | st.floats(0, 9), max_size=3), max_size=3).map(
        lambda value: json.dumps(value, separators=(",", ":"))
    ),
    st.just('{ "with": "blanks" }'),
)
_COLUMNS: dict[Column, st.SearchStrategy[Any]] = {
    Column.TEXT: _WORDS,
    Column.REAL: _REALS,
    Column.COUNT: st.integers(0, 2**62),
    Column.OPTIONAL_TEXT: st.none() | _WORDS,
    Column.OPTIONAL_REAL: st.none() | _REALS,
    Column.JSON: _JSONS,
    Column.DATE: st.dates(date(1990, 1, 1), date(2100, 1, 1)).map(date.isoformat),
}


def _rows_of(table: Table) -> st.SearchStrategy[list[Row]]:
    row = st.fixed_dictionaries({name: _COLUMNS[column] for name, column in table.columns.items()})
    keys = (lambda r: place_of(table.name, r).name, lambda r: tuple(r[key] for key in table.keys))
    return st.lists(row, max_size=3, unique_by=keys)


_OTHERS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda s: s.isprintable()),
    st.builds(
        Entity,
        _WORDS,
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=3)
        .filter(lambda texts: not any(text.startswith(MARK) for text in texts))
        .map(tuple),
    ),
    max_size=3,
)
_CONTENTS = st.builds(
    Contents,
    st.fixed_dictionaries({table.name: _rows_of(table) for table in TABLES}),
    _OTHERS,
    st.frozensets(st.builds(Relation, _WORDS, _WORDS, _WORDS), max_size=3),
)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(_CONTENTS)
def test_whatever_was_learned_comes_back_byte_for_byte(contents: Contents) -> None:
    """Through lines and back to the same rows, the same notes, the same lines."""
    lines = list(to_lines(contents))
    again = from_lines(lines)
    assert {name: _sorted(rows) for name, rows in again.rows.items()} == {
        name: _sorted(rows) for name, rows in contents.rows.items()
    }
    assert list(to_lines(again)) == lines
    assert all("\n" not in line and "\r" not in line for line in lines)


def _sorted(rows: Sequence[Row]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_thousands_of_rows_are_read_in_a_moment() -> None:
    """An import is no work for the night."""
    rows: list[Row] = [
        {
            "symbol": f"S{n}",
            "source": "alpha",
            "fault": "unit",
            "n": 1,
            "last_at": (NOON + timedelta(seconds=n)).timestamp(),
            "evidence_id": f"q-{n}",
        }
        for n in range(3_000)
    ]
    lines = list(to_lines(Contents({"symbol_fault": rows})))
    assert len(from_lines(lines).rows["symbol_fault"]) == 3_000
