"""The rights of roles that do not own the schema they work with: `migrations/grants.sql`."""

import re
from pathlib import Path

from psycopg.sql import Identifier

from durable_otp.errors import MigrationError
from durable_otp.storage.statements import in_schema

FILE = "grants.sql"
KINDS = ("runtime", "producer", "reader")
_SECTION = re.compile(r"^-- role: (\w+)$", re.MULTILINE)
_EVERYBODY = ("", "public")  # PostgreSQL takes even a quoted "public" for every role there is


def grants(directory: Path, kind: str, schema: str, role: str) -> str:
    """Return the SQL that gives a role the rights of a kind.

    Raises:
        MigrationError: There is no such kind, or a role cannot be called so.
    """
    _, *parts = _SECTION.split((directory / FILE).read_text(encoding="utf-8"))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    if kind not in sections:
        known = ", ".join(sections)
        raise MigrationError(f"There are no rights called {kind!r}; choose one of {known}.")
    if role in _EVERYBODY or "\0" in role:
        raise MigrationError(
            f"{role!r} is not the name of one role; name the role that is to work."
        )
    quoted = Identifier(role).as_string(None)
    return re.sub(
        rf"\bTO durable_{kind}\b", lambda _: f"TO {quoted}", in_schema(sections[kind], schema)
    )
