"""Random sequences of verbs on two connections leave what the model says, and nothing else.

The clock is the test's. Every verb of a holder is tried with any token that was ever given out:
only the row's own counts, and none is given out twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run_machine

from durable_otp.storage import test_clock
from durable_otp.storage.database import Database
from durable_otp.workflow.state import TRANSITIONS, State
from tests.support.examples import IS_FULL, examples
from tests.support.tables import Tables
from tests.support.verb_model import BACKOFF, LIVE
from tests.support.verb_sides import ONE_AND_A_HALF, BothSides

STEPS = 100 if IS_FULL else 50
MOST_ROWS = 4
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


class Verbs(BothSides, RuleBasedStateMachine):
    """Storage on one side, the model on the other; each rule is one verb on both."""

    def __init__(self) -> None:
        super().__init__()
        self.begin_anew()

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


@contextmanager
def two_connections(tables: Tables) -> Iterator[tuple[Database, Database]]:
    """Give two connections to a schema."""
    databases = tuple(Database(tables.dsn, tables.schema, role=name) for name in ("one", "two"))
    try:
        yield (databases[0], databases[1])
    finally:
        for database in databases:
            database.close()


def test_verbs_leave_what_the_model_says(clocked_tables: Tables) -> None:
    with two_connections(clocked_tables) as databases:

        class Machine(Verbs):
            pass

        Machine.tables, Machine.databases = clocked_tables, databases
        run_machine(Machine, settings=examples(8, 600, stateful_step_count=STEPS))
