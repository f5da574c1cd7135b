"""Minutely schedules of a schema whose clock the tests set: how to make, run and look at them."""

from datetime import datetime, timedelta

from durable_otp.storage import definitions, schedules, slots
from durable_otp.storage.definitions import PublishedDefinition
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.schedule import ScheduleSettings

MINUTE = timedelta(minutes=1)


def begin_a_minute(tables):
    """Empty the tables and let a minute begin, so that it does not end in the middle of a test."""
    tables.empty()
    tables.sql(
        'UPDATE durable.test_clock SET "offset" = '
        "date_trunc('minute', now()) + interval '65 seconds' - now()"
    )


def publish(database):
    """Publish the workflow that the schedules start."""
    workflow = Workflow("w", version="3", queue="shop", priority=7, timeout=60)

    @workflow.step
    def step(ctx): ...

    definition = workflow.definition()
    facts = (definition.name, definition.version, "f", definition.description())
    database.run(definitions.publish, [PublishedDefinition(*facts)])


def this_minute(tables) -> datetime:
    (row,) = tables.sql("SELECT date_trunc('minute', durable.now()) AS minute")
    return row["minute"]


def make(tables, database, name="s", *, missed=0, workflow="w", **options) -> datetime:
    """Create a minutely schedule whose slot of this minute, and some before it, are due."""
    database.run(schedules.create, ScheduleSettings(name, workflow, "* * * * *", **options))
    minute = this_minute(tables)
    set_row(tables, name, next_run_at=minute - missed * MINUTE)
    return minute


def set_row(tables, name="s", **columns):
    pairs = ", ".join(f"{column} = %({column})s" for column in columns)
    tables.sql(
        f"UPDATE durable.scheduled_workflows SET {pairs} WHERE name = %(of)s",
        columns | {"of": name},
    )


def runs(tables):
    return tables.sql("SELECT * FROM durable.workflow_executions ORDER BY scheduled_at, id")


def taken(tables):
    rows = tables.sql("SELECT slot, outcome FROM durable.schedule_slots ORDER BY slot")
    return [(row["slot"], row["outcome"]) for row in rows]


def end(tables, status, error=None):
    """Let every run that goes on end like this."""
    tables.sql(
        "UPDATE durable.workflow_executions SET status = %s, completed_at = clock_timestamp(), "
        "error = %s::jsonb WHERE completed_at IS NULL",
        [status, error],
    )


def row_of(database, name="s"):
    return database.run(schedules.get, name)


def due_again(tables, database):
    """Let the next slot come, by moving those that were into the past."""
    (row,) = tables.sql("SELECT count(*) AS count FROM durable.schedule_slots")
    tables.sql(
        "UPDATE durable.schedule_slots SET slot = slot - make_interval(mins => %s)",
        [3 ** row["count"]],
    )
    set_row(tables, next_run_at=this_minute(tables))
    return database.run(slots.run_due, "s")
