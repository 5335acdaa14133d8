"""Made-up exchanges with Yahoo for its tests: fixtures in Yahoo's shape with values of our own."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mdagent_mcp.domain.vendor import Reply

FIXTURES: Final = Path(__file__).parent / "fixtures" / "yahoo"


def utc(text: str) -> datetime:
    """An instant written like `2026-03-18T15:04:11`, UTC."""
    return datetime.fromisoformat(f"{text}+00:00")


def load(name: str) -> Any:
    """A fixture's JSON, free to be changed by the test."""
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def chart_of(payload: Any) -> Any:
    """The only result of a chart payload."""
    return payload["chart"]["result"][0]


def reply_of(payload: Any, received_at: str, status: int = 200) -> Reply:
    """A payload as it comes over the wire; text is sent as it is."""
    body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    return Reply(status, {}, body, utc(received_at))
