"""A step may ask for a queue of its own: the execution moves there for it, and back afterwards."""

import os

from durable_otp import Context, Durable, Runtime, Workflow
from tests.support.tree import STILL, still_queue

travelling = Workflow("travelling")


@travelling.step
def at_home(ctx: Context) -> None:
    ctx["home"] = os.getppid()


@travelling.step(queue="slow")
def abroad(ctx: Context) -> None:
    ctx["abroad"] = os.getppid()
    if ctx.attempt == 1:
        os.kill(os.getpid(), 9)


@travelling.step
def at_home_again(ctx: Context) -> None:
    ctx["home_again"] = os.getppid()


def test_a_step_runs_on_the_queue_it_asks_for_and_the_next_where_it_was_started(dsn, schema):
    queues = {name: still_queue() for name in ("default", "slow", "started_here")}
    settings = {**STILL, "dsn": dsn, "schema": schema, "queues": queues}
    with (
        Runtime(workflows=[travelling], **settings) as runtime,
        Durable(dsn, schema=schema) as durable,
    ):
        managers = {
            node["pid"]: node["queue"]
            for node in runtime.tree()["tree"]["children"]
            if node["role"] == "queue_manager"
        }
        handle = durable.start(travelling, queue="started_here")
        result = handle.result(timeout=30)
        steps = [
            (step.path, step.attempt, step.status)
            for step in durable.get_execution(handle.id, steps=True).steps
        ]
        crashes = handle.execution().crashes
    assert [managers[result[key]] for key in ("home", "abroad", "home_again")] == [
        "started_here",
        "slow",
        "started_here",
    ]
    assert steps == [
        ("at_home", 1, "completed"),
        ("abroad", 1, "failed"),
        ("abroad", 2, "completed"),
        ("at_home_again", 1, "completed"),
    ]
    assert crashes == 1
