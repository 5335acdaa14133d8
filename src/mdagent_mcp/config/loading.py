"""Where settings come from, laid over each other: defaults, file, its environment overlay, environment, command line.

Every value remembers its origin, so that `config show` can tell. An empty string and an unreplaced
`${user_config.x}` (a desktop bundle's unset option) both mean "not set".
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from mdagent_mcp.config.secrets import FILE, SecretUnavailableError, file_of, is_reference, read_secret
from mdagent_mcp.config.settings import SOURCE_IDS, Settings, SourceSettings
from mdagent_mcp.vendors.registry import VENDORS

PREFIX: Final = "MDAGENT_"
FILE_NAME: Final = "mdagent.toml"
_NOT_SETTINGS: Final = frozenset({"MDAGENT_CONFIG", "MDAGENT_ENV"})
_PLACEHOLDER: Final = re.compile(r"\$\{[^}]*\}")
_Path = tuple[str, ...]


class ConfigurationError(ValueError):
    """Settings that cannot be used; the message names the place and how to mend it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with where each value came from.

    Attributes:
        settings: validated.
        origins: dotted name of every value that is not a default -> where it came from.
        file: the settings file in use, None without one.
        environment: the overlay in use, None without one.
        secret_files: from which secrets were read.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None
    environment: str | None
    secret_files: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that were read."""
        return (*(() if self.file is None else (self.file,)), *self.secret_files)


def load(
    environ: Mapping[str, str],
    *,
    config: Path | None = None,
    environment: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    directories: tuple[Path, ...] = (),
) -> Loaded:
    """Find, overlay and validate the settings.

    Args:
        environ: the process environment.
        config: the file the command line names.
        environment: the overlay the command line names.
        overrides: dotted names from the command line.
        directories: where `mdagent.toml` is looked for, first match wins.

    Raises:
        ConfigurationError: naming the key and its origin.
    """
    file = _find_file(config, environ, directories)
    tree = {} if file is None else _read_toml(file)
    overlays = tree.pop("environments", {})
    chosen = environment or _given(environ.get("MDAGENT_ENV")) or None
    values: dict[_Path, tuple[Any, str]] = {}
    _lay(values, tree, f"{file}")
    if chosen is not None:
        _lay(values, _overlay(overlays, chosen, file), f"{file} [environments.{chosen}]")
    _lay_vendor_keys(values, environ)
    _lay_environment(values, environ)
    for name, value in (overrides or {}).items():
        values[tuple(name.split("."))] = (value, "command line")
    origins = {".".join(path): origin for path, (_, origin) in values.items()}
    for path, (_, origin) in values.items():
        _refuse_unknown(path, origin)
    secret_files = _read_secrets(values)
    return Loaded(_validate(_tree(values), origins), origins, file, chosen, secret_files)


def _find_file(config: Path | None, environ: Mapping[str, str], directories: tuple[Path, ...]) -> Path | None:
    named = config or (Path(given) if (given := _given(environ.get("MDAGENT_CONFIG"))) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"{named}: there is no such settings file")
        return named
    return next((d / FILE_NAME for d in directories if (d / FILE_NAME).is_file()), None)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: is not TOML: {error}") from error


def _overlay(overlays: Any, chosen: str, file: Path | None) -> Mapping[str, Any]:
    if not isinstance(overlays, Mapping) or not isinstance(overlays.get(chosen), Mapping):
        known = ", ".join(overlays) if isinstance(overlays, Mapping) and overlays else "none"
        raise ConfigurationError(f"{file or 'no settings file'}: has no [environments.{chosen}]; it has: {known}")
    overlay: Mapping[str, Any] = overlays[chosen]
    return overlay


def _given(value: Any) -> Any:
    """The value, or None when it means "not set"."""
    if isinstance(value, str) and (not value.strip() or _PLACEHOLDER.fullmatch(value.strip())):
        return None
    return value


def _lay(values: dict[_Path, tuple[Any, str]], tree: Mapping[str, Any], origin: str, at: _Path = ()) -> None:
    for key, value in tree.items():
        path = (*at, str(key))
        if isinstance(value, Mapping):
            _lay(values, value, origin, path)
        elif _given(value) is not None:
            values[path] = (value, origin)


def _lay_vendor_keys(values: dict[_Path, tuple[Any, str]], environ: Mapping[str, str]) -> None:
    for vendor in VENDORS:
        for name in vendor.key.environment if vendor.key is not None else ():
            if (value := _given(environ.get(name))) is not None:
                values["sources", vendor.id, "api_key"] = (value.strip(), f"environment {name}")
                break
            if (file := _given(environ.get(f"{name}_FILE"))) is not None:
                values["sources", vendor.id, "api_key"] = (f"{FILE}{file.strip()}", f"environment {name}_FILE")
                break


def _lay_environment(values: dict[_Path, tuple[Any, str]], environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _NOT_SETTINGS or _given(environ[name]) is None:
            continue
        path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        _refuse_unknown(path, f"environment {name}")
        values[path] = (_from_text(environ[name], name), f"environment {name}")


def _read_secrets(values: dict[_Path, tuple[Any, str]]) -> tuple[Path, ...]:
    """Put secrets in the place of what says where they lie; the files among those places."""
    files = []
    for path, (value, origin) in values.items():
        if not _is_secret(path):
            continue
        name = ".".join(path)
        try:
            if isinstance(value, list):
                found: Any = [read_secret(v) if is_reference(v) else v for v in value]
            else:
                found = read_secret(value) if is_reference(value) else value
        except SecretUnavailableError as error:
            raise ConfigurationError(f"{origin}: {name}: {error}") from error
        files += [file for v in (value if isinstance(value, list) else [value]) if (file := file_of(v)) is not None]
        values[path] = (found, origin)
    return tuple(files)


def _is_secret(path: _Path) -> bool:
    """Whether a setting holds a secret, or several."""
    model: type[BaseModel] | None = Settings
    annotation: Any = None
    for depth, part in enumerate(path):
        if depth == 1 and path[0] == "sources":
            model = SourceSettings
            continue
        if model is None or part not in model.model_fields:
            return False
        annotation = model.model_fields[part].annotation
        model = _section(annotation)
    return _holds_secrets(annotation)


def _holds_secrets(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secrets(inner) for inner in get_args(annotation))


def _from_text(text: str, name: str) -> Any:
    """Text of an environment variable; what looks like a JSON list or object is read as one."""
    if text.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"environment {name}: looks like JSON but is not: {error}") from error
    return text.strip()


def _tree(values: Mapping[_Path, tuple[Any, str]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, (value, origin) in values.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigurationError(f"{'.'.join(path)} ({origin}): '{part}' is both a value and a table")
        node[path[-1]] = value
    return tree


def _refuse_unknown(path: _Path, origin: str) -> None:
    """Refuse a key that no setting has, naming the nearest one that exists."""
    if path[0] == "sources" and len(path) > 1 and path[1] not in SOURCE_IDS:
        raise ConfigurationError(f"{origin}: unknown source '{path[1][:40]}'{_nearest(path[1], SOURCE_IDS)}")
    model: type[BaseModel] | None = Settings
    inside: _Path = ()
    for part in path:
        if model is None:
            return
        if inside == ("sources",):
            inside, model = (*inside, part), SourceSettings
            continue
        if part not in model.model_fields:
            place = f"{'.'.join(inside)}." if inside else ""
            raise ConfigurationError(
                f"{origin}: unknown setting '{place}{part[:40]}'{_nearest(part, model.model_fields)}"
            )
        annotation = model.model_fields[part].annotation
        inside = (*inside, part)
        model = Settings if inside == ("sources",) else _section(annotation)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {Union, UnionType}:
        inner = [a for a in get_args(annotation) if a is not NoneType]
        return _section(inner[0]) if len(inner) == 1 else None
    return None


def _nearest(name: str, known: Iterator[str] | Mapping[str, Any] | tuple[str, ...]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known are: {', '.join(names)}"


def _validate(tree: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        origin = next((o for key, o in origins.items() if key == name or name.startswith(f"{key}.")), None)
        place = f"{origin}: " if origin else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{place}{name}: {message}" if name else f"{place}{message}") from error
