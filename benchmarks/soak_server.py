"""The server under a soak: a process of its own with its embedded sandbox, and what it holds as Linux tells it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ADDRESS: Final = re.compile(r"serving MCP at (http://127\.0\.0\.1:(\d+)/mcp)")
_LISTENING: Final = "0A"


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        rss_mib: resident memory.
        files: open descriptors, sockets among them.
        threads: threads.
        cpu_s: processor time used so far.
    """

    rss_mib: float
    files: int
    threads: int
    cpu_s: float


@dataclass
class Serving:
    """A running `serve --http --sandbox`.

    Attributes:
        process: the server's.
        url: of MCP.
        port: of MCP.
    """

    process: subprocess.Popen[str]
    url: str
    port: int

    def held(self) -> Held:
        """What it holds now."""
        root = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
        ticks = (root / "stat").read_text().rpartition(")")[2].split()[11:13]
        files = len(list((root / "fd").iterdir()))
        cpu_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        return Held(int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]), cpu_s)

    def sandbox_url(self) -> str:
        """Where its sandbox listens: on the other one of its two ports.

        Raises:
            LookupError: when it does not listen on two.
        """
        root = Path("/proc") / str(self.process.pid)
        sockets = set()
        for entry in (root / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                sockets.add(str(entry.readlink()))
        rows = [line.split() for line in (root / "net" / "tcp").read_text().splitlines()[1:]]
        ports = {int(r[1].rpartition(":")[2], 16) for r in rows if r[3] == _LISTENING and f"socket:[{r[9]}]" in sockets}
        others = ports - {self.port}
        if len(others) != 1:
            raise LookupError(f"the server listens on {sorted(ports)}")
        return f"http://127.0.0.1:{others.pop()}"


@contextmanager
def serving(directory: Path, config: Path | None = None) -> Iterator[Serving]:
    """Serve while the body runs, as a user would start it; its log goes to `server.log` in the directory.

    Args:
        directory: where it keeps what it learns, unless its settings say otherwise.
        config: its settings, which say where it listens; None for a free port and no settings.
    """
    log = directory / "server.log"
    where = ["--data-dir", str(directory), "--port", "0"] if config is None else ["--config", str(config)]
    command = [sys.executable, "-m", "mdagent_mcp", "serve", "--http", "--sandbox", *where]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MDAGENT_")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=environ, text=True
        )
    try:
        found = _wait_for(log, process)
        yield Serving(process, found[1], int(found[2]))
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(log: Path, process: subprocess.Popen[str]) -> re.Match[str]:
    while process.poll() is None:
        found = _ADDRESS.search(log.read_text())
        if found is not None:
            return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")
