"""Live numbers that are no prices: 16 sources of weather, graded by the national service's own page 32 rounds later."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from statistics import median, median_low

from fusion_streams import WEATHER
from mdagent_mcp.consensus.selection import Claim, Known, select
from mdagent_mcp.resilience.track_record import (
    LOCAL_DECAY,
    Comparison,
    TrackRecord,
    compared,
    hit_probability,
    joined,
    lag_s,
    outcome,
)

TOLERANCE = {"temp_f": 1.0, "dew_f": 1.0, "humidity": 3.0, "pressure_in": 0.02, "wind_mph": 1.5, "visibility_mi": 0.5}
AUTHORITY = "weather_gov"
REVEALED_AFTER, FIRST_ROUND = 32, 20
_EDGE, _NEVER = 1e-9, float("inf")

Item = tuple[int, str, str]


def items() -> dict[Item, dict[str, float]]:
    """(round, city, attribute) -> source -> value."""
    found: dict[Item, dict[str, float]] = defaultdict(dict)
    with gzip.open(WEATHER, "rt") as file:
        for row in csv.DictReader(file):
            found[int(row["round"]), row["city"], row["attr"]][row["source"]] = float(row["norm"])
    return dict(found)


def run(found: dict[Item, dict[str, float]]) -> dict[str, list[tuple[Item, bool]]]:
    """Method -> item and whether it was right."""
    whole: dict[tuple[str, str], TrackRecord] = defaultdict(TrackRecord)
    local: dict[tuple[str, str, str], TrackRecord] = defaultdict(TrackRecord)
    results: dict[str, list[tuple[Item, bool]]] = {"median": [], "tolerance vote": [], "product": [], "any member": []}
    rounds: dict[int, list[Item]] = defaultdict(list)
    for item in found:
        rounds[item[0]].append(item)
    for number in sorted(rounds):
        for item in rounds.get(number - REVEALED_AFTER, ()):
            _learn(item, found[item], whole, local)
        for item in rounds[number]:
            said = {s: v for s, v in sorted(found[item].items()) if s != AUTHORITY}
            if number >= FIRST_ROUND and AUTHORITY in found[item] and said:
                _answer(item, said, found[item][AUTHORITY], (whole, local), results)
    return results


_Records = tuple[dict[tuple[str, str], TrackRecord], dict[tuple[str, str, str], TrackRecord]]


def _learn(
    item: Item,
    said: dict[str, float],
    whole: dict[tuple[str, str], TrackRecord],
    local: dict[tuple[str, str, str], TrackRecord],
) -> None:
    _, city, attribute = item
    if AUTHORITY not in said:
        return
    tolerance = TOLERANCE[attribute] + _EDGE
    for source, value in said.items():
        if source != AUTHORITY:
            comparison = Comparison(value - said[AUTHORITY], tolerance, _NEVER, tolerance * tolerance, None)
            near, broad = (source, attribute, city), (source, attribute)
            local[near] = joined(local[near], outcome(whole[broad], comparison), LOCAL_DECAY)
            whole[broad] = compared(whole[broad], comparison)


def _answer(
    item: Item, said: dict[str, float], truth: float, records: _Records, results: dict[str, list[tuple[Item, bool]]]
) -> None:
    _, city, attribute = item
    tolerance = TOLERANCE[attribute]
    whole, local = records
    claims = []
    for source, value in said.items():
        near, broad = local[source, attribute, city], whole[source, attribute]
        lag = min(lag_s(near, broad), 9.0) if broad.trials > 5 else 1.5
        claims.append(
            Claim(
                value,
                max(lag, 0.05) * tolerance**2,
                1 - hit_probability(near, broad),
                0.05 * tolerance**2,
                source,
                near.bias * tolerance,
            )
        )
    known = Known(tolerance + _EDGE, 0.2 * tolerance, median_low(said.values()), 4 * tolerance)
    chosen = {
        "product": claims[select(claims, known).index].value,
        "median": median(said.values()),
        "tolerance vote": max(
            said.values(),
            key=lambda v: (
                sum(abs(v - w) <= tolerance + _EDGE for w in said.values()),
                -abs(v - median(said.values())),
            ),
        ),
    }
    for method, value in chosen.items():
        results[method].append((item, abs(value - truth) <= tolerance + _EDGE))
    results["any member"].append((item, any(abs(v - truth) <= tolerance + _EDGE for v in said.values())))
