"""The schema of the store, as an ordered list of steps that is only ever appended to.

The rule of this module: a step that was released is never edited. Each is carried out together with its record in one
transaction, so that a store is always at a known step; a store with a step that is not in the list was written by a
newer version and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mdagent_mcp.memory.connection import Connection


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        name: unique, sorts in order.
        statements: SQL without parameters, in the language of `dialect`.
    """

    name: str
    statements: tuple[str, ...]


MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(
        "001_outcomes",
        (
            """CREATE TABLE session (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                started_at REAL NOT NULL,
                seen_at REAL NOT NULL,
                answers INTEGER NOT NULL DEFAULT 0,
                cached INTEGER NOT NULL DEFAULT 0,
                unanswered INTEGER NOT NULL DEFAULT 0)""",
            """CREATE TABLE cell (
                source TEXT NOT NULL,
                endpoint TEXT NOT NULL,
                scope TEXT NOT NULL,
                updated_at REAL NOT NULL,
                right_count REAL NOT NULL,
                wrong_count REAL NOT NULL,
                outcomes INTEGER NOT NULL,
                latency TEXT NOT NULL,
                last_success_at REAL,
                last_error_at REAL,
                last_error TEXT NOT NULL,
                PRIMARY KEY (source, endpoint, scope)) WITHOUT ROWID""",
            """CREATE TABLE fault (
                source TEXT NOT NULL,
                fault TEXT NOT NULL,
                n INTEGER NOT NULL,
                last_at REAL NOT NULL,
                PRIMARY KEY (source, fault)) WITHOUT ROWID""",
            """CREATE TABLE symbol (
                symbol TEXT PRIMARY KEY,
                price REAL NOT NULL,
                price_at REAL NOT NULL,
                low REAL NOT NULL,
                high REAL NOT NULL,
                currency TEXT,
                previous_close REAL,
                previous_close_at REAL,
                observations INTEGER NOT NULL,
                first_day TEXT NOT NULL,
                last_day TEXT NOT NULL,
                days INTEGER NOT NULL) WITHOUT ROWID""",
            """CREATE TABLE membership (
                source TEXT NOT NULL,
                asset_class TEXT NOT NULL,
                upstream_group TEXT NOT NULL,
                seen_at REAL NOT NULL,
                PRIMARY KEY (source, asset_class)) WITHOUT ROWID""",
        ),
    ),
    Migration(
        "002_evidence",
        (
            """CREATE TABLE evidence (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                kind TEXT NOT NULL,
                symbol TEXT NOT NULL,
                judged_at REAL NOT NULL,
                body BLOB NOT NULL)""",
            "CREATE INDEX evidence_latest ON evidence (symbol, kind, judged_at)",
            "CREATE INDEX evidence_count ON evidence (kind, seq)",
            "CREATE INDEX evidence_age ON evidence (judged_at)",
        ),
    ),
    Migration(
        "003_symbol_statistics",
        (
            """CREATE TABLE symbol_statistics (
                symbol TEXT PRIMARY KEY,
                updated_at REAL NOT NULL,
                body TEXT NOT NULL) WITHOUT ROWID""",
        ),
    ),
    Migration(
        "004_lessons",
        (
            """CREATE TABLE track_record (
                source TEXT NOT NULL,
                field TEXT NOT NULL,
                trials REAL NOT NULL,
                hits REAL NOT NULL,
                faults REAL NOT NULL,
                sound REAL NOT NULL,
                lags REAL NOT NULL,
                errors REAL NOT NULL,
                deviations REAL NOT NULL,
                PRIMARY KEY (source, field)) WITHOUT ROWID""",
            """CREATE TABLE confidence (
                bin INTEGER PRIMARY KEY,
                trials REAL NOT NULL,
                hits REAL NOT NULL,
                stated REAL NOT NULL)""",
            """CREATE TABLE interval_miss (
                confirming INTEGER PRIMARY KEY,
                misses TEXT NOT NULL)""",
            """CREATE TABLE clock_offset (
                source TEXT PRIMARY KEY,
                least_s REAL NOT NULL,
                samples INTEGER NOT NULL,
                seen_at REAL NOT NULL) WITHOUT ROWID""",
        ),
    ),
    Migration(
        "005_batches",
        (
            "ALTER TABLE session ADD COLUMN name TEXT",
            "ALTER TABLE session ADD COLUMN batch INTEGER NOT NULL DEFAULT 0",
            "CREATE UNIQUE INDEX session_name ON session (name)",
        ),
    ),
    Migration(
        "007_findings",
        (
            """CREATE TABLE deviation (
                source TEXT NOT NULL,
                scope TEXT NOT NULL,
                field TEXT NOT NULL,
                bias REAL NOT NULL,
                spread REAL NOT NULL,
                samples INTEGER NOT NULL,
                updated_at REAL NOT NULL,
                PRIMARY KEY (source, scope, field)) WITHOUT ROWID""",
            "CREATE INDEX deviation_scope ON deviation (scope)",
            """CREATE TABLE dependence (
                first_source TEXT NOT NULL,
                second_source TEXT NOT NULL,
                shared REAL NOT NULL,
                apart REAL NOT NULL,
                lag_s REAL NOT NULL,
                updated_at REAL NOT NULL,
                PRIMARY KEY (first_source, second_source)) WITHOUT ROWID""",
            """CREATE TABLE fault_tally (
                source TEXT NOT NULL,
                context TEXT NOT NULL,
                trials REAL NOT NULL,
                updated_at REAL NOT NULL,
                faults TEXT NOT NULL,
                PRIMARY KEY (source, context)) WITHOUT ROWID""",
            """CREATE TABLE symbol_fault (
                symbol TEXT NOT NULL,
                source TEXT NOT NULL,
                fault TEXT NOT NULL,
                n INTEGER NOT NULL,
                last_at REAL NOT NULL,
                evidence_id TEXT NOT NULL,
                PRIMARY KEY (symbol, source, fault)) WITHOUT ROWID""",
            """CREATE TABLE session_figures (
                session TEXT NOT NULL,
                part TEXT NOT NULL,
                requests INTEGER NOT NULL,
                a_count INTEGER NOT NULL,
                b_count INTEGER NOT NULL,
                c_count INTEGER NOT NULL,
                d_count INTEGER NOT NULL,
                f_count INTEGER NOT NULL,
                unanswered INTEGER NOT NULL,
                cached INTEGER NOT NULL,
                calls INTEGER NOT NULL,
                loss REAL NOT NULL,
                elapsed_s REAL NOT NULL,
                PRIMARY KEY (session, part)) WITHOUT ROWID""",
            """CREATE TABLE note (
                kind TEXT NOT NULL,
                name TEXT NOT NULL,
                body TEXT NOT NULL,
                PRIMARY KEY (kind, name)) WITHOUT ROWID""",
        ),
    ),
    Migration(
        "009_recent_outcomes",
        (
            # A store from before starts with what it knows: the slow sums, worth at most as much as recent ones.
            "ALTER TABLE cell ADD COLUMN recent_right REAL NOT NULL DEFAULT 0",
            "ALTER TABLE cell ADD COLUMN recent_wrong REAL NOT NULL DEFAULT 0",
            "ALTER TABLE cell ADD COLUMN delay TEXT NOT NULL DEFAULT '[]'",
            "ALTER TABLE cell ADD COLUMN recent_full REAL NOT NULL DEFAULT 0",
            "ALTER TABLE cell ADD COLUMN recent_bare REAL NOT NULL DEFAULT 0",
            "ALTER TABLE cell ADD COLUMN recent_s REAL NOT NULL DEFAULT 0",
            "ALTER TABLE cell ADD COLUMN recent_calls REAL NOT NULL DEFAULT 0",
            """UPDATE cell SET
                recent_right = CASE WHEN right_count + wrong_count > 30.0
                    THEN right_count * 30.0 / (right_count + wrong_count) ELSE right_count END,
                recent_wrong = CASE WHEN right_count + wrong_count > 30.0
                    THEN wrong_count * 30.0 / (right_count + wrong_count) ELSE wrong_count END""",
        ),
    ),
    Migration(
        "010_contradictions",
        (
            # A store from before cannot tell which of its wrong outcomes were contradictions, so it begins with none.
            "ALTER TABLE cell ADD COLUMN contradicted REAL NOT NULL DEFAULT 0",
            # How every source did with one instrument is read when a question about it begins.
            "CREATE INDEX cell_scope ON cell (scope)",
        ),
    ),
)

_RECORD: Final = "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, applied_at REAL NOT NULL) WITHOUT ROWID"


class NewerSchemaError(Exception):
    """The store was written by a newer version; the message names its steps we do not know."""


async def applied(connection: Connection) -> tuple[str, ...]:
    """The names of the steps a store has been through, in order."""
    if "migration" not in await connection.tables():
        return ()
    rows = await connection.execute_fetchall("SELECT name FROM migration ORDER BY name")
    return tuple(str(name) for (name,) in rows)


async def migrate(connection: Connection, at: float, migrations: tuple[Migration, ...] = MIGRATIONS) -> tuple[str, ...]:
    """Bring a store to the newest step; several processes may do so at once.

    Args:
        connection: in autocommit mode.
        at: epoch seconds, for the record.
        migrations: the steps, in order.

    Returns:
        The names of the steps that were carried out now.

    Raises:
        NewerSchemaError: when the store has been through steps that are not in the list; nothing is changed.
    """
    done: list[str] = []
    known = await applied(connection)
    _refuse_newer(known, migrations)
    for migration in migrations:
        if migration.name in known:
            continue
        async with connection.transaction():
            # Another process may have carried it out while this one waited for the lock.
            if migration.name in await applied(connection):
                continue
            await connection.execute(_RECORD)
            for statement in migration.statements:
                await connection.execute(statement)
            await connection.execute("INSERT INTO migration VALUES (?, ?)", (migration.name, at))
        done.append(migration.name)
    return tuple(done)


def _refuse_newer(names: tuple[str, ...], migrations: tuple[Migration, ...]) -> None:
    unknown = sorted(set(names) - {migration.name for migration in migrations})
    if unknown:
        raise NewerSchemaError(f"written by a newer version (its schema has {', '.join(unknown)})"[:200])
