"""Starts that take turns, are unique for a time, or wait for quiet, under many callers at once."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from durable_otp import Durable, Workflow
from durable_otp.errors import AlreadyFinished
from durable_otp.storage.adapter import PostgresAdapter
from durable_otp.storage.flow import pass_all_turns
from durable_otp.storage.pool import PooledDatabase
from tests.support.tables import Tables
from tests.support.tree import running

THREADS = 12


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(call, range(count)))


def statuses(tables: Tables) -> Counter[str]:
    rows = tables.sql("SELECT status FROM durable.workflow_executions")
    return Counter(row["status"] for row in rows)


def overlap(tables: Any, key_of: Callable[[dict[str, Any]], Any]) -> dict[Any, int]:
    """Return by key how many executions were between their start and their end at once, at most."""
    rows = tables.sql("SELECT * FROM {s}.workflow_executions")
    most: dict[Any, int] = {}
    for one in rows:
        others = [each for each in rows if key_of(each) == key_of(one)]
        at_its_start = sum(
            each["started_at"] <= one["started_at"] < each["completed_at"] for each in others
        )
        most[key_of(one)] = max(most.get(key_of(one), 0), at_its_start)
    return most


def test_many_callers_give_out_no_more_turns_than_there_are(
    durable: Durable, tables: Tables, order: Workflow
) -> None:
    at_once(30, lambda n: durable.start(order, {"n": n}, concurrency_key="k", concurrency=3))
    assert statuses(tables) == {"pending": 3, "waiting": 27}
    durable.start(order, concurrency_key="another")
    assert statuses(tables)["pending"] == 4


def test_an_end_of_any_kind_passes_the_turn_on_by_priority_and_age(
    durable: Durable, adapter: PostgresAdapter, tables: Tables, order: Workflow
) -> None:
    handles = [durable.start(order, concurrency_key="k") for _ in range(5)]
    urgent = durable.start(order, concurrency_key="k", priority=9)
    ends = [
        adapter.ack,
        lambda id_: adapter.nack(id_, "no"),
        durable.cancel,
        adapter.ack,
    ]
    expected = [handles[0], urgent, *handles[1:]]
    for end, handle in zip(ends, expected, strict=False):
        (job,) = adapter.fetch_jobs("shop", 10, "n")
        assert job.id == handle.id
        assert adapter.fetch_jobs("shop", 10, "n") == []
        end(job.id)
    assert tables.sql("SELECT FROM durable.waits WHERE kind = 'turn' AND status = 'open'") == [{}]


def test_one_that_waits_for_its_turn_can_be_cancelled_and_its_turn_is_nobodys(
    durable: Durable, adapter: PostgresAdapter, tables: Tables, order: Workflow
) -> None:
    first, second, third = (durable.start(order, concurrency_key="k") for _ in range(3))
    second.cancel()
    assert third.status() == "waiting"
    with pytest.raises(AlreadyFinished):
        second.cancel()
    (job,) = adapter.fetch_jobs("shop", 10, "n")
    adapter.ack(job.id)
    assert (first.status(), third.status()) == ("completed", "pending")


def test_a_turn_whose_next_was_locked_is_passed_on_later(
    durable: Durable, adapter: PostgresAdapter, tables: Tables, order: Workflow
) -> None:
    durable.start(order, concurrency_key="k")
    second = durable.start(order, concurrency_key="k")
    (job,) = adapter.fetch_jobs("shop", 10, "n")
    with tables.connection.transaction():
        tables.sql("SELECT FROM durable.workflow_executions WHERE id = %s FOR UPDATE", [second.id])
        adapter.ack(job.id)
    assert second.status() == "waiting"
    database = PooledDatabase(tables.dsn, tables.schema)
    assert [database.run(pass_all_turns, 100) for _ in range(2)] == [1, 0]
    database.close()
    assert second.status() == "pending"


def test_those_that_wait_for_their_turn_are_no_zombies(
    durable: Durable, adapter: PostgresAdapter, tables: Tables, order: Workflow
) -> None:
    durable.start(order, concurrency_key="k")
    waiting = durable.start(order, concurrency_key="k")
    tables.sql("UPDATE durable.workflow_executions SET updated_at = '2020-01-01Z'")
    assert adapter.recover_zombie_workflows(1) == 0
    assert waiting.status() == "waiting"


def test_an_ended_turn_survives_the_death_of_its_worker(dsn: str, schema: str) -> None:
    workflow = Workflow("turns")

    @workflow.step
    def work(ctx: Any) -> None:
        import os

        if ctx.input == 3 and ctx.attempt == 1:
            os.kill(os.getpid(), 9)

    with running(dsn, schema, workflow, queues={"default": 4}) as tree:
        handles = [
            tree.durable.start(workflow, n, concurrency_key="ab"[n % 2], concurrency=n % 2 + 1)
            for n in range(16)
        ]
        for handle in handles:
            handle.result(timeout=60)
        most = overlap(tree, lambda row: row["concurrency_key"])
        assert most["a"] == 1
        assert most["b"] <= 2
        begun = tree.sql(
            "SELECT input FROM {s}.workflow_executions WHERE concurrency_key = 'a' "
            "ORDER BY started_at"
        )
        assert [row["input"] for row in begun] == list(range(0, 16, 2))


# unique for a time


def test_a_key_is_unique_for_a_time_only(durable: Durable, tables: Tables, order: Workflow) -> None:
    def start() -> str:
        return durable.start(order, idempotency_key="k", unique_for=timedelta(hours=1)).id

    first = start()
    assert start() == first
    tables.sql("UPDATE durable.workflow_executions SET inserted_at = now() - interval '61 minutes'")
    second = start()
    assert second != first
    assert start() == second
    assert durable.start(order, idempotency_key="k").id == second


def test_without_a_key_it_is_the_input_that_is_unique(
    durable: Durable, tables: Tables, order: Workflow
) -> None:
    ids = at_once(24, lambda n: durable.start(order, {"to": n % 3}, unique_for=60).id)
    assert len(set(ids)) == len(tables.sql("SELECT FROM durable.workflow_executions")) == 3
    assert durable.start(order, {"to": 0}).id not in ids  # nobody asked for it here


# quiet


def test_starts_in_quick_succession_are_one_with_the_last_input(
    durable: Durable, adapter: PostgresAdapter, tables: Tables, order: Workflow
) -> None:
    def start(n: int) -> str:
        return durable.start(order, {"n": n}, idempotency_key="k", debounce=300).id

    ids = [start(n) for n in range(5)]
    assert len(set(ids)) == 1
    assert adapter.fetch_jobs("shop", 1, "n") == []
    tables.sql("UPDATE durable.workflow_executions SET scheduled_at = now()")
    (job,) = adapter.fetch_jobs("shop", 1, "n")
    assert (job.id, job.input) == (ids[0], {"n": 4})
    another = start(9)  # the first has begun, and is not disturbed
    assert another != ids[0]
    assert durable.get_execution(ids[0]).input == {"n": 4}


def test_many_callers_that_debounce_agree_on_one(
    durable: Durable, tables: Tables, order: Workflow
) -> None:
    ids = at_once(
        24, lambda n: durable.start(order, {"n": n}, idempotency_key="k", debounce=300).id
    )
    assert len(set(ids)) == 1
    assert statuses(tables) == {"pending": 1}


# what is refused, before a row is written


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"concurrency": 2}, "concurrency_key"),
        ({"concurrency_key": ""}, "concurrency_key"),
        ({"concurrency_key": 7}, "concurrency_key"),
        ({"concurrency_key": "k", "concurrency": 0}, "concurrency"),
        ({"concurrency_key": "k", "concurrency": True}, "concurrency"),
        ({"concurrency_key": "k", "debounce": 1, "idempotency_key": "i"}, "debounce"),
        ({"debounce": 5}, "idempotency_key"),
        ({"debounce": 0, "idempotency_key": "i"}, "debounce"),
        ({"unique_for": -1}, "unique_for"),
    ],
)
def test_what_makes_no_sense_is_refused(
    durable: Durable, tables: Tables, order: Workflow, options: dict[str, Any], names: str
) -> None:
    with pytest.raises(ValueError, match=names):
        durable.start(order, **options)
    assert statuses(tables) == {}
