"""Where a bench runs: a server with its usual durability, and what has to be said of it."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from durable_otp.storage import embedded


@contextmanager
def database(dsn: str | None) -> Iterator[str]:
    """Give a DSN: the one given, else of a private server with fsync and synchronous_commit on."""
    if dsn is not None:
        yield dsn
        return
    with tempfile.TemporaryDirectory(prefix="durable-otp-bench-") as directory:
        place = Path(directory) / "pg"
        server = embedded.acquire(place, mode="durable")
        try:
            yield server.dsn
        finally:
            server.release()
            embedded.reset(place, force=True)


@contextmanager
def schema(dsn: str) -> Iterator[str]:
    """Give the name of a schema that is dropped afterwards."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@contextmanager
def own_database(dsn: str, purpose: str) -> Iterator[str]:
    """Give the DSN of a new database on the same server, dropped afterwards."""
    name = f"bench_{purpose}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield _dsn_of(dsn, name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _dsn_of(dsn: str, name: str) -> str:
    """Return a connection string for another database of the server, as a URL for all drivers."""
    given = conninfo_to_dict(dsn)
    user = quote(str(given.get("user", "postgres")), safe="")
    password = given.get("password")
    secret = f":{quote(str(password), safe='')}" if password else ""
    host, port = str(given.get("host", "localhost")), given.get("port", 5432)
    if host.startswith("/"):
        return f"postgresql://{user}{secret}@/{name}?host={quote(host, safe='')}&port={port}"
    return f"postgresql://{user}{secret}@{host}:{port}/{name}"


def conditions(dsn: str) -> dict[str, Any]:
    """Return what a number means nothing without."""
    with psycopg.connect(dsn) as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()[0]  # type: ignore[index]
            for name in ("server_version", "fsync", "synchronous_commit", "data_checksums")
        }
    return {
        **shown,
        "python": platform.python_version(),
        "psycopg": psycopg.__version__,
        "at": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "commit_ms": _commit_ms(dsn),
        "load": round(os.getloadavg()[0], 2),
        "commit": _commit(),
    }


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the largest of some durations."""
    ordered = sorted(seconds)
    at_99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {
        "p50_ms": round(statistics.median(ordered) * 1000, 2),
        "p99_ms": round(at_99 * 1000, 2),
        "max_ms": round(ordered[-1] * 1000, 2),
    }


def say(line: dict[str, Any]) -> None:
    """Print one result."""
    print(json.dumps(line), flush=True)


def note(text: str) -> None:
    """Print progress where it is not in the way of the results."""
    print(text, file=sys.stderr, flush=True)


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return " ".join(found[1].split()) if found else platform.machine()


def _commit_ms(dsn: str) -> float:
    """Return the median of what a small durable commit takes now."""
    took = []
    with schema(dsn) as name, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"'.encode())
        connection.execute(f'CREATE TABLE "{name}".probe (n int)'.encode())
        for _ in range(40):
            started = time.monotonic()
            connection.execute(f'INSERT INTO "{name}".probe VALUES (1)'.encode())
            took.append(time.monotonic() - started)
    return round(1000 * statistics.median(took), 2)


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip()
