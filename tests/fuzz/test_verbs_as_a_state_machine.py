"""Random sequences of verbs on two connections leave what the model says, and nothing else.

The clock is the test's. Every verb of a holder is tried with any token that was ever given out:
only the row's own counts, and none is given out twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run_machine

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
    test_clock,
    waits,
)
from durable_otp.storage.aftermath import run_ending
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.workflow.execution import Settled
from durable_otp.workflow.state import TRANSITIONS, State
from durable_otp.workflow.suspension import WaitRequest
from tests.support.examples import IS_FULL, examples
from tests.support.journal_rows import ERROR, attempt, completion, failure
from tests.support.tables import Tables
from tests.support.verb_model import (
    BACKOFF,
    HELD,
    LIVE,
    MAX_CRASHES,
    MAX_INTERRUPTIONS,
    Model,
    Row,
)

STEPS = 100 if IS_FULL else 60
MOST_ROWS = 4
QUEUE = "q"
MANAGERS = ("first manager", "second manager")
NAMES = ("a", "b")
MANAGER_S = ("claim", "claim", "claim", "recover_claims", "start")
CLIENT_S = ("send_event", "send_event", "cancel", "retry", "retry")
TIME_S = ("recover_stale", "wake_sleepers", "end_waits", "end_overdue", "look_for_zombies")
WORKER_S = (
    "heartbeat", "checkpoint", "checkpoint", "complete", "fail", "retry_later", "sleep", "wait",
    "wait", "undo", "undo", "release", "crash", "crash", "time_out",
)  # fmt: skip
MINUTE = 60.0
ONE_AND_A_HALF = 90.0
NEIGHBOURS = {(before, after) for (before, _), after in TRANSITIONS.items()} | {
    (state, state) for state in State
}
SEEN = """
SELECT e.id::text, e.status, e.lock_token::text AS token, e.locked_by AS holder, e.interruptions,
       e.crashes,
       extract(epoch FROM e.scheduled_at - durable.now())::float AS due_in,
       (SELECT count(*) FROM durable.step_executions s WHERE s.execution_id = e.id
          AND s.status = 'completed' AND NOT s.is_compensation) AS steps,
       ARRAY(SELECT m.name FROM durable.events m WHERE m.execution_id = e.id
             AND m.consumed_at IS NULL ORDER BY m.name) AS mail,
       ARRAY(SELECT w.names[1] FROM durable.waits w WHERE w.execution_id = e.id
             AND w.status = 'open' AND w.kind = 'event' ORDER BY 1) AS waits
FROM durable.workflow_executions e
"""
row_numbers = st.integers(0, MOST_ROWS - 1)
tokens = st.integers(0, 3)
connections = st.integers(0, 1)


class Verbs(RuleBasedStateMachine):
    """Storage on one side, the model on the other; each rule is one verb on both."""

    tables: Tables
    databases: tuple[Database, Database]

    def __init__(self) -> None:
        super().__init__()
        self.tables.empty()
        self.model = Model()
        self.given_out: list[str] = []
        self.before: dict[str, State] = {}

    # the rules: each takes one verb of a kind, so that every run has some of all kinds

    @initialize(priorities=st.lists(st.integers(0, 1), min_size=2, max_size=MOST_ROWS))
    def begin(self, priorities: list[int]) -> None:
        for number, priority in enumerate(priorities):
            self.start(number % 2, priority, 0.0, (5 * MINUTE - 30) if number == 1 else None)

    @rule(
        connection=connections,
        verb=st.sampled_from((*WORKER_S, *MANAGER_S, *CLIENT_S, *TIME_S)),
        number=row_numbers,
        which=tokens,
        name=st.sampled_from(NAMES),
        either=st.booleans(),
    )
    def act(
        self, connection: int, verb: str, number: int, which: int, name: str, either: bool
    ) -> None:
        """One rule for all verbs: of many, hypothesis would leave most out of each run."""
        if verb in WORKER_S:
            self.work(connection, verb, number, which, name, either)
        elif verb in CLIENT_S:
            getattr(self, verb)(connection, self._row(number), name)
        elif verb in TIME_S:
            self.databases[0].run(test_clock.advance, timedelta(minutes=number))
            self.model.now += number * MINUTE
            getattr(self, verb)(connection)
        elif verb == "claim":
            self.claim(connection, 1 + number, MANAGERS[which % 2])
        elif verb == "recover_claims":
            self.recover_claims(connection, MANAGERS[which % 2])
        elif len(self.model.rows) < MOST_ROWS:
            delay = ONE_AND_A_HALF if which == 1 else 0.0
            self.start(connection, number % 2, delay, 5 * MINUTE - 30 if either else None)

    def work(
        self, connection: int, verb: str, number: int, which: int, name: str, either: bool
    ) -> None:
        if not any(row.token for row in self.model.rows):
            self.claim(connection, 3, MANAGERS[connection])
            self.the_moves_are_those_of_the_table()
        row, token = self._row_and_token(number, which)
        if row is None or (row.status is State.COMPENSATING and verb in ("crash", "time_out")):
            return
        if row.status is State.COMPENSATING and which and number:
            verb = "undo"
        getattr(self, verb)(connection, row, token, name, either)

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
            **journal_writing.attempt_parameters(run._replace(path=first.path), [], 0.1),
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
            self.model.give_back(row)

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

    # what holds after each verb

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        found = {row["id"]: row for row in self.tables.sql(SEEN)}
        assert len(found) == len(self.model.rows)
        for row in self.model.rows:
            seen = found[row.id]
            due_in = seen.pop("due_in")
            assert {key: seen[key] for key in row.seen()} == row.seen()
            if row.status in (State.PENDING, State.WAITING) and row.due is not None:
                assert abs(due_in - (row.due - self.model.now)) < BACKOFF
            if row.status is State.WAITING and row.due is None:
                assert due_in is None

    @invariant()
    def the_moves_are_those_of_the_table(self) -> None:
        for row in self.model.rows:
            before = self.before.get(row.id, row.status)
            is_two_moves = before is State.RUNNING and row.status in LIVE  # it waited, and woke
            assert (before, row.status) in NEIGHBOURS or is_two_moves
            self.before[row.id] = row.status

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


@contextmanager
def two_connections(tables: Tables) -> Iterator[tuple[Database, Database]]:
    """Give two connections to a schema."""
    databases = tuple(Database(tables.dsn, tables.schema, role=name) for name in ("one", "two"))
    try:
        yield (databases[0], databases[1])
    finally:
        for database in databases:
            database.close()


@pytest.mark.timeout(7200)
def test_verbs_leave_what_the_model_says(clocked_tables: Tables) -> None:
    with two_connections(clocked_tables) as databases:

        class Machine(Verbs):
            pass

        Machine.tables, Machine.databases = clocked_tables, databases
        run_machine(Machine, settings=examples(40, 600, stateful_step_count=STEPS))
