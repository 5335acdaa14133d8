"""`python -m mdagent_mcp` is `mdagent-mcp`."""

from __future__ import annotations

import sys

from mdagent_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
