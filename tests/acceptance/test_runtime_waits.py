"""Waiting for events and people through the real tree, whoever is killed meanwhile."""

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durable_otp import (
    AlreadyFinished,
    AsyncDurable,
    Context,
    InputRejected,
    NoPendingInput,
    Retry,
    SerializationError,
    WaitTimeout,
    Workflow,
    WorkflowFailed,
    hours,
    once,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_choice,
    wait_for_event,
    wait_for_form,
    wait_for_input,
    wait_for_text,
)
from durable_otp.client.handle import Handle
from durable_otp.storage import test_clock
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from tests.support.postgres import fresh_schema
from tests.support.sink import note
from tests.support.tree import STILL, Tree, kill, running, still_queue
from tests.support.waiting import wait_until

waits = Workflow("waits")


@waits.step
def body(ctx: Context) -> Any:
    note(ctx, "begun")
    return {"got": BODIES[ctx.input["body"]](ctx)}


retried = Workflow("retried")


@retried.step(retry=Retry(max_attempts=2, backoff="constant", base=0, jitter=0))
def patient(ctx: Context) -> Any:
    note(ctx, "begun")
    kept = wait_for_event("kept")
    return {"kept": kept, "got": wait_for_event("late", timeout=hours(1)), "at": ctx.attempt}


def hold(ctx: Context) -> Any:
    """Run for as long as its gate is closed, then ask."""
    wait_until(lambda: Path(ctx.input["gate"]).exists(), timeout=100, what="gate")
    return wait_for_event("a")


def swallow(ctx: Context) -> Any:
    try:
        return wait_for_event("a")
    except BaseException:
        return "swallowed"


def die_once(ctx: Context) -> Any:
    """Be killed after the wait, in the first process that comes so far."""
    kept = once("paid", lambda: note(ctx, "paid") or {"n": 1})
    got = wait_for_event("a")
    mark = Path(ctx.input["mark"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return [kept, got, ctx.attempt]


def die_after_once(ctx: Context) -> Any:
    kept = once("paid", lambda: note(ctx, "paid") or os.getpid())
    mark = Path(ctx.input["mark"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return kept == os.getpid()


def caught(ctx: Context) -> Any:
    try:
        wait_for_event("never", timeout=hours(1))
    except WaitTimeout as timeout:
        return isinstance(timeout, TimeoutError)


def gathered(ctx: Context) -> Any:
    async def both() -> Any:
        async def one(name: str) -> Any:
            return wait_for_event(name)

        return await asyncio.gather(one("a"), one("b"))

    return asyncio.run(both())


BODIES: dict[str, Any] = {
    "event": lambda _: wait_for_event("a"),
    "two": lambda _: [wait_for_event("a"), wait_for_event("a")],
    "any": lambda _: list(wait_for_any(["a", "b"])),
    "all": lambda _: wait_for_all(["a", "b"]),
    "hold": hold,
    "swallow": swallow,
    "die_once": die_once,
    "die_after_once": die_after_once,
    "gathered": gathered,
    "caught": caught,
    "valued": lambda _: wait_for_any(["never"], timeout=hours(1), timeout_value=["a", "b", 3]),
    "soon": lambda _: wait_for_event("never", timeout=0.3, timeout_value="soon"),
    "uncaught": lambda _: wait_for_event("never", timeout=hours(1)),
    "fails": lambda _: wait_for_text("boss", timeout=hours(1), on_timeout="fail"),
    "text": lambda _: wait_for_text("q", prompt="Why?"),
    "approval": lambda _: wait_for_approval("q"),
    "choice": lambda _: wait_for_choice("q", choices=["x", {"value": 2, "label": "two"}]),
    "multi": lambda _: wait_for_input("q", type="multi_choice", choices=["x", "y"]),
    "form": lambda _: wait_for_form("q", [{"name": "n", "type": "number", "required": True}]),
    "inputs": lambda _: [wait_for_text("q"), wait_for_text("q")],
    "wrong": lambda _: wait_for_event(""),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with fresh_schema(postgres_dsn) as schema:
        Migrator(postgres_dsn, schema).migrate(test_clock=True)
        with running(
            postgres_dsn, schema, waits, retried, queues={"default": still_queue(1)}, **STILL
        ) as tree:
            yield tree


def start(tree: Tree, which: str, workflow: str = "waits", **more: Any) -> Handle:
    given = {"body": which, "ledger": [tree.dsn, tree.schema], **more}
    return tree.durable.start(tree.workflows[workflow], given)


def got(handle: Handle) -> Any:
    return handle.result(timeout=30)["got"]


def later(tree: Tree) -> None:
    """Let two hours pass."""
    database = Database(tree.dsn, tree.schema, role="test")
    database.run(test_clock.advance, timedelta(hours=2))
    database.close()


def test_an_event_before_the_wait_while_the_step_runs_and_after_it(
    tree: Tree, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    held = start(tree, "hold", gate=str(gate))
    tree.pid_in(held, "body")
    held.send_event("a", "while it runs")
    early = start(tree, "event")  # the queue has one slot
    early.send_event("a", "before")
    gate.touch()
    assert (got(held), got(early)) == ("while it runs", "before")
    late = start(tree, "event")
    waiting = tree.until(late, "waiting")
    assert [(s.path, s.status, s.attempt) for s in waiting.steps] == [("body", "waiting", 1)]
    (pending,) = tree.durable.list_pending_events(late.id)
    assert (pending.names, pending.kind, pending.step) == (["a"], "single", "body")
    late.send_event("a", {"n": [1, None]})
    assert got(late) == {"n": [1, None]}
    assert [s.attempt for s in late.execution().steps] == [1]
    assert [(e.name, bool(e.consumed_at)) for e in tree.durable.list_events(late.id)] == [
        ("a", True)
    ]
    with pytest.raises(AlreadyFinished):
        late.send_event("a")


def test_two_waits_for_one_name_get_an_event_each(tree: Tree) -> None:
    handle = start(tree, "two")
    handle.send_event("a", 1)
    tree.until(handle, "waiting")
    wait_until(lambda: len(tree.ledger(handle.id)) == 2)
    handle.send_event("a", 2)
    assert got(handle) == [1, 2]


@pytest.mark.parametrize("body", ["any", "all", "gathered"])
def test_several_events(tree: Tree, body: str) -> None:
    handle = start(tree, body)
    tree.until(handle, "waiting")
    handle.send_event("b", 2)
    if body != "any":
        handle.send_event("a", 1)
    assert got(handle) == {"any": ["b", 2], "all": {"a": 1, "b": 2}, "gathered": [1, 2]}[body]


def test_a_swallowed_wait_suspends_all_the_same(tree: Tree) -> None:
    handle = start(tree, "swallow")
    tree.until(handle, "waiting")
    handle.send_event("a", "heard")
    assert got(handle) == "heard"


@pytest.mark.parametrize(
    ("body", "bad", "good", "returned"),
    [
        ("text", 4, "because", "because"),
        ("approval", "maybe", True, "approved"),
        ("choice", "two", 2, 2),
        ("multi", ["z"], ["y", "x"], ["y", "x"]),
        ("form", {"n": "4"}, {"n": 4}, {"n": 4}),
    ],
)
def test_each_kind_of_input(tree: Tree, body: str, bad: Any, good: Any, returned: Any) -> None:
    handle = start(tree, body)
    tree.until(handle, "waiting")
    with pytest.raises(InputRejected):
        handle.provide_input("q", bad)
    with pytest.raises(NoPendingInput):
        handle.provide_input("other", good)
    with pytest.raises(SerializationError):
        handle.provide_input("q", float("nan"))
    (pending,) = tree.durable.list_pending_inputs(handle.id)
    assert (pending.name, pending.workflow, pending.timeout_at) == ("q", "waits", None)
    handle.provide_input("q", good)
    assert got(handle) == returned
    with pytest.raises(NoPendingInput):
        handle.provide_input("q", good)


def test_the_same_question_twice_in_a_step(tree: Tree) -> None:
    handle = start(tree, "inputs")
    for answer in ("one", "two"):
        wait_until(lambda: tree.durable.list_pending_inputs(handle.id))
        handle.provide_input("q", answer)
    assert got(handle) == ["one", "two"]


def test_a_wait_that_is_none_fails_its_step(tree: Tree) -> None:
    with pytest.raises(WorkflowFailed, match="ValueError"):
        start(tree, "wrong").result(timeout=30)


def test_workers_and_managers_may_die_while_an_execution_waits(tree: Tree) -> None:
    handle = start(tree, "event")
    tree.until(handle, "waiting")
    tree.kill_one_idle()
    manager = tree.manager()
    kill(manager["pid"])
    handle.send_event("a", "heard")
    tree.replaced(manager["id"], manager["pid"])
    assert got(handle) == "heard"
    execution = handle.execution()
    assert (execution.crashes, execution.interruptions) == (0, 0)


def test_what_was_answered_and_kept_survives_a_death_after_the_wait(
    tree: Tree, tmp_path: Path
) -> None:
    handle = start(tree, "die_once", mark=str(tmp_path / "mark"))
    tree.until(handle, "waiting")
    handle.send_event("a", "heard")
    assert got(handle) == [{"n": 1}, "heard", 2]
    assert len(tree.ledger(handle.id, "paid")) == 1
    assert len(tree.ledger(handle.id)) == 3
    assert handle.execution().crashes == 1


def test_once_is_kept_when_the_process_dies_right_after_it(tree: Tree, tmp_path: Path) -> None:
    handle = start(tree, "die_after_once", mark=str(tmp_path / "mark"))
    assert got(handle) is False  # the pid that is kept is the dead one's
    assert len(tree.ledger(handle.id, "paid")) == 1


@pytest.mark.parametrize(("body", "returned"), [("caught", True), ("valued", ["a", "b", 3])])
def test_a_timeout_raises_or_returns_its_value(tree: Tree, body: str, returned: Any) -> None:
    handle = start(tree, body)
    tree.until(handle, "waiting")
    later(tree)
    assert got(handle) == returned


def test_an_earlier_end_is_heard_of_while_nothing_polls(tree: Tree) -> None:
    waiting = start(tree, "valued")  # due in an hour
    tree.until(waiting, "waiting")
    assert got(start(tree, "soon")) == "soon"
    assert waiting.status() == "waiting"
    waiting.cancel()


def test_a_timeout_fails_the_step_or_the_execution(tree: Tree) -> None:
    handles = [start(tree, "uncaught"), start(tree, "fails")]
    for handle in handles:
        tree.until(handle, "waiting")
    later(tree)
    step, whole = [tree.until(handle, "failed") for handle in handles]
    assert step.error["type"] == "WaitTimeout"
    assert [s.status for s in step.steps] == ["failed"]
    attempts = [(s.path, s.attempt, s.status, s.error["type"]) for s in whole.steps]
    assert attempts == [(step.steps[0].path, 1, "failed", "wait_timeout")]
    assert (whole.error["type"], "'boss'" in whole.error["message"]) == ("wait_timeout", False)
    assert '"boss"' in whole.error["message"]
    assert tree.durable.list_pending_inputs(whole.id) == []


def test_the_attempt_after_a_timeout_waits_afresh_and_keeps_what_was_answered(tree: Tree) -> None:
    handle = start(tree, "", "retried")
    handle.send_event("kept", "k")
    wait_until(lambda: [e.names for e in tree.durable.list_pending_events(handle.id)] == [["late"]])
    later(tree)
    wait_until(lambda: len(tree.ledger(handle.id)) == 4)  # woken by the timeout, and once more
    tree.until(handle, "waiting")
    handle.send_event("late", "l")
    assert handle.result(timeout=30)["kept"] == "k"
    assert (got(handle), handle.result()["at"]) == ("l", 2)
    assert [(s.attempt, s.status) for s in handle.execution().steps] == [
        (1, "failed"), (2, "completed"),
    ]  # fmt: skip


def test_timeouts_come_although_their_process_is_killed(tree: Tree) -> None:
    handle = start(tree, "caught")
    tree.until(handle, "waiting")
    pid = tree.child("wait_timeouts")["pid"]
    kill(pid)
    later(tree)
    tree.replaced("wait_timeouts", pid)
    assert got(handle) is True


def test_a_cancelled_execution_waits_for_nothing(tree: Tree) -> None:
    handle = start(tree, "text")
    tree.until(handle, "waiting")
    handle.cancel()
    assert tree.durable.list_pending_inputs(handle.id) == []
    with pytest.raises(NoPendingInput):
        handle.provide_input("q", "late")
    with pytest.raises(AlreadyFinished):
        handle.send_event("a")


def test_the_calls_are_coroutines_too(tree: Tree) -> None:
    async def story() -> None:
        async with AsyncDurable(tree.dsn, schema=tree.schema) as durable:
            given = {"body": "inputs", "ledger": None}
            handle = await durable.start(tree.workflows["waits"], given)
            for answer in ("one", "two"):
                while not await durable.list_pending_inputs(handle.id):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await handle.provide_input("q", answer)
            assert (await handle.result(timeout=30))["got"] == ["one", "two"]
            other = await durable.start(tree.workflows["waits"], given | {"body": "event"})
            await other.send_event("a", 1)
            assert (await other.result(timeout=30))["got"] == 1
            assert await durable.list_pending_events(other.id) == []
            assert len(await durable.list_events(other.id)) == 1

    asyncio.run(story())
