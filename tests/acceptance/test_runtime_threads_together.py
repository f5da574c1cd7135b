"""``threads`` above 1 together with fan-out, transactions, sagas, spans and ``max_memory``."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from durable_otp import Durable
from tests.support.cli import Project
from tests.support.postgres import fresh_schema
from tests.support.tree import is_gone
from tests.support.waiting import wait_until

SOON = 60.0
QUEUES = """
[queues.default]
concurrency = 4
threads = 4

[queues.small]
concurrency = 2
threads = 2
max_memory = "1MB"
"""
MODULE = """
import os
import threading
import time
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from durable_otp import Retry, Workflow

SPANS = os.open(Path(__file__).with_name("spans"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Lines(SpanExporter):
    def export(self, spans):
        for span in spans:
            os.write(SPANS, (span.to_json(None) + "\\n").encode())
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)
both_here = threading.Barrier(2)
tour = Workflow("tour")


@tour.step(compensate="unbook")
def book(ctx):
    return {"booked": ctx.execution_id}


@tour.step(transaction=True, compensate="refund", retry=Retry(max_attempts=2, base=0))
def pay(ctx, connection):
    with trace.get_tracer("shop").start_as_current_span(f"inside {ctx.execution_id}"):
        table = f"{ctx.input['schema']}.payments"
        connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", [ctx.execution_id, ctx.attempt])
        if ctx.attempt == 1:
            raise ValueError("not yet")


@tour.each("items")
def pack(ctx, item, index):
    return [ctx["booked"], item, index]


@tour.step
def ship(ctx):
    if ctx.input["fails"]:
        raise ValueError("no truck")


@tour.compensate
def unbook(ctx):
    return {"unbooked": ctx["booked"]}


@tour.compensate
def refund(ctx):
    return {"refunded": ctx["booked"]}


meeting = Workflow("meeting")


@meeting.each("items")
def meet(ctx, item):
    both_here.wait(30)  # nobody passes alone
    return [os.getpid(), threading.get_ident()]


visit = Workflow("visit", queue="small")


@visit.step
def come(ctx):
    Path(ctx.input).with_suffix(".come").write_text(str(os.getpid()))
    while not Path(ctx.input).exists():
        time.sleep(0.01)


@visit.step
def leave(ctx):
    return {"pid": os.getpid()}
"""


@pytest.fixture(scope="module")
def project(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with fresh_schema(postgres_dsn) as schema:
        project = Project(tmp_path_factory.mktemp("threads"), postgres_dsn, schema)
        project.write(postgres_dsn, sections=QUEUES)
        (project.directory / "shop.py").write_text(MODULE)
        with project.started():
            yield project


@pytest.fixture(scope="module")
def durable(project: Project, postgres_dsn: str) -> Iterator[Durable]:
    with closing(Durable(postgres_dsn, schema=project.schema)) as durable:
        yield durable


def test_the_children_of_a_block_run_side_by_side_in_one_process(durable: Durable) -> None:
    output = durable.start("meeting", {"items": ["she", "he"]}).result(timeout=SOON)
    (one, other) = output["meet"]
    assert one[0] == other[0]
    assert one[1] != other[1]


def spans_of(project: Project, execution_id: str) -> list[dict[str, Any]]:
    lines = (project.directory / "spans").read_text().splitlines()
    trace = "0x" + execution_id.replace("-", "")
    return [span for span in map(json.loads, lines) if span["context"]["trace_id"] == trace]


def assert_own_spans(spans: list[dict[str, Any]], execution_id: str, names: list[str]) -> None:
    """Check that a trace has one execution's attempts, and below each what its body did."""
    steps = {span["context"]["span_id"]: span for span in spans if ":" in span["name"]}
    told = {span["attributes"]["durable_otp.execution_id"] for span in steps.values()}
    assert told == {execution_id}
    ran = [span["name"] for span in steps.values() if span["name"] != "tour:pack"]
    assert ran == [f"tour:{name}" for name in names]
    inside = [span for span in spans if ":" not in span["name"]]
    assert [span["name"] for span in inside] == [f"inside {execution_id}"] * 2
    assert [steps[span["parent_id"]]["name"] for span in inside] == ["tour:pay"] * 2


def test_transactions_blocks_sagas_and_spans_of_neighbours_do_not_mix(
    project: Project, durable: Durable, postgres_dsn: str
) -> None:
    payments = f"{project.schema}.payments"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {payments} (execution_id text, attempt int)".encode())
    items = list(range(3))
    given = [{"schema": project.schema, "items": items, "fails": n % 2 == 0} for n in range(6)]
    handles = durable.start_many("tour", given)
    for handle in handles:
        wait_until(lambda handle=handle: handle.execution().completed_at, timeout=SOON)
    with psycopg.connect(postgres_dsn) as connection:
        paid = connection.execute(f"SELECT * FROM {payments}".encode()).fetchall()
    assert sorted(paid) == sorted((handle.id, 2) for handle in handles)
    for handle, start in zip(handles, given, strict=True):
        execution = handle.execution()
        assert execution.context["pack"] == [[handle.id, item, item] for item in items]
        assert execution.crashes == execution.interruptions == 0
        undone = [each["compensation"] for each in execution.compensation_results]
        names = ["book", "pay", "pay", "ship", "pay", "book"]  # a handler has its step's
        if start["fails"]:
            assert (execution.status, undone) == ("compensated", ["refund", "unbook"])
            outputs = [step.output for step in execution.steps if step.is_compensation]
            assert outputs == [{"refunded": handle.id}, {"unbooked": handle.id}]
        else:
            assert (execution.status, undone) == ("completed", [])
            names = names[:4]
        assert_own_spans(spans_of(project, handle.id), handle.id, names)
        for child in durable.list_children(handle.id):
            assert [span["name"] for span in spans_of(project, child.id)] == ["tour:pack"]


def came(gate: Path) -> int:
    """Return the process that a visit has come to."""
    told = gate.with_suffix(".come")
    return int(wait_until(lambda: told.exists() and told.read_text(), timeout=SOON) or 0)


def test_a_process_over_its_memory_is_replaced_only_when_all_its_threads_are_empty(
    durable: Durable, tmp_path: Path
) -> None:
    gates = [tmp_path / name for name in ("long", "short", "later")]
    long, short = (durable.start("visit", str(gate)) for gate in gates[:2])
    pid = came(gates[0])
    assert came(gates[1]) == pid
    gates[1].touch()
    assert short.result(timeout=SOON)["pid"] == pid  # the process is over its limit from here on
    later = durable.start("visit", str(gates[2]))
    other = came(gates[2])  # so that nothing new is given to it
    assert other != pid
    assert not is_gone(pid)  # and its neighbour goes on there
    for gate in (gates[0], gates[2]):
        gate.touch()
    assert long.result(timeout=SOON)["pid"] == pid
    assert later.result(timeout=SOON)["pid"] == other
    for handle in (long, short, later):
        execution = handle.execution()
        assert (execution.crashes, execution.interruptions) == (0, 0)
        assert [(step.path, step.attempt) for step in execution.steps] == [
            ("come", 1),
            ("leave", 1),
        ]
    wait_until(lambda: is_gone(pid), what="the process over its limit to be replaced")
