"""Alpha Vantage in the sandbox: quotas that echo the key, end of day, entitlements, refusals with HTTP 200."""

from __future__ import annotations

import csv
import json
import random
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from mdagent_mcp.domain.events import Event
from mdagent_mcp.domain.failures import Failure, FailureKind
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.vendor import QuoteQuery
from mdagent_mcp.sandbox.app import app_of
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.http import VendorClient, host_sets
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from sandbox.loopback import CLOSED, OPEN, POST, PRE, RECORDINGS, Loopback, in_process_at, in_process_on

PAID = "premium1200"
PREMIUM = "Thank you for using Alpha Vantage! This is a premium endpoint."
SUMMER = datetime(2026, 7, 14, 15, 4, 11, tzinfo=UTC)
recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="no vendor recordings beside the project (../shared/recordings)"
)


async def get(loopback: Loopback, query: str, key: str = PAID) -> httpx.Response:
    """The reply to a query."""
    return await loopback.get(f"/alpha_vantage/query?function={query}&apikey={key}")


async def ask(loopback: Loopback, query: str, key: str = PAID) -> Any:
    """The JSON of a reply, whose status is always 200."""
    reply = await get(loopback, query, key)
    assert reply.status_code == 200
    return reply.json()


async def text_of(loopback: Loopback, query: str, key: str) -> str:
    """The label and the text of a refusal."""
    ((label, text),) = (await ask(loopback, query, key)).items()
    return f"{label}: {text}"


async def test_a_free_key_makes_one_call_a_second() -> None:
    """The refusal speaks of the day and of premium plans too, and is not counted."""
    clock = ManualClock(OPEN)
    async with in_process_on(clock) as loopback:
        told = [await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "k") for _ in range(2)]
        other = await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "other")
        await clock.advance(0.9)
        early = await text_of(loopback, "GLOBAL_QUOTE&symbol=IBM", "k")
        await clock.advance(0.1)
        later = await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "k")
    assert told[0] == other == later
    assert (early.partition(":")[0], list(told[1])) == ("Information", ["Information"])
    for words in ("1 request per second", "25 requests per day", "premium"):
        assert words in early


async def test_a_free_key_makes_25_calls_a_day_and_is_told_its_own_key() -> None:
    """Until midnight in UTC."""
    clock = ManualClock(datetime(2026, 11, 24, 23, 59, 30, tzinfo=UTC), settle_rounds=1)
    async with in_process_on(clock) as loopback:
        for _ in range(25):
            assert "Global Quote" in await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "MYKEY123")
            await clock.advance(1.0)
        spent = await text_of(loopback, "GLOBAL_QUOTE&symbol=IBM", "MYKEY123")
        await clock.advance(5.0)
        anew = await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "MYKEY123")
    assert spent.startswith(
        "Information: We have detected your API key as MYKEY123 and our standard API rate limit is 25 requests per day."
    )
    assert "Global Quote" in anew


async def test_our_connector_never_repeats_the_key_that_the_vendor_echoes() -> None:
    """Neither in the failure nor in what is told to the listeners; it knows that the day's calls are used up."""
    key, events = "MARKED-9f3a-KEY", list[Event]()
    clock = ManualClock(OPEN, settle_rounds=1)
    async with in_process_on(clock) as loopback:
        desk_app = app_of(loopback.sandbox._desk)
        client = VendorClient(
            ALPHA_VANTAGE,
            host_sets(ALPHA_VANTAGE, ["http://127.0.0.1/alpha_vantage"]),
            key,
            clock,
            lambda _: httpx.ASGITransport(desk_app),
        )
        source = Source(ALPHA_VANTAGE, SourceOptions(), client, clock=clock, emit=events.append, rng=random.Random(1))
        for _ in range(26):
            outcome = (await source.quotes((parse_symbol("IBM"),), 10.0)).answer["IBM"]
            await clock.advance(1.0)
        raw = await client.send(ALPHA_VANTAGE.quote.build(QuoteQuery((parse_symbol("IBM"),), clock.now()))[0])
        await source.aclose()
    assert isinstance(outcome, Failure)
    assert (outcome.kind, b"API key as [key removed] and" in raw.body) == (FailureKind.QUOTA_EXHAUSTED, True)
    assert "25 requests per day" in outcome.detail
    assert key not in f"{outcome}{events}{source}{client}"


@pytest.mark.parametrize(("key", "allowed"), [("premium", 5), ("premium600", 10)])
async def test_a_paid_key_has_no_daily_limit_but_a_burst_limit(key: str, allowed: int) -> None:
    """Five calls a second on the smallest plan."""
    clock = ManualClock(OPEN)
    async with in_process_on(clock) as loopback:
        told = [await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", key) for _ in range(allowed + 1)]
        for _ in range(8):
            await clock.advance(1.0)
            for _ in range(5):
                assert "Global Quote" in await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", key)
    assert ["Global Quote" in reply for reply in told] == [True] * allowed + [False]
    assert told[-1]["Information"].endswith(f"Burst pattern detected: {allowed} requests per second allowed.")


async def test_the_smallest_plan_is_75_calls_a_minute() -> None:
    """Spread evenly, the 76th is refused."""
    clock = ManualClock(OPEN, settle_rounds=1)
    told = []
    async with in_process_on(clock) as loopback:
        for _ in range(76):
            told.append("Global Quote" in await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "premium"))
            await clock.advance(0.5)
    assert told == [True] * 75 + [False]


@pytest.mark.parametrize(
    ("query", "key", "text"),
    [
        ("GLOBAL_QUOTE&symbol=IBM", "", "Error Message: the parameter apikey is invalid or missing."),
        ("GLOBAL_QUOTE&symbol=AAPL", "demo", "Information: The **demo** API key is for demo purposes only."),
        ("TIME_SERIES_DAILY_ADJUSTED&symbol=IBM", "k", f"Information: {PREMIUM}"),
        ("TIME_SERIES_INTRADAY&symbol=IBM&interval=5min", "k", f"Information: {PREMIUM}"),
        ("REALTIME_BULK_QUOTES&symbol=IBM", "k", f"Information: {PREMIUM}"),
        ("TIME_SERIES_DAILY&symbol=IBM&outputsize=full", "k", f"Information: {PREMIUM}"),
        ("GLOBAL_QUOTE&symbol=IBM&entitlement=delayed", "k", f"Information: {PREMIUM}"),
        ("GLOBAL_QUOTE&symbol=IBM&entitlement=now", PAID, "Error Message: Invalid API call."),
        ("TIME_SERIES_DAILY&symbol=ZZZZ", "k", "Error Message: Invalid API call."),
        ("TIME_SERIES_DAILY&symbol=IBM&outputsize=some", "k", "Error Message: Invalid API call."),
        ("TIME_SERIES_DAILY&symbol=^GSPC", "k", "Error Message: Invalid API call."),
        ("TIME_SERIES_INTRADAY&symbol=IBM&interval=2min", PAID, "Error Message: Invalid API call."),
        ("TIME_SERIES_INTRADAY&symbol=IBM&interval=5min&month=2031-01", PAID, "Error Message: Invalid API call."),
        ("TIME_SERIES_INTRADAY&symbol=IBM&interval=5min&month=soon", PAID, "Error Message: Invalid API call."),
        ("FX_DAILY&from_symbol=EUR&to_symbol=CHF", "k", "Error Message: Invalid API call."),
        ("CURRENCY_EXCHANGE_RATE&from_currency=EUR", "k", "Error Message: Invalid API call."),
        ("DIGITAL_CURRENCY_DAILY&symbol=EUR&market=USD", "k", "Error Message: Invalid API call."),
        ("SOMETHING&symbol=IBM", "k", "Error Message: This API function (SOMETHING) does not exist."),
    ],
)
async def test_every_refusal_has_status_200(query: str, key: str, text: str) -> None:
    """And stands under one of two labels, also when a table was asked for."""
    async with in_process_at(OPEN) as loopback:
        told = await text_of(loopback, f"{query}&datatype=csv", key)
    assert told.startswith(text)


async def test_the_demo_key_sees_its_example() -> None:
    """IBM, and nothing else."""
    async with in_process_at(OPEN) as loopback:
        told = await ask(loopback, "GLOBAL_QUOTE&symbol=IBM", "demo")
    assert told["Global Quote"]["01. symbol"] == "IBM"


async def test_without_an_entitlement_a_quote_is_the_last_official_close() -> None:
    """In trading hours yesterday's; today's from a quarter of an hour after the bell."""
    closing = datetime(2026, 11, 24, 21, 10, tzinfo=UTC)
    shown = []
    for instant in (PRE, OPEN, closing, POST, CLOSED):
        async with in_process_at(instant) as loopback:
            told = (await ask(loopback, "GLOBAL_QUOTE&symbol=AAPL", "k"))["Global Quote"]
            day = date.fromisoformat(told["07. latest trading day"])
            (bar,) = loopback.sandbox.market.daily_bars("AAPL", day, day)
        assert (float(told["05. price"]), float(told["06. volume"])) == (bar.close, bar.volume)
        shown.append(day.day)
    assert shown == [23, 23, 23, 24, 20]


async def test_an_entitlement_decorates_the_key_or_tells_the_price_of_now() -> None:
    """Delayed by exactly fifteen minutes; in real time as late as the vendor is."""
    async with in_process_at(OPEN) as loopback:
        delayed = await ask(loopback, "GLOBAL_QUOTE&symbol=AAPL&entitlement=delayed")
        live = await ask(loopback, "GLOBAL_QUOTE&symbol=AAPL&entitlement=realtime")
        market, now = loopback.sandbox.market, loopback.truth("alpha_vantage", "AAPL")
    quarter = market.snapshot("AAPL", OPEN.replace(minute=49, hour=14))
    assert {key: float(told["05. price"]) for key, told in (delayed | live).items()} == {
        "Global Quote - DATA DELAYED BY 15 MINUTES": quarter.price,
        "Global Quote": now.regular.close,
    }
    assert live["Global Quote"]["07. latest trading day"] == "2026-11-24"


async def test_a_bulk_request_drops_what_is_beyond_a_hundred() -> None:
    """Without a word, and leaves out the unknown."""
    names = ["ZZZZ", *(f"SIM{n:03}" for n in range(120))]
    async with in_process_at(POST) as loopback:
        told = await ask(loopback, f"REALTIME_BULK_QUOTES&symbol={','.join(names)}")
        seen = loopback.truth("alpha_vantage", "SIM000")
    assert [row["symbol"] for row in told["data"]] == names[1:100]
    first = told["data"][0]
    assert seen.extended is not None
    assert (float(first["close"]), float(first["extended_hours_quote"])) == (seen.regular.close, seen.extended.price)
    assert first["timestamp"].startswith("2026-11-24 17:14:")


async def test_intraday_bars_are_new_yorks_adjusted_and_extended_unless_told_otherwise() -> None:
    """A hundred of them; the newest is the last of yesterday's evening."""
    async with in_process_at(SUMMER) as loopback:
        plain = await ask(loopback, "TIME_SERIES_INTRADAY&symbol=KO&interval=60min")
        regular = await ask(loopback, "TIME_SERIES_INTRADAY&symbol=KO&interval=60min&extended_hours=false")
        raw = await ask(loopback, "TIME_SERIES_INTRADAY&symbol=KO&interval=60min&month=2026-03&adjusted=false")
        adjusted = await ask(loopback, "TIME_SERIES_INTRADAY&symbol=KO&interval=60min&month=2026-03")
        (dividend,) = loopback.sandbox.market.dividends("KO", date(2026, 4, 1), date(2026, 7, 14))
        (eve,) = loopback.sandbox.market.daily_bars("KO", date(2026, 5, 8), date(2026, 5, 8))
    rows, daytime = plain["Time Series (60min)"], regular["Time Series (60min)"]
    assert (len(rows), next(iter(rows)), plain["Meta Data"]["6. Time Zone"]) == (
        100,
        "2026-07-13 19:00:00",
        "US/Eastern",
    )
    assert (next(iter(daytime)), {stamp[11:] for stamp in daytime}) == (
        "2026-07-13 15:30:00",
        {f"{hour:02}:30:00" for hour in range(9, 16)},
    )
    assert dividend.day == date(2026, 5, 11)
    kept = 1 - dividend.amount / eve.close
    month, corrected = raw["Time Series (60min)"], adjusted["Time Series (60min)"]
    assert list(month) == list(corrected)
    assert {stamp[:7] for stamp in month} == {"2026-03"}
    for stamp, row in month.items():
        assert float(corrected[stamp]["4. close"]) == pytest.approx(float(row["4. close"]) * kept, abs=1e-4)


async def test_weeks_and_months_are_dated_by_their_last_trading_day() -> None:
    """The newest by the last day that is over; all history, on every key."""
    async with in_process_at(OPEN) as loopback:
        weeks = (await ask(loopback, "TIME_SERIES_WEEKLY&symbol=KO", "a"))["Weekly Time Series"]
        months = (await ask(loopback, "TIME_SERIES_MONTHLY_ADJUSTED&symbol=KO", "b"))["Monthly Adjusted Time Series"]
        paid = loopback.sandbox.market.dividends("KO", date(2026, 11, 1), date(2026, 11, 23))
    assert list(weeks)[:3] == ["2026-11-23", "2026-11-20", "2026-11-13"]
    assert list(months)[:3] == ["2026-11-23", "2026-10-30", "2026-09-30"]
    assert list(months)[-1].startswith("2010-01")
    assert [float(months["2026-11-23"]["7. dividend amount"])] == [dividend.amount for dividend in paid]


async def test_tables_of_text_hold_the_same_values() -> None:
    """Under the labels without their ordinals, newest first."""
    async with in_process_at(OPEN) as loopback:
        series = (await ask(loopback, "TIME_SERIES_DAILY_ADJUSTED&symbol=NVDA"))["Time Series (Daily)"]
        table = await get(loopback, "TIME_SERIES_DAILY_ADJUSTED&symbol=NVDA&datatype=csv")
        quote = await get(loopback, "GLOBAL_QUOTE&symbol=IBM&datatype=csv")
    rows = list(csv.DictReader(table.text.splitlines()))
    assert [row.pop("timestamp") for row in rows] == list(series)
    assert [list(row.values()) for row in rows] == [list(row.values()) for row in series.values()]
    assert list(rows[0]) == ("open high low close adjusted_close volume dividend_amount split_coefficient".split())
    assert quote.text.splitlines()[0] == (
        "symbol,open,high,low,price,volume,latestDay,previousClose,change,changePercent"
    )


async def test_symbols_are_spelled_their_way() -> None:
    """Class shares with a dot or a hyphen, London with its own suffix."""
    async with in_process_at(OPEN) as loopback:
        told = {
            symbol: (await ask(loopback, f"GLOBAL_QUOTE&symbol={symbol}"))["Global Quote"].get("01. symbol")
            for symbol in ("BRK.B", "brk-b", "VOD.LON", "VOD.L", "BTC-USD", "^GSPC", "NKLA", "")
        }
    known = {"BRK.B": "BRK.B", "brk-b": "BRK.B", "VOD.LON": "VOD.LON"}
    assert told == known | dict.fromkeys(("VOD.L", "BTC-USD", "^GSPC", "NKLA", ""))


async def test_strange_questions_are_answered_without_a_server_error() -> None:
    """Refusals or bounded answers, never a 500."""
    queries = [
        "GLOBAL_QUOTE&symbol=%00%F0%9F%98%80",
        f"GLOBAL_QUOTE&symbol={'A' * 500}",
        "REALTIME_BULK_QUOTES&symbol=,,",
        "TIME_SERIES_INTRADAY&symbol=KO&interval=1min&month=0001-01",
        "TIME_SERIES_INTRADAY&symbol=VOD.LON&interval=1min",
        "TIME_SERIES_INTRADAY&symbol=KO&interval=1min&month=1900-01&outputsize=full",
        "TIME_SERIES_WEEKLY&symbol=",
        "CURRENCY_EXCHANGE_RATE&from_currency=/&to_currency=/",
        "FX_DAILY&from_symbol=USD&to_symbol=",
        "SYMBOL_SEARCH&keywords=",
        "SYMBOL_SEARCH&keywords=%F0%9F%98%80&datatype=csv",
        "",
    ]
    async with in_process_at(OPEN) as loopback:
        statuses = {(await get(loopback, query)).status_code for query in queries}
    assert statuses == {200}


def recorded(name: str) -> Any:
    """The body of a recording."""
    return json.loads((RECORDINGS / "alpha_vantage" / name).read_text(encoding="utf-8"))


@recordings
async def test_refusals_are_worded_as_recorded() -> None:
    """Premium, invalid call, demo key, burst, and the empty quote."""
    query = "TIME_SERIES_INTRADAY&symbol=ZZZZ&interval=5min"
    async with in_process_at(OPEN) as loopback:
        premium = await ask(loopback, query, "k")
        invalid = await ask(loopback, query, "premium")
        demo = await ask(loopback, query, "demo")
        unknown = await ask(loopback, "GLOBAL_QUOTE&symbol=ZZZZ", "premium")
        for _ in range(4):
            burst = await ask(loopback, query, "premium")
    assert premium == recorded("error_premium_endpoint.json")
    assert invalid == recorded("error_invalid_call.json")
    assert demo == recorded("error_demo_key.json")
    assert unknown == recorded("unknown_symbol_global_quote.json")
    assert burst == recorded("error_burst_paid.json")


@recordings
async def test_replies_are_shaped_as_recorded() -> None:
    """The labels with their ordinals, in order; everything is text."""
    async with in_process_at(OPEN) as loopback:
        quote = (await ask(loopback, "GLOBAL_QUOTE&symbol=IBM"))["Global Quote"]
        delayed = await ask(loopback, "GLOBAL_QUOTE&symbol=PYPL&entitlement=delayed")
        daily = await ask(loopback, "TIME_SERIES_DAILY_ADJUSTED&symbol=KO&outputsize=full")
        search = await ask(loopback, "SYMBOL_SEARCH&keywords=BA")
    assert set(recorded("global_quote_ibm_demo_2026.json")["Global Quote"]) <= set(quote)
    assert list(delayed) == list(recorded("global_quote_delayed_key.json"))
    real = recorded("daily_adjusted_sample_2023.json")
    assert list(daily) == list(real)
    fixed = ("1. Information", "4. Output Size", "5. Time Zone")
    assert {name: daily["Meta Data"][name] for name in fixed} == {name: real["Meta Data"][name] for name in fixed}
    ours, theirs = (next(iter(body["Time Series (Daily)"].values())) for body in (daily, real))
    assert list(ours) == list(theirs)
    assert (ours["7. dividend amount"], ours["8. split coefficient"]) == ("0.0000", "1.0")
    matches, real_matches = search["bestMatches"], recorded("symbol_search_ba.json")["bestMatches"]
    assert list(matches[0]) == list(real_matches[0])
    assert matches[0]["2. name"] == real_matches[0]["2. name"]
    assert {type(value) for row in (quote, ours, matches[0]) for value in row.values()} == {str}
