"""An end to serving on stdio: a signal does what closing stdin does.

The MCP SDK waits for the next line in a thread that nothing can interrupt, so that Ctrl-C would hang until Enter and
SIGTERM would drop what memory has not written yet. Here a thread that can be woken stands between stdin and the SDK.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

_STDIN: Final = 0
_CHUNK: Final = 65_536
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Ending:
    """Which signal ended the serving.

    Attributes:
        signals: those received, in order.
    """

    signals: list[int] = field(default_factory=list)


@contextmanager
def signals_close_stdin() -> Iterator[Ending]:
    """Let the first SIGINT or SIGTERM close stdin for the body; a second one has its usual effect.

    Where that is not to be had (Windows, no stdin at all) the body runs as it is.
    """
    ending = Ending()
    if os.name != "posix":
        yield ending
        return
    try:
        source = os.dup(_STDIN)
    except OSError:
        yield ending
        return
    alarm_out, alarm_in = os.pipe()
    read_end, write_end = os.pipe()
    os.dup2(read_end, _STDIN)
    os.close(read_end)

    def end(number: int, _frame: FrameType | None) -> None:
        ending.signals.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        os.write(alarm_in, b"!")

    before = {each: signal.signal(each, end) for each in _SIGNALS}
    # A daemon: when the body ends by itself, the thread may still be waiting for the next line.
    threading.Thread(target=_copy, args=(source, write_end, alarm_out), name="stdin", daemon=True).start()
    try:
        yield ending
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        os.dup2(source, _STDIN)


def _copy(source: int, target: int, alarm: int) -> None:
    """Copy until the source or the body ends, or the alarm is given; then close the target."""
    try:
        while alarm not in (ready := select.select([source, alarm], [], [])[0]) and ready:
            data = memoryview(os.read(source, _CHUNK))
            if not data:
                return
            while data:
                data = data[os.write(target, data) :]
    except BrokenPipeError:
        return
    finally:
        os.close(target)
