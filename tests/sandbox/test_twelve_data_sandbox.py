"""Twelve Data in the sandbox: credits, batches, plans, refusals, and the shapes of the recordings."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, SourceError
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import Reply
from mdagent_mcp.sandbox.server import Sandbox
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.vendors.twelve_data import TWELVE_DATA
from sandbox.loopback import CLOSED, OPEN, POST, PRE, RECORDINGS, Loopback, in_process_at, in_process_on
from sandbox.own_reading import OwnReader, threaded_sandbox

BASE = "/twelve_data"
EIGHT = "AAPL,MSFT,KO,F,T,BA,GE,IBM"
OPENS = int(datetime(2026, 11, 24, 14, 30, tzinfo=UTC).timestamp())
recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="no vendor recordings beside the project (../shared/recordings)"
)


async def ask(loopback: Loopback, path: str, key: str = "ultra") -> Any:
    """The JSON of a call with a key."""
    return (await loopback.get(f"{BASE}{path}", Authorization=f"apikey {key}")).json()


def cost_of(reply: httpx.Response) -> tuple[int, str, str]:
    """Status, credits used and credits left."""
    return reply.status_code, reply.headers["api-credits-used"], reply.headers["api-credits-left"]


async def test_a_call_costs_a_credit_for_every_symbol_that_is_answered() -> None:
    """Unknown symbols and refusals cost none; the headers always add up to the plan's limit."""
    paths = ["/price?symbol=AAPL", "/quote?symbol=AAPL,ZZZZ,BTC/USD", "/quote?symbol=ZZZZ", "/price?symbol="]
    async with in_process_at(OPEN) as loopback:
        told = [cost_of(await loopback.get(f"{BASE}{path}&apikey=k")) for path in paths]
        other = cost_of(await loopback.get(f"{BASE}/price?symbol=AAPL&apikey=other"))
    assert told == [(200, "1", "7"), (200, "3", "5"), (400, "3", "5"), (400, "3", "5")]
    assert other == (200, "1", "7")


async def test_the_ninth_credit_of_a_minute_is_refused_until_the_next_minute() -> None:
    """In the vendor's words; the refusal itself is free."""
    clock = ManualClock(OPEN)
    async with in_process_on(clock) as loopback:
        path = f"{BASE}/price?symbol=AAPL&apikey=k"
        full = await loopback.get(f"{BASE}/price?symbol={EIGHT}&apikey=k")
        refused = await loopback.get(path)
        await clock.advance(48.0)
        late = await loopback.get(path)
        await clock.advance(1.0)
        anew = await loopback.get(path)
    assert [cost_of(reply) for reply in (full, refused, late, anew)] == [
        (200, "8", "0"),
        (429, "8", "0"),
        (429, "8", "0"),
        (200, "1", "7"),
    ]
    assert refused.json() == {
        "code": 429,
        "message": (
            "You have run out of API credits for the current minute. 9 API credits were used, with the current limit "
            "being 8. Wait for the next minute or consider switching to a higher tier plan at "
            "https://twelvedata.com/pricing"
        ),
        "status": "error",
    }


async def test_a_batch_that_outruns_the_credits_is_answered_in_part() -> None:
    """What comes first in the list is told, the rest is refused item by item."""
    async with in_process_at(OPEN) as loopback:
        await ask(loopback, "/price?symbol=AAPL,MSFT,KO", "k")
        told = await ask(loopback, f"/price?symbol={EIGHT}", "k")
    assert {name: item.get("code") for name, item in told.items()} == {
        **dict.fromkeys(("AAPL", "MSFT", "KO", "F", "T")),
        **dict.fromkeys(("BA", "GE", "IBM"), 429),
    }


async def test_eight_hundred_credits_are_a_day_which_ends_at_midnight_in_utc() -> None:
    """Also when the minute would have room."""
    clock = ManualClock(datetime(2026, 11, 24, 22, 15, tzinfo=UTC), settle_rounds=1)
    async with in_process_on(clock) as loopback:
        for _ in range(100):
            await ask(loopback, f"/price?symbol={EIGHT}", "k")
            await clock.advance(60.0)
        spent = await loopback.get(f"{BASE}/price?symbol=AAPL&apikey=k")
        await clock.advance(240.0)
        before = await loopback.get(f"{BASE}/price?symbol=AAPL&apikey=k")
        await clock.advance(60.0)
        after = await loopback.get(f"{BASE}/price?symbol=AAPL&apikey=k")
        usage = await ask(loopback, "/api_usage", "k")
    assert (spent.status_code, before.status_code, after.status_code) == (429, 429, 200)
    assert "for the day. 801 API credits were used, with the current limit being 800." in spent.json()["message"]
    with pytest.raises(SourceError) as read:
        refuse_errors(TWELVE_DATA, Reply(spent.status_code, spent.headers, spent.content, OPEN))
    assert read.value.kind is FailureKind.QUOTA_EXHAUSTED
    assert usage == {
        "timestamp": "2026-11-25 00:00:00",
        "current_usage": 2,
        "plan_limit": 8,
        "daily_usage": 2,
        "plan_daily_limit": 800,
        "plan_category": "basic",
    }


@pytest.mark.parametrize(("key", "limit"), [("k", 8), ("grow1", 377), ("pro1", 1597), ("ultra1", 10_946)])
async def test_the_plan_is_told_by_the_key(key: str, limit: int) -> None:
    """Only Basic has a daily cap."""
    async with in_process_at(OPEN) as loopback:
        usage = await ask(loopback, "/api_usage", key)
    assert (usage["plan_limit"], "plan_daily_limit" in usage) == (limit, key == "k")


async def test_the_key_comes_in_the_header_or_in_the_query() -> None:
    """Without one, or with a bad one: 401 before anything is counted."""
    async with in_process_at(OPEN) as loopback:
        path = f"{BASE}/price?symbol=AAPL"
        header = await loopback.get(path, Authorization="apikey k")
        query = await loopback.get(f"{path}&apikey=k")
        scheme = await loopback.get(path, Authorization="Bearer k")
        bad = await loopback.get(f"{path}&apikey=invalid")
    assert [reply.status_code for reply in (header, query, scheme, bad)] == [200, 200, 401, 401]
    assert (bad.json()["code"], bad.json()["status"]) == (401, "error")
    assert query.headers["api-credits-used"] == "2"


async def test_several_symbols_are_keyed_as_they_were_written_and_one_is_not() -> None:
    """A list of one is one; a repeated symbol counts once; the header says what it is."""
    async with in_process_at(OPEN) as loopback:
        batch = await loopback.get(f"{BASE}/quote?symbol=aapl,BRK.B,AAPL:NASDAQ,BTC/USD,aapl&apikey=ultra")
        single = await loopback.get(f"{BASE}/quote?symbol=AAPL,&apikey=ultra")
    assert batch.headers["is_batch"] == "true"
    assert {name: item["symbol"] for name, item in batch.json().items()} == {
        "aapl": "AAPL",
        "BRK.B": "BRK.B",
        "AAPL:NASDAQ": "AAPL",
        "BTC/USD": "BTC/USD",
    }
    assert ("is_batch" in single.headers, single.json()["symbol"]) == (False, "AAPL")


@pytest.mark.parametrize(
    ("path", "key", "code", "text"),
    [
        ("/quote?symbol=ZZZZ", "k", 400, "**symbol** not found: ZZZZ"),
        ("/quote?symbol=^GSPC", "ultra", 400, "not found"),
        ("/quote?symbol=NKLA", "k", 400, "not found"),
        ("/quote?symbol=VOD", "ultra", 400, "not found"),
        ("/quote?symbol=AAPL:NYSE", "ultra", 400, "not found"),
        ("/quote?symbol=BTC-USD", "ultra", 400, "not found"),
        ("/quote?symbol=AAPL&prepost=true", "k", 403, "Pro plan"),
        ("/quote?symbol=VOD&exchange=LSE", "k", 403, "This symbol is available starting with"),
        ("/quote", "k", 400, "**symbol**"),
        (f"/price?symbol={','.join(f'SIM{n:03}' for n in range(121))}", "ultra", 414, "120"),
        ("/time_series?symbol=AAPL&interval=3min", "k", 400, "Supported intervals: 1min"),
        ("/time_series?symbol=AAPL&interval=1day&outputsize=5001", "k", 400, "**outputsize**"),
        ("/time_series?symbol=AAPL&interval=1day&adjust=some", "k", 400, "**adjust**"),
        ("/time_series?symbol=AAPL&interval=1day&timezone=Moon", "k", 400, "**timezone**"),
        ("/time_series?symbol=AAPL&interval=1day&start_date=soon", "k", 400, "**start_date**"),
        ("/time_series?symbol=AAPL&interval=1day&order=up", "k", 400, "**order**"),
        ("/time_series?symbol=AAPL&interval=1day&start_date=2031-01-01", "k", 400, "No data is available"),
        ("/exchange_rate?symbol=AAPL", "k", 400, "no pair"),
    ],
)
async def test_errors_have_their_code_as_status_and_in_the_body(path: str, key: str, code: int, text: str) -> None:
    """In the vendor's envelope."""
    async with in_process_at(OPEN) as loopback:
        reply = await loopback.get(f"{BASE}{path}", Authorization=f"apikey {key}")
    body = reply.json()
    assert (reply.status_code, body["code"], body["status"]) == (code, code, "error")
    assert text in body["message"]


async def test_an_unknown_path_is_plain_text() -> None:
    """As recorded by those who met it."""
    async with in_process_at(OPEN) as loopback:
        reply = await loopback.get(f"{BASE}/quotes/AAPL?apikey=k")
    assert (reply.status_code, reply.text) == (404, "404 page not found")


async def test_a_quote_tells_the_regular_session_and_its_last_minute() -> None:
    """Open or not, the day, and when a minute last traded."""
    shown = []
    for instant in (PRE, OPEN, POST, CLOSED):
        async with in_process_at(instant) as loopback:
            told = await ask(loopback, "/quote?symbol=AAPL", "k")
        stamp = datetime.fromtimestamp(told["last_quote_at"], UTC)
        shown.append((told["is_market_open"], told["datetime"], f"{stamp:%d %H:%M:%S}"))
    assert shown == [
        (False, "2026-11-23", "23 20:59:00"),
        (True, "2026-11-24", "24 15:04:00"),
        (False, "2026-11-24", "24 20:59:00"),
        (False, "2026-11-20", "20 20:59:00"),
    ]


def test_our_connector_takes_the_last_minute_of_a_finished_session_for_its_official_close() -> None:
    """To the cent, though the stamp is a minute early."""
    with threaded_sandbox(CLOSED) as sandbox:
        quote = OwnReader(sandbox, TWELVE_DATA, "k", CLOSED).quote("AAPL")
        (friday,) = sandbox.market.daily_bars("AAPL", date(2026, 11, 20), date(2026, 11, 20))
    assert (quote.session, round(quote.price, 2)) == (Session.CLOSED, friday.close)
    assert quote.event_time == datetime(2026, 11, 20, 20, 59, tzinfo=UTC)


async def test_prices_outside_regular_hours_are_for_pro_keys() -> None:
    """Beside the regular close, which stays the `close`."""
    async with in_process_at(POST) as loopback:
        plain = await ask(loopback, "/quote?symbol=AAPL", "pro")
        told = await ask(loopback, "/quote?symbol=AAPL&prepost=true", "pro")
        bars = await ask(loopback, "/time_series?symbol=AAPL&interval=5min&prepost=true&outputsize=400", "pro")
        seen = loopback.truth("twelve_data", "AAPL")
    assert seen.extended is not None
    assert told["close"] == plain["close"] == f"{told['close']}"
    assert round(float(told["extended_price"]), 2) == seen.extended.price
    assert told["extended_timestamp"] == int(seen.extended.event_time.timestamp())
    assert {"extended_price", "extended_change"} & set(plain) == set()
    hours = {row["datetime"][11:13] for row in bars["values"] if row["datetime"].startswith("2026-11-24")}
    assert {"04", "09", "16", "17"} <= hours


INTERVALS = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "45min": 45, "1h": 60, "2h": 120, "4h": 240}


@pytest.mark.parametrize(("interval", "minutes"), INTERVALS.items())
async def test_intraday_bars_start_with_the_session(interval: str, minutes: int) -> None:
    """And follow each other at their length, whatever it is."""
    async with in_process_at(POST) as loopback:
        query = f"symbol=KO&interval={interval}&start_date=2026-11-24&order=asc"
        told = await ask(loopback, f"/time_series?{query}")
    stamps = [datetime.fromisoformat(row["datetime"]) for row in told["values"]]
    opened = datetime(2026, 11, 24, 9, 30)  # noqa: DTZ001 - the exchange's own time, without offset
    assert stamps == [opened + n * timedelta(minutes=minutes) for n in range(-(-390 // minutes))]
    assert told["meta"]["interval"] == interval


async def test_a_series_ends_with_the_bar_that_is_still_running() -> None:
    """Thirty rows by default, newest first; all there are when a date is given."""
    async with in_process_at(OPEN) as loopback:
        plain = await ask(loopback, "/time_series?symbol=KO&interval=1day")
        dated = await ask(loopback, "/time_series?symbol=KO&interval=1day&start_date=2026-01-01&end_date=2026-11-20")
        quote = await ask(loopback, "/quote?symbol=KO")
        week = (await ask(loopback, "/time_series?symbol=KO&interval=1week&outputsize=2"))["values"]
        month = (await ask(loopback, "/time_series?symbol=KO&interval=1month&outputsize=1"))["values"]
    rows = plain["values"]
    assert (len(rows), rows[0]["datetime"], rows[1]["datetime"]) == (30, "2026-11-24", "2026-11-23")
    assert {name: rows[0][name] for name in ("open", "high", "low", "close", "volume")} == {
        name: quote[name] for name in ("open", "high", "low", "close", "volume")
    }
    assert (dated["values"][0]["datetime"], dated["values"][-1]["datetime"]) == ("2026-11-20", "2026-01-02")
    assert [row["datetime"] for row in week] == ["2026-11-23", "2026-11-16"]
    assert (month[0]["datetime"], month[0]["close"]) == ("2026-11-01", rows[0]["close"])


async def test_the_exchanges_open_and_close() -> None:
    """With the time it takes."""
    async with in_process_at(OPEN) as loopback:
        (nyse,) = await ask(loopback, "/market_state?exchange=NYSE", "k")
    async with in_process_at(CLOSED) as loopback:
        (closed,) = await ask(loopback, "/market_state?code=XNYS", "k")
    assert nyse == {
        "name": "NYSE",
        "code": "XNYS",
        "country": "United States",
        "is_market_open": True,
        "time_after_open": "00:34:11",
        "time_to_open": "00:00:00",
        "time_to_close": "05:55:48",
    }
    assert (closed["is_market_open"], closed["time_to_open"]) == (False, "41:04:10")


async def test_a_search_finds_symbols_and_names() -> None:
    """Symbols first; nothing that is not carried."""
    async with in_process_at(OPEN) as loopback:
        told = await ask(loopback, "/symbol_search?symbol=v&outputsize=3", "k")
        none = await ask(loopback, "/symbol_search?symbol=nikola", "k")
    assert [row["symbol"] for row in told["data"]] == ["V", "VZ", "VTI"]
    assert none == {"data": [], "status": "ok"}


FIFTY = tuple(f"SIM{n:03}" for n in range(50))


def quote_calls(sandbox: Sandbox) -> int:
    """Calls of `/quote` by the sandbox's own counter."""
    counted: dict[str, dict[str, int]] = httpx.get(f"{sandbox.base_url}/sandbox/calls").json()
    return counted["twelve_data"].get("/quote", 0)


@pytest.mark.parametrize("plan", ["grow", "pro", "ultra"])
def test_fifty_symbols_are_one_call_on_a_paid_plan(plan: str) -> None:
    """ceil(50 / 120)."""
    with threaded_sandbox(OPEN) as sandbox:
        reader = OwnReader(sandbox, TWELVE_DATA, f"{plan}-key", OPEN, TWELVE_DATA.plans[plan].quotas)
        outcomes = reader.quotes(*FIFTY)
        calls = quote_calls(sandbox)
    assert (len(outcomes), calls) == (50, 1)
    assert all(isinstance(outcome, Answered) for outcome in outcomes.values())


def test_fifty_symbols_are_more_than_a_free_key_can_pay_for() -> None:
    """Eight of them cost one call; our own limit keeps the others from being asked in vain."""
    with threaded_sandbox(OPEN) as sandbox:
        outcomes = OwnReader(sandbox, TWELVE_DATA, "k", OPEN, TWELVE_DATA.plans["basic"].quotas).quotes(*FIFTY)
        calls = quote_calls(sandbox)
    answered = [symbol for symbol, outcome in outcomes.items() if isinstance(outcome, Answered)]
    refused = {outcome.kind for outcome in outcomes.values() if isinstance(outcome, Failure)}
    assert (answered, refused, calls) == (list(FIFTY[:8]), {FailureKind.THROTTLED}, 1)


async def test_strange_questions_are_answered_without_a_server_error() -> None:
    """Refusals or bounded answers, never a 500."""
    paths = [
        "/quote?symbol=%00%F0%9F%98%80",
        f"/quote?symbol={'A' * 500}",
        "/quote?symbol=,,,",
        "/quote?symbol=/",
        "/quote?symbol=:NASDAQ",
        "/time_series?symbol=AAPL&interval=1min&start_date=0001-01-01&end_date=9999-12-31",
        "/time_series?symbol=AAPL&interval=1month&start_date=0001-01-01&end_date=9999-12-31&outputsize=5000",
        "/time_series?symbol=AAPL&interval=1day&end_date=1990-01-01",
        "/time_series?symbol=AAPL&interval=1day&dp=-9",
        "/time_series?symbol=AAPL&interval=1day&timezone=../etc",
        "/time_series?symbol=AAPL&interval=1min&date=x&format=CSV&delimiter=",
        "/eod?symbol=AAPL&date=2009-01-01",
        "/eod?symbol=AAPL&date=x",
        "/currency_conversion?symbol=EUR/USD&amount=x",
        "/symbol_search?outputsize=-3",
    ]
    async with in_process_at(OPEN) as loopback:
        statuses = [(await loopback.get(f"{BASE}{path}", Authorization="apikey ultra")).status_code for path in paths]
    assert statuses == [400, 400, 400, 400, 400, 200, 200, 400, 400, 400, 200, 400, 400, 400, 200]


def recorded(name: str) -> Any:
    """The body of a recording."""
    return json.loads((RECORDINGS / "twelvedata" / name).read_text(encoding="utf-8"))


def kinds(row: dict[str, Any]) -> dict[str, Any]:
    """The kind of every member: what is text must stay text."""
    return {name: kinds(value) if isinstance(value, dict) else type(value).__name__ for name, value in row.items()}


@recordings
async def test_replies_are_shaped_as_recorded() -> None:
    """The same members of the same kinds; `last_quote_at` is newer than every recording."""
    async with in_process_at(OPEN) as loopback:
        batch = await ask(loopback, "/quote?symbol=AAPL,MSFT")
        series = await ask(loopback, "/time_series?symbol=AAPL,INVALID&interval=1day&outputsize=1")
        minute = await ask(loopback, "/time_series?symbol=AAPL&interval=1min&outputsize=1")
        usage = await ask(loopback, "/api_usage", "k")
        converted = await ask(loopback, "/currency_conversion?symbol=EUR/USD&amount=100")
        price = await ask(loopback, "/price?symbol=AAPL")
    real = recorded("synthetic/batch_quote_2_symbols.json")
    assert {name: kinds(item) for name, item in batch.items()} == {
        name: kinds(item) | {"last_quote_at": "int"} for name, item in real.items()
    }
    assert kinds(recorded("real/2021_quote_IBM.json")).items() <= kinds(batch["AAPL"]).items()
    assert series["INVALID"] == recorded("synthetic/batch_time_series_one_bad_symbol.json")["INVALID"]
    listed = recorded("synthetic/batch_time_series_2_symbols.json")["AAPL"]
    assert (series["AAPL"]["meta"], kinds(series["AAPL"]["values"][0])) == (listed["meta"], kinds(listed["values"][0]))
    real_minute = recorded("real_quoted/2021_time_series_1min_AAPL.json")
    assert real_minute["meta"].items() <= minute["meta"].items()
    assert (len(minute["values"][0]["datetime"]), kinds(minute["values"][0])) == (19, kinds(real_minute["values"][0]))
    assert kinds(usage) == kinds(recorded("real/2021_api_usage_basic_plan.json")) | {"plan_category": "str"}
    assert kinds(converted) == kinds(recorded("real/2025_currency_conversion.json"))
    assert kinds(price) == kinds(recorded("synthetic/post_batch_mixed.json")["p_goog"])


@recordings
async def test_prices_are_written_as_recorded() -> None:
    """Five decimals, as they come out of a 32-bit store: 146.96001 for 146.96; six in the range of the year."""
    async with in_process_at(OPEN) as loopback:
        told = await ask(loopback, "/quote?symbol=AAPL")
    real = recorded("real/2021_quote_IBM.json")
    for row in (real, told):
        numbers = [row[name] for name in ("open", "high", "low", "close", "previous_close", "change")]
        assert {len(number.partition(".")[2]) for number in numbers} == {5}
        assert {len(side.partition(".")[2]) for side in row["fifty_two_week"]["range"].split(" - ")} == {6}
