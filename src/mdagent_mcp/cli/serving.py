"""`serve`: MCP on stdio, or with `--http` over streamable HTTP.

The rule of this module: settings are read before anything is served, so that a wrong one ends the start with its
reason; everything heavy waits until the client has its first answer.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import timedelta
from functools import partial

import anyio

from mdagent_mcp import __version__
from mdagent_mcp.cli.opening import Opening, opening_of
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.standard_input import signals_close_stdin
from mdagent_mcp.cli.startup import begin_logging, load_settings, read_settings
from mdagent_mcp.cli.watching import Watching
from mdagent_mcp.monitoring.alert_watch import Alerts
from mdagent_mcp.monitoring.metrics import Metrics
from mdagent_mcp.monitoring.tracing import exporting_traces
from mdagent_mcp.server.server import build_server

_SIGNAL_BASE = 128
"""Shells count a process that a signal ended from here."""


def serve(arguments: argparse.Namespace) -> int:
    """Serve until the client closes stdin or a signal comes."""
    if not arguments.http and (arguments.host is not None or arguments.port is not None):
        raise CommandError("--host and --port belong to serve --http; stdio listens nowhere")
    options = {"http.host": arguments.host, "http.port": arguments.port}
    loaded = load_settings(arguments, options)
    begin_logging(loaded.settings)
    opening = opening_of(arguments, loaded.settings, timedelta(seconds=arguments.clock_offset_s))
    watching = Watching(loaded, partial(read_settings, arguments, options), Alerts(opening.clock))
    with exporting_traces(loaded.settings.tracing.otlp_url, __version__):
        if arguments.http:
            from mdagent_mcp.cli.serving_http import serve_over_http  # noqa: PLC0415 - stdio starts without it

            return serve_over_http(replace(opening, watching=replace(watching, metrics=Metrics(__version__))))
        return _serve_on_stdio(replace(opening, watching=watching), watching)


def _serve_on_stdio(opening: Opening, watching: Watching) -> int:
    server = build_server(opening.open, opening.clock, __version__, alerts=watching.alerts)
    with signals_close_stdin() as ending:
        anyio.run(server.run_stdio_async)
    return _SIGNAL_BASE + ending.signals[0] if ending.signals else ExitCode.OK
