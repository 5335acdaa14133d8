"""Our beta quantile against scipy's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc, betaincinv

from mdagent_mcp.memory.beta import beta_quantile, beta_share_below

_parameter = st.floats(0.05, 250.0)

_unhurried = settings(deadline=None)  # a busy machine is no failure


@_unhurried
@given(_parameter, _parameter, st.floats(0.01, 0.99))
def test_the_quantile_is_the_one_of_scipy(alpha: float, beta: float, share: float) -> None:
    """To nine digits, for every posterior that memory can hold."""
    assert beta_quantile(share, alpha, beta) == pytest.approx(float(betaincinv(alpha, beta, share)), abs=1e-9)


@_unhurried
@given(_parameter, _parameter, st.floats(0.0, 1.0 - 1e-9) | st.just(1.0))
def test_the_share_below_is_the_one_of_scipy(alpha: float, beta: float, x: float) -> None:
    """The function that is inverted; closer to one a rounding of `x` alone may move the share by more than that."""
    assert beta_share_below(x, alpha, beta) == pytest.approx(float(betainc(alpha, beta, x)), abs=1e-9)


@pytest.mark.parametrize(("share", "alpha", "beta"), [(-0.1, 1, 1), (1.1, 1, 1), (0.5, 0, 1), (0.5, 1, -1)])
def test_what_is_no_beta_is_refused(share: float, alpha: float, beta: float) -> None:
    """Parameters are positive and shares between 0 and 1."""
    with pytest.raises(ValueError, match="Beta"):
        beta_quantile(share, alpha, beta)
