"""Symbols in every common spelling, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mdagent_mcp.domain.calendar import calendar_named
from mdagent_mcp.domain.instruments import (
    ECHO_LIMIT,
    FIAT,
    SUFFIXES,
    AssetClass,
    Instrument,
    InvalidSymbolError,
    echo,
    parse_symbol,
)

US, FOREIGN = AssetClass.US_EQUITY, AssetClass.FOREIGN_EQUITY
APPLE = Instrument("AAPL", US, "XNYS", "USD", "AAPL")
BERKSHIRE = Instrument("BRK.B", US, "XNYS", "USD", "BRK", "B")
VODAFONE = Instrument("VOD.L", FOREIGN, "XLON", "GBP", "VOD", "L")
VOLVO = Instrument("VOLV-B.ST", FOREIGN, "XSTO", "SEK", "VOLV-B", "ST")
BITCOIN = Instrument("BTC-USD", AssetClass.CRYPTO, "24/7", "USD", "BTC", "USD")
EURO = Instrument("EURUSD", AssetClass.FOREX, "24/5", "USD", "EUR", "USD")


@pytest.mark.parametrize(
    ("text", "instrument"),
    [
        ("AAPL", APPLE),
        ("aapl", APPLE),
        ("  Aapl\n", APPLE),
        ("F", Instrument("F", US, "XNYS", "USD", "F")),
        ("T", Instrument("T", US, "XNYS", "USD", "T")),
        ("BRK.B", BERKSHIRE),
        ("BRK-B", BERKSHIRE),
        ("brk/b", BERKSHIRE),
        ("VOD.L", VODAFONE),
        ("vod.l", VODAFONE),
        ("0700.HK", Instrument("0700.HK", FOREIGN, "XHKG", "HKD", "0700", "HK")),
        ("005930.KS", Instrument("005930.KS", FOREIGN, "XKRX", "KRW", "005930", "KS")),
        ("7203.T", Instrument("7203.T", FOREIGN, "XTKS", "JPY", "7203", "T")),
        ("NESN.SW", Instrument("NESN.SW", FOREIGN, "XSWX", "CHF", "NESN", "SW")),
        ("VOLV-B.ST", VOLVO),
        ("^GSPC", Instrument("^GSPC", AssetClass.INDEX, "XNYS", None, "GSPC")),
        ("^ftse", Instrument("^FTSE", AssetClass.INDEX, "XLON", None, "FTSE")),
        ("^N225", Instrument("^N225", AssetClass.INDEX, "XTKS", None, "N225")),
        ("BTC-USD", BITCOIN),
        ("btc/usd", BITCOIN),
        ("ETH-BTC", Instrument("ETH-BTC", AssetClass.CRYPTO, "24/7", "BTC", "ETH", "BTC")),
        ("BTC-USDT", Instrument("BTC-USDT", AssetClass.CRYPTO, "24/7", "USDT", "BTC", "USDT")),
        ("1INCH-USD", Instrument("1INCH-USD", AssetClass.CRYPTO, "24/7", "USD", "1INCH", "USD")),
        ("EURUSD", EURO),
        ("eur/usd", EURO),
        ("EUR-USD", EURO),
        ("EURUSD=X", EURO),
    ],
)
def test_every_common_spelling_gives_the_canonical_instrument(text: str, instrument: Instrument) -> None:
    """Case, spaces, the separator of a class or pair, and Yahoo's currency ending."""
    assert parse_symbol(text) == instrument
    assert instrument.is_us_listed == (instrument.asset_class is US)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\t\n",
        "A" * 10_000,
        "AAPL" + " " * 3 + "MSFT",
        "AAPL,MSFT",
        "AAPL\x00",
        "\x1b[31mAAPL",
        "AA\nPL",
        "../../etc/passwd",
        "..",
        "/etc",
        "C:\\AAPL",
        "😀",
        "AAPL😀",
        "\uff21\uff21\uff30\uff2c",
        "ÅÄÖ",
        "²",
        "<script>",
        "AAPL'--",
        "AAPL;DROP",
        "%41%41",
        "${AAPL}",
        "{AAPL}",
        "^",
        "^^GSPC",
        "=X",
        "USDUSD=X",
        "AAPL=X",
        "GC=F",
        ".L",
        "-USD",
        "AAPL.",
        "AAPL.B.C",
        "AAPL.ABCD",
        "X:BTCUSD",
        "1ABC",
        "TOOLONGX",
        "TOOLONGXY.L",
    ],
)
def test_what_is_no_symbol_is_refused_with_an_example_of_one(text: str) -> None:
    """The error shows what is right, and never more than 40 characters of what was wrong."""
    with pytest.raises(InvalidSymbolError) as refused:
        parse_symbol(text)
    message = str(refused.value)
    assert "AAPL" in message
    assert len(message) < 160
    assert message.isprintable()


@pytest.mark.parametrize("text", ["\u00df", "\ufb01", "\u0131", "\u017f", "\u0149"])
def test_letters_that_only_turn_into_latin_ones_are_refused(text: str) -> None:
    """Upper case of a sharp s is SS, which is another symbol."""
    with pytest.raises(InvalidSymbolError):
        parse_symbol(text)


@pytest.mark.parametrize("text", ["VOD-L", "BP/L", "SAP-F", "RY-T"])
def test_a_share_class_never_looks_like_an_exchange(text: str) -> None:
    """VOD-L is no New York share whose canonical spelling is London's."""
    try:
        parsed = parse_symbol(text)
    except InvalidSymbolError:
        return
    assert parsed == parse_symbol(parsed.symbol)


@given(st.text(max_size=30))
@example("VOD-L")
@example("ß")
def test_any_text_is_a_symbol_or_refused_and_a_canonical_one_is_its_own_reading(text: str) -> None:
    """Nothing else is raised; reading a canonical symbol again changes nothing; it is plain ASCII."""
    try:
        parsed = parse_symbol(text)
    except InvalidSymbolError:
        return
    assert parse_symbol(parsed.symbol) == parsed
    assert parsed.symbol.isascii()
    assert parsed.symbol == parsed.symbol.upper()
    assert text.isascii()


@given(st.from_regex(r"[A-Za-z]{1,6}([.\-/][A-Za-z]{1,2})?", fullmatch=True))
def test_case_never_matters(text: str) -> None:
    """Agents write as they like."""

    def read(spelling: str) -> Instrument | None:
        try:
            return parse_symbol(spelling)
        except InvalidSymbolError:
            return None

    assert read(text.lower()) == read(text.upper()) == read(text)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_names_an_exchange_and_its_currency(suffix: str) -> None:
    """The calendar may be unknown, but it is the exchange's own; the currency is a known one."""
    parsed = parse_symbol(f"ABC.{suffix}")
    assert (parsed.symbol, parsed.asset_class, parsed.currency) == (f"ABC.{suffix}", FOREIGN, SUFFIXES[suffix].currency)
    assert parsed.currency in FIAT
    assert calendar_named(parsed.calendar).name == SUFFIXES[suffix].calendar


def test_what_is_echoed_is_short_and_printable() -> None:
    """A terminal is not to be driven by somebody's input."""
    assert echo("A" * 40) == "A" * 40
    assert echo("A" * 41) == "A" * 40 + "…"
    assert echo("\x1b[31m") == "�[31m"
    assert len(echo("\n" * 10_000)) == ECHO_LIMIT + 1
