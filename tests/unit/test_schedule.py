"""Schedules as they are declared and read: what is refused, and what comes next."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from durable_otp import DefinitionError, InvalidInput, Schedule, ScheduleError, Workflow
from durable_otp.runtime import messages
from durable_otp.workflow.registry import Registry
from durable_otp.workflow.schedule import ScheduleSettings


def workflow(name="report", **options):
    made = Workflow(name, **options)

    @made.step
    def step(ctx): ...

    return made


def schedule(cron="0 9 * * *", timezone="UTC"):
    return Schedule("s", "w", cron, timezone, None, None, True, None)


def test_the_next_runs_are_instants_in_utc_after_another():
    after = datetime(2025, 3, 8, 15, tzinfo=UTC)
    assert schedule(timezone="America/New_York").next_runs(2, after) == [
        datetime(2025, 3, 9, 13, tzinfo=UTC),
        datetime(2025, 3, 10, 13, tzinfo=UTC),
    ]
    (soon,) = schedule("* * * * *").next_runs(1)
    assert soon.utcoffset() == timedelta(0)
    assert schedule().next_runs(0) == []


@pytest.mark.parametrize("n", [-1, 1.5, True, "2", None])
def test_a_number_of_runs_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match="n must be a whole number"):
        schedule().next_runs(n)


@pytest.mark.parametrize("after", ["2025-01-01", datetime(2025, 1, 1), 5])  # noqa: DTZ001
def test_an_instant_without_a_zone_is_refused(after):
    with pytest.raises(ValueError, match="with a time zone"):
        schedule().next_runs(1, after)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("name", 5),
        ("name", "x" * 201),
        ("workflow", None),
        ("queue", "a\tb"),
        ("queue", "q" * 101),
        ("enabled", "yes"),
        ("catch_up", "some"),
        ("catch_up", ["one"]),
        ("overlap", "sometimes"),
        ("jitter", -1),
        ("jitter", float("nan")),
        ("jitter", "5s"),
        ("jitter", timedelta(days=40_000)),
        ("cron", "0 0 30 2 *"),
        ("timezone", "Nowhere"),
    ],
)
def test_a_wrong_field_is_refused_and_named(field, value):
    right = {"name": "s", "workflow": "w", "cron": "0 9 * * *"}
    with pytest.raises(ScheduleError, match=field) as caught:
        ScheduleSettings(**(right | {field: value}))
    assert caught.value.field == field
    assert len(str(caught.value).splitlines()) == 1


def test_a_workflow_declares_schedules_under_its_own_name_or_another():
    report = workflow()
    report.schedule("0 9 * * *", timezone="Europe/Berlin", input={"a": (1, 2)}, jitter=timedelta(1))
    report.schedule("0 18 * * *", name="evening", queue="slow", overlap="skip", enabled=False)
    morning, evening = report.definition().schedules
    assert (morning.name, morning.workflow, morning.input) == ("report", "report", {"a": [1, 2]})
    assert (morning.timezone, morning.catch_up, morning.jitter) == ("Europe/Berlin", "one", 86400.0)
    assert (evening.name, evening.queue, evening.overlap) == ("evening", "slow", "skip")
    assert (morning.enabled, evening.enabled) == (True, False)


def test_a_workflow_without_schedules_has_none():
    registry = Registry()
    registry.register(workflow())
    assert messages.declared_schedules(messages.known_workflows(registry)) == []


def test_two_schedules_of_one_name_are_a_mistake():
    report = workflow()
    report.schedule("0 9 * * *")
    with pytest.raises(DefinitionError, match="'report' is there already"):
        report.schedule("0 10 * * *")


def test_a_name_that_two_workflows_declare_is_a_mistake():
    first, second = workflow("first"), workflow("second")
    for each in (first, second):
        each.schedule("0 9 * * *", name="morning")
    registry = Registry()
    registry.register(first)
    with pytest.raises(DefinitionError, match=r"'morning' .* 'first' and 'second'"):
        registry.register(second)


def test_of_two_versions_the_last_one_s_schedule_holds():
    old, new = workflow(version="1"), workflow(version="2")
    old.schedule("0 9 * * *")
    new.schedule("0 10 * * *")
    registry = Registry()
    registry.load([old, new])
    (found,) = messages.declared_schedules(messages.known_workflows(registry))
    assert found.cron == "0 10 * * *"


def test_another_schedule_makes_another_definition():
    one, other = workflow(), workflow()
    other.schedule("0 9 * * *")
    registry = Registry()
    registry.register(one)
    with pytest.raises(DefinitionError, match="defined twice"):
        registry.register(other)
    assert one.definition().fingerprint() == other.definition().fingerprint()


def test_a_schedule_comes_too_late_for_a_workflow_in_use():
    report = workflow()
    report.definition()
    with pytest.raises(DefinitionError, match="too late"):
        report.schedule("0 9 * * *")


class Order(BaseModel):
    items: list[int]


def test_the_input_must_fit_the_workflow_s_type():
    order = workflow(input=Order)
    with pytest.raises(InvalidInput, match="items"):
        order.schedule("0 9 * * *", input={"items": "none"})
    order.schedule("0 9 * * *", input=Order(items=[1]))
    assert order.definition().schedules[0].input == {"items": [1]}


def test_a_wrong_cron_is_said_at_the_call():
    with pytest.raises(ScheduleError, match="'report': cron '99"):
        workflow().schedule("99 * * * *")
