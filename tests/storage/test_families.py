"""Blocks in PostgreSQL: how they are opened, and what the end of a child does to its parent."""

import psycopg
import pytest

from durable_otp.errors import ClaimLost
from durable_otp.storage.database import Database
from durable_otp.storage.executions import cancel
from durable_otp.storage.families import (
    cancel_orphans,
    children_ended,
    left_parents,
    parents_of_orphans,
)
from durable_otp.storage.family_journal import _opening, open_batch, origin
from durable_otp.storage.identity import new_id
from durable_otp.storage.reports import get_execution, list_children
from tests.support.families import (
    FINAL_STATUSES,
    TOKEN,
    children_of,
    claim,
    end,
    family_of,
    open_block,
    opening,
    set_end,
    statuses,
)
from tests.support.tables import Tables, heard

STRANGER = "00000000-0000-4000-8000-0000000000ff"


def test_an_opened_block_is_its_children_and_a_parent_that_waits_for_them(
    database: Database, tables: Tables
) -> None:
    with tables.listen("queue") as listening:
        parent = open_block(database, tables)
        assert heard(listening) == ["kids"]
    row = tables.row(parent)
    assert (row["status"], row["lock_token"], row["scheduled_at"]) == ("waiting", None, None)
    assert [
        (c["status"], c["queue"], c["priority"], c["parent_path"], c["parent_index"], c["input"])
        for c in children_of(tables, parent)
    ] == [("pending", "kids", 4, "pack", number, {"n": number}) for number in range(3)]
    (wait,) = tables.sql("SELECT kind, ordinal, status FROM durable.waits")
    assert wait == {"kind": "child", "ordinal": 0, "status": "open"}
    (block,) = tables.sql("SELECT total, created, opened, items, context FROM durable.fan_outs")
    assert block == {
        "total": 3, "created": 3, "opened": 3, "items": None, "context": {"before": 1},
    }  # fmt: skip


def test_a_child_begins_with_the_block_s_context_and_its_item(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables, results={"x": ["ok", 1]})
    child = children_of(tables, parent)[2]["id"]
    sibling = database.run(origin, child).sibling
    assert sibling is not None
    assert (sibling.start_path, sibling.index, sibling.item) == ("pack", 2, {"n": 2})
    assert (sibling.input, sibling.context, sibling.is_item) == (
        {"given": True}, {"before": 1}, True,
    )  # fmt: skip
    assert sibling.results == {"x": ["ok", 1]}
    execution = database.run(get_execution, child)
    assert (execution.context, execution.input, execution.parent_id) == (
        {"before": 1}, {"n": 2}, parent,
    )  # fmt: skip


def test_each_node_of_a_parallel_block_is_a_child_on_its_own_queue(
    database: Database, tables: Tables
) -> None:
    starts = [("p/a", "slow"), ("p/b", "default")]
    parent = open_block(database, tables, 2, path="p", kind="parallel", starts=starts, items=None)
    assert [(c["start_path"], c["queue"], c["input"]) for c in children_of(tables, parent)] == [
        ("p/a", "slow", None),
        ("p/b", "default", None),
    ]


def test_no_transaction_of_an_opening_has_more_than_a_thousand_rows(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables, 2500, max_concurrency=1200)
    assert tables.status(parent) == "waiting"
    counts = tables.sql(
        "SELECT count(*)::integer AS n FROM ("
        "SELECT xmin::text FROM durable.workflow_executions WHERE parent_id IS NOT NULL "
        "UNION ALL SELECT xmin::text FROM durable.fan_out_items) AS rows GROUP BY xmin ORDER BY n"
    )
    assert [row["n"] for row in counts] == [500, 1000, 1000]
    assert len(children_of(tables, parent)) == 1200


def test_an_opening_that_died_between_two_batches_is_finished_by_whoever_comes(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    first = {**_opening(opening(2500)), "id": parent, "lock_token": TOKEN, "wait_id": new_id()}
    assert database.run(open_batch, first, 2500) is False
    assert tables.status(parent) == "running"
    set_end(tables, children_of(tables, parent)[0]["id"])
    tables.sql("UPDATE durable.workflow_executions SET lock_token = %s WHERE id = %s",
               [STRANGER, parent])  # fmt: skip
    with pytest.raises(ClaimLost):
        database.run(open_batch, first, 2500)
    assert len(children_of(tables, parent)) == 1000
    resumed = family_of(database, parent, STRANGER)
    state = resumed.block("pack", 1)
    assert state is not None
    assert (state.opened, state.total, state.is_live) == (1000, 2500, True)
    resumed.open(opening(2500, items=None))
    assert tables.status(parent) == "waiting"
    items = [child["input"]["n"] for child in children_of(tables, parent)]
    assert items == list(range(2500))


def test_a_stranger_opens_nothing(database: Database, tables: Tables) -> None:
    parent = tables.add("running")
    with pytest.raises(ClaimLost):
        family_of(database, parent, STRANGER).open(opening())
    assert tables.sql("SELECT * FROM durable.fan_outs") == []
    assert children_of(tables, parent) == []


def test_an_opening_whose_answer_was_lost_is_found_again(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    given = {**_opening(opening(3)), "id": parent, "lock_token": TOKEN, "wait_id": new_id()}
    assert database.run(open_batch, given, 3) is True
    assert database.run(open_batch, given, 3) is True
    assert len(children_of(tables, parent)) == 3


# the ends of children


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_the_last_end_of_whatever_kind_wakes_the_parent(
    database: Database, tables: Tables, status: str
) -> None:
    parent = open_block(database, tables, on_error="complete_all")
    one, two, three = [child["id"] for child in children_of(tables, parent)]
    end(database, tables, two)
    end(database, tables, one)
    assert tables.status(parent) == "waiting"
    with tables.listen("queue") as listening:
        end(database, tables, three, status)
        assert heard(listening) == ["default"]
    assert tables.status(parent) == "pending"
    assert tables.sql("SELECT status FROM durable.waits") == [{"status": "answered"}]


def test_an_end_that_asks_for_nothing_does_not_wait_for_the_parent_s_row(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables)
    child = children_of(tables, parent)[0]["id"]
    with psycopg.connect(tables.dsn) as holding:
        holding.execute(
            f"SELECT FROM {tables.schema}.workflow_executions WHERE id = %s FOR UPDATE".encode(),
            [parent],
        )
        database.connection().execute("SET lock_timeout = '1s'")
        end(database, tables, child)
    assert tables.status(parent) == "waiting"


@pytest.mark.parametrize("ending", [1, 2])
def test_as_many_children_begin_as_may_run(database: Database, tables: Tables, ending: int) -> None:
    parent = open_block(database, tables, 5, max_concurrency=2)
    ended = 0
    while ended < 5:
        live = [c["id"] for c in children_of(tables, parent) if c["status"] == "pending"]
        assert len(live) == min(2, 5 - ended)
        for child in live[:ending]:
            set_end(tables, child)
            ended += 1
        database.run(children_ended, [parent])
    assert tables.status(parent) == "pending"
    assert [child["input"]["n"] for child in children_of(tables, parent)] == list(range(5))
    assert tables.sql("SELECT * FROM durable.fan_out_items") == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "compensated", "compensation_failed"])
def test_a_failure_that_is_fatal_cancels_the_siblings_and_all_below_them(
    database: Database, tables: Tables, status: str
) -> None:
    parent = open_block(database, tables, 5, max_concurrency=3)
    failed, done, live = [child["id"] for child in children_of(tables, parent)]
    set_end(tables, done)
    claim(tables, live)
    grandchild = tables.add("pending", parent_id=live)
    with tables.listen("cancel") as listening:
        end(database, tables, failed, status)
        assert [told.split()[0] for told in heard(listening)] == [live]
    assert statuses(tables, parent) == [status, "completed", "cancelled"]
    assert tables.status(grandchild) == "cancelled"
    assert tables.row(live)["error"]["message"] == "Child pack/0 of the same block failed."
    assert tables.status(parent) == "pending"


def test_a_sibling_that_compensates_is_waited_for(database: Database, tables: Tables) -> None:
    parent = open_block(database, tables, 5, max_concurrency=3)
    failed, _, undoing = [child["id"] for child in children_of(tables, parent)]
    tables.sql("UPDATE durable.workflow_executions SET status = 'compensating' WHERE id = %s",
               [undoing])  # fmt: skip
    end(database, tables, failed, "failed")
    assert statuses(tables, parent) == ["failed", "cancelled", "compensating"]
    assert tables.status(parent) == "waiting"
    assert database.run(left_parents, 10) == []
    end(database, tables, undoing, "compensated")
    assert tables.status(parent) == "pending"


def test_without_fail_fast_a_failure_cancels_nothing(database: Database, tables: Tables) -> None:
    parent = open_block(database, tables, on_error="complete_all")
    end(database, tables, children_of(tables, parent)[0]["id"], "failed")
    assert statuses(tables, parent) == ["failed", "pending", "pending"]
    assert tables.status(parent) == "waiting"


def test_a_parent_that_runs_is_not_woken_and_looks_for_itself_when_it_waits(
    database: Database, tables: Tables
) -> None:
    parent = tables.add("running")
    given = {**_opening(opening(1001)), "id": parent, "lock_token": TOKEN, "wait_id": new_id()}
    database.run(open_batch, given, 1001)
    end(database, tables, children_of(tables, parent)[0]["id"], "failed")
    assert tables.status(parent) == "running"
    family_of(database, parent).open(opening(1001, items=None))
    assert tables.status(parent) == "pending"
    assert set(statuses(tables, parent)) == {"failed", "cancelled"}


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_an_end_that_nobody_told_of_is_found(
    database: Database, tables: Tables, status: str
) -> None:
    parent, other = open_block(database, tables, 1), open_block(database, tables, 1)
    set_end(tables, children_of(tables, parent)[0]["id"], status)
    assert database.run(left_parents, 10) == [parent]
    database.run(children_ended, [parent])
    assert (tables.status(parent), tables.status(other)) == ("pending", "waiting")
    assert database.run(left_parents, 10) == []


def test_a_parent_that_was_cancelled_stays_so(database: Database, tables: Tables) -> None:
    parent = open_block(database, tables, 5, max_concurrency=2)
    database.run(cancel, parent, None)
    database.run(children_ended, [parent])
    assert tables.status(parent) == "cancelled"
    assert statuses(tables, parent) == ["cancelled", "cancelled"]


def test_a_block_that_is_waited_for_again_has_an_open_wait(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables, 2)
    one, two = [child["id"] for child in children_of(tables, parent)]
    claim(tables, parent)
    tables.sql("UPDATE durable.waits SET status = 'answered'")
    family_of(database, parent).open(opening(2, items=None))
    assert tables.status(parent) == "waiting"
    end(database, tables, one)
    end(database, tables, two)
    assert tables.status(parent) == "pending"


def test_children_are_listed_in_the_order_of_their_creation(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables, 1005)
    ids = [child["id"] for child in children_of(tables, parent)]
    assert [each.id for each in database.run(list_children, parent)] == ids
    set_end(tables, ids[7])
    assert [each.id for each in database.run(list_children, parent, "completed")] == [ids[7]]


@pytest.mark.parametrize("status", ["failed", "compensating", "compensated", "cancelled"])
def test_children_of_a_parent_that_is_at_work_no_longer_are_cancelled(
    database: Database, tables: Tables, status: str
) -> None:
    parent, other = open_block(database, tables, 2), open_block(database, tables, 2)
    done, live = [child["id"] for child in children_of(tables, parent)]
    called = tables.add("waiting", parent_id=live)
    set_end(tables, done)
    assert database.run(parents_of_orphans, 10) == []
    assert database.run(cancel_orphans, parent) == 0
    if status == "compensating":
        tables.sql("UPDATE durable.workflow_executions SET status = 'compensating', "
                   "scheduled_at = durable.now() WHERE id = %s", [parent])  # fmt: skip
    else:
        set_end(tables, parent, status)
    assert database.run(parents_of_orphans, 10) == [parent]
    assert database.run(cancel_orphans, parent) == 2
    assert statuses(tables, parent) == ["completed", "cancelled"]
    assert tables.status(called) == "cancelled"
    assert tables.row(live)["error"]["message"] == f"Its parent is {status}."
    assert statuses(tables, other) == ["pending", "pending"]
    assert database.run(parents_of_orphans, 10) == []
