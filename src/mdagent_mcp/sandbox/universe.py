"""What can be traded in the simulated market: names, levels, liquidity, and a few corporate actions.

Levels are plausible round numbers, not prices of any day. `SIM000` to `SIM999` are synthetic companies for tests that
need many symbols; every other symbol that is not listed here is unknown to all vendors. `NKLA` is delisted: each
vendor shows it the way it shows a company that is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

from mdagent_mcp.domain.instruments import AssetClass, Instrument, parse_symbol
from mdagent_mcp.domain.prices import Dividend, Split
from mdagent_mcp.sandbox.noise import Noise

FIRST_DAY: Final = date(2010, 1, 4)
"""No simulated price is older."""
DELISTED: Final = "NKLA"
"""A company that every vendor once knew."""

_DIGITS: Final = {0.00001: 5, 0.001: 3, 0.01: 2, 0.02: 2}
_SYNTHETIC: Final = re.compile(r"SIM[0-9]{3}")


@dataclass(frozen=True, slots=True)
class Liquidity:
    """How a class of instruments trades.

    Attributes:
        minute_sd_bp: standard deviation of one-minute returns in basis points, averaged over the day.
        spread_bp: usual bid-ask spread in basis points; never less than a tick.
        print_s: seconds from one print to the next; divides 30.
        daily_volume: shares or units on an average day.
    """

    minute_sd_bp: float
    spread_bp: float
    print_s: int
    daily_volume: float


_INDEX_FUND: Final = Liquidity(3.1, 0.6, 2, 6.0e7)
_MEGA: Final = Liquidity(5.4, 1.4, 2, 4.5e7)
_LARGE: Final = Liquidity(4.6, 2.2, 5, 7.0e6)
_LOW_PRICED: Final = Liquidity(6.7, 7.2, 5, 6.0e7)
_SMALL: Final = Liquidity(9.8, 8.0, 15, 1.5e6)
_INDEX: Final = Liquidity(3.0, 0.5, 2, 0.0)
_VOLATILITY: Final = Liquidity(28.0, 10.0, 15, 0.0)
_YIELD: Final = Liquidity(6.0, 10.0, 15, 0.0)
_LONDON: Final = Liquidity(5.0, 3.0, 5, 9.0e6)
_COIN: Final = Liquidity(7.0, 0.4, 2, 2.6e10)
_CURRENCY: Final = Liquidity(1.0, 0.8, 2, 0.0)


@dataclass(frozen=True, slots=True)
class Security:
    """One instrument of the simulated market.

    Attributes:
        instrument: what it is.
        name: for people.
        kind: EQUITY, ETF, INDEX, CRYPTOCURRENCY or CURRENCY.
        exchange: code as market data sites write it (`NMS`, `NYQ`, `PCX`, `LSE`, `SNP`, `CCC`, `CCY`).
        base: level around which its price wanders, in the unit it is quoted in.
        liquidity: how it trades.
        tick: price increment.
        annual_dividend: as a fraction of `base`; 0 for none.
        splits: in its past, oldest first.
    """

    instrument: Instrument
    name: str
    kind: str
    exchange: str
    base: float
    liquidity: Liquidity
    tick: float = 0.01
    annual_dividend: float = 0.0
    splits: tuple[Split, ...] = ()

    @property
    def symbol(self) -> str:
        """The canonical symbol."""
        return self.instrument.symbol

    @property
    def has_extended_hours(self) -> bool:
        """Whether it trades before and after the regular session."""
        return self.instrument.asset_class is AssetClass.US_EQUITY

    @property
    def quoted_in(self) -> str:
        """The currency label of its prices; London shares are quoted in pence."""
        if self.exchange == "LSE":
            return "GBp"
        return self.instrument.currency or "USD"

    @property
    def digits(self) -> int:
        """Decimals of its tick."""
        return _DIGITS.get(self.tick, 0)

    def split_factor(self, after: date, until: date) -> float:
        """New shares for one old share by the splits after day `after`, up to and including day `until`."""
        factor = 1.0
        for split in self.splits:
            if after < split.day <= until:
                factor *= split.ratio
        return factor


_ROWS: Final = """
AAPL NMS mega 265 .004 Apple Inc.
MSFT NMS mega 480 .007 Microsoft Corporation
NVDA NMS mega 185 .0002 NVIDIA Corporation
AMZN NMS mega 235 0 Amazon.com, Inc.
GOOGL NMS mega 290 .003 Alphabet Inc.
GOOG NMS mega 291 .003 Alphabet Inc.
META NMS mega 640 .003 Meta Platforms, Inc.
TSLA NMS mega 410 0 Tesla, Inc.
AVGO NMS mega 340 .007 Broadcom Inc.
AMD NMS mega 215 0 Advanced Micro Devices, Inc.
NFLX NMS large 105 0 Netflix, Inc.
COST NMS large 910 .006 Costco Wholesale Corporation
ADBE NMS large 330 0 Adobe Inc.
CSCO NMS large 76 .021 Cisco Systems, Inc.
INTC NMS lowpriced 36 0 Intel Corporation
QCOM NMS large 165 .022 QUALCOMM Incorporated
TXN NMS large 160 .034 Texas Instruments Incorporated
AMGN NMS large 320 .03 Amgen Inc.
PEP NMS large 146 .039 PepsiCo, Inc.
MRVL NMS large 88 .003 Marvell Technology, Inc.
MU NMS mega 230 .002 Micron Technology, Inc.
SBUX NMS large 84 .029 Starbucks Corporation
PYPL NMS large 62 .009 PayPal Holdings, Inc.
BRK.B NYQ large 500 0 Berkshire Hathaway Inc.
JPM NYQ large 300 .02 JPMorgan Chase & Co.
V NYQ large 330 .008 Visa Inc.
MA NYQ large 540 .006 Mastercard Incorporated
JNJ NYQ large 200 .026 Johnson & Johnson
WMT NYQ large 104 .009 Walmart Inc.
PG NYQ large 148 .029 The Procter & Gamble Company
XOM NYQ large 116 .034 Exxon Mobil Corporation
CVX NYQ large 152 .045 Chevron Corporation
HD NYQ large 350 .026 The Home Depot, Inc.
KO NYQ large 72 .028 The Coca-Cola Company
ORCL NYQ large 205 .01 Oracle Corporation
BAC NYQ lowpriced 52 .021 Bank of America Corporation
DIS NYQ large 104 .014 The Walt Disney Company
MCD NYQ large 308 .024 McDonald's Corporation
CRM NYQ large 235 .007 Salesforce, Inc.
IBM NYQ large 300 .022 International Business Machines Corporation
GE NYQ large 295 .005 GE Aerospace
BA NYQ large 185 0 The Boeing Company
CAT NYQ large 560 .011 Caterpillar Inc.
T NYQ lowpriced 25.5 .043 AT&T Inc.
VZ NYQ lowpriced 41 .066 Verizon Communications Inc.
PFE NYQ lowpriced 25 .068 Pfizer Inc.
F NYQ lowpriced 13 .046 Ford Motor Company
UBER NYQ large 86 0 Uber Technologies, Inc.
NKE NYQ large 63 .025 NIKE, Inc.
BABA NYQ large 156 .01 Alibaba Group Holding Limited
SPOT NYQ large 620 0 Spotify Technology S.A.
PLTR NMS mega 165 0 Palantir Technologies Inc.
COIN NMS large 255 0 Coinbase Global, Inc.
PLUG NCM small 2.1 0 Plug Power Inc.
SNDL NCM small 1.7 0 SNDL Inc.
SENS NCM small 8.5 0 Senseonics Holdings, Inc.
SPY PCX fund 665 .011 SPDR S&P 500 ETF Trust
QQQ NGM fund 600 .005 Invesco QQQ Trust
IWM PCX fund 240 .01 iShares Russell 2000 ETF
DIA PCX fund 465 .015 SPDR Dow Jones Industrial Average ETF Trust
VTI PCX fund 328 .011 Vanguard Total Stock Market Index Fund ETF
GLD PCX fund 378 0 SPDR Gold Shares
TLT NGM fund 89 .043 iShares 20+ Year Treasury Bond ETF
XLF PCX fund 52 .013 Financial Select Sector SPDR Fund
^GSPC SNP index 6650 0 S&P 500
^NDX NIM index 24600 0 NASDAQ 100
^IXIC NIM index 22600 0 NASDAQ Composite
^DJI DJI index 46500 0 Dow Jones Industrial Average
^RUT WCB index 2400 0 Russell 2000 Index
^VIX WCB volatility 19 0 CBOE Volatility Index
^TNX CGI yield 4.1 0 CBOE Interest Rate 10 Year T No
BTC-USD CCC coin 95000 0 Bitcoin USD
ETH-USD CCC coin 3200 0 Ethereum USD
EURUSD CCY currency 1.155 0 EUR/USD
GBPUSD CCY currency 1.312 0 GBP/USD
VOD.L LSE london 92 .04 Vodafone Group Public Limited Company
AZN.L LSE london 13600 .018 AstraZeneca PLC
NKLA NMS small 12 0 Nikola Corporation
"""

_STYLES: Final = {
    "fund": (_INDEX_FUND, "ETF", 0.01),
    "mega": (_MEGA, "EQUITY", 0.01),
    "large": (_LARGE, "EQUITY", 0.01),
    "lowpriced": (_LOW_PRICED, "EQUITY", 0.01),
    "small": (_SMALL, "EQUITY", 0.01),
    "index": (_INDEX, "INDEX", 0.01),
    "volatility": (_VOLATILITY, "INDEX", 0.01),
    "yield": (_YIELD, "INDEX", 0.01),
    "coin": (_COIN, "CRYPTOCURRENCY", 0.01),
    "currency": (_CURRENCY, "CURRENCY", 0.00001),
    "london": (_LONDON, "EQUITY", 0.02),
}
_SPLITS: Final = {
    "NVDA": (Split(date(2026, 3, 16), 4.0),),
    "NFLX": (Split(date(2025, 6, 9), 10.0),),
    "PLUG": (Split(date(2026, 1, 12), 0.1),),
}
_TICKS: Final = {"AZN.L": 2.0, "^TNX": 0.001}
_DIVIDEND_MONTHS: Final = (2, 5, 8, 11)
_DIVIDEND_DAY: Final = 10


def find_security(symbol: str) -> Security | None:
    """The security of a canonical symbol, the delisted one included; None when nobody knows it."""
    listed = securities().get(symbol)
    return _synthetic(symbol) if listed is None and _SYNTHETIC.fullmatch(symbol) else listed


def known_security(symbol: str) -> Security:
    """The security of a canonical symbol that is known to exist.

    Raises:
        LookupError: when it does not.
    """
    found = find_security(symbol)
    if found is None:
        raise LookupError(symbol)
    return found


@cache
def securities() -> dict[str, Security]:
    """Every listed security by canonical symbol, without the synthetic ones."""
    return {security.symbol: security for security in map(_from_row, _ROWS.strip().splitlines())}


def dividends_of(security: Security, first: date, last: date) -> tuple[Dividend, ...]:
    """The nominal quarterly dividends with ex-dates on or after the tenth of February, May, August and November.

    Amounts are per share of the newest split basis; the market moves a date that is no trading day to the next one.
    """
    if security.annual_dividend == 0:
        return ()
    amount = round(security.base * security.annual_dividend / 4, 3)
    days = (date(year, month, _DIVIDEND_DAY) for year in range(first.year, last.year + 1) for month in _DIVIDEND_MONTHS)
    return tuple(Dividend(day, amount) for day in days if first <= day <= last)


def _from_row(row: str) -> Security:
    symbol, exchange, style, base, dividend, name = row.split(" ", 5)
    liquidity, kind, tick = _STYLES[style]
    return Security(
        parse_symbol(symbol),
        name,
        kind,
        exchange,
        float(base),
        liquidity,
        _TICKS.get(symbol, tick),
        float(dividend),
        _SPLITS.get(symbol, ()),
    )


@cache
def _synthetic(symbol: str) -> Security:
    noise = Noise(0)
    base = round(5.0 * 100.0 ** noise.uniform(symbol, "base"), 2)
    liquidity = (_MEGA, _LARGE, _LOW_PRICED, _SMALL)[noise.number(symbol, "class") % 4]
    return Security(parse_symbol(symbol), f"Simulated Company {symbol[3:]} Inc.", "EQUITY", "NMS", base, liquidity)
