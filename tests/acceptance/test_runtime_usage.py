"""What each attempt used of its worker: CPU seconds and peak memory, kept with its row."""

import mmap
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from durable_otp import Context, Retry, Workflow
from durable_otp.storage.processes import process_key
from durable_otp.workflow.execution import StepExecution
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, kill, running
from tests.support.waiting import wait_until

LARGE = 96 << 20
CPU = 0.05
measured = Workflow("measured", retry=Retry(max_attempts=2, base=0, jitter=0))


def hold_memory() -> None:
    """Touch memory and give it back."""
    with mmap.mmap(-1, LARGE) as pages:
        pages.write(b"x" * LARGE)


def burn() -> None:
    begun = time.process_time()
    while time.process_time() - begun < CPU:
        pass


@measured.step
def first(ctx: Context) -> None:
    """Only there."""


@measured.step(compensate="undo")
def large(ctx: Context) -> None:
    hold_memory()


@measured.step
def small(ctx: Context) -> None:
    """Nothing of what the one before it held."""


@measured.step
def busy(ctx: Context) -> None:
    burn()
    if ctx.attempt == 1:
        raise ValueError("again")


@measured.step(retry=Retry(max_attempts=1))
def last(ctx: Context) -> None:
    if ctx["ends"] == "kill" and ctx.attempt == 1:
        hold_memory()
        kill(os.getpid())
    if ctx["ends"] == "fail":
        raise ValueError("as told")


@measured.compensate
def undo(ctx: Context) -> None:
    burn()


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    queues: dict[str, Any] = {
        "default": {"concurrency": 1},
        "batched": {"concurrency": 1, "commit": "batched"},
    }
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, measured, queues=queues) as tree,
    ):
        yield tree


def attempts(tree: Tree, ends: str, queue: str, *statuses: str) -> dict[str, StepExecution]:
    handle = tree.durable.start(measured, {"ends": ends}, queue=queue)
    steps = tree.until(handle, *statuses).steps or []
    return {f"{step.name} {step.attempt}": step for step in steps}


def workers(tree: Tree, queue: str) -> set[str | None]:
    """Return what the living workers of a queue are called in the rows of their attempts."""
    found = [each for node in tree.durable.nodes() for each in node.processes]
    return {
        process_key(each.node, each.pid)
        for each in found
        if each.role == "worker" and each.queue == queue and each.pid
    }


@pytest.mark.parametrize("queue", ["default", "batched"])
def test_every_attempt_says_what_it_used(tree: Tree, queue: str) -> None:
    steps = attempts(tree, "fail", queue, "compensated")
    assert list(steps) == [
        "first 1", "large 1", "small 1", "busy 1", "busy 2", "last 1", "undo 1",
    ]  # fmt: skip
    for step in steps.values():
        assert step.cpu_seconds is not None, step.name
        assert 1 << 20 < (step.peak_rss or 0) < 1 << 40, step.name
    by = {step.process for step in steps.values()}
    wait_until(lambda: by <= workers(tree, queue), what="the node to have published its workers")
    for name in ("busy 1", "busy 2", "undo 1"):
        assert (steps[name].cpu_seconds or 0) >= CPU * 0.999  # kept with six digits
    assert (steps["large 1"].peak_rss or 0) > LARGE
    if os.access("/proc/self/clear_refs", os.W_OK):
        peaks = [steps[name].peak_rss or 0 for name in ("small 1", "busy 1", "last 1", "undo 1")]
        assert max(peaks) < (steps["large 1"].peak_rss or 0) - LARGE // 2


def test_the_memory_and_the_process_of_an_attempt_are_known_whose_process_is_gone(
    tree: Tree,
) -> None:
    steps = attempts(tree, "kill", "default", "completed", "compensated")
    killed, repeated = steps["last 1"], steps["last 2"]
    assert killed.cpu_seconds is None
    assert None is not killed.process != repeated.process is not None
    assert LARGE < (killed.peak_rss or 0) < 1 << 40
    assert repeated.cpu_seconds is not None
    assert 1 << 20 < (repeated.peak_rss or 0) < (killed.peak_rss or 0) - LARGE // 2
