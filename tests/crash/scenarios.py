"""What is done with each workflow from outside while it is swept, by a client that nothing meets."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from durable_otp import Durable, Workflow
from durable_otp.errors import AlreadyFinished, NoPendingInput
from tests.crash import workflows
from tests.support.ledger import Ledger


class World(Protocol):
    """What a scenario may use: nothing of it goes through the proxy."""

    durable: Durable
    ledger: Ledger
    done: set[str]
    """What a scenario has done once already in this run."""

    def advance(self, by: timedelta) -> None:
        """Move the schema's clock."""

    def given(self, key: str, **more: Any) -> dict[str, Any]:
        """Return the input of an execution that is known by a key."""


Start = Callable[[World, Workflow, str], str]
Nudge = Callable[[World, str], None]


def start(world: World, workflow: Workflow, key: str) -> str:
    """Start an execution and return its id."""
    given = world.given(key, items=["a", "b", "c"])
    return world.durable.start(workflow, given, idempotency_key=key).id


def start_by_schedule(world: World, workflow: Workflow, key: str) -> str:
    """Make a schedule whose next slot comes, and return its name."""
    world.durable.create_schedule(f"s-{key}", workflow, "*/10 * * * *", input=world.given(key))
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


@dataclass(frozen=True)
class Scenario:
    """A workflow and what happens to it from outside."""

    workflow: Workflow
    start: Start = start
    nudge: Nudge = nothing

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.workflow.name


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
        Scenario(workflows.sleeper, nudge=pass_time),
        Scenario(workflows.events, start=start_with_mail, nudge=send_both),
        Scenario(workflows.asking, nudge=answer),
        Scenario(workflows.children, nudge=pass_time),
        Scenario(workflows.cron, start=start_by_schedule, nudge=pass_a_slot),
    )
}
