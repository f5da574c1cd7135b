"""The client's connections: few, shared, replaced when lost, and never taken over by a fork."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_otp.clock import monotonic
from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage import queue
from durable_otp.storage.journal import database_now
from durable_otp.storage.pool import PooledDatabase
from tests.support.waiting import wait_until

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"


@pytest.fixture
def pool(tables):
    pool = PooledDatabase(tables.dsn, tables.schema, role=f"pool {tables.schema}", size=3)
    yield pool
    pool.close()


@pytest.fixture
def backends(tables):
    name = f"durable:pool {tables.schema}"
    pids = lambda: [row["pid"] for row in tables.sql(BACKENDS, [name])]  # noqa: E731
    wait_until(lambda: not pids(), what="the end of an earlier test's backends")
    return pids


def test_nothing_is_opened_before_it_is_needed_and_then_kept(pool, backends):
    assert backends() == []
    for _ in range(5):
        pool.run(database_now)
    wait_until(lambda: len(backends()) == 1, what="one connection, the first try being closed")
    pool.close()
    pool.run(database_now)


def test_many_threads_share_a_few_connections(pool, backends):
    with ThreadPoolExecutor(12) as threads:
        seen = [threads.submit(pool.run, database_now) for _ in range(3)]
        assert all(each.result(10) for each in seen)
        started = [
            threads.submit(lambda: [pool.run(queue.all_stats) for _ in range(20)])
            for _ in range(12)
        ]
        assert all(each.result(30) is not None for each in started)
    wait_until(lambda: 1 <= len(backends()) <= 3, what="as many as the pool may have")


def test_a_connection_that_was_lost_is_replaced_without_a_word(tables, pool, backends):
    pool.run(database_now)
    (pid,) = wait_until(lambda: len(backends()) == 1 and backends(), what="one connection")
    tables.sql("SELECT pg_terminate_backend(%s, 5000)", [pid])
    pool.run(database_now)
    assert backends() != [pid]


def test_an_absent_server_is_said_at_once(schema):
    absent = PooledDatabase("postgresql://u:secret@127.0.0.1:1/x", schema)
    began = monotonic()
    with pytest.raises(DatabaseUnreachable, match="cannot be reached") as caught:
        absent.run(database_now)
    assert monotonic() - began < 5
    assert "secret" not in str(caught.value)


def test_an_error_of_a_statement_leaves_the_connection_usable(pool, backends):
    def broken():
        yield queue.Statement("status_of", {"id": "no uuid"})

    pool.run(database_now)
    with pytest.raises(Exception, match="invalid input syntax"):
        pool.run(broken)
    pool.run(database_now)
    wait_until(lambda: len(backends()) == 1, what="one connection")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_opens_its_own_and_leaves_the_parent_s_alone(pool, backends):
    pool.run(database_now)
    (mine,) = wait_until(lambda: len(backends()) == 1 and backends(), what="one connection")
    told, telling = os.pipe()
    hearing, hold = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hold)
            pool.run(database_now)
            os.write(telling, b"connected")
            os.read(hearing, 1)  # until the parent has counted
        finally:
            os._exit(0)
    os.close(telling)
    assert os.read(told, 9) == b"connected"
    assert len(backends()) == 2, "the child must have one connection of its own"
    os.close(hold)
    assert os.waitpid(child, 0)[1] == 0
    pool.run(database_now)
    assert mine in backends()
    for descriptor in (told, hearing):
        os.close(descriptor)
