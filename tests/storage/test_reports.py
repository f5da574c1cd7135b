"""What can be asked about executions."""

from datetime import UTC, datetime, timedelta

import pytest

from durable_otp.errors import ExecutionNotFound
from durable_otp.storage import reports
from durable_otp.storage.reports import Filters
from durable_otp.workflow.state import State, StepState

TOKEN = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def get(database):
    return lambda id_, **options: database.run(reports.get_execution, id_, **options)


@pytest.fixture
def ids(database):
    def ids(filters=None, **page):
        page = {"limit": 100, **page}
        found = database.run(reports.list_executions, filters or Filters(), **page)
        return [execution.id for execution in found]

    return ids


def test_an_execution_has_all_its_fields(tables, get):
    id_ = tables.add("running", input={"a": 1}, priority=2, crashes=1, interruptions=3)
    execution = get(id_)
    row = tables.row(id_)
    assert (execution.id, execution.workflow, execution.version) == (id_, "w", "1")
    assert (execution.status, execution.queue, execution.priority) == (State.RUNNING, "default", 2)
    assert (execution.input, execution.context, execution.output) == ({"a": 1}, {"a": 1}, None)
    assert (execution.crashes, execution.interruptions) == (1, 3)
    assert (execution.locked_by, execution.error, execution.parent_id) == ("somebody", None, None)
    assert (execution.inserted_at, execution.updated_at) == (row["inserted_at"], row["updated_at"])
    assert execution.inserted_at.utcoffset() == timedelta(0)
    assert execution.compensation_results == []
    assert execution.steps is None


def test_the_output_is_the_final_context_of_what_completed(tables, get):
    id_ = tables.add("completed", input={"a": 1})
    tables.add_step(id_, 1, changes=[["set", "b", 2]])
    assert get(id_).output == get(id_).context == {"a": 1, "b": 2}
    failed = tables.add("failed", input={"a": 1}, error={"type": "x", "message": "y"})
    assert (get(failed).output, get(failed).error) == (None, {"type": "x", "message": "y"})


@pytest.mark.parametrize("id_", ["", "no", "00000000-0000-4000-8000-0000000000ff", None, 7])
def test_an_unknown_id_is_not_found(tables, get, database, id_):
    with pytest.raises(ExecutionNotFound):
        get(id_)
    with pytest.raises(ExecutionNotFound):
        database.run(reports.status_of, id_)


def test_every_attempt_is_a_step_in_its_order(tables, get):
    id_ = tables.add("failed")
    error = {"type": "ValueError", "message": "no"}
    tables.add_step(id_, 1, path="a", name="a", output={"x": 1}, duration_ms=12)
    tables.add_step(id_, 2, path="b", name="b", status="failed", attempt=1, error=error)
    tables.add_step(id_, 2, path="b", name="b", status="failed", attempt=2, error=error)
    steps = get(id_, steps=True).steps
    assert [(each.path, each.attempt, each.status) for each in steps] == [
        ("a", 1, StepState.COMPLETED),
        ("b", 1, StepState.FAILED),
        ("b", 2, StepState.FAILED),
    ]
    assert (steps[0].output, steps[0].duration_ms, steps[1].error) == ({"x": 1}, 12, error)
    assert (steps[0].compensation_for, steps[0].is_compensation) == (None, False)
    assert steps[0].child_id is None


BEGUN = {
    "path": "block/b",
    "name": "b",
    "visit": 1,
    "attempt": 2,
    "started_at": "2030-01-02T03:04:05+00:00",
}


def test_the_step_in_progress_is_shown_as_reported(tables, get):
    id_ = tables.add("running", begun=BEGUN, current_step="a")
    tables.add_step(id_, 1, path="a", name="a")
    tables.add_step(id_, 2, path="block/b", name="b", status="failed", attempt=1)
    execution = get(id_, steps=True)
    running = execution.steps[-1]
    assert (running.path, running.name, running.visit, running.attempt) == ("block/b", "b", 1, 2)
    assert running.status is StepState.RUNNING
    assert running.started_at == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (running.completed_at, running.duration_ms, running.output) == (None, None, None)
    assert execution.current_step == "block/b"
    assert len(execution.steps) == 3
    assert get(id_, steps=True).steps[-1].id == running.id


@pytest.mark.parametrize(
    "recorded",
    [{"status": "failed", "attempt": 2}, {"status": "completed", "attempt": 1}],
    ids=["it has failed since", "it has completed since"],
)
def test_a_report_that_is_older_than_the_journal_is_not_shown(tables, get, recorded):
    id_ = tables.add("running", begun=BEGUN)
    tables.add_step(id_, 1, path="block/b", name="b", **recorded)
    assert [each.status for each in get(id_, steps=True).steps] == [recorded["status"]]


def test_a_visit_that_waits_is_a_waiting_step(tables, get):
    id_ = tables.add("waiting", due_in=None, current_step="block/ask")
    tables.add_step(id_, 1, path="block/ask", name="ask", status="failed", attempt=1)
    tables.add_wait(id_, path="block/ask", ordinal=1, status="answered")
    tables.add_wait(id_, path="block/ask", ordinal=2)
    steps = get(id_, steps=True).steps
    assert [(each.name, each.attempt, each.status) for each in steps] == [
        ("ask", 1, StepState.FAILED),
        ("ask", 2, StepState.WAITING),
    ]
    assert steps[1].started_at is not None


def test_pages_go_through_everything_once_from_both_ends(tables, ids):
    instant = tables.sql("SELECT now() AS now")[0]["now"]
    for number in range(23):
        tables.add(inserted_at=instant + timedelta(seconds=number // 3))  # equal instants too
    newest = ids(order="newest")
    assert ids(order="oldest") == newest[::-1]
    for order, whole in (("newest", newest), ("oldest", newest[::-1])):
        pages, after = [], None
        while page := ids(order=order, limit=5, after=after):
            pages += page
            after = page[-1]
        assert pages == whole


def test_a_new_row_does_not_shift_the_pages(tables, ids):
    for _ in range(6):
        tables.add()
    first = ids(limit=3)
    tables.add()
    second = ids(limit=3, after=first[-1])
    assert not set(first) & set(second)


def test_lists_leave_out_contexts_outputs_and_steps(tables, database):
    tables.add("completed", input={"a": 1})
    (execution,) = database.run(reports.list_executions, Filters())
    assert (execution.context, execution.output, execution.steps) == (None, None, None)
    assert execution.input == {"a": 1}


def test_lists_show_the_reported_step(tables, database):
    tables.add("running", begun=BEGUN, current_step="old")
    (execution,) = database.run(reports.list_executions, Filters())
    assert execution.current_step == "block/b"


def test_each_filter_alone(tables, database, ids):
    root = tables.add("waiting", due_in=None, workflow="a", queue="q1")
    child = tables.add("completed", workflow="b", parent_id=root)
    wanted = {
        Filters(workflow="a"): [root],
        Filters(status="completed"): [child],
        Filters(status=State.WAITING): [root],
        Filters(status=("waiting", "failed")): [root],
        Filters(status=()): [],
        Filters(queue="q1"): [root],
        Filters(parent=root): [child],
        Filters(parent="no id"): [],
        Filters(top_level=True): [root],
        Filters(workflow="a", status="completed"): [],
        Filters(): [root, child],
    }
    for filters, expected in wanted.items():
        assert sorted(ids(filters)) == sorted(expected), filters
        assert database.run(reports.count_executions, filters) == len(expected), filters


def test_since_is_from_then_on_and_until_is_before_then(tables, database, ids):
    zero = datetime(2030, 1, 1, tzinfo=UTC)
    first, second, third = (
        tables.add(inserted_at=zero + timedelta(hours=number)) for number in range(3)
    )
    hour = zero + timedelta(hours=1)
    assert ids(Filters(since=hour), order="oldest") == [second, third]
    assert ids(Filters(until=hour)) == [first]
    both = Filters(since=hour, until=zero + timedelta(hours=2))
    assert ids(both) == [second]
    assert database.run(reports.count_executions, both) == 1


def test_an_id_is_found_by_the_beginning_of_its_hex_digits(tables, ids):
    one = tables.add(id="abcd1234-5678-4000-8000-000000000000")
    two = tables.add(id="abcd1234-9999-4000-8000-000000000000")
    tables.add(id="abce0000-0000-4000-8000-000000000000")
    assert sorted(ids(Filters(id_prefix="abcd"))) == [one, two]
    assert sorted(ids(Filters(id_prefix="ABCD1234-"))) == [one, two]
    assert ids(Filters(id_prefix="abcd1234-5")) == [one]
    assert ids(Filters(id_prefix="abcd12349")) == [two]
    assert ids(Filters(id_prefix=one)) == [one]
    assert ids(Filters(id_prefix="0000")) == []


@pytest.mark.parametrize("prefix", ["", "abc", "abcg", "a%cd", "a_cd", "----", "a" * 33, 1234])
def test_a_prefix_that_is_none_is_refused(database, prefix):
    with pytest.raises(ValueError, match="id_prefix must be 4 to 32 hex digits"):
        database.run(reports.list_executions, Filters(id_prefix=prefix))


@pytest.mark.parametrize(
    ("filters", "page", "message"),
    [
        ({"status": "done"}, {}, "status must be among pending, running"),
        ({"status": ["failed", "done"]}, {}, "status must be among"),
        ({"since": datetime(2030, 1, 1)}, {}, "since must be a datetime with a time zone"),  # noqa: DTZ001
        ({"until": "2030-01-01"}, {}, "until must be a datetime with a time zone"),
        ({}, {"limit": 0}, "limit must be a whole number of at least 1"),
        ({}, {"limit": True}, "limit must be a whole number of at least 1"),
        ({}, {"order": "random"}, 'order must be "newest" or "oldest"'),
    ],
)
def test_a_filter_that_is_none_is_refused(database, filters, page, message):
    with pytest.raises(ValueError, match=message):
        database.run(reports.list_executions, Filters(**filters), **page)


@pytest.mark.parametrize("after", ["no", "00000000-0000-4000-8000-0000000000ff"])
def test_a_page_after_nothing_is_not_found(tables, ids, after):
    with pytest.raises(ExecutionNotFound):
        ids(after=after)


def test_a_context_may_be_as_deep_as_a_value_may_be(tables, get):
    deep = 1
    for _ in range(199):
        deep = [deep]
    id_ = tables.add("completed")
    tables.add_step(id_, 1, changes=[["set", "deep", deep]])
    assert get(id_).context == {"deep": deep}
