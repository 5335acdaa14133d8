"""What the statements of memory run on: SQLite or PostgreSQL behind one small face.

The rule of this module: a statement is written once, in the language that `dialect` describes, and a connection turns
it into its own. Every trouble is a `StoreError` with a short text that is safe to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]


class StoreError(Exception):
    """The store cannot be used now; what was to be written was not.

    Attributes:
        lasting: whether this connection is of no further use, so that the next attempt opens another one.
        damaged: whether what is stored is damaged.
    """

    def __init__(self, text: str, *, lasting: bool = False, damaged: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting or damaged
        self.damaged = damaged


class InDoubtError(StoreError):
    """The connection was lost in mid-commit: only the store knows whether the transaction took effect."""

    def __init__(self, text: str) -> None:
        super().__init__(text, lasting=True)


class Connection(Protocol):
    """A connection in autocommit mode; statements have `?` for every value."""

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Run one statement.

        Raises:
            StoreError: when the store cannot be used.
        """
        ...

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement with each row of values, in order; without rows this does nothing.

        Raises:
            StoreError: when the store cannot be used.
        """
        ...

    async def execute_fetchall(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a query and return its rows.

        Raises:
            StoreError: when the store cannot be used.
        """
        ...

    async def tables(self) -> frozenset[str]:
        """The names of the tables there are.

        Raises:
            StoreError: when the store cannot be used.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Run the body in one transaction with the only right to write; on any exception it is rolled back.

        The right is taken at once, so that what the body reads is still true when it writes.

        Raises:
            StoreError: when the store cannot be used, or somebody else keeps the right for too long.
            InDoubtError: when the connection is lost in mid-commit.
        """
        ...

    async def close(self) -> None:
        """Close it; what is in a transaction is rolled back."""
        ...
