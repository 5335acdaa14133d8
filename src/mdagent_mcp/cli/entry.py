"""`main`: read the words, run the command, turn what went wrong into one line and an exit code.

The rule of this module: a command's module is imported when it is run, and anticipated errors are the only ones
caught; a defect keeps its traceback, because a person should report it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.cli.parser import parse_arguments
from mdagent_mcp.domain.questions import InvalidArgumentError

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "serve": ("serving", "serve"),
        "token": ("tokens", "token"),
        "demo": ("demo", "demo"),
        "sandbox": ("serving_sandbox", "sandbox"),
        "quote": ("answering", "quote"),
        "history": ("answering", "history"),
        "sources": ("answering", "sources"),
        "explain": ("answering", "explain"),
        "config": ("configuration", "config"),
        "doctor": ("doctor", "doctor"),
        "memory": ("memory", "memory"),
        "parse": ("recorded_exchange", "parse"),
        "record": ("recording", "record"),
    }
)
"""Command -> the module of this package and the function in it that runs it."""

_FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {"symbols": "SYMBOL", "symbol": "SYMBOL", "source": "SOURCE", "max_age_s": "--max-age"}
)
"""Arguments of the tools that go by another name here."""


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run `mdagent-mcp`.

    Args:
        argv: the words after the program's name; None for the process's own.

    Returns:
        The exit code: 0 ok, 1 no usable answer, 2 wrong usage or configuration.

    Raises:
        SystemExit: with 2 for words that are no command, with 0 after `--help` and `--version`.
    """
    arguments = parse_arguments(argv)
    try:
        return _run(arguments)
    except InvalidArgumentError as error:
        return _complain(_in_words_of_the_command_line(error), ExitCode.USAGE)
    except CommandError as error:
        return _complain(str(error), error.code)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; nothing more can be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK


def _run(arguments: argparse.Namespace) -> int:
    module, function = _COMMANDS[arguments.command]
    command = getattr(importlib.import_module(f"mdagent_mcp.cli.{module}"), function)
    code: int = command(arguments)
    sys.stdout.flush()
    return code


def _complain(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"mdagent-mcp: {message}\n")
    return code


def _in_words_of_the_command_line(error: InvalidArgumentError) -> str:
    name = error.argument
    flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
    return f"{flag}{str(error).removeprefix(name)}"
