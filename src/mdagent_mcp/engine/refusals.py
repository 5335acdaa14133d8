"""How the absence of an answer is told: one code, what happened at every source, what to do, and not to estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mdagent_mcp.domain.answers import SymbolFailure
from mdagent_mcp.domain.failures import TRAITS, Failure, FailureKind, gravest

NOT_TO_ESTIMATE: Final = "Do not estimate a price or reuse an older one."
_SHOWN_DETAIL: Final = 100


def symbol_failure(symbol: str, failures: Mapping[str, Failure]) -> SymbolFailure:
    """The failure of one symbol from what every source said.

    The gravest kind names it, so that an outage is never told as an unknown symbol; but two or more sources that do
    not know the symbol outweigh fewer that could not be asked.
    """
    worst = _naming(tuple(failures.values()))
    if worst is None:
        return SymbolFailure(
            symbol,
            FailureKind.UNSUPPORTED,
            f"{symbol}: no source is enabled that could be asked. {NOT_TO_ESTIMATE}",
            "Enable a source, or set a key; see source_status.",
            {},
        )
    traits = TRAITS[worst.kind]
    waits = [f.retry_after_s for f in failures.values() if f.retry_after_s is not None]
    told = "; ".join(f"{source}: {_told(failure)}" for source, failure in sorted(failures.items()))
    return SymbolFailure(
        symbol,
        worst.kind,
        f"{symbol}: {traits.meaning} ({told}) {NOT_TO_ESTIMATE}",
        traits.hint,
        {source: failure.kind for source, failure in sorted(failures.items())},
        round(min(waits), 1) if waits else None,
    )


def _naming(failures: tuple[Failure, ...]) -> Failure | None:
    unknown = [f for f in failures if f.kind is FailureKind.UNKNOWN_SYMBOL]
    silent = [f for f in failures if TRAITS[f.kind].precedence > TRAITS[FailureKind.UNKNOWN_SYMBOL].precedence]
    return unknown[0] if len(unknown) >= 2 and len(unknown) > len(silent) else gravest(failures)


def reasons(failures: Mapping[str, Failure]) -> dict[str, str]:
    """What every failed source said, for an explanation."""
    return {source: _told(failure) for source, failure in sorted(failures.items())}


def _told(failure: Failure) -> str:
    detail = failure.detail
    if len(detail) > _SHOWN_DETAIL:
        # A vendor's words stay quoted where they are cut.
        detail = detail[: _SHOWN_DETAIL - 2] + ('…"' if detail.endswith('"') else "…")
    return f"{failure.kind} ({detail})" if detail else str(failure.kind)
