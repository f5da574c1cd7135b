"""The records have the contract's fields in its order, and turn into JSON."""

import json
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta, timezone

import pytest

from durable_otp.workflow.execution import (
    Execution,
    Job,
    QueueStats,
    Settled,
    StepExecution,
    as_json,
)
from durable_otp.workflow.state import State, StepState

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def names(record):
    return " ".join(item.name for item in fields(record))


def test_the_fields_are_the_contracts():
    assert names(Execution) == (
        "id workflow version status queue priority input context output current_step error "
        "parent_id scheduled_at started_at completed_at inserted_at updated_at locked_by crashes "
        "interruptions compensation_results steps"
    )
    assert names(StepExecution) == (
        "id path name type visit attempt status output error logs started_at completed_at "
        "duration_ms is_compensation compensation_for child_id cpu_seconds peak_rss process"
    )
    assert names(QueueStats) == (
        "queue pending scheduled running waiting completed failed cancelled compensating "
        "compensated compensation_failed total"
    )
    assert names(Job) == (
        "id workflow version queue priority input context scheduled_at current_step lock_token "
        "crashes"
    )
    assert list(Settled) == ["ok", "not_found", "fenced"]


def step():
    return StepExecution(
        "s", "a", "a", "step", 1, 1, StepState.COMPLETED, {"n": 1}, None, "", NOON, NOON, 2.5,
        False, None, None,
    )  # fmt: skip


def execution():
    return Execution(
        "e", "shop", "1", State.COMPLETED, "default", 0, None, {}, {}, None, None, None, NOON,
        NOON, None, NOON.astimezone(timezone(timedelta(hours=2))), NOON, None, 0, 0, [], [step()],
    )  # fmt: skip


def test_an_execution_as_json_has_instants_in_utc_with_z_and_its_steps():
    plain = as_json(execution())
    assert plain["inserted_at"] == plain["started_at"] == "2026-03-01T12:00:00Z"
    assert plain["completed_at"] is None
    assert type(plain["status"]) is str
    assert plain["steps"][0]["started_at"] == "2026-03-01T12:00:00Z"
    assert list(plain) == names(Execution).split()
    json.dumps(plain)


def test_the_total_counts_each_row_once():
    stats = QueueStats("default", pending=3, scheduled=2, running=1, compensation_failed=1)
    assert stats.total == 5
    assert as_json(stats)["total"] == 5


def test_records_are_frozen():
    with pytest.raises(FrozenInstanceError):
        execution().status = State.FAILED
