"""The verbs of storage, each performed on a database and on the model of it at once."""

from datetime import timedelta
from typing import Any

import pytest

from durable_otp.errors import AlreadyFinished, NotRetryable
from durable_otp.storage import (
    compensations,
    deadlines,
    executions,
    journal,
    journal_writing,
    queue,
    retrying,
    settlement,
    waits,
)
from durable_otp.storage.aftermath import run_ending
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.workflow.execution import Settled
from durable_otp.workflow.state import State
from durable_otp.workflow.suspension import WaitRequest
from tests.support.journal_rows import ERROR, attempt, completion, failure
from tests.support.tables import Tables
from tests.support.verb_model import (
    BACKOFF,
    HELD,
    MAX_CRASHES,
    MAX_INTERRUPTIONS,
    Model,
    Row,
)

QUEUE = "q"
ONE_AND_A_HALF = 90.0


class BothSides:
    """Two connections to a schema, and the model; every verb is asserted to answer as it says."""

    tables: Tables
    databases: tuple[Database, Database]

    def begin_anew(self) -> None:
        """Forget every row."""
        self.tables.empty()
        self.model = Model()
        self.given_out: list[str] = []
        self.before: dict[str, State] = {}

    # what begins and who works on it

    def start(self, connection: int, priority: int, delay: float, timeout: float | None) -> None:
        scheduled_at = self._now() + timedelta(seconds=delay) if delay else None
        how = executions.Start("w", "1", QUEUE, priority, scheduled_at, timeout)
        (id_,) = self.run(connection, executions.start, how, [executions.NewExecution("{}")])
        self.model.start(id_, priority, delay, timeout)

    def claim(self, connection: int, limit: int, holder: str) -> None:
        wanted = self.model.claimable()[:limit]
        claimed = self.run(connection, queue.fetch_jobs, QUEUE, limit, holder, None)
        assert [claim.id for claim in claimed] == [row.id for row in wanted]
        for claim, row in zip(claimed, wanted, strict=True):
            self._give_out(claim.lock_token)
            self.model.claim(row, claim.lock_token, holder)

    def heartbeat(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        settled = self.run(connection, queue.heartbeat_many, [(row.id, token)])
        if self.model.holds(row, token, *HELD):
            row.beat = self.model.now
            assert settled == {row.id: Settled.OK}
        else:
            assert settled[row.id] is not Settled.OK

    # what a worker writes

    def checkpoint(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        fields = {"compensation": "undo" if either else None}
        done = completion(row.step, row.steps + 1, f"s{row.steps + 2}", **fields)
        operation = journal.record_step_and_close_waits
        parameters = journal.completed_parameters(done)
        if self._write(connection, row, token, operation, parameters, "checkpoint"):
            self.model.checkpoint(row, can_be_undone=either)

    def complete(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        parameters = journal.completed_parameters(completion(row.step, row.steps + 1))
        operation = journal_writing.record_step
        if self._write(connection, row, token, operation, parameters, "complete"):
            self.model.complete(row)

    def fail(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        parameters = {**self._failure(row), "path": row.step}
        if self._write(connection, row, token, journal_writing.record_fail, parameters):
            row.attempts += 1
            self.model.fail(row)

    def retry_later(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        parameters = {**self._failure(row), "delay": ONE_AND_A_HALF}
        operation = journal_writing.record_step
        if self._write(connection, row, token, operation, parameters, "retry_later"):
            row.attempts += 1
            self.model.give_back(row, ONE_AND_A_HALF)

    def sleep(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        request = WaitRequest("sleep", seconds=ONE_AND_A_HALF)
        if self._suspend(connection, row, token, request):
            self.model.sleep(row, ONE_AND_A_HALF)

    def wait(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        timeout = ONE_AND_A_HALF if either else None
        if self._suspend(connection, row, token, WaitRequest("event", (name,), seconds=timeout)):
            self.model.wait_for(row, name, timeout)

    def undo(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        left = self.run(connection, compensations.to_undo, row.id)
        assert len(left) == row.to_undo
        if not left:
            return self._end_compensation(connection, row, token)
        first = left[0]
        run = attempt(first.compensation, first.position, number=first.recorded_attempts + 1)
        parameters = {
            **journal_writing.attempt_parameters(run._replace(path=first.path), [], 0.1, None),
            "output": None,
            "error": journal_writing.json_text(ERROR) if either else None,
            "gave_up": either,
        }
        operation = journal_writing.record_step
        statuses = (State.COMPENSATING,)
        if self._write(
            connection, row, token, operation, parameters, "record_undone", statuses=statuses
        ):
            self.model.undo(row, gave_up=either)
        return None

    # what a manager writes

    def release(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        holds = self.model.holds(row, token, *HELD)
        assert self.run(connection, settlement.release, [(row.id, token)]) == holds
        if holds:
            self.model.release(row)

    def crash(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        condemned, again = new_id(), new_id()
        holds = self.model.holds(row, token, State.RUNNING)
        done = self.run(connection, settlement.condemn, row.id, token, condemned)
        assert done == holds
        if not holds:
            return
        self._give_out(condemned)
        error = {"type": "worker_crashed", "message": "died"}
        lost = settlement.LostAttempt(
            row.step, row.step, "step", 1, row.attempts + 1, 0.1, error, []
        )
        verdict = self.run(
            connection, settlement.settle_crash, row.id, (condemned, again), lost, MAX_CRASHES,
            BACKOFF,
        )  # fmt: skip
        self.model.crash(row, again)
        assert verdict is not None
        assert (verdict.status, verdict.is_held) == (str(row.status), row.token is not None)
        if row.token is not None:
            self._give_out(again)

    def time_out(self, connection: int, row: Row, token: str, name: str, either: bool) -> None:
        condemned = new_id()
        holds = self.model.holds(row, token, State.RUNNING)
        assert self.run(connection, settlement.condemn, row.id, token, condemned) == holds
        if not holds:
            return
        self._give_out(condemned)
        lost = settlement.LostAttempt(
            row.step, row.step, "step", 1, row.attempts + 1, 0.1, ERROR, []
        )
        delay = None if either else ONE_AND_A_HALF
        verdict = self.run(connection, settlement.settle_timeout, row.id, condemned, lost, delay)
        row.attempts += 1
        if either:
            self.model.fail(row)
        else:
            self.model.give_back(row, ONE_AND_A_HALF)
        assert verdict is not None
        assert verdict.status == str(row.status)

    def recover_claims(self, connection: int, holder: str) -> None:
        lost = [row for row in self.model.rows if row.holder == holder]
        count = run_ending(
            self.databases[connection].run,
            queue.recover_claims,
            [holder],
            max_interruptions=MAX_INTERRUPTIONS,
        )
        assert count == len(lost)
        self._recovered(lost)

    def recover_stale(self, connection: int) -> None:
        timeout = 150.0
        stale = [
            row
            for row in self.model.rows
            if row.token is not None and row.beat < self.model.now - timeout
        ]
        count = run_ending(
            self.databases[connection].run,
            queue.recover_stale_locks,
            timeout,
            max_interruptions=MAX_INTERRUPTIONS,
        )
        assert count == len(stale)
        self._recovered(stale)

    # what time brings

    def wake_sleepers(self, connection: int) -> None:
        woken = self.run(connection, queue.wake_sleeping_workflows, 100)
        assert woken == self.model.wake_sleepers()

    def end_waits(self, connection: int) -> None:
        ended = self.run(connection, waits.end_overdue_waits, 100)
        assert ended.count == self.model.end_waits()

    def end_overdue(self, connection: int) -> None:
        ended = self.run(connection, deadlines.end_overdue, 100)
        assert ended.count == self.model.end_overdue()

    def look_for_zombies(self, connection: int) -> None:
        """There are none: everything that waits can be woken."""
        assert self.run(connection, queue.recover_zombie_workflows, 1.0).count == 0

    # what clients ask

    def send_event(self, connection: int, row: Row, name: str) -> None:
        sent = waits.Sent(name, {"to": row.number})
        if self.model.send(row, name):
            self.run(connection, waits.send_event, row.id, sent)
        else:
            with pytest.raises(AlreadyFinished):
                self.run(connection, waits.send_event, row.id, sent)

    def cancel(self, connection: int, row: Row, name: str) -> None:
        if self.model.cancel(row):
            assert self.run(connection, executions.cancel, row.id, None).count == 1
        else:
            with pytest.raises(AlreadyFinished):
                self.run(connection, executions.cancel, row.id, None)

    def retry(self, connection: int, row: Row, name: str) -> None:
        is_undoing_again = row.status is State.COMPENSATION_FAILED
        if self.model.retry(row):
            self.before[row.id] = State.COMPENSATING if is_undoing_again else State.PENDING
            self.run(connection, retrying.retry, row.id)
        else:
            with pytest.raises(NotRetryable):
                self.run(connection, retrying.retry, row.id)

    # what the rules are made of

    def run(self, connection: int, operation: Any, *args: Any) -> Any:
        return self.databases[connection].run(operation, *args)

    def _now(self) -> Any:
        return self.databases[0].run(journal.database_now)

    def _row(self, number: int) -> Row:
        return self.model.rows[number % len(self.model.rows)]

    def _row_and_token(self, number: int, which: int) -> tuple[Row | None, str]:
        """Return a row with its own token, or now and then with any that was ever given out."""
        held = [row for row in self.model.rows if row.token is not None]
        if which and held:
            row = held[number % len(held)]
            return row, str(row.token)
        if not self.given_out:
            return None, ""
        return self._row(number), self.given_out[number % len(self.given_out)]

    def _give_out(self, token: str) -> None:
        assert token not in self.given_out
        self.given_out.append(token)

    def _failure(self, row: Row) -> dict[str, Any]:
        return journal_writing.failure_parameters(
            failure(row.step, row.steps + 1, row.attempts + 1)
        )

    def _suspend(self, connection: int, row: Row, token: str, request: WaitRequest) -> bool:
        place = {"path": row.step, "visit": 1, "attempt": row.attempts + 1, "calls": None}
        operation = waits.suspend if request.kind == "sleep" else waits.suspend_and_look
        parameters = {**place, **waits.asked([(row.asked, request)])}
        return self._write(connection, row, token, operation, parameters)

    def _write(
        self,
        connection: int,
        row: Row,
        token: str,
        operation: Any,
        parameters: dict[str, Any],
        *args: str,
        statuses: tuple[State, ...] = (State.RUNNING,),
    ) -> bool:
        """Write as a worker does; the answer says what the model says."""
        claim = {"step_id": new_id(), "id": row.id, "lock_token": token}
        rows = self.run(connection, operation, parameters | claim, *args)
        holds = self.model.holds(row, token, *statuses)
        assert bool(rows) == holds
        return holds

    def _end_compensation(self, connection: int, row: Row, token: str) -> None:
        if self.model.is_final(row):
            return
        operation = compensations.end_compensation
        if self._write(connection, row, token, operation, {}, statuses=(State.COMPENSATING,)):
            self.model.end_compensation(row)

    def _recovered(self, rows: list[Row]) -> None:
        """Take claims back in the order in which the database has made them due."""
        found = {
            row["id"]: row["scheduled_at"]
            for row in self.tables.sql(
                "SELECT id::text, scheduled_at FROM durable.workflow_executions"
            )
        }
        self.model.recover(sorted(rows, key=lambda row: (found[row.id], row.id)))
