"""Where a secret may lie instead of in the settings: in a file, or in the system's keyring.

The rule of this module: a secret setting's value may be `file:/path` or `keyring:SERVICE:NAME`; what is read replaces
it, and neither the error nor the origin ever shows what was read.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

FILE: Final = "file:"
KEYRING: Final = "keyring:"
MOST_BYTES: Final = 4096
"""A file with more in it is no secret but a mistake."""
INSTALL: Final = "pip install 'mdagent-mcp[keyring]'"


class SecretUnavailableError(ValueError):
    """A secret is not where the settings say; the message says what to do."""


def is_reference(value: object) -> bool:
    """Whether a value says where a secret lies."""
    return isinstance(value, str) and value.startswith((FILE, KEYRING))


def file_of(value: object) -> Path | None:
    """The file in which a secret lies; None when it lies elsewhere."""
    return Path(value.removeprefix(FILE)).expanduser() if isinstance(value, str) and value.startswith(FILE) else None


def read_secret(reference: str) -> str:
    """The secret that a reference names.

    Args:
        reference: `file:/run/secrets/finnhub` or `keyring:mdagent-mcp:finnhub`.

    Raises:
        SecretUnavailableError: when there is none.
    """
    file = file_of(reference)
    return _from_keyring(reference.removeprefix(KEYRING)) if file is None else _from_file(file)


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        text = content.decode().strip()
    except OSError as error:
        raise SecretUnavailableError(f"the file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SecretUnavailableError(f"the file {file} is no text") from None
    if not text or len(content) > MOST_BYTES or "\n" in text:
        raise SecretUnavailableError(f"the file {file} should hold the secret alone, on one line")
    return text


def _from_keyring(place: str) -> str:
    service, _, name = place.partition(":")
    if not service or not name:
        raise SecretUnavailableError("should be keyring:SERVICE:NAME")
    if find_spec("keyring") is None:
        raise SecretUnavailableError(f"the system's keyring needs its library: {INSTALL}")
    import keyring  # noqa: PLC0415 - only where a secret lies there
    from keyring.errors import KeyringError  # noqa: PLC0415 - see above

    try:
        secret = keyring.get_password(service, name)
    except KeyringError as error:
        raise SecretUnavailableError(f"the system's keyring cannot be asked: {type(error).__name__}") from error
    if not secret:
        raise SecretUnavailableError(
            f"the system's keyring has nothing under {service} {name}: run `keyring set {service} {name}`"
        )
    return secret
