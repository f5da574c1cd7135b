"""A stop reaches all queues at once, although children are stopped one after another."""

import threading

import psutil

from durable_otp import Context, Durable, Runtime, Workflow
from tests.support.tree import STILL, still_queue
from tests.support.waiting import wait_until

slow = Workflow("slow", queue="first")


@slow.step
def outlive(ctx: Context) -> None:
    """Return once the other queue's manager is gone, which it is only if it was told as well."""
    while psutil.pid_exists(ctx.input["other"]):
        threading.Event().wait(0.01)


def test_a_queue_that_takes_its_time_does_not_keep_the_others_claiming(dsn, schema):
    queues = {"first": still_queue(1), "second": still_queue(1)}
    settings = {**STILL, "dsn": dsn, "schema": schema, "queues": queues}
    runtime = Runtime(workflows=[slow], supervisor={"shutdown_timeout": "60s"}, **settings)
    with Durable(dsn, schema=schema) as durable:
        runtime.start()
        managers = {node.get("queue"): node["pid"] for node in runtime.tree()["tree"]["children"]}
        # "second" is stopped before "first"; the step of "second" ends when "first" is gone
        handle = durable.start(slow, {"other": managers["first"]}, queue="second")
        wait_until(lambda: handle.execution().status == "running", what="the body")
        stopper = threading.Thread(target=runtime.stop)
        stopper.start()
        stopper.join(40)
        assert not stopper.is_alive(), "the queues waited for each other"
        assert handle.status() == "completed"
