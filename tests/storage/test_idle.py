"""What counts as left for a node to do, and what is left to another day."""

from typing import Any

import pytest

from durable_otp.storage.database import Database
from durable_otp.storage.idle import work_left
from durable_otp.storage.nodes import set_queue
from tests.support.tables import Tables

KNOWN = [("w", "1"), ("other", "2")]
LATER = {"due_in": 3600.0}
BEGUN = {"started_at": "2026-01-01T00:00:00Z"}
HELD = {"locked_by": "somebody", "lock_token": "00000000-0000-4000-8000-000000000001"}


def is_left(database: Database) -> bool:
    return database.run(work_left, "node", ["default", "slow"], KNOWN)


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        ("pending", {}),
        ("pending", {"queue": "slow"}),
        ("pending", {**LATER, **BEGUN}),  # to be tried again
        ("compensating", {}),
        ("compensating", HELD),
        ("running", {}),
        ("waiting", {"due_in": -1.0}),  # a sleep that is over
        ("waiting", {"due_in": None, "deadline_at": "2026-01-01T00:00:00Z"}),
    ],
)
def test_what_is_held_due_or_to_be_tried_again_is_left(
    tables: Tables, database: Database, status: str, columns: dict[str, Any]
) -> None:
    assert not is_left(database)
    tables.add(status, **columns)
    assert is_left(database)


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        ("pending", LATER),
        ("pending", {"queue": "elsewhere"}),
        ("pending", {"workflow": "unknown"}),
        ("pending", {"version": "2"}),
        ("running", {"queue": "elsewhere"}),
        ("running", {"workflow": "unknown"}),
        ("waiting", LATER),
        ("waiting", {"due_in": None}),
        ("completed", {}),
        ("failed", BEGUN),
        ("cancelled", {}),
        ("compensated", {}),
    ],
)
def test_what_has_ended_waits_or_is_for_others_is_not(
    tables: Tables, database: Database, status: str, columns: dict[str, Any]
) -> None:
    tables.add(status, **columns)
    assert not is_left(database)


def test_a_paused_queue_s_work_is_left_to_others_but_what_is_held_counts(
    tables: Tables, database: Database
) -> None:
    tables.add("pending")
    database.run(set_queue, "default", "another", paused=True, concurrency=None)
    assert is_left(database)
    database.run(set_queue, "default", "node", paused=True, concurrency=None)
    assert not is_left(database)
    tables.add("running")
    assert is_left(database)


def test_a_wait_counts_when_its_time_has_come(tables: Tables, database: Database) -> None:
    waiting = tables.add("waiting", due_in=None)
    tables.add_wait(waiting, due_at="2126-01-01T00:00:00Z")
    assert not is_left(database)
    tables.sql("UPDATE durable.waits SET due_at = '2026-01-01T00:00:00Z'")
    assert is_left(database)
    tables.sql("UPDATE durable.waits SET status = 'timed_out'")
    assert not is_left(database)


def test_a_parent_counts_when_its_child_has_ended(tables: Tables, database: Database) -> None:
    parent = tables.add("waiting", due_in=None)
    child = tables.add("running", queue="elsewhere", parent_id=parent)
    tables.add_wait(parent, kind="child", child_id=child)
    assert not is_left(database)
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'completed', "
        "completed_at = durable.now(), lock_token = NULL, locked_by = NULL, locked_at = NULL "
        "WHERE id = %s",
        [child],
    )
    assert is_left(database)


def test_who_waits_for_a_turn_counts_when_one_is_free(tables: Tables, database: Database) -> None:
    turns = {"concurrency_key": "k", "concurrency_limit": 1}
    holder = tables.add("waiting", due_in=3600.0, **turns, **BEGUN)
    next_one = tables.add("waiting", due_in=None, **turns)
    tables.add_wait(next_one, kind="turn", path="", visit=0, ordinal=0)
    assert not is_left(database)
    tables.sql("DELETE FROM durable.workflow_executions WHERE id = %s", [holder])
    assert is_left(database)


def test_a_slot_of_a_schedule_counts_when_its_time_has_come(
    tables: Tables, database: Database
) -> None:
    for name, workflow in (("ours", "w"), ("theirs", "unknown")):
        tables.sql(
            "INSERT INTO durable.scheduled_workflows (name, workflow, cron, next_run_at, "
            "inserted_at, updated_at) VALUES (%s, %s, '* * * * *', durable.now() + "
            "'1 hour'::interval, durable.now(), durable.now())",
            [name, workflow],
        )
    assert not is_left(database)
    slot = "UPDATE durable.scheduled_workflows SET next_run_at = durable.now() WHERE name = %s"
    tables.sql(slot, ["theirs"])
    assert not is_left(database)
    tables.sql(slot, ["ours"])
    assert is_left(database)
