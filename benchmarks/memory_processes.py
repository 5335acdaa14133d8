"""Worker processes on one store: started, killed, and compared with what the store holds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

Process = subprocess.Popen[str]
_WORKER: Final = Path(__file__).with_name("memory_worker.py")


def started(place: str, name: str, seed: int, *, rounds: int | None = None, seconds: float = 3600.0) -> Process:
    """A worker process."""
    limits = ["--seconds", str(seconds), *([] if rounds is None else ["--rounds", str(rounds)])]
    command = [sys.executable, str(_WORKER), place, name, str(seed), *limits]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def did(process: Process) -> Counter[str]:
    """What a process that ended by itself has done.

    Raises:
        AssertionError: when it ended with an error.
    """
    out, error = process.communicate(timeout=300.0)
    if process.returncode or error:
        raise AssertionError(error)
    return Counter(json.loads(out.splitlines()[-1]))


def killed(process: Process, after_s: float) -> Counter[str]:
    """Let a process write, and kill it (SIGKILL) so long after it wrote first; returns what it said to be written.

    Raises:
        AssertionError: when it never wrote.
    """
    if process.stdout is None or process.stderr is None:
        raise AssertionError("its words are read")
    with process.stdout as out, process.stderr as error:
        lines = [out.readline()]
        time.sleep(after_s)
        process.kill()
        lines = [line for line in [*lines, *out] if line.endswith("\n")]
        if not lines:
            raise AssertionError(error.read())
    process.wait(timeout=60.0)
    return Counter(json.loads(lines[-1]))
