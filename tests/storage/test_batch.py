"""Batched commits: the same rows as one by one, a verdict for each execution, repeatable."""

from typing import Any

import psycopg
import pytest

from durable_otp.engine.journal import Attempt, Completion
from durable_otp.storage.batch import StepRow, Verdict, settle_batch
from durable_otp.storage.batched_journal import BatchedJournal
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal import PostgresJournal
from durable_otp.storage.journal_writing import Holder
from tests.support.tables import HOLDER, Tables

TOKEN = HOLDER["lock_token"]
OTHER = "00000000-0000-4000-8000-0000000000ff"
FRESH = ("id", "execution_id", "started_at", "completed_at")


class Kept:
    """An outbox that keeps what is put into it."""

    def __init__(self) -> None:
        self.rows: list[StepRow] = []

    def put(self, row: StepRow) -> None:
        self.rows.append(row)

    def flush(self) -> None:
        pass


def completion(number: int, *, last: bool = False, **fields: Any) -> Completion:
    return Completion(
        attempt=Attempt(number, f"step{number}", f"step{number}", "step", 1, 1),
        **(
            {
                "output": {"n": number, "text": 'a "quoted" \\ line\né ☃'},
                "changes": [["set", "n", number]],
                "snapshot": {"n": number} if number % 2 else None,
                "next_path": None if last else f"step{number + 1}",
                "jumps": number - 1,
                "logs": [{"message": "said\n"}],
                "duration": 0.25,
                "compensation": "undo" if number == 1 else None,
                "value": {"given": number} if last else None,
            }
            | fields
        ),
    )


def rows_of(
    database: Database, execution: str, *completions: Completion, token: str = TOKEN
) -> list[StepRow]:
    outbox = Kept()
    journal = BatchedJournal(database, Holder(execution, token), outbox)
    for each in completions:
        journal.checkpoint(each)
    return outbox.rows


def steps(tables: Tables, execution: str) -> list[dict[str, Any]]:
    found = tables.sql(
        "SELECT * FROM durable.step_executions WHERE execution_id = %s ORDER BY position",
        [execution],
    )
    return [{key: value for key, value in row.items() if key not in FRESH} for row in found]


def test_a_batch_writes_what_a_journal_writes_one_by_one(
    tables: Tables, database: Database
) -> None:
    one, two = tables.add("running"), tables.add("running")
    given = [completion(1), completion(2), completion(3, last=True)]
    journal = PostgresJournal(database, Holder(one, TOKEN))
    for each in given:
        journal.checkpoint(each)
    settled = database.run(settle_batch, rows_of(database, two, *given))
    assert settled.verdicts == {(two, TOKEN): Verdict.SETTLED}
    assert steps(tables, two) == steps(tables, one)
    rows = [tables.row(each) for each in (one, two)]
    for key in ("status", "result", "lock_token", "locked_by", "begun", "current_step"):
        assert rows[0][key] == rows[1][key], key
    assert rows[1]["completed_at"] is not None


def test_a_batch_holds_many_executions_and_ends_only_those_that_have_ended(
    tables: Tables, database: Database
) -> None:
    ids = [tables.add("running") for _ in range(20)]
    rows = [
        row
        for number, each in enumerate(ids)
        for row in rows_of(database, each, completion(1, last=number % 2 == 0))
    ]
    verdicts = database.run(settle_batch, rows).verdicts
    assert set(verdicts.values()) == {Verdict.SETTLED}
    assert [tables.row(each)["status"] for each in ids] == ["completed", "running"] * 10


def test_a_claim_that_is_lost_writes_nothing_and_its_neighbour_all(
    tables: Tables, database: Database
) -> None:
    lost, ours = tables.add("running", lock_token=OTHER), tables.add("running")
    gone = new_id()
    rows = [
        *rows_of(database, lost, completion(1), completion(2, last=True)),
        *rows_of(database, ours, completion(1, last=True)),
        *rows_of(database, gone, completion(1, last=True)),
    ]
    verdicts = database.run(settle_batch, rows).verdicts
    assert verdicts == {
        (lost, TOKEN): Verdict.LOST,
        (ours, TOKEN): Verdict.SETTLED,
        (gone, TOKEN): Verdict.LOST,
    }
    assert steps(tables, lost) == []
    assert tables.row(lost)["status"] == "running"
    assert tables.row(ours)["status"] == "completed"


def test_an_old_holders_steps_are_not_written_under_the_new_ones_claim(
    tables: Tables, database: Database
) -> None:
    execution = tables.add("running", lock_token=OTHER)
    rows = [
        *rows_of(database, execution, completion(1)),
        *rows_of(database, execution, completion(1, output={"by": "the new one"}), token=OTHER),
    ]
    verdicts = database.run(settle_batch, rows).verdicts
    assert verdicts == {(execution, TOKEN): Verdict.LOST, (execution, OTHER): Verdict.SETTLED}
    assert [row["output"] for row in steps(tables, execution)] == [{"by": "the new one"}]


def test_a_locked_row_holds_up_nobody_else(tables: Tables, database: Database) -> None:
    locked, free = tables.add("running"), tables.add("running")
    rows = rows_of(database, locked, completion(1, last=True))
    both = rows + rows_of(database, free, completion(1, last=True))
    with psycopg.connect(tables.dsn) as other:
        other.execute(
            f"SELECT FROM {tables.schema}.workflow_executions WHERE id = %s FOR UPDATE".encode(),
            [locked],
        )
        verdicts = database.run(settle_batch, both).verdicts
        assert verdicts == {(locked, TOKEN): Verdict.BUSY, (free, TOKEN): Verdict.SETTLED}
        assert steps(tables, locked) == []
    assert database.run(settle_batch, rows).verdicts == {(locked, TOKEN): Verdict.SETTLED}
    assert tables.row(locked)["status"] == "completed"


@pytest.mark.parametrize("last", [True, False])
def test_repeating_a_batch_changes_nothing(tables: Tables, database: Database, last: bool) -> None:
    execution = tables.add("running")
    rows = rows_of(database, execution, completion(1), completion(2, last=last))
    once = database.run(settle_batch, rows)
    before = (steps(tables, execution), tables.row(execution))
    assert database.run(settle_batch, rows) == once
    assert (steps(tables, execution), tables.row(execution)) == before


def test_the_parents_of_children_that_end_are_named_also_when_the_answer_was_lost(
    tables: Tables, database: Database
) -> None:
    parent = tables.add("waiting")
    child = tables.add("running", parent_id=parent)
    rows = rows_of(database, child, completion(1, last=True))
    for _ in range(2):
        assert database.run(settle_batch, rows).parents == (parent,)


def test_whoever_waits_for_the_end_is_told(tables: Tables, database: Database) -> None:
    watched, other = tables.add("running", watched=True), tables.add("running")
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        connection.execute(f'LISTEN "{tables.schema}:done"'.encode())
        rows = rows_of(database, watched, completion(1, last=True))
        database.run(settle_batch, rows + rows_of(database, other, completion(1, last=True)))
        heard = [each.payload for each in connection.notifies(timeout=5, stop_after=1)]
    assert heard == [watched]
