"""Which Host and Origin headers are served: what keeps a web page from reaching a local server by DNS rebinding.

The rule of this module: a name is compared as a whole, never by its beginning, and what cannot be read is refused. A
page that rebinds its own name to 127.0.0.1 still sends that name as Host and Origin.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
"""How this machine is called from itself."""
_LOOPBACK_ORIGINS: Final = tuple(f"{scheme}://{name}:*" for scheme in ("http", "https") for name in LOOPBACK_NAMES)
_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._\-]+)(?::(?P<port>[0-9]{1,5}|\*))?", re.IGNORECASE)


class UnsafeBindingError(ValueError):
    """The server would be open to others without protection; the message says what to set."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Names that are served.

    Attributes:
        any_port: served under whatever port.
        exact: served under that port only.
    """

    any_port: frozenset[str]
    exact: frozenset[tuple[str, str]]

    def admit(self, header: str) -> bool:
        """Whether a Host header names one of them."""
        found = _AUTHORITY.fullmatch(header)
        if found is None or found["port"] == "*":
            return False
        name, port = found["name"].lower().removesuffix("."), found["port"] or ""
        return name in self.any_port or (name, port) in self.exact


def authorities(entries: Iterable[str]) -> Authorities:
    """Read entries such as `example.org` and `example.org:*` (any port) or `example.org:8443` (that one).

    Raises:
        ValueError: for an entry that is none of these.
    """
    any_port: set[str] = set()
    exact: set[tuple[str, str]] = set()
    for entry in entries:
        found = _AUTHORITY.fullmatch(entry)
        if found is None:
            raise ValueError(f"'{entry[:40]}' is not a host")
        if found["port"] in {None, "*"}:
            any_port.add(found["name"].lower())
        else:
            exact.add((found["name"].lower(), found["port"]))
    return Authorities(frozenset(any_port), frozenset(exact))


@dataclass(frozen=True, slots=True)
class CallerRules:
    """Which Host and Origin headers are served.

    Attributes:
        hosts: names of this server.
        origins: by scheme, the sites whose pages may call.
    """

    hosts: Authorities
    origins: dict[str, Authorities]

    def admit_host(self, header: str) -> bool:
        """Whether a request was meant for this server."""
        return self.hosts.admit(header)

    def admit_origin(self, header: str) -> bool:
        """Whether a page of that site may call; `null`, which sandboxed pages send, may not."""
        scheme, separator, authority = header.lower().partition("://")
        return bool(separator) and scheme in self.origins and self.origins[scheme].admit(authority)


def caller_rules(host: str, allowed_hosts: Collection[str], allowed_origins: Collection[str]) -> CallerRules:
    """The rules of a server that listens on `host`.

    Where nothing is allowed by name, a server on loopback answers to the names of this machine and to its pages, and
    one on an address of its own answers to that address and to no page.
    """
    own = LOOPBACK_NAMES if is_loopback(host) else (_bracketed(host),)
    origins = tuple(allowed_origins) or (_LOOPBACK_ORIGINS if is_loopback(host) else ())
    by_scheme: dict[str, list[str]] = {}
    for origin in origins:
        scheme, _, authority = origin.partition("://")
        # A page on the scheme's own port does not name it, and one on another port is another site.
        by_scheme.setdefault(scheme, []).append(authority)
    return CallerRules(
        authorities(tuple(allowed_hosts) or own),
        {scheme: _as_written(entries) for scheme, entries in by_scheme.items()},
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def refuse_unsafe(host: str, tokens: Collection[str], allowed_hosts: Collection[str]) -> None:
    """Refuse to listen where others can call without a token, or under a name that nobody could use.

    Raises:
        UnsafeBindingError: saying what to set.
    """
    if is_loopback(host):
        return
    if not tokens:
        raise UnsafeBindingError(
            f"http.host {host} can be reached from other machines, and no token is set: run `mdagent-mcp token NAME`, "
            "put the line it prints under [http.tokens], or listen on 127.0.0.1"
        )
    if _is_unspecified(host) and not allowed_hosts:
        raise UnsafeBindingError(
            f"http.host {host} listens on every address: list the names that clients use in http.allowed_hosts, "
            'such as ["data.example.org"]'
        )


def _as_written(entries: Iterable[str]) -> Authorities:
    """Sites, where a missing port means the scheme's own and not any."""
    given = authorities(entries)
    wild = frozenset(entry.removesuffix(":*") for entry in entries if entry.endswith(":*"))
    return Authorities(wild, given.exact | {(name, "") for name in given.any_port})


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()
