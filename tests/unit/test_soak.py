"""The soak's own arithmetic: plans that can be replayed, and a judge that sees what is wrong."""

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from bench.soak import mix, nemesis, report
from bench.soak.cycle import Outcome, Plan
from bench.soak.judge import Verdict, _compare_requests, once_each, recoveries
from bench.soak.nemesis import KINDS
from durable_otp.workflow.execution import Execution
from tests.support.ledger import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def effect(number, phase="begin", *, pid=1, key="k", detail=None):
    return {
        "n": number, "key": key, "execution": "e", "attempt": 1, "pid": pid, "phase": phase,
        "detail": detail or str(number), "t": NOW + timedelta(seconds=number),
    }  # fmt: skip


def killed_after(seconds):
    return (NOW + timedelta(seconds=seconds)).timestamp(), "worker"


def row(execution, key, *, ended=True):
    return {"id": execution, "idempotency_key": key, "completed_at": NOW if ended else None}


def asked(key):
    return {"key": key, "verb": "start"}


def test_a_seed_gives_one_plan_and_every_kind_before_any_again():
    blows = nemesis.plan("a seed", 300, list(KINDS), 2.5)
    assert blows == nemesis.plan("a seed", 300, list(KINDS), 2.5)
    assert blows != nemesis.plan("another", 300, list(KINDS), 2.5)
    assert {blow.kind for blow in blows[: len(KINDS)]} == set(KINDS)
    assert all(blow.at + blow.seconds <= 300.001 for blow in blows)


def test_a_report_is_replayed(tmp_path):
    blows = nemesis.plan("a seed", 60, list(KINDS), 2)
    outcome = Outcome(Plan("a seed", 60, 60, 200, 2), {}, blows=[blows])
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report.as_json(outcome), default=str))
    plan = report.replayed(path)
    assert (plan.seed, plan.seconds, plan.blows) == ("a seed", 60, [blows])


def test_a_line_that_was_written_again_counts_once():
    lines = [effect(1, detail="x"), effect(2, detail="x"), effect(3, "end", detail="y")]
    assert [line["n"] for line in once_each(lines)] == [1, 3]


def test_requests_are_lost_unexpected_doubled_or_recovered():
    record = Record(
        intents=[asked(key) for key in ("a", "b", "c", "d", "e")],
        acks=[
            {"key": "a", "execution": "1"},
            {"key": "b", "execution": "gone"},
            {"key": "c", "execution": "3"},
        ],
        executions=[
            row("1", "a"),
            row("3", "c", ended=False),
            row("4", "d"),
            row("5", "a"),
            row("6", "nobody's"),
            row("7", None),
        ],
    )
    verdict = Verdict()
    _compare_requests(record, verdict)
    assert (verdict.lost, verdict.unexpected, verdict.doubled) == (2, 1, 1)
    assert (verdict.unanswered, verdict.recovered) == (2, 1)


def test_recovery_is_from_the_kill_to_the_next_beginning():
    record = Record(
        effects=[effect(1), effect(9), effect(10, "end"), effect(3, key="other", pid=2)]
    )
    assert recoveries(record, {1: killed_after(4)}) == [("worker", 5.0)]
    assert recoveries(record, {1: killed_after(20)}) == []
    assert recoveries(record, {2: killed_after(4)}) == []


def ended(workflow, status="completed", **values):
    fields = dict.fromkeys(Execution.__dataclass_fields__) | {
        "workflow": workflow, "status": status, "compensation_results": [], "input": {},
    }  # fmt: skip
    return Execution(**(fields | values))


@pytest.mark.parametrize(
    ("execution", "wrong"),
    [
        (ended("line", output={"sum": 111}), False),
        (ended("line", output={"sum": 121}), True),
        (ended("line", output={}), True),
        (ended("line", "failed"), True),
        (ended("poison", "failed", error={"type": "worker_crashed"}), False),
        (ended("poison", "failed", error={"type": "ValueError"}), True),
        (ended("poison", output={}), True),
        (ended("endless", "cancelled"), False),
        (
            ended("saga", "compensated", compensation_results=[{"step": "ten"}, {"step": "one"}]),
            False,
        ),
        (ended("saga", "compensated", compensation_results=[{"step": "one"}]), True),
        (ended("caller", output={"called": 111}), False),
        (ended("caller", output={"called": 222}), True),
    ],
)
def test_an_outcome_is_right_or_wrong(execution, wrong):
    assert (mix.wrong(execution) is not None) == wrong


def test_every_order_has_a_workflow_and_a_form():
    chance = Random(1)
    orders = [mix.draw(chance) for _ in range(500)]
    assert {order.name for order in orders} == set(mix.WEIGHTS)
    assert all(order.workflow.name == order.name for order in orders)
