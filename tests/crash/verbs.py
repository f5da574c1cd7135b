"""The verbs that are swept: what each finds, what a client does, and whether it may do it again."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from durable_otp import Durable, Runtime
from durable_otp.client.handle import Handle
from durable_otp.errors import ResultTimeout
from durable_otp.storage import overview, test_clock
from durable_otp.storage.adapter import PostgresAdapter
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.pool import PooledDatabase
from tests.crash.verb import (
    OLD,
    TOKEN,
    Arguments,
    Verb,
    client,
    command,
    order,
    with_adapter,
    with_client,
)
from tests.crash.verbs_flow import FLOW
from tests.crash.verbs_seeing import SEEING
from tests.support.tables import Tables

LONGEST_IDLE = 60.0

# what verbs find


def waiting(tables: Tables) -> Arguments:
    """An execution that waits for an event."""
    row = tables.add("waiting", workflow="order", due_in=None)
    tables.add_wait(row, names=["paid"])
    return [row]


def asked(tables: Tables) -> Arguments:
    """An execution that waits for somebody's answer."""
    row = tables.add("waiting", workflow="order", due_in=None)
    wait = "00000000-0000-4000-8000-00000000000a"
    tables.add_wait(row, kind="input", id=wait, names=["asked"])
    tables.sql(
        "INSERT INTO durable.pending_inputs (id, execution_id, wait_id, name, type, created_at) "
        "VALUES (gen_random_uuid(), %s, %s, 'asked', 'text', durable.now())",
        [row, wait],
    )
    return [row]


def pending(tables: Tables) -> Arguments:
    """An execution that waits to be claimed, a mail in its box."""
    row = tables.add("pending", workflow="order", input={"a": 1})
    with Durable(tables.dsn, schema=tables.schema) as durable:
        durable.send_event(row, "hello")
    return [row]


def running(tables: Tables) -> Arguments:
    """One that somebody holds."""
    return [tables.add("running", workflow="order"), TOKEN]


def family(tables: Tables) -> Arguments:
    """A parent with children of its own."""
    parent = tables.add("waiting", workflow="order", due_in=None)
    for status in ("pending", "waiting", "completed"):
        tables.add(status, workflow="order", parent_id=parent, parent_path="block")
    return [parent]


def failed_family(tables: Tables) -> Arguments:
    """A block that failed, with children of every ending."""
    parent = tables.add("failed", workflow="order", error={"type": "ValueError"})
    tables.sql(
        "INSERT INTO durable.fan_outs (execution_id, path, visit, on_error, total, created, opened,"
        " context, opened_at) VALUES (%s, 'block', 1, 'fail_fast', 3, 3, 3, '{}', durable.now())",
        [parent],
    )
    for index, status in enumerate(("failed", "cancelled", "compensated")):
        child: dict[str, Any] = {"parent_id": parent, "parent_path": "block", "parent_visit": 1}
        tables.add(status, workflow="order", parent_index=index, start_path="block/x", **child)
    tables.add_wait(parent, status="cancelled", kind="child", path="block")
    return [parent]


def undone_in_vain(tables: Tables) -> Arguments:
    """An execution whose handler gave up."""
    row = tables.add("compensation_failed", workflow="order", error={"type": "ValueError"})
    tables.add_step(row, 1, path="one", name="one", compensation="undo")
    handler = {"is_compensation": True, "compensation_for": "one", "compensation": "undo"}
    tables.add_step(row, 2, path="one", name="undo", status="failed", **handler)
    return [row]


def done(tables: Tables) -> Arguments:
    """A completed execution with two steps."""
    row = tables.add("completed", workflow="order", input={"a": 1})
    for position, path in ((1, "one"), (2, "two")):
        following = {"next_path": "two"} if path == "one" else {}
        tables.add_step(row, position, path=path, name=path, **following)
    return [row]


def old(tables: Tables) -> Arguments:
    """Executions that have ended long ago."""
    for _ in range(3):
        row = tables.add("completed")
        tables.add_step(row, 1)
    tables.sql(
        "UPDATE durable.workflow_executions SET completed_at = durable.now() - interval '1y'"
    )
    return []


def scheduled(tables: Tables) -> Arguments:
    """A schedule."""
    with Durable(tables.dsn, schema=tables.schema) as durable:
        durable.create_schedule("daily", order, "0 9 * * *")
    return ["daily"]


def started(tables: Tables) -> Arguments:
    """Executions under keys that are given again."""
    start_many(["k1", "k2"])(tables.dsn, tables.schema)
    return []


def published(tables: Tables) -> Arguments:
    """A workflow that is known by its name only."""
    with Durable(tables.dsn, schema=tables.schema) as durable:
        durable.cancel(durable.start(order, {"n": 0}).id)
    return ["order", {"n": 1}]


def beside(prepare: Callable[[Tables], Arguments]) -> Callable[[Tables], Arguments]:
    """Return what makes a state that the verb is told nothing of."""

    def prepared(tables: Tables) -> Arguments:
        prepare(tables)
        return []

    return prepared


# what clients do


@with_client
def look_on(durable: Durable, execution: str) -> None:
    """Read everything there is to read."""
    durable.get_execution(execution, steps=True)
    durable.status(execution)
    (first, *_) = durable.list_executions(limit=1)
    durable.list_executions(after=first.id)
    durable.list_executions(order="oldest")
    durable.count_executions(status="pending")
    durable.stats()
    durable.list_pending_inputs()
    durable.list_pending_events()
    durable.list_events(execution)
    durable.list_children(execution)
    durable.list_schedules()
    durable.schema_version()


@with_client
def wait_for_its_end(durable: Durable, execution: str) -> None:
    with suppress(ResultTimeout):
        Handle(execution, durable).result(timeout=1.0)


@with_client
def listen_to_moves(durable: Durable) -> None:
    durable.subscribe().close()


@with_client
def change_the_schedule(durable: Durable, name: str) -> None:
    durable.update_schedule(name, cron="0 10 * * *")
    durable.disable_schedule(name)
    durable.enable_schedule(name)


def start_with(**options: Any) -> Callable[..., Any]:
    return with_client(lambda durable: durable.start(order, {"n": 1}, **options))


def start_many(keys: list[str] | None) -> Callable[..., Any]:
    given = [{"n": 1}, {"n": 2}]
    return with_client(lambda durable: durable.start_many(order, given, idempotency_keys=keys))


@with_adapter
def work_by_hand(adapter: PostgresAdapter, execution: str, token: str) -> None:
    adapter.heartbeat(execution, token)
    adapter.ack(execution, token)


@with_adapter
def fail_by_hand(adapter: PostgresAdapter, execution: str, token: str) -> None:
    adapter.nack(execution, "no", token)
    adapter.nack(execution, "no", token)  # too late: what is it by now?


@with_adapter
def claim_by_hand(adapter: PostgresAdapter, _: str) -> None:
    adapter.fetch_jobs("default", 1, "somebody")


@with_adapter
def put_off_by_hand(adapter: PostgresAdapter, execution: str, token: str) -> None:
    from datetime import UTC, datetime

    adapter.reschedule(execution, datetime(2100, 1, 1, tzinfo=UTC), token)


@with_adapter
def keep_house(adapter: PostgresAdapter, _: str) -> None:
    adapter.recover_stale_locks(1e9)
    adapter.recover_zombie_workflows(1e9)
    adapter.wake_sleeping_workflows(10)
    adapter.get_stats("default")


def run_a_tree(dsn: str, schema: str) -> None:
    with Runtime(dsn=dsn, schema=schema, workflows=[order], queues={"default": 1}) as runtime:
        runtime.pause("default")
        runtime.resume("default")


def run_until_idle(dsn: str, schema: str) -> None:
    with Runtime(dsn=dsn, schema=schema, workflows=[order], queues={"default": 1}) as runtime:
        assert runtime.wait_until_idle(LONGEST_IDLE)


def read_as_the_demo_does(dsn: str, schema: str, execution: str) -> None:
    database = PooledDatabase(dsn, schema)
    database.run(overview.journal_totals)
    database.run(overview.recoveries)
    database.run(overview.statuses_of, [execution])
    database.close()


def migrate_down(dsn: str, schema: str) -> None:
    Migrator(dsn, schema).migrate(0)


def migrate_up(dsn: str, schema: str) -> None:
    Migrator(dsn, schema).migrate(test_clock=True)


def move_the_clock(dsn: str, schema: str) -> None:
    database = Database(dsn, schema, role="test clock")
    database.run(test_clock.advance, timedelta(0))
    database.close()


def without_tables(tables: Tables) -> Arguments:
    Migrator(tables.dsn, tables.schema).migrate(0)
    return []


VERBS: dict[str, Verb] = {
    "start": Verb(start_with(), again=False),
    "start with a key": Verb(start_with(idempotency_key="k")),
    "start by name": Verb(client("start"), published, again=False),
    "start_many": Verb(start_many(None), again=False),
    "start_many with keys": Verb(start_many(["k1", "k2"])),
    "result": Verb(wait_for_its_end, pending),
    "reading": Verb(look_on, pending),
    "reading what waits": Verb(look_on, waiting),
    "cancel": Verb(client("cancel"), family),
    "retry": Verb(client("retry"), failed_family),
    "retry of an undoing": Verb(client("retry"), undone_in_vain),
    "fork": Verb(with_client(lambda d, e: d.fork(e, "two")), done, again=False),
    "send_event": Verb(with_client(lambda d, e: d.send_event(e, "paid", 1)), waiting, again=False),
    "send_event to come": Verb(
        with_client(lambda d, e: d.send_event(e, "later", 1)), pending, again=False
    ),
    "provide_input": Verb(with_client(lambda d, e: d.provide_input(e, "asked", "x")), asked),
    "create_schedule": Verb(with_client(lambda d: d.create_schedule("s", order, "0 9 * * *"))),
    "update_schedule": Verb(change_the_schedule, scheduled),
    "trigger_schedule": Verb(client("trigger_schedule"), scheduled, again=False),
    "delete_schedule": Verb(client("delete_schedule"), scheduled),
    "delete_executions": Verb(with_client(lambda d: d.delete_executions(OLD)), old),
    "delete_executions, only counted": Verb(
        with_client(lambda d: d.delete_executions(OLD, dry_run=True)), old
    ),
    "subscribe": Verb(listen_to_moves, repeats=False),
    "adapter: claim": Verb(claim_by_hand, pending, again=False),
    "adapter: ack": Verb(work_by_hand, running),
    "adapter: nack": Verb(fail_by_hand, running),
    "adapter: reschedule": Verb(put_off_by_hand, running),
    "adapter: upkeep": Verb(keep_house, pending),
    "migrate up": Verb(migrate_up, without_tables, repeats=False),
    "migrate down": Verb(migrate_down, repeats=False),
    "test clock": Verb(move_the_clock),
    "command: status": Verb(command("status"), beside(pending)),
    "command: tree": Verb(command("tree"), beside(pending)),
    "command: inspect": Verb(command("inspect"), pending),
    "command: queues": Verb(command("queues", "pause", "default")),
    "command: schedules": Verb(command("schedules"), beside(scheduled)),
    "command: cleanup": Verb(command("cleanup", "--older-than", "30d"), old),
    "demo": Verb(read_as_the_demo_does, pending),
    "start_many again": Verb(start_many(["k1", "k2"]), started),
    "send_event, its commit unknown": Verb(
        with_client(lambda d, e: d.send_event(e, "paid", 1)),
        waiting,
        again=False,
        first="COMMIT",
    ),
    "a tree": Verb(run_a_tree, repeats=False, roles=("migrator", "start", "runtime")),
    "a tree, until it is idle": Verb(run_until_idle, repeats=False, roles=("idle_watch",)),
    "a tree, until it stops": Verb(run_a_tree, repeats=False, roles=("registrar",)),
    **SEEING,
    **FLOW,
}
