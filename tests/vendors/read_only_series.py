"""Made-up replies of the calls for bars that are never sent, in the vendors' shapes with values of our own."""

from __future__ import annotations

from typing import Final

from mdagent_mcp.domain.prices import Adjustment, Bar, Interval
from vendors.read_only_exchanges import LISTING, Bars, ReadOnly
from vendors.vendor_exchanges import at

TWO_DAYS: Final = (
    Bar(at("2026-08-18"), 10.0, 12.0, 9.0, 11.0, 1000.0),
    Bar(at("2026-08-19"), 11.0, 13.0, 10.5, 12.5, 1100.0),
)
TWO_DAYS_WITHOUT_VOLUME: Final = tuple(Bar(b.start, b.open, b.high, b.low, b.close) for b in TWO_DAYS)
TWO_MINUTES: Final = (
    Bar(at("2026-08-19T19:58:00"), 10.0, 12.0, 9.0, 11.0, 1000.0),
    Bar(at("2026-08-19T19:59:00"), 11.0, 13.0, 10.5, 12.5, 1100.0),
)

ALPHA: Final = "/query?apikey=x&function="
FX_META: Final = '"Meta Data":{"2. From Symbol":"EUR","3. To Symbol":"USD","6. Time Zone":"UTC"}'
ROW: Final = '{"1. open":"1.10","2. high":"1.30","3. low":"1.00","4. close":"1.20"}'

SERIES: Final = (
    ReadOnly(
        "twelve_data",
        "/time_series?symbol=ACME&interval=1day&format=CSV",
        "datetime;open;high;low;close;volume\n2026-08-19;11.0;13.0;10.5;12.5;1100\n2026-08-18;10.0;12.0;9.0;11.0;1000\n",
        Bars("ACME", Interval.DAY_1, Adjustment.SPLITS, TWO_DAYS, (LISTING,)),
    ),
    ReadOnly(
        "twelve_data",
        "/time_series?symbol=ACME&interval=1min&format=CSV",
        "datetime,open,high,low,close,volume\n"
        "2026-08-19 15:59:00,11,13,10.5,12.5,1100\n2026-08-19 15:58:00,10,12,9,11,1000",
        Bars("ACME", Interval.MIN_1, Adjustment.SPLITS, TWO_MINUTES, (LISTING,)),
    ),
    ReadOnly(
        "alpha_vantage",
        f"{ALPHA}TIME_SERIES_DAILY&symbol=ACME&datatype=csv",
        "timestamp,open,high,low,close,volume\n2026-08-19,11,13,10.5,12.5,1100\n2026-08-18,10,12,9,11,1000\n",
        Bars("ACME", Interval.DAY_1, Adjustment.NONE, TWO_DAYS, (LISTING,)),
    ),
    ReadOnly(
        "alpha_vantage",
        f"{ALPHA}TIME_SERIES_INTRADAY_EXTENDED&symbol=ACME&interval=1min&slice=year1month1",
        "time,open,high,low,close,volume\n"
        "2026-08-19 16:00:00,11,13,10.5,12.5,1100\n2026-08-19 15:59:00,10,12,9,11,1000\n",
        Bars("ACME", Interval.MIN_1, Adjustment.ALL, TWO_MINUTES, (LISTING,)),
    ),
    ReadOnly(
        "alpha_vantage",
        f"{ALPHA}FX_WEEKLY&from_symbol=EUR&to_symbol=USD",
        f'{{{FX_META},"Time Series FX (Weekly)":{{"2026-08-14":{ROW}}}}}',
        Bars(
            "EURUSD",
            Interval.WEEK_1,
            Adjustment.NONE,
            (Bar(at("2026-08-10"), 1.1, 1.3, 1.0, 1.2),),
            ("the source's days begin and end at 00:00 UTC",),
        ),
    ),
    ReadOnly(
        "alpha_vantage",
        "/query?...",
        f'{{{FX_META},"Time Series FX (Daily)":{{"2026-08-19":{ROW}}}}}',
        Bars(
            "EURUSD",
            Interval.DAY_1,
            Adjustment.NONE,
            (Bar(at("2026-08-19"), 1.1, 1.3, 1.0, 1.2),),
            ("the source's days begin and end at 00:00 UTC",),
        ),
    ),
    ReadOnly(
        "tiingo",
        "/tiingo/fx/eurusd/prices?resampleFreq=1day",
        '[{"date":"2026-08-18T00:00:00.000Z","ticker":"eurusd","open":10.0,"high":12.0,"low":9.0,"close":11.0},'
        '{"date":"2026-08-19T00:00:00.000Z","ticker":"eurusd","open":11.0,"high":13.0,"low":10.5,"close":12.5}]',
        Bars("EURUSD", Interval.DAY_1, Adjustment.NONE, TWO_DAYS_WITHOUT_VOLUME),
    ),
    ReadOnly(
        "tiingo",
        "/tiingo/crypto/prices?tickers=btcusd&resampleFreq=1min",
        '[{"ticker":"btcusd","priceData":['
        '{"date":"2026-08-19T19:58:00+00:00","open":10.0,"high":12.0,"low":9.0,"close":11.0,"volume":1000.0},'
        '{"date":"2026-08-19T19:59:00+00:00","open":11.0,"high":13.0,"low":10.5,"close":12.5,"volume":1100.0}]}]',
        Bars("BTC-USD", Interval.MIN_1, Adjustment.NONE, TWO_MINUTES),
    ),
    ReadOnly(
        "iex_cloud",
        "/stable/stock/ACME/previous",
        '{"date":"2026-08-19","symbol":"ACME","open":11.0,"high":13.0,"low":10.5,"close":12.5,"volume":1100}',
        Bars("ACME", Interval.DAY_1, Adjustment.SPLITS, TWO_DAYS[1:], (LISTING,)),
    ),
    ReadOnly(
        "finnhub",
        "/api/v1/crypto/candle?symbol=BINANCE:BTCUSDT&resolution=D",
        '{"s":"ok","t":[1787011200,1787097600],"o":[10.0,11.0],"h":[12.0,13.0],"l":[9.0,10.5],"c":[11.0,12.5],'
        '"v":[1000,1100]}',
        Bars("BTC-USDT", Interval.DAY_1, Adjustment.SPLITS, TWO_DAYS, (), "USDT"),
    ),
    ReadOnly(
        "finnhub",
        "/api/v1/forex/candle?symbol=OANDA:EUR_USD&resolution=1",
        '{"s":"ok","t":[1787169480,1787169540],"o":[10.0,11.0],"h":[12.0,13.0],"l":[9.0,10.5],"c":[11.0,12.5],'
        '"v":[1000,1100]}',
        Bars("EURUSD", Interval.MIN_1, Adjustment.NONE, TWO_MINUTES),
    ),
    ReadOnly(
        "cboe",
        "/api/global/us_indices/daily_prices/VIX_History.csv",
        "DATE,OPEN,HIGH,LOW,CLOSE\n08/18/2026,10.000000,12.000000,9.000000,11.000000\n"
        "08/19/2026,11.000000,13.000000,10.500000,12.500000\n",
        Bars("^VIX", Interval.DAY_1, Adjustment.SPLITS, TWO_DAYS_WITHOUT_VOLUME, (), None),
    ),
    ReadOnly(
        "cboe",
        "/api/global/us_indices/daily_prices/SPX_History.csv",
        "DATE,SPX\n08/19/2026,6500.250000\n",
        Bars(
            "^GSPC",
            Interval.DAY_1,
            Adjustment.SPLITS,
            (Bar(at("2026-08-19"), 6500.25, 6500.25, 6500.25, 6500.25),),
            ("the file holds one level a day, which stands for all four prices",),
            None,
        ),
    ),
)
"""One of every call for bars that is read and never sent, with what it says."""
