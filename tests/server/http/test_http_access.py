"""A real server on loopback: who is answered, who is not, and in which words."""

from __future__ import annotations

import logging
from typing import Any, cast

import anyio
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.server.http.application import ExtraRoute, following
from mdagent_mcp.server.http.gate import Admission, Gate, RequestLimits
from mdagent_mcp.server.http.tokens import token_hash
from server.http.running import HEADERS, body_of, initialize, message, running

ALICE = {"Authorization": "Bearer alice-token"}
BOB = {"Authorization": "Bearer bob-token"}
TOKENS = {"alice": token_hash("alice-token"), "bob": token_hash("bob-token")}
PATHS = ("/mcp", "/healthz", "/readyz", "/figures")


async def figures(_: Request) -> PlainTextResponse:
    """What another part of the program serves."""
    return PlainTextResponse("figures")


async def test_a_rebound_name_reaches_no_path() -> None:
    """A page that has its own name point here still sends that name; two Host headers are worth none."""
    async with running(extra_routes=(ExtraRoute("/figures", figures),)) as server, httpx.AsyncClient() as web:
        for path in PATHS:
            for host in ("evil.example", "localhost.evil.example", f"evil.example:{server.port}"):
                reply = await web.get(server.url + path, headers={"Host": host})
                assert (reply.status_code, path) == (421, path)
            for origin in ("http://evil.example", "null", "https://localhost.evil.example"):
                reply = await web.get(server.url + path, headers={"Origin": origin})
                assert (reply.status_code, path) == (403, path)
        assert (await web.get(f"{server.url}/figures")).text == "figures"
        twice = await server.raw(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        )
        none = await server.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert twice.startswith(b"HTTP/1.1 421 ")
    assert none.startswith(b"HTTP/1.1 421 ")
    assert b"evil" not in twice


async def test_without_a_known_token_nothing_but_health_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """401 names the scheme; what was presented is neither repeated nor logged."""
    caplog.set_level(logging.DEBUG)
    routes = (ExtraRoute("/figures", figures), ExtraRoute("/open", figures, needs_token=False))
    async with running(extra_routes=routes, tokens=TOKENS) as server, httpx.AsyncClient(headers=HEADERS) as web:
        missing = await web.post(server.mcp, content=message("ping"))
        wrong = await web.post(server.mcp, content=message("ping"), headers={"Authorization": "Bearer s3cr3t-guess"})
        in_url = await web.post(f"{server.mcp}?access_token=alice-token", content=message("ping"))
        basic = await web.post(server.mcp, content=message("ping"), headers={"Authorization": "Basic YWxpY2U6eA=="})
        twice = await web.get(
            f"{server.url}/figures", headers=[("Authorization", "Bearer alice-token"), ("Authorization", "Bearer x")]
        )
        health = [(await web.get(server.url + path)).status_code for path in ("/healthz", "/readyz", "/open")]
        right = [(await web.get(f"{server.url}/figures", headers=who)).status_code for who in (ALICE, BOB, {})]
        accepted = await web.post(server.mcp, content=initialize(), headers=ALICE)
    assert [r.status_code for r in (missing, wrong, in_url, basic, twice)] == [401, 401, 401, 401, 421]
    assert missing.headers["www-authenticate"] == 'Bearer realm="mdagent-mcp"'
    assert wrong.headers["www-authenticate"] == 'Bearer realm="mdagent-mcp", error="invalid_token"'
    assert "s3cr3t" not in wrong.text
    assert (health, right) == ([200, 200, 200], [200, 200, 401])
    assert accepted.status_code == 200
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(("mdagent", "uvicorn")))
    assert "s3cr3t" not in log
    assert "alice-token" not in log


async def test_a_session_belongs_to_the_token_that_opened_it() -> None:
    """Whoever learns its id cannot use it with a token of his own."""
    async with running(tokens=TOKENS) as server, httpx.AsyncClient(headers=HEADERS) as web:
        opened = await web.post(server.mcp, content=initialize(), headers=ALICE)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        stolen = await web.post(server.mcp, content=message("tools/list", id=2), headers=BOB | session)
        own = await web.post(server.mcp, content=message("tools/list", id=2), headers=ALICE | session)
        ended = await web.delete(server.mcp, headers=BOB | session)
    assert (stolen.status_code, own.status_code, ended.status_code) == (404, 200, 404)
    assert len(body_of(own)["result"]["tools"]) == 4


async def test_each_client_has_a_rate_of_its_own_and_guessing_counts() -> None:
    """429 tells when to come again; an exhausted token does not hurt another one."""
    async with (
        running(tokens=TOKENS, requests_per_s=0.01, burst=3) as server,
        httpx.AsyncClient(headers=HEADERS) as web,
    ):

        async def statuses(headers: dict[str, str]) -> list[int]:
            replies = [await web.post(server.mcp, content=initialize(), headers=headers) for _ in range(5)]
            assert all(r.headers["retry-after"] == "100" for r in replies if r.status_code == 429)
            return [r.status_code for r in replies]

        alice = await statuses(ALICE)
        bob = await statuses(BOB)
        guesses = await statuses({"Authorization": "Bearer guess"})
        health = [(await web.get(f"{server.url}/healthz")).status_code for _ in range(5)]
    assert alice == bob == [200, 200, 200, 429, 429]
    assert guesses == [401, 401, 401, 429, 429]
    assert health == [200] * 5


async def test_a_forwarded_address_is_believed_from_a_configured_proxy_alone() -> None:
    """Anybody else could write whatever he likes there."""
    for proxies, expected in (([], 429), (["127.0.0.1"], 200)):
        async with (
            running(trusted_proxies=proxies, requests_per_s=0.01, burst=1) as server,
            httpx.AsyncClient(headers=HEADERS) as web,
        ):
            first = await web.post(server.mcp, content=initialize(), headers={"X-Forwarded-For": "10.0.0.1"})
            second = await web.post(server.mcp, content=initialize(), headers={"X-Forwarded-For": "10.0.0.2"})
            again = await web.post(server.mcp, content=initialize(), headers={"X-Forwarded-For": "6.6.6.6, 10.0.0.2"})
        assert (first.status_code, second.status_code, again.status_code) == (200, expected, 429)


async def test_what_is_too_large_too_deep_or_a_batch_is_refused_before_it_is_parsed() -> None:
    """With the server well afterwards."""
    async with running(max_body_bytes=2_000) as server, httpx.AsyncClient(headers=HEADERS) as web:

        async def chunks() -> Any:
            for _ in range(30):
                yield b"x" * 100

        declared = await web.post(server.mcp, content=b"x" * 2_001)
        absurd = await server.raw(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        chunked = await web.post(server.mcp, content=chunks())
        deep = await web.post(server.mcp, content=b'{"jsonrpc":"2.0","id":1,"method":' + b"[" * 500 + b"]" * 500 + b"}")
        batch = await web.post(server.mcp, content=b"[" + message("ping") + b"]")
        broken = await web.post(server.mcp, content=b'{"jsonrpc":"2.0",')
        number = await web.post(server.mcp, content=b'{"jsonrpc":"2.0","id":' + b"9" * 1_500 + b',"method":"ping"}')
        well = await web.post(server.mcp, content=initialize())
    assert [r.status_code for r in (declared, chunked, deep, batch, broken, number)] == [413, 413, 400, 400, 400, 400]
    assert deep.json()["error"]["message"] == "The JSON is nested deeper than 32 levels."
    assert declared.headers["connection"] == "close"
    assert absurd.startswith(b"HTTP/1.1 413 ")
    assert well.status_code == 200


async def test_heads_that_are_too_long_or_too_slow_end_the_connection() -> None:
    """Whether they have many headers, one without an end, a long address, or come drop by drop."""
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    async with running(max_header_bytes=2_048, receive_s=0.3) as server:
        many = await server.raw(head + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"\r\n")
        endless = await server.raw(head + b"X: " + b"y" * 3_000, more=b"y" * 3_000)
        address = await server.raw(b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow = await server.raw(head)
        silent = await server.raw(b"")
        body = await server.raw(
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        fine = await server.raw(head + b"X: " + b"y" * 1_500 + b"\r\nConnection: close\r\n\r\n")
    for reply in (many, endless, address):
        assert reply.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"), reply[:80]
    for reply in (slow, silent, body):
        assert reply.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), reply[:80]
    assert fine.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX Y: a\r\n\r\n",
        b"GET /healthz\r\nEvil: 1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"\x16\x03\x01\x02\x00 a TLS greeting",
    ],
    ids=["bare CR", "NUL", "blank in a name", "split request line", "two lengths", "lengths differ", "TLS"],
)
async def test_bytes_that_two_readers_could_read_differently_are_refused(data: bytes) -> None:
    """Header injection and request smuggling live on them; nothing of them is repeated."""
    async with running() as server:
        reply = await server.raw(data)
    assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n"), reply
    assert reply.count(b"HTTP/1.1") == 1
    assert b"Evil" not in reply


async def test_no_header_of_a_request_comes_back_in_an_answer() -> None:
    """Nothing that was sent can end a line of ours."""
    async with running() as server, httpx.AsyncClient() as web:
        hostile = "%0d%0aSet-Cookie:%20a=b"
        replies = [
            await web.get(f"{server.url}/{hostile}"),
            await web.get(f"{server.url}/healthz?{hostile}"),
            await web.post(server.mcp, headers={**HEADERS, "Mcp-Session-Id": hostile}, content=message("ping")),
            await web.post(
                server.mcp, headers={**HEADERS, "MCP-Protocol-Version": hostile}, content=message("tools/list")
            ),
        ]
    assert [r.status_code for r in replies] == [404, 200, 404, 400]
    for reply in replies:
        assert "set-cookie" not in reply.headers
        assert hostile not in str(reply.headers)


async def test_paths_beside_the_known_ones_are_nowhere() -> None:
    """However they are written."""
    async with running() as server, httpx.AsyncClient() as web:
        for path in ("/", "/mcp/", "/MCP", "/mcp/../etc/passwd", "/..%2f..%2fetc/passwd", "/metrics", "//mcp"):
            reply = await server.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert reply.startswith(b"HTTP/1.1 404 "), path
        assert (await web.put(server.mcp)).status_code == 405
        assert (await web.post(f"{server.url}/healthz")).status_code == 405


async def test_more_connections_than_allowed_are_told_to_come_back() -> None:
    """Those that are there go on."""
    async with running(max_connections=3) as server, anyio.create_task_group() as tasks, httpx.AsyncClient() as web:
        for _ in range(3):
            tasks.start_soon(server.raw, b"GET /healthz HTTP/1.1\r\n")
        with anyio.fail_after(5):
            while (await web.get(f"{server.url}/healthz")).status_code == 200:
                pass
        refused = await web.get(f"{server.url}/healthz")
        tasks.cancel_scope.cancel()
    assert refused.status_code == 503


async def test_a_running_server_follows_its_settings(caplog: pytest.LogCaptureFixture) -> None:
    """A token that was withdrawn is refused at once, also on the session that it opened."""

    def settings(**more: Any) -> HttpSettings:
        return HttpSettings.model_validate({"tokens": TOKENS, "burst": 2, "requests_per_s": 0.01, **more})

    async with running(tokens=TOKENS) as server, httpx.AsyncClient(headers=HEADERS) as web:
        opened = await web.post(server.mcp, content=initialize(), headers=ALICE)
        session = ALICE | {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        server.follow(settings(tokens={"bob": TOKENS["bob"]}, max_body_bytes=1_024))
        withdrawn = await web.post(server.mcp, content=message("tools/list", id=2), headers=session)
        large = await web.post(server.mcp, content=b"x" * 1_025, headers=BOB)
        server.follow(settings(max_body_bytes=8_388_608))
        counted = await web.post(server.mcp, content=b"x" * 1_025, headers=BOB)
        spent = await web.post(server.mcp, content=initialize(), headers=BOB)
        server.follow(settings(allowed_hosts=("data.example.org",)))
        renamed = await web.get(f"{server.url}/healthz")
        named = await web.get(f"{server.url}/healthz", headers={"Host": "data.example.org"})
    assert [r.status_code for r in (withdrawn, large, counted, spent)] == [401, 413, 400, 429]
    assert (renamed.status_code, named.status_code) == (421, 200)
    assert not caplog.records


def test_the_names_that_are_served_stay_those_of_the_address_listened_on() -> None:
    """Whatever address the settings name for the next start."""
    began = HttpSettings.model_validate({"host": "10.0.0.5", "tokens": TOKENS})
    gate = Watched()
    follow = following(cast("Gate", gate), began, SystemClock())
    follow(HttpSettings.model_validate({"tokens": {"bob": TOKENS["bob"]}}))
    (admission,) = gate.admitted
    assert admission.tokens.name_of("bob-token") == "bob"
    assert admission.rules.admit_host("10.0.0.5:8000")


class Watched:
    """A gate that only remembers by what it should let in."""

    def __init__(self) -> None:
        self.admitted: list[Admission] = []

    def admit_by(self, admission: Admission, _limits: RequestLimits) -> None:
        """Remember it."""
        self.admitted.append(admission)


async def test_a_body_may_be_as_large_as_the_settings_say_now() -> None:
    """Also larger than they allowed when the server began."""
    large = message("tools/list", id=2, _meta={"pad": "x" * 2_000_000})
    async with running() as server, httpx.AsyncClient(headers=HEADERS) as web:
        opened = await web.post(server.mcp, content=initialize())
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        before = await web.post(server.mcp, content=large, headers=session)
        server.follow(HttpSettings(max_body_bytes=8_388_608))
        after = await web.post(server.mcp, content=large, headers=session)
    assert [before.status_code, after.status_code] == [413, 200]
