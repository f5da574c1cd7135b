"""However an execution fails, what it had done is undone."""

import pytest

from durable_otp import Workflow, goto
from durable_otp.engine.outcome import Outcome
from tests.support.engine import MemoryJournal, run


def by_a_step(workflow: Workflow) -> None:
    @workflow.step
    def broken():
        raise KeyError("gone")


def by_a_jump_to_nowhere(workflow: Workflow) -> None:
    workflow.decision(name="lost")(lambda: goto("nowhere"))


def by_too_many_jumps(workflow: Workflow) -> None:
    workflow.decision(name="again")(lambda: goto("again"))


def by_a_choice(workflow: Workflow) -> None:
    with workflow.branch(lambda ctx: ctx["missing"], name="choice") as choice, choice.default():
        workflow.step(name="never")(lambda: None)


def by_an_unstorable_value(workflow: Workflow) -> None:
    workflow.step(name="not a number")(lambda: {"x": float("nan")})


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (by_a_step, "KeyError"),
        (by_a_jump_to_nowhere, "decision_error"),
        (by_too_many_jumps, "decision_error"),
        (by_a_choice, "branch_error"),
        (by_an_unstorable_value, "serialization_error"),
    ],
)
def test_whatever_fails_an_execution_what_was_done_is_undone(fail, error):
    workflow = Workflow("w", max_jumps=3)
    workflow.step(name="reserve", compensate="release")(lambda: {"seat": 7})
    fail(workflow)
    workflow.compensate(name="release")(lambda ctx: {"released": ctx["seat"]})
    journal = MemoryJournal()
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.ended == ("compensating", error)
    assert run(workflow, journal=journal) is Outcome.COMPENSATED
    assert [row.output for row in journal.compensations.rows] == [{"released": 7}]
