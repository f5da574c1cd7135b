"""One order for all that a filter finds, and past slots that have had no run."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from durable_otp import AsyncDurable, Durable, Workflow
from durable_otp.client import bulk
from durable_otp.errors import ScheduleNotFound
from tests.support.cli import Project
from tests.support.tables import Tables

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path, tables: Tables) -> Project:
    return Project(tmp_path, tables.dsn, tables.schema)


def test_all_that_can_be_cancelled_is_with_its_children(durable: Durable, tables: Tables) -> None:
    parent = tables.add("waiting", workflow="a")
    child = tables.add("pending", workflow="b", parent_id=parent)
    others = [tables.add("pending", workflow="a"), tables.add("completed", workflow="a")]
    elsewhere = tables.add("pending", workflow="c")
    assert durable.cancel_executions("a", dry_run=True) == 2
    assert tables.status(parent) == "waiting"
    assert durable.cancel_executions("a", reason="enough") == 2
    assert [tables.status(each) for each in (parent, child, *others, elsewhere)] == [
        "cancelled", "cancelled", "cancelled", "completed", "pending",
    ]  # fmt: skip
    assert tables.row(others[0])["error"]["message"] == "enough"
    assert durable.cancel_executions("a") == 0


def test_more_than_a_page_is_dealt_with(
    durable: Durable, tables: Tables, order: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PAGE", 5)
    durable.start_many(order, [None] * 23)
    assert durable.cancel_executions(queue="shop") == 23
    assert durable.retry_executions(status="cancelled") == 23
    assert durable.count_executions(status="pending") == 23


def test_what_failed_is_retried_unless_another_status_is_said(
    durable: Durable, tables: Tables
) -> None:
    failed, cancelled = tables.add("failed"), tables.add("cancelled")
    assert durable.retry_executions() == 1
    assert (tables.status(failed), tables.status(cancelled)) == ("pending", "cancelled")
    assert durable.retry_executions(status=["failed", "cancelled"]) == 1


@pytest.mark.parametrize(("verb", "status"), [("cancel", "failed"), ("retry", "running")])
def test_a_status_that_makes_no_sense_is_refused(
    durable: Durable, tables: Tables, verb: str, status: str
) -> None:
    id_ = tables.add(status)
    with pytest.raises(ValueError, match="among"):
        getattr(durable, f"{verb}_executions")(status=status)
    assert tables.status(id_) == status


def test_the_command_line_takes_filters_or_an_id(project: Project, tables: Tables) -> None:
    for _ in range(3):
        tables.add("pending", workflow="a")
    failed = tables.add("failed", workflow="a")
    assert project.run("cancel", "--workflow", "a", "--dry-run") == (
        "would have cancelled 3 executions\n"
    )
    assert project.run("cancel", "--workflow", "a", "--since", "1h") == "cancelled 3 executions\n"
    assert project.run("retry", "--status", "failed", "--status", "cancelled") == (
        "retried 4 executions\n"
    )
    assert project.run("cancel", failed, "--dry-run") == f"would have cancelled {failed}\n"
    for words in (("cancel",), ("retry", failed, "--queue", "q")):
        assert "not both" in project.refused(*words, code=2)
    assert "--status" in project.refused("cancel", "--status", "odd", code=2)
    assert "among" in project.refused("cancel", "--status", "failed", code=2)


# past slots


def test_past_slots_run_once(durable: Durable, tables: Tables, order: Workflow) -> None:
    durable.start(order)  # publishes it
    durable.create_schedule("daily", order, "0 9 * * *", overlap="skip", input={"a": 1})
    until = FIRST + timedelta(days=10)
    handles = durable.backfill_schedule("daily", FIRST, until)
    assert len(handles) == 10
    assert {handle.execution().input["a"] for handle in handles} == {1}
    assert durable.backfill_schedule("daily", FIRST, until + timedelta(days=1)) != []
    assert durable.backfill_schedule("daily", FIRST, until + timedelta(days=1)) == []
    slots = tables.sql("SELECT slot FROM durable.schedule_slots ORDER BY slot")
    assert slots[0]["slot"] == FIRST + timedelta(hours=9)
    assert len(slots) == 11


def test_a_backfill_that_makes_no_sense_is_refused(
    durable: Durable, tables: Tables, order: Workflow
) -> None:
    durable.create_schedule("often", order, "* * * * *")
    later = datetime.now(UTC) + timedelta(hours=1)
    for since, until, names in (
        (FIRST, later, "future"),
        (FIRST, FIRST + timedelta(days=30), "10000"),
        (FIRST.replace(tzinfo=None), FIRST, "time zone"),
    ):
        with pytest.raises(ValueError, match=names):
            durable.backfill_schedule("often", since, until)
    with pytest.raises(ScheduleNotFound):
        durable.backfill_schedule("none", FIRST, FIRST)
    assert tables.sql("SELECT 1 FROM durable.schedule_slots") == []


def test_asynchronous_clients_do_the_same(tables: Tables, order: Workflow) -> None:
    async def story() -> None:
        client = AsyncDurable(tables.dsn, schema=tables.schema)
        await client.create_schedule("hourly", order, "0 * * * *")
        found = await client.backfill_schedule("hourly", FIRST, FIRST + timedelta(hours=3))
        assert [await handle.status() for handle in found] == ["pending"] * 3
        assert await client.cancel_executions("order") == 3
        await client.close()

    asyncio.run(story())


def test_the_command_line_backfills(project: Project, durable: Durable, order: Workflow) -> None:
    durable.create_schedule("hourly", order, "0 * * * *")
    times = ("--since", "2026-01-01T00:00Z", "--until", "2026-01-01T04:00Z")
    assert len(project.run("schedules", "backfill", "hourly", *times).split()) == 4
    assert project.run("schedules", "backfill", "hourly", *times) == ""
    assert "--since" in project.refused("schedules", "backfill", "hourly", "--since", "x", code=2)
