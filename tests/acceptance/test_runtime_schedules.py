"""Schedules through real trees, whose clock the tests move: one run per slot, whatever happens.

Every timer but the heartbeat of the tests themselves stands still (``STILL``): a schedule that runs
was heard of, or its slot was waited for.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_otp import Durable
from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage import test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, kill, running, still_queue
from tests.support.waiting import wait_until

HOUR = timedelta(hours=1)
NOTHING: dict[str, Any] = {"ledger": None, "actions": {}}
FAILING: dict[str, Any] = {"ledger": None, "actions": {"one": "raise"}}


@pytest.fixture
def clock(dsn: str, schema: str) -> Iterator["Clock"]:
    """The schema's clock, which begins shortly after a full hour."""
    Migrator(dsn, schema).migrate(test_clock=True)
    clock = Clock(dsn, schema)
    clock.advance(HOUR - timedelta(seconds=clock.now().timestamp() % 3600) + timedelta(minutes=5))
    yield clock
    clock.close()


class Clock:
    """The clock of a schema, to be moved."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._database = Database(dsn, schema, role="clock")
        self._schema = schema

    def now(self) -> datetime:
        """Return the schema's time."""
        row = self._database.connection().execute(
            f"SELECT {self._schema}.now() AS now".encode()
        ).fetchone()  # fmt: skip
        assert row is not None
        found: datetime = row["now"]
        return found

    def advance(self, by: timedelta) -> None:
        """Move it forward."""
        self._database.run(test_clock.advance, by)

    def close(self) -> None:
        """Let it go."""
        self._database.close()


@contextmanager
def still(dsn: str, schema: str, *workflows: Any, **settings: Any) -> Iterator[Tree]:
    """Run a tree in which nothing happens by itself."""
    queues = {"default": still_queue(2)}
    with running(dsn, schema, *workflows, queues=queues, **(STILL | settings)) as tree:
        yield tree


def started(tree: Tree) -> list[datetime]:
    """Return the slots of all runs, in order."""
    rows = tree.sql("SELECT scheduled_at FROM {s}.workflow_executions ORDER BY scheduled_at")
    return [row["scheduled_at"] for row in rows]


def until_started(tree: Tree, *slots: datetime) -> None:
    """Wait until there is a run for each of these slots, and fail if there is another."""
    wait_until(lambda: len(started(tree)) >= len(slots), what=f"{len(slots)} runs")
    assert started(tree) == list(slots)


def hourly(name: str = "sink", **options: Any) -> Any:
    workflow = sink(name, steps=("one",))
    workflow.schedule("0 * * * *", **({"input": NOTHING} | options))
    return workflow


def full_hour(clock: Clock) -> datetime:
    """Return the next full hour of the schema's clock."""
    return clock.now().replace(minute=0, second=0, microsecond=0) + HOUR


def test_a_declared_schedule_is_known_when_the_tree_is_up_and_runs_at_its_slot(
    dsn: str, schema: str, clock: Clock
) -> None:
    slot = full_hour(clock)
    with still(dsn, schema, hourly(jitter=0)) as tree:
        (known,) = tree.durable.list_schedules()
        assert (known.name, known.workflow, known.next_run_at) == ("sink", "sink", slot)
        assert "scheduler" in {node["role"] for node in tree.nodes()}
        assert started(tree) == []
        clock.advance(HOUR)
        until_started(tree, slot)
        (run,) = tree.durable.list_executions()
        assert tree.until(tree.own(run), "completed").input == NOTHING
        moved = tree.durable.get_schedule("sink")
        assert (moved.next_run_at, moved.consecutive_failures) == (slot + HOUR, 0)
        assert moved.last_run_at is not None


def test_a_slot_is_waited_for_without_a_poll(dsn: str, schema: str, clock: Clock) -> None:
    slot = full_hour(clock)
    with still(dsn, schema, hourly()) as tree:
        tree.durable.list_schedules()
        clock.advance(slot - clock.now() - timedelta(seconds=2))
        until_started(tree, slot)
        assert clock.now() < slot + timedelta(seconds=30)


def test_a_schedule_that_a_client_makes_is_heard_of(dsn: str, schema: str, clock: Clock) -> None:
    slot = full_hour(clock)
    with still(dsn, schema, sink(steps=("one",))) as tree:
        tree.durable.create_schedule("mine", "sink", "0 * * * *", input=NOTHING, enabled=False)
        clock.advance(HOUR)
        tree.durable.enable_schedule("mine")
        clock.advance(HOUR)
        until_started(tree, slot + HOUR)
        tree.durable.disable_schedule("mine")
        clock.advance(HOUR)
        handle = tree.durable.trigger_schedule("mine")
        handle.result(timeout=30)
        assert len(started(tree)) == 2


def test_what_was_missed_without_a_tree_is_caught_up_as_declared(
    dsn: str, schema: str, clock: Clock
) -> None:
    first = full_hour(clock)
    workflows = [
        hourly("skipping", catch_up="skip"),
        hourly("one", catch_up="one"),
        hourly("all", catch_up="all"),
    ]
    with still(dsn, schema, *workflows):
        pass
    clock.advance(3 * HOUR)
    with still(dsn, schema, *workflows) as tree:
        wait_until(lambda: len(started(tree)) == 4, what="all that is to be caught up")
        rows = tree.sql("SELECT workflow, scheduled_at FROM {s}.workflow_executions ORDER BY 1, 2")
        expected = [("all", first + number * HOUR) for number in range(3)]
        expected.append(("one", first + 2 * HOUR))
        assert [(row["workflow"], row["scheduled_at"]) for row in rows] == expected


def test_two_trees_make_one_run_of_each_slot(dsn: str, schema: str, clock: Clock) -> None:
    slots = [full_hour(clock) + number * HOUR for number in range(8)]
    workflow = hourly(catch_up="all")
    with ExitStack() as trees:
        first, _second = [trees.enter_context(still(dsn, schema, workflow)) for _ in range(2)]
        for number in range(len(slots)):
            clock.advance(HOUR)
            until_started(first, *slots[: number + 1])
        rows = first.sql("SELECT count(*) AS count FROM {s}.schedule_slots")
        assert rows[0]["count"] == len(slots)


def test_killing_schedulers_loses_and_doubles_nothing(dsn: str, schema: str, clock: Clock) -> None:
    slots = [full_hour(clock) + number * HOUR for number in range(120)]
    workflow = hourly(catch_up="all")
    with ExitStack() as trees:
        both = [
            trees.enter_context(still(dsn, schema, workflow, supervisor={"max_restarts": 1000}))
            for _ in range(2)
        ]
        for number in range(12):
            clock.advance(10 * HOUR)
            victim = both[number % 2].child("scheduler")["pid"]
            if victim is not None:
                kill(victim)
                both[number % 2].replaced("scheduler", victim)
        until_started(both[0], *slots)


def test_a_schedule_that_fails_five_times_is_disabled_until_it_is_enabled(
    dsn: str, schema: str, clock: Clock
) -> None:
    with still(dsn, schema, hourly(input=FAILING), scheduler={"interval": "100ms"}) as tree:

        def failures() -> int:
            return tree.durable.get_schedule("sink").consecutive_failures

        for number in range(1, 6):
            clock.advance(HOUR)
            wait_until(lambda number=number: failures() == number, what=f"failure {number}")
        disabled = tree.durable.get_schedule("sink")
        assert (disabled.enabled, disabled.last_error) == (False, "ValueError: as told")
        assert disabled.auto_disabled_at is not None
        clock.advance(2 * HOUR)
        slot = full_hour(clock)
        again = tree.durable.update_schedule("sink", input=NOTHING, enabled=True)
        assert (again.next_run_at, again.consecutive_failures) == (slot, 0)
        clock.advance(HOUR)
        wait_until(lambda: len(started(tree)) == 6, what="a run after all")
        assert started(tree)[-1] == slot


def test_a_broken_schedule_stops_no_other(dsn: str, schema: str, clock: Clock) -> None:
    slot = full_hour(clock)
    with still(dsn, schema, hourly(), scheduler={"interval": "100ms"}) as tree:
        for name in ("broken", "strange"):
            tree.durable.create_schedule(name, "sink", "0 * * * *", input=NOTHING)
        tree.durable.update_schedule("strange", cron="30 * * * *")
        tree.sql("UPDATE {s}.scheduled_workflows SET cron = 'x' WHERE name = 'broken'")
        tree.sql("UPDATE {s}.scheduled_workflows SET workflow = 'gone' WHERE name = 'strange'")
        pid = tree.child("scheduler")["pid"]
        clock.advance(HOUR)
        until_started(tree, slot)
        wait_until(lambda: tree.durable.get_schedule("broken").consecutive_failures)
        broken, strange = map(tree.durable.get_schedule, ("broken", "strange"))
        assert "cron 'x'" in (broken.last_error or "")
        assert "'gone'" in (strange.last_error or "")
        assert tree.child("scheduler")["pid"] == pid


def test_a_running_run_is_cancelled_by_the_next_slot(dsn: str, schema: str, clock: Clock) -> None:
    sleeping = {"ledger": None, "actions": {"one": "nap:1000000"}}
    workflow = hourly(input=sleeping, overlap="cancel_previous")
    with still(dsn, schema, workflow) as tree:
        clock.advance(HOUR)
        wait_until(lambda: len(started(tree)) == 1, what="the first run")
        (first,) = tree.durable.list_executions()
        handle = tree.own(first)
        tree.until(handle, "waiting")
        clock.advance(HOUR)
        assert tree.until(handle, "cancelled").error == {
            "type": "cancelled", "message": "Schedule 'sink' came to its next slot.",
        }  # fmt: skip
        assert len(started(tree)) == 2


def test_a_tree_that_is_started_again_updates_what_is_declared_and_keeps_the_rest(
    dsn: str, schema: str, clock: Clock
) -> None:
    with still(dsn, schema, hourly()) as tree:
        tree.durable.disable_schedule("sink")
    changed = sink(steps=("one",))
    changed.schedule("30 * * * *", timezone="Asia/Kolkata", input=NOTHING)
    with still(dsn, schema, changed) as tree:
        (found,) = tree.durable.list_schedules()
        assert (found.cron, found.timezone, found.enabled) == ("30 * * * *", "Asia/Kolkata", False)
        assert found.next_run_at == found.next_runs(1, clock.now())[0]


def test_a_run_is_due_after_its_jitter(dsn: str, schema: str, clock: Clock) -> None:
    slot = full_hour(clock)
    with still(dsn, schema, hourly(jitter=1800)) as tree:
        clock.advance(HOUR - timedelta(minutes=5))
        wait_until(lambda: started(tree), what="the run")
        (at,) = started(tree)
        assert slot < at < slot + timedelta(minutes=30)
        (run,) = tree.durable.list_executions()
        assert run.status == "pending"
        clock.advance(timedelta(minutes=30))
        tree.until(tree.own(run), "completed")


def test_a_zone_s_fixed_time_runs_once_where_its_clocks_are_set_back(
    dsn: str, schema: str, clock: Clock
) -> None:
    november = datetime(clock.now().year + 1, 11, 1, tzinfo=UTC)
    fall = november - timedelta(days=november.isoweekday() % 7 or 7)  # October's last Sunday
    workflow = sink(steps=("one",))
    for name, cron in (("fixed", "30 2 * * *"), ("star", "30 * * * *")):
        workflow.schedule(cron, name=name, timezone="Europe/Berlin", input=NOTHING, catch_up="all")
    clock.advance(fall - clock.now())
    with still(dsn, schema, workflow, scheduler={"interval": "100ms"}) as tree:
        expected = {
            name: tree.durable.get_schedule(name).next_runs(48, fall) for name in ("fixed", "star")
        }
        clock.advance(timedelta(days=2) - timedelta(minutes=5))
        slots = {name: [s for s in expected[name] if s <= clock.now()] for name in expected}
        wait_until(lambda: len(started(tree)) >= len(slots["fixed"]) + len(slots["star"]))
        assert started(tree) == sorted([*slots["fixed"], *slots["star"]])
        rows = tree.sql("SELECT count(*) AS count FROM {s}.schedule_slots WHERE schedule = 'fixed'")
        assert rows[0]["count"] == 2
        assert len(slots["star"]) == 48


def test_the_client_needs_no_tree(dsn: str, schema: str, clock: Clock) -> None:
    with Durable(dsn, schema=schema) as durable:
        durable.create_schedule("s", sink(steps=("one",)), "0 * * * *", input=NOTHING)
        clock.advance(2 * HOUR)
        assert durable.count_executions() == 0
        with pytest.raises(DatabaseUnreachable):
            Durable("postgresql://127.0.0.1:1/nowhere").list_schedules()
