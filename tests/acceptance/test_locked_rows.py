"""Whoever passes over a row that somebody has locked comes back for it, and does so soon.

Every interval is an hour here: what happens after the lock is gone was not found by a look of the
clock. And what becomes due later than the last look is not waited for until the next one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from durable_otp import Handle, Workflow, wait_for_event
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, locked_row, running, still_queue
from tests.support.waiting import wait_until

impatient = Workflow("impatient")
late = Workflow("late", timeout=0.7)


@impatient.step
def give_up() -> Any:
    return {"heard": wait_for_event("never", timeout=0.7, timeout_value="nothing")}


@late.step
def wait_for_ever() -> None:
    wait_for_event("never")


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    queues = {"default": still_queue(3)}
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, sink(), impatient, late, queues=queues, **STILL) as tree,
    ):
        yield tree


def waiting(handle: Handle) -> Handle:
    wait_until(lambda: handle.status() == "waiting", what="an execution that waits")
    return handle


def overdue(tree: Tree, due: str, handle: Handle) -> bool:
    """Return whether a due time of the execution has passed long enough ago to have been seen."""
    (row,) = tree.sql(
        f"SELECT coalesce(bool_or({due} < {{s}}.now() - interval '100ms'), false) AS is_overdue "
        "FROM {s}.workflow_executions e LEFT JOIN {s}.waits w ON w.execution_id = e.id "
        "WHERE e.id = %s",
        handle.id,
    )
    return bool(row["is_overdue"])


@pytest.mark.parametrize(
    ("workflow", "actions", "due", "status"),
    [
        ("sink", {"one": "nap:0.7"}, "e.scheduled_at", "completed"),
        ("impatient", {}, "w.due_at", "completed"),
        ("late", {}, "e.deadline_at", "failed"),
    ],
)
def test_what_was_locked_when_its_time_came_is_done_when_the_lock_is_gone(
    tree: Tree, workflow: str, actions: dict[str, Any], due: str, status: str
) -> None:
    handle = waiting(tree.start(workflow, **actions))
    with locked_row(tree, handle.id):
        wait_until(lambda: overdue(tree, due, handle), what="its time")
        assert handle.status() == "waiting"
    tree.until(handle, status)


def test_a_turn_goes_to_the_one_that_was_locked_when_it_came_free(
    tree: Tree, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    options = {"concurrency_key": "the key"}
    given = {"ledger": None, "actions": {"one": f"gate:{gate}"}}
    holder, following = (tree.durable.start("sink", given, **options) for _ in range(2))
    assert following.status() == "waiting"
    with locked_row(tree, following.id):
        gate.touch()
        tree.until(holder, "completed")
        assert following.status() == "waiting"
    tree.until(following, "completed")


def test_a_schedule_that_was_locked_at_its_time_moves_on_when_the_lock_is_gone(tree: Tree) -> None:
    given = {"ledger": None, "actions": {}}
    tree.durable.create_schedule("yearly", "sink", "0 0 1 1 *", input=given)
    with psycopg.connect(tree.dsn) as connection:
        schedule = f"{tree.schema}.scheduled_workflows"
        connection.execute(f"SELECT FROM {schedule} FOR UPDATE".encode())
        connection.execute(
            f"UPDATE {schedule} SET next_run_at = {tree.schema}.now() + '0.5s'".encode()
        )
        connection.commit()
        connection.execute(f"SELECT FROM {schedule} FOR UPDATE".encode())
        tree.sql("SELECT pg_notify('{s}:schedule', '')")
        late_by = "next_run_at < {s}.now() - interval '300ms'"
        behind = f"SELECT name FROM {{s}}.scheduled_workflows WHERE {late_by}"
        wait_until(lambda: tree.sql(behind), what="its time")
    wait_until(lambda: not tree.sql(behind), what="another time")


@pytest.mark.parametrize("how", ["scheduled_at", "debounce"])
def test_what_becomes_due_after_the_last_look_does_not_wait_for_the_next(
    tree: Tree, how: str
) -> None:
    first = tree.start()  # the manager has looked, and has nothing to come back for
    tree.until(first, "completed")
    options: dict[str, dict[str, Any]] = {
        "scheduled_at": {"scheduled_at": datetime.now(UTC) + timedelta(seconds=1)},
        "debounce": {"debounce": 1, "idempotency_key": "the key"},
    }
    handle = tree.durable.start("sink", {"ledger": None, "actions": {}}, **options[how])
    tree.until(handle, "completed")
