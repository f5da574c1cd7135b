"""A worker dies in the middle of a step: the execution runs again, and nobody else notices.

Every timer is set to an hour, so that only the death itself can have settled anything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Retry
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, is_gone, kill, running, still_queue
from tests.support.waiting import wait_until

ONCE = sink("once", max_crashes=1)
PATIENT = sink("patient", retry=Retry(max_attempts=3, backoff="constant", base=1, jitter=0))
QUEUES = {"default": still_queue(2)}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, sink(), ONCE, PATIENT, queues=QUEUES, **STILL) as tree,
    ):
        yield tree


@pytest.mark.parametrize(
    ("action", "fact"),
    [
        ("die:kill", {"signal": "SIGKILL"}),
        ("die:segv", {"signal": "SIGSEGV"}),
        ("die:abort", {"signal": "SIGABRT"}),
        ("die:exit", {"exit_code": 3}),
    ],
)
def test_a_worker_that_dies_in_a_step_is_replaced_and_the_step_runs_again(
    tree: Tree, tmp_path: Path, action: str, fact: dict[str, Any]
) -> None:
    neighbour = tree.start(one=f"gate:{tmp_path / 'open'}")
    tree.pid_in(neighbour)
    handle = tree.start(two=[action, "ok"])
    assert handle.result(timeout=30) == {**handle.execution().input, "one": 1, "two": 2, "three": 1}
    execution = handle.execution()
    assert tree.bodies(handle) == [("one", 1), ("two", 1), ("two", 2), ("three", 1)]
    assert [(s.path, s.attempt, s.status) for s in execution.steps] == [
        ("one", 1, "completed"), ("two", 1, "failed"), ("two", 2, "completed"),
        ("three", 1, "completed"),
    ]  # fmt: skip
    crashed = execution.steps[1].error
    assert crashed["type"] == "worker_crashed"
    assert {key: crashed[key] for key in fact} == fact
    assert str(*fact.values()) in crashed["message"]
    assert (execution.crashes, execution.interruptions) == (1, 0)
    assert (neighbour.status(), neighbour.execution().crashes) == ("running", 0)
    (tmp_path / "open").touch()
    neighbour.result(timeout=30)
    assert [line["attempt"] for line in tree.ledger(neighbour.id)] == [1, 1, 1]


def test_a_step_that_exits_python_fails_without_a_death(tree: Tree) -> None:
    handle = tree.start(one="die:sys.exit")
    error = tree.until(handle, "failed").error
    assert (error["type"], error["message"]) == ("SystemExit", "4")
    assert handle.execution().crashes == 0


def test_the_last_output_before_a_death_is_kept(tree: Tree) -> None:
    handle = tree.start(one=["print:segv", "print"])
    handle.result(timeout=30)
    for step in handle.execution().steps[:2]:
        assert [(entry["source"], entry["message"]) for entry in step.logs] == [
            ("output", f"printed {step.attempt}"),
            ("logging", f"logged {step.attempt}"),
            ("output", "written to 2"),
        ]
    assert [step.logs for step in handle.execution().steps[2:]] == [[], []]


def test_a_step_that_always_segfaults_ends_after_max_crashes_and_the_queue_lives_on(
    tree: Tree,
) -> None:
    manager = tree.manager()["pid"]
    handles = [tree.start(two="die:segv") for _ in range(3)]
    for handle in handles:
        execution = tree.until(handle, "failed")
        assert (execution.error["type"], execution.error["signal"]) == ("worker_crashed", "SIGSEGV")
        assert tree.bodies(handle) == [("one", 1), ("two", 1), ("two", 2), ("two", 3)]
        assert [step.attempt for step in execution.steps] == [1, 1, 2, 3]
        assert execution.crashes == 3
    tree.start().result(timeout=30)
    assert tree.manager()["pid"] == manager


def test_one_crash_is_final_with_max_crashes_1(tree: Tree) -> None:
    handle = tree.start("once", one="die:kill")
    assert tree.until(handle, "failed").error["type"] == "worker_crashed"
    assert tree.bodies(handle) == [("one", 1)]


def test_crashes_count_only_in_a_row(tree: Tree) -> None:
    twice = ["die:kill", "die:kill", "ok"]
    handle = tree.start(one=twice, two=twice, three=twice)
    handle.result(timeout=60)
    assert handle.execution().crashes == 6


def test_a_worker_killed_while_idle_is_replaced_and_nothing_is_charged(tree: Tree) -> None:
    manager = tree.manager()["pid"]
    for _ in range(8):
        victim = tree.kill_one_idle()
        wait_until(lambda pid=victim: is_gone(pid) and pid not in tree.idle())  # type: ignore[misc]
    wait_until(lambda: len(tree.idle()) == 3)
    assert tree.manager()["pid"] == manager
    tree.start().result(timeout=30)


def test_a_worker_killed_between_two_attempts_is_charged_with_the_one_to_come(tree: Tree) -> None:
    handle = tree.start("patient", one=["raise", "raise", "ok"])
    worker = tree.pid_in(handle)
    wait_until(lambda: len(tree.recorded(handle)) == 1)
    kill(worker)
    handle.result(timeout=30)
    assert [(s.attempt, s.error and s.error["type"]) for s in handle.execution().steps[:3]] == [
        (1, "ValueError"), (2, "worker_crashed"), (3, None),
    ]  # fmt: skip
    assert tree.bodies(handle)[:2] == [("one", 1), ("one", 3)]


def test_what_a_step_does_to_its_process_is_no_concern_of_the_next(tree: Tree) -> None:
    handles = [tree.start(one="spoil", two="print", three="spoil") for _ in range(4)]
    for handle in handles:
        handle.result(timeout=30)
        execution = handle.execution()
        assert execution.crashes == 0
        assert [entry["message"] for entry in execution.steps[1].logs] == [
            "printed 1", "logged 1", "written to 2",
        ]  # fmt: skip


def test_the_tree_follows_a_worker_from_step_to_step(tree: Tree, tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    handle = tree.start(one=f"gate:{gates[0]}", two=f"gate:{gates[1]}")
    for step, gate in zip(("one", "two"), gates, strict=True):
        wait_until(lambda step=step: _shown(tree, handle.id) == step, what=step)  # type: ignore[misc]
        gate.touch()
    handle.result(timeout=30)


def _shown(tree: Tree, execution_id: str) -> str | None:
    """Return the step that the tree shows of an execution."""
    doing = {each["execution_id"]: each["step"] for each in tree.workers()}
    return doing.get(execution_id)
