"""The address of a shared memory: what is taken, what is refused, and that its password is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdagent_mcp.cli.simulation import simulated_settings
from mdagent_mcp.config import settings as settings_module
from mdagent_mcp.config.display import MASK, effective_settings
from mdagent_mcp.config.loading import ConfigurationError, load
from mdagent_mcp.domain.clock import SystemClock
from mdagent_mcp.sandbox.server import running_sandbox

URL = "postgresql://someone:S3cret%2FWord@db.example:5432/memory"


def _loaded(tmp_path: Path, url: str) -> object:
    file = tmp_path / "mdagent.toml"
    file.write_text(f'[shared]\nmemory_url = "{url}"\n', encoding="utf-8")
    return load({}, config=file)


def test_it_is_masked_where_settings_are_shown(tmp_path: Path) -> None:
    """From the file and from the environment, with its origin."""
    file = tmp_path / "mdagent.toml"
    file.write_text(f'[shared]\nmemory_url = "{URL}"\n', encoding="utf-8")
    for loaded, origin in (
        (load({}, config=file), f"{file}"),
        (load({"MDAGENT_SHARED__MEMORY_URL": URL}), "environment MDAGENT_SHARED__MEMORY_URL"),
    ):
        assert loaded.settings.shared.memory_url is not None
        assert loaded.settings.shared.memory_url.get_secret_value() == URL
        shown = {setting.name: setting for setting in effective_settings(loaded)}["shared.memory_url"]
        assert (shown.value, shown.origin) == (MASK, origin)
        assert "S3cret" not in repr(loaded)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:S3cret@/memory",
        "mysql://someone:S3cret@db.example/memory",
        "postgresql://someone:S3cret@db.example:S3cret/memory",
        "postgresql://someone:S3cret@[db.example/memory",
        "S3cret",
    ],
)
def test_another_address_is_refused_without_being_repeated(tmp_path: Path, url: str) -> None:
    """The complaint says what it should look like."""
    with pytest.raises(ConfigurationError) as caught:
        _loaded(tmp_path, url)
    assert str(caught.value) == (
        f"{tmp_path / 'mdagent.toml'}: shared.memory_url: should be postgresql://user:password@host:5432/database"
    )


def test_a_socket_on_this_machine_is_taken(tmp_path: Path) -> None:
    """As the client of PostgreSQL writes it."""
    _loaded(tmp_path, "postgresql://someone@/memory?host=/run/postgresql")


def test_without_the_driver_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not part of a plain installation."""
    monkeypatch.setattr(settings_module, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mdagent-mcp\[postgres\]'"):
        _loaded(tmp_path, URL)


async def test_a_simulated_market_never_reaches_the_shared_memory() -> None:
    """What is learned about invented prices stays on this machine."""
    loaded = load({"MDAGENT_SHARED__MEMORY_URL": URL})
    async with running_sandbox(SystemClock()) as sandbox:
        assert simulated_settings(loaded.settings, sandbox).shared.memory_url is None
