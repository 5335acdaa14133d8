"""Single flight across replicas on a real server: laws over any order of what replicas do, and of what time does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, pairwise

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache.valkey import Valkey, valkey_server
from mdagent_mcp.cache.shared_flights import Follows, Found, Leads, Look, SharedFlights
from mdagent_mcp.cache.shared_server import FAILURES, FIRST_REST_S, LONGEST_REST_S, SharedServer, SharedServerError
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.engine.shared_flight import FOLLOW_S, POLL_S, SharedFlight
from mdagent_mcp.testing import ManualClock

_SPACES = count()
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
moves = st.tuples(st.integers(0, 2), st.sampled_from(["look", "tell", "tell old", "release", "die"]))


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A real server."""
    with valkey_server() as running:
        yield running


@given(st.lists(moves, min_size=1, max_size=14))
@example([(0, "look"), (1, "release"), (1, "look"), (0, "release"), (1, "look")])
@example([(0, "tell"), (1, "tell old"), (2, "look"), (1, "tell"), (2, "look")])
@example([(0, "tell old"), (1, "tell old"), (2, "look")])
@settings(max_examples=40)
def test_at_most_one_replica_leads_and_a_value_that_was_told_is_found(
    valkey: Valkey, done: list[tuple[int, str]]
) -> None:
    """Nobody loses a lease by what another does; a younger value is never replaced by an older one."""
    anyio.run(_play, valkey, done)


async def _play(valkey: Valkey, done: list[tuple[int, str]]) -> None:
    space, server = f"law{next(_SPACES)}", SharedServer(valkey.url, SystemClock(), timeout_s=2.0)
    replicas = [SharedFlights(server, space, "quote", replica=str(n)) for n in range(3)]
    leader: int | None = None
    value: bytes | None = None
    value_is_old = False
    bodies = (f"{n}".encode() for n in count())
    try:
        for who, what in done:
            if what == "look":
                look = (await replicas[who].look(["AAPL"], {}))["AAPL"]
                if value is not None:
                    assert isinstance(look, Found)
                    assert look.body == value
                    continue
                assert isinstance(look, Leads) is (leader in {None, who})
                leader = who if leader is None else leader
            elif what == "die":
                # A replica that died: what time does to its lease.
                async with valkey.by_hand() as client:
                    await client.delete(f"mdagent:{{{space}}}:quote:AAPL:lease")
                leader = None
            elif what == "release":
                await replicas[who].release(["AAPL"])
                leader = None if leader == who else leader
            else:
                body, age_s = next(bodies), 3.0 if what == "tell old" else 0.0
                await replicas[who].tell("AAPL", body, age_s=age_s, kept_s=60.0)
                if what == "tell" or value is None or value_is_old:
                    value, value_is_old = body, what == "tell old"
                leader = None if leader == who else leader
    finally:
        await server.aclose()


@given(st.lists(st.sampled_from(["lead", "follow", "found", "bad", "lost"]), max_size=8), st.integers(1, 3))
def test_a_question_always_ends_and_never_waits_longer_than_it_may(script: list[str], names: int) -> None:
    """Whatever the server says: with the answer, with the lease, or after the wait."""
    anyio.run(_consult, script, [f"S{n}" for n in range(names)])


class _Scripted(SharedFlights):
    """A server that says what a test tells it to, and at last that somebody else is asking, for ever."""

    def __init__(self, script: list[str]) -> None:
        self.script = list(script)

    async def look(self, names: object, seen: object) -> dict[str, Look]:
        word = self.script.pop(0) if self.script else "follow"
        if word == "lost":
            raise SharedServerError("gone")
        assert isinstance(names, list)
        said: dict[str, Look] = {"lead": Leads(), "follow": Follows()}
        return {name: said.get(word) or Found(b"1", 0.0, word.encode()) for name in names}


async def _consult(script: list[str], names: list[str]) -> None:
    clock = ManualClock(NOON, settle_rounds=8)
    accepted: list[str] = []
    ended = anyio.Event()

    def accept(name: str, found: Found) -> bool:
        if found.body == b"found":
            accepted.append(name)
        return found.body == b"found"

    async def ask() -> None:
        await flight.consult(names, accept)
        ended.set()

    async with anyio.create_task_group() as tasks:
        flight = SharedFlight(_Scripted(script), clock, tasks.start_soon)
        tasks.start_soon(ask)
        while not ended.is_set():
            assert clock.monotonic() <= FOLLOW_S + POLL_S
            await clock.advance(POLL_S)
    meaningful = [word for word in script if word in {"lead", "found", "lost"}]
    first = meaningful[0] if meaningful else ""
    assert all(flight.leads(name) for name in names) is (first == "lead")
    assert accepted == (names if first == "found" else [])


async def test_a_server_that_is_down_is_tried_by_one_command_at_a_time_and_less_and_less_often() -> None:
    """Three failures, then a rest that doubles up to half a minute; in between nothing is sent."""
    clock = ManualClock(NOON)
    server = SharedServer("redis://127.0.0.1:1/0", clock)
    sent: list[float] = []

    class Refusing:
        """A client whose every command fails."""

        async def eval(self, *_words: object) -> object:
            sent.append(clock.monotonic())
            raise OSError

    server._client = Refusing()  # type: ignore[assignment]
    for _ in range(1000):
        with pytest.raises(SharedServerError):
            await server.run("return 1", [])
        await clock.advance(0.1)
    gaps = [round(b - a, 1) for a, b in pairwise(sent[FAILURES - 1 :])]
    expected: list[float] = []
    rest = FIRST_REST_S
    while len(expected) < len(gaps):
        expected.append(min(rest, LONGEST_REST_S))
        rest *= 2
    assert gaps == pytest.approx(expected, abs=0.11)
    assert server.losses == 1
