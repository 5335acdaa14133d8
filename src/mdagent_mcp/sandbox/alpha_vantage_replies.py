"""What every Alpha Vantage reply is made of: labels with ordinals, numbers as text, refusals with HTTP 200, quotas.

A free key may make 25 calls a day and one a second; a key that begins with `premium` may make 75 calls a minute, or as
many as the number behind that word says (`premium600`). When the real day begins anew is not stated; here it is
midnight in UTC.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

_FREE_PER_DAY: Final = 25
_PREMIUM: Final = re.compile(r"premium(?P<per_minute>[0-9]{0,5})")
_SMALLEST_PLAN: Final = 75
_SMALLEST_BURST: Final = 5
_PLANS: Final = "https://www.alphavantage.co/premium/"
_THANKS: Final = "Thank you for using Alpha Vantage!"
_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_ORDINAL: Final = re.compile(r"^[0-9]{1,2}\. ")


class RefusedError(Exception):
    """The call is not served.

    Args:
        label: under which the text stands.
        text: the vendor's.
    """

    def __init__(self, label: str, text: str) -> None:
        self.label, self.text = label, text
        super().__init__(text)


def invalid_call(function: str) -> RefusedError:
    """A symbol or a parameter that is not known."""
    pages = "https://www.alphavantage.co/documentation/"
    text = f"Invalid API call. Please retry or visit the documentation ({pages}) for {function}."
    return RefusedError("Error Message", text)


def premium_only() -> RefusedError:
    """A function or parameter that a free key may not use."""
    text = f"{_THANKS} This is a premium endpoint. You may subscribe to any of the premium plans at {_PLANS} "
    return RefusedError("Information", text + "to instantly unlock all premium endpoints")


def demo_only() -> RefusedError:
    """The demo key for anything but the documented examples."""
    text = (
        "The **demo** API key is for demo purposes only. Please claim your free API key at "
        "(https://www.alphavantage.co/support/#api-key) to explore our full API offerings. It takes fewer than 20 "
        "seconds."
    )
    return RefusedError("Information", text)


def no_key() -> RefusedError:
    """A call without a key."""
    text = (
        "the parameter apikey is invalid or missing. Please claim your free API key on "
        "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
    )
    return RefusedError("Error Message", text)


def too_fast() -> RefusedError:
    """A free key that calls twice within a second; this too speaks of days and premium plans."""
    text = (
        f"{_THANKS} Please consider spreading out your free API requests more sparingly (1 request per second). You "
        f"may subscribe to any of the premium plans at {_PLANS} to lift the free key rate limit ({_FREE_PER_DAY} "
        "requests per day), raise the per-second burst limit, and instantly unlock all premium endpoints"
    )
    return RefusedError("Information", text)


def _day_spent(key: str) -> RefusedError:
    """The day's calls of a free key: the text repeats the key."""
    text = (
        f"We have detected your API key as {key} and our standard API rate limit is {_FREE_PER_DAY} requests per day. "
        f"Please subscribe to any of the premium plans at {_PLANS} to instantly remove all daily rate limits."
    )
    return RefusedError("Information", text)


def _burst(allowed: int) -> RefusedError:
    text = (
        f"{_THANKS} Our standard API rate limit is {_FREE_PER_DAY} requests per day. Please subscribe to any of the "
        f"premium plans at {_PLANS} to instantly remove all daily rate limits. Burst pattern detected: {allowed} "
        "requests per second allowed."
    )
    return RefusedError("Information", text)


def is_premium(key: str) -> bool:
    """Whether a key is paid for."""
    return _PREMIUM.match(key) is not None


@dataclass
class CallBook:
    """The calls that every key has made lately and today."""

    _recent: dict[str, deque[datetime]] = field(default_factory=dict)
    _day: date | None = None
    _today: Counter[str] = field(default_factory=Counter)

    def admit(self, key: str, now: datetime) -> None:
        """Count a call; a refused one is not counted.

        Raises:
            RefusedError: when the key's quota is used up.
        """
        if now.date() != self._day:
            self._day = now.date()
            self._today.clear()
        recent = self._recent.setdefault(key, deque())
        while recent and now - recent[0] >= _MINUTE:
            recent.popleft()
        last_second = sum(1 for at in recent if now - at < _SECOND)
        paid = _PREMIUM.match(key)
        if paid is not None:
            per_minute = int(paid["per_minute"] or _SMALLEST_PLAN)
            allowed = max(_SMALLEST_BURST, per_minute // 60)
            if last_second >= allowed or len(recent) >= per_minute:
                raise _burst(allowed)
        elif last_second:
            raise too_fast()
        elif self._today[key] >= _FREE_PER_DAY:
            raise _day_spent(key)
        recent.append(now)
        self._today[key] += 1


def reply(payload: Any, status: int = 200) -> Response:
    """A JSON reply, indented as theirs are."""
    body = json.dumps(payload, ensure_ascii=False, indent=4, allow_nan=False)
    headers = {"Access-Control-Allow-Origin": "*"}
    return Response(body.encode(), status, headers, "application/json")


def refusal(refused: RefusedError) -> Response:
    """A refusal, which has status 200 like everything else."""
    return reply({refused.label: refused.text})


def table(rows: Iterable[Mapping[str, str]]) -> Response:
    """Rows as comma separated values under their labels without ordinals."""
    listed = [{bare(label): value for label, value in row.items()} for row in rows]
    text = io.StringIO()
    if listed:
        writer = csv.DictWriter(text, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
    return Response(text.getvalue().encode(), media_type="application/x-download")


def bare(label: str) -> str:
    """A label as the head of a column: `5. adjusted close` is `adjusted_close`."""
    return _ORDINAL.sub("", label).replace(" ", "_")


def numbered(values: Mapping[str, str], width: int = 1) -> dict[str, str]:
    """Values under labels with ordinals."""
    return {f"{number:0{width}}. {name}": value for number, (name, value) in enumerate(values.items(), 1)}


def four(price: float) -> str:
    """A price as text, four decimals."""
    return f"{price:.4f}"
