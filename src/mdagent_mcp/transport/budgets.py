"""What one key may still spend at its vendor, decided together with everybody on this machine who uses the same key.

A desktop application starts one server per client, all with the same keys; a team runs several replicas. So the log of
what was spent lies in a store that they share, and every call is admitted by compare-and-swap: read the log, decide by
`resilience.quota`, write it back unless somebody else wrote meanwhile. When the store cannot be used, the mirror of
what it last said decides, each call counted once for every replica that was seen alive, so that together they stay
within the quota; what was really spent is charged to the store as soon as it is back. A store may come back empty, so
for a moment after that the mirror must agree as well, until every replica has told what it spent meanwhile.

Before every decision the log is brought to the time that holds now by `resilience.quota_clock`, so that a wall clock
that is set opens nothing early, whichever process of the machine sees it first. A store with a clock of its own is
gone by while it can be reached, and by the time passed since while it cannot; that it was set is seen by whoever wrote
to it last, or another process of that machine, and not by other machines.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import FailureKind
from mdagent_mcp.domain.vendor import Quota
from mdagent_mcp.resilience.quota import (
    EMPTY,
    Admission,
    QuotaLog,
    QuotaUsage,
    admit,
    block_until,
    charge,
    peek,
    usage,
)
from mdagent_mcp.resilience.quota_clock import aligned
from mdagent_mcp.resilience.quota_text import from_text, to_text

_Decide = Callable[[QuotaLog, float], tuple[QuotaLog, Admission]]

ARRIVAL_MARGIN_S: Final = 0.5
"""How much closer together two calls may arrive at the vendor than they were sent."""
SWAPS: Final = 64
"""How often a decision is made anew because somebody else wrote meanwhile; then the mirror decides."""
RETRY_STORE_S: Final = 2.0
"""How long a store that failed is left alone."""
RESERVE_SHARE: Final = 0.1
"""Share of a quota that replicas which cannot hear each other leave unused."""
REJOIN_S: Final = 1.25 * RETRY_STORE_S
"""How long after a store is back the others may still owe it what they spent without it."""
SILENT_S: Final = 5.0
"""How long nothing is spent while a store does not answer: it may hang, or only this replica be cut off from it."""
GONE_S: Final = 15.0
"""How long those that have not come back to it by then are waited for: a busy machine lets some find it late."""


class StoreError(Exception):
    """The store cannot be used now; the message says why and is safe to show.

    Attributes:
        slow: whether it only did not answer in time, so that others may be using it.
    """

    def __init__(self, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.slow = slow


@dataclass(frozen=True, slots=True)
class Stored:
    """A log as the store has it.

    Attributes:
        revision: grows with every write; 0 when nothing was written yet.
        text: the log; empty when nothing was written yet.
        now: the store's own clock, epoch seconds; None where it has none and everybody shares one machine's.
        replicas: how many processes use the store, as far as it knows; 1 where it does not count them.
    """

    revision: int
    text: str
    now: float | None = None
    replicas: int = 1


class BudgetStore(Protocol):
    """Keeps one log per account for everybody who shares it."""

    @property
    def assumed_replicas(self) -> int:
        """How many share it as long as it has not told."""
        ...

    async def load(self, account: str) -> Stored:
        """The log of an account.

        Raises:
            StoreError: when the store cannot be used.
        """
        ...

    async def swap(self, account: str, revision: int, text: str) -> bool:
        """Write a log over the one of that revision; False when somebody else wrote first.

        Raises:
            StoreError: when the store cannot be used.
        """
        ...


class PrivateStore:
    """A store that nobody else can see: for one process without a data directory."""

    assumed_replicas: Final = 1

    def __init__(self) -> None:
        self._logs: dict[str, Stored] = {}

    async def load(self, account: str) -> Stored:
        """The log of an account."""
        return self._logs.get(account, Stored(0, ""))

    async def swap(self, account: str, revision: int, text: str) -> bool:
        """Write a log over the one of that revision."""
        if (await self.load(account)).revision != revision:
            return False
        self._logs[account] = Stored(revision + 1, text)
        return True


def account_of(source: str, key: str | None) -> str:
    """Under which name the spending of a key is kept: two keys of one source have a budget each.

    The name holds a keyless digest of six bytes: enough to tell keys of one person apart, and not the key.
    """
    if key is None:
        return source
    digest = hashlib.blake2s(key.encode(), digest_size=6, person=b"budgets").hexdigest()
    return f"{source}:{digest}"


class Budget:
    """What one key may still spend.

    Args:
        account: under which name its log is kept; see `account_of`.
        quotas: all hold at once.
        clock: time.
        store: who keeps the log.
    """

    def __init__(self, account: str, quotas: Sequence[Quota], clock: Clock, store: BudgetStore) -> None:
        self.account = account
        self.quotas = tuple(quotas)
        self._clock = clock
        self._store = store
        self._mirror: QuotaLog = EMPTY
        self._shared: QuotaLog = EMPTY
        self._seen = Stored(0, "")
        self._replicas = store.assumed_replicas
        self._told_replicas = 1
        self._missed_replicas = 0
        self._silent_since: float | None = None
        self._rejoined_at: float | None = None
        self._lost = False
        self._unstored: list[tuple[float, int]] = []
        self._store_clock: tuple[float, float] | None = None
        self._store_from = 0.0
        self.trouble = ""
        """Why the store cannot be used at the moment; empty when it can."""

    @property
    def now(self) -> float:
        """Epoch seconds on the time of the log."""
        return self._look()[1]

    def _look(self) -> tuple[QuotaLog, float]:
        """The mirror, and what counts as now."""
        return self._aligned(self._mirror)

    def _aligned(self, log: QuotaLog) -> tuple[QuotaLog, float]:
        uptime = self._clock.uptime()
        if self._store_clock is None:
            return aligned(log, self._clock.now().timestamp(), uptime)
        told, then_s = self._store_clock
        return aligned(log, told + (uptime.seconds - then_s), uptime, shared=True)

    async def admit(self, cost: int) -> Admission:
        """Charge a call if every quota has room for it, else say how long it would have to wait."""

        def decide(log: QuotaLog, now: float) -> tuple[QuotaLog, Admission]:
            log, admission = admit(log, self.quotas, now, cost, margin_s=ARRIVAL_MARGIN_S)
            return log, _in_milliseconds(admission)

        if self._rejoining:
            return await self._admit_rejoining(cost, decide)
        return await self._decide_or_alone(cost, decide)

    async def _admit_rejoining(self, cost: int, decide: _Decide) -> Admission:
        """While others may still owe the store what they spent, the mirror has to agree as well."""
        await self.refresh()
        _, alone = self._admit_for_all(cost)
        if not alone.allowed:
            return _in_milliseconds(alone)
        return await self._decide_or_alone(cost, decide)

    async def _decide_or_alone(self, cost: int, decide: _Decide) -> Admission:
        admission = await self._decide(decide)
        if admission is None:
            return self._decide_alone(cost)
        if admission.allowed and self._rejoining:
            self._charge_mirror(self.quotas, cost * self._replicas)
        return admission

    def _charge_mirror(self, quotas: Sequence[Quota], cost: int) -> None:
        """Count in the mirror what the store does not tell it: not reached, or just reached again and not relied on."""
        mirror, now = self._look()
        self._mirror = charge(mirror, quotas, now, cost)

    @property
    def _rejoining(self) -> bool:
        if self._rejoined_at is None:
            return False
        since = self._clock.monotonic() - self._rejoined_at
        return since < REJOIN_S or (since < GONE_S and self._told_replicas < self._missed_replicas)

    def _decide_alone(self, cost: int) -> Admission:
        """Without the store: charge the mirror for every replica, because each of them decides like this.

        Not yet where the store is only silent: the others may be spending all there is.
        """
        if self._silent_since is not None and self._replicas > 1:
            left = self._silent_since + SILENT_S - self._clock.monotonic()
            if left > 0:
                return _in_milliseconds(Admission(allowed=False, wait_s=left))
        self._mirror, admission = self._admit_for_all(cost)
        if admission.allowed:
            self._unstored.append((self._clock.uptime().seconds, cost))
        return _in_milliseconds(admission)

    def _admit_for_all(self, cost: int) -> tuple[QuotaLog, Admission]:
        """Charge the mirror for every replica, with a reserve for what the others spent just before it was cut off."""
        for_all, reserve = cost * self._replicas, 0
        if self._replicas > 1 and self.quotas:
            reserve = math.ceil(RESERVE_SHARE * min(quota.limit for quota in self.quotas))
        mirror, now = self._look()
        room = peek(mirror, self.quotas, now, for_all + reserve, margin_s=ARRIVAL_MARGIN_S)
        if not room.allowed:
            return mirror, room
        return admit(mirror, self.quotas, now, for_all, margin_s=ARRIVAL_MARGIN_S)

    async def charge(self, cost: int) -> None:
        """Count what is spent whatever the quotas say."""

        def decide(log: QuotaLog, now: float) -> tuple[QuotaLog, Admission]:
            return charge(log, self.quotas, now, cost), Admission(allowed=True)

        told = await self._decide(decide)
        if told is None or self._rejoining:
            self._charge_mirror(self.quotas, cost)
        if told is None:
            self._unstored.append((self._clock.uptime().seconds, cost))

    async def rest(self, seconds: float, because: FailureKind) -> None:
        """Spend nothing for so long, because the vendor said so."""

        def decide(log: QuotaLog, now: float) -> tuple[QuotaLog, Admission]:
            return block_until(log, now, now + seconds, because), Admission(allowed=True)

        if await self._decide(decide) is None or self._rejoining:
            self._mirror, _ = decide(*self._look())

    async def correct(self, quota_name: str, left: int) -> None:
        """Heed what the vendor says is left of a quota, where that is less than we think."""
        view = next((v for v in self.usage() if v.quota.name == quota_name), None)
        if view is None:
            return
        excess = (view.quota.limit - view.used) - max(0, left)
        if excess <= 0:
            return

        def decide(log: QuotaLog, now: float) -> tuple[QuotaLog, Admission]:
            return charge(log, (view.quota,), now, excess), Admission(allowed=True)

        if await self._decide(decide) is None or self._rejoining:
            self._charge_mirror((view.quota,), excess)

    def peek(self, cost: int = 1) -> Admission:
        """What `admit` would probably say, nothing charged."""
        mirror, now = self._look()
        return _in_milliseconds(peek(mirror, self.quotas, now, cost, margin_s=ARRIVAL_MARGIN_S))

    def usage(self) -> tuple[QuotaUsage, ...]:
        """How much of each quota is spent, as far as we last heard."""
        if not self.quotas:
            return ()
        mirror, now = self._look()
        return usage(mirror, self.quotas, now, margin_s=ARRIVAL_MARGIN_S)

    def resting(self) -> tuple[FailureKind, float] | None:
        """Why and for how many more seconds the vendor wants us to rest; None when it does not."""
        if self._mirror.blocked_because is None:
            return None
        mirror, now = self._look()
        left, because = mirror.blocked_until - now, mirror.blocked_because
        return (because, left) if because is not None and left > 0 else None

    async def refresh(self) -> None:
        """Hear what the others spent, for looks without a decision."""
        await self._decide(lambda log, _: (log, Admission(allowed=False)))

    async def aclose(self) -> None:
        """Tell the store what it was not told yet, as after a full disk; where it cannot be used, nobody will know."""
        if self._unstored:
            self._store_from = 0.0
            with anyio.CancelScope(shield=True):
                await self.refresh()

    async def _decide(self, decide: _Decide) -> Admission | None:
        """Decide on the store's log and write it back; None when the store cannot be used."""
        if self._clock.monotonic() < self._store_from:
            return None
        try:
            for _ in range(SWAPS):
                admission = await self._attempt(decide)
                if admission is not None:
                    return admission
            self.trouble = "too many others write to it"
        except StoreError as error:
            self.trouble = str(error)
            self._lost = True
            if not error.slow:
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = self._clock.monotonic()
            self._store_from = self._clock.monotonic() + RETRY_STORE_S
        return None

    async def _attempt(self, decide: _Decide) -> Admission | None:
        """One round of compare-and-swap; None when somebody else wrote meanwhile."""
        stored = await self._store.load(self.account)
        if stored.now is not None:
            self._store_clock = stored.now, self._clock.uptime().seconds
        if self._lost or stored.revision < self._seen.revision:
            self._missed_replicas = max(self._told_replicas, self._missed_replicas if self._rejoining else 0)
            self._lost, self._rejoined_at, self._silent_since = False, self._clock.monotonic(), None
        self._told_replicas = stored.replicas
        self._replicas = max(stored.replicas, self._replicas) if self._rejoining else stored.replicas
        # The time is read as late as can be: what is decided counts as of then.
        log, now = self._aligned(self._read(stored))
        owed = tuple(self._unstored)
        for spent_s, weight in owed:
            log = charge(log, self.quotas, now - (self._clock.uptime().seconds - spent_s), weight)
        if not self._rejoining:
            self._mirror = log  # also where it cannot be written back: a full disk still tells what was spent
        decided, admission = decide(log, now)
        if not owed and (not admission.allowed or self._tells_nothing(log, decided)):
            self._keep(decided, stored)
            return admission
        text = to_text(decided)
        if not await self._store.swap(self.account, stored.revision, text):
            return None
        self._keep(decided, Stored(stored.revision + 1, text))
        del self._unstored[: len(owed)]
        self.trouble = ""
        return admission

    def _tells_nothing(self, log: QuotaLog, decided: QuotaLog) -> bool:
        """Whether nobody needs to hear what was decided: a call that counts against no quota."""
        rests = (log.blocked_until, log.blocked_because)
        return not self.quotas and (decided.blocked_until, decided.blocked_because) == rests

    def _keep(self, log: QuotaLog, stored: Stored) -> None:
        self._shared, self._seen = log, stored
        if not self._rejoining:
            self._mirror = log

    def _read(self, stored: Stored) -> QuotaLog:
        """The store's log; what it last was where it is the same, was lost, or is none of ours."""
        if not stored.text or (stored.revision, stored.text) == (self._seen.revision, self._seen.text):
            return self._shared
        try:
            return from_text(stored.text)
        except ValueError:
            return self._shared


def _in_milliseconds(admission: Admission) -> Admission:
    """With its wait rounded up to a millisecond: a shorter one may not even move a clock that tells microseconds."""
    if admission.allowed or admission.wait_s is None:
        return admission
    return replace(admission, wait_s=math.ceil(round(admission.wait_s * 1000.0, 6)) / 1000.0)
