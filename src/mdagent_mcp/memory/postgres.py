"""Memory on a PostgreSQL server that several machines share: the same statements, the same rules.

The rule of this module: one transaction at a time has the right to write, by an advisory lock that ends with it, so
that what is read, combined and written is never another machine's half. No error shows the server's address with its
password. The driver is asyncpg: it speaks to the server without a C library of PostgreSQL's, works on the event loop
that Windows starts with, and has this package's licence. It is imported when the first connection is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio

from mdagent_mcp.domain.clock import Clock
from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.memory.connection import InDoubtError, Row, StoreError
from mdagent_mcp.memory.database import Opened
from mdagent_mcp.memory.dialect import for_postgres
from mdagent_mcp.memory.migrations import NewerSchemaError, migrate

if TYPE_CHECKING:
    import asyncpg

CONNECTING_S: Final = 2.0
"""Seconds that opening a connection may take."""
COMMAND_S: Final = 10.0
"""Seconds that a statement may take, waiting for other machines' transactions included."""
_LOCK_WAIT: Final = "SET LOCAL lock_timeout = '5s'"
_ONLY_WRITER: Final = "SELECT pg_advisory_xact_lock(724105512009)"
_DRIVER_ERRORS: Final = (OSError, TimeoutError, ValueError)
_TABLES: Final = "SELECT tablename::text FROM pg_tables WHERE schemaname = ANY (current_schemas(false)::text[])"


class PostgresConnection:
    """A `Connection` to a PostgreSQL server.

    Args:
        raw: outside any transaction.
        where: the server, for people.
    """

    def __init__(self, raw: asyncpg.Connection[Any], where: str) -> None:
        self.raw = raw
        self._where = where
        self._turn = asyncio.Lock()  # the driver refuses a second statement while one is under way

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """See `Connection`."""
        with _told(self._where):
            async with self._turn:
                await self.raw.execute(for_postgres(statement), *values)

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """See `Connection`."""
        if not rows:
            return
        with _told(self._where):
            async with self._turn:
                await self.raw.executemany(for_postgres(statement), rows)

    async def execute_fetchall(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Connection`."""
        with _told(self._where):
            async with self._turn:
                return [tuple(row) for row in await self.raw.fetch(for_postgres(statement), *values)]

    async def tables(self) -> frozenset[str]:
        """See `Connection`."""
        return frozenset(str(name) for (name,) in await self.execute_fetchall(_TABLES))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """See `Connection`."""
        await self._roll_back()
        for statement in ("BEGIN", _LOCK_WAIT, _ONLY_WRITER):
            await self.execute(statement)
        try:
            yield
        except BaseException:
            await self._roll_back()
            raise
        with anyio.CancelScope(shield=True):  # whether it took effect must be known
            try:
                await self.execute("COMMIT")
            except StoreError as error:
                self.raw.terminate()
                raise InDoubtError(str(error)) from error

    async def close(self) -> None:
        """See `Connection`."""
        with suppress(StoreError), _told(self._where):
            await self.raw.close(timeout=1.0)

    async def _roll_back(self) -> None:
        """End what a body that was cancelled or failed has left open; a lost connection has none."""
        with anyio.CancelScope(shield=True):
            if self.raw.is_in_transaction():
                try:
                    await self.execute("ROLLBACK")
                except StoreError:
                    self.raw.terminate()


class PostgresDatabase:
    """A store on a server.

    Args:
        url: `postgresql://…`; it may carry a password, so it is never shown.
        clock: for record times.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._where = server_name(url)

    async def open(self, *, damaged: bool = False) -> Opened:  # noqa: ARG002 - a server looks after its own files
        """See `Database`."""
        connection = await self._connected()
        try:
            try:
                await migrate(connection, self._clock.now().timestamp())
            except NewerSchemaError as error:
                raise StoreError(f"{self._where} cannot be used ({error})", lasting=True) from error
            reader = await self._connected()
        except BaseException:
            connection.raw.terminate()
            raise
        return Opened(connection, reader, is_current=lambda: not connection.raw.is_closed())

    async def keep_safe(self, now_day: str) -> bool:  # noqa: ARG002
        """See `Database`; the server has its own backups."""
        return True

    async def _connected(self) -> PostgresConnection:
        import asyncpg  # noqa: PLC0415 - an extra, and not before it is needed

        with _told(self._where):
            # Prepared statements are not kept, so that a pooler may stand between.
            raw = await asyncpg.connect(
                self._url,
                timeout=CONNECTING_S,
                command_timeout=COMMAND_S,
                statement_cache_size=0,
                server_settings={"application_name": "mdagent-mcp"},
            )
        return PostgresConnection(raw, self._where)


def server_name(url: str) -> str:
    """The server without user, password and parameters."""
    split = urlsplit(url)
    place = f"at {split.hostname}{f':{split.port}' if split.port else ''}" if split.hostname else "on this machine"
    return f"the shared memory {place}"


@contextmanager
def _told(where: str) -> Iterator[None]:
    import asyncpg  # noqa: PLC0415 - see `_connected`

    try:
        yield
    except (*_DRIVER_ERRORS, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # Its text may repeat parts of the address, so its kind is told alone.
        text = f"{where} cannot be used ({clean_text(type(error).__name__, 40)})"
        raise StoreError(text, lasting=True) from error
