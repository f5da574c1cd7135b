"""Whom a start or a reschedule wakes: the managers of its queue, if they may not look in time."""

from datetime import timedelta

import pytest

from durable_otp.runtime.queue_manager import LONGEST_SLEEP
from durable_otp.storage import executions
from durable_otp.storage.definitions import PublishedDefinition, publish
from durable_otp.storage.executions import NewExecution, Start
from durable_otp.storage.flow import HeldBack, start_held_back
from durable_otp.storage.journal import database_now
from durable_otp.storage.queue import reschedule
from tests.support.tables import HOLDER, heard

HOW = Start(workflow="w", version="1", queue="default", priority=0)
NOTHING_CHOSEN = {"queue": None, "priority": None, "scheduled_at": None}


def test_what_is_started_is_told_once_a_transaction_if_it_is_due_soon(tables, database):
    with tables.listen("queue") as listener:
        database.run(executions.start, HOW, [NewExecution(None) for _ in range(5)])
        assert heard(listener) == ["default"]
        now = database.run(database_now)
        at = now + timedelta(seconds=LONGEST_SLEEP / 2)
        soon = Start("w", "1", "default", 0, scheduled_at=at)
        (id_,) = database.run(executions.start, soon, [NewExecution(None)])
        assert heard(listener) == ["default"]
        database.run(executions.start, soon, [NewExecution(None) for _ in range(5)])
        assert heard(listener) == ["default"]
        database.run(executions.start, soon, [NewExecution(None, f"k{n}") for n in range(5)])
        assert heard(listener) == ["default"]
    assert tables.row(id_)["scheduled_at"] == at


@pytest.mark.parametrize("new", [[None], ["k"], [None, None], [None, "k"], "by name", "in turn"])
def test_nobody_is_told_what_is_due_later_than_any_manager_sleeps(tables, database, new):
    at = database.run(database_now) + timedelta(seconds=LONGEST_SLEEP + 60)
    with tables.listen("queue") as listener:
        if new == "by name":
            described = {"queue": "q", "priority": 0, "timeout": None}
            database.run(publish, [PublishedDefinition("w", "1", "1", described)])
            chosen = NOTHING_CHOSEN | {"scheduled_at": at}
            assert database.run(executions.start_published, "w", NewExecution(None), **chosen)
        elif new == "in turn":
            how = Start("w", "1", "default", 0, scheduled_at=at)
            held = HeldBack(turns_of="turns")
            database.run(start_held_back, how, NewExecution(None), held)
        else:
            how = Start("w", "1", "default", 0, scheduled_at=at)
            assert database.run(executions.start, how, [NewExecution(None, key) for key in new])
        assert heard(listener) == []
    (row,) = tables.sql("SELECT DISTINCT scheduled_at FROM durable.workflow_executions")
    assert row["scheduled_at"] == at


@pytest.mark.parametrize(("share", "told"), [(0.5, ["default"]), (1.2, [])])
def test_a_rescheduled_execution_is_told_if_it_is_due_soon(tables, database, share, told):
    row = tables.add("running")
    at = database.run(database_now) + timedelta(seconds=LONGEST_SLEEP * share)
    with tables.listen("queue") as listener:
        database.run(reschedule, row, at, HOLDER["lock_token"])
        assert heard(listener) == told
    assert tables.row(row)["scheduled_at"] == at
