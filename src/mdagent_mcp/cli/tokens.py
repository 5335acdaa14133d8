"""`token`: a bearer token for `serve --http`, shown once, and the line of the settings that accepts it."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from mdagent_mcp.cli.outcome import CommandError, ExitCode
from mdagent_mcp.config.http_settings import HttpSettings
from mdagent_mcp.server.http.tokens import new_token, token_hash


def token(arguments: argparse.Namespace) -> int:
    """Print a new token and its hash; neither is kept anywhere."""
    made = new_token()
    kept = token_hash(made)
    try:
        HttpSettings.model_validate({"tokens": {arguments.name: kept}})
    except ValidationError as error:
        raise CommandError(f"NAME: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    variable = f"MDAGENT_HTTP__TOKENS__{arguments.name.upper()}"
    sys.stdout.write(
        f"Token, for the client, shown this once:\n{made}\n\n"
        f'Settings of the server:\n[http.tokens]\n"{arguments.name}" = "{kept}"\n\n'
        f"or its environment:\n{variable}={kept}\n"
    )
    return ExitCode.OK
