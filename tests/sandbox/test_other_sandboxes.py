"""Nasdaq, Cboe and Finnhub in the sandbox: histories, spellings, refusals and traps."""

from __future__ import annotations

from datetime import UTC, date, datetime

import httpx
import pytest

from sandbox.loopback import CLOSED, OPEN, POST, in_process_at, sandbox_at

CBOE = "/cboe/api/global/delayed_quotes"
FINNHUB = "/finnhub/api/v1"


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("AAPL/info?assetclass=stocks", True),
        ("aapl/info?assetclass=stocks", True),
        ("AAPL/info?assetclass=etf", False),
        ("AAPL/info", False),
        ("SPY/info?assetclass=etf", True),
        ("SPY/info?assetclass=stocks", False),
        ("BRK%25sl%25B/info?assetclass=stocks", True),
        ("NDX/info?assetclass=index", True),
        ("SPX/info?assetclass=index", False),
        ("BTC/info?assetclass=crypto", True),
        ("NKLA/info?assetclass=stocks", False),
        ("VOD.L/info?assetclass=stocks", False),
        ("AAPL/historical?assetclass=etf", False),
    ],
)
async def test_nasdaq_knows_a_symbol_under_its_own_class_only(path: str, known: bool) -> None:
    """Everything else is HTTP 200 with rCode 400."""
    async with in_process_at(OPEN) as loopback:
        body = await loopback.json(f"/nasdaq/api/quote/{path}")
    assert (body["status"]["rCode"], body["data"] is not None) == ((200, True) if known else (400, False))


async def test_nasdaq_ignores_a_client_without_a_name() -> None:
    """No User-Agent, no answer at all."""
    async with sandbox_at(OPEN) as loopback:
        request = loopback.client.build_request("GET", "/nasdaq/api/quote/AAPL/info?assetclass=stocks", timeout=0.3)
        del request.headers["User-Agent"]
        with pytest.raises(httpx.ReadTimeout):
            await loopback.client.send(request)


async def test_nasdaq_history_is_newest_first_in_display_strings() -> None:
    """The running session is not in it; after the close it is; the limit cuts the oldest."""
    query = "assetclass=stocks&fromdate=2026-11-16&todate=2026-11-24"
    async with in_process_at(OPEN) as loopback:
        running = await loopback.json(f"/nasdaq/api/quote/AAPL/historical?{query}&limit=9999")
        friday = loopback.sandbox.market.daily_bars("AAPL", date(2026, 11, 20), date(2026, 11, 20))[0]
    async with in_process_at(POST) as loopback:
        over = await loopback.json(f"/nasdaq/api/quote/AAPL/historical?{query}&limit=2")
    days = [row["date"] for row in running["data"]["tradesTable"]["rows"]]
    assert days == ["11/23/2026", "11/20/2026", "11/19/2026", "11/18/2026", "11/17/2026", "11/16/2026"]
    assert running["data"]["tradesTable"]["rows"][1] == {
        "date": "11/20/2026",
        "close": f"${friday.close:.2f}",
        "volume": f"{int(friday.volume or 0):,}",
        "open": f"${friday.open:.2f}",
        "high": f"${friday.high:.2f}",
        "low": f"${friday.low:.2f}",
    }
    assert [row["date"] for row in over["data"]["tradesTable"]["rows"]] == ["11/24/2026", "11/23/2026"]
    assert over["data"]["totalRecords"] == 7


async def test_nasdaq_watchlist_leaves_out_what_it_does_not_know() -> None:
    """Rows are matched by symbol; class shares are spelled with a slash or a dot; times are New York's."""
    query = "symbol=brk.b%7Cstocks&symbol=zzzz%7Cstocks&symbol=spy%7Cetf&symbol=spy%7Cstocks"
    async with in_process_at(OPEN) as loopback:
        body = await loopback.json(f"/nasdaq/api/quote/watchlist?{query}")
        previous = loopback.truth("nasdaq", "SPY").regular.previous_close
        nothing = await loopback.json("/nasdaq/api/quote/watchlist?symbol=zzzz%7Cstocks")
    assert [row["symbol"] for row in body["data"]] == ["BRK.B", "SPY"]
    assert body["data"][1]["previousClosePrice"] == previous
    assert body["data"][1]["lastTradeTimestampDateTime"] == "2026-11-24T10:04:00"
    assert nothing["status"]["rCode"] == 400


@pytest.mark.parametrize("name", ["ZZZZ", "aapl", "BRK-B", "_DAX", "^SPX", "VOD.L", "BTC-USD"])
async def test_cboe_forbids_what_it_does_not_know(name: str) -> None:
    """403 with XML, for quotes and for charts."""
    async with in_process_at(OPEN) as loopback:
        for folder in ("quotes", "charts/historical", "charts/intraday"):
            reply = await loopback.get(f"{CBOE}/{folder}/{name}.json")
            assert (reply.status_code, reply.headers["content-type"]) == (403, "application/xml")
            assert "<Code>AccessDenied</Code>" in reply.text


async def test_cboe_names_indices_in_two_ways() -> None:
    """`_SPX` outside and `^SPX` inside, without a book; the ten-year yield times ten without a range."""
    async with in_process_at(OPEN) as loopback:
        index = await loopback.json(f"{CBOE}/quotes/_SPX.json")
        yields = (await loopback.json(f"{CBOE}/quotes/_TNX.json"))["data"]
        truth = loopback.truth("cboe", "^TNX").regular.close
        gone = (await loopback.json(f"{CBOE}/quotes/NKLA.json"))["data"]
    assert (index["symbol"], index["data"]["symbol"], index["data"]["security_type"]) == ("_SPX", "^SPX", "index")
    assert (index["data"]["bid"], index["data"]["volume"]) == (0.0, 0)
    assert (yields["current_price"], yields["open"], yields["high"]) == (pytest.approx(10 * truth, abs=0.01), 0.0, 0.0)
    assert yields["last_trade_time"] == "2026-11-24T00:00:00-05:00"
    assert (gone["current_price"], gone["last_trade_time"]) == (0.0, "2000-01-01T00:00:00")


async def test_cboe_daily_file_lags_one_session() -> None:
    """Right after Tuesday's close it ends on Monday, next noon it has Tuesday; indices are strings."""
    morning = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    last = []
    for instant in (OPEN, POST, morning):
        async with in_process_at(instant) as loopback:
            rows = (await loopback.json(f"{CBOE}/charts/historical/AAPL.json"))["data"]
            truth = loopback.sandbox.market.daily_bars("AAPL", date(2026, 11, 23), date(2026, 11, 24))
        last.append(rows[-1]["date"])
    assert last == ["2026-11-23", "2026-11-23", "2026-11-24"]
    monday, tuesday = rows[-2:]
    assert [(r["close"], r["high"], r["low"]) for r in (monday, tuesday)] == [(b.close, b.high, b.low) for b in truth]
    assert 0.42 <= tuesday["volume"] / (truth[1].volume or 1) <= 0.54
    async with in_process_at(OPEN) as loopback:
        index = (await loopback.json(f"{CBOE}/charts/historical/_VIX.json"))["data"][-1]
    assert (index["volume"], len(index["close"].partition(".")[2])) == ("0.0", 6)


async def test_cboe_minutes_are_stamped_with_their_end_and_sometimes_silent() -> None:
    """09:31 to 16:00 New York; minutes without a print are zeros that have volume."""
    async with in_process_at(CLOSED) as loopback:
        rows = (await loopback.json(f"{CBOE}/charts/intraday/AAPL.json"))["data"]
    assert (rows[0]["datetime"], rows[-1]["datetime"], len(rows)) == ("2026-11-20T09:31:00", "2026-11-20T16:00:00", 390)
    silent = [row for row in rows if row["price"] == dict.fromkeys(("open", "high", "low", "close"), 0.0)]
    assert 0 < len(silent) < 20
    assert min(row["volume"]["stock_volume"] for row in silent) > 0


async def test_finnhub_wants_a_key_in_header_or_query() -> None:
    """401 without; the quota is shown and goes down within the minute."""
    async with in_process_at(OPEN) as loopback:
        bare = await loopback.get(f"{FINNHUB}/quote?symbol=AAPL")
        first = await loopback.get(f"{FINNHUB}/quote?symbol=AAPL&token=k")
        second = await loopback.get(f"{FINNHUB}/quote?symbol=AAPL", **{"X-Finnhub-Token": "k"})
        other = await loopback.get(f"{FINNHUB}/quote?symbol=AAPL&token=other")
    assert (bare.status_code, bare.json()) == (401, {"error": "Please use an API key."})
    assert [r.headers["x-ratelimit-remaining"] for r in (first, second, other)] == ["59", "58", "59"]
    assert first.headers["x-ratelimit-limit"] == "60"
    assert first.json() == second.json()


async def test_finnhub_refuses_what_needs_another_plan() -> None:
    """Indices and foreign shares are refused, coins and currencies have their own spelling, dots stay in classes."""
    async with in_process_at(OPEN) as loopback:
        told = {}
        for symbol in ("^GSPC", "VOD.L", "BRK.B", "BRK-B", "BTC-USD", "BINANCE:BTCUSDT", "OANDA:EUR_USD", "EURUSD"):
            reply = await loopback.get(f"{FINNHUB}/quote?symbol={symbol}&token=k")
            told[symbol] = reply.json()["error"] if reply.status_code == 403 else reply.json()["c"] > 0
    assert told == {
        "^GSPC": "Market data subscription required for CFD indices.",
        "VOD.L": "You don't have access to this resource.",
        "BRK.B": True,
        "BRK-B": False,
        "BTC-USD": False,
        "BINANCE:BTCUSDT": True,
        "OANDA:EUR_USD": True,
        "EURUSD": False,
    }


async def test_finnhub_daily_candles_are_dated_and_split_adjusted_but_minutes_are_as_traded() -> None:
    """Daily stamps are midnight UTC of the trading date; before the split minutes are four times higher."""
    span = "from=1773360000&to=1773705600"  # 2026-03-13 to 2026-03-17, the split is on the 16th
    async with in_process_at(OPEN) as loopback:
        daily = await loopback.json(f"{FINNHUB}/stock/candle?symbol=NVDA&resolution=D&{span}&token=premium")
        hours = await loopback.json(f"{FINNHUB}/stock/candle?symbol=NVDA&resolution=60&{span}&token=premium")
        truth = loopback.sandbox.market.daily_bars("NVDA", date(2026, 3, 13), date(2026, 3, 17))
    assert daily["t"] == [int(bar.start.timestamp()) for bar in truth]
    assert daily["c"] == [bar.close for bar in truth]
    assert hours["c"][0] / hours["c"][-1] == pytest.approx(4, rel=0.1)


async def test_finnhub_candles_need_a_good_question() -> None:
    """No data for an empty span or an unknown symbol; 422 for nonsense; 403 for a free key whatever it asks."""
    async with in_process_at(OPEN) as loopback:
        span = "from=1795300000&to=1795310000"
        path = f"{FINNHUB}/stock/candle?resolution=D&token=premium"
        empty = await loopback.json(f"{path}&symbol=AAPL&{span}")
        unknown = await loopback.json(f"{path}&symbol=ZZZZ&from=1794000000&to=1795500000")
        weeks = await loopback.json(
            f"{FINNHUB}/stock/candle?resolution=W&token=premium&symbol=KO&from=1793577600&to=1795500000"
        )
        wrong = await loopback.get(f"{FINNHUB}/stock/candle?symbol=AAPL&resolution=7&{span}&token=premium")
        dateless = await loopback.get(f"{path}&symbol=AAPL")
    assert (empty, unknown) == ({"s": "no_data"}, {"s": "no_data"})
    assert [datetime.fromtimestamp(t, UTC).weekday() for t in weeks["t"]] == [0, 0, 0, 0]
    assert (wrong.status_code, dateless.status_code) == (422, 422)


async def test_strange_questions_are_answered_without_a_server_error() -> None:
    """Absurd instants, dates, limits and symbols: refusals or bounded answers, never a 500."""
    paths = [
        "/yahoo/v8/finance/chart/AAPL?interval=1d&period1=-999999999999&period2=253402300799",
        "/yahoo/v8/finance/chart/AAPL?interval=1h&period1=0&period2=99999999999999999999",
        "/yahoo/v8/finance/chart/%00%F0%9F%98%80?interval=1d",
        f"/yahoo/v8/finance/chart/{'A' * 500}",
        "/nasdaq/api/quote/AAPL/historical?assetclass=stocks&fromdate=0001-01-01&todate=9999-12-31&limit=-5",
        "/nasdaq/api/quote/AAPL/historical?assetclass=stocks&fromdate=yesterday",
        "/nasdaq/api/quote/watchlist?symbol=%7C%7C&symbol=",
        f"{CBOE}/quotes/.json",
        f"{CBOE}/quotes/AAPL",
        f"{FINNHUB}/quote?token=k",
        f"{FINNHUB}/stock/candle?symbol=AAPL&resolution=60&from=0&to=253402300799&token=premium",
        f"{FINNHUB}/stock/candle?symbol=AAPL&resolution=D&from=-99999999999999&to=99&token=premium",
    ]
    async with in_process_at(OPEN) as loopback:
        statuses = [(await loopback.get(path)).status_code for path in paths]
    assert statuses == [200, 400, 404, 404, 200, 200, 200, 403, 403, 200, 200, 422]
