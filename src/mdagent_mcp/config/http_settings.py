"""The settings of `serve --http`: where it listens, whom it answers, and how much of anything it takes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from mdagent_mcp.config.taking_effect import AT_START

MOST_BODY_BYTES: Final = 67_108_864
"""Greatest `max_body_bytes`."""
_TOKEN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,39}")
_TOKEN_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]+\]|[a-z0-9][a-z0-9.\-]*)(?::(?:\*|[0-9]{1,5}))?", re.IGNORECASE)


def _tokens(tokens: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, secret in tokens.items():
        if not _TOKEN_NAME.fullmatch(name):
            raise ValueError("the name of a token is up to 40 letters, digits, dots, dashes and underscores")
        if not _TOKEN_HASH.fullmatch(secret.get_secret_value()):
            raise ValueError(f"'{name}' is no SHA-256 of a token; `mdagent-mcp token {name}` prints the line to set")
    return tokens


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("should be a host name with or without a port, such as data.example.org or 10.0.0.5:8000")
    return text.lower()


def _origin(text: str) -> str:
    split = urlsplit(text)
    if split.scheme not in {"http", "https"} or not split.hostname or text != f"{split.scheme}://{split.netloc}":
        raise ValueError("should be scheme and host alone, such as https://app.example.org")
    return text.lower()


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError("should be an address or a network, such as 10.0.0.2 or 10.0.0.0/24") from error
    return text


class HttpSettings(BaseModel):
    """What `serve --http` does and refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(
        "127.0.0.1", min_length=1, max_length=255, description="address to listen on", json_schema_extra=AT_START
    )
    port: int = Field(8000, ge=0, le=65_535, description="0 takes a free one", json_schema_extra=AT_START)
    tokens: Annotated[Mapping[str, SecretStr], AfterValidator(_tokens)] = Field(
        default_factory=dict, description="by name, the SHA-256 of each bearer token; `mdagent-mcp token` makes one"
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (), description="names in the Host header that are served; none for those of the address listened on"
    )
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (), description="web pages that may call; none for pages of this machine, and no others"
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (),
        description="reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
        json_schema_extra=AT_START,
    )
    stateless: bool = Field(
        default=False, description="no sessions, so that any replica answers any request", json_schema_extra=AT_START
    )
    json_response: bool = Field(
        default=False,
        description="always plain JSON, less work; no progress, and only a time limit ends a call early",
        json_schema_extra=AT_START,
    )
    requests_per_s: float = Field(50.0, ge=0, le=1e6, description="of one client in the long run; 0 for no limit")
    burst: float = Field(100.0, ge=1, le=1e6, description="requests one client may make at once")
    max_body_bytes: int = Field(1_048_576, ge=1024, le=MOST_BODY_BYTES, description="of one request")
    max_json_depth: int = Field(32, ge=8, le=500, description="levels of nesting in one request")
    max_header_bytes: int = Field(
        16_384, ge=1024, le=1_048_576, description="request line and headers together", json_schema_extra=AT_START
    )
    receive_s: float = Field(
        15.0,
        gt=0,
        le=600,
        description="time a client may take to send one request, seconds",
        json_schema_extra=AT_START,
    )
    keep_alive_s: int = Field(
        75, ge=1, le=3600, description="time an idle connection is kept open, seconds", json_schema_extra=AT_START
    )
    max_connections: int = Field(
        2_000, ge=1, le=1_000_000, description="open at once; more are told to come back", json_schema_extra=AT_START
    )
    max_sessions: int = Field(
        10_000, ge=1, le=1_000_000, description="sessions of clients before 2026-07-28", json_schema_extra=AT_START
    )
    session_idle_s: float = Field(
        1_800.0, gt=0, le=86_400, description="after which an unused session ends, seconds", json_schema_extra=AT_START
    )
    drain_notice_s: float = Field(
        0.0,
        ge=0,
        le=300,
        description="on SIGTERM, time new calls are still taken after /readyz says 503, seconds",
        json_schema_extra=AT_START,
    )
    drain_s: float = Field(
        15.0,
        gt=0,
        le=300,
        description="on SIGTERM, time calls under way may take to end, seconds",
        json_schema_extra=AT_START,
    )
