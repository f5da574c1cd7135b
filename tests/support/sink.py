"""A workflow that does what its input says, so that one definition serves every story.

The input names the action of each step, or a list of them, one per attempt (the last one repeats):
``{"one": "ok", "two": ["kill", "ok"]}``. An action is a name and perhaps an argument, as in
``"gate:/tmp/x"``. Every body first writes a line into a ledger, over a connection of its own, so a
test knows which bodies ran, where, and how often.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from durable_otp import Context, Fatal, Retry, Workflow, sleep
from durable_otp.errors import StepInterrupted
from tests.support.waiting import wait_until

STEPS = ("one", "two", "three")


def sink(name: str = "sink", *, steps: tuple[str, ...] = STEPS, **options: Any) -> Workflow:
    """Return a sink workflow; ``timeout`` and ``retry`` in options are each step's."""
    timeout, retry = options.pop("timeout", None), options.pop("retry", None)
    workflow = Workflow(name, **options)
    for step in steps:
        workflow.step(name=step, timeout=timeout, retry=retry)(perform)
    return workflow


def given(dsn: str, schema: str, /, **actions: Any) -> dict[str, Any]:
    """Return an input: what each step does, and where the ledger is."""
    return {"ledger": [dsn, schema], "actions": actions}


def perform(ctx: Context) -> Any:
    """Be the body of every step."""
    actions = ctx.input["actions"].get(ctx.step, "ok")
    listed = actions if isinstance(actions, list) else [actions]
    action, _, argument = listed[min(ctx.attempt, len(listed)) - 1].partition(":")
    note(ctx, "begun")
    return ACTIONS[action](ctx, argument)


def note(ctx: Context, what: str) -> None:
    """Write a line into the ledger."""
    if ctx.input["ledger"] is None:
        return
    dsn, schema = ctx.input["ledger"]
    values = (ctx.execution_id, ctx.step, ctx.attempt, os.getpid(), what)
    with psycopg.connect(dsn, autocommit=True, application_name="ledger") as connection:
        connection.execute(
            f"INSERT INTO {schema}.ledger (execution_id, step, attempt, pid, what) "
            "VALUES (%s, %s, %s, %s, %s)".encode(),
            values,
        )


def ok(ctx: Context, _: str) -> dict[str, Any]:
    return {ctx.step: ctx.attempt}


def raise_(_: Context, kind: str) -> None:
    kinds: dict[str, type[Exception]] = {"": ValueError, "Fatal": Fatal, "KeyError": KeyError}
    raise kinds[kind]("as told")


def end_process(_: Context, how: str) -> None:
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "abort":
            os.abort()
        case "sys.exit":
            sys.exit(4)


def print_(ctx: Context, then: str) -> Any:
    print("printed", ctx.attempt)
    logging.getLogger("shop").warning("logged %d", ctx.attempt)
    os.write(2, b"written to 2\n")
    return ACTIONS["die"](ctx, then) if then else ok(ctx, "")


def hang(ctx: Context, where: str) -> Any:
    """Never return; only ``finally`` of the interruptible ones is ever seen."""
    try:
        match where:
            case "python":
                while True:
                    time.sleep(0.001)
            case "sleep":
                time.sleep(3600)
            case "swallow":
                with swallowing():
                    time.sleep(3600)
                note(ctx, "swallowed")
                time.sleep(3600)
            case "c":
                _lock_for_ever(ctypes.CDLL(None))
            case "gil":
                _lock_for_ever(ctypes.PyDLL(None))
            case "busy":
                sum(range(10**15))
    finally:
        note(ctx, "finally")


@contextlib.contextmanager
def swallowing() -> Iterator[None]:
    with contextlib.suppress(StepInterrupted):
        yield


def _lock_for_ever(library: Any) -> None:
    """Wait in C for a mutex that this thread holds: no signal ends that."""
    mutex = ctypes.create_string_buffer(128)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def gate(ctx: Context, path: str) -> dict[str, Any]:
    wait_until(lambda: Path(path).exists(), timeout=100, what=path)
    return ok(ctx, "")


def pause(ctx: Context, seconds: str) -> dict[str, Any]:
    """Take a while in Python, holding the slot; steps may meet whatever happens meanwhile."""
    time.sleep(float(seconds))
    return ok(ctx, "")


def gate_once(ctx: Context, path: str) -> dict[str, Any]:
    """Wait at the gate in the first attempt's first process only, which is meant to die there."""
    mark = Path(f"{path}.{ctx.execution_id}")
    if not mark.exists():
        mark.touch()
        gate(ctx, path)
    return ok(ctx, "")


def nap(ctx: Context, seconds: str) -> dict[str, Any]:
    """Sleep durably, once or (``0.1,0.2``) several times."""
    for number, each in enumerate(seconds.split(",")):
        note(ctx, f"before {number}")
        sleep(float(each))
    return ok(ctx, "")


def nap_then(ctx: Context, then: str) -> Any:
    """Sleep durably, then do something else."""
    sleep(0.1)
    action, _, argument = then.partition(":")
    return ACTIONS[action](ctx, argument)


def nap_swallowed(ctx: Context, seconds: str) -> dict[str, Any]:
    with contextlib.suppress(BaseException):
        sleep(float(seconds))
    return ok(ctx, "")


def spawn(ctx: Context, path: str) -> dict[str, Any]:
    """Start programs that outlive the step, one in a session of its own, then wait at the gate."""
    for alone in (False, True):
        child = subprocess.Popen(["sleep", "1000"], start_new_session=alone)
        note(ctx, f"child {child.pid}")
    return gate(ctx, path)


def spoil(ctx: Context, _: str) -> dict[str, Any]:
    """Leave the process in a mess."""
    sys.stdout.close()
    sys.stderr = None  # type: ignore[assignment]
    os.close(1)
    return ok(ctx, "")


def grow(ctx: Context, megabytes: str) -> dict[str, Any]:
    """Keep memory for as long as the process lives."""
    KEPT.append(bytearray(int(megabytes) << 20))
    return ok(ctx, "")


KEPT: list[bytearray] = []
ACTIONS: dict[str, Any] = {
    "ok": ok,
    "raise": raise_,
    "die": end_process,
    "print": print_,
    "hang": hang,
    "gate": gate,
    "pause": pause,
    "gate_once": gate_once,
    "nap": nap,
    "nap_then": nap_then,
    "nap_swallowed": nap_swallowed,
    "spawn": spawn,
    "spoil": spoil,
    "grow": grow,
    "big": lambda ctx, _: {"value": "x" * 2000},
    "unstorable": lambda ctx, _: {"value": float("nan")},
    "interrupts_itself": lambda ctx, _: (_ for _ in ()).throw(StepInterrupted()),
}
RETRY_AT_ONCE = Retry(max_attempts=3, backoff="constant", base=0, jitter=0)
