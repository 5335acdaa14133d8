"""Bearer tokens: made, hashed, compared.

The rule of this module: a token is kept nowhere, only its SHA-256. A plain hash is enough because a token has 256 bits
of chance, which no dictionary holds; a password would need a slow hash, so people's own words are not taken as tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

_PREFIX: Final = "mdagent_"
"""Lets scanners for leaked secrets find one."""
_BYTES: Final = 32
_LONGEST: Final = 512
"""Characters of a presented token that are looked at."""


def new_token() -> str:
    """A token with 256 bits of chance from the operating system."""
    return f"{_PREFIX}{secrets.token_urlsafe(_BYTES)}"


def token_hash(token: str) -> str:
    """What the settings keep of a token."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


class TokenBook:
    """The tokens that are accepted.

    Args:
        hashes: by name, as `token_hash` writes them.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = {name: value.encode() for name, value in hashes.items()}

    @property
    def is_empty(self) -> bool:
        """Whether everybody may call."""
        return not self._hashes

    def name_of(self, token: str) -> str | None:
        """Whose token it is; None when it is nobody's. Every hash is compared, in constant time, found or not."""
        presented = token_hash(token[:_LONGEST] if token.isascii() else "").encode()
        found: str | None = None
        for name, kept in self._hashes.items():
            if hmac.compare_digest(presented, kept):
                found = name
        return found


def bearer_of(authorization: str) -> str | None:
    """The token in an Authorization header; None when it holds no bearer token (RFC 6750, section 2.1)."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
