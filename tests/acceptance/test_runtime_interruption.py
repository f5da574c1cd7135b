"""A body that has to stop: its step timed out, or its execution was cancelled.

Every timer is set to an hour; only a step's own timeout is short.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_otp import Retry
from tests.support.postgres import fresh_schema
from tests.support.sink import RETRY_AT_ONCE, sink
from tests.support.tree import (
    STILL,
    Tree,
    blocked,
    kill,
    locked_row,
    paused,
    running,
    still_queue,
)
from tests.support.waiting import wait_until

WORKFLOWS = (
    sink(),
    sink("brief", timeout=1.5),
    sink("brief_again", timeout=1.5, retry=RETRY_AT_ONCE),
    sink("brief_later", timeout=1.5, retry=Retry(max_attempts=2, backoff="constant", base=4)),
    sink("patient", timeout=0.9, retry=Retry(max_attempts=2, backoff="constant", base=1, jitter=0)),
)
STUBBORN = ["hang:swallow", "hang:c", "hang:gil", "hang:busy"]
GENTLE = ["hang:python", "hang:sleep"]


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, *WORKFLOWS, queues={"default": still_queue(2)}, **STILL
        ) as tree,
    ):
        yield tree


@pytest.mark.parametrize("action", GENTLE)
def test_a_body_past_its_timeout_is_interrupted_and_runs_its_finally(
    tree: Tree, action: str
) -> None:
    handle = tree.start("brief", two=action)
    execution = tree.until(handle, "failed")
    assert execution.error["type"] == "step_timeout"
    assert "'two'" in execution.error["message"]
    assert [line["what"] for line in tree.ledger(handle.id, "finally")] == ["finally"]
    last = execution.steps[-1]
    assert (last.path, last.attempt, last.status) == ("two", 1, "failed")
    assert last.error["type"] == "step_timeout"
    assert (execution.crashes, execution.interruptions) == (0, 0)
    assert worker_survived(tree, handle.id)


@pytest.mark.parametrize("action", STUBBORN)
def test_a_body_that_takes_no_interrupt_is_killed(tree: Tree, action: str) -> None:
    handle = tree.start("brief_again", one=[action, "ok"])
    handle.result(timeout=30)
    execution = handle.execution()
    assert [(s.attempt, s.status) for s in execution.steps[:2]] == [(1, "failed"), (2, "completed")]
    assert execution.steps[0].error["type"] == "step_timeout"
    assert 1 << 20 < (execution.steps[0].peak_rss or 0) < 1 << 40
    assert execution.crashes == 0
    wait_until(lambda: not worker_survived(tree, handle.id), what="the tree without the killed")


def worker_survived(tree: Tree, execution_id: str) -> bool:
    first = tree.ledger(execution_id)[0]["pid"]
    return first in [worker["pid"] for worker in tree.workers()]


def test_a_timeout_counts_as_an_attempt_and_the_last_one_is_final(tree: Tree) -> None:
    handle = tree.start("brief_again", one=["hang:sleep", "raise", "hang:sleep", "ok"])
    execution = tree.until(handle, "failed")
    assert execution.error["type"] == "step_timeout"
    assert [s.error["type"] for s in execution.steps] == [
        "step_timeout",
        "ValueError",
        "step_timeout",
    ]
    assert tree.bodies(handle) == [("one", 1), ("one", 2), ("one", 3)]


def test_a_timeout_with_a_long_back_off_waits_in_the_database(tree: Tree) -> None:
    handle = tree.start("brief_later", one=["hang:sleep", "ok"])
    wait_until(lambda: tree.recorded(handle))
    waiting = handle.execution()
    assert (waiting.status, waiting.locked_by) == ("pending", None)
    assert waiting.scheduled_at > waiting.steps[0].completed_at
    handle.result(timeout=30)


def test_a_pause_between_attempts_is_not_part_of_the_timeout(tree: Tree) -> None:
    handle = tree.start("patient", one=["raise", "ok"])
    handle.result(timeout=30)
    assert [s.error and s.error["type"] for s in handle.execution().steps] == [
        "ValueError", None, None, None,
    ]  # fmt: skip


def test_a_checkpoint_that_waits_is_not_part_of_the_timeout(tree: Tree, tmp_path: Path) -> None:
    handle = tree.start("brief", one=f"gate:{tmp_path / 'open'}")
    tree.pid_in(handle)
    with locked_row(tree, handle.id):
        (tmp_path / "open").touch()
        wait_until(lambda: blocked(tree, "checkpoint"))
        other = tree.start("brief", one="hang:sleep")
        tree.until(other, "failed")  # its timeout has passed: the first one's has too
    handle.result(timeout=30)
    assert tree.bodies(handle) == [("one", 1), ("two", 1), ("three", 1)]


def test_a_body_that_raises_the_interrupt_itself_fails(tree: Tree) -> None:
    handle = tree.start(one="interrupts_itself")
    assert tree.until(handle, "failed").error["type"] == "StepInterrupted"


@pytest.mark.parametrize("action", [*GENTLE, "hang:c", "hang:gil"])
def test_cancelling_a_running_execution_stops_its_body_at_once(tree: Tree, action: str) -> None:
    handles = [tree.start(one=action) for _ in range(2)]
    for handle in handles:
        tree.pid_in(handle)
    behind = tree.start()
    handles[0].cancel("enough")
    behind.result(timeout=30)  # both slots were taken: only the cancel can have freed one
    execution = handles[0].execution()
    assert (execution.status, execution.error["type"]) == ("cancelled", "cancelled")
    assert "enough" in execution.error["message"]
    assert tree.bodies(handles[0]) == [("one", 1)]
    assert (execution.crashes, execution.interruptions) == (0, 0)
    finallies = 1 if action in GENTLE else 0
    assert len(tree.ledger(handles[0].id, "finally")) == finallies
    handles[1].cancel()
    wait_until(lambda: len(tree.idle()) == 3)


def test_cancelling_what_is_pending_or_asleep_lets_nothing_of_it_run(tree: Tree) -> None:
    asleep = tree.start(one="nap:1")
    tree.until(asleep, "waiting")
    asleep.cancel()
    with paused(tree):
        pending = tree.start()
        pending.cancel()
    tree.start(one="nap:1.1").result(timeout=30)
    assert (pending.status(), asleep.status()) == ("cancelled", "cancelled")
    assert (tree.bodies(pending), tree.bodies(asleep)) == ([], [("one", 1)])


def test_a_worker_killed_while_it_is_being_interrupted_is_settled_once(tree: Tree) -> None:
    handle = tree.start("brief_again", one=["hang:swallow", "ok"])
    worker = tree.pid_in(handle)
    wait_until(lambda: tree.ledger(handle.id, "swallowed"))
    kill(worker)
    handle.result(timeout=30)
    execution = handle.execution()
    assert [s.error and s.error["type"] for s in execution.steps[:2]] == ["step_timeout", None]
    assert execution.crashes == 0
