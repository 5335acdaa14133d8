"""Secrets never leave: whatever text or bytes go out of the transport have every configured key removed first."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import quote

MASK: Final = "[key removed]"
SHORTEST_SECRET: Final = 4
"""A shorter key would mask ordinary text; no vendor gives one, and URLs are never put into text anyway."""
SHORTEST_IN_BYTES: Final = 8
"""In a whole reply a short key may be an ordinary word of it; real keys have 16 characters and more."""
_WORDS: Final = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class Redactor:
    """Removes known secrets from text and bytes.

    Attributes:
        secrets: the keys, as they are configured.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, keys: Iterable[str]) -> Redactor:
        """A redactor for these keys, in every spelling they may be echoed in."""
        return cls(tuple(key for key in keys if len(key) >= SHORTEST_SECRET))

    def __call__(self, text: str) -> str:
        """The text without any secret, compared without case because vendors echo keys in capitals."""
        return text if self._in_text is None else self._in_text.sub(MASK, text)

    def in_body(self, body: bytes) -> bytes:
        """The body of a reply without any secret."""
        if self._in_bytes is None:
            return body
        lowered = body.lower()
        if not any(hint in lowered for hint in self._hints):
            return body
        return self._in_bytes.sub(MASK.encode(), body)

    @cached_property
    def _in_text(self) -> re.Pattern[str] | None:
        return re.compile(_pattern(self.secrets), re.IGNORECASE) if self.secrets else None

    @cached_property
    def _in_bytes(self) -> re.Pattern[bytes] | None:
        keys = [key for key in self.secrets if len(key) >= SHORTEST_IN_BYTES]
        return re.compile(_pattern(keys).encode(), re.IGNORECASE) if keys else None

    @cached_property
    def _hints(self) -> tuple[bytes, ...]:
        """What a body must hold, in lower case, to be worth the search: a plain word of each key, a part in base64."""
        words = [max(_WORDS.findall(key), key=len, default="") for key in self.secrets]
        parts = [part for key in self.secrets for part in _base64_parts(key)]
        return tuple(text.lower().encode() for text in (*words, *parts))


def _pattern(keys: Iterable[str]) -> str:
    """A pattern of these keys, longer ones first, each in any spelling."""
    ordered = sorted(keys, key=len, reverse=True)
    spelt = ["".join(map(_spelt, key)) for key in ordered]
    return "|".join([*spelt, *(re.escape(part) for key in ordered for part in _base64_parts(key))])


def _spelt(character: str) -> str:
    """A character as it is and as URLs, JSON and markup write it; letters and digits are never written otherwise."""
    if character.isascii() and character.isalnum():
        return character
    in_url, in_json = quote(character, safe=""), json.dumps(character)[1:-1]
    spellings = {character, in_url, in_url.replace("%", "%25"), in_json, html.escape(character)}
    spellings |= {f"&#{ord(character)};", f"&#x{ord(character):x};", f"u{ord(character):04x}"}
    spellings |= {"+"} if character == " " else set()
    # JSON in JSON doubles every backslash.
    return rf"\\{{0,8}}(?:{'|'.join(map(re.escape, sorted(spellings, key=len, reverse=True)))})"


def _base64_parts(key: str) -> Iterator[str]:
    """The characters of a base64 text that only the key decides, wherever in the text it stands."""
    raw = key.encode()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        part = coded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        if len(part) >= SHORTEST_IN_BYTES:
            yield from sorted({part, part.replace("+", "-").replace("/", "_")})
