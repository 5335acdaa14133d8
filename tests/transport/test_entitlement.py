"""What a source learns from refusals: once, by asset class, and without counting against anyone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import httpx

from mdagent_mcp.domain.failures import Answered, Failure, FailureKind, Outcome, SourceError
from mdagent_mcp.domain.instruments import AssetClass, parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Bar, History, Interval, Quote
from mdagent_mcp.domain.status import SourceState
from mdagent_mcp.domain.vendor import Endpoint, HistoryQuery, Offer, RecordedUrl, Reply, Request
from mdagent_mcp.transport.entitlement import Entitlements
from transport.invented_vendor import INVENTED, NOON, Bench, Handler

QUOTE, QUOTES, HISTORY = Endpoint.QUOTE, Endpoint.QUOTES, Endpoint.HISTORY
SHARES, COINS = AssetClass.US_EQUITY, AssetClass.CRYPTO
REFUSED: Outcome[object] = Failure("invented", FailureKind.NOT_ENTITLED, "not in the plan")
NOT_YET: Outcome[object] = Failure("invented", FailureKind.NOT_ENTITLED, "before the end of the day", 3600.0)
UNKNOWN: Outcome[object] = Failure("invented", FailureKind.UNKNOWN_SYMBOL, "not listed")
SERVED: Outcome[object] = Answered("anything")


def test_two_different_symbols_of_a_class_must_be_refused() -> None:
    """One may be an exception, and the same one twice is still one."""
    learned = Entitlements(())
    learned.heed(HISTORY, ["AAPL"], REFUSED)
    learned.heed(HISTORY, ["AAPL"], REFUSED)
    assert learned.includes(HISTORY, SHARES) is True
    learned.heed(HISTORY, ["MSFT"], REFUSED)
    assert learned.includes(HISTORY, SHARES) is False
    assert learned.excluded == {HISTORY}


def test_a_refusal_of_one_class_closes_nothing_for_another() -> None:
    """Plans are sold by asset class; an endpoint that serves any of them is not lost."""
    learned = Entitlements(())
    learned.heed(QUOTE, ["AAPL"], SERVED)
    for symbol in ("BTC-USD", "ETH-USD"):
        learned.heed(QUOTE, [symbol], REFUSED)
    assert (learned.includes(QUOTE, COINS), learned.includes(QUOTE, SHARES)) == (False, True)
    assert learned.excluded == frozenset()


def test_what_the_plan_excludes_stays_excluded() -> None:
    """Whatever is served."""
    learned = Entitlements([HISTORY])
    learned.heed(HISTORY, ["AAPL"], SERVED)
    assert learned.includes(HISTORY, SHARES) is False
    assert learned.excluded == {HISTORY}


def test_a_refusal_with_a_wait_and_other_failures_teach_nothing() -> None:
    """The day is not over, or the symbol is not known."""
    learned = Entitlements(())
    for outcome in (NOT_YET, UNKNOWN):
        for symbol in ("AAPL", "MSFT", "NVDA"):
            learned.heed(HISTORY, [symbol], outcome)
    assert learned.includes(HISTORY, SHARES) is True


def test_an_answer_forgets_refusals_of_its_class() -> None:
    """They were about those symbols."""
    learned = Entitlements(())
    learned.heed(QUOTE, ["AAPL"], REFUSED)
    learned.heed(QUOTE, ["MSFT"], SERVED)
    learned.heed(QUOTE, ["NVDA"], REFUSED)
    assert learned.includes(QUOTE, SHARES) is True


def test_a_refused_call_about_several_classes_does_not_say_which() -> None:
    """A refused item within an answer does."""
    learned = Entitlements(())
    learned.heed(QUOTES, ["AAPL", "MSFT", "BTC-USD", "ETH-USD"], REFUSED)
    assert learned.excluded == frozenset()
    items = Answered({"AAPL": Answered(()), "BTC-USD": REFUSED, "ETH-USD": REFUSED})
    learned.heed(QUOTES, ["AAPL", "BTC-USD", "ETH-USD"], items)
    assert (learned.includes(QUOTES, SHARES), learned.includes(QUOTES, COINS)) == (True, False)


def refusing_coins(request: httpx.Request) -> httpx.Response:
    """A web that sells shares only."""
    symbols = request.url.params.get("symbols", request.url.path.rsplit("/", 1)[1]).split(",")
    if any("-" in symbol for symbol in symbols):
        return httpx.Response(403, content=b"not in your plan")
    return httpx.Response(200, content=json.dumps(dict.fromkeys(symbols, 10.0)).encode())


async def test_a_source_asks_no_more_for_what_it_was_refused_and_stays_live() -> None:
    """Once per class; the breaker and the other class are untouched."""
    bench = Bench(refusing_coins, vendor=replace(INVENTED, token=None))
    for symbol in ("BTC-USD", "ETH-USD", "AAPL"):
        await bench.ask(symbol)
    coin, share = parse_symbol("SOL-USD"), parse_symbol("MSFT")
    assert bench.source.refuses_quote(coin) == "the plan of this key does not include current quotes at Invented"
    assert bench.source.refuses_quote(share) is None
    assert (bench.source.state(), bench.source.excluded) == (SourceState.LIVE, frozenset())
    bench.web.requests.clear()
    (quote,) = _value((await bench.ask("AAPL", "MSFT"))["AAPL"])
    assert quote.price == 10.0


async def test_a_batch_leaves_out_the_classes_that_were_refused() -> None:
    """They would fail the call for the others."""
    bench = Bench(refusing_coins, vendor=replace(INVENTED, token=None))
    await bench.ask("BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD")
    bench.web.requests.clear()
    await bench.ask("AAPL", "BTC-USD", "MSFT", "NVDA", "AMD")
    batches = [r.url.params["symbols"] for r in bench.web.requests if r.url.path == "/batch"]
    assert sorted(batches) == ["AAPL,MSFT", "NVDA,AMD"]


def _value(outcome: Outcome[tuple[Quote, ...]]) -> tuple[Quote, ...]:
    assert isinstance(outcome, Answered)
    return outcome.value


def _read_page(query: HistoryQuery, reply: Reply) -> History:
    closes = json.loads(reply.body)["closes"]
    if not closes:
        raise SourceError(FailureKind.NO_DATA, "no bars")
    return History(
        symbol=query.instrument.symbol,
        source="invented",
        interval=query.interval,
        adjustment=query.adjustment,
        timezone="UTC",
        received_at=reply.received_at,
        bars=tuple(Bar(NOON, close, close, close, close) for close in closes),
    )


def _next(_query: HistoryQuery, reply: Reply) -> Request | None:
    following = json.loads(reply.body)["next"]
    return None if following is None else Request(f"/page/{following}")


def _unread(_recorded: RecordedUrl) -> None:
    return None


SERIES = Offer(HISTORY, lambda _: None, lambda _: (Request("/page/1"),), _read_page, _unread, next_page=_next)
DAY = HistoryQuery(
    parse_symbol("AAPL"),
    Interval.DAY_1,
    date(2026, 11, 2),
    date(2026, 11, 23),
    Adjustment.SPLITS,
    extended_hours=False,
    now=NOON,
)


def pages(*closes: list[float]) -> Handler:
    """A web that sends a series in pages."""

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.path.rsplit("/", 1)[1])
        following = number + 1 if number < len(closes) else None
        return httpx.Response(200, content=json.dumps({"closes": closes[number - 1], "next": following}).encode())

    return answer


async def test_a_last_page_without_bars_ends_a_series() -> None:
    """It may hold only what was not asked, such as trades after the last regular bar; a first one is no data."""
    vendor = replace(INVENTED, history=SERIES)
    asked = await Bench(pages([1.0, 2.0], []), vendor=vendor).source.history(DAY, 10.0)
    assert isinstance(asked.answer, Answered)
    assert ([bar.close for bar in asked.answer.value.bars], asked.calls) == ([1.0, 2.0], 2)
    asked = await Bench(pages([]), vendor=vendor).source.history(DAY, 10.0)
    assert isinstance(asked.answer, Failure)
    assert asked.answer.kind is FailureKind.NO_DATA
