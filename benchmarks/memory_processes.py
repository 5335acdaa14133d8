"""Worker processes on one store: started, killed, and compared with what the store holds."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Killed:
    """A worker that was killed.

    Attributes:
        reported: what it had said to be written.
    """

    reported: Counter[str]


def killed(place: str, name: str, rng: random.Random, longest_s: float) -> Killed:
    """Start a worker, let it write, and kill it at a random moment (SIGKILL)."""
    process = started(place, name, rng.getrandbits(30))
    if process.stdout is None:
        raise AssertionError("its words are read")
    first = process.stdout.readline()
    time.sleep(rng.random() * longest_s)
    process.kill()
    rest, error = process.communicate(timeout=60.0)
    lines = [line for line in [first, *rest.splitlines()] if line.rstrip().endswith("}")]
    if not lines:
        raise AssertionError(error)
    return Killed(Counter(json.loads(lines[-1])))
