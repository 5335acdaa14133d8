"""What the other sources say about a series.

Only series on one basis and in one currency are compared: by closing price, or by return where prices are adjusted
for dividends, because vendors count those differently and the levels drift apart. Series of one upstream group are
one voice: they neither corroborate nor contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Final

from mdagent_mcp.consensus.history_checks import Observed, failed, not_run, passed
from mdagent_mcp.consensus.history_levels import power_of_ten
from mdagent_mcp.consensus.history_series import PRICE_FIELDS, Series, prices_of
from mdagent_mcp.domain.prices import Adjustment, Bar
from mdagent_mcp.domain.quality import DimensionScore

if TYPE_CHECKING:
    from mdagent_mcp.consensus.history_series import FloatArray

_LEAST_FOR_LAG: Final = 20
"""Common bars from which a shift of the dates can be told."""
_SAME_MOVES: Final = 0.2
"""Moves that differ this much less when the dates are shifted by a bar are the same moves under wrong dates."""
OUTVOTED_SCORE: Final = 92.0
"""Corroboration when somebody was outvoted."""
UNDECIDED_CAP: Final = 79.0
"""Corroboration when some cells stay one word against another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryThresholds:
    """When two series agree; all are shares between 0 and 1.

    Attributes:
        off: difference of two closes (or returns) from which a bar is off.
        far_off: difference from which even a single bar makes a source differ for certain.
        cell_off: difference of an open, high or low that counts: vendors take them from different tapes.
        enough: share of the bars that a reference must cover to corroborate.
        loose: median difference beyond which a reference is apart: it neither corroborates nor contradicts.
        slight: median difference from which a reference is apart if it is also half of what the price usually moves
            from bar to bar.
        off_share: share of bars off from which a reference contradicts.
        same: difference within which two other sources state the same price.
    """

    off: float = 0.02
    far_off: float = 0.10
    cell_off: float = 0.05
    enough: float = 0.95
    loose: float = 0.005
    slight: float = 0.001
    off_share: float = 0.05
    same: float = 0.005

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0.0 < getattr(self, each.name) < 1.0:
                raise ValueError(f"{each.name} must lie between 0 and 1, got {getattr(self, each.name)}")
        if not self.slight <= self.loose <= self.off <= self.far_off:
            raise ValueError("the limits must rise: slight <= loose <= off <= far_off")


class Relation(StrEnum):
    """What one series says about another."""

    AGREES = "agrees"
    PARTLY = "partly"
    """Agrees on the bars it has, but has too few of them."""
    APART = "apart"
    """No single bar is off, yet most differ by more than vendors do: a day cut at another hour, or another basis."""
    DIFFERS = "differs"
    """A few bars are off."""
    CONTRADICTS = "contradicts"
    """Another level, another instrument, or every bar under the date of its neighbour."""
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one series compares with a reference.

    Attributes:
        reference: the other series.
        relation: what it says.
        common: bars compared.
        median_difference: relative, as a logarithm.
        off: periods whose difference is 2 % or more, each with it.
        because: one clause with numbers.
        left_out: periods where the reference is known to be wrong, which were not compared.
    """

    reference: Series
    relation: Relation
    common: int = 0
    median_difference: float = 0.0
    off: tuple[tuple[datetime, float], ...] = ()
    because: str = ""
    left_out: frozenset[datetime] = field(default_factory=frozenset)


def compare(
    series: Series,
    reference: Series,
    limits: HistoryThresholds,
    left_out: frozenset[datetime] = frozenset(),
) -> Comparison:
    """Compare by close or return on common finished periods.

    Args:
        series: the one in question.
        reference: the other one.
        limits: when they agree.
        left_out: periods where the reference is known to be wrong.
    """
    reason = _why_not_comparable(series, reference)
    if reason:
        return Comparison(reference, Relation.NOT_COMPARABLE, because=reason)
    keys, differences = _differences(series, reference, left_out)
    if not keys:
        return Comparison(reference, Relation.NOT_COMPARABLE, because="no common bars")
    middle = _median(abs(differences))
    off = tuple((keys[n], float(differences[n])) for n in (abs(differences) > limits.off).nonzero()[0].tolist())
    wanted = max(1, series.finished - (1 if series.basis is Adjustment.ALL else 0))
    apart = middle > limits.loose or (middle > limits.slight and middle > 0.5 * series.usual_move)
    relation = _relation(limits, middle, len(off) / len(keys), len(keys) / wanted, apart=apart)
    because = (
        f"median difference {middle * 1e4:.1f} bp on {len(keys)} common bars, {len(off)} off by over {limits.off:.0%}"
    )
    if relation not in {Relation.AGREES, Relation.PARTLY} and (lag := _lag_of(series, reference)):
        relation = Relation.CONTRADICTS
        because = (
            f"its bars are those of the session {'after' if lag > 0 else 'before'} the served ones' (dates shifted)"
        )
    unit = power_of_ten(_median(differences))
    if relation is Relation.CONTRADICTS and unit:
        because = f"its prices are a factor of about {10.0**-unit:g} apart on {len(keys)} common bars (unit)"
    return Comparison(reference, relation, len(keys), middle, off, because, left_out)


def by_group(comparisons: Sequence[Comparison], own_group: str) -> dict[str, Comparison]:
    """The word of every other upstream group: its most telling series (the one with most common bars)."""
    voices: dict[str, Comparison] = {}
    for comparison in comparisons:
        group = comparison.reference.group
        if group == own_group or comparison.relation is Relation.NOT_COMPARABLE:
            continue
        if group not in voices or voices[group].common < comparison.common:
            voices[group] = comparison
    return voices


def corroboration(voices: Mapping[str, Comparison], limits: HistoryThresholds) -> DimensionScore:
    """The score of the corroboration dimension from the word of every other group."""
    named: dict[Relation, list[Comparison]] = {relation: [] for relation in Relation}
    for voice in voices.values():
        named[voice.relation].append(voice)
    agree, against = named[Relation.AGREES], named[Relation.CONTRADICTS]
    if against and (not agree or len(agree) + 1 <= len(against)):
        return DimensionScore(52.0, _told(against, "contradicts"), "A when the sources agree, or a majority does")
    if agree:
        disputed = against + named[Relation.DIFFERS] + named[Relation.APART]
        return DimensionScore(OUTVOTED_SCORE, _told(disputed, "is outvoted")) if disputed else DimensionScore(98.0)
    if named[Relation.DIFFERS]:
        worst = max((abs(d) for v in named[Relation.DIFFERS] for _, d in v.off), default=0.0)
        score = 66.0 if worst > limits.far_off else UNDECIDED_CAP
        return DimensionScore(score, _told(named[Relation.DIFFERS], "differs"), "A when the sources agree on every bar")
    if named[Relation.APART]:
        return DimensionScore(UNDECIDED_CAP, _told(named[Relation.APART], "is apart"), "A when the sources agree")
    because = _told(named[Relation.PARTLY], "corroborates only in part") if named[Relation.PARTLY] else ""
    return DimensionScore(
        89.0,
        because or "no independent source of the same basis to compare with",
        "A with a second independent source that shows the same bars",
    )


def check_cross_source(series: Series, voices: Mapping[str, Comparison], limits: HistoryThresholds) -> Observed:
    """Cells where an independent source disagrees: closes by `off`, other prices by `cell_off`.

    A cell that a third source shows as the series does is decided; one that stays one word against another is not.
    """
    if not voices:
        return not_run("cross_source", "no independent source of the same basis to compare with")
    against: dict[datetime, list[str]] = {}
    for group in sorted(voices):
        for key, text in _disagreeing(series, voices[group], limits):
            against.setdefault(key, []).append(text)
    if not against:
        compared = "; ".join(f"{v.reference.source}: {v.because}" for _, v in sorted(voices.items()))
        return passed("cross_source", compared)
    held = {key: sum(1 for v in voices.values() if key in v.reference.index) for key in against}
    open_cells = sum(1 for key, texts in against.items() if held[key] <= len(texts))
    cap = UNDECIDED_CAP if open_cells else OUTVOTED_SCORE
    detail = f"{len(against)} bars differ between sources, {open_cells} of them without a majority for the served one"
    return failed("cross_source", cap, detail, [(key, "; ".join(texts)) for key, texts in against.items()])


def _why_not_comparable(series: Series, reference: Series) -> str:
    if series.basis is not reference.basis:
        return f"its prices are adjusted otherwise ({reference.basis})"
    mine, theirs = series.history.currency, reference.history.currency
    if mine is not None and theirs is not None and mine != theirs:
        return f"its prices are in {theirs}"
    return ""


def _common(series: Series, reference: Series, left_out: frozenset[datetime]) -> tuple[list[int], list[int]]:
    """Where the finished bars of the same periods stand in both series."""
    if series.keys == reference.keys and not left_out:
        both = list(range(min(series.finished, reference.finished)))
        return both, both
    found = [
        (n, m)
        for n, key in enumerate(series.keys[: series.finished])
        if (m := reference.index.get(key, reference.finished)) < reference.finished and key not in left_out
    ]
    return [n for n, _ in found], [m for _, m in found]


def _differences(
    series: Series, reference: Series, left_out: frozenset[datetime]
) -> tuple[Sequence[datetime], FloatArray]:
    """Differences of the reference's word from the series' by period, as logarithms."""
    import numpy as np  # noqa: PLC0415 - 80 ms that the start of a server need not pay

    mine, theirs = _common(series, reference, left_out)
    differences = reference.logs[theirs] - series.logs[mine]
    stated = np.flatnonzero(np.isfinite(differences))
    differences = differences[stated]
    keys = [series.keys[mine[n]] for n in stated.tolist()]
    if series.basis is Adjustment.ALL:
        # The difference of two returns is the change of the difference of the levels.
        return keys[1:], np.diff(differences)
    return keys, differences


def _median(values: FloatArray) -> float:
    import numpy as np  # noqa: PLC0415 - see `_differences`

    return float(np.median(values))


def _lag_of(series: Series, reference: Series) -> int:
    """By how many bars the reference is dated otherwise: 1 or -1 when its moves are then the same, else 0."""
    pairs = [(n, reference.index[key]) for n, key in enumerate(series.keys) if n and reference.index.get(key)]
    if len(pairs) < _LEAST_FOR_LAG:
        return 0
    mine, theirs = series.returns, reference.returns

    def apart(lag: int) -> float:
        return median(abs(mine[n] - theirs[m + lag]) for n, m in pairs if 0 < m + lag < len(theirs))

    together = apart(0)
    return next((lag for lag in (1, -1) if apart(lag) < _SAME_MOVES * together), 0)


def _relation(limits: HistoryThresholds, middle: float, off_share: float, covered: float, *, apart: bool) -> Relation:
    if middle > limits.off or off_share > limits.off_share:
        return Relation.CONTRADICTS
    if off_share:
        return Relation.DIFFERS
    if apart:
        return Relation.APART
    return Relation.AGREES if covered >= limits.enough else Relation.PARTLY


def _told(comparisons: Sequence[Comparison], verb: str) -> str:
    ordered = sorted(comparisons, key=lambda c: c.reference.source)
    return "; ".join(f"{c.reference.source} {verb}: {c.because}" for c in ordered)


def _disagreeing(series: Series, voice: Comparison, limits: HistoryThresholds) -> list[tuple[datetime, str]]:
    reference = voice.reference
    if series.basis is Adjustment.ALL:
        return [(key, f"return differs from {reference.source}'s by {d:+.2%}") for key, d in voice.off]
    rows = []
    for n in differing_bars(series, reference, limits, voice.left_out):
        theirs = reference.bars[reference.index[series.keys[n]]]
        rows.append((series.keys[n], _differing_prices(series.bars[n], theirs, reference.source, limits)))
    return rows


def differing_bars(
    series: Series, reference: Series, limits: HistoryThresholds, left_out: frozenset[datetime] = frozenset()
) -> list[int]:
    """The finished bars of which a reference has another price, by place."""
    mine, theirs = _common(series, reference, left_out)
    own = series.columns[:, mine]
    excess = abs(reference.columns[:, theirs] - own) - own * _limits_by_price(limits)
    return [mine[place] for place, most in enumerate(excess.max(axis=0).tolist()) if most > 0.0] if mine else []


def _limits_by_price(limits: HistoryThresholds) -> FloatArray:
    """The difference that counts for each of the four prices, as a column."""
    import numpy as np  # noqa: PLC0415 - see `_differences`

    return np.array([[limits.off if name == "close" else limits.cell_off] for name in PRICE_FIELDS])


def _differing_prices(bar: Bar, theirs: Bar, source: str, limits: HistoryThresholds) -> str:
    own, said = prices_of(bar), prices_of(theirs)
    return "; ".join(
        f"{name} {own[name]:g}, {source} says {said[name]:g}"
        for name in own
        if abs(said[name] - own[name]) > (limits.off if name == "close" else limits.cell_off) * own[name]
    )
