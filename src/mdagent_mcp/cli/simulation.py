"""`--sandbox`: the embedded simulated market in place of every source.

The rule of this module: a simulated price must be recognisable as one wherever it is shown, and never reaches the
memory of real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import SecretStr

from mdagent_mcp.config.settings import Settings, SourceSettings
from mdagent_mcp.domain.answers import HistoryAnswer, QuoteAnswer, QuotesAnswer, SymbolFailure
from mdagent_mcp.domain.instruments import Instrument
from mdagent_mcp.domain.plans import AskingPlan
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.domain.service import AnswerKind, MarketData, Progress
from mdagent_mcp.domain.status import Overall, SourceStatus
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.sandbox.faults import VENDORS as IMITATED
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.vendors.registry import VENDORS

NOTICE: Final = "SIMULATED market, not a real price:"
"""Begins every summary and headline."""
SANDBOX_KEY: Final = "sandbox-key"
"""Made up; the sandbox takes any key."""
_DIRECTORY: Final = "sandbox"
_REPLACED: Final[Mapping[str, Any]] = {"api_key": None, "base_url": None, "base_urls": ()}

_AnswerT = TypeVar("_AnswerT", QuoteAnswer, HistoryAnswer)


def simulated_settings(settings: Settings, sandbox: Sandbox) -> Settings:
    """The settings with every source answered by the sandbox: no key, no address and no memory of real ones is left.

    How a source is asked stays as it is set. The made-up key is one of the plan that is set. A source that the sandbox
    does not speak for is not asked, and a retired one stays retired. Simulated bars are kept on disk only when that was
    asked for.
    """
    stored = settings.cache.history_store is True
    cache = settings.cache.model_copy(update={"history_store": stored})
    shared = settings.shared.model_copy(update={"memory_url": None})
    sources = {v.id: _simulated(v, settings.source(v.id), sandbox, stored=stored) for v in VENDORS}
    return settings.model_copy(update={"sources": sources, "cache": cache, "shared": shared})


def simulated_data_directory(real: Path) -> Path:
    """Where what was learned about the simulated market is kept."""
    return real / _DIRECTORY


def is_replaced(name: str) -> bool:
    """Whether the simulated market stands in for what a setting says.

    Args:
        name: dotted.
    """
    section, _, last = name.rpartition(".")
    return name == "shared.memory_url" or (section.startswith("sources.") and last in _REPLACED)


def _simulated(vendor: Vendor, chosen: SourceSettings, sandbox: Sandbox, *, stored: bool) -> SourceSettings:
    if vendor.retirement is not None:
        return chosen.model_copy(update=_REPLACED)
    if vendor.id not in IMITATED:
        return SourceSettings.model_validate({"enabled": False})
    key = None if vendor.key is None else SecretStr(_key_of(chosen.plan))
    where = {"base_url": sandbox.url_for(vendor.id), "api_key": key}
    kept = stored if chosen.store_history is None else stored and chosen.store_history
    return chosen.model_copy(update={**_REPLACED, **where, "store_history": kept})


def _key_of(plan: str) -> str:
    """A made-up key; how it begins tells the sandbox its plan."""
    return SANDBOX_KEY if plan == "free" else f"{plan.replace('_', '')}-{SANDBOX_KEY}"


class SimulatedMarketData:
    """A `MarketData` whose answers say that they are simulated.

    Args:
        service: the engine over the sandbox.
    """

    def __init__(self, service: MarketData) -> None:
        self._service = service

    @property
    def source_ids(self) -> tuple[str, ...]:
        """The ids of all sources, in listing order."""
        return self._service.source_ids

    async def quotes(self, question: QuoteQuestion, progress: Progress | None = None) -> QuotesAnswer:
        """Simulated prices."""
        answer = await self._service.quotes(question, progress)
        return replace(answer, quotes=tuple(_marked(quote) for quote in answer.quotes))

    async def history(
        self, question: HistoryQuestion, progress: Progress | None = None
    ) -> HistoryAnswer | SymbolFailure:
        """Simulated bars."""
        answer = await self._service.history(question, progress)
        return _marked(answer) if isinstance(answer, HistoryAnswer) else answer

    async def source_status(self, source: str | None = None) -> tuple[tuple[SourceStatus, ...], Overall]:
        """What the simulated sources are doing."""
        statuses, overall = await self._service.source_status(source)
        return tuple(replace(status, title=f"{status.title} (simulated)") for status in statuses), overall

    async def explain_evidence(self, evidence_id: str) -> QuoteAnswer | HistoryAnswer | None:
        """The kept answer behind an evidence id."""
        return _kept(await self._service.explain_evidence(evidence_id))

    def known_symbols(self) -> tuple[str, ...]:
        """Symbols that earlier answers were about, the latest first."""
        return self._service.known_symbols()

    async def explain_symbol(self, instrument: Instrument, kind: AnswerKind) -> QuoteAnswer | HistoryAnswer | None:
        """The latest kept answer of this kind."""
        return _kept(await self._service.explain_symbol(instrument, kind))

    async def memory_graph(self) -> Mapping[str, Any]:
        """What was learned about the simulated market."""
        return {"notice": NOTICE, **await self._service.memory_graph()}

    async def memory_of_symbol(self, instrument: Instrument) -> Mapping[str, Any] | None:
        """What was learned about one simulated instrument."""
        found = await self._service.memory_of_symbol(instrument)
        return None if found is None else {"notice": NOTICE, **found}

    async def learning(self) -> Mapping[str, Any]:
        """The figures of the latest sessions over the simulated market."""
        return {"notice": NOTICE, **await self._service.learning()}

    def plans(self) -> tuple[AskingPlan, ...]:
        """The last choices of sources."""
        return self._service.plans()


def _kept(answer: QuoteAnswer | HistoryAnswer | None) -> QuoteAnswer | HistoryAnswer | None:
    if isinstance(answer, QuoteAnswer):
        return _marked(answer)
    return None if answer is None else _marked(answer)


def _marked(answer: _AnswerT) -> _AnswerT:
    explanation = replace(answer.explanation, headline=f"{NOTICE} {answer.explanation.headline}")
    return replace(answer, summary=f"{NOTICE} {answer.summary}", explanation=explanation)
