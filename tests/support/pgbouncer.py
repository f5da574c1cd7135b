"""PgBouncer in transaction mode in front of a test's PostgreSQL, where the program is installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from tests.support.chaos import ChaosProxy
from tests.support.waiting import wait_until

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed (apt-get install pgbouncer)"
)


@contextmanager
def pgbouncer(dsn: str, *, pool_size: int = 3) -> Iterator[str]:
    """Give the DSN of a PgBouncer that lends ``pool_size`` sessions for a transaction at a time."""
    with (
        tempfile.TemporaryDirectory(prefix="durable-otp-pgbouncer-") as directory,
        _reachable(dsn) as reachable,
    ):
        place, port = Path(directory), _free_port()
        settings = _write(place, reachable, port, pool_size)
        as_user = {"user": "nobody", "group": _group("nobody")} if os.getuid() == 0 else {}
        for path in (place, *place.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        pooler = subprocess.Popen([str(PROGRAM), "-q", str(settings)], **as_user)  # type: ignore[call-overload]
        own = conninfo.make_conninfo(dsn, host="127.0.0.1", port=port)
        try:
            wait_until(lambda: _answers(own), what="PgBouncer")
            yield own
        finally:
            pooler.terminate()
            pooler.wait(10)


def _write(place: Path, dsn: str, port: int, pool_size: int) -> Path:
    server = conninfo.conninfo_to_dict(dsn)
    names = {"host": "host", "port": "port", "dbname": "dbname", "user": "user"}
    keys = " ".join(f"{ours}={server[its]}" for its, ours in names.items() if server.get(its))
    users, settings = place / "users.txt", place / "pgbouncer.ini"
    users.write_text(f'"{server.get("user", "postgres")}" ""\n')
    settings.write_text(
        f"""[databases]
* = {keys}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = {users}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
server_idle_timeout = 1
"""
    )
    return settings


@contextmanager
def _reachable(dsn: str) -> Iterator[str]:
    """Give a DSN that any user of this machine reaches: a socket may lie where only root may go."""
    server = conninfo.conninfo_to_dict(dsn)
    host, port = str(server.get("host") or ""), int(server.get("port") or 5432)
    if not host.startswith("/"):
        yield dsn
        return
    with ChaosProxy((host, port)) as relay:
        yield conninfo.make_conninfo(dsn, host=relay.host, port=relay.port)


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(dsn: str) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(dsn).close()
        return True
    return False
