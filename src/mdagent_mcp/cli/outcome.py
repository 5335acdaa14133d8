"""How a command ends: exit codes, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns."""

    OK = 0
    NO_ANSWER = 1
    """Nothing usable was answered, or what was asked for did not work out."""
    USAGE = 2
    """Wrong usage or configuration."""
    INTERRUPTED = 130
    """Stopped from the keyboard, as shells count it."""


class CommandError(Exception):
    """Ends a command with one line on stderr.

    Attributes:
        code: what the process returns.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        self.code = code
        super().__init__(message)
