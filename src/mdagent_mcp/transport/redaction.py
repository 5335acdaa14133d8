"""Secrets never leave: whatever text goes out of the transport has every configured key removed first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

MASK = "[key removed]"
SHORTEST_SECRET = 4
"""A shorter key would mask ordinary text; no vendor gives one, and URLs are never put into text anyway."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """Removes known secrets from text.

    Attributes:
        secrets: the keys in every spelling they may be echoed in, longest first.
    """

    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[str]) -> Redactor:
        """A redactor for these keys, also in percent-encoded form."""
        spellings = {form for key in keys if len(key) >= SHORTEST_SECRET for form in (key, quote(key), quote_plus(key))}
        return cls(tuple(sorted(spellings, key=len, reverse=True)))

    def __call__(self, text: str) -> str:
        """The text without any secret, compared without case because vendors echo keys in capitals."""
        for secret in self.secrets:
            start = text.lower().find(secret.lower())
            while start >= 0:
                text = text[:start] + MASK + text[start + len(secret) :]
                start = text.lower().find(secret.lower(), start + len(MASK))
        return text
