"""Kept answers as rows: written once, found by id or as the latest about a symbol, bounded by number and age."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anyio import to_thread

from mdagent_mcp.domain.service import AnswerKind
from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.evidence import Answer, UnreadableEvidenceError, decode, encode, kind_of

EvidenceRow = tuple[str, str, str, float, bytes]
"""Evidence id, kind, symbol, when judged (epoch seconds), body."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much evidence is kept.

    Attributes:
        quotes: quote answers.
        histories: series.
        age_s: seconds after which either is dropped.
    """

    quotes: int = 20_000
    histories: int = 500
    age_s: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        if min(self.quotes, self.histories) < 1 or self.age_s <= 0:
            raise ValueError("at least one quote and one history are kept, for a positive time")


def encoded(answers: Iterable[Answer]) -> list[EvidenceRow]:
    """Answers as rows, without those that cannot be written; slow for long series, so it is run in a thread."""
    rows: list[EvidenceRow] = []
    for answer in answers:
        try:
            body = encode(answer)
        except (TypeError, ValueError):
            continue
        rows.append((answer.evidence_id, kind_of(answer), answer.symbol, answer.judged_at.timestamp(), body))
    return rows


async def write_evidence(connection: Connection, rows: Sequence[EvidenceRow]) -> None:
    """Keep answers; the first one under an id stays."""
    await connection.executemany(
        "INSERT INTO evidence (id, kind, symbol, judged_at, body) VALUES (?,?,?,?,?) ON CONFLICT (id) DO NOTHING", rows
    )


async def prune_evidence(connection: Connection, limits: ArchiveLimits, now: float) -> None:
    """Drop what is too old, and of each kind what was kept first beyond its number."""
    await connection.execute("DELETE FROM evidence WHERE judged_at < ?", (now - limits.age_s,))
    for kind, most in (("quote", limits.quotes), ("history", limits.histories)):
        await connection.execute(
            "DELETE FROM evidence WHERE kind = ? AND seq <= "
            "(SELECT seq FROM evidence WHERE kind = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
            (kind, kind, most),
        )


async def find_evidence(connection: Connection, evidence_id: str) -> Answer | None:
    """The answer kept under an id; None when there is none that can be read."""
    rows = await connection.execute_fetchall("SELECT kind, body FROM evidence WHERE id = ?", (evidence_id,))
    return await to_thread.run_sync(_first, list(rows))


async def find_latest(connection: Connection, symbol: str, kind: AnswerKind) -> Answer | None:
    """The answer about a symbol that was judged last; None when there is none that can be read."""
    rows = await connection.execute_fetchall(
        "SELECT kind, body FROM evidence WHERE symbol = ? AND kind = ? ORDER BY judged_at DESC, seq DESC LIMIT 1",
        (symbol, kind),
    )
    return await to_thread.run_sync(_first, list(rows))


def _first(rows: Iterable[Sequence[object]]) -> Answer | None:
    for kind, body in rows:
        try:
            return decode("quote" if kind == "quote" else "history", body if isinstance(body, bytes) else b"")
        except UnreadableEvidenceError:
            return None
    return None
