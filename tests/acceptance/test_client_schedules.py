"""The client's calls about schedules, without anybody who runs them."""

import asyncio
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from durable_otp import (
    AsyncDurable,
    AsyncHandle,
    ConfigError,
    DurableError,
    Handle,
    InvalidInput,
    Schedule,
    ScheduleError,
    ScheduleExists,
    ScheduleNotFound,
    SerializationError,
    Workflow,
    WorkflowNotFound,
)


class Order(BaseModel):
    items: list[int]


@pytest.fixture
def typed():
    workflow = Workflow("typed", input=Order)

    @workflow.step
    def step(ctx): ...

    return workflow


def rows(tables):
    return tables.sql("SELECT name FROM durable.scheduled_workflows")


def test_create_get_list_update_and_delete(durable, order):
    made = durable.create_schedule(
        "morning", order, "0 9 * * mon-fri", timezone="America/New_York", input={"a": (1,)}
    )
    assert isinstance(made, Schedule)
    assert (made.name, made.workflow, made.cron) == ("morning", "order", "0 9 * * mon-fri")
    assert (made.input, made.queue, made.enabled) == ({"a": [1]}, None, True)
    assert (made.catch_up, made.overlap, made.jitter) == ("one", "allow", 0.0)
    assert made.next_run_at == made.next_runs(1)[0]
    assert made.next_run_at.tzinfo is UTC
    assert durable.get_schedule("morning") == made
    other = durable.create_schedule("also", "order", "5 * * * *", enabled=False)
    assert durable.list_schedules() == [other, made]
    changed = durable.update_schedule("morning", cron="0 10 * * *", input=None, queue="slow")
    assert (changed.cron, changed.input, changed.queue) == ("0 10 * * *", None, "slow")
    assert changed.next_run_at == changed.next_runs(1)[0]
    durable.delete_schedule("also")
    assert durable.list_schedules() == [changed]


def test_enable_and_disable(durable, order):
    durable.create_schedule("s", order, "0 9 * * *")
    assert not durable.disable_schedule("s").enabled
    enabled = durable.enable_schedule("s")
    assert enabled.enabled
    assert durable.get_schedule("s") == enabled


def test_a_trigger_starts_a_run_at_once_with_the_schedule_s_input_or_another(durable, order):
    made = durable.create_schedule(
        "s", order, "0 9 * * *", input={"a": 1}, queue="slow", enabled=False
    )
    usual, other = durable.trigger_schedule("s"), durable.trigger_schedule("s", {"a": 2})
    assert isinstance(usual, Handle)
    assert usual.execution().input == {"a": 1}
    assert other.execution().input == {"a": 2}
    execution = usual.execution()
    assert (execution.workflow, execution.version, execution.queue) == ("order", "2", "slow")
    assert execution.status == "pending"
    after = durable.get_schedule("s")
    assert (after.next_run_at, after.enabled) == (made.next_run_at, False)
    assert after.last_run_at is not None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"name": ""}, ScheduleError, "name must not be empty"),
        ({"name": "a\0"}, ScheduleError, "printable"),
        ({"cron": "0 25 * * *"}, ScheduleError, "wrong hour"),
        ({"cron": "0 0 31 2 *"}, ScheduleError, "never due"),
        ({"timezone": "Mars"}, ScheduleError, "timezone 'Mars'"),
        ({"catch_up": "none"}, ScheduleError, "catch_up must be one of 'skip', 'one', 'all'"),
        ({"overlap": "none"}, ScheduleError, "overlap must be one of"),
        ({"jitter": -1}, ScheduleError, "jitter"),
        ({"enabled": 1}, ScheduleError, "enabled"),
        ({"queue": ""}, ConfigError, "queue"),
        ({"input": {"x": float("nan")}}, SerializationError, "NaN"),
        ({"workflow": "nobody"}, WorkflowNotFound, "nobody"),
        ({"workflow": 5}, ScheduleError, "workflow must be a string"),
    ],
)
def test_a_wrong_schedule_is_refused_and_nothing_is_written(
    durable, order, tables, options, error, said
):
    right = {"name": "s", "workflow": order, "cron": "0 9 * * *"}
    with pytest.raises(error, match=said) as caught:
        durable.create_schedule(**(right | options))
    assert isinstance(caught.value, DurableError)
    assert rows(tables) == []


def test_the_input_must_fit_the_workflow_s_type(durable, typed, tables):
    with pytest.raises(InvalidInput, match="'typed'"):
        durable.create_schedule("s", typed, "0 9 * * *")
    assert rows(tables) == []
    durable.create_schedule("s", typed, "0 9 * * *", input=Order(items=[1]))
    with pytest.raises(InvalidInput, match="items"):
        durable.update_schedule("s", input={"items": 3})
    with pytest.raises(InvalidInput, match="items"):
        durable.trigger_schedule("s", {"items": "x"})
    assert durable.get_schedule("s").input == {"items": [1]}
    assert durable.count_executions() == 0


def test_names_are_unique_and_must_exist(durable, order):
    durable.create_schedule("s", order, "0 9 * * *")
    with pytest.raises(ScheduleExists, match="'s'"):
        durable.create_schedule("s", order, "0 10 * * *")
    for call in (
        durable.get_schedule,
        durable.delete_schedule,
        durable.enable_schedule,
        durable.disable_schedule,
        durable.trigger_schedule,
        lambda name: durable.update_schedule(name, queue="q"),
        lambda name: durable.update_schedule(name, cron="0 9 * * *"),
    ):
        with pytest.raises(ScheduleNotFound, match="'nothing'"):
            call("nothing")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"next_run_at": datetime(2030, 1, 1, tzinfo=UTC)}, ScheduleError, "cannot be changed"),
        ({"colour": "red"}, ScheduleError, "colour cannot be changed; what can: workflow, cron"),
        ({"cron": "x"}, ScheduleError, "cron"),
        ({"timezone": None}, ScheduleError, "timezone"),
        ({"workflow": "nobody"}, WorkflowNotFound, "nobody"),
        ({"queue": 5}, ConfigError, "queue"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(durable, order, change, error, said):
    before = durable.create_schedule("s", order, "0 9 * * *")
    with pytest.raises(error, match=said):
        durable.update_schedule("s", **change)
    assert durable.get_schedule("s") == before


def test_the_workflow_can_be_changed(durable, order, typed):
    durable.create_schedule("s", order, "0 9 * * *")
    changed = durable.update_schedule("s", workflow=typed, input=Order(items=[2]))
    assert (changed.workflow, changed.input) == ("typed", {"items": [2]})


def test_the_async_client_does_the_same(tables, order):
    async def story():
        async with AsyncDurable(tables.dsn, schema=tables.schema) as durable:
            made = await durable.create_schedule("s", order, "0 9 * * *", jitter=3)
            assert await durable.list_schedules() == [made]
            assert (await durable.update_schedule("s", jitter=4)).jitter == 4.0
            assert not (await durable.disable_schedule("s")).enabled
            assert (await durable.enable_schedule("s")).enabled
            handle = await durable.trigger_schedule("s", {"b": 1})
            assert isinstance(handle, AsyncHandle)
            assert (await handle.execution()).input == {"b": 1}
            await durable.delete_schedule("s")
            with pytest.raises(ScheduleNotFound):
                await durable.get_schedule("s")

    asyncio.run(story())
