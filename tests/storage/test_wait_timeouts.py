"""Time ends waits: once, with the value they have, for the attempt that waited."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest

from durable_otp.errors import DurableError
from durable_otp.runtime.settings import DatabaseSettings, SiblingSettings
from durable_otp.runtime.wait_timeouts import WaitTimeouts
from durable_otp.storage import executions, test_clock, waits
from durable_otp.storage.database import Database
from durable_otp.storage.waits import Sent
from tests.support.postgres import fresh_schema
from tests.support.tables import heard, migrated_tables
from tests.support.waits import asking, claim, event, statuses, suspend, visit, waiting

ROUNDS = 8


@pytest.fixture(scope="module")
def clocked(postgres_dsn):
    with (
        fresh_schema(postgres_dsn) as schema,
        migrated_tables(postgres_dsn, schema, test_clock=True) as tables,
    ):
        yield tables


@pytest.fixture
def tables(clocked):
    clocked.empty()
    return clocked


def connection_to(tables):
    return Database(tables.dsn, tables.schema, role="test")


@pytest.fixture
def database(tables):
    database = connection_to(tables)
    yield database
    database.close()


def later(database, seconds=100):
    database.run(test_clock.advance, timedelta(seconds=seconds))


def end_overdue(database, batch_size=100):
    return database.run(waits.end_overdue_waits, batch_size)


def test_nothing_ends_before_its_time(tables, database):
    id_ = waiting(database, tables, event("a", seconds=50), event("b"))
    later(database, 49)
    assert end_overdue(database).count == 0
    assert 0 < database.run(waits.next_timeout) <= 1
    later(database, 2)
    assert database.run(waits.next_timeout) < 0
    with tables.listen("queue") as queue:
        assert end_overdue(database).count == 1
        assert heard(queue) == ["default"]
    assert (tables.status(id_), statuses(tables)) == ("pending", ["timed_out", "open"])
    assert database.run(waits.next_timeout) is None
    assert end_overdue(database).count == 0


@pytest.mark.parametrize("kind", ["event", "any", "all", "input"])
def test_a_timeout_has_the_value_that_was_given_none_included(tables, database, kind):
    make = asking if kind == "input" else lambda *a, **k: event(*a, kind=kind, **k)
    id_ = waiting(
        database, tables,
        make("a", seconds=1, timeout_value={"n": 1}),
        make("b", seconds=1, timeout_value=None),
        make("c", seconds=1),
    )  # fmt: skip
    later(database)
    assert end_overdue(database).count == 1
    found = visit(database, id_).answers
    assert [(a.is_answered, a.value, a.timed_out) for a in found.values()] == [
        (True, {"n": 1}, True), (True, None, True), (False, None, True),
    ]  # fmt: skip
    assert set(statuses(tables, "pending_inputs")) <= {"timed_out"}


def test_a_timeout_belongs_to_its_attempt_and_the_next_one_waits_afresh(tables, database):
    id_ = waiting(database, tables, asking("a", seconds=50), event("b", seconds=500))
    (first,) = database.run(waits.list_pending_inputs, None, 9)
    later(database)
    end_overdue(database)
    claim(tables, id_)
    assert visit(database, id_).answers[0].timed_out
    tables.add_step(id_, 1, status="failed", attempt=1, path="step1", error={"type": "WaitTimeout"})
    record = visit(database, id_)
    assert (record.answers[0].timed_out, record.answers[0].is_answered) == (False, False)
    suspend(database, id_, asking("a", seconds=50), event("b", seconds=500), attempt=2)
    (second,) = database.run(waits.list_pending_inputs, None, 9)
    assert second.id != first.id
    assert second.timeout_at > first.timeout_at
    assert statuses(tables, "pending_inputs") == ["timed_out", "open"]
    later(database)
    assert end_overdue(database).count == 1
    assert visit(database, id_).answers[0].timed_out
    later(database, 500)  # what stayed open kept its time, and counts for the attempt that waits
    claim(tables, id_)
    suspend(database, id_, asking("a"), event("b", seconds=500), attempt=2)
    assert end_overdue(database).count == 1
    assert visit(database, id_).answers[1].timed_out


def test_after_the_timeout_of_all_the_events_that_came_are_still_there(tables, database):
    id_ = waiting(database, tables, event("a", "b", kind="all", seconds=1))
    database.run(waits.send_event, id_, Sent("a", 1))
    later(database)
    end_overdue(database)
    claim(tables, id_)
    suspend(database, id_, event("a"), first=1)
    assert visit(database, id_).answers[1].value == 1


@pytest.mark.parametrize("undoes", [False, True])
def test_an_input_may_fail_its_execution_when_nobody_answers(tables, database, undoes):
    parent = tables.add("waiting", due_in=None)
    id_ = waiting(
        database, tables, asking("q%s", seconds=1, on_timeout="fail"), event("b"),
        parent_id=parent, watched=True,
    )  # fmt: skip
    if undoes:
        tables.add_step(id_, 0, compensation="refund")
    later(database)
    with tables.listen("done") as done:
        ended = end_overdue(database)
        assert heard(done) == ([] if undoes else [id_])
    assert (ended.count, list(ended.parents)) == (1, [] if undoes else [parent])
    row = tables.row(id_)
    assert row["status"] == ("compensating" if undoes else "failed")
    assert (row["completed_at"] is None) is undoes
    assert row["error"] == {
        "type": "wait_timeout", "message": 'Nobody has given the input "q%s" in time.',
    }  # fmt: skip
    assert statuses(tables) == ["timed_out", "cancelled"]
    assert statuses(tables, "pending_inputs") == ["timed_out"]


@pytest.mark.parametrize("status", ["pending", "running"])
def test_an_execution_that_is_awake_is_left_alone_until_it_waits_again(tables, database, status):
    asked = (event("a"), asking("q", seconds=1, on_timeout="fail"))
    id_ = waiting(database, tables, *asked)
    database.run(waits.send_event, id_, Sent("a", 1))
    if status == "running":
        claim(tables, id_)
    later(database)
    assert end_overdue(database).count == 0
    assert database.run(waits.next_timeout) is None
    if status == "pending":
        claim(tables, id_)
    with tables.listen("timeout") as told:
        suspend(database, id_, asked[1], first=1)
        assert heard(told) == [""]
    assert end_overdue(database).count == 1


def test_a_full_batch_means_again_now(tables, database):
    for _ in range(3):
        waiting(database, tables, event("a", seconds=1))
    settings = SiblingSettings(DatabaseSettings(tables.dsn, tables.schema), 9.0, 1.0, 1.0, 1, 2)
    work = WaitTimeouts(database, settings)
    assert 0 < work.run_once() <= 1
    later(database)
    assert work.run_once() == 0.0
    assert 1 < work.run_once() <= 9
    assert statuses(tables) == ["timed_out"] * 3


def at_once(tables, *actions):
    """Run operations at the same time, each on a connection of its own; return what they gave."""
    start, results = threading.Barrier(len(actions)), {}

    def run(number, operation, args):
        database = connection_to(tables)
        database.connection()
        start.wait(10)
        with suppress(DurableError):
            results[number] = database.run(operation, *args)
        database.close()

    threads = [
        threading.Thread(target=run, args=(number, operation, args))
        for number, (operation, *args) in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_a_wait_ends_in_one_way_when_event_timeout_and_cancel_come_together(tables, database):
    for _ in range(ROUNDS):
        tables.empty()
        id_ = waiting(database, tables, event("a", seconds=1))
        later(database)
        done = at_once(
            tables,
            (waits.send_event, id_, Sent("a", 1)),
            (waits.end_overdue_waits, 9),
            (executions.cancel, id_, None),
        )
        (status,) = statuses(tables)
        (mail,) = [*database.run(waits.list_events, id_), None][:1]
        assert status in ("answered", "timed_out", "cancelled")
        assert (status == "answered") is (mail is not None and mail.consumed_at is not None)
        assert (status == "timed_out") is (1 in done and done[1].count == 1)
        assert tables.status(id_) == "cancelled"  # it may always come last


def test_an_input_is_answered_once_when_many_answer(tables, database):
    for _ in range(ROUNDS):
        tables.empty()
        id_ = waiting(database, tables, asking("q", "choice", choices=[0, 1, 2, 3]))
        done = at_once(tables, *((waits.provide_input, id_, Sent("q", n)) for n in range(4)))
        assert len(done) == 1
        assert visit(database, id_).answers[0].value in done


def suspending(requests):
    def suspend_it(parameters):
        yield from waits.suspend_and_look({**parameters, **waits.asked(requests)})

    suspend_it.runs_in_one_transaction = True
    return suspend_it


def test_an_event_that_comes_with_the_suspension_is_not_lost(tables, database):
    for _ in range(ROUNDS):
        tables.empty()
        id_ = tables.add("running")
        claimed = {"id": id_, "lock_token": str(tables.row(id_)["lock_token"])}
        step = {"path": "step1", "visit": 1, "attempt": 1}
        at_once(
            tables,
            (suspending([(0, event("a", "b", kind="all"))]), {**claimed, **step}),
            (waits.send_event, id_, Sent("a", 1)),
            (waits.send_event, id_, Sent("b", 2)),
        )
        assert tables.status(id_) == "pending"
        assert visit(database, id_).answers[0].value == {"a": 1, "b": 2}
        assert all(each.consumed_at for each in database.run(waits.list_events, id_))
