"""A key's plan and entitlement decide which calls are sent, from the settings to the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import httpx
import pytest

from mdagent_mcp.app import open_app
from mdagent_mcp.config.loading import load
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.testing import ManualClock
from story.simulated_world import turning
from transport.invented_vendor import Handler, Web

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
FIFTY = tuple(f"A{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(50))
STOCKS = "/v2/snapshot/locale/us/markets/stocks/tickers"
GROUPED = "/v2/aggs/grouped/locale/us/market/stocks"


def empty(_request: httpx.Request) -> httpx.Response:
    """A web that knows nothing."""
    return httpx.Response(200, content=b'{"status":"OK","results":[]}')


async def sent(environ: Mapping[str, str], source: str, *symbols: str, web: Handler = empty) -> list[httpx.Request]:
    """What one source is asked for prices."""
    answering, clock = Web(web), ManualClock(NOON)
    settings = load(environ).settings
    async with open_app(settings, clock=clock, data_dir=None, open_transport=lambda _: answering) as app:
        question = QuoteQuestion(tuple(map(parse_symbol, symbols)), sources=(source,))
        await turning(clock, lambda: app.quotes(question))
    return answering.requests


@pytest.mark.parametrize(
    ("plan", "one", "many"),
    [
        (None, "/v2/aggs/ticker/AAPL/prev", f"{GROUPED}/2026-11-23"),
        ("free", "/v2/aggs/ticker/AAPL/prev", f"{GROUPED}/2026-11-23"),
        ("basic", "/v2/aggs/ticker/AAPL/prev", f"{GROUPED}/2026-11-23"),
        ("starter", f"{STOCKS}/AAPL", "/v3/snapshot"),
        ("developer", f"{STOCKS}/AAPL", "/v3/snapshot"),
        ("advanced", f"{STOCKS}/AAPL", "/v3/snapshot"),
    ],
)
async def test_polygon_is_asked_what_its_plan_includes(plan: str | None, one: str, many: str) -> None:
    """Snapshots on paid plans, closes of days on the free one; fifty symbols are one call on all of them."""
    environ = {"MASSIVE_API_KEY": "k3y"} | ({} if plan is None else {"MDAGENT_SOURCES__POLYGON__PLAN": plan})
    (request,) = await sent(environ, "polygon", "AAPL")
    assert (request.url.host, request.url.path, request.headers["Authorization"]) == (
        "api.massive.com",
        one,
        "Bearer k3y",
    )
    (request,) = await sent(environ, "polygon", *FIFTY)
    assert request.url.path == many
    assert "k3y" not in str(request.url)


async def test_polygons_old_host_is_asked_when_the_new_one_cannot_be_reached() -> None:
    """With the same key in the same place."""

    def only_old(request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.massive.com":
            raise httpx.ConnectError("no route")
        return empty(request)

    requests = await sent({"POLYGON_API_KEY": "k3y"}, "polygon", "AAPL", web=only_old)
    assert {(r.url.host, r.headers["Authorization"]) for r in requests} == {
        ("api.massive.com", "Bearer k3y"),
        ("api.polygon.io", "Bearer k3y"),
    }


async def test_a_free_key_asks_for_no_day_before_it_is_over() -> None:
    """The series ends yesterday."""
    web, clock = Web(empty), ManualClock(NOON)
    settings = load({"POLYGON_API_KEY": "k3y"}).settings
    days = (date(2026, 11, 2), date(2026, 11, 24))
    async with open_app(settings, clock=clock, data_dir=None, open_transport=lambda _: web) as app:
        question = HistoryQuestion(
            parse_symbol("AAPL"), Interval.DAY_1, *days, adjustment=Adjustment.SPLITS, sources=("polygon",)
        )
        await turning(clock, lambda: app.history(question))
    assert [r.url.path for r in web.requests] == ["/v2/aggs/ticker/AAPL/range/1/day/2026-11-02/2026-11-23"]


def functions(requests: list[httpx.Request]) -> list[tuple[str, str | None]]:
    """The functions that were called and the entitlement they named."""
    return [(r.url.params["function"], r.url.params.get("entitlement")) for r in requests]


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({"PLAN": "premium_1200"}, [("GLOBAL_QUOTE", None)] * 3),
        ({"PLAN": "premium_1200", "ENTITLEMENT": "delayed"}, [("GLOBAL_QUOTE", "delayed")] * 3),
        ({"PLAN": "premium_1200", "ENTITLEMENT": "realtime"}, [("REALTIME_BULK_QUOTES", "realtime")]),
        ({"PLAN": "free", "ENTITLEMENT": "realtime"}, [("GLOBAL_QUOTE", "realtime")]),
    ],
)
async def test_alpha_vantage_is_asked_what_its_key_was_cleared_for(
    settings: dict[str, str], calls: list[tuple[str, str | None]]
) -> None:
    """Real-time prices come in bulk on paid plans; the free one has no bulk and little else."""
    environ = {f"MDAGENT_SOURCES__ALPHA_VANTAGE__{name}": value for name, value in settings.items()}
    requests = await sent(environ | {"ALPHAVANTAGE_API_KEY": "k3y"}, "alpha_vantage", "AAPL", "MSFT", "NVDA")
    assert functions(requests)[: len(calls)] == calls


@pytest.mark.parametrize(("entitlement", "delay_s"), [(None, 86400.0), ("delayed", 900.0), ("realtime", 0.0)])
async def test_an_entitlement_changes_the_declared_delay(entitlement: str | None, delay_s: float) -> None:
    """Without one a price is of the day before."""
    environ = {"ALPHAVANTAGE_API_KEY": "k3y", "MDAGENT_SOURCES__ALPHA_VANTAGE__PLAN": "premium_75"}
    if entitlement is not None:
        environ["MDAGENT_SOURCES__ALPHA_VANTAGE__ENTITLEMENT"] = entitlement
    async with open_app(load(environ).settings, clock=ManualClock(NOON), data_dir=None) as app:
        source = app._parts.sources["alpha_vantage"]
    assert source.declared_delay_s == delay_s
