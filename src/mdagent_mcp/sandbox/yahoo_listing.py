"""How Yahoo names and classifies what it lists: spellings, exchange names, time zones, trading hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from struct import Struct
from typing import Any, Final
from zoneinfo import ZoneInfo

from mdagent_mcp.domain.calendar import TradingSession
from mdagent_mcp.domain.instruments import AssetClass
from mdagent_mcp.sandbox.process import find_session
from mdagent_mcp.sandbox.universe import Security, find_security
from mdagent_mcp.sandbox.wire import canonical

_FLOAT32: Final = Struct("<f")
_LONDON_AUCTIONS: Final = timedelta(minutes=45)


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange as Yahoo shows it.

    Attributes:
        name: full name.
        timezone: IANA name.
        market: Yahoo's market id.
        source: `quoteSourceName`.
        delay_min: `exchangeDataDelayedBy`.
    """

    name: str
    timezone: str = "America/New_York"
    market: str = "us_market"
    source: str = "Nasdaq Real Time Price"
    delay_min: int = 0


EXCHANGES: Final = {
    "NMS": Exchange("NasdaqGS"),
    "NGM": Exchange("NasdaqGM"),
    "NCM": Exchange("NasdaqCM"),
    "NYQ": Exchange("NYSE"),
    "PCX": Exchange("NYSEArca"),
    "SNP": Exchange("SNP", source="Free Realtime Quote"),
    "NIM": Exchange("Nasdaq GIDS", source="Free Realtime Quote"),
    "DJI": Exchange("DJI", source="Free Realtime Quote"),
    "WCB": Exchange("Cboe Indices", source="Free Realtime Quote"),
    "CGI": Exchange("Cboe Indices", source="Free Realtime Quote"),
    "CCC": Exchange("CCC", "UTC", "ccc_market", "CoinMarketCap"),
    "CCY": Exchange("CCY", "Europe/London", "ccy_market", "Delayed Quote"),
    "LSE": Exchange("LSE", "Europe/London", "gb_market", "Delayed Quote", 15),
}


def yahoo_symbol(security: Security) -> str:
    """Yahoo's own spelling."""
    if security.instrument.asset_class is AssetClass.FOREX:
        return f"{security.symbol}=X"
    if security.instrument.asset_class is AssetClass.US_EQUITY:
        return security.symbol.replace(".", "-")
    return security.symbol


def read_symbol(text: str) -> str | None:
    """The canonical symbol behind Yahoo's spelling; None for what Yahoo would not know, as `BRK.B` or `EURUSD`."""
    upper = text.strip().upper()
    symbol = canonical(upper)
    security = None if symbol is None else find_security(symbol)
    return symbol if security is not None and yahoo_symbol(security) == upper else None


def epoch(instant: datetime) -> int:
    """Whole epoch seconds."""
    return int(instant.timestamp())


def float32(value: float) -> float:
    """The value as it comes out of a 32-bit store, as Yahoo's series do."""
    stored: float = _FLOAT32.unpack(_FLOAT32.pack(value))[0]
    return stored


def zone_of(security: Security) -> ZoneInfo:
    """The time zone Yahoo shows the exchange in."""
    return ZoneInfo(EXCHANGES[security.exchange].timezone)


def zone_fields(security: Security, instant: datetime) -> dict[str, Any]:
    """Offset and short name of the exchange's zone at an instant, as charts carry them."""
    local = instant.astimezone(zone_of(security))
    offset = local.utcoffset() or timedelta(0)
    return {"timezone": local.tzname(), "gmtoffset": int(offset.total_seconds())}


def day_stamp(security: Security, day: date) -> int:
    """The time stamp of a daily bar: the session's open; midnight in the exchange's zone for currencies."""
    session = find_session(security, day)
    if session is None or security.kind == "CURRENCY":
        return midnight_stamp(security, day)
    return epoch(session.open)


def midnight_stamp(security: Security, day: date) -> int:
    """Midnight of a date in the exchange's zone, which weekly and monthly bars are stamped with."""
    return epoch(datetime(day.year, day.month, day.day, tzinfo=zone_of(security)))


def trading_period(security: Security, session: TradingSession) -> dict[str, dict[str, Any]]:
    """Start and end of pre-market, regular and post-market trading of one session."""
    pre, post, end = session.pre_open, session.post_close, session.close
    if security.exchange == "LSE":
        pre, post = session.open - _LONDON_AUCTIONS, session.close + _LONDON_AUCTIONS
    elif not security.has_extended_hours:
        end -= timedelta(minutes=1 if security.kind == "CRYPTOCURRENCY" else 0)
        pre, post = session.open, end
    spans = {"pre": (pre, session.open), "regular": (session.open, end), "post": (end, post)}
    return {name: _span(security, start, stop) for name, (start, stop) in spans.items()}


def _span(security: Security, start: datetime, end: datetime) -> dict[str, Any]:
    zone = zone_fields(security, start)
    return {"timezone": zone["timezone"], "start": epoch(start), "end": epoch(end), "gmtoffset": zone["gmtoffset"]}
