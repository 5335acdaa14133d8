"""Secrets that lie elsewhere than in the settings."""

from __future__ import annotations

from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from mdagent_mcp.config.display import MASK, effective_settings
from mdagent_mcp.config.loading import ConfigurationError, Loaded, load

SECRET = "s3cret-of-a-file"


def key_of(loaded: Loaded, source: str = "finnhub") -> str | None:
    """The key in effect."""
    key = loaded.settings.source(source).api_key
    return None if key is None else key.get_secret_value()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """As Docker and Kubernetes mount them, with a line end."""
    file = tmp_path / "finnhub"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    return file


def test_a_key_is_read_from_the_file_that_the_settings_name(secret_file: Path, tmp_path: Path) -> None:
    """In TOML, in our variable, and in the vendor's with `_FILE` behind it."""
    toml = tmp_path / "mdagent.toml"
    toml.write_text(f'[sources.finnhub]\napi_key = "file:{secret_file}"\n', encoding="utf-8")
    for loaded in (
        load({}, config=toml),
        load({"MDAGENT_SOURCES__FINNHUB__API_KEY": f"file:{secret_file}"}),
        load({"FINNHUB_API_KEY_FILE": str(secret_file)}),
    ):
        assert (key_of(loaded), loaded.secret_files) == (SECRET, (secret_file,))


def test_the_key_itself_wins_over_the_file_of_the_same_name(secret_file: Path) -> None:
    """An explicit value is nearer than a place."""
    assert key_of(load({"FINNHUB_API_KEY": "given", "FINNHUB_API_KEY_FILE": str(secret_file)})) == "given"


def test_a_list_of_secrets_may_hold_places(secret_file: Path) -> None:
    """Such as the addresses of alert channels."""
    loaded = load({"MDAGENT_ALERTS__CHANNELS": f'["json://127.0.0.1/x", "file:{secret_file}"]'})
    assert [c.get_secret_value() for c in loaded.settings.alerts.channels] == ["json://127.0.0.1/x", SECRET]


def test_only_a_secret_is_ever_read_from_a_file(secret_file: Path) -> None:
    """Another setting that begins like that is what it says."""
    loaded = load({"MDAGENT_SOURCES__FINNHUB__UPSTREAM_GROUP": f"file:{secret_file}"[:40]})
    assert loaded.settings.source("finnhub").upstream_group == f"file:{secret_file}"[:40]
    assert loaded.secret_files == ()


def test_what_was_read_is_masked_with_its_origin(secret_file: Path) -> None:
    """`config show` says where the place was said, and not what lies there."""
    loaded = load({"FINNHUB_API_KEY_FILE": str(secret_file), "MDAGENT_ALERTS__CHANNELS": f'["file:{secret_file}"]'})
    shown = {s.name: (s.value, s.origin) for s in effective_settings(loaded)}
    assert shown["sources.finnhub.api_key"] == (MASK, "environment FINNHUB_API_KEY_FILE")
    assert shown["alerts.channels"] == ([MASK], "environment MDAGENT_ALERTS__CHANNELS")
    assert SECRET not in repr(loaded)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "should hold the secret alone, on one line"),
        (b"one\ntwo\n", "should hold the secret alone, on one line"),
        (b"x" * 5000, "should hold the secret alone, on one line"),
        (b"\xff\xfe", "is no text"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_without_a_word_of_it(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    """Its place is named, and the setting."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        load({"FINNHUB_API_KEY_FILE": str(file)})
    assert str(refused.value) == (f"environment FINNHUB_API_KEY_FILE: sources.finnhub.api_key: the file {file} {told}")


class _Keyring(keyring.backend.KeyringBackend):
    priority = 1.0
    broken = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.broken:
            raise keyring.errors.KeyringLocked("locked")
        return {("mdagent-mcp", "finnhub"): "from-the-keyring"}.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError


@pytest.fixture
def system_keyring() -> _Keyring:
    """A keyring of our own in the place of the system's."""
    backend = _Keyring()  # type: ignore[no-untyped-call] # the library's
    keyring.set_keyring(backend)
    return backend


def test_a_key_is_read_from_the_systems_keyring(system_keyring: _Keyring) -> None:
    """By service and name."""
    assert system_keyring.broken is False
    assert key_of(load({"FINNHUB_API_KEY": "keyring:mdagent-mcp:finnhub"})) == "from-the-keyring"


@pytest.mark.parametrize(
    ("place", "broken", "told"),
    [
        ("keyring:mdagent-mcp", False, "should be keyring:SERVICE:NAME"),
        ("keyring:mdagent-mcp:tiingo", False, "run `keyring set mdagent-mcp tiingo`"),
        ("keyring:mdagent-mcp:finnhub", True, "the system's keyring cannot be asked: KeyringLocked"),
    ],
)
def test_a_keyring_that_has_no_such_secret_is_told_with_what_to_do(
    system_keyring: _Keyring, place: str, broken: bool, told: str
) -> None:
    """And so is one that is locked."""
    system_keyring.broken = broken
    with pytest.raises(ConfigurationError) as refused:
        load({"FINNHUB_API_KEY": place})
    assert told in str(refused.value)
