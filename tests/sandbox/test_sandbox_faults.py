"""Faults: how they are written, and what each looks like over real HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from mdagent_mcp.sandbox.faults import VENDORS, Fault, FaultBoard, FaultKind, Faults, InvalidFaultError, parse_fault
from sandbox.loopback import OPEN, Loopback, sandbox_at

QUOTES = {
    "yahoo": "/yahoo/v8/finance/chart/AAPL?interval=1m&range=1d",
    "nasdaq": "/nasdaq/api/quote/AAPL/info?assetclass=stocks",
    "cboe": "/cboe/api/global/delayed_quotes/quotes/AAPL.json",
    "finnhub": "/finnhub/api/v1/quote?symbol=AAPL&token=k",
    "twelve_data": "/twelve_data/quote?symbol=AAPL&apikey=k",
    "alpha_vantage": "/alpha_vantage/query?function=GLOBAL_QUOTE&symbol=AAPL&apikey=premium1200",
    "tiingo": "/tiingo/iex/AAPL?token=k",
    "polygon": "/polygon/v2/snapshot/locale/us/markets/stocks/tickers/AAPL?apiKey=advanced",
    "iex_cloud": "/iex_cloud/stable/stock/AAPL/quote?token=k",
}
REFUSALS = {
    "yahoo": "Too Many Requests\r\n",
    "nasdaq": (
        "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1>Reference #18.0</BODY></HTML>"
    ),
    "cboe": "error code: 1015",
    "finnhub": '{"error":"API limit reached. Please try again later. Remaining Limit: 0"}',
    "twelve_data": (
        '{"code":429,"message":"You have run out of API credits for the current minute. '
        'Wait for the next minute.","status":"error"}'
    ),
    "alpha_vantage": (
        '{\n    "Information": "Thank you for using Alpha Vantage! Please consider spreading out your free API '
        "requests more sparingly (1 request per second). You may subscribe to any of the premium plans at "
        "https://www.alphavantage.co/premium/ to lift the free key rate limit (25 requests per day), raise the "
        'per-second burst limit, and instantly unlock all premium endpoints"\n}'
    ),
    "tiingo": '{"detail":"Error: You have run over your hourly request allocation."}',
    "polygon": (
        '{"status":"ERROR","request_id":"00000000000000000000000000000000","error":"You\'ve exceeded the maximum '
        'requests per minute, please wait or upgrade your subscription to continue. https://massive.com/pricing"}'
    ),
    "iex_cloud": "Too many requests",
}
REFUSED_WITH = {"alpha_vantage": 200}
"""The status of a refusal where it is not 429."""
UNKNOWN = {
    "yahoo": (404, "No data found, symbol may be delisted"),
    "nasdaq": (200, "Symbol not exists."),
    "cboe": (403, "AccessDenied"),
    "finnhub": (200, '{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}'),
    "twelve_data": (400, "**symbol** not found: AAPL."),
    "alpha_vantage": (200, '"Global Quote": {}'),
    "tiingo": (200, "[]"),
    "polygon": (404, "Ticker not found."),
    "iex_cloud": (404, "Unknown symbol"),
}
vendors = pytest.mark.parametrize("vendor", list(QUOTES))


def price_in(vendor: str, body: Any) -> float:
    """The regular price of a quote reply."""
    if vendor == "yahoo":
        return float(body["chart"]["result"][0]["meta"]["regularMarketPrice"])
    if vendor == "nasdaq":
        return float(body["data"]["primaryData"]["lastSalePrice"].replace("$", "").replace(",", ""))
    if vendor == "polygon":
        return float(body["ticker"]["lastTrade"]["p"])
    found = {"cboe": "close", "finnhub": "c", "twelve_data": "close", "alpha_vantage": "05. price"}
    found |= {"tiingo": "tngoLast", "iex_cloud": "latestPrice"}
    return float(_find(body, found[vendor]))


async def price(loopback: Loopback, vendor: str) -> float:
    """The price that a vendor quotes for AAPL now."""
    return price_in(vendor, await loopback.json(QUOTES[vendor]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("yahoo=throttle", Fault(vendor="yahoo", kind=FaultKind.THROTTLE)),
        ("yahoo=throttle:2m", Fault(vendor="yahoo", kind=FaultKind.THROTTLE, amount=120)),
        ("cboe=unit:100", Fault(vendor="cboe", kind=FaultKind.UNIT, amount=100)),
        ("finnhub=delay:1.5", Fault(vendor="finnhub", kind=FaultKind.DELAY, amount=1.5)),
        ("nasdaq=stale:3d,lying", Fault(vendor="nasdaq", kind=FaultKind.STALE, amount=259_200, lying=True)),
        ("all=server_error", Fault(vendor="all", kind=FaultKind.SERVER_ERROR, amount=503)),
        ("yahoo=malformed:html", Fault(vendor="yahoo", kind=FaultKind.MALFORMED, word="html")),
        (
            "nasdaq=wrong_symbol:msft,symbols=AAPL+BRK-B,first=3,chance=0.5",
            Fault(
                vendor="nasdaq",
                kind=FaultKind.WRONG_SYMBOL,
                word="MSFT",
                symbols=frozenset({"AAPL", "BRK.B"}),
                first=3,
                chance=0.5,
            ),
        ),
    ],
)
def test_a_fault_is_written_as_a_short_text(text: str, fault: Fault) -> None:
    """Vendor, kind, value and options are read; the text itself is kept."""
    read = parse_fault(f" {text} ")
    assert read.text == text
    assert Fault(**{name: getattr(read, name) for name in Fault.__slots__ if name != "text"}) == fault


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("throttle", "write it like"),
        ("stooq=throttle", f"unknown vendor; one of {', '.join(VENDORS)}, all"),
        ("yahoo=explode", "unknown kind; one of delay, stale"),
        ("yahoo=delay", "delay needs a value, as in finnhub=delay:1.5"),
        ("yahoo=hang:3", "hang takes no value"),
        ("yahoo=delay:soon", "'soon' is no span of time"),
        ("yahoo=stale:99999d", "no longer than ten years"),
        ("yahoo=unit:nan", "nan must be above 0"),
        ("yahoo=unit:ten", "'ten' is no number"),
        ("yahoo=server_error:404", "must be above 499"),
        ("yahoo=server_error:500.5", "whole number from 500 to 599"),
        ("yahoo=malformed:xml", "malformed stands alone or as malformed:html"),
        ("yahoo=wrong_symbol:!", "is not a symbol"),
        ("yahoo=throttle,lying", "'lying' is no option of throttle"),
        ("yahoo=hang,first=0", "'first=0' is no option"),
        ("yahoo=hang,chance=2", "2 must be above 0 and at most 1"),
        ("yahoo=hang,symbols=", "'symbols=' is no option"),
    ],
)
def test_a_wrong_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    """The error names the text and says what would be right."""
    with pytest.raises(InvalidFaultError) as caught:
        parse_fault(text)
    assert f"fault '{text}'" in str(caught.value)
    assert reason in str(caught.value)


def test_a_chance_is_drawn_from_the_seed() -> None:
    """The same board hits the same calls again; about a fifth of them."""
    faults = Faults.parse(["yahoo=hang,chance=0.2"])
    boards = [FaultBoard(faults, seed=5), FaultBoard(faults, seed=5)]
    first, second = ([bool(board.draw("yahoo", ())) for _ in range(1000)] for board in boards)
    assert first == second
    assert 150 < sum(first) < 250


def test_a_limited_fault_counts_only_the_calls_it_concerns() -> None:
    """`first` and `symbols` together: other vendors and symbols use nothing up."""
    board = FaultBoard(Faults.parse(["yahoo=hang,symbols=AAPL,first=2"]), seed=1)
    calls = [("cboe", "AAPL"), ("yahoo", "MSFT"), ("yahoo", "AAPL"), ("yahoo", "AAPL"), ("yahoo", "AAPL")]
    assert [bool(board.draw(vendor, (symbol,))) for vendor, symbol in calls] == [False, False, True, True, False]


@vendors
async def test_throttle_refuses_in_the_vendors_own_words(vendor: str) -> None:
    """Mostly 429, with the vendor's body; Retry-After only when the fault has a value."""
    async with sandbox_at(OPEN, f"{vendor}=throttle") as loopback:
        plain = await loopback.get(QUOTES[vendor])
        loopback.sandbox.set_faults(f"{vendor}=throttle:60")
        told = await loopback.get(QUOTES[vendor])
    status = REFUSED_WITH.get(vendor, 429)
    assert (plain.status_code, plain.text, plain.headers.get("retry-after")) == (status, REFUSALS[vendor], None)
    assert (told.status_code, told.text, told.headers["retry-after"]) == (status, REFUSALS[vendor], "60")


@vendors
async def test_server_error_has_the_status_asked_for(vendor: str) -> None:
    """503 when not said otherwise."""
    async with sandbox_at(OPEN, f"{vendor}=server_error") as loopback:
        usual = await loopback.get(QUOTES[vendor])
        loopback.sandbox.set_faults(f"{vendor}=server_error:502")
        chosen = await loopback.get(QUOTES[vendor])
    assert (usual.status_code, chosen.status_code) == (503, 502)


@vendors
async def test_malformed_is_half_a_reply_or_a_page(vendor: str) -> None:
    """Status 200, but no JSON."""
    async with sandbox_at(OPEN) as loopback:
        whole = (await loopback.get(QUOTES[vendor])).content
        loopback.sandbox.set_faults(f"{vendor}=malformed")
        half = await loopback.get(QUOTES[vendor])
        loopback.sandbox.set_faults(f"{vendor}=malformed:html")
        page = await loopback.get(QUOTES[vendor])
    assert (half.status_code, half.content) == (200, whole[: len(whole) // 2])
    assert page.headers["content-type"].startswith("text/html")
    with pytest.raises(json.JSONDecodeError):
        page.json()


@vendors
async def test_missing_is_told_as_an_unknown_symbol(vendor: str) -> None:
    """Each vendor has its own way not to know a symbol."""
    async with sandbox_at(OPEN, f"{vendor}=missing,symbols=AAPL") as loopback:
        reply = await loopback.get(QUOTES[vendor])
        other = await loopback.get(QUOTES[vendor].replace("AAPL", "MSFT"))
    status, text = UNKNOWN[vendor]
    assert reply.status_code == status
    assert text in reply.text
    assert price_in(vendor, other.json()) > 0


@vendors
async def test_unit_multiplies_every_price(vendor: str) -> None:
    """A hundredfold price, for the symbol concerned."""
    async with sandbox_at(OPEN) as loopback:
        right = await price(loopback, vendor)
        loopback.sandbox.set_faults(f"{vendor}=unit:100,symbols=AAPL")
        wrong = await price(loopback, vendor)
    assert wrong == pytest.approx(100 * right)


@pytest.mark.parametrize(
    "path",
    [
        "/polygon/v2/aggs/grouped/locale/us/market/stocks/2026-11-23?apiKey=advanced",
        "/polygon/v2/snapshot/locale/us/markets/stocks/tickers?apiKey=advanced",
        "/tiingo/iex?token=k",
    ],
)
async def test_a_fault_of_one_symbol_hits_it_in_an_answer_about_the_whole_market(path: str) -> None:
    """The others are as they were."""
    async with sandbox_at(OPEN) as loopback:
        right = await loopback.json(path)
        loopback.sandbox.set_faults("all=missing,symbols=AAPL")
        wrong = await loopback.json(path)

    def named(body: Any) -> list[str]:
        rows = body if isinstance(body, list) else body.get("results", body.get("tickers"))
        return [row.get("T") or row["ticker"] for row in rows]

    assert "AAPL" in named(right)
    assert named(wrong) == [name for name in named(right) if name != "AAPL"]


@vendors
async def test_wrong_symbol_tells_about_another_company(vendor: str) -> None:
    """MSFT's price; named MSFT where the vendor names it, or AAPL when the fault lies."""
    async with sandbox_at(OPEN) as loopback:
        other = price_in(vendor, await loopback.json(QUOTES[vendor].replace("AAPL", "MSFT")))
        loopback.sandbox.set_faults(f"{vendor}=wrong_symbol:MSFT")
        honest = await loopback.json(QUOTES[vendor])
        loopback.sandbox.set_faults(f"{vendor}=wrong_symbol:MSFT,lying")
        lying = await loopback.json(QUOTES[vendor])
    assert price_in(vendor, honest) == other
    assert price_in(vendor, lying) == pytest.approx(other, rel=1e-3)  # AAPL's own skew and venue remain
    if vendor != "finnhub":
        assert ('"MSFT"' in json.dumps(honest), '"AAPL"' in json.dumps(honest)) == (True, False)
        assert ('"MSFT"' in json.dumps(lying), '"AAPL"' in json.dumps(lying)) == (False, True)


async def test_stale_tells_the_past_with_its_time_stamps() -> None:
    """Three days before Tuesday is Saturday: Friday's close, dated Friday 16:00 New York."""
    async with sandbox_at(OPEN, "finnhub=stale:3d") as loopback:
        told = await loopback.json(QUOTES["finnhub"])
        status = await loopback.json("/finnhub/api/v1/stock/market-status?exchange=US&token=k")
    friday_close = 1_795_208_400
    assert told["t"] == friday_close
    assert status["isOpen"] is True


@vendors
async def test_stale_that_lies_tells_the_past_as_if_it_were_now(vendor: str) -> None:
    """Another price than now under the time stamp of now."""
    path = {
        "yahoo": "regularMarketTime",
        "nasdaq": "lastTradeTimestamp",
        "cboe": "last_trade_time",
        "finnhub": "t",
        "twelve_data": "last_quote_at",
        "alpha_vantage": "07. latest trading day",
        "tiingo": "timestamp",
        "polygon": "updated",
        "iex_cloud": "latestUpdate",
    }
    async with sandbox_at(OPEN) as loopback:
        fresh = await loopback.json(QUOTES[vendor])
        loopback.sandbox.set_faults(f"{vendor}=stale:5d,lying")
        stale = await loopback.json(QUOTES[vendor])
    assert price_in(vendor, stale) != price_in(vendor, fresh)
    assert _find(stale, path[vendor]) == _find(fresh, path[vendor])


def _find(value: Any, name: str) -> Any:
    if not isinstance(value, dict | list):
        return None
    if isinstance(value, dict) and name in value:
        return value[name]
    members = value.values() if isinstance(value, dict) else value
    return next((found for member in members if (found := _find(member, name)) is not None), None)


@vendors
async def test_delay_makes_the_reply_late(vendor: str) -> None:
    """A reply that needs 0.4 s more than the client waits does not come; without the fault it does."""
    async with sandbox_at(OPEN, f"{vendor}=delay:0.4,first=1") as loopback:
        with pytest.raises(httpx.ReadTimeout):
            await loopback.client.get(QUOTES[vendor], timeout=0.2)
        assert (await loopback.get(QUOTES[vendor])).status_code == 200


@pytest.mark.parametrize("vendor", [vendor for vendor in QUOTES if vendor != "nasdaq"])
async def test_hang_never_answers(vendor: str) -> None:
    """The client gives up; other vendors are not touched."""
    async with sandbox_at(OPEN, f"{vendor}=hang") as loopback:
        with pytest.raises(httpx.ReadTimeout):
            await loopback.client.get(QUOTES[vendor], timeout=0.2)
        assert (await loopback.get(QUOTES["nasdaq"])).status_code == 200


async def test_faults_change_at_run_time_over_http() -> None:
    """PUT replaces them, GET lists them, a wrong list changes nothing."""
    async with sandbox_at(OPEN, "yahoo=hang") as loopback:
        put = await loopback.client.put("/sandbox/faults", json=["finnhub=throttle", "cboe=unit:100"])
        wrong = await loopback.client.put("/sandbox/faults", json=["finnhub=nonsense"])
        bare = await loopback.client.put("/sandbox/faults", content=b"{")
        number = await loopback.client.put("/sandbox/faults", json=[1])
        refused = await loopback.get(QUOTES["finnhub"])
        assert await loopback.json("/sandbox/faults") == ["finnhub=throttle", "cboe=unit:100"]
    assert (put.status_code, put.json()) == (200, ["finnhub=throttle", "cboe=unit:100"])
    assert (wrong.status_code, bare.status_code, number.status_code) == (400, 400, 400)
    assert "unknown kind" in wrong.json()["error"]
    assert refused.status_code == 429


async def test_faults_are_not_changed_through_another_host_name() -> None:
    """A page that resolves its own name to this machine cannot reach the switches."""
    async with sandbox_at(OPEN) as loopback:
        headers = {"Host": "example.test"}
        reply = await loopback.client.put("/sandbox/faults", json=["all=hang"], headers=headers)
        assert await loopback.json("/sandbox/faults") == []
    assert reply.status_code == 403
