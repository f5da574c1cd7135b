"""Children that end at the same moment: from eight connections, each in a thread of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_otp.errors import AlreadyFinished
from durable_otp.storage.database import Database
from durable_otp.storage.executions import cancel
from durable_otp.storage.families import children_ended
from tests.support.families import children_of, open_block, statuses
from tests.support.tables import Tables, heard

CONNECTIONS = 8


def at_once(tables: Tables, work: Callable[[Database, int], None]) -> None:
    """Run the same work in several threads, each with a connection, all from the same moment."""
    ready = threading.Barrier(CONNECTIONS)

    def one(number: int) -> None:
        database = Database(tables.dsn, tables.schema, role=f"racer {number}")
        database.connection()
        ready.wait()
        try:
            work(database, number)
        finally:
            database.close()

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for future in [threads.submit(one, number) for number in range(CONNECTIONS)]:
            future.result()


END = (
    "UPDATE {s}.workflow_executions SET status = %s, completed_at = now(), result = '1' "
    "WHERE id = %s AND completed_at IS NULL"
)


def end_quickly(database: Database, tables: Tables, parent: str, child: str, status: str) -> None:
    database.connection().execute(END.format(s=tables.schema).encode(), [status, child])
    database.run(children_ended, [parent])


def test_a_thousand_siblings_that_end_together_wake_their_parent_once(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables, 1000)
    ids = [child["id"] for child in children_of(tables, parent)]

    def work(mine: Database, number: int) -> None:
        for child in ids[number::CONNECTIONS]:
            end_quickly(mine, tables, parent, child, "completed")

    with tables.listen("queue") as listening:
        at_once(tables, work)
        assert heard(listening) == ["default"]
    assert tables.status(parent) == "pending"
    assert set(statuses(tables, parent)) == {"completed"}


LIVE = "SELECT id::text FROM {s}.workflow_executions WHERE parent_id = %s AND completed_at IS NULL"


def test_slots_are_filled_exactly_however_many_end_together(
    database: Database, tables: Tables
) -> None:
    parent = open_block(database, tables, 200, max_concurrency=CONNECTIONS)
    most = []

    def work(mine: Database, number: int) -> None:
        statement = LIVE.format(s=tables.schema).encode()
        for _ in range(1000):
            rows = mine.connection().execute(statement, [parent]).fetchall()
            most.append(len(rows))
            if not rows:
                return
            end_quickly(mine, tables, parent, rows[number % len(rows)]["id"], "completed")

    at_once(tables, work)
    assert max(most) <= CONNECTIONS
    assert tables.status(parent) == "pending"
    assert [child["parent_index"] for child in children_of(tables, parent)] == list(range(200))


def test_failures_and_a_cancel_against_ending_children_end_every_row_once(
    database: Database, tables: Tables
) -> None:
    parents = [open_block(database, tables, 24) for _ in range(4)]
    root = tables.add("waiting")
    tables.sql("UPDATE durable.workflow_executions SET parent_id = %s WHERE id = ANY(%s)",
               [root, parents])  # fmt: skip
    families = {parent: [c["id"] for c in children_of(tables, parent)] for parent in parents}

    def work(mine: Database, number: int) -> None:
        if number == CONNECTIONS - 1:
            mine.run(cancel, root, "enough")
            return
        for place in range(number, 24, CONNECTIONS - 1):
            for parent, ids in families.items():
                status = "failed" if place == 20 else "completed"
                end_quickly(mine, tables, parent, ids[place], status)

    at_once(tables, work)
    assert tables.status(root) == "cancelled"
    for parent in parents:
        assert tables.status(parent) == "cancelled"
        assert set(statuses(tables, parent)) <= {"completed", "failed", "cancelled"}
    with pytest.raises(AlreadyFinished):
        database.run(cancel, root, None)
