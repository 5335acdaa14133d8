"""Daily copies of the file, to recover from: checked before they count, and never more than two.

The rule of this module: runs in a thread, on connections of its own. A copy is written beside the file under another
name and takes its own by one rename, so that what bears the name of a copy is whole.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from mdagent_mcp.domain.failures import clean_text
from mdagent_mcp.memory.connection import StoreError

MOST_COPIES: Final = 2
_MARK: Final = ".copy-"
_UNFINISHED: Final = ".unfinished-"


def copies(path: Path) -> list[Path]:
    """The copies of a file, the latest first."""
    return sorted(path.parent.glob(f"{path.name}{_MARK}????????"), reverse=True)


def has_copy(path: Path, day: str) -> bool:
    """Whether there is a copy of that day."""
    return _named(path, day).exists()


def sound(path: Path, day: str) -> bool:
    """Check the file, and copy it unless there is a copy of that day; False when the file is damaged.

    Args:
        path: of the file.
        day: as `20261123`.

    Raises:
        StoreError: when it could not be checked or copied.
    """
    target = _named(path, day)
    unfinished = path.with_name(f"{path.name}{_UNFINISHED}{os.getpid()}")
    try:
        if not is_sound(path):
            return False
        if not target.exists():
            _copy(path, unfinished, target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"no copy of today: {clean_text(str(error), 100)}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def recovered(path: Path) -> str | None:
    """Put the last sound copy in the place of the file, which is not there; returns its day, None without any."""
    for copy in copies(path):
        if is_sound(copy, unchanging=True):
            unfinished = path.with_name(f"{path.name}{_UNFINISHED}{os.getpid()}")
            shutil.copyfile(copy, unfinished)
            unfinished.chmod(0o600)
            _take_place(unfinished, path)
            day = copy.name[-8:]
            return f"{day[:4]}-{day[4:6]}-{day[6:]}"
    return None


def is_sound(path: Path, *, unchanging: bool = False) -> bool:
    """Whether SQLite finds nothing wrong with a file.

    Args:
        path: of the file.
        unchanging: whether nobody can be writing to it.

    Raises:
        sqlite3.Error: when it cannot be looked at.
    """
    try:
        how = "immutable=1" if unchanging else "mode=ro"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=1.0)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        return False


def _named(path: Path, day: str) -> Path:
    return path.with_name(f"{path.name}{_MARK}{day}")


def _copy(path: Path, unfinished: Path, target: Path) -> None:
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with closing(sqlite3.connect(path, timeout=1.0)) as connection:
        connection.execute("VACUUM INTO ?", (str(unfinished),))
    if is_sound(unfinished, unchanging=True):
        _take_place(unfinished, target)
        for old in copies(path)[MOST_COPIES:]:
            old.unlink(missing_ok=True)


def _take_place(unfinished: Path, target: Path) -> None:
    """Give a file its name once all of it is on the disk."""
    with unfinished.open("rb+") as written:
        os.fsync(written.fileno())
    unfinished.replace(target)
