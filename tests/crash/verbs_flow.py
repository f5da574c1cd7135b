"""Verbs that hold starts back, act on many executions, or send what comes too late."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from durable_otp import Durable
from durable_otp.errors import AlreadyFinished
from durable_otp.storage import waits
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.waits import Sent
from tests.crash.verb import Arguments, Verb, command, order, with_client
from tests.support.tables import Tables

SENT = Sent("paid", 1, "00000000-0000-4000-8000-00000000000b")


def begun_with(ago: str = "0", **options: Any) -> Callable[[Tables], Arguments]:
    """Return what starts an execution first, so long ago."""

    def prepared(tables: Tables) -> Arguments:
        with Durable(tables.dsn, schema=tables.schema) as durable:
            durable.start(order, {"n": 0}, **options)
        tables.sql(
            "UPDATE durable.workflow_executions SET inserted_at = inserted_at - %s::interval", [ago]
        )
        return []

    return prepared


def start_with(**options: Any) -> Callable[..., Any]:
    return with_client(lambda durable: durable.start(order, {"n": 1}, **options))


def some(*statuses: str) -> Callable[[Tables], Arguments]:
    """Return what makes executions in these statuses."""

    def prepared(tables: Tables) -> Arguments:
        for status in statuses:
            tables.add(status, workflow="order", error={"type": "ValueError"})
        return []

    return prepared


def ended(tables: Tables) -> Arguments:
    """An execution that has ended."""
    return [tables.add("completed", workflow="order")]


def heard_and_ended(tables: Tables) -> Arguments:
    """An execution that has ended, with an event that it took before."""
    row = tables.add("running", workflow="order")
    send_the_same(tables.dsn, tables.schema, row)
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'completed', scheduled_at = NULL, "
        "locked_by = NULL, lock_token = NULL, locked_at = NULL, completed_at = durable.now()"
    )
    return [row]


def limited(tables: Tables) -> Arguments:
    """A queue with limits."""
    tables.sql(
        "INSERT INTO durable.queue_limits (queue, concurrency, by_operator, tokens, refilled_at, "
        "updated_at) VALUES ('default', 1, true, 0, durable.now(), durable.now())"
    )
    return []


def scheduled_for_days(tables: Tables) -> Arguments:
    """A schedule that was there for some days."""
    with Durable(tables.dsn, schema=tables.schema) as durable:
        durable.create_schedule("daily", order, "0 9 * * *")
    return []


@with_client
def send_too_late(durable: Durable, execution: str) -> None:
    with suppress(AlreadyFinished):
        durable.send_event(execution, "paid", 1)


def send_the_same(dsn: str, schema: str, execution: str) -> None:
    """Send an event as somebody does who has no answer to the first time."""
    database = PooledDatabase(dsn, schema)
    database.run(waits.send_event, execution, SENT)
    database.close()


@with_client
def fill_in(durable: Durable) -> None:
    from datetime import UTC, datetime

    since = datetime(2026, 1, 1, tzinfo=UTC)
    durable.backfill_schedule("daily", since, since + timedelta(days=3))


FLOW: dict[str, Verb] = {
    "start in turns": Verb(start_with(concurrency_key="k"), again=False),
    "start in turns, all taken": Verb(
        start_with(concurrency_key="k"), begun_with(concurrency_key="k"), again=False
    ),
    "start once in a time": Verb(
        start_with(idempotency_key="k", unique_for=60), begun_with("1 day", idempotency_key="k")
    ),
    "start when it is quiet": Verb(
        start_with(idempotency_key="k", debounce=60),
        begun_with(idempotency_key="k", debounce=60),
    ),
    "start when it is quiet, and it has begun": Verb(
        start_with(idempotency_key="k", debounce=60), begun_with(idempotency_key="k"), again=False
    ),
    "cancel_executions": Verb(
        with_client(lambda d: d.cancel_executions(workflow="order")), some("pending", "pending")
    ),
    "retry_executions": Verb(
        with_client(lambda d: d.retry_executions(workflow="order")), some("failed", "failed")
    ),
    "backfill_schedule": Verb(fill_in, scheduled_for_days),
    "send_event, too late": Verb(send_too_late, ended),
    "send_event, again after the end": Verb(send_the_same, heard_and_ended),
    "command: queues limit": Verb(command("queues", "limit", "default", "--rate", "9/1m")),
    "command: queues limit, none": Verb(command("queues", "limit", "default", "--none"), limited),
}
