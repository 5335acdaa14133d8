"""Bring `docs/vendors.md` up to date: what stands in the declarations of the vendors, between its markers.

The prose around the markers is written by hand. A vendor without a section gets one at the end of the page. A test
compares the page with the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.vendor import HistoryQuery, Plan, QuoteQuery, Vendor
from mdagent_mcp.vendors.registry import VENDORS

TARGET: Final = Path(__file__).parents[1] / "docs" / "vendors.md"

_BLOCK: Final = re.compile(r"(<!-- generated: (?P<id>[a-z_]+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)
_NOW: Final = datetime(2026, 11, 24, 17, tzinfo=UTC)
"""An instant of regular trading; what a vendor refuses may depend on the age of what is asked."""
_SAMPLES: Final[Mapping[str, str]] = {
    "AAPL": "United States shares and funds",
    "VOD.L": "foreign listings",
    "^GSPC": "S&P 500",
    "^VIX": "VIX",
    "BTC-USD": "crypto",
    "EURUSD": "forex",
}
_BASES: Final[Mapping[Adjustment, str]] = {
    Adjustment.SPLITS: "adjusted for splits",
    Adjustment.ALL: "adjusted for splits and dividends",
    Adjustment.NONE: "as traded",
}


def page(text: str) -> str:
    """The page with every generated block written anew."""
    known = {vendor.id: vendor for vendor in VENDORS}
    present = {match["id"] for match in _BLOCK.finditer(text)}
    for vendor in VENDORS:
        if vendor.id not in present:
            text += f"\n## {vendor.title}\n\n<!-- generated: {vendor.id} -->\n<!-- end of generated -->\n"

    def renewed(match: re.Match[str]) -> str:
        if match["id"] == "overview":
            return match[1] + _overview() + match[3]
        vendor = known.get(match["id"])
        return match[0] if vendor is None else match[1] + _facts(vendor) + match[3]

    return _BLOCK.sub(renewed, text)


def _overview() -> str:
    rows = [
        "| source | key | plans | late by | symbols a call | bars |",
        "|---|---|---|---|---|---|",
    ]
    for vendor in VENDORS:
        plans = ", ".join(f"`{name}`" for name in vendor.plans)
        intervals = sorted({i for _, found in _served_bars(vendor) for i in found}, key=list(Interval).index)
        rows.append(
            f"| [`{vendor.id}`](#{_anchor(vendor.title)}) | {_key_name(vendor)} | {plans} "
            f"| {_delay(vendor.default_plan)} | {vendor.quotes.max_batch if vendor.quotes else 1} "
            f"| {' '.join(intervals) or 'none'} |"
        )
    return "\n".join(rows) + "\n"


def _facts(vendor: Vendor) -> str:
    return "\n".join([*_table(vendor), "", *_plans(vendor)]) + "\n"


def _table(vendor: Vendor) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield f"| source id | `{vendor.id}` |"
    if vendor.retirement is not None:
        successors = ", ".join(f"`{source}`" for source in vendor.retirement.successors)
        yield f"| retired | {vendor.retirement.reason}; in its place: {successors} |"
    yield f"| key | {_key(vendor)} |"
    hosts = ", ".join(f"`{url}`" for url in vendor.hosts.values())
    yield f"| hosts | {hosts or 'none of its own; the one of `base_url`'} |"
    yield f"| described at | <{vendor.docs_url}> |"
    yield f"| terms | {vendor.terms} |"
    batch = f"; up to {vendor.quotes.max_batch} symbols in one call" if vendor.quotes is not None else ""
    yield f"| quotes | {_quoted(vendor)}{batch} |"
    yield f"| bars | {_bars(vendor)} |"
    if vendor.entitlements:
        late = (f"`{name}`: {_late(found.declared_delay_s)}" for name, found in vendor.entitlements.items())
        yield f"| `entitlement` of a key | {'; '.join(late)} |"
    groups = sorted({vendor.group_of(parse_symbol(symbol)) for symbol in _SAMPLES})
    yield f"| passes on the data of | {', '.join(f'`{group}`' for group in groups)} |"
    yield f"| calls at once | {vendor.concurrency} |"


def _plans(vendor: Vendor) -> Iterator[str]:
    yield "| plan | our quotas | declared delay | cost per call | not included |"
    yield "|---|---|---|---|---|"
    for name, plan in vendor.plans.items():
        quotas = "; ".join(f"{q.limit:,} per {q.name}" for q in plan.quotas) or "none"
        excluded = ", ".join(sorted(map(str, plan.excluded))) or "none"
        default = " (default)" if plan is vendor.default_plan else ""
        yield f"| `{name}`{default} | {quotas} | {_delay(plan)} | {plan.cost_per_call:g} | {excluded} |"


def _key_name(vendor: Vendor) -> str:
    return "none" if vendor.key is None else f"`{vendor.key.environment[0]}`"


def _key(vendor: Vendor) -> str:
    if vendor.key is None:
        return "none needed"
    names = " or ".join(f"`{name}`" for name in vendor.key.environment)
    where = f", from <{vendor.key.signup_url}>" if vendor.key.signup_url else ""
    return f"{names}{where}; sent in the {vendor.key.place} as `{vendor.key.name}`"


def _delay(plan: Plan) -> str:
    return _late(plan.declared_delay_s)


def _late(seconds: float) -> str:
    return "real time" if seconds == 0 else f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _quoted(vendor: Vendor) -> str:
    served = [what for symbol, what in _SAMPLES.items() if vendor.quote.refuses(_quote_query(symbol)) is None]
    return ", ".join(served) or "none"


def _quote_query(symbol: str) -> QuoteQuery:
    return QuoteQuery((parse_symbol(symbol),), _NOW)


def _bars(vendor: Vendor) -> str:
    served = _served_bars(vendor)
    return "; ".join(f"{' '.join(intervals)} {_BASES[basis]}" for basis, intervals in served) or "none"


def _served_bars(vendor: Vendor) -> list[tuple[Adjustment, tuple[Interval, ...]]]:
    """The lengths of today's bars that are served on each basis, of a share."""
    found = [(basis, tuple(i for i in Interval if _serves(vendor, i, basis))) for basis in _BASES]
    return [(basis, intervals) for basis, intervals in found if intervals]


def _serves(vendor: Vendor, interval: Interval, basis: Adjustment) -> bool:
    today = _NOW.date()
    query = HistoryQuery(parse_symbol("AAPL"), interval, today, today, basis, extended_hours=False, now=_NOW)
    return vendor.history is not None and vendor.history.refuses(query) is None


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def main() -> None:
    """Write the page."""
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
