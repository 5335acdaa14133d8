"""No key leaves in any text: every way of failing of every vendor with a key, driven with a marked one."""

from __future__ import annotations

import base64
import html
import json
import logging
import random
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from mdagent_mcp.app import open_app, vendor_client
from mdagent_mcp.cli import main
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.config.settings import Settings
from mdagent_mcp.domain.answers import HistoryAnswer
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.domain.events import Event
from mdagent_mcp.domain.failures import FailureKind, SourceError
from mdagent_mcp.domain.instruments import parse_symbol
from mdagent_mcp.domain.prices import Adjustment, Interval
from mdagent_mcp.domain.questions import HistoryQuestion, QuoteQuestion
from mdagent_mcp.domain.refusals import refuse_errors
from mdagent_mcp.domain.vendor import QuoteQuery, Request, Vendor
from mdagent_mcp.engine.service import Engine
from mdagent_mcp.monitoring.bus import EventBus
from mdagent_mcp.server.views import (
    explanation_json,
    failure_json,
    history_failure_json,
    history_json,
    quotes_json,
    status_json,
)
from mdagent_mcp.testing import ManualClock
from mdagent_mcp.transport.redaction import Redactor
from mdagent_mcp.transport.source import Source, SourceOptions
from mdagent_mcp.vendors.alpha_vantage import ALPHA_VANTAGE
from mdagent_mcp.vendors.registry import VENDORS
from story.simulated_world import REGULAR, turning
from transport.invented_vendor import Web, never
from transport.loopback_server import answering

KEYED = tuple(vendor for vendor in VENDORS if vendor.key is not None)
MARK = "Mark3d/S3cret+Key=Z9Q&w"
FORMS = (
    MARK,
    MARK.upper(),
    quote(MARK, safe=""),
    quote(MARK),
    quote_plus(MARK),
    json.dumps(MARK)[1:-1].replace("/", r"\/"),
    html.escape(MARK),
    base64.b64encode(MARK.encode()).decode(),
    base64.b64encode(f"user:{MARK}".encode()).decode(),
)
TRACES = tuple(
    trace.lower()
    # The plain middle of the key, and what base64 makes of it at each of the three places it can begin at.
    for trace in (
        "S3cret",
        *(base64.b64encode(b"\0" * before + b"Mark3d/S3cret+Key")[4:18].decode() for before in range(3)),
    )
)
ECHO = " ".join(FORMS)
HOST = "http://127.0.0.1:9/vendor"


@dataclass(frozen=True)
class Way:
    """One way of failing.

    Attributes:
        name: for people.
        answer: what the vendor's web does.
    """

    name: str
    answer: Callable[[httpx.Request], Awaitable[httpx.Response] | httpx.Response]


def replying(name: str, status: int, body: str, **headers: str) -> Way:
    """A reply that repeats the key."""
    sent = {"X-Echo": quote(MARK, safe="")} | headers
    return Way(name, lambda _: httpx.Response(status, content=body.encode(), headers=sent))


def raising(error: Exception) -> Way:
    """A connection that breaks with the whole URL in its words."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return Way(f"{type(error).__name__} raised", answer)


def ways_of(vendor: Vendor) -> Iterator[Way]:
    """Every row of its error table, every status, and everything that goes wrong beneath."""
    for place, rule in enumerate(vendor.errors):
        said = (rule.contains or b"refused").decode()
        for body in (f"{said} {ECHO}", json.dumps({"message": f"{said} {MARK}", "status": "error", "code": 400})):
            yield replying(f"row {place}", rule.status or 200, body)
    for status in (400, 401, 402, 403, 404, 408, 414, 418, 429, 500, 503, 504):
        yield replying(f"status {status}", status, ECHO)
    for body in (ECHO, f"<html>{ECHO}</html>", json.dumps(ECHO), json.dumps({MARK: MARK}), json.dumps([{"c": MARK}])):
        yield replying(f"malformed {body[:12]}", 200, body)
    # A text that is cut where a key is in the middle of it.
    yield from (replying(f"cut after {n}", 500, "x" * n + MARK) for n in (180, 190, 195, 290, 295))
    notices = ("Information", "Note", "Error Message", "error", "message", "detail")
    yield from (replying(f"notice {name}", 200, json.dumps({name: f"premium {MARK}"})) for name in notices)
    url = f"https://vendor.example/q?apikey={quote(MARK, safe='')}&token={MARK}"
    yield replying("redirected abroad", 302, ECHO, Location=url)
    yield replying("redirected at home", 302, ECHO, Location=f"{HOST}/again?apikey={quote(MARK, safe='')}")
    yield replying("redirected to nonsense", 302, ECHO, Location=f"http://[{quote(MARK, safe='')}")
    for error in (
        httpx.ConnectError(url),
        httpx.ReadTimeout(url),
        httpx.RemoteProtocolError(url),
        httpx.DecodingError(url),
        httpx.InvalidURL(url),
        httpx.RequestError(url),
        OSError(5, url),
        ValueError(url),
        SourceError(FailureKind.SOURCE_ERROR, "plain"),
    ):
        yield raising(error)
    yield Way("silence", never)


def traced(texts: Mapping[str, str]) -> list[str]:
    """The places where a trace of the key is found, with its surroundings."""
    found = []
    for place, text in texts.items():
        lowered = text.lower()
        found += [f"{place}: …{text[max(0, at - 60) : at + 60]}…" for t in TRACES if (at := lowered.find(t)) >= 0]
    return found


def whole(error: BaseException) -> str:
    """An error with its traceback and everything that stands behind it, shown or not."""
    parts = ["".join(traceback.format_exception(error)), repr(error)]
    behind = error.__cause__ or error.__context__
    return "\n".join([*parts, whole(behind)]) if behind is not None else "\n".join(parts)


def settings_for(vendor: Vendor) -> Settings:
    """The vendor with the marked key at a host of its own."""
    return Settings.model_validate({"sources": {vendor.id: {"api_key": MARK, "base_url": HOST}}})


class Listening(EventBus):
    """A bus that writes down what passes."""

    heard: list[str]

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        type(self).heard.append(repr(event))
        super().emit(event)


async def asked_everything(engine: Engine, clock: ManualClock) -> list[str]:
    """Quotes, a batch, a history, the status and the explanations, as objects and as the JSON that agents get."""
    symbols = tuple(map(parse_symbol, ("AAPL", "MSFT", "IBM", "KO")))
    day = clock.now().date()
    bars = HistoryQuestion(symbols[0], Interval.DAY_1, day - timedelta(days=9), day, Adjustment.SPLITS)
    texts = []
    for asked in (symbols[:1], symbols):
        quotes = await turning(clock, partial(engine.quotes, QuoteQuestion(asked, max_age_s=0.0)), 30.0)
        texts += [repr(quotes), json.dumps(quotes_json(quotes, "full")), *map(str, map(failure_json, quotes.failures))]
    history = await turning(clock, lambda: engine.history(bars), 30.0)
    shown = history_json(history, 250, "full") if isinstance(history, HistoryAnswer) else history_failure_json(history)
    texts += [repr(history), json.dumps(shown)]
    statuses, overall = await engine.source_status()
    texts += [repr(statuses), json.dumps(status_json(statuses, overall))]
    for kind in ("quote", "history"):
        kept = await engine.explain_symbol(symbols[0], kind)
        texts += [] if kept is None else [repr(kept), json.dumps(explanation_json(kept))]
    return texts


@pytest.mark.parametrize("vendor", KEYED, ids=[vendor.id for vendor in KEYED])
async def test_no_answer_event_log_or_page_of_the_database_has_a_trace_of_the_key(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong, day after day; logs at debug, those of the libraries too."""
    Listening.heard = []
    monkeypatch.setattr("mdagent_mcp.app.EventBus", Listening)
    monkeypatch.setattr("mdagent_mcp.app.VENDORS", (vendor,))
    caplog.set_level(logging.DEBUG)
    clock, web = ManualClock(REGULAR), Web(never)
    texts: dict[str, str] = {}
    opening = open_app(
        settings_for(vendor), clock=clock, data_dir=tmp_path, open_transport=lambda _: web, rng=random.Random(2)
    )
    async with opening as engine:
        for way in ways_of(vendor):
            web.handler = way.answer
            for place, text in enumerate(await asked_everything(engine, clock)):
                texts[f"{way.name}, text {place}"] = text
            await clock.advance(86_400.0)
        for file in tmp_path.iterdir():
            with suppress(FileNotFoundError):  # a daily copy has just taken the place of an older one
                texts[f"{file.name} in use"] = file.read_bytes().decode("latin-1")
    for file in tmp_path.iterdir():
        texts[file.name] = file.read_bytes().decode("latin-1")
    texts |= {"log": caplog.text, "records": repr([record.__dict__ for record in caplog.records])}
    texts["events"] = "\n".join(Listening.heard)
    assert traced(texts) == []
    # The test would see nothing if nothing were said: the key was sent, and failures were told.
    assert len(web.requests) > 20
    assert all("s3cret" in f"{r.url}{r.headers.raw}".lower() for r in web.requests)
    assert {kind for kind in ("not_entitled", "unauthorized", "timeout", "network") if kind in texts["events"]} != set()


@pytest.mark.parametrize("vendor", KEYED, ids=[vendor.id for vendor in KEYED])
async def test_no_exception_has_a_trace_of_the_key_in_its_traceback(vendor: Vendor) -> None:
    """Of the client and of the reading, with every error behind it."""
    clock, web, texts = ManualClock(REGULAR), Web(never), {}
    client = vendor_client(vendor, settings_for(vendor), clock, lambda _: web)
    query = QuoteQuery((parse_symbol("AAPL"),), clock.now())
    for way in ways_of(vendor):
        if way.answer is never:
            continue
        web.handler = way.answer
        try:
            reply = await client.send(vendor.quote.build(query)[0])
            texts[f"{way.name}, reply"] = repr(reply)
            refuse_errors(vendor, reply)
            texts[f"{way.name}, read"] = repr(vendor.quote.parse(query, reply))
        except SourceError as error:
            texts[f"{way.name}, raised"] = whole(error)
    source = Source(vendor, SourceOptions(), client, clock=clock, emit=lambda _: None, rng=random.Random(1))
    objects = (client, source, vars(source), source.options, Redactor.of([MARK]), settings_for(vendor))
    texts |= {f"repr {type(o).__name__}": f"{o!r} {o}" for o in objects}
    texts["dump"] = f"{settings_for(vendor).model_dump()} {settings_for(vendor).model_dump_json()}"
    await client.aclose()
    assert traced(texts) == []
    assert sum("raised" in place for place in texts) > 20


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_the_real_transport_complains_about_names_no_url(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library quotes whole URLs in its errors; this vendor wants its key there."""
    caplog.set_level(logging.DEBUG)
    async with answering(lambda _: sent) as server:
        settings = Settings.model_validate({"sources": {"alpha_vantage": {"api_key": MARK, "base_url": server.url}}})
        client = vendor_client(ALPHA_VANTAGE, settings, SystemClock())
        try:
            with pytest.raises(SourceError) as caught:
                await client.send(Request("/query", (("symbol", "IBM"),)))
        finally:
            await client.aclose()
    assert "S3cret" in server.asked[0].target
    assert caught.value.kind in {FailureKind.NETWORK, FailureKind.MALFORMED_REPLY}
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert traced({"error": whole(caught.value), "log": caplog.text}) == []


WRONG_SETTINGS = {
    "misspelt setting": f'[sources.finnhub]\napi_kee = "{MARK}"',
    "misspelt source": f'[sources.finhub]\napi_key = "{MARK}"',
    "a list": f'[sources.finnhub]\napi_key = ["{MARK}"]',
    "a table": f'[sources.finnhub]\napi_key = {{ value = "{MARK}" }}',
    "the key in place of the source": f'[sources]\nfinnhub = "{MARK}"',
    "another setting is wrong": f'[sources.finnhub]\napi_key = "{MARK}"\ntimeout_s = -1',
    "no such plan": f'[sources.finnhub]\napi_key = "{MARK}"\nplan = "gold"',
    "the key in the host": f'[sources.finnhub]\nbase_url = "https://h/?token={quote(MARK, safe="")}"',
    "a user in the host": f'[sources.finnhub]\nbase_url = "https://{quote(MARK, safe="")}@h/"',
    "not TOML after the key": f'[sources.finnhub]\napi_key = "{MARK}"\ntimeout_s = = 1',
    "not TOML in the key": f"[sources.finnhub]\napi_key = {MARK}",
    "no such overlay": f'[sources.finnhub]\napi_key = "{MARK}"\n[environments.a]\n',
}


@pytest.mark.parametrize("text", WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_a_complaint_about_settings_does_not_repeat_a_key(text: str, tmp_path: Path) -> None:
    """Not even in the errors behind it."""
    file = tmp_path / "mdagent.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load({}, config=file, environment="b" if "environments" in text else None)
    assert traced({"complaint": whole(caught.value)}) == []


@pytest.mark.parametrize("name", ["MDAGENT_SOURCES__FINNHUB__API_KEE", "MDAGENT_SOURCES__FINNHUB"])
def test_a_complaint_about_the_environment_does_not_repeat_a_key(name: str) -> None:
    """A misspelt name, and JSON that is none."""
    with pytest.raises(ConfigurationError) as caught:
        load({name: f'{{"api_key": "{MARK}"'})
    assert traced({"complaint": whole(caught.value)}) == []


@pytest.mark.parametrize("words", [("config", "show"), ("config", "show", "--json"), ("config", "check"), ("sources",)])
def test_no_command_shows_a_key(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They say where it came from."""
    for vendor in KEYED:
        assert vendor.key is not None
        monkeypatch.setenv(vendor.key.environment[0], MARK)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    out: Any = StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        assert main([*words, "--data-dir", str(tmp_path / "data")]) == 0
    assert out.getvalue() != ""
    assert traced({"output": out.getvalue()}) == []
