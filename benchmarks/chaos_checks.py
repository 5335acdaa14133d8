"""What must hold of every call in a chaos run, judged against the simulated market's hidden truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from chaos_calls import NAMELESS, Asked
from chaos_world import ChaosWorld
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.vendors.registry import VENDORS

DEADLINE_S: Final = 10.25
"""The engine's own deadline and its grace."""
SLACK_S: Final = 0.25
TOLERANCE: Final = 1e-3
"""Share of the price: what it may have moved since a price that counts as current."""
HONEST_WITHIN: Final = 1e-3
"""Share of the price by which an honest source may be off the tape at its own time: its own prints, its rounding."""
FRESH_S: Final = 30.0
"""A source later than this confirms nothing about now."""
KNOWN_FOR_S: Final = 600.0
"""During an outage what was known so long ago must still be told."""
KNOWABLE_OFFSET_S: Final = 60.0
"""By a clock that is more wrong than this nobody can tell how old a price is."""
CODES: Final = frozenset(kind.value for kind in FailureKind)
KEYLESS: Final = frozenset({"yahoo", "nasdaq", "cboe"})
"""Sources without a key, where the limits are our own politeness."""
SPENT: Final = frozenset({FailureKind.THROTTLED, FailureKind.QUOTA_EXHAUSTED})
GROUPS: Final = {vendor.id: vendor.group_of(parse_symbol(NAMELESS[0])) for vendor in VENDORS}
NO_OPINION: Final = frozenset({FailureKind.UNSUPPORTED, FailureKind.RETIRED, FailureKind.UNAUTHORIZED})


@dataclass
class Findings:
    """What was counted, and what did not hold.

    Attributes:
        calls: by tool.
        grades: of quotes.
        codes: of failures.
        violations: by invariant, the first few in words.
        broken: how many by invariant.
        promised: symbols asked while at least two sources could be reached.
        answered: those of them that were answered.
        told: symbols that were told from before an outage.
        outvoted: wrong A and B where the honest were no majority among those who answered.
        nameless: prices, graded C or lower, of symbols that do not exist; F where two upstream groups deny them.
        outvoted_words: those in words.
        slowest_s: the longest call.
    """

    calls: Counter[str] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    violations: dict[str, list[str]] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)
    promised: int = 0
    answered: int = 0
    told: int = 0
    outvoted: int = 0
    nameless: int = 0
    outvoted_words: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def violated(self, invariant: str, what: str) -> None:
        """Note that something did not hold."""
        self.broken[invariant] += 1
        kept = self.violations.setdefault(invariant, [])
        if len(kept) < 5:
            kept.append(what)

    @property
    def availability(self) -> float:
        """Share of the promised symbols that were answered."""
        return self.answered / self.promised if self.promised else 1.0


class Judge:
    """Looks at every call.

    Args:
        world: in which it was made.
        findings: where to note what is found.
        roomy: sources whose quotas leave room, so that they count as reachable while no fault is in force.
    """

    def __init__(self, world: ChaosWorld, findings: Findings, roomy: frozenset[str]) -> None:
        self._world = world
        self._findings = findings
        self._roomy = roomy
        self._known: dict[str, tuple[float, str]] = {}
        self._latest: dict[str, str] = {}

    def look(self, asked: Asked) -> None:
        """Check one call that has ended, or should have."""
        findings = self._findings
        findings.calls[asked.tool] += 1
        took = (self._world.clock.monotonic() if asked.ended is None else asked.ended) - asked.started
        findings.slowest_s = max(findings.slowest_s, took)
        if asked.ended is None or took > DEADLINE_S + SLACK_S:
            findings.violated("deadline", f"{_named(asked)} took {took:.2f} s")
        if asked.raised:
            findings.violated("no exception", f"{_named(asked)}: {asked.raised}")
        if asked.cancelled or asked.raised or asked.ended is None:
            return
        if "error inside the server" in asked.text:
            findings.violated("no exception", f"{_named(asked)}: {asked.text}")
        self._look_at_codes(asked)
        if asked.tool == "get_quote":
            self._look_at_quotes(asked)

    def _look_at_codes(self, asked: Asked) -> None:
        for failure in asked.content.get("failures", ()):
            code = failure["code"]
            self._findings.codes[code] += 1
            said = {code, *failure.get("sources", {}).values()}
            if not said <= CODES:
                self._findings.violated("codes", f"{_named(asked)}: {sorted(said - CODES)}")
            known = failure["symbol"] and failure["symbol"] not in NAMELESS
            told = [kind for kind in failure.get("sources", {}).values() if kind not in NO_OPINION]
            silent = [kind for kind in told if kind != FailureKind.UNKNOWN_SYMBOL]
            # One source alone that was asked for by name may say so, and one that fails may be the only one.
            if code == FailureKind.UNKNOWN_SYMBOL and known and silent:
                self._findings.violated(
                    "unknown", f"{_named(asked)}: {failure['symbol']} told as unknown: {failure['sources']}"
                )

    def _look_at_quotes(self, asked: Asked) -> None:
        quotes = {quote["symbol"]: quote for quote in asked.content.get("quotes", ())}
        for symbol, quote in quotes.items():
            self._findings.grades[quote["grade"]] += 1
            if symbol not in NAMELESS:
                self._look_at_price(quote)
            elif quote["grade"] in "AB":
                words = f"{symbol} {quote['grade']}: a price of nothing: {quote['price']}, {quote['summary']}"
                self._findings.violated("price", words)
            else:
                self._findings.nameless += 1
                self._look_at_denial(quote, asked.denied.get(symbol, frozenset()))
        if asked.is_plain_quote:
            self._look_at_availability(asked, quotes)
            if self._world.episode.outage:
                self._look_at_outage(asked, quotes)
            now = self._world.clock.monotonic()
            for symbol, quote in quotes.items():
                self._latest[symbol] = f"latest {now:.0f} s: {quote['grade']}, {quote['summary']}"
                if not quote["cached"] and quote["grade"] in "AB":
                    self._known[symbol] = (now, quote["evidence_id"])

    def _look_at_denial(self, quote: Mapping[str, Any], denied_by: frozenset[str]) -> None:
        """What two upstream groups do not know is not to be stated on the word of a single one."""
        stating = {seen["upstream_group"] for seen in quote["observations"]}
        denying = {GROUPS[source] for source in denied_by} - stating
        if quote["grade"] != "F" and len(stating) == 1 and len(denying) >= 2:
            words = f"{quote['symbol']} {quote['grade']}: a price that {sorted(denied_by)} deny: {quote['summary']}"
            self._findings.violated("nameless", words)

    def _look_at_price(self, quote: Mapping[str, Any]) -> None:
        """Never an A or B that is wrong by more than its own interval, while most of those who answered are honest."""
        if quote["grade"] not in "AB":
            return
        market, now, off_s = self._world.desk.market, self._world.clock.now(), self._world.episode.offset_s
        truth = market.snapshot(quote["symbol"], now).price
        if quote["price_low"] * (1 - TOLERANCE) <= truth <= quote["price_high"] * (1 + TOLERANCE):
            return
        honest, lying = self._groups(quote, now)
        words = (
            f"{quote['symbol']} {quote['grade']} {quote['price']} [{quote['price_low']}, {quote['price_high']}] instead"
            f" of {truth} at {now:%H:%M:%S}, {off_s} s off; honest {sorted(honest)}, lying {sorted(lying)};"
            f" {quote['summary']}"
        )
        if len(lying) < len(honest):
            self._findings.violated("price", words)
            return
        self._findings.outvoted += 1
        self._findings.outvoted_words.append(f"{words}; {self._world.episode}")

    def _groups(self, quote: Mapping[str, Any], now: datetime) -> tuple[set[str], set[str]]:
        """Upstream groups that told the truth about now, and those of which one did not tell the truth."""
        honest, lying = set(), set()
        for seen in quote["observations"]:
            then = min(now, datetime.fromisoformat(seen["event_time"])) if seen["event_time"] else now
            truth = self._world.desk.market.snapshot(quote["symbol"], then).price
            group = seen["upstream_group"]
            if abs(seen["price"] / truth - 1) > HONEST_WITHIN:
                lying.add(group)
            elif seen["delay_s"] is not None and seen["delay_s"] <= FRESH_S:
                honest.add(group)
        return honest - lying, lying

    def _look_at_availability(self, asked: Asked, quotes: Mapping[str, Any]) -> None:
        """Where two sources can be reached there is an answer; a spent quota is no outage."""
        episode, findings = self._world.episode, self._findings
        reachable = episode.reachable & self._roomy
        if len(reachable) < 2 or abs(episode.offset_s) > 1.0:
            return
        why = {failure["symbol"]: failure["sources"] for failure in asked.content.get("failures", ())}
        for symbol in set(asked.arguments["symbols"]) - set(NAMELESS):
            said = why.get(symbol, {})
            spent = {source for source in KEYLESS if said.get(source) in SPENT}
            if symbol in quotes:
                findings.answered += 1
            elif len(reachable - spent) >= 2:
                findings.violated("unanswered", f"{symbol}: {said}; {episode}")
            else:
                continue
            findings.promised += 1

    def _look_at_outage(self, asked: Asked, quotes: Mapping[str, Any]) -> None:
        """What was known before is told with its age, and at no better grade than that age allows."""
        now = self._world.clock.monotonic()
        for symbol in asked.arguments["symbols"]:
            known = self._known.get(symbol)
            quote = quotes.get(symbol)
            if quote is not None:
                self._findings.told += 1
                ageless = quote["delay_s"] is None and abs(self._world.episode.offset_s) < KNOWABLE_OFFSET_S
                if ageless or (quote["grade"] == "A" and (quote["delay_s"] or 0.0) > 5.0):
                    self._findings.violated(
                        "outage",
                        f"{symbol} {quote['grade']}, {quote['delay_s']} s old: {quote['summary']}; {quote['session']}"
                        f" {self._world.clock.now():%H:%M:%S} {self._world.episode.offset_s} s off",
                    )
            elif (
                known is not None
                and now - known[0] < KNOWN_FOR_S
                and abs(self._world.episode.offset_s) < KNOWABLE_OFFSET_S
            ):
                self._findings.violated(
                    "outage",
                    f"{symbol} was known {now - known[0]:.0f} s ago and is not told; {self._latest.get(symbol)}",
                )


def _named(asked: Asked) -> str:
    return f"{asked.tool} {str(asked.arguments)[:120]}"
