"""What the nodes run: a mix of everything, each with one right outcome whatever breaks meanwhile.

Bodies write into the ledger over a connection of their own, straight to PostgreSQL, and again until
it is written: the record must not be lost where the work is not.
"""

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from durable_otp import Context, Fatal, Retry, Workflow, call_workflow, sleep, wait_for_event

DSN, LEDGER, PLACE = "DURABLE_SOAK_DSN", "DURABLE_SOAK_LEDGER", "DURABLE_SOAK_PLACE"
ENDURING = {"max_crashes": 100_000}
"""Nobody but the nemesis kills these, and it may do so as often as it likes."""
MAX_CRASHES = 3
SCHEDULED = "soak"
MEMORY = Path("/sys/fs/cgroup/memory")
GROUP = "durable-soak-"
OOM_BYTES = 160 << 20

line = Workflow("line", **ENDURING)
batched = Workflow("batched", queue="batched", **ENDURING)
stubborn = Workflow("stubborn", **ENDURING)
napper = Workflow("napper", **ENDURING)
hearer = Workflow("hearer", **ENDURING)
impatient = Workflow("impatient", **ENDURING)
fan = Workflow("fan", **ENDURING)
caller = Workflow("caller", **ENDURING)
saga = Workflow("saga", **ENDURING)
mortal = Workflow("mortal", queue="slow", **ENDURING)
poison = Workflow("poison", queue="slow", max_crashes=MAX_CRASHES)
endless = Workflow("endless", **ENDURING)
turner = Workflow("turner", **ENDURING)
single = Workflow("single", **ENDURING)
booked = Workflow("booked", **ENDURING)
timed = Workflow("timed", **ENDURING)
timed.schedule("* * * * *")

_kept: dict[int, "psycopg.Connection[Any]"] = {}


def write(statement: str, values: tuple[Any, ...]) -> None:
    """Write into the ledger, as often as it takes."""
    pid = os.getpid()
    while True:
        try:
            connection = _kept.get(pid)
            if connection is None or connection.closed:
                connection = _kept[pid] = psycopg.connect(
                    os.environ[DSN], autocommit=True, connect_timeout=5, application_name="ledger"
                )
            connection.execute(statement.format(l=os.environ[LEDGER]).encode(), values)
        except psycopg.Error:
            stale = _kept.pop(pid, None)
            if stale is not None:
                stale.close()
            time.sleep(0.1)
        else:
            return


EFFECT = """INSERT INTO {l}.effect (key, execution, step, attempt, pid, phase, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s)"""


@contextmanager
def noted(ctx: Context) -> Iterator[None]:
    """Note a body's begin and its end; each with a number, to know a repeated line by."""
    about = (ctx.idempotency_key, ctx.execution_id, ctx.step, ctx.attempt, os.getpid())
    write(EFFECT, (*about, "begin", uuid.uuid4().hex))
    yield
    write(EFFECT, (*about, "end", uuid.uuid4().hex))


def work(ctx: Context) -> None:
    """Take a moment, as the input says."""
    with noted(ctx):
        time.sleep(random.uniform(0, ctx.input["seconds"]))


def adding(workflow: Workflow, name: str, number: int, **options: Any) -> None:
    """Add a step that works and adds to a sum: a step done twice, or not at all, shows."""

    @workflow.step(name=name, **options)
    def add(ctx: Context) -> None:
        work(ctx)
        ctx.increment("sum", number)


for _workflow in (line, batched, turner, single):
    adding(_workflow, "one", 1)
    adding(_workflow, "ten", 10)
    adding(_workflow, "hundred", 100)

adding(stubborn, "one", 1)


@stubborn.step(retry=Retry(max_attempts=50, base=0.2, max_backoff=1.5))
def refuse_twice(ctx: Context) -> dict[str, Any]:
    """Fail in the first two attempts, whatever else has happened to them."""
    work(ctx)
    if ctx.attempt <= 2:
        raise ValueError("not yet")
    return {"persuaded": True}


adding(napper, "one", 1)


@napper.step
def nap(ctx: Context) -> None:
    """Sleep durably."""
    sleep(ctx.input["nap"])


adding(napper, "ten", 10)
adding(hearer, "one", 1)


@hearer.step
def hear(_: Context) -> dict[str, Any]:
    """Wait for what the load sends."""
    return {"heard": wait_for_event("word")}


adding(hearer, "ten", 10)


@impatient.step
def give_up(_: Context) -> dict[str, Any]:
    """Wait for what nobody sends."""
    return {"heard": wait_for_event("never", timeout=1, timeout_value="nothing")}


adding(impatient, "one", 1)


@fan.each("items", max_concurrency=2, queue="slow")
def square(ctx: Context, item: int) -> int:
    """Be one of several."""
    work(ctx)
    return item * item


adding(fan, "one", 1)


@caller.step
def call(ctx: Context) -> dict[str, Any]:
    """Have another workflow do it."""
    return {"called": call_workflow(line, {"seconds": ctx.input["seconds"]})["sum"]}


adding(saga, "one", 1, compensate="undo_one")
adding(saga, "ten", 10, compensate="undo_ten")


@saga.step
def regret(ctx: Context) -> None:
    """Have everything undone."""
    work(ctx)
    raise Fatal("regretted")


@saga.compensate
def undo_one(ctx: Context) -> dict[str, Any]:
    """Undo the first."""
    work(ctx)
    return {"undone": "one"}


@saga.compensate
def undo_ten(ctx: Context) -> dict[str, Any]:
    """Undo the second."""
    work(ctx)
    return {"undone": "ten"}


@mortal.step
def die_once(ctx: Context) -> dict[str, Any]:
    """End the worker in the way the input says, the first time."""
    with noted(ctx):
        mark = Path(os.environ[PLACE]) / ctx.execution_id
        if not mark.exists():
            mark.touch()
            DEATHS[ctx.input["death"]]()
        return {"survived": ctx.input["death"]}


adding(mortal, "one", 1)


@poison.step
def kill_the_worker(ctx: Context) -> None:
    """Die each time."""
    work(ctx)
    os.kill(os.getpid(), signal.SIGKILL)


@endless.step
def wait_for_ever(ctx: Context) -> None:
    """Be cancelled."""
    with noted(ctx):
        sleep(3600)


adding(endless, "one", 1)


BOOK = "CREATE TABLE IF NOT EXISTS {l}.booked (execution uuid NOT NULL)"
"""What a step's transaction writes; nothing else but the transaction keeps it from being twice."""


@booked.step(transaction=True, retry=Retry(max_attempts=1000, base=0.2, max_backoff=1.5))
def book(ctx: Context, connection: "psycopg.Connection[Any]") -> dict[str, Any]:
    """Write in the transaction of the checkpoint."""
    work(ctx)
    statement = f"INSERT INTO {os.environ[LEDGER]}.booked (execution) VALUES (%s)"
    connection.execute(statement.encode(), [ctx.execution_id])
    return {"booked": True}


adding(booked, "one", 1)


@timed.step
def tick(ctx: Context) -> None:
    """Run once a minute, whoever runs it."""
    with noted(ctx):
        pass


def run_out_of_memory() -> None:
    """Be killed by the kernel for memory, or by hand where no limit can be set."""
    group = MEMORY / f"{GROUP}{os.getpid()}"
    with suppress(OSError):
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(OOM_BYTES))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        hoard = [bytearray(8 << 20) for _ in range(64)]
        hoard.clear()
    os.kill(os.getpid(), signal.SIGKILL)


def remove_memory_groups() -> None:
    """Remove the limits of processes that are gone; one in use stays."""
    for group in MEMORY.glob(f"{GROUP}*"):
        with suppress(OSError):
            group.rmdir()


def close_everything() -> None:
    """Close what the worker lives on."""
    os.closerange(3, 256)
    time.sleep(0.2)


def leave_a_stubborn_child() -> None:
    """Start a program that takes no SIGTERM, and die."""
    subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"], start_new_session=True)
    os.kill(os.getpid(), signal.SIGKILL)


DEATHS = {
    "exit": lambda: os._exit(0),
    "memory": run_out_of_memory,
    "descriptors": close_everything,
    "child": leave_a_stubborn_child,
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}
