"""Why each check of a history exists: what was seen or measured. For the page of checks, which a test compares."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "order": "Vendors differ in direction, and spliced answers come in pieces; later checks assume time order.",
        "duplicates": "During a session a large vendor sends today's row twice, with slightly different volumes.",
        "null_prices": "Rows with a volume but no prices appear before the open and around listings.",
        "bad_volume": "Negative or fractional volumes come from wrong types and split factors applied the wrong way.",
        "off_session": "Bars cut at another zone's midnight put Friday's trading on Saturday.",
        "ohlc_rule": "Ten rows in 10,000 of a large vendor break it, 98 % of them from sessions that were running.",
        "repeated_close": "A vendor wrote the current price into the close of bars of past years.",
        "zero_volume": "London rows have no volume one time in five; where the price moved, the volume is missing.",
        "volume_basis": "Volumes twenty times too low beside unadjusted prices were measured over a whole history.",
        "forward_fill": "Some vendors fill gaps with the last bar; with volume above zero that is no quiet day.",
        "unit_error": "Pence for pounds: up to hundreds of cells per year and ticker in London and Johannesburg.",
        "split_error": "New splits reach old prices days late, twice, inverted, or on one row only.",
        "wick": "Decimal slips in a low or high: up to 5 of 10,000 rows, always on one side of the bar.",
        "price_jump": "Real falls of 21 % exist and are seen by all sources; a jump of one source alone is an error.",
        "adjusted_close": "Adjusted closes of thousands of rows were infinite or negative after repeated adjustment.",
        "dividend_size": "Dividends in pence beside prices in pounds, the most frequent labelled error in London.",
        "dividend_phantom": "The same dividend listed twice within 17 days, of which the price fell by one.",
        "dividend_date": "Ex-dates wrong by days or weeks: the adjusted price rises on one day and falls on another.",
        "frozen_bar": "Bars fetched before the close and never again: ten rows in 10,000 of a large vendor.",
        "capital_gains": "Funds' December gains are counted as dividend and as gain at once.",
        "adjustment_gap": "A dividend missing from the adjusted closes is the commonest fault of 37 labelled files.",
        "machine_clock": "By a clock a day ahead the running day's bar is complete: half a day's price was an A.",
        "partial_bar": "A bar fetched before the close and kept is wrong for ever; marked, it costs nothing.",
        "missing_at_end": "A whole session was missing for many symbols at once for days.",
        "coverage": "Three sessions in 10,000 are missing in a public daily data set, whole for all symbols.",
        "late_start": "Reused tickers begin with another company, renamed ones at the renaming.",
        "basis": "Adjusted and raw levels drift apart by up to 13 % without any error; only one basis can be compared.",
        "currency": "A series in pence under the label of pounds is a hundred times another one.",
        "cross_source": "Independent vendors' closes agree within 16 bp in 99 of 100 cases for large shares.",
    }
)
"""By rule id."""
