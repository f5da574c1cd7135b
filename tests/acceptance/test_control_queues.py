"""Orders to queues, from the client: they hold for one node or for all, and are waited for."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import AsyncDurable, CommandFailed, ConfigError, NodeNotFound
from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

ONE = {"default": still_queue(1)}


@pytest.fixture(scope="module")
def nodes(postgres_dsn: str) -> Iterator[tuple[Tree, Tree]]:
    """Two nodes of one schema."""
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, sink(), queues=ONE, **STILL) as first,
        running(postgres_dsn, schema, sink(), queues=ONE, **STILL) as second,
    ):
        wait_until(lambda: len(first.durable.nodes()) == 2, what="both nodes")
        yield first, second


@pytest.fixture
def pair(nodes: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
    """The two nodes, neither paused nor scaled."""
    nodes[0].durable.resume_queue("default")
    nodes[0].durable.scale_queue("default", 1)
    return nodes


def test_a_pause_is_of_all_nodes_or_of_one(pair: tuple[Tree, Tree]) -> None:
    first, second = pair
    durable = first.durable
    both = {first.runtime.node_id, second.runtime.node_id}
    assert set(durable.pause_queue("default")) == both
    assert first.manager()["paused"] is second.manager()["paused"] is True
    handle = first.start()
    assert handle.status() == "pending"
    with pytest.raises(CommandFailed, match="paused for all nodes; resume it without naming a"):
        durable.resume_queue("default", node=first.runtime.node_id)
    assert set(durable.resume_queue("default")) == both
    handle.result(timeout=30)

    assert durable.pause_queue("default", node=first.runtime.node_id) == [first.runtime.node_id]
    assert (first.manager()["paused"], second.manager()["paused"]) == (True, False)
    assert set(durable.resume_queue("default")) == both  # whatever was ordered to single ones
    assert first.manager()["paused"] is second.manager()["paused"] is False


def test_a_queue_is_scaled_on_all_nodes_or_on_one(pair: tuple[Tree, Tree]) -> None:
    first, second = pair
    durable = first.durable

    def sizes() -> tuple[int, int]:
        return first.manager()["concurrency"], second.manager()["concurrency"]

    durable.scale_queue("default", 2, node=second.runtime.node_id)
    assert sizes() == (1, 2)
    durable.scale_queue("default", 3)
    assert sizes() == (3, 3)
    with pytest.raises(ConfigError, match=r"The nodes would open up to \d+ connections"):
        durable.scale_queue("default", 100_000)
    with pytest.raises(ConfigError, match=r"connections \(100001 workers and spares"):
        durable.scale_queue("default", 100_000, node=first.runtime.node_id)
    assert sizes() == (3, 3)


def test_a_queue_is_drained(pair: tuple[Tree, Tree], tmp_path: Path) -> None:
    first, second = pair
    durable = first.durable
    handle = first.start(one=f"gate:{tmp_path / 'open'}")
    first.pid_in(handle)
    assert durable.drain_queue("default", 0.2) is False
    busy, idle = sorted(pair, key=lambda each: -int(each.manager()["busy"]))
    assert durable.drain_queue("default", 5, node=idle.runtime.node_id) is True
    assert durable.drain_queue("default", 0.1, node=busy.runtime.node_id) is False
    (tmp_path / "open").touch()
    assert durable.drain_queue("default", 30) is True
    assert handle.status() == "completed"
    assert first.manager()["paused"] is second.manager()["paused"] is True


def test_the_asyncio_client_orders_too(pair: tuple[Tree, Tree]) -> None:
    first, _ = pair

    async def story() -> None:
        async with AsyncDurable(first.dsn, schema=first.schema) as durable:
            assert len(await durable.nodes(watch=True)) == 2
            assert len(await durable.pause_queue("default")) == 2
            assert await durable.drain_queue("default") is True
            text = await durable.dump_stacks("default", node=first.runtime.node_id)
            assert "queue_manager" in text

    asyncio.run(story())


def test_a_queue_that_no_node_runs_keeps_what_is_set(pair: tuple[Tree, Tree]) -> None:
    first, _ = pair
    assert first.durable.pause_queue("later") == []
    assert first.durable.drain_queue("later", 5) is True
    assert first.sql("SELECT paused FROM {s}.queues WHERE queue = 'later'") == [{"paused": True}]


@pytest.mark.parametrize(
    ("verb", "arguments", "error", "expected"),
    [
        ("pause_queue", ["a\tb"], ConfigError, "printable"),
        ("resume_queue", [""], ConfigError, "queue"),
        ("scale_queue", ["default", 0], ConfigError, "a whole number from 1, not 0"),
        ("scale_queue", ["default", True], ConfigError, "not True"),
        ("scale_queue", ["default", "2"], ConfigError, "not '2'"),
        ("drain_queue", ["default", -1], ValueError, "timeout must be zero or more"),
        ("drain_queue", ["default", "1s"], TypeError, "timeout must be a timedelta"),
        ("pause_queue", ["default", {"node": "ffff"}], NodeNotFound, "begins with 'ffff'"),
        ("scale_queue", ["default", 2, {"node": ""}], NodeNotFound, "begins with ''"),
    ],
)
def test_wrong_orders_to_queues_change_nothing(
    pair: tuple[Tree, Tree],
    verb: str,
    arguments: list[Any],
    error: type[Exception],
    expected: str,
) -> None:
    first, _ = pair
    before = first.sql("SELECT * FROM {s}.queues ORDER BY 1, 2")
    options = arguments.pop() if isinstance(arguments[-1], dict) else {}
    with pytest.raises(error, match=expected):
        getattr(first.durable, verb)(*arguments, **options)
    assert first.sql("SELECT * FROM {s}.queues ORDER BY 1, 2") == before
