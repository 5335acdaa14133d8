"""`record`: one live exchange with a vendor, written as two files that `parse` reads back.

The rule of this module: what is written has no key in it; a reply that is an error is written like any other, since
that is what a bug report is about.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from mdagent_mcp.app import asked_vendor, vendor_client
from mdagent_mcp.cli.opening import Opening, opening_of
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.recorded_exchange import vendor_named
from mdagent_mcp.cli.startup import begin_logging, load_settings
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.failures import SourceError
from mdagent_mcp.domain.instruments import Instrument, InvalidSymbolError, parse_symbol
from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.transport.recording import Asking, RecordedExchange, history_asking, quote_asking
from mdagent_mcp.transport.recording import record as record_exchange

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a person wants recorded."""

    vendor: Vendor
    instrument: Instrument
    history: bool

    @property
    def kind(self) -> str:
        return "history" if self.history else "quote"


def record(arguments: argparse.Namespace) -> int:
    """Fetch once and write; exit 1 when nothing came back."""
    wish = _Wish(vendor_named(arguments.source), _instrument(arguments.symbol), arguments.history)
    settings = load_settings(arguments).settings
    begin_logging(settings)
    opening = opening_of(arguments, settings)
    exchange = anyio.run(_over_sandbox if opening.simulated else _live, opening, wish)
    described, body = _write(Path(arguments.out), wish, exchange, simulated=opening.simulated)
    sys.stdout.write(
        f"HTTP {exchange.status}, {len(exchange.body)} bytes\n{described}\n{body}\n"
        f"Read it with: {shlex.join(_reading(wish, exchange, body))}\n"
    )
    return ExitCode.OK


def _instrument(text: str) -> Instrument:
    try:
        return parse_symbol(text)
    except InvalidSymbolError as error:
        raise CommandError(f"SYMBOL: {error}") from error


async def _live(opening: Opening, wish: _Wish) -> RecordedExchange:
    return await _fetch(opening, opening.settings, wish)


async def _over_sandbox(opening: Opening, wish: _Wish) -> RecordedExchange:
    from mdagent_mcp.cli.simulation import simulated_settings  # noqa: PLC0415 - for simulated prices only
    from mdagent_mcp.sandbox.server import running_sandbox  # noqa: PLC0415 - for simulated prices only

    async with running_sandbox(opening.clock) as sandbox:
        return await _fetch(opening, simulated_settings(opening.settings, sandbox), wish)


async def _fetch(opening: Opening, settings: Settings, wish: _Wish) -> RecordedExchange:
    _require_usable(wish.vendor, settings, simulated=opening.simulated)
    # Which calls a key may make depends on its plan; a free key at Polygon is refused what a paid one is asked for.
    vendor = asked_vendor(wish.vendor, settings.source(wish.vendor.id))
    asking = (history_asking if wish.history else quote_asking)(vendor, wish.instrument, opening.clock)
    if not isinstance(asking, Asking):
        raise CommandError(asking, ExitCode.NO_ANSWER)
    client = vendor_client(vendor, settings, opening.clock)
    limit = settings.source(vendor.id).timeout_s or vendor.timeout_s
    try:
        with opening.clock.limit(limit):
            return await record_exchange(client, asking)
    except TimeoutError as error:
        raise CommandError(f"{wish.vendor.id}: no answer within {limit:g} s", ExitCode.NO_ANSWER) from error
    except SourceError as error:
        raise CommandError(f"{wish.vendor.id}: {error.kind}: {error.detail}", ExitCode.NO_ANSWER) from error
    finally:
        await client.aclose()


def _require_usable(vendor: Vendor, settings: Settings, *, simulated: bool) -> None:
    chosen = settings.source(vendor.id)
    if vendor.retirement is not None and not vendor.standing(chosen.urls):
        raise CommandError(f"{vendor.id}: {vendor.retirement.told}")
    if not chosen.enabled:
        why = "it is disabled in the settings"
        raise CommandError(f"{vendor.id}: {why}{', or the sandbox does not speak for it' if simulated else ''}")
    if vendor.key is not None and chosen.api_key is None:
        place = f" ({vendor.key.signup_url})" if vendor.key.signup_url else ""
        raise CommandError(f"{vendor.id}: it needs a key: set {vendor.key.environment[0]}{place}")


def _write(folder: Path, wish: _Wish, exchange: RecordedExchange, *, simulated: bool) -> tuple[Path, Path]:
    stamp = f"{exchange.received_at:%Y%m%dT%H%M%S}Z"
    name = f"{wish.vendor.id}-{_UNSAFE.sub('_', wish.instrument.symbol)}-{wish.kind}-{stamp}"
    described, body = folder / f"{name}.json", folder / f"{name}.body"
    text = {
        "source": wish.vendor.id,
        "symbol": wish.instrument.symbol,
        "kind": wish.kind,
        "simulated": simulated,
        "url": exchange.url,
        "status": exchange.status,
        "headers": dict(exchange.headers),
        "received_at": exchange.received_at.isoformat(),
        "body": body.name,
        "parse": _reading(wish, exchange, Path(body.name)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with body.open("xb") as file:
            file.write(exchange.body)
        with described.open("x", encoding="utf-8") as file_:
            file_.write(json.dumps(text, indent=2) + "\n")
    except OSError as error:
        raise CommandError(f"--out: {error.filename} cannot be written: {error.strerror}") from error
    return described, body


def _reading(wish: _Wish, exchange: RecordedExchange, body: Path) -> list[str]:
    """The command that reads an exchange back."""
    words = ["mdagent-mcp", "parse", wish.vendor.id, "--url", exchange.url, "--status", str(exchange.status)]
    words += ["--received-at", exchange.received_at.isoformat()]
    # A symbol may begin with what looks like an option.
    return [*words, f"--symbol={wish.instrument.symbol}", "--body", str(body)]
