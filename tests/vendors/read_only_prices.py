"""Made-up replies of the calls for prices that are never sent, in the vendors' shapes with values of our own."""

from __future__ import annotations

from typing import Final

from mdagent_mcp.domain.prices import Session
from vendors.read_only_exchanges import LISTING, UNTIMED, ReadOnly, quote
from vendors.vendor_exchanges import at

PRICES: Final = (
    ReadOnly(
        "twelve_data",
        "/price?symbol=ACME",
        '{"price":"101.25000"}',
        (quote("twelve_data", "ACME", 101.25, (LISTING, UNTIMED)),),
    ),
    ReadOnly(
        "twelve_data",
        "/price?symbol=ACME,EUR/USD",
        '{"ACME":{"price":"101.25"},"EUR/USD":{"price":"1.10525"}}',
        (
            quote("twelve_data", "ACME", 101.25, (LISTING, UNTIMED)),
            quote("twelve_data", "EURUSD", 1.10525, (UNTIMED,)),
        ),
    ),
    ReadOnly(
        "twelve_data",
        "/price?symbol=ACME&format=CSV",
        "price\n101.25000\n",
        (quote("twelve_data", "ACME", 101.25, (LISTING, UNTIMED)),),
    ),
    ReadOnly(
        "twelve_data",
        "/eod?symbol=ACME",
        '{"symbol":"ACME","exchange":"NASDAQ","currency":"USD","datetime":"2026-08-19","close":"101.25"}',
        (
            quote(
                "twelve_data",
                "ACME",
                101.25,
                session=Session.CLOSED,
                event_time=at("2026-08-19T20:00:00"),
                event_time_resolution_s=86400.0,
            ),
        ),
    ),
    ReadOnly(
        "twelve_data",
        "/exchange_rate?symbol=EUR/USD",
        '{"symbol":"EUR/USD","rate":1.10525,"timestamp":1787239561}',
        (quote("twelve_data", "EURUSD", 1.10525, event_time=at("2026-08-20T15:26:01")),),
    ),
    ReadOnly(
        "twelve_data",
        "/currency_conversion?symbol=BTC/USD&amount=2",
        '{"symbol":"BTC/USD","rate":"90100.5","amount":180201.0,"timestamp":1787239560}',
        (quote("twelve_data", "BTC-USD", 90100.5, event_time=at("2026-08-20T15:26:00"), event_time_resolution_s=60.0),),
    ),
    ReadOnly(
        "alpha_vantage",
        "/query?apikey=x&function=GLOBAL_QUOTE&symbol=ACME&datatype=csv",
        "symbol,open,high,low,price,volume,latestDay,previousClose,change,changePercent\r\n"
        "ACME,100.0,102.0,99.0,101.25,5000,2026-08-19,100.5,0.75,0.7463%\r\n",
        (
            quote(
                "alpha_vantage",
                "ACME",
                101.25,
                (LISTING,),
                Session.CLOSED,
                event_time=at("2026-08-19T20:00:00"),
                event_time_resolution_s=86400.0,
                open=100.0,
                high=102.0,
                low=99.0,
                previous_close=100.5,
                volume=5000.0,
            ),
        ),
    ),
    ReadOnly(
        "alpha_vantage",
        "/query?...",
        '{"Global Quote":{"01. symbol":"ACME","05. price":"101.25","07. latest trading day":"2026-08-19"}}',
        (
            quote(
                "alpha_vantage",
                "ACME",
                101.25,
                (LISTING,),
                Session.CLOSED,
                event_time=at("2026-08-19T20:00:00"),
                event_time_resolution_s=86400.0,
            ),
        ),
    ),
    ReadOnly(
        "tiingo",
        "/tiingo/crypto/top?tickers=btcusd",
        '[{"ticker":"btcusd","topOfBookData":[{"lastPrice":90100.5,"lastSaleTimestamp":"2026-08-20T15:26:29.123456+00:00",'
        '"bidPrice":90100.0,"askPrice":90101.0,"quoteTimestamp":"2026-08-20T15:26:29+00:00"}]}]',
        (
            quote(
                "tiingo",
                "BTC-USD",
                90100.5,
                event_time=at("2026-08-20T15:26:29.123456"),
                bid=90100.0,
                ask=90101.0,
            ),
        ),
    ),
    ReadOnly(
        "tiingo",
        "/tiingo/fx/top?tickers=eurusd",
        '[{"ticker":"eurusd","quoteTimestamp":"2026-08-20T15:26:29.000000+00:00","bidPrice":1.105,"askPrice":1.107,'
        '"midPrice":1.106,"bidSize":1000000.0,"askSize":1000000.0}]',
        (
            quote(
                "tiingo",
                "EURUSD",
                1.106,
                ("the price is the middle of the source's own book",),
                event_time=at("2026-08-20T15:26:29"),
                bid=1.105,
                ask=1.107,
            ),
        ),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/stock/ACME/price",
        "101.25",
        (quote("iex_cloud", "ACME", 101.25, (LISTING, UNTIMED)),),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/stock/ACME/ohlc",
        '{"symbol":"ACME","open":{"price":100.0,"time":1787146200000},"close":{"price":101.25,"time":1787169600000},'
        '"high":102.0,"low":99.0}',
        (
            quote(
                "iex_cloud",
                "ACME",
                101.25,
                (LISTING,),
                Session.CLOSED,
                event_time=at("2026-08-19T20:00:00"),
                open=100.0,
                high=102.0,
                low=99.0,
            ),
        ),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/stock/ACME/delayed-quote",
        '{"symbol":"ACME","delayedPrice":101.25,"delayedPriceTime":1787238600000,"high":102.0,"low":99.0,'
        '"totalVolume":5000}',
        (
            quote(
                "iex_cloud",
                "ACME",
                101.25,
                (LISTING,),
                event_time=at("2026-08-20T15:10:00"),
                declared_delay_s=900.0,
                high=102.0,
                low=99.0,
                volume=5000.0,
            ),
        ),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/stock/market/list/mostactive",
        '[{"symbol":"ACME","latestPrice":101.25,"latestSource":"IEX real time price","latestUpdate":1787239580000,'
        '"open":null,"high":null,"low":null,"latestVolume":5000}]',
        (
            quote(
                "iex_cloud",
                "ACME",
                101.25,
                (LISTING,),
                event_time=at("2026-08-20T15:26:20"),
                volume=5000.0,
                venue_only=True,
            ),
        ),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/fx/latest?symbols=EURUSD",
        '[{"symbol":"EURUSD","rate":1.10525,"timestamp":1787239580000,"isDerived":false}]',
        (quote("iex_cloud", "EURUSD", 1.10525, event_time=at("2026-08-20T15:26:20")),),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/crypto/BTCUSDT/quote",
        '{"symbol":"BTCUSDT","latestPrice":90100.5,"latestSource":"Real time price","latestUpdate":1787239580000,'
        '"bidPrice":90100.0,"askPrice":90101.0}',
        (
            quote(
                "iex_cloud",
                "BTC-USDT",
                90100.5,
                currency="USDT",
                event_time=at("2026-08-20T15:26:20"),
                bid=90100.0,
                ask=90101.0,
            ),
        ),
    ),
    ReadOnly(
        "cboe",
        "/api/global/delayed_quotes/options/ACME.json",
        '{"timestamp":"2026-08-20 15:26:20","symbol":"ACME","data":{"symbol":"ACME","current_price":101.25,'
        '"price_change":0.75,"close":101.25,"prev_day_close":100.5,"volume":5000,"open":100.0,"high":102.0,"low":99.0,"bid":101.2,"ask":101.3,'
        '"last_trade_time":"2026-08-20T11:11:20","options":[{"option":"ACME260821C00100000","bid":1.0,"ask":1.2}]}}',
        (
            quote(
                "cboe",
                "ACME",
                101.25,
                ("the file names no currency; it is that of the listing",),
                event_time=at("2026-08-20T15:11:20"),
                declared_delay_s=900.0,
                bid=101.2,
                ask=101.3,
                open=100.0,
                high=102.0,
                low=99.0,
                previous_close=100.5,
                volume=5000.0,
                venue_only=True,
            ),
        ),
    ),
    ReadOnly(
        "nasdaq",
        "/api/quote/ACME/chart?assetclass=stocks",
        '{"data":{"symbol":"ACME","timeAsOf":"Aug 20, 2026 11:26 AM ET","lastSalePrice":"$101.25",'
        '"netChange":"+0.75","percentageChange":"+0.7%","previousClose":"$100.50",'
        '"chart":[{"z":{"dateTime":"9:30 AM","value":"100"},"x":1787218200000,"y":100.0}]},'
        '"message":null,"status":{"rCode":200,"bCodeMessage":null,"developerMessage":null}}',
        (
            quote(
                "nasdaq",
                "ACME",
                101.25,
                event_time=at("2026-08-20T15:26:00"),
                event_time_resolution_s=60.0,
                previous_close=100.5,
            ),
        ),
    ),
    ReadOnly(
        "nasdaq",
        "/api/quote/basic?symbol=acme%7Cstocks",
        '{"data":{"records":[{"key":"ACME|STOCKS","ticker":["ACME","Acme Inc."],"lastSale":"$101.25","change":"+0.75",'
        '"pctChange":"+0.7%","volume":"5,000","assetclass":"STOCKS"}]},"message":null,"status":{"rCode":200}}',
        (
            quote(
                "nasdaq",
                "ACME",
                101.25,
                ("the source gives no time; the session is the one at receipt",),
                previous_close=100.5,
                volume=5000.0,
            ),
        ),
    ),
    ReadOnly(
        "yahoo",
        "/v7/finance/spark?symbols=ACME&range=1d&interval=5m",
        '{"spark":{"result":[{"symbol":"ACME","response":[{"meta":{"symbol":"ACME","currency":"USD",'
        '"exchangeTimezoneName":"America/New_York","regularMarketPrice":101.25,"regularMarketTime":1787239580,'
        '"previousClose":100.5},"timestamp":[1787218200],"indicators":{"quote":[{"close":[100.0]}]}}]}],"error":null}}',
        (quote("yahoo", "ACME", 101.25, event_time=at("2026-08-20T15:26:20"), previous_close=100.5),),
    ),
    ReadOnly(
        "yahoo",
        "/v10/finance/quoteSummary/ACME.L?modules=price",
        '{"quoteSummary":{"result":[{"price":{"symbol":"ACME.L","quoteType":"EQUITY","currency":"GBp",'
        '"marketState":"REGULAR","regularMarketPrice":{"raw":10125.0,"fmt":"10,125.00"},'
        '"regularMarketTime":1787239580,"regularMarketVolume":{"raw":5000,"fmt":"5k"},"postMarketPrice":{}}}],'
        '"error":null}}',
        (
            quote(
                "yahoo",
                "ACME.L",
                101.25,
                ("prices are quoted in GBp and were divided by 100",),
                currency="GBP",
                event_time=at("2026-08-20T15:26:20"),
                volume=5000.0,
            ),
        ),
    ),
)
"""One of every call for prices that is read and never sent, with what it says."""
