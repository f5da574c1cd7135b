"""Roles of a test's own, with the rights that `migrations/grants.sql` documents."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import conninfo

from durable_otp.storage.migrator import Migrator


@contextmanager
def role(dsn: str, schema: str, *kinds: str) -> Iterator[str]:
    """Give the DSN of a new role that has the rights of these kinds, and no others."""
    name = f"t_role_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN".encode())
        try:
            for kind in kinds:
                Migrator(dsn, schema).grant(kind, name)
            if kinds:
                _let_tell_the_time(owner, schema, name)
            yield conninfo.make_conninfo(dsn, user=name)
        finally:
            owner.execute(f"DROP OWNED BY {name}".encode())
            owner.execute(f"DROP ROLE {name}".encode())


def _let_tell_the_time(owner: "psycopg.Connection[Any]", schema: str, name: str) -> None:
    """Let a role read the clock that tests move, where there is one."""
    clock = f"{schema}.test_clock"
    if owner.execute("SELECT to_regclass(%s)", [clock]).fetchone() != (None,):
        owner.execute(f"GRANT SELECT ON {clock} TO {name}".encode())
