"""The named SQL statements of `sql/*.sql`.

A statement begins with a line `-- name: claim`; lines `-- move: …` and `-- fenced` below it state
facts that `tests/shape` holds against the table of moves and the lock token; `-- payload: …` names
the parameters that a codec may encode. The schema is written `durable.` (and `durable:` in names of
channels) so that a statement can be pasted into psql; the configured one replaces it once, here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from durable_otp.errors import ConfigError

SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
# A word to look for comes first, and what must not stand before it is looked at then: a search for
# a boundary tries every character, and every process that starts reads all of this.
_TABLE_PREFIX = re.compile(r"durable(?<!\wdurable)\.(?=[a-z_])")
_CHANNEL_PREFIX = re.compile(r"durable(?<!\wdurable):(?=[a-z_])")
_SCHEMA_ITSELF = re.compile(r"SCHEMA durable(?<!\wSCHEMA durable)\b")
_DIRECTORY = Path(__file__).with_name("sql")
_NAME, _MOVE, _FENCED, _PAYLOAD = "-- name: ", "-- move: ", "-- fenced", "-- payload: "
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Statement(NamedTuple):
    """One named statement with its parameters, as an operation yields it."""

    name: str
    parameters: Mapping[str, Any] = _NOTHING


@dataclass(frozen=True)
class StatementText:
    """A statement as written: its SQL, and the facts of its header."""

    name: str
    sql: str
    moves: tuple[str, ...]
    fenced: bool
    file: str
    payloads: tuple[str, ...] = ()
    """The parameters that hold what users stored, which a codec may encode."""


def in_schema(sql: str, schema: str) -> str:
    """Return SQL written for the schema ``durable`` rewritten for another.

    Raises:
        ConfigError: The name is not one that is safe to write unquoted.
    """
    if SCHEMA_NAME.fullmatch(schema) is None:
        raise ConfigError(
            f"schema {schema!r} is not a valid schema name; use a letter or underscore first, then "
            "at most 47 lower-case letters, digits or underscores."
        )
    sql = _SCHEMA_ITSELF.sub(f'SCHEMA "{schema}"', sql)
    return _CHANNEL_PREFIX.sub(f"{schema}:", _TABLE_PREFIX.sub(f'"{schema}".', sql))


@cache
def catalogue() -> dict[str, StatementText]:
    """Return every statement by name, as written."""
    found: dict[str, StatementText] = {}
    for file in sorted(_DIRECTORY.iterdir()):
        _, *parts = ("\n" + file.read_text(encoding="utf-8")).split("\n" + _NAME)
        for name, _, body in (part.partition("\n") for part in parts):
            if name in found:
                raise ValueError(f"statement {name} is written twice, in {found[name].file}")
            found[name] = _parse(name, body, file.name)
    return found


@cache
def statements(schema: str) -> dict[str, str]:
    """Return every statement's SQL for a schema; the name travels along as a comment."""
    return {
        name: in_schema(f"/* {name} */ {text.sql}", schema) for name, text in catalogue().items()
    }


@dataclass(frozen=True, slots=True)
class NumberedStatement:
    """A statement as libpq takes it: with ``$1`` for the first of its parameters."""

    sql: bytes
    parameters: tuple[str, ...]
    payloads: tuple[str, ...] = ()


@cache
def numbered(schema: str) -> dict[str, NumberedStatement]:
    """Return every statement for a schema with numbered parameters; one name has one number.

    Takes 15 ms of reading, so that a process which forks others calls it before.
    """
    texts = catalogue()
    return {name: _numbered(sql, texts[name].payloads) for name, sql in statements(schema).items()}


def _numbered(sql: str, payloads: tuple[str, ...]) -> NumberedStatement:
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name: str | None = found[1]
        return "%" if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

    return NumberedStatement(_PLACEHOLDER.sub(number, sql).encode(), tuple(numbers), payloads)


def _parse(name: str, body: str, file: str) -> StatementText:
    lines = body.splitlines()
    comments = [line for line in lines if line.startswith("--")]
    return StatementText(
        name=name,
        sql="\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";"),
        moves=_listed(comments, _MOVE),
        fenced=_FENCED in comments,
        file=file,
        payloads=_listed(comments, _PAYLOAD),
    )


def _listed(comments: list[str], kind: str) -> tuple[str, ...]:
    lines = [line.removeprefix(kind) for line in comments if line.startswith(kind)]
    return tuple(name.strip() for line in lines for name in line.split(","))
