"""The journal in PostgreSQL: one fenced write per step, repeatable when its answer was lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from durable_otp.engine.journal import Attempt, Completion, Failure
from durable_otp.errors import ClaimLost
from durable_otp.storage import journal_writing
from durable_otp.storage.database import Database
from durable_otp.storage.journal import PostgresJournal
from durable_otp.storage.journal_writing import Holder
from durable_otp.storage.statements import Statement, catalogue
from durable_otp.workflow.wait import WaitRequest
from tests.support.tables import HOLDER, Tables

ERROR = {"type": "ValueError", "message": "no"}


def attempt(number: int, run: int = 1) -> Attempt:
    return Attempt(number, f"step{number}", f"step{number}", "step", 1, run)


def completion(number: int, *, last: bool = False, **fields: Any) -> Completion:
    return Completion(
        attempt=attempt(number),
        output={"n": number},
        changes=[["set", "n", number]],
        snapshot=fields.get("snapshot"),
        next_path=None if last else f"step{number + 1}",
        jumps=0,
        logs=[{"message": "said"}],
        duration=0.25,
    )


def failure(run: int = 1) -> Failure:
    return Failure(attempt(1, run), ERROR, [], 0.1)


WRITES: dict[str, Callable[[PostgresJournal], None]] = {
    "checkpoint": lambda journal: journal.checkpoint(completion(1)),
    "complete": lambda journal: journal.checkpoint(completion(1, last=True)),
    "record_failure": lambda journal: journal.record_failure(failure()),
    "retry_later": lambda journal: journal.retry_later(failure(), 60),
    "fail": lambda journal: journal.fail(ERROR, "step1", failure()),
    "fail_without_attempt": lambda journal: journal.fail(ERROR, None, None),
    "suspend": lambda journal: journal.suspend("step1", 1, [(0, WaitRequest("sleep", seconds=9))]),
}
STATUS = {
    "checkpoint": "running", "complete": "completed", "record_failure": "running",
    "retry_later": "pending", "fail": "failed", "fail_without_attempt": "failed",
    "suspend": "waiting",
}  # fmt: skip


STRANGER = "00000000-0000-4000-8000-0000000000ff"


def journal_of(database: Database, row: str, token: str = HOLDER["lock_token"]) -> PostgresJournal:
    return PostgresJournal(database, Holder(row, token))


@pytest.mark.parametrize("name", ["running", "compensating"])
def test_a_claim_is_asked_after_when_it_was_not_known_for_a_while(
    database: Database, tables: Tables, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    row = tables.add(name, **HOLDER)
    mine, strangers = journal_of(database, row), journal_of(database, row, STRANGER)
    monkeypatch.setattr(journal_writing, "KNOWN_FOR", 1e9)
    strangers.confirm()  # nothing was asked
    monkeypatch.setattr(journal_writing, "KNOWN_FOR", 0.0)
    for journal in (mine, mine.compensations):
        journal.confirm()
    for journal in (strangers, strangers.compensations):
        with pytest.raises(ClaimLost):
            journal.confirm()


@pytest.mark.parametrize("write", WRITES)
def test_every_write_holds_under_its_token_only(
    database: Database, tables: Tables, write: str
) -> None:
    row = tables.add("running")
    before = tables.row(row)
    stranger = journal_of(database, row, STRANGER)
    with pytest.raises(ClaimLost):
        WRITES[write](stranger)
    assert tables.row(row) == before
    assert tables.sql("SELECT id FROM durable.step_executions") == []
    assert tables.sql("SELECT id FROM durable.waits") == []
    WRITES[write](journal_of(database, row))
    assert tables.status(row) == STATUS[write]
    assert (tables.row(row)["lock_token"] is None) is (STATUS[write] != "running")


class Forgetful(Database):
    """Loses the answer to the first write after it was committed."""

    forgotten = False

    def connection(self) -> Any:
        return _Forgetting(super().connection(), self)


class _Forgetting:
    def __init__(self, connection: Any, database: Forgetful) -> None:
        self._connection = connection
        self._database = database
        self._in_transaction = False

    def run(self, statement: Statement) -> Any:
        rows = self._connection.run(statement)
        sql = catalogue()[statement.name].sql
        if not self._in_transaction and any(word in sql for word in ("INSERT", "UPDATE")):
            self._forget()
        return rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._in_transaction = True
        with self._connection.transaction():
            yield
        self._forget()

    def _forget(self) -> None:
        if not self._database.forgotten:
            self._database.forgotten = True
            self._connection.close()
            raise psycopg.OperationalError("the answer was lost")


@pytest.fixture
def forgetful(tables: Tables) -> Iterator[Forgetful]:
    database = Forgetful(tables.dsn, tables.schema, role="test")
    yield database
    database.close()


@pytest.mark.parametrize("write", [name for name in WRITES if name != "fail_without_attempt"])
def test_a_write_whose_answer_was_lost_is_found_again(
    forgetful: Forgetful, tables: Tables, write: str
) -> None:
    row = tables.add("running")
    WRITES[write](journal_of(forgetful, row))
    assert forgetful.forgotten
    assert tables.status(row) == STATUS[write]
    written = tables.sql("SELECT id FROM durable.step_executions")
    waits = tables.sql("SELECT id FROM durable.waits")
    assert len(written) + len(waits) == 1


def test_a_visit_completes_once_whoever_writes(database: Database, tables: Tables) -> None:
    row = tables.add("running")
    journal = journal_of(database, row)
    journal.checkpoint(completion(1))
    with pytest.raises(ClaimLost):
        journal.checkpoint(completion(1))
    assert len(tables.sql("SELECT id FROM durable.step_executions")) == 1


def test_entries_begin_with_the_newest_snapshot(database: Database, tables: Tables) -> None:
    journal = journal_of(database, tables.add("running"))
    for number in range(1, 6):
        snapshot = {"n": 3} if number == 3 else None
        journal.checkpoint(completion(number, snapshot=snapshot))
    entries = journal.entries()
    assert [(entry.position, entry.next_path) for entry in entries] == [
        (3, "step4"), (4, "step5"), (5, "step6"),
    ]  # fmt: skip
    assert entries[0].snapshot == {"n": 3}


def test_a_visit_remembers_its_attempts_and_its_waits(database: Database, tables: Tables) -> None:
    row = tables.add("running")
    journal = journal_of(database, row)
    journal.record_failure(failure(1))
    tables.add_step(row, 1, status="failed", attempt=2, error={"type": "worker_crashed"})
    journal.suspend("step1", 1, [(0, WaitRequest("sleep", seconds=0))])
    record = journal.visit("step1")
    assert (record.recorded_attempts, record.failed_attempts) == (2, 1)
    assert (record.answers[0].kind, record.answers[0].is_answered) == ("sleep", True)


def test_a_sleep_asked_for_again_keeps_its_due_time(database: Database, tables: Tables) -> None:
    row = tables.add("running")
    journal_of(database, row).suspend("step1", 1, [(0, WaitRequest("sleep", seconds=60))])
    (first,) = tables.sql("SELECT due_at FROM durable.waits")
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'running', locked_by = 'x', "
        "locked_at = now(), lock_token = %s WHERE id = %s",
        [HOLDER["lock_token"], row],
    )
    journal_of(database, row).suspend("step1", 1, [(0, WaitRequest("sleep", seconds=600))])
    assert tables.sql("SELECT due_at FROM durable.waits") == [first]
    assert tables.row(row)["scheduled_at"] == first["due_at"]
