"""Where a configuration comes from: a TOML file, or the keywords of ``Runtime``."""

import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from durable_otp.config.sections import Config, DurableSection, Fault, contradiction
from durable_otp.config.sentences import first_fault, key_path, keys_of, unknown_key
from durable_otp.errors import ConfigError, holds_password
from durable_otp.events import emit

DSN_VARIABLE = "DURABLE_DSN"
OTHERS = 0o077
_SECTIONS = frozenset(Config.model_fields) - {"durable"}


def load(path: str | Path, *, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration of a TOML file.

    Args:
        path: The file.
        environ: Where ``DURABLE_DSN`` is looked up; the process's environment by default.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown, wrong or contradicts another.
    """
    document = _parsed(path)
    config = _checked(document, environ, lambda where: f"{path}: {key_path(where)}")
    _warn_of_readers(Path(path), document)
    return config


def from_mapping(
    settings: Mapping[str, Any], *, environ: Mapping[str, str] | None = None
) -> Config:
    """Return the configuration that Python code spells out.

    Args:
        settings: The keys of ``[durable]`` flat, the other sections as dicts; a queue may be a
            number, its concurrency; ``workflows`` may hold ``Workflow`` objects.
        environ: Where ``DURABLE_DSN`` is looked up; the process's environment by default.

    Raises:
        ConfigError: A key is unknown, wrong or contradicts another.
    """
    flat = {key: value for key, value in settings.items() if key not in _SECTIONS}
    known = keys_of(DurableSection)
    for key in flat:
        if key not in known:
            reason = unknown_key(str(key), [*known, *_SECTIONS])
            raise ConfigError(_sentence(key_path([str(key)]), reason))
    document = {key: value for key, value in settings.items() if key in _SECTIONS}
    if isinstance(queues := document.get("queues"), Mapping):
        document["queues"] = {name: _queue(value) for name, value in queues.items()}
    return _checked(
        document | {"durable": flat}, environ, lambda where: key_path(_without_durable(where))
    )


def _checked(
    document: dict[str, Any],
    environ: Mapping[str, str] | None,
    name: Callable[[tuple[str, ...]], str],
) -> Config:
    """Return the configuration, or raise the one sentence with the key as ``name`` writes it.

    Pydantic's error is left behind: it holds the values, and one of them is a password.
    """
    try:
        config = Config.model_validate(_with_dsn(document, environ))
    except ValidationError as error:
        fault: Fault | None = first_fault(error)
    else:
        fault = contradiction(config)
    if fault is None:
        return config
    where, reason = fault
    raise ConfigError(_sentence(name(where), reason))


def _parsed(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 at byte {error.start}"
    except tomllib.TOMLDecodeError as error:
        reason = f"is not valid TOML: {error}"
    except (ValueError, RecursionError) as error:
        reason = f"cannot be read: {error}"
    raise ConfigError(_sentence(str(path), reason))


def _warn_of_readers(path: Path, document: dict[str, Any]) -> None:
    """Say so if others may read a file with a password in it."""
    dsn = document.get("durable", {}).get("dsn")
    mode = path.stat().st_mode & 0o777
    if isinstance(dsn, str) and holds_password(dsn) and mode & OTHERS:
        emit(
            "password_readable_by_others",
            level=logging.WARNING,
            file=str(path),
            mode=f"{mode:04o}",
            cure=f"chmod 600, or {DSN_VARIABLE} in the environment",
        )


def _with_dsn(document: dict[str, Any], environ: Mapping[str, str] | None) -> dict[str, Any]:
    durable = document.get("durable", {})
    dsn = (os.environ if environ is None else environ).get(DSN_VARIABLE)
    if not dsn or not isinstance(durable, dict) or durable.get("dsn") is not None:
        return document
    return document | {"durable": durable | {"dsn": dsn}}


def _queue(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return {"concurrency": value} if is_number else value


def _without_durable(where: tuple[str, ...]) -> tuple[str, ...]:
    return where[1:] if where[0] == "durable" else where


def _sentence(subject: str, reason: str) -> str:
    return f"{subject} {reason}" if reason.endswith("?") else f"{subject} {reason}."
