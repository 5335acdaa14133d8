"""Polygon's bars in the sandbox: time stamps, adjustment, windows, pages, plans and refusals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest

from mdagent_mcp.testing import ManualClock
from sandbox.loopback import CLOSED, OPEN, POST, PRE, Loopback, in_process_at, in_process_on

AGGS = "/polygon/v2/aggs"
NEW_YORK = ZoneInfo("America/New_York")


async def bars(loopback: Loopback, ticker: str, window: str, key: str = "advanced", **query: str) -> dict[str, Any]:
    """The reply about a range such as `1/day/2026-11-17/2026-11-20`."""
    parameters = "".join(f"&{name}={value}" for name, value in query.items())
    reply: dict[str, Any] = await loopback.json(f"{AGGS}/ticker/{ticker}/range/{window}?apiKey={key}{parameters}")
    return reply


def starts(reply: dict[str, Any]) -> list[datetime]:
    """The bars' stamps."""
    return [datetime.fromtimestamp(row["t"] / 1000, UTC) for row in reply["results"]]


async def test_days_of_shares_begin_at_midnight_in_new_york() -> None:
    """Also across the end of daylight saving time; prices and volume are the market's."""
    async with in_process_at(OPEN) as loopback:
        reply = await bars(loopback, "KO", "1/day/2026-10-29/2026-11-03")
        truth = loopback.sandbox.market.daily_bars("KO", date(2026, 10, 29), date(2026, 11, 3))
    assert [f"{start:%m-%d %H}" for start in starts(reply)] == ["10-29 04", "10-30 04", "11-02 05", "11-03 05"]
    assert [(row["o"], row["h"], row["l"], row["c"], row["v"]) for row in reply["results"]] == [
        (bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in truth
    ]
    assert all(row["l"] <= row["vw"] <= row["h"] for row in reply["results"])
    assert (reply["queryCount"], reply["resultsCount"], reply["count"]) == (4, 4, 4)


@pytest.mark.parametrize(
    ("instant", "window", "last"),
    [
        (datetime(2026, 3, 9, 15, 0, tzinfo=UTC), "1/day/2026-03-05/2026-03-08", "03-06"),
        (datetime(2026, 11, 2, 17, 0, tzinfo=UTC), "1/hour/2026-10-30/2026-11-01", "10-30"),
    ],
)
async def test_a_date_ends_with_its_own_last_hour(instant: datetime, window: str, last: str) -> None:
    """Sundays on which the clocks are changed have 23 and 25 hours: the Monday after is not part of them."""
    async with in_process_at(instant) as loopback:
        reply = await bars(loopback, "KO", window)
    assert f"{starts(reply)[-1].astimezone(NEW_YORK):%m-%d}" == last


async def test_the_week_a_free_key_is_told_ends_with_yesterday() -> None:
    """The window reaches into today, its bar does not."""
    async with in_process_at(POST) as loopback:
        free = await bars(loopback, "KO", "1/week/2026-11-16/2026-11-23", key="basic")
        paid = await bars(loopback, "KO", "1/week/2026-11-16/2026-11-23")
        yesterday = await bars(loopback, "KO", "1/day/2026-11-23/2026-11-23")
    assert starts(free) == starts(paid)
    assert (free["results"][1]["c"], free["queryCount"]) == (yesterday["results"][0]["c"], 6)
    assert (paid["results"][1]["c"] == free["results"][1]["c"], paid["queryCount"]) == (False, 7)


async def test_days_of_crypto_and_forex_begin_at_midnight_utc_and_forex_has_stubs_on_sundays() -> None:
    """No bar on a Saturday; the hours of Sunday evening are a day of their own."""
    async with in_process_at(OPEN) as loopback:
        coin = await bars(loopback, "X:BTCUSD", "1/day/2026-11-21/2026-11-23")
        pair = await bars(loopback, "C:EURUSD", "1/day/2026-11-19/2026-11-23")
        hours = await bars(loopback, "C:EURUSD", "1/hour/2026-11-20/2026-11-22")
    assert [f"{start:%m-%d %H:%M}" for start in starts(coin)] == ["11-21 00:00", "11-22 00:00", "11-23 00:00"]
    assert [f"{start:%a %H:%M}" for start in starts(pair)] == ["Thu 00:00", "Fri 00:00", "Sun 00:00", "Mon 00:00"]
    of_sunday = [row for start, row in zip(starts(hours), hours["results"], strict=True) if start.weekday() == 6]
    assert [start.hour for start in starts(hours) if start.weekday() == 6] == [22, 23]
    assert pair["results"][2]["o"] == of_sunday[0]["o"]
    assert pair["results"][2]["c"] == of_sunday[-1]["c"]


async def test_old_days_of_forex_are_those_of_their_trading_dates() -> None:
    """Where they meet the newer ones no day is missing or told twice."""
    async with in_process_at(OPEN) as loopback:
        reply = await bars(loopback, "C:EURUSD", "1/day/2025-11-24/2026-11-23")
        truth = loopback.sandbox.market.daily_bars("EURUSD", date(2025, 11, 24), date(2025, 11, 24))[0]
    days = [start.date() for start in starts(reply)]
    assert reply["results"][0]["c"] == truth.close
    assert days == sorted(set(days))
    assert [day for day in days if day.weekday() < 5] == [
        day for n in range(365) if (day := date(2025, 11, 24) + timedelta(days=n)).weekday() < 5
    ]


async def test_bars_of_an_index_have_neither_volume_nor_trades() -> None:
    """Only four prices and a stamp."""
    async with in_process_at(OPEN) as loopback:
        reply = await bars(loopback, "I:SPX", "1/day/2026-11-23/2026-11-23")
    assert [set(row) for row in reply["results"]] == [{"o", "h", "l", "c", "t"}]


async def test_adjusted_means_splits_alone_in_days_and_in_minutes() -> None:
    """A four-for-one split on 16 March."""
    async with in_process_at(OPEN) as loopback:
        day, minute = "1/day/2026-03-13/2026-03-16", "1/minute/2026-03-13/2026-03-13"
        adjusted, traded = await bars(loopback, "NVDA", day), await bars(loopback, "NVDA", day, adjusted="false")
        minutes = [await bars(loopback, "NVDA", minute, adjusted=text, limit="1") for text in ("true", "false")]
        paid = await bars(loopback, "KO", "1/day/2026-08-07/2026-08-07")
        close = loopback.sandbox.market.daily_bars("KO", date(2026, 8, 7), date(2026, 8, 7))[0].close
    assert (adjusted["adjusted"], traded["adjusted"]) == (True, False)
    factors = [raw["c"] / row["c"] for raw, row in zip(traded["results"], adjusted["results"], strict=True)]
    assert factors == pytest.approx([4, 1])
    assert minutes[1]["results"][0]["c"] / minutes[0]["results"][0]["c"] == pytest.approx(4)
    assert paid["results"][0]["c"] == close


async def test_intraday_bars_reach_from_four_to_eight_and_every_one_has_volume() -> None:
    """Sixteen hours, made of 960 minutes."""
    async with in_process_at(OPEN) as loopback:
        reply = await bars(loopback, "KO", "1/hour/2026-11-20/2026-11-20")
        thirds = await bars(loopback, "KO", "20/minute/2026-11-20/2026-11-20")
        seconds = await bars(loopback, "KO", "30/second/1795185000000/1795185119999")
    local = [start.astimezone(NEW_YORK) for start in starts(reply)]
    assert [start.hour for start in local] == list(range(4, 20))
    assert (reply["queryCount"], reply["resultsCount"], thirds["resultsCount"]) == (960, 16, 48)
    assert all(row["v"] > 0 and row["n"] > 0 for row in reply["results"])
    assert [f"{start.astimezone(NEW_YORK):%H:%M:%S}" for start in starts(seconds)] == [
        "09:30:00",
        "09:30:30",
        "09:31:00",
        "09:31:30",
    ]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("1/week/2026-11-12/2026-11-17", ["2026-11-08", "2026-11-15"]),
        ("1/month/2026-09-15/2026-11-01", ["2026-09-01", "2026-10-01", "2026-11-01"]),
        ("1/quarter/2026-05-15/2026-07-01", ["2026-04-01", "2026-07-01"]),
        ("1/year/2025-06-01/2026-01-02", ["2025-01-01", "2026-01-01"]),
        ("2/day/2026-11-16/2026-11-19", ["2026-11-16", "2026-11-18"]),
        ("2/month/2026-07-15/2026-10-01", ["2026-07-01", "2026-09-01"]),
    ],
)
async def test_windows_are_whole_and_begin_with_the_first_one_asked_for(window: str, expected: list[str]) -> None:
    """Weeks begin on Sunday; both ends are moved outwards; the windows' prices are those of their days."""
    async with in_process_at(OPEN) as loopback:
        reply = await bars(loopback, "KO", window)
        days = await bars(loopback, "KO", f"1/day/{expected[0]}/2026-11-24")
    assert [start.astimezone(NEW_YORK).date().isoformat() for start in starts(reply)] == expected
    first = [
        row
        for start, row in zip(starts(days), days["results"], strict=True)
        if len(expected) == 1 or start < starts(reply)[1]
    ]
    assert (reply["results"][0]["o"], reply["results"][0]["c"]) == (first[0]["o"], first[-1]["c"])
    assert reply["results"][0]["h"] == max(row["h"] for row in first)
    assert reply["results"][0]["v"] == sum(row["v"] for row in first)


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("window", ["1/hour/2026-11-19/2026-11-20", "2/day/2026-10-01/2026-11-20"])
async def test_pages_follow_each_other_without_a_gap(window: str, sort: str) -> None:
    """The limit counts base aggregates; following `next_url` by path and query gives what one page would."""
    limit = "500" if "hour" in window else "7"
    async with in_process_at(OPEN) as loopback:
        whole = await bars(loopback, "KO", window, sort=sort)
        page = await bars(loopback, "KO", window, sort=sort, limit=limit)
        rows, pages = list(page["results"]), [page]
        while "next_url" in page:
            following = urlsplit(page["next_url"])
            assert "apiKey" not in following.query
            page = (await loopback.get(f"/polygon{following.path}?{following.query}&apiKey=advanced")).json()
            rows += page["results"]
            pages.append(page)
    assert rows == whole["results"]
    assert "next_url" not in whole
    assert len(pages) > 3
    assert all(page["queryCount"] <= int(limit) for page in pages)


async def test_the_next_page_is_named_on_the_vendors_own_host_and_never_on_this_one() -> None:
    """The present host for a key in the header, the older one for a key in the query."""
    path = f"{AGGS}/ticker/KO/range/1/day/2026-11-02/2026-11-20?limit=3"
    async with in_process_at(OPEN) as loopback:
        present = await loopback.json(path, Authorization="Bearer advanced")
        older = await loopback.json(f"{path}&apiKey=advanced")
    hosts = [urlsplit(reply["next_url"]).netloc for reply in (present, older)]
    assert hosts == ["api.massive.com", "api.polygon.io"]


@pytest.mark.parametrize(("instant", "day"), [(PRE, "11-23"), (OPEN, "11-23"), (POST, "11-24"), (CLOSED, "11-20")])
async def test_the_previous_day_is_stamped_with_its_close(instant: datetime, day: str) -> None:
    """The session that ended last."""
    async with in_process_at(instant) as loopback:
        reply = await loopback.json(f"{AGGS}/ticker/KO/prev?apiKey=k")
        index = await loopback.json(f"{AGGS}/ticker/I:SPX/prev?apiKey=k")
        pair = await loopback.json(f"{AGGS}/ticker/C:EURUSD/prev?apiKey=k")
    assert [f"{start:%m-%d %H:%M}" for start in starts(reply) + starts(index)] == 2 * [f"{day} 21:00"]
    assert reply["results"][0]["T"] == "KO"
    assert f"{starts(pair)[0]:%H:%M:%S.%f}" == "23:59:59.999000"


async def test_a_whole_market_in_one_call() -> None:
    """Every US listing of a day, stamped with the close; nothing on a weekend; other markets have their own."""
    path = f"{AGGS}/grouped/locale"
    async with in_process_at(OPEN) as loopback:
        reply = await loopback.json(f"{path}/us/market/stocks/2026-11-20?apiKey=k")
        sunday = await loopback.json(f"{path}/us/market/stocks/2026-11-22?apiKey=k")
        coins = await loopback.json(f"{path}/global/market/crypto/2026-11-22?apiKey=k")
        truth = loopback.sandbox.market.daily_bars("KO", date(2026, 11, 20), date(2026, 11, 20))[0]
    rows = {row["T"]: row for row in reply["results"]}
    assert len(rows) == reply["resultsCount"] > 1000
    assert {"KO", "BRK.B", "SPY", "SIM999"} <= set(rows)
    assert not any(":" in ticker or "^" in ticker or ticker.endswith(".L") for ticker in rows)
    assert rows["KO"]["c"] == truth.close
    assert {start.isoformat() for start in starts(reply)} == {"2026-11-20T21:00:00+00:00"}
    assert (sunday["resultsCount"], "results" in sunday) == (0, False)
    assert [row["T"] for row in coins["results"]] == ["X:BTCUSD", "X:ETHUSD"]


async def test_the_summary_of_a_day_has_its_first_and_last_price_outside_the_session() -> None:
    """A day without trading is not found, nor is an unknown ticker."""
    async with in_process_at(OPEN) as loopback:
        told = await loopback.json("/polygon/v1/open-close/KO/2026-11-20?apiKey=k")
        sunday = await loopback.get("/polygon/v1/open-close/KO/2026-11-22?apiKey=k")
        unknown = await loopback.get("/polygon/v1/open-close/ZZZZ/2026-11-20?apiKey=k")
        day = loopback.sandbox.market.daily_bars("KO", date(2026, 11, 20), date(2026, 11, 20))[0]
        around = loopback.sandbox.market.intraday_bars("KO", date(2026, 11, 20), 60, extended=True)
    assert (told["open"], told["close"], told["volume"]) == (day.open, day.close, day.volume)
    assert (told["preMarket"], told["afterHours"]) == (around[0].open, around[-1].close)
    for reply in (sunday, unknown):
        assert (reply.status_code, reply.json()["message"]) == (404, "Data not found.")


async def test_a_free_key_gets_neither_today_nor_what_is_older_than_two_years_nor_snapshots() -> None:
    """Three different texts under one status; the paid plans get more the more they cost."""
    cases = {
        "/v2/aggs/ticker/KO/range/1/day/2026-11-20/2026-11-24": "Attempted to request today's data before end of day.",
        "/v2/aggs/ticker/KO/range/1/day/2024-11-20/2024-11-25": "Your plan doesn't include this data timeframe.",
        "/v2/aggs/grouped/locale/us/market/stocks/2026-11-24": "Attempted to request today's data before end of day.",
        "/v1/open-close/KO/2026-11-24": "Attempted to request today's data before end of day.",
        "/v2/snapshot/locale/us/markets/stocks/tickers/KO": "You are not entitled to this data.",
        "/v3/snapshot?ticker=KO": "You are not entitled to this data.",
        "/v2/last/trade/KO": "You are not entitled to this data.",
        "/v2/last/nbbo/KO": "You are not entitled to this data.",
    }
    allowed = {"starter": {0, 1, 2, 3, 4, 5}, "developer": {0, 1, 2, 3, 4, 5, 6}, "advanced": set(range(8))}
    async with in_process_at(POST) as loopback:
        for number, (path, text) in enumerate(cases.items()):
            separator = "&" if "?" in path else "?"
            reply = await loopback.get(f"/polygon{path}{separator}apiKey=free-{number}")
            told = reply.json()
            assert (reply.status_code, told["status"]) == (403, "NOT_AUTHORIZED")
            assert told["message"].startswith(text)
            for plan, numbers in allowed.items():
                status = (await loopback.get(f"/polygon{path}{separator}apiKey={plan}")).status_code
                assert status == (200 if number in numbers else 403), (plan, path)


async def test_a_free_key_has_five_calls_a_minute() -> None:
    """Whatever they are about; each key has its own, and the next minute is free again."""
    clock = ManualClock(datetime(2026, 11, 24, 15, 4, 30, tzinfo=UTC))
    path = "/polygon/v1/marketstatus/now?apiKey="
    async with in_process_on(clock) as loopback:
        statuses = [(await loopback.get(f"{path}a")).status_code for _ in range(6)]
        other = (await loopback.get(f"{path}b")).status_code
        paid = {(await loopback.get(f"{path}starter")).status_code for _ in range(9)}
        clock.jump_to(datetime(2026, 11, 24, 15, 5, tzinfo=UTC))
        following = (await loopback.get(f"{path}a")).status_code
    assert statuses == [200] * 5 + [429]
    assert (other, paid, following) == (200, {200}, 200)


async def test_a_delayed_plan_says_so_and_is_a_quarter_of_an_hour_late() -> None:
    """The body is the same otherwise."""
    async with in_process_at(OPEN) as loopback:
        late = await bars(loopback, "KO", "1/minute/2026-11-24/2026-11-24", key="starter")
        live = await bars(loopback, "KO", "1/minute/2026-11-24/2026-11-24")
    assert (late["status"], live["status"]) == ("DELAYED", "OK")
    assert starts(live)[-1] - starts(late)[-1] == timedelta(minutes=15)
    assert late["results"][:-1] == live["results"][: len(late["results"]) - 1]


async def test_what_is_unknown_or_wrong_is_answered_without_a_server_error() -> None:
    """Unknown tickers are successes without results; nonsense is refused; keys are asked for first."""
    day = "range/1/day/2026-11-20/2026-11-20"
    unknown = [f"{AGGS}/ticker/{ticker}/{day}" for ticker in ("ZZZZ", "ko", "X:ZZZUSD", "I:ZZZ", "C:XXXYYY", "VOD.L")]
    wrong = {
        f"{AGGS}/ticker/KO/{day}": 401,
        f"{AGGS}/ticker/KO/{day}?apiKey=unknown": 401,
        f"{AGGS}/ticker/KO/range/0/day/2026-11-20/2026-11-20?apiKey=advanced": 400,
        f"{AGGS}/ticker/KO/range/1/fortnight/2026-11-20/2026-11-20?apiKey=advanced": 400,
        f"{AGGS}/ticker/KO/range/1/day/2026-07-32/2026-11-20?apiKey=advanced": 400,
        f"{AGGS}/ticker/KO/range/1/day/2026-11-20/99999999999999999999?apiKey=advanced": 400,
        f"{AGGS}/ticker/KO/range/1/day/2026-12-24/2026-12-31?apiKey=advanced": 403,
        f"{AGGS}/ticker/KO/range/99999/year/2026-11-20/9999-12-31?apiKey=advanced": 200,
        f"{AGGS}/ticker/KO/range/1/day/2026-11-20/2026-11-19?apiKey=advanced&cursor=%FF": 200,
        f"{AGGS}/ticker/KO/range/1/day/-1/0?apiKey=advanced": 403,
        f"{AGGS}/ticker/%00/prev?apiKey=advanced": 200,
        f"{AGGS}/grouped/locale/us/market/bonds/2026-11-20?apiKey=advanced": 400,
        f"{AGGS}/grouped/locale/us/market/stocks/soon?apiKey=advanced": 400,
        "/polygon/v1/open-close/KO/soon?apiKey=advanced": 400,
        "/polygon/v1/open-close/C:EURUSD/2026-11-20?apiKey=advanced": 404,
    }
    async with in_process_at(OPEN) as loopback:
        statuses = {path: (await loopback.get(path)).status_code for path in wrong}
        empty = [await loopback.json(f"{path}?apiKey=advanced") for path in unknown]
        named = await loopback.get(f"{AGGS}/ticker/KO/{day}", Authorization="Bearer advanced")
    assert statuses == wrong
    assert [(told["status"], told["resultsCount"], "results" in told) for told in empty] == [("OK", 0, False)] * 6
    assert named.headers["x-request-id"] == named.json()["request_id"]
