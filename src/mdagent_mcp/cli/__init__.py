"""The command line: every command in a module of its own that is imported when it is run.

The rule of this package: `serve` is what hosts start and wait for, so nothing that it does not need is imported
before it answers; and what went wrong is one line on stderr and an exit code, never a traceback.
"""

from __future__ import annotations

from mdagent_mcp.cli.entry import main

__all__ = ["main"]
