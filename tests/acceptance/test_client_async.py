"""The asyncio client: the same calls, and waits that cost no thread."""

import asyncio
import inspect

import psycopg
import pytest

from durable_otp.async_client import AsyncDurable, AsyncHandle
from durable_otp.client import Durable
from durable_otp.errors import ConfigError, ExecutionNotFound, ResultTimeout, WorkflowFailed
from durable_otp.workflow.execution import QueueStats

ONLY_BLOCKING = {"watch", "from_config"}


def test_it_has_every_call_of_the_blocking_client_as_a_coroutine():
    calls = {
        name
        for name, _ in inspect.getmembers(Durable, inspect.isfunction)
        if not name.startswith("_")
    }
    for name in calls - ONLY_BLOCKING:
        twin = getattr(AsyncDurable, name)
        assert inspect.iscoroutinefunction(twin), name
        mine, theirs = (
            inspect.signature(each).parameters for each in (twin, getattr(Durable, name))
        )
        assert list(mine) == list(theirs), name


def test_start_wait_and_ask(tables, adapter, order):
    async def story():
        async with AsyncDurable(tables.dsn, schema=tables.schema) as durable:
            handle = await durable.start(order, {"a": 1}, queue="q")
            assert isinstance(handle, AsyncHandle)
            assert await handle.status() == "pending"
            waiting = asyncio.create_task(handle.result(20))
            (job,) = await asyncio.to_thread(adapter.fetch_jobs, "q", 1, "me")
            await asyncio.to_thread(adapter.ack, job.id)
            assert await waiting == {"a": 1}
            assert (await handle.execution()).steps == []
            assert await durable.stats("q") == QueueStats("q", completed=1)
            assert (await durable.stats())["q"].total == 1
            assert await durable.count_executions(status="completed") == 1
            (listed,) = await durable.list_executions(limit=5)
            assert listed.id == handle.id
            assert await durable.schema_version() >= 1
            with pytest.raises(ExecutionNotFound):
                await durable.get_execution("nothing")

    asyncio.run(story())


def test_a_hundred_waits_share_one_connection_and_no_threads(tables, adapter, order):
    listeners = (
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        f"AND query LIKE '%LISTEN \"{tables.schema}:done\"%'"
    )

    async def story():
        async with AsyncDurable(tables.dsn, schema=tables.schema) as durable:
            handles = await durable.start_many(order, range(100))
            waiting = [asyncio.create_task(handle.result(50)) for handle in handles]
            while True:
                rows = tables.sql("SELECT id FROM durable.workflow_executions WHERE watched")
                if len(rows) == 100:
                    break
                await asyncio.sleep(0.01)
            assert len(tables.sql(listeners)) == 1
            for job in adapter.fetch_jobs("shop", 100, "me"):
                adapter.ack(job.id)
            assert await asyncio.gather(*waiting) == [{}] * 100

    asyncio.run(story())


def test_a_wait_can_be_cancelled_and_can_time_out(tables, order):
    async def story():
        async with AsyncDurable(tables.dsn, schema=tables.schema) as durable:
            handle = await durable.start(order)
            with pytest.raises(ResultTimeout):
                await handle.result(0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await handle.result()
            with pytest.raises(ValueError, match="timeout"):
                await handle.result(-1)
            await handle.cancel("enough")
            with pytest.raises(WorkflowFailed, match="enough"):
                await handle.result()

    asyncio.run(story())


def test_the_caller_s_async_transaction_decides(tables, order):
    async def story():
        async with (
            AsyncDurable(tables.dsn, schema=tables.schema) as durable,
            await psycopg.AsyncConnection.connect(tables.dsn) as mine,
        ):
            await durable.start(order, connection=mine)
            await mine.rollback()
            assert await durable.count_executions() == 0
            handles = await durable.start_many(order, [1, 2], connection=mine)
            assert await durable.count_executions() == 0
            await mine.commit()
            assert {each.id for each in await durable.list_executions()} == {
                handle.id for handle in handles
            }

    asyncio.run(story())


def test_a_file_or_the_environment_may_name_the_database(tables, monkeypatch, tmp_path):
    monkeypatch.delenv("DURABLE_DSN", raising=False)
    config = tmp_path / "config.toml"
    config.write_text(f'[durable]\ndsn = "{tables.dsn}"\nschema = "{tables.schema}"\n')

    async def story():
        async with AsyncDurable.from_config(config) as durable:
            assert await durable.count_executions() == 0

    asyncio.run(story())
    with pytest.raises(ConfigError, match="DURABLE_DSN"):
        AsyncDurable()
