"""Where notices go: Apprise speaks to Slack, mail, webhooks and a hundred others.

The rule of this module: an address is a secret (it holds tokens), so a channel is called by its number and kind; what
cannot be delivered waits, bounded, and is tried again later and later; nothing else waits for it. Apprise is loaded in
a thread at the first notice, since that takes a third of a second.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Final

from anyio import to_thread
from pydantic import SecretStr

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.domain.isolation import run_isolated

INSTALL: Final = "pip install 'mdagent-mcp[alerts]'"
MOST_WAITING: Final = 20
"""Messages that wait for one channel; the oldest leave first."""
FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0
_log: Final = logging.getLogger("mdagent_mcp")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes:
        title: one line.
        body: lines of plain text.
    """

    title: str
    body: str


@dataclass
class Channel:
    """One address and what waits for it.

    Attributes:
        name: safe to show.
        trouble: why the last message could not be delivered; empty when it could.
    """

    name: str
    address: SecretStr = field(repr=False)
    trouble: str = ""
    _waiting: deque[Message] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    _pause_s: float = FIRST_PAUSE_S
    _not_before: float = 0.0

    def add(self, message: Message) -> None:
        """Have a message delivered in the next round."""
        self._waiting.append(message)

    async def deliver(self, clock: Clock) -> None:
        """Deliver what waits, oldest first, until one cannot be."""
        while self._waiting and clock.monotonic() >= self._not_before:
            self.trouble = await to_thread.run_sync(
                partial(_send, self.address.get_secret_value(), self._waiting[0]), abandon_on_cancel=True
            )
            if not self.trouble:
                self._waiting.popleft()
                self._pause_s = FIRST_PAUSE_S
                continue
            _log.warning("%s: %s; tried again in %.0f s", self.name, self.trouble, self._pause_s)
            self._not_before = clock.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


def channels_of(addresses: Sequence[SecretStr]) -> tuple[Channel, ...]:
    """A channel for each address."""
    return tuple(
        Channel(f"alert channel {number} ({_kind(address)})", address)
        for number, address in enumerate(addresses, start=1)
    )


def is_installed() -> bool:
    """Whether Apprise is there."""
    return find_spec("apprise") is not None


async def deliver_all(channels: Sequence[Channel], clock: Clock) -> None:
    """Deliver what waits for each; one that fails costs the others nothing."""
    for channel in channels:
        await run_isolated(channel.name, channel.deliver, clock)


def _kind(address: SecretStr) -> str:
    """The service, which is no secret."""
    return clean_text(address.get_secret_value().partition("://")[0], 20)


def _send(address: str, message: Message) -> str:
    """Send one message; why it could not be, empty when it could."""
    if not is_installed():
        return f"needs Apprise: {INSTALL}"
    import apprise  # noqa: PLC0415 - a third of a second, in a thread, at the first notice

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it may name addresses
    sender = apprise.Apprise()
    if not sender.add(address):
        return "its address is none that Apprise knows; see https://github.com/caronc/apprise/wiki"
    sent = sender.notify(body=message.body, title=message.title, body_format=apprise.NotifyFormat.TEXT)
    return "" if sent else "the message was not accepted"
