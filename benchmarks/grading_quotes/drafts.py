"""What a source says, beside what is true about it: the material of every case.

The rule of this module: a `Draft` knows the truth (when its content was true, what is wrong with it); the `Quote` made
of it does not, and only the quote reaches the product.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from grading_quotes.tape import TICK, Tape
from mdagent_mcp.domain.prices import Quote, Session

NOISE_SHARE: Final = 0.4
"""Of the prices that are half a tick off the tape's before they are put on the grid."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A simulated source.

    Attributes:
        id: source id.
        group: its upstream group.
        delay_s: usual delay of its content.
        skew_s: seconds its clock runs ahead of ours.
        resolution_s: of its stamps.
        slow_gap_s: mean time between the trades of its own venue, whose time it stamps; 0 for one that stamps the
            time of its content.
    """

    id: str
    group: str
    delay_s: float
    skew_s: float
    resolution_s: float
    slow_gap_s: float = 0.0


@dataclass(slots=True)
class Draft:
    """One source's word with the truth about it.

    Attributes:
        profile: who speaks.
        content_at: seconds on the tape's clock when the price was true.
        received_at: when it reached us, on the same clock.
        fields: arguments of the quote.
        wrong_kind: its price is of another instrument, unit or currency.
        wrong_stamp: its time is missing or wrong by more than any clock.
        wrong_fields: its own fields contradict each other.
        earlier_session: its price is from before the last completed session.
        other_session: a price of another session than the one that is asked about.
    """

    profile: Profile
    content_at: float
    received_at: float
    fields: dict[str, object] = field(default_factory=dict)
    wrong_kind: bool = False
    wrong_stamp: bool = False
    wrong_fields: bool = False
    earlier_session: bool = False
    other_session: bool = False

    @property
    def price(self) -> float:
        """As it is stated."""
        value = self.fields["price"]
        if not isinstance(value, float):
            raise TypeError("a price is a number")
        return value

    def scale(self, factor: float, *names: str) -> None:
        """Multiply named fields, all prices when none is named."""
        for name in names or ("price", "bid", "ask", "open", "high", "low", "previous_close"):
            value = self.fields.get(name)
            if isinstance(value, float):
                self.fields[name] = round(value * factor, 6)

    def shift_stamp(self, seconds: float) -> None:
        """Write another time."""
        stamp = self.fields["event_time"]
        if isinstance(stamp, datetime):
            self.fields["event_time"] = stamp + timedelta(seconds=seconds)

    def quote(self) -> Quote:
        """What the product sees."""
        return Quote(**self.fields)  # type: ignore[arg-type]  # fields are built for it below


def speak(tape: Tape, profile: Profile, now: float, rng: random.Random, *, extra_s: float = 0.0) -> Draft:
    """What a healthy source says at `now`, its content `extra_s` later than usual."""
    received = now - rng.uniform(0.0, 0.3)
    content = max(0.0, received - profile.delay_s - rng.expovariate(20.0) - extra_s)
    return say(tape, profile, content, received, rng)


def say(tape: Tape, profile: Profile, content: float, received: float, rng: random.Random) -> Draft:
    """What a source says whose content is of the second `content`, stamped accordingly."""
    state = tape.at(content)
    stamped = _stamped(profile, content, rng) + profile.skew_s
    stamped = math.floor(stamped / profile.resolution_s) * profile.resolution_s
    price = state.price
    if rng.random() < NOISE_SHARE:
        price += rng.choice((-TICK, 0.0, 0.0, TICK))
    return Draft(
        profile,
        content,
        received,
        {
            "symbol": tape.symbol,
            "source": profile.id,
            "price": round(price, 2),
            "session": Session.REGULAR,
            "received_at": tape.instant(received),
            "event_time": tape.instant(stamped),
            "event_time_resolution_s": profile.resolution_s,
            "currency": "USD",
            "bid": state.bid,
            "ask": state.ask,
            "open": tape.open,
            "high": tape.high,
            "low": tape.low,
            "previous_close": tape.previous_close,
            "volume": float(int(1e6 + 300 * content)),
        },
    )


def _stamped(profile: Profile, content: float, rng: random.Random) -> float:
    """The instant a source puts on its content: of its venue's last trade where that is what it stamps."""
    return content - rng.expovariate(1 / profile.slow_gap_s) if profile.slow_gap_s else content
