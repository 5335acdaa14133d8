"""Lessons as rows: read whole at the start (a few rows per source), joined under the transaction's lock."""

from __future__ import annotations

import json
from dataclasses import astuple, fields
from typing import Any, Final

from mdagent_mcp.memory.connection import Connection
from mdagent_mcp.memory.dialect import upsert
from mdagent_mcp.memory.lessons import Lessons, combine_lessons
from mdagent_mcp.resilience.calibration import BINS, CalibrationCounts
from mdagent_mcp.resilience.clock_offset import ClockOffset
from mdagent_mcp.resilience.latency import EMPTY, LatencyHistogram, from_json, to_json
from mdagent_mcp.resilience.track_record import TrackRecord

_SUMS: Final = tuple(each.name for each in fields(TrackRecord))


async def read_lessons(connection: Connection) -> Lessons:
    """Everything learned from authorities."""
    rows = await connection.execute_fetchall(
        f"SELECT source, field, {', '.join(_SUMS)} FROM track_record"  # noqa: S608 - constants only
    )
    bins = await connection.execute_fetchall("SELECT bin, trials, hits, stated FROM confidence")
    misses = await connection.execute_fetchall("SELECT confirming, misses FROM interval_miss")
    clocks = await connection.execute_fetchall("SELECT source, least_s, samples, seen_at FROM clock_offset")
    return Lessons(
        {(source, which): TrackRecord(*sums) for source, which, *sums in rows},
        _counts(bins),
        {confirming: _histogram(text) for confirming, text in misses},
        {source: ClockOffset(*rest) for source, *rest in clocks},
    )


async def join_lessons(connection: Connection, lessons: Lessons) -> Lessons | None:
    """Join what was learned to what is stored; returns what is stored now, None where nothing was learned."""
    if not (lessons.records or lessons.misses or lessons.clocks or any(lessons.confidence.trials)):
        return None
    whole = combine_lessons(await read_lessons(connection), lessons)
    await connection.executemany(
        upsert("track_record", ("source", "field"), _SUMS),
        [(*key, *astuple(whole.records[key])) for key in lessons.records],
    )
    if any(lessons.confidence.trials):
        c = whole.confidence
        await connection.executemany(
            upsert("confidence", ("bin",), ("trials", "hits", "stated")),
            list(zip(range(BINS), c.trials, c.hits, c.stated, strict=True)),
        )
    await connection.executemany(
        upsert("interval_miss", ("confirming",), ("misses",)),
        [(groups, to_json(whole.misses[groups])) for groups in lessons.misses],
    )
    await connection.executemany(
        upsert("clock_offset", ("source",), ("least_s", "samples", "seen_at")),
        [(source, *astuple(whole.clocks[source])) for source in lessons.clocks],
    )
    return whole


def _counts(rows: Any) -> CalibrationCounts:
    parts = [[0.0] * BINS for _ in range(3)]
    for number, *values in rows:
        if 0 <= number < BINS:
            for part, value in zip(parts, values, strict=True):
                part[number] = value
    return CalibrationCounts(*map(tuple, parts))


def _histogram(text: str) -> LatencyHistogram:
    try:
        return from_json(text)
    except (json.JSONDecodeError, ValueError):
        return EMPTY  # written by hand or by another version: soon learned again
