"""Start-up time: from spawning `mdagent-mcp serve` to its answer to `initialize`, against a bare one-tool server.

Both servers run on the same SDK and are started in turn, so that whatever else the machine does hits both alike:

    python benchmarks/startup.py [--rounds 15]

Prints the median and the best of each and their ratios. The promise is a ratio of at most 1.4.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

BARE_SERVER = '''
from mcp.server import MCPServer

server = MCPServer("bare", version="1")


@server.tool()
async def double(value: float) -> float:
    """Twice the value."""
    return 2 * value


server.run()
'''
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


def seconds_to_initialize(command: Sequence[str], environment: dict[str, str]) -> float:
    """Seconds from spawning the command to its answer."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        elapsed = time.perf_counter() - started
        if "serverInfo" not in answer["result"]:
            raise RuntimeError(f"not an answer to initialize: {answer}")
        process.stdin.close()
        process.wait(timeout=20)
    return elapsed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare_server.py"
        bare.write_text(BARE_SERVER, encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MDAGENT_")}
        environment["MDAGENT_DATA_DIR"] = folder
        commands = {
            "bare one-tool server": [sys.executable, str(bare)],
            "mdagent-mcp serve": [sys.executable, "-m", "mdagent_mcp", "serve"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, command in commands.items():
                elapsed = seconds_to_initialize(command, environment)
                if turn:  # the first turn of each compiles byte code
                    times[name].append(elapsed)
    for name, measured in times.items():
        print(f"{name:22} median {statistics.median(measured):.3f} s   best {min(measured):.3f} s")
    bare_times, ours = times.values()
    print(
        f"ratio of medians {statistics.median(ours) / statistics.median(bare_times):.2f}, "
        f"of bests {min(ours) / min(bare_times):.2f}"
    )


if __name__ == "__main__":
    main()
