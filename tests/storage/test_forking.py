"""A new execution that begins with a copy of another one's past."""

from datetime import timedelta
from itertools import pairwise

import pytest

from durable_otp.errors import ExecutionNotFound, NotForkable
from durable_otp.storage import definitions, forking, journal, queue, reports
from durable_otp.storage.definitions import PublishedDefinition
from durable_otp.storage.identity import new_id
from tests.support.tables import heard

NODES = {"nodes": [{"path": "a"}, {"path": "b"}]}


@pytest.fixture
def fork(database):
    return lambda id_, step: database.run(forking.fork, id_, step, new_id())


@pytest.fixture
def source(tables, database):
    """Add an execution that went a, b, choice/x/c, back to b, choice/x/c, and stands at d."""
    database.run(definitions.publish, [PublishedDefinition("w", "1", "f", NODES)])

    def source(status="failed", **columns):
        id_ = tables.add(status, input={"n": 1}, **columns)
        way = ["a", "b", "choice/x/c", "b", "choice/x/c", "d"]
        visits = {}
        for position, (path, following) in enumerate(pairwise(way), 1):
            visits[path] = visit = visits.get(path, 0) + 1
            name = path.rpartition("/")[2]
            step = {"path": path, "name": name, "visit": visit, "jumps": position // 4}
            tables.add_step(id_, position, **step, status="failed", attempt=1, error={"type": "x"})
            tables.add_step(
                id_, position, **step, attempt=2, next_path=following, output={"at": position},
                changes=[["set", "at", position]], logs=[{"message": "m"}], compensation="undo",
            )  # fmt: skip
        tables.add_step(id_, 6, path="d", name="d", status="failed", error={"type": "x"})
        return id_

    return source


def steps_of(database, id_):
    return database.run(reports.get_execution, id_, steps=True).steps


def test_a_fork_has_the_past_of_its_source_up_to_the_step(tables, database, source, fork):
    id_ = source(queue="other", home_queue="home", priority=3, idempotency_key="key", crashes=2)
    before = tables.row(id_)
    with tables.listen("queue") as listener:
        copy = fork(id_, "d")
        assert heard(listener) == ["home"]
    row = tables.row(copy)
    assert (row["workflow"], row["version"], row["queue"], row["priority"]) == ("w", "1", "home", 3)
    assert (row["status"], row["input"], row["error"]) == ("pending", {"n": 1}, None)
    assert (row["idempotency_key"], row["crashes"], row["parent_id"]) == (None, 0, None)
    mine, theirs = steps_of(database, copy), steps_of(database, id_)
    assert len(mine) == 10
    assert {each.id for each in mine}.isdisjoint(each.id for each in theirs)
    for ours, other in zip(mine, theirs, strict=False):
        assert ours.__dict__ | {"id": ""} == other.__dict__ | {"id": ""}
    compensations = tables.sql(
        "SELECT DISTINCT compensation FROM durable.step_executions WHERE execution_id = %s "
        "AND status = 'completed'",
        [copy],
    )
    assert compensations == [{"compensation": "undo"}]
    assert tables.row(id_) == before


def test_a_fork_is_claimed_as_a_resume_and_stands_at_the_step(database, tables, source, fork):
    id_ = source()
    tables.sql("DELETE FROM durable.step_executions WHERE status = 'failed'")
    copy = fork(id_, "choice/x/c")
    (claim,) = database.run(queue.fetch_jobs, "default", 5, "me", None)
    assert (claim.id, claim.begun_before, claim.is_plain) == (copy, True, True)
    entries = database.run(journal.journal_since_snapshot, copy)
    assert [entry.position for entry in entries] == [1, 2, 3, 4]
    assert (entries[-1].next_path, entries[-1].jumps) == ("choice/x/c", 1)
    assert database.run(journal.visit_record, copy, "choice/x/c")[0].visit == 2


@pytest.mark.parametrize(
    ("step", "copied"),
    [("a", 0), ("b", 3), ("c", 4), ("choice/x/c", 4), ("d", 5)],
    ids=["the first one", "its latest visit", "a name", "a path", "where it stands"],
)
def test_a_step_is_meant_by_its_path_or_its_name(tables, database, source, fork, step, copied):
    copy = fork(source(), step)
    completed = [each for each in steps_of(database, copy) if each.status == "completed"]
    assert len(completed) == copied
    assert (tables.row(copy)["started_at"] is None) == (copied == 0)


@pytest.mark.parametrize("status", ["pending", "running", "waiting", "completed", "cancelled"])
def test_a_source_may_be_in_any_status(tables, source, fork, status):
    id_ = source(status)
    assert tables.status(fork(id_, "b")) == "pending"
    assert tables.status(id_) == status


def test_a_fork_has_as_long_as_its_source_had(tables, source, fork):
    id_ = source()
    tables.sql(
        "UPDATE durable.workflow_executions SET inserted_at = inserted_at - interval '1 day', "
        "deadline_at = inserted_at - interval '1 day' + interval '2 hours'"
    )
    row = tables.row(fork(id_, "b"))
    assert row["deadline_at"] - row["inserted_at"] == timedelta(hours=2)


def test_what_was_undone_is_not_undone_by_the_fork_too(tables, database, source, fork):
    id_ = source("compensation_failed")
    undo = {"is_compensation": True, "name": "undo"}
    tables.add_step(id_, 2, path="b", visit=1, compensation_for="b", **undo)
    tables.add_step(id_, 1, path="a", compensation_for="a", status="failed", **undo)
    copy = fork(id_, "d")
    assert not any(each.is_compensation for each in steps_of(database, copy))
    undoable = tables.sql(
        "SELECT path, visit FROM durable.step_executions WHERE execution_id = %s "
        "AND status = 'completed' AND compensation IS NOT NULL ORDER BY position",
        [copy],
    )
    assert [(row["path"], row["visit"]) for row in undoable] == [
        ("a", 1), ("choice/x/c", 1), ("b", 2), ("choice/x/c", 2),
    ]  # fmt: skip


def test_a_fork_that_is_repeated_is_one(tables, database, source):
    id_, copy = source(), new_id()
    for _ in range(2):
        assert database.run(forking.fork, id_, "b", copy) == copy
    assert len(tables.sql("SELECT id FROM durable.workflow_executions")) == 2
    assert len(steps_of(database, copy)) == 6


@pytest.mark.parametrize("step", ["zz", "choice", "", "a\0", None, 7, ["a"]])
def test_a_step_that_was_not_reached_is_refused_with_those_that_were(tables, source, fork, step):
    id_ = source()
    with pytest.raises(
        NotForkable, match=r"has not reached a step .* from these: a, b, choice/x/c"
    ):
        fork(id_, step)
    assert len(tables.sql("SELECT id FROM durable.workflow_executions")) == 1


def test_an_ambiguous_name_is_refused_with_its_paths(tables, source, fork):
    id_ = source()
    tables.add_step(id_, 7, next_path="choice/y/c")
    with pytest.raises(NotForkable, match=r"several .* choice/x/c, choice/y/c"):
        fork(id_, "c")


def test_nothing_of_an_unpublished_one_that_has_not_begun_can_be_forked(tables, fork):
    with pytest.raises(NotForkable, match="from these: none"):
        fork(tables.add(), "a")


def test_a_child_of_a_block_is_refused_and_a_called_one_is_not(tables, source, fork):
    parent = tables.add("waiting")
    place = {"parent_id": parent, "parent_path": "block", "parent_visit": 1}
    with pytest.raises(NotForkable, match=f"fork its parent {parent}"):
        fork(source(parent_index=0, **place), "b")
    assert tables.row(fork(source(**place), "b"))["parent_id"] is None


@pytest.mark.parametrize("id_", ["", "no", "00000000-0000-4000-8000-0000000000ff", None, 7])
def test_an_unknown_id_is_not_found(tables, fork, id_):
    with pytest.raises(ExecutionNotFound):
        fork(id_, "a")
