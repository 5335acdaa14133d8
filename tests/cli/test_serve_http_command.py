"""`serve --http` and `token` as an operator runs them: a child process, a real port, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from mdagent_mcp.cli import main
from mdagent_mcp.config.display import effective_settings
from mdagent_mcp.config.loading import load
from mdagent_mcp.server.http.serving import listening_socket
from mdagent_mcp.server.http.tokens import token_hash
from server.http.running import until_ready

HASH = token_hash("a-token")


@contextmanager
def serving(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server over the sandbox on a free port, and its address as it was told."""
    words = [sys.executable, "-m", "mdagent_mcp", "serve", "--http", "--port", "0", "--sandbox"]
    words += ["--data-dir", str(home / "data"), *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "mdagent-mcp: --sandbox: all prices are SIMULATED\n"
            yield process, process.stderr.readline().split()[4]
        finally:
            process.kill()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
async def test_a_client_with_a_token_is_served_until_it_is_withdrawn_and_no_secret_is_logged(empty_home: Path) -> None:
    """At the most talkative level; the settings file is followed, and a drained end is exit 0."""
    file = empty_home / "mdagent.toml"
    file.write_text(f'[http.tokens]\nalice = "{HASH}"\n', encoding="utf-8")
    with serving(empty_home, "--log-level", "debug", "--config", str(file)) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        await until_ready(url.removesuffix("/mcp"))
        async with httpx.AsyncClient(headers={"Authorization": "Bearer s3cr3t"}) as stranger:
            refused = await stranger.post(url, json={})
        async with (
            create_mcp_http_client(headers={"Authorization": "Bearer a-token"}) as web,
            Client(streamable_http_client(url, http_client=web)) as client,
        ):
            result = await client.call_tool("get_quote", {"symbols": "AAPL"})
        assert result.structured_content is not None
        assert result.structured_content["quotes"][0]["symbol"] == "AAPL"
        assert refused.status_code == 401
        file.write_text(f'[http.tokens]\nalice = "{token_hash("another")}"\n', encoding="utf-8")
        async with httpx.AsyncClient(headers={"Authorization": "Bearer a-token"}) as holder:
            with anyio.fail_after(20):
                while (await holder.get(url)).status_code != 401:  # noqa: ASYNC110 - another process announces nothing
                    await anyio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert not {word for word in ("a-token", "s3cr3t", HASH, "sandbox-key") if word in log}


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The complaint of a command that ends with exit 2."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.usefixtures("empty_home")
def test_a_server_that_others_could_reach_does_not_start_without_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on every address without a name of its own."""
    told = failed(capsys, "serve", "--http", "--host", "0.0.0.0", "--port", "0")
    assert told == (
        "mdagent-mcp: http.host 0.0.0.0 can be reached from other machines, and no token is set: run `mdagent-mcp "
        "token NAME`, put the line it prints under [http.tokens], or listen on 127.0.0.1\n"
    )
    monkeypatch.setenv("MDAGENT_HTTP__TOKENS__ALICE", HASH)
    assert "list the names that clients use in http.allowed_hosts" in failed(
        capsys, "serve", "--http", "--host", "0.0.0.0", "--port", "0"
    )


@pytest.mark.usefixtures("empty_home")
def test_what_cannot_be_listened_on_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is opened."""
    with listening_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        told = failed(capsys, "serve", "--http", "--port", port)
    assert told == f"mdagent-mcp: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert "--host and --port belong to serve --http" in failed(capsys, "serve", "--port", "8000")
    assert "command line: http.port: Input should be less than or equal to 65535" in failed(
        capsys, "serve", "--http", "--port", "70000"
    )


@pytest.mark.usefixtures("empty_home")
def test_a_new_token_is_shown_once_with_the_line_that_accepts_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The line can be pasted, and the settings hide it again."""
    assert main(["token", "alice"]) == 0
    lines = capsys.readouterr().out.splitlines()
    token, section, accepted, variable = lines[1], lines[4], lines[5], lines[8]
    assert (section, accepted) == ("[http.tokens]", f'"alice" = "{token_hash(token)}"')
    assert variable == f"MDAGENT_HTTP__TOKENS__ALICE={token_hash(token)}"
    (tmp_path / "mdagent.toml").write_text(f"{section}\n{accepted}\n", encoding="utf-8")
    loaded = load({}, directories=(tmp_path,))
    assert loaded.settings.http.tokens["alice"].get_secret_value() == token_hash(token)
    shown = {setting.name: setting.value for setting in effective_settings(loaded)}
    assert shown["http.tokens"] == {"alice": "********"}
    assert "no SHA-256" not in failed(capsys, "token", "al ice")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ('tokens = {alice = "hunter2"}', "'alice' is no SHA-256 of a token; `mdagent-mcp token alice` prints the line"),
        ('allowed_hosts = ["https://x.org"]', "should be a host name with or without a port"),
        ('allowed_origins = ["https://x.org/path"]', "should be scheme and host alone"),
        ('trusted_proxies = ["10.0.0.1/8"]', "should be an address or a network"),
        ("max_bodybytes = 5", "unknown setting 'http.max_bodybytes'; did you mean 'max_body_bytes'?"),
    ],
)
def test_settings_that_would_not_work_are_refused(
    settings: str, complaint: str, empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Naming the key, and never repeating a token."""
    (empty_home / "mdagent.toml").write_text(f"[http]\n{settings}\n", encoding="utf-8")
    told = failed(capsys, "config", "check")
    assert complaint in told
    assert "hunter2" not in told
