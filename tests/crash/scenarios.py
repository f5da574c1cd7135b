"""What is done with each workflow from outside while it is swept, by an undisturbed client."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from durable_otp import Workflow
from durable_otp.errors import AlreadyFinished, DurableError, NoPendingInput
from tests.crash import troubled, workflows
from tests.crash.planted import (
    start_a_zombie,
    start_an_orphan,
    start_held_by_a_dead_manager,
    start_held_by_a_ghost,
    start_unreadable,
)
from tests.crash.points import SIBLINGS
from tests.crash.world import World

Start = Callable[[World, Workflow, str], str]
Nudge = Callable[[World, str], None]


def start(world: World, workflow: Workflow, key: str) -> str:
    """Start an execution and return its id."""
    given = world.given(key, items=["a", "b", "c"])
    return world.durable.start(workflow, given, idempotency_key=key).id


def start_by_schedule(world: World, workflow: Workflow, key: str) -> str:
    """Make a schedule whose next slot comes, and return its name."""
    world.durable.create_schedule(
        f"s-{key}", workflow, "*/10 * * * *", input=world.given(key), overlap="skip"
    )
    return f"s-{key}"


def start_with_mail(world: World, workflow: Workflow, key: str) -> str:
    """Start, and send an event before anybody waits for it."""
    execution = start(world, workflow, key)
    send(world, execution, "early")
    return execution


def nothing(_: World, __: str) -> None:
    """Leave it alone."""


def pass_time(world: World, _: str) -> None:
    """Move the clock to the next moment at which something is due, once nothing is due by now."""
    (row,) = world.ledger.sql(
        "WITH due AS ("
        " SELECT status, lock_token, scheduled_at AS at FROM {s}.workflow_executions"
        " WHERE completed_at IS NULL AND (scheduled_at IS NOT NULL OR lock_token IS NOT NULL)"
        " UNION ALL SELECT 'waiting', NULL, w.due_at FROM {s}.waits w"
        " JOIN {s}.workflow_executions e ON e.id = w.execution_id"
        " WHERE w.status = 'open' AND e.status = 'waiting' AND w.due_at IS NOT NULL) "
        "SELECT bool_or(lock_token IS NOT NULL OR at <= {s}.now()) AS busy, "
        "extract(epoch FROM min(at) - {s}.now())::float8 AS seconds FROM due"
    )
    if row["seconds"] is not None and not row["busy"]:
        world.advance(timedelta(seconds=row["seconds"] + 0.001))


def pass_a_slot(world: World, name: str) -> None:
    """Move the clock to the schedule's first slot, and let no other come."""
    if name in world.done:
        return
    world.done.add(name)
    world.advance(timedelta(minutes=10))
    (row,) = world.ledger.sql("SELECT count(*) AS n FROM {s}.scheduled_workflows WHERE enabled")
    assert row["n"] == 1


def send_both(world: World, execution: str) -> None:
    """Send what is waited for: one event while nobody waits, the others to waits."""
    for wait in world.durable.list_pending_events(execution):
        names = {"single": wait.names, "any": wait.names[-1:], "all": wait.names}[wait.kind]
        for name in names:
            send(world, execution, name)


def answer(world: World, execution: str) -> None:
    """Let the first question's time pass, and answer the second."""
    for question in world.durable.list_pending_inputs(execution):
        if question.name == "ignored":
            pass_time(world, execution)
        else:
            with suppress(NoPendingInput):
                world.durable.provide_input(execution, question.name, "42")


def send(world: World, execution: str, name: str) -> None:
    """Send an event once per run."""
    if name not in world.done:
        world.done.add(name)
        with suppress(AlreadyFinished):
            world.durable.send_event(execution, name, {"of": name})


def start_long(world: World, workflow: Workflow, key: str) -> str:
    """Start an execution whose body lasts until it is told otherwise."""
    given = world.given(key, gate=str(world.scratch / key))
    return world.durable.start(workflow, given, idempotency_key=key).id


def stop_the_manager(world: World, execution: str) -> None:
    """Have the queue's manager stop in good order while a body runs, and then end the body."""
    begun = world.ledger.sql("SELECT key FROM {l}.effect WHERE execution = %s::uuid", execution)
    if not begun:
        return
    if "stop" not in world.done:
        world.done.add("stop")
        with suppress(DurableError):
            world.runtime.restart("default")
    if "gate" not in world.done:
        world.done.add("gate")
        (row,) = world.durable.list_executions(id_prefix=execution)
        given = world.durable.get_execution(row.id).input
        Path(given["gate"]).touch()


def start_with_books(world: World, workflow: Workflow, key: str) -> str:
    """Start, with a table for what is booked."""
    columns = "(execution uuid, what text)"
    world.ledger.sql(f"CREATE TABLE IF NOT EXISTS {{l}}.bookings {columns}")
    return start(world, workflow, key)


def start_in_turns(world: World, workflow: Workflow, key: str) -> str:
    """Start two executions of which the second has to wait for its turn."""
    world.ledger.intent(f"{key}-2")
    handles = [
        world.durable.start(
            workflow, world.given(each, number=number), concurrency_key=key, idempotency_key=each
        )
        for number, each in ((1, key), (2, f"{key}-2"))
    ]
    world.ledger.ack(f"{key}-2", handles[1].id)
    return handles[0].id


def answer_meanwhile(world: World, execution: str) -> None:
    """Answer one question; and the other one while the step runs again for the first."""
    gate = world.scratch / world.durable.get_execution(execution).input["intent"]
    asked = {each.name for each in world.durable.list_pending_inputs(execution)}
    (row,) = world.ledger.sql(
        "SELECT count(*) AS n FROM {l}.effect WHERE execution = %s::uuid AND phase = 'begin'",
        execution,
    )
    status = str(world.durable.status(execution))
    if asked == {"first", "second"} and status == "waiting":
        gate.with_name(f"{gate.name}.begun").touch()
        _provide(world, execution, "first")
    elif asked == {"second"} and status == "running" and row["n"] > 1:
        _provide(world, execution, "second")
        gate.with_name(f"{gate.name}.end").touch()


def _provide(world: World, execution: str, name: str) -> None:
    with suppress(NoPendingInput):
        world.durable.provide_input(execution, name, f"to {name}")


def order_stacks(world: World, _: str) -> None:
    """Order the stacks of a process once, and see that they come."""
    if "order" not in world.done:
        world.done.add("order")
        try:
            assert world.durable.dump_stacks("pruner", timeout=LONGEST_ORDER)
        except DurableError as error:
            raise AssertionError(f"an order was answered with {error}") from error


def replace_the_registrar(world: World, _: str) -> None:
    """Have the registrar stop in good order, and another one begin."""
    if "replaced" not in world.done:
        world.done.add("replaced")
        world.runtime.restart("registrar")


def wait_for_ages(world: World, _: str) -> None:
    """Move the clock past every timeout, once."""
    if "ages" not in world.done:
        world.done.add("ages")
        world.advance(timedelta(seconds=AGES + 60))


def miss_the_deadline(world: World, execution: str) -> None:
    """Move the clock past the deadline when the execution waits."""
    waiting = world.durable.list_pending_events()
    if "late" not in world.done and waiting and _is_waiting(world, execution):
        world.done.add("late")
        world.advance(timedelta(seconds=61))


def let_one_fail(world: World, execution: str) -> None:
    """Send what has one of two children fail, once both of them wait."""
    open_waits = {wait.step: wait.execution_id for wait in world.durable.list_pending_events()}
    if {"both/fails", "both/waits"} <= open_waits.keys():
        send(world, open_waits["both/fails"], "fail")


def _is_waiting(world: World, execution: str) -> bool:
    return str(world.durable.status(execution)) == "waiting"


def outlive_it(world: World, execution: str) -> None:
    """Move the clock past the retention once the execution has ended."""
    rows = world.ledger.sql(
        "SELECT completed_at FROM {s}.workflow_executions WHERE id = %s::uuid", execution
    )
    if "old" not in world.done and rows and rows[0]["completed_at"] is not None:
        world.done.add("old")
        world.advance(timedelta(seconds=RETENTION + 60))


def find_the_codec(world: World, execution: str) -> None:
    """Decode the input once it was set aside, and let the time until the next try pass."""
    world.ledger.sql(
        "UPDATE {s}.workflow_executions "
        "SET input = convert_from(decode(input ->> 'encoded', 'base64'), 'UTF8')::jsonb "
        "WHERE id = %s::uuid AND input ? '$codec' AND status = 'pending' "
        "AND lock_token IS NULL AND scheduled_at > {s}.now()",
        execution,
    )
    pass_time(world, execution)


LONGEST_ORDER = 20.0
AGES = 1e6
"""No claim goes stale by the clock before a scenario says so."""
RETENTION = 30 * 86400.0
BOTH = ("worker", "manager")


@dataclass(frozen=True)
class Scenario:
    """A workflow and what happens to it from outside.

    ``roles`` are those whose statements are swept; the idle rounds of the others are swept once,
    with the plainest workflow. ``is_removed``: the end is that nothing is left. ``times_out``:
    steps that begin twice after a death, because a wait that was in vain is the business of the
    attempt that saw it, and the next attempt waits anew.
    """

    workflow: Workflow
    start: Start = start
    nudge: Nudge = nothing
    roles: tuple[str, ...] = BOTH
    called: str = ""
    is_removed: bool = False
    times_out: tuple[str, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What it is called in a report."""
        return self.called or self.workflow.name


_RECOVERY = ("stale_job_recovery",)
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(workflows.plain),
        Scenario(workflows.retry),
        Scenario(workflows.backoff, nudge=pass_time),
        Scenario(workflows.branch),
        Scenario(workflows.loop),
        Scenario(workflows.parallel),
        Scenario(workflows.each),
        Scenario(workflows.saga, nudge=pass_time),
        Scenario(workflows.sleeper, nudge=pass_time, roles=(*BOTH, "sleep_waker")),
        Scenario(workflows.events, start=start_with_mail, nudge=send_both),
        Scenario(
            workflows.asking, nudge=answer, roles=(*BOTH, "wait_timeouts"), times_out=("ignored",)
        ),
        Scenario(
            workflows.children,
            nudge=pass_time,
            roles=(*BOTH, "wait_timeouts"),
            times_out=("call_in_vain",),
        ),
        Scenario(
            workflows.cron, start_by_schedule, pass_a_slot, roles=("worker", "manager", "scheduler")
        ),
        # what the twelve do not meet by themselves
        Scenario(troubled.late, nudge=miss_the_deadline, roles=("wait_timeouts",)),
        Scenario(troubled.failing, nudge=let_one_fail),
        Scenario(troubled.orphans, nudge=miss_the_deadline, roles=("wait_timeouts",)),
        Scenario(troubled.deadly, nudge=pass_time, roles=("manager",)),
        Scenario(troubled.slow, nudge=pass_time, roles=("manager",)),
        Scenario(
            troubled.stopped,
            start_long,
            stop_the_manager,
            roles=("manager",),
            settings=(("shutdown_timeout", 0.2),),
        ),
        Scenario(
            workflows.plain, start_held_by_a_ghost, wait_for_ages, _RECOVERY, called="stale claim"
        ),
        Scenario(
            workflows.plain,
            start_held_by_a_dead_manager,
            roles=_RECOVERY,
            called="dead manager",
            settings=(("node_timeout", 1.0),),
        ),
        Scenario(
            workflows.plain, start_a_zombie, wait_for_ages, ("zombie_recovery",), called="zombie"
        ),
        Scenario(
            workflows.plain, nudge=outlive_it, roles=("pruner",), called="pruned", is_removed=True
        ),
        Scenario(
            workflows.plain,
            roles=SIBLINGS,
            called="idle siblings",
            settings=(("node_timeout", 1.0),),
        ),
        Scenario(
            workflows.plain, start_an_orphan, roles=("wait_timeouts",), called="planted orphan"
        ),
        Scenario(workflows.plain, start_unreadable, find_the_codec, called="unreadable"),
        Scenario(troubled.books, start_with_books),
        Scenario(troubled.two_answers, start_long, answer_meanwhile),
        Scenario(workflows.plain, start_in_turns, called="in turns"),
        Scenario(workflows.plain, nudge=order_stacks, roles=("registrar",), called="ordered"),
        Scenario(
            workflows.plain,
            nudge=replace_the_registrar,
            roles=("registrar",),
            called="registrar replaced",
        ),
        Scenario(
            workflows.plain,
            called="limited",
            settings=(("limits", (("global_concurrency", 5), ("rate_limit", "1000/1s"))),),
        ),
    )
}
TWELVE = tuple(SCENARIOS)[:13]
"""The workflows that the issue asks for: thirteen, because a long back-off is one of its own."""
