"""Polygon, which calls itself Massive since October 2025: closes with a free key, snapshots on paid plans, bars on all.

The rule of this module: a free key has five calls a minute and end-of-day prices, so its plan asks other calls than the
paid ones: the previous day of one symbol, or one call for a day of the whole market.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from mdagent_mcp.domain.prices import History
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, Key, Offer, Plan, Quota, Vendor
from mdagent_mcp.vendors.polygon_calls import (
    BATCH,
    build_bars,
    build_free_bars,
    build_grouped,
    build_previous,
    build_quote,
    build_quotes,
    refuses_bars,
    refuses_closes,
    refuses_free_bars,
    refuses_grouped,
    refuses_quotes,
)
from mdagent_mcp.vendors.polygon_days import read_grouped, read_open_close, read_previous
from mdagent_mcp.vendors.polygon_history import next_page, read_bars
from mdagent_mcp.vendors.polygon_quotes import (
    read_last_quote,
    read_last_trade,
    read_snapshot_or_unified,
    read_unified,
)
from mdagent_mcp.vendors.polygon_recorded import (
    recognise_bars,
    recognise_grouped,
    recognise_last_quote,
    recognise_last_trade,
    recognise_open_close,
    recognise_previous,
    recognise_snapshot,
    recognise_unified,
)
from mdagent_mcp.vendors.polygon_replies import DELAY_S, ERRORS, SOURCE
from mdagent_mcp.vendors.read_only import read_only_quotes

_END_OF_DAY_S: Final = 86_400.0
_CHEAP: Final = 0.001
_POLITE: Final = Quota(100, 1.0, "second")
"""Paid plans are not limited; the vendor asks them to stay below this."""


_QUOTE: Final = Offer(Endpoint.QUOTE, refuses_quotes, build_quote, read_snapshot_or_unified, recognise_snapshot)
_QUOTES: Final = Offer(Endpoint.QUOTES, refuses_quotes, build_quotes, read_unified, recognise_unified, max_batch=BATCH)
_BARS: Final[Offer[HistoryQuery, History]] = Offer(
    Endpoint.HISTORY, refuses_bars, build_bars, read_bars, recognise_bars, next_page=next_page
)
_PREVIOUS: Final = Offer(Endpoint.QUOTE, refuses_closes, build_previous, read_previous, recognise_previous)
_GROUPED: Final = Offer(
    Endpoint.QUOTES, refuses_grouped, build_grouped, read_grouped, recognise_grouped, max_batch=BATCH
)
_FREE_BARS: Final[Offer[HistoryQuery, History]] = Offer(
    Endpoint.HISTORY, refuses_free_bars, build_free_bars, read_bars, recognise_bars, next_page=next_page
)
_READABLE: Final = (
    read_only_quotes(read_last_trade, recognise_last_trade),
    read_only_quotes(read_last_quote, recognise_last_quote),
    read_only_quotes(read_open_close, recognise_open_close),
)

POLYGON: Final = Vendor(
    id=SOURCE,
    title="Polygon (Massive)",
    docs_url="https://massive.com/docs",
    terms="Individual plans are for personal use; showing data to others needs a business plan.",
    hosts=MappingProxyType({"api": "https://api.massive.com", "second": "https://api.polygon.io"}),
    quote=_QUOTE,
    quotes=_QUOTES,
    history=_BARS,
    errors=ERRORS,
    plans=MappingProxyType(
        {
            "basic": Plan(
                quotas=(Quota(5, 60.0, "minute"),),
                declared_delay_s=_END_OF_DAY_S,
                cost_per_call=0.2,
                offers=MappingProxyType(
                    {Endpoint.QUOTE: _PREVIOUS, Endpoint.QUOTES: _GROUPED, Endpoint.HISTORY: _FREE_BARS}
                ),
            ),
            "starter": Plan(quotas=(_POLITE,), declared_delay_s=DELAY_S, cost_per_call=_CHEAP),
            "developer": Plan(quotas=(_POLITE,), declared_delay_s=DELAY_S, cost_per_call=_CHEAP),
            "advanced": Plan(quotas=(_POLITE,), cost_per_call=_CHEAP),
        }
    ),
    key=Key(
        ("POLYGON_API_KEY", "MASSIVE_API_KEY"),
        "header",
        "Authorization",
        prefix="Bearer ",
        signup_url="https://massive.com/dashboard/signup",
    ),
    timeout_s=5.0,
    rest_after_throttle_s=60.0,
    weight=0.9,
    readable=_READABLE,
)
"""Polygon, as the engine knows it."""
