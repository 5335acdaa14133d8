"""Numbers for the eye."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.cli.figures import age_text, change_text, meter, price_text, share_text, sparkline, volume_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00"),
        (189.8, "189.80"),
        (65432.1, "65,432.10"),
        (1.15503, "1.15503"),
        (0.000000123, "0.00000012"),
        (243.44999695, "243.45"),
        (12345678901234.5, "12,345,678,901,234.50"),
    ],
)
def test_a_price_keeps_its_decimals(value: float | None, text: str) -> None:
    """Two at least, eight at most; nothing known is a dash."""
    assert price_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (1.26, "1.3 s"),
        (42.4, "42 s"),
        (90.0, "2 min"),
        (900.0, "15 min"),
        (7200.0, "2 h"),
        (200_000.0, "2 d"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(seconds: float | None, text: str) -> None:
    """Seconds below a minute, then minutes, hours, days."""
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (950.0, "950"), (41_233_000.0, "41.2 M"), (999_900.0, "1000 k"), (2.5e9, "2.5 B")],
)
def test_a_volume_has_three_digits_and_a_unit(value: float | None, text: str) -> None:
    """Zero is a volume; nothing known is a dash."""
    assert volume_text(value) == text


def test_shares_and_changes_are_percentages() -> None:
    """With a sign where there are two directions."""
    assert (share_text(0.1234), share_text(None)) == ("12.3 %", "-")
    assert (change_text(0.641), change_text(-1.0), change_text(0.0), change_text(None)) == (
        "+0.64 %",
        "-1.00 %",
        "+0.00 %",
        "-",
    )


def test_a_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    """One block for each value where there is room."""
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 20) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5, 5], 20) == "▄▄▄"
    assert sparkline([], 20) == ""


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=500), st.integers(1, 200))
def test_a_sparkline_fits_its_width_and_shows_both_extremes(values: list[float], width: int) -> None:
    """Whatever the series."""
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    if len(values) <= width and max(values) > min(values):
        assert line[values.index(min(values))] == "▁"
        assert line[values.index(max(values))] == "█"


@pytest.mark.parametrize(("score", "bar"), [(0, "····"), (50, "██··"), (56.3, "██▎·"), (100, "████"), (130, "████")])
def test_a_meter_is_full_at_100(score: float, bar: str) -> None:
    """And always as wide as it is told to be."""
    assert meter(score, 4) == bar
