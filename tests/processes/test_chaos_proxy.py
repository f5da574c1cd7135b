"""The chaos proxy does what it says: otherwise every test that stands on it proves nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.chaos import ChaosProxy
from tests.support.tree import is_gone
from tests.support.waiting import wait_until

INSERT = "/* note */ INSERT INTO {}.notes VALUES (%s)"
CLIENT = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True, application_name="victim") as connection:
    for number in range(3):
        connection.execute(sys.argv[2], [number], prepare=True)
"""


@pytest.fixture(scope="module")
def proxy(postgres_dsn: str) -> Iterator[ChaosProxy]:
    parts = conninfo_to_dict(postgres_dsn)
    with ChaosProxy((str(parts["host"]), int(parts.get("port") or 5432))) as proxy:
        proxy.guard(pid=os.getpid())
        yield proxy


@pytest.fixture
def notes(dsn: str, schema: str, proxy: ChaosProxy) -> Iterator[str]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.notes (n int)".encode())
    yield schema
    proxy.disarm()
    proxy.heal()


def stored(dsn: str, schema: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [n for (n,) in connection.execute(f"SELECT n FROM {schema}.notes".encode())]


def connected(proxy: ChaosProxy, dsn: str, name: str = "one") -> "psycopg.Connection":
    return psycopg.connect(proxy.dsn(dsn), autocommit=True, application_name=name)


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize(("point", "kept"), [("before", []), ("sent", [1]), ("after", [1])])
def test_a_statement_is_stopped_where_it_was_said(proxy, dsn, notes, point, kept, is_prepared):
    with connected(proxy, dsn) as connection:
        rule = proxy.arm(point=point, action="reset", match={"name": "^note$"})
        statement = INSERT.format(notes).encode()
        if point == "after":
            connection.execute(statement, [1], prepare=is_prepared)
        with pytest.raises(psycopg.OperationalError):
            connection.execute(statement, [1 if point != "after" else 2], prepare=is_prepared)
    assert proxy.rule(id=rule["id"])["fired"]
    assert stored(dsn, notes) == kept


@pytest.mark.parametrize(("point", "kept"), [("before", [0]), ("sent", [0, 1]), ("after", [0, 1])])
def test_a_process_is_killed_at_its_second_statement(proxy, dsn, notes, point, kept):
    match = {"app": "^victim$", "name": "^note$"}
    rule = proxy.arm(k=2, point=point, action="kill", match=match)
    arguments = [sys.executable, "-c", CLIENT, proxy.dsn(dsn), INSERT.format(notes)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert proxy.rule(id=rule["id"])["kill"] == "sent"
    assert stored(dsn, notes) == kept


def test_a_statement_may_be_meant_by_what_comes_before_it(proxy, dsn, notes):
    rule = proxy.arm(point="sent", action="reset", match={"name": "^COMMIT$", "behind": "^note$"})
    with connected(proxy, dsn) as connection:
        for statement in ("BEGIN", "SELECT 1", "COMMIT", "BEGIN", INSERT.format(notes) % 1):
            connection.execute(statement.encode())
        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT")
    assert proxy.rule(id=rule["id"])["fired"]
    assert stored(dsn, notes) == [1]


def test_only_a_newer_connection_may_be_meant(proxy, dsn, notes):
    statement = INSERT.format(notes).encode()
    with connected(proxy, dsn) as older:
        older.execute(statement, [1])
        proxy.arm(point="before", action="reset", match={"name": "^note$"}, newer=True)
        older.execute(statement, [2])
        with connected(proxy, dsn) as newer, pytest.raises(psycopg.OperationalError):
            newer.execute(statement, [3])
    assert stored(dsn, notes) == [1, 2]


def test_nobody_is_killed_who_is_not_guarded(proxy, dsn, notes):
    with connected(proxy, dsn) as connection:
        rule = proxy.arm(action="kill", match={"name": "^note$"})
        connection.execute(INSERT.format(notes).encode(), [1])
    assert "refused" in proxy.rule(id=rule["id"])["kill"]


def test_a_held_statement_waits_until_it_is_released(proxy, dsn, notes):
    rule = proxy.arm(action="hold", match={"name": "^note$"})
    arguments = [sys.executable, "-c", CLIENT, proxy.dsn(dsn), INSERT.format(notes)]
    with subprocess.Popen(arguments):
        assert proxy.wait(id=rule["id"])["fired"]
        assert stored(dsn, notes) == []
        proxy.release(id=rule["id"])
    assert stored(dsn, notes) == [0, 1, 2]


@pytest.mark.parametrize("how", ["orphan_server", "server_gone", "blackhole"])
def test_one_end_may_learn_nothing(proxy, dsn, notes, how):
    connection = connected(proxy, dsn, how)
    proxy.cut(how=how, match={"app": how})
    if how == "orphan_server":
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    else:
        connection.pgconn.send_query(b"SELECT 1")
        assert connection.pgconn.is_busy()
    (left,) = [each for each in proxy.status()["conns"] if each["app"] == how]
    assert left["blackholed"] == ["down", "up"]
    proxy.heal()
    wait_until(lambda: not [c for c in proxy.status()["conns"] if c["app"] == how])
    connection.close()


@pytest.mark.parametrize("kind", ["stall", "delay", "rate"])
def test_what_is_slow_loses_nothing(proxy, dsn, notes, kind):
    with closing(connected(proxy, dsn)) as connection:
        toxic = proxy.toxic(kind=kind, ms=20, bps=100_000)
        connection.pgconn.send_query(INSERT.format(notes).replace("%s", "7").encode())
        if kind == "stall":
            assert stored(dsn, notes) == []
            proxy.heal(id=toxic["id"])
        wait_until(lambda: stored(dsn, notes) == [7])


@pytest.mark.parametrize("kind", ["refuse", "flaky"])
def test_what_is_refused_is_seen(proxy, dsn, notes, kind):
    proxy.toxic(kind=kind, p=1.0)
    with pytest.raises(psycopg.OperationalError), connected(proxy, dsn) as connection:
        connection.execute("SELECT 1")


def test_the_owner_of_a_connection_is_known(proxy, dsn):
    with connected(proxy, dsn, "owned"):
        (one,) = [c for c in proxy.status(owners=True)["conns"] if c["app"] == "owned"]
        assert one["client_pids"] == [os.getpid()]


def test_a_proxy_leaves_nothing_behind(dsn):
    parts = conninfo_to_dict(dsn)
    with ChaosProxy((str(parts["host"]), int(parts.get("port") or 5432))) as proxy:
        pid, control = proxy.ping()["pid"], Path(proxy.path)
    assert is_gone(pid)
    assert not control.parent.exists()
