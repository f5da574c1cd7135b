"""The rows of a schema as JSON: taken from a live one, put into a fresh one of the same version."""

import json
import socket
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from durable_otp.storage.migrator import Migrator

JOURNALS = Path(__file__).parent / "journals"
NOT_ROWS = ("schema_version", "test_clock")  # made by migrating


def write(path: Path, journal: dict[str, Any]) -> None:
    """Write a journal's file, which must not exist; where it was written is nobody's concern."""
    text = json.dumps(journal, indent=1, ensure_ascii=False)
    with path.open("x", encoding="utf-8") as file:
        file.write(text.replace(json.dumps(socket.gethostname()), '"golden"') + "\n")


def journals() -> list[Path]:
    """Return the journals that are kept, oldest schema first."""
    return sorted(JOURNALS.glob("*.json"))


def take(dsn: str, schema: str) -> dict[str, list[dict[str, Any]]]:
    """Return all rows by table, those with foreign keys behind what they refer to; one snapshot."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return {
            table: [
                row["row"]
                for row in connection.execute(
                    f'SELECT to_jsonb(t) AS row FROM "{schema}"."{table}" t'.encode()
                )
            ]
            for table in _tables(connection, schema)
        }


def put(dsn: str, schema: str, version: int, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Make a schema of a version, fill it, and migrate it to the newest as any other."""
    fill(dsn, schema, version, rows)
    Migrator(dsn, schema).migrate()


def fill(dsn: str, schema: str, version: int, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Make a schema of a version with these rows; its clock can be moved."""
    Migrator(dsn, schema).migrate(to=version, test_clock=True)
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        for table, given in rows.items():
            if given:
                _insert(connection, schema, table, given)


def _insert(
    connection: psycopg.Connection[Any], schema: str, table: str, rows: list[dict[str, Any]]
) -> None:
    columns = ", ".join(f'"{name}"' for name in rows[0])
    connection.execute(
        f'INSERT INTO "{schema}"."{table}" ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} '
        f'FROM jsonb_populate_recordset(NULL::"{schema}"."{table}", %s::jsonb)'.encode(),
        [json.dumps(rows)],
    )
    for column in _identities(connection, schema, table):
        connection.execute(
            f'SELECT setval(%s::regclass, (SELECT max("{column["name"]}") '
            f'FROM "{schema}"."{table}"))'.encode(),
            [column["sequence"]],
        )


def _identities(
    connection: psycopg.Connection[Any], schema: str, table: str
) -> list[dict[str, Any]]:
    """Return a table's columns that the database numbers, with what counts them."""
    return connection.execute(
        "SELECT attname AS name, pg_get_serial_sequence(%(table)s, attname) AS sequence "
        "FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attidentity <> ''",
        {"table": f'"{schema}"."{table}"'},
    ).fetchall()


def _tables(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Return the schema's tables, each behind those that its foreign keys name."""
    names = [
        row["relname"]
        for row in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace "
            "AND relkind = 'r' ORDER BY relname",
            [schema],
        )
        if row["relname"] not in NOT_ROWS
    ]
    needed: dict[str, set[str]] = {name: set() for name in names}
    for row in connection.execute(
        "SELECT a.relname AS child, b.relname AS parent "
        "FROM pg_constraint c JOIN pg_class a ON a.oid = c.conrelid "
        "JOIN pg_class b ON b.oid = c.confrelid "
        "WHERE c.contype = 'f' AND c.connamespace = %s::regnamespace",
        [schema],
    ):
        if row["child"] != row["parent"]:
            needed[row["child"]].add(row["parent"])
    ordered: list[str] = []
    while names:
        ready = [name for name in names if needed[name] <= set(ordered)]
        ordered += ready
        names = [name for name in names if name not in ready]
    return ordered
