"""Loops and branches through the tree, with a worker killed in the middle of each."""

import os

from durable_otp import Context, Workflow, goto
from tests.support.tree import STILL, running, still_queue

flow = Workflow("flow")


@flow.step
def count(ctx: Context) -> None:
    ctx.increment("n")


@flow.decision(targets=["count"])
def again(ctx: Context):
    if ctx["n"] == 2 and ctx.attempt == 1:
        os.kill(os.getpid(), 9)
    return goto("count") if ctx["n"] < 3 else None


with flow.branch(lambda ctx: ctx["n"], name="choice") as choice:
    with choice.case(3):

        @flow.step
        def three(ctx: Context):
            if ctx.attempt == 1:
                os.kill(os.getpid(), 9)
            return {"three": True}

        with flow.branch(lambda ctx: True) as inner, inner.case(True):

            @flow.step
            def deep(ctx: Context):
                return goto("done")

    with choice.default():

        @flow.step
        def other():
            return {"other": True}


@flow.step
def skipped():
    return {"skipped": True}


@flow.step
def done():
    return {"done": True}


def test_loops_and_branches_survive_the_death_of_their_worker(dsn: str, schema: str) -> None:
    with running(dsn, schema, flow, queues={"default": still_queue(1)}, **STILL) as tree:
        handle = tree.durable.start(flow, {"n": 0})
        assert handle.result(timeout=60) == {"n": 3, "three": True, "done": True}
        steps = tree.durable.get_execution(handle.id, steps=True).steps
    assert [(s.path, s.type, s.visit, s.attempt, str(s.status)) for s in steps] == [
        ("count", "step", 1, 1, "completed"),
        ("again", "decision", 1, 1, "completed"),
        ("count", "step", 2, 1, "completed"),
        ("again", "decision", 2, 1, "failed"),
        ("again", "decision", 2, 2, "completed"),
        ("count", "step", 3, 1, "completed"),
        ("again", "decision", 3, 1, "completed"),
        ("choice", "branch", 1, 1, "completed"),
        ("choice/3/three", "step", 1, 1, "failed"),
        ("choice/3/three", "step", 1, 2, "completed"),
        ("choice/3/branch_1", "branch", 1, 1, "completed"),
        ("choice/3/branch_1/true/deep", "step", 1, 1, "completed"),
        ("done", "step", 1, 1, "completed"),
    ]
