"""Executions as a death has left them: made by hand, because no death can be timed so."""

from durable_otp import Workflow
from durable_otp.storage.adapter import PostgresAdapter
from tests.crash.world import World


def start_held_by_a_ghost(world: World, workflow: Workflow, key: str) -> str:
    """Start an execution that somebody has claimed who will never come back."""
    return _claimed(world, workflow, key, "ghost")


def start_held_by_a_dead_manager(world: World, workflow: Workflow, key: str) -> str:
    """The same of a manager and a node that have shown that they live, and do not any more."""
    world.ledger.sql(
        "INSERT INTO {s}.nodes (id, name, hostname, pid, started_at, seen_at) "
        "VALUES (%s, 'dead', 'dead', 0, {s}.now(), {s}.now())",
        f"node-{key}",
    )
    world.ledger.sql(
        "INSERT INTO {s}.queue_managers (id, node_id, queue, started_at, seen_at) "
        "VALUES (%s, %s, 'default', {s}.now(), {s}.now())",
        key,
        f"node-{key}",
    )
    return _claimed(world, workflow, key, key)


def start_a_zombie(world: World, workflow: Workflow, key: str) -> str:
    """Start an execution that waits for nothing, which the product itself never makes."""
    execution = _claimed(world, workflow, key, "ghost")
    world.ledger.sql(
        "UPDATE {s}.workflow_executions SET status = 'waiting', lock_token = NULL, "
        "locked_by = NULL, locked_at = NULL, scheduled_at = NULL WHERE id = %s::uuid",
        execution,
    )
    return execution


def _claimed(world: World, workflow: Workflow, key: str, holder: str) -> str:
    given = world.given(key)
    world.ledger.fault("planted", holder)
    handle = world.durable.start(workflow, given, idempotency_key=key, queue="limbo")
    with PostgresAdapter(world.ledger.dsn, schema=world.ledger.schema) as adapter:
        assert adapter.fetch_jobs("limbo", 1, holder)
    world.ledger.sql(
        "UPDATE {s}.workflow_executions SET queue = 'default' WHERE id = %s::uuid", handle.id
    )
    return handle.id


def start_unreadable(world: World, workflow: Workflow, key: str) -> str:
    """Start an execution whose input was encoded by a codec that this node has not."""
    world.ledger.fault("planted", key)
    given = world.given(key)
    handle = world.durable.start(workflow, given, idempotency_key=key, queue="limbo")
    world.ledger.sql(
        "UPDATE {s}.workflow_executions SET queue = 'default', input = jsonb_build_object("
        "'$codec', 'lost', 'encoded', encode(convert_to(input::text, 'UTF8'), 'base64')) "
        "WHERE id = %s::uuid",
        handle.id,
    )
    return handle.id


def start_an_orphan(world: World, workflow: Workflow, key: str) -> str:
    """Make a child at work whose parent has ended, as a death between two statements leaves it."""
    parent, child = (
        world.durable.start(workflow, world.given(key, **more), idempotency_key=k, queue="limbo").id
        for k, more in ((key, {}), (f"{key}-child", {"number": 1}))
    )
    world.ledger.fault("planted", parent)
    world.ledger.sql(
        "UPDATE {s}.workflow_executions SET parent_id = %s::uuid, parent_path = 'one', "
        "parent_visit = 1 WHERE id = %s::uuid",
        parent,
        child,
    )
    world.ledger.sql(
        "UPDATE {s}.workflow_executions SET status = 'failed', scheduled_at = NULL, "
        'error = \'{"type": "planted"}\', completed_at = {s}.now() WHERE id = %s::uuid',
        parent,
    )
    return parent
