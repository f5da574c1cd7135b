"""`run_inline` and the test around it: where it stops, what gets through, what is refused."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from durable_otp import Retry, SerializationError, Workflow, sleep
from durable_otp.errors import DefinitionError
from durable_otp.testing import run_inline

ROOT = Path(__file__).parents[2]


def one_step(body, name="w", **options) -> Workflow:
    workflow = Workflow(name, **options)
    workflow.step(name="one")(body)
    return workflow


def steps_of(execution):
    return [(step.path, step.visit, step.attempt, str(step.status)) for step in execution.steps]


# until


def three_steps(done: list[str]) -> Workflow:
    workflow = Workflow("three")
    for name in ("a", "b", "c"):
        workflow.step(name=name)(lambda ctx: done.append(ctx.step))
    return workflow


def test_it_stops_before_a_step():
    done: list[str] = []
    execution = run_inline(three_steps(done), until=lambda e: e.current_step == "b")
    assert done == ["a"]
    assert (execution.status, execution.current_step) == ("pending", "b")
    assert steps_of(execution) == [("a", 1, 1, "completed")]


def test_it_is_asked_before_every_step_with_the_execution_as_it_is_then():
    asked = []

    def until(execution):
        asked.append((str(execution.status), execution.current_step, len(execution.steps)))
        return False

    workflow = three_steps([])
    workflow.step(name="late", queue="slow")(lambda: sleep(5))
    assert run_inline(workflow, until=until).status == "completed"
    assert asked == [
        ("running", "a", 0),
        ("running", "b", 1),
        ("running", "c", 2),
        ("running", "late", 3),
        ("running", "late", 3),
    ]


def test_it_may_stop_before_the_first_step_and_its_errors_are_the_tests():
    done: list[str] = []
    assert run_inline(three_steps(done), until=lambda _: True).status == "pending"
    with pytest.raises(ZeroDivisionError):
        run_inline(three_steps(done), until=lambda _: 1 / 0)
    assert done == []


# the test around it


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.skip.Exception])
def test_what_is_meant_for_the_test_gets_there(error):
    def body():
        raise error

    workflow = one_step(body, retry=Retry(max_attempts=3, base=0))
    with pytest.raises(error):
        run_inline(workflow)


def test_it_runs_where_an_event_loop_runs():
    workflow = Workflow("loop")

    @workflow.step
    async def wait(ctx):
        await asyncio.sleep(0)
        return {"done": True}

    async def test():
        return run_inline(workflow)

    assert asyncio.run(test()).output == {"done": True}


def test_it_runs_inside_a_step():
    inner = one_step(lambda: {"inner": 1}, name="inner")
    execution = run_inline(one_step(lambda ctx: {"step": (run_inline(inner).output, ctx.step)[1]}))
    assert execution.output == {"step": "one"}


def test_it_needs_neither_a_database_nor_processes():
    code = """
import sys
from durable_otp.testing import WorkflowTester, run_inline
from durable_otp import Workflow, sleep
workflow = Workflow("w")
workflow.step(name="one")(lambda: sleep(60))
assert run_inline(workflow).status == "completed"
assert WorkflowTester(workflow).advance(60).status == "completed"
print([name for name in ("psycopg", "multiprocess", "durable_otp.runtime") if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


# bad input


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"workflow": "order"}, TypeError, "workflow"),
        ({"workflow": Workflow("empty")}, DefinitionError, "no steps"),
        ({"input": object()}, SerializationError, "input"),
        ({"events": ["paid"]}, TypeError, "events"),
        ({"events": {3: 1}}, TypeError, "events"),
        ({"events": {"": 1}}, ValueError, "events"),
        ({"events": {"paid": object()}}, SerializationError, "paid"),
        ({"inputs": "manager"}, TypeError, "inputs"),
        ({"inputs": {"": 1}}, ValueError, "inputs"),
        ({"inputs": {"manager": object()}}, SerializationError, "manager"),
        ({"until": 3}, TypeError, "until"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, named):
    given = {"workflow": one_step(lambda: pytest.fail("ran")), **arguments}
    with pytest.raises(error, match=named):
        run_inline(**given)
