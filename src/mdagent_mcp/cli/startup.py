"""What every command needs before it begins: settings, data directory, log.

The rule of this module: it reads the environment of the process, and no other module of the package does.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mdagent_mcp.cli.outcome import CommandError
from mdagent_mcp.config.loading import ConfigurationError, Loaded, load
from mdagent_mcp.config.settings import Settings

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message).2000s"
"""A message is cut short, since libraries below us put into some what a client sent."""
_PACKAGE: Final = "mdagent_mcp"


def load_settings(arguments: argparse.Namespace, options: Mapping[str, Any] | None = None) -> Loaded:
    """The settings that the global options, the environment and the settings file come to.

    Args:
        arguments: with the global options.
        options: settings by dotted name that the command's own options stand for; None for one that was not given.

    Raises:
        CommandError: naming what cannot be used and where it was set.
    """
    try:
        return read_settings(arguments, options)
    except ConfigurationError as error:
        raise CommandError(str(error)) from error


def read_settings(arguments: argparse.Namespace, options: Mapping[str, Any] | None = None) -> Loaded:
    """The same for a server that reads them again.

    Raises:
        ConfigurationError: naming what cannot be used and where it was set.
    """
    overrides = {name: value for name, value in (options or {}).items() if value is not None}
    if arguments.data_dir is not None:
        overrides["data_dir"] = arguments.data_dir
    if arguments.log_level is not None:
        overrides["log_level"] = arguments.log_level
    return load(
        os.environ,
        config=None if arguments.config is None else Path(arguments.config).expanduser(),
        environment=arguments.env,
        overrides=overrides,
        directories=_settings_directories(),
    )


def begin_logging(settings: Settings) -> None:
    """Send the log to stderr: ours at the level that is set, everybody else's from warnings up.

    Libraries below us write whole URLs at lower levels, and some vendors want their key in the URL.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=_LOG_FORMAT)
    logging.getLogger(_PACKAGE).setLevel(settings.log_level.upper())


def data_directory(settings: Settings) -> Path:
    """Where the memory is kept."""
    if settings.data_dir is not None:
        return settings.data_dir.expanduser()
    from mdagent_mcp.app import default_data_directory  # noqa: PLC0415 - loads the engine, which not all need

    return default_data_directory()


def _settings_directories() -> tuple[Path, ...]:
    from platformdirs import user_config_path  # noqa: PLC0415 - only here

    return (Path.cwd(), user_config_path("mdagent-mcp", appauthor=False))
