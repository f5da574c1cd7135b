"""Steps as spans of OpenTelemetry, where the workflows' module has set a provider."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Project
from tests.support.waiting import wait_until

MODULE = """
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from durable_otp import Retry, Workflow

provider = TracerProvider()
out = Path(__file__).with_name("spans").open("a", buffering=1)
provider.add_span_processor(
    SimpleSpanProcessor(
        ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(None) + "\\n")
    )
)
trace.set_tracer_provider(provider)

traced = Workflow("traced")

@traced.step(retry=Retry(max_attempts=2, base=0.01))
def call(ctx):
    with trace.get_tracer("shop").start_as_current_span("inside"):
        if ctx.attempt == 1:
            raise ValueError("not yet")

@traced.step
def end():
    pass
"""


@pytest.fixture
def project(tmp_path: Path, dsn: str, schema: str) -> Project:
    project = Project(tmp_path, dsn, schema)
    (tmp_path / "shop.py").write_text(MODULE)
    return project


def test_attempts_are_spans_of_their_execution_s_trace(project: Project) -> None:
    spans = project.directory / "spans"
    with project.started():
        project.run("run", "traced", "--wait")
        wait_until(lambda: spans.read_text().count("\n") >= 5, what="the spans")
    (execution,) = project.json("list")
    found: list[dict[str, Any]] = [json.loads(line) for line in spans.read_text().splitlines()]
    assert {span["context"]["trace_id"] for span in found} == {
        "0x" + execution["id"].replace("-", "")
    }
    named = [(span["name"], span["status"]["status_code"]) for span in found]
    assert named == [
        ("inside", "ERROR"), ("traced:call", "ERROR"),
        ("inside", "UNSET"), ("traced:call", "OK"), ("traced:end", "OK"),
    ]  # fmt: skip
    assert found[0]["parent_id"] == found[1]["context"]["span_id"]
    assert found[1]["attributes"]["durable_otp.attempt"] == 1
    assert found[1]["status"]["description"] == "ValueError: not yet"
