"""Metrics in Prometheus's text format."""

from datetime import UTC, datetime
from typing import Any

from durable_otp.runtime.exposition import exposition
from durable_otp.storage.nodes import Node
from durable_otp.workflow.execution import QueueStats

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def process(role: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": role, "status": "up", "restarts": 1, "children": children} | fields


def lines(text: str) -> set[str]:
    return {line for line in text.splitlines() if not line.startswith("#")}


def test_a_database_that_is_away_is_all_that_is_known() -> None:
    text = exposition(is_database_up=False, nodes=[], stats={}, ages={})
    assert lines(text) == {"durable_otp_database_up 0"}


def test_queues_and_processes_are_told() -> None:
    manager = process("queue_manager", process("worker"), process("worker"), queue="a",
                      concurrency=2, busy=1, paused=False)  # fmt: skip
    tree = process("supervisor", manager, restarts=0)
    node = Node("n", "app", "host", 1, tree, [], NOW, NOW)
    stats = {"a": QueueStats("a", pending=3, scheduled=1, completed=7)}
    text = exposition(is_database_up=True, nodes=[node], stats=stats, ages={"a": 1.5})
    assert lines(text) >= {
        "durable_otp_database_up 1",
        'durable_otp_executions{queue="a",status="pending"} 3',
        'durable_otp_executions{queue="a",status="failed"} 0',
        'durable_otp_scheduled{queue="a"} 1',
        'durable_otp_oldest_due_seconds{queue="a"} 1.5',
        "durable_otp_nodes 1",
        'durable_otp_processes{node="n",role="worker",status="up"} 2',
        'durable_otp_restarts_total{node="n",role="worker"} 2',
        'durable_otp_queue_busy{node="n",queue="a"} 1',
        'durable_otp_queue_paused{node="n",queue="a"} 0',
    }
    assert "# TYPE durable_otp_restarts_total counter" in text


def test_names_cannot_break_out_of_their_labels() -> None:
    queue = 'a"} 1\nevil{x="\\'
    text = exposition(is_database_up=True, nodes=[], stats={}, ages={queue: 1.0})
    assert r'durable_otp_oldest_due_seconds{queue="a\"} 1\nevil{x=\"\\"} 1' in text.splitlines()
