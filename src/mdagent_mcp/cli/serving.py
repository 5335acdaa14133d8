"""`serve`: MCP on stdio.

The rule of this module: settings are read before anything is served, so that a wrong one ends the start with its
reason; everything heavy waits until the client has its first answer.
"""

from __future__ import annotations

import argparse
from datetime import timedelta

import anyio

from mdagent_mcp import __version__
from mdagent_mcp.cli.opening import opening_of
from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.standard_input import signals_close_stdin
from mdagent_mcp.cli.startup import begin_logging, load_settings
from mdagent_mcp.server.server import build_server

_SIGNAL_BASE = 128
"""Shells count a process that a signal ended from here."""


def serve(arguments: argparse.Namespace) -> int:
    """Serve until the client closes stdin, or a signal does."""
    if arguments.http:
        raise CommandError("serve --http is not there yet; leave it out to serve MCP on stdio")
    settings = load_settings(arguments).settings
    begin_logging(settings)
    opening = opening_of(arguments, settings, timedelta(seconds=arguments.clock_offset_s))
    server = build_server(opening.open, opening.clock, __version__)
    with signals_close_stdin() as ending:
        anyio.run(server.run_stdio_async)
    return _SIGNAL_BASE + ending.signals[0] if ending.signals else ExitCode.OK
