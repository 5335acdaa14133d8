"""`serve --http`: MCP over streamable HTTP.

The rule of this module: what would make the server unsafe or unable to listen ends the start with its reason, before
anything is opened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio

from mdagent_mcp import __version__
from mdagent_mcp.cli.opening import Opening
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.config.loading import ConfigurationError, Loaded
from mdagent_mcp.domain.clock import Clock, SystemClock
from mdagent_mcp.server.http.application import following, http_application
from mdagent_mcp.server.http.gate import Gate
from mdagent_mcp.server.http.hosts import UnsafeBindingError, refuse_unsafe
from mdagent_mcp.server.http.metrics_route import metrics_route
from mdagent_mcp.server.http.serving import listening_socket, serve_http, url_of
from mdagent_mcp.server.http.traffic import Traffic
from mdagent_mcp.server.server import ServerParts, build_parts


def serve_over_http(opening: Opening) -> int:
    """Serve until a signal comes and the calls under way have ended.

    Args:
        opening: of the engine, with what watches over it.

    Returns:
        0 when they all did, 1 when some were cut short.
    """
    http = opening.settings.http
    try:
        refuse_unsafe(http.host, http.tokens, http.allowed_hosts)
        listening = listening_socket(http.host, http.port)
    except UnsafeBindingError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"cannot listen on {http.host} port {http.port}: {error.strerror}") from error
    traffic, clock = Traffic(), SystemClock()
    application, parts = http_server(opening, traffic, clock)
    serving = partial(serve_http, traffic=traffic, clock=clock, end_streams=parts.notices.end_streams)
    with listening:
        sys.stderr.write(_greeting(url_of(listening), http))
        drained = anyio.run(serving, application, http, listening)
    return ExitCode.OK if drained else ExitCode.NO_ANSWER


def http_server(opening: Opening, traffic: Traffic, clock: Clock) -> tuple[Gate, ServerParts]:
    """The application and the server behind it, which follow their settings.

    Args:
        opening: of the engine, with what watches over it.
        traffic: what is under way; whoever stops the server drains it.
        clock: time.
    """
    http, watching = opening.settings.http, opening.watching
    if watching is not None:
        watching = replace(watching, load=partial(_load_safe, watching.load, http.host), over_http=True)
        opening = replace(opening, watching=watching)
    parts = build_parts(
        opening.open,
        opening.clock,
        __version__,
        eager=True,
        sessions=not http.stateless,
        alerts=None if watching is None else watching.alerts,
    )
    metrics = None if watching is None else watching.metrics
    routes = () if metrics is None else (metrics_route(metrics, parts.service),)
    application = http_application(parts.server, parts.service, http, traffic=traffic, clock=clock, extra_routes=routes)
    if watching is not None:
        follow = following(application, http, clock)
        watching.followers.append(lambda changed: follow(changed.http))
    return application, parts


def _load_safe(load: Callable[[], Loaded], host: str) -> Loaded:
    """Settings read again, which must not open a server that listens already to everybody.

    Raises:
        ConfigurationError: they would, or cannot be used.
    """
    loaded = load()
    try:
        refuse_unsafe(host, loaded.settings.http.tokens, loaded.settings.http.allowed_hosts)
    except UnsafeBindingError as error:
        raise ConfigurationError(str(error)) from error
    return loaded


def _greeting(url: str, http: HttpSettings) -> str:
    who = f"with one of {len(http.tokens)} tokens" if http.tokens else "without a token"
    return f"mdagent-mcp: serving MCP at {url}/mcp {who}\n"
