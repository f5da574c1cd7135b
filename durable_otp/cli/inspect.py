"""``durable-otp inspect``: one execution whole: its steps, attempts, errors, children, output."""

import json as json_text
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from durable_otp.cli.identifying import execution_id
from durable_otp.cli.listing import took
from durable_otp.cli.options import (
    AsJson,
    CodecOption,
    ConfigOption,
    DsnOption,
    IdArgument,
    SchemaOption,
)
from durable_otp.cli.pending import waited_for
from durable_otp.cli.screen import (
    console,
    duration,
    one_line,
    print_json,
    say,
    shown,
    size,
    style_of,
    table,
)
from durable_otp.cli.target import Where, opened
from durable_otp.cli.timeline import timeline
from durable_otp.storage.journal import database_now
from durable_otp.workflow.execution import Execution, StepExecution, as_json
from durable_otp.workflow.human_input import PendingInput
from durable_otp.workflow.mailbox import PendingEvent
from durable_otp.workflow.state import State

STEP_COLUMNS = (
    "Step", "Visit", "Attempt", "Status", "Started", "Took", "CPU", "Memory", "Error",
)  # fmt: skip
NARROWER_WITHOUT = ("CPU", "Memory", "Visit", "Started", "Took")
CHILD_COLUMNS = ("Child", "Workflow", "Status", "Queue", "Step", "Started", "Took", "Error")
NARROWER_WITHOUT_FOR_CHILDREN = ("Started", "Queue", "Took", "Workflow", "Step", "Error")
MOST_CHILDREN = 20
LABEL_WIDTH = 14
WIDEST_TIMELINE = 120
TIMELINE_GAP = "  "


def inspect(  # noqa: PLR0917 - typer calls it by keyword
    prefix: IdArgument,
    times: Annotated[
        bool, typer.Option("--timeline", help="Show the attempts as bars over time, too.")
    ] = False,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
    json: AsJson = False,
) -> None:
    """Show an execution with every attempt of its steps, what they printed, and its children."""
    with opened(Where(config, dsn, schema, codec)) as target:
        whole = execution_id(target, prefix)
        execution = target.client.get_execution(whole, steps=True)
        inputs = target.client.list_pending_inputs(whole)
        events = target.client.list_pending_events(whole)
        children = [] if json else target.client.list_children(whole)
        now = target.run(database_now)
    if json:
        print_json(as_json(execution))
        return
    for label, value in _facts(execution):
        if value is not None:
            say(f"{label:<{LABEL_WIDTH}}{shown(value)}")
    for wait in [*map(_asked_for, inputs), *map(_waited_for, events)]:
        say(f"{'waits for':<{LABEL_WIDTH}}{one_line(wait)}")
    _show_steps(execution.steps or [])
    if times:
        _show_timeline(execution.steps or [], now)
    _show_children(children)


def _facts(execution: Execution) -> Iterator[tuple[str, Any]]:
    yield "id", execution.id
    yield "workflow", f"{execution.workflow} version {execution.version}"
    yield "status", execution.status
    yield "queue", f"{execution.queue}, priority {execution.priority}"
    yield "step", execution.current_step
    yield "parent", execution.parent_id
    yield "inserted", execution.inserted_at
    yield "due", None if execution.started_at else execution.scheduled_at
    yield "started", execution.started_at
    yield "completed", execution.completed_at
    yield "took", took(execution) if execution.completed_at else None
    yield "held by", execution.locked_by
    yield "crashes", execution.crashes or None
    yield "interruptions", execution.interruptions or None
    yield "input", json_text.dumps(execution.input, ensure_ascii=False)
    yield "context", json_text.dumps(execution.context, ensure_ascii=False)
    yield "error", _reason(execution.error)
    for result in execution.compensation_results:
        yield "undone" if result["error"] is None else "not undone", _undoing(result)


def _asked_for(each: PendingInput) -> str:
    return f"input {each.name!r} ({each.type}){_until(each.timeout_at)}"


def _waited_for(each: PendingEvent) -> str:
    return f"event {waited_for(each)}{_until(each.timeout_at)}"


def _until(instant: datetime | None) -> str:
    return "" if instant is None else f" until {shown(instant)}"


def _show_steps(steps: list[StepExecution]) -> None:
    if not steps:
        return
    rows = [
        (
            _title(step),
            step.visit,
            step.attempt,
            step.status,
            step.started_at,
            duration(step.duration_ms),
            duration(None if step.cpu_seconds is None else step.cpu_seconds * 1000),
            size(step.peak_rss),
            _reason(step.error),
        )
        for step in steps
    ]
    say("")
    console().print(table(STEP_COLUMNS, rows, expendable=NARROWER_WITHOUT))
    for step in steps:
        _show_attempt(step)


def _show_timeline(steps: list[StepExecution], now: datetime) -> None:
    titled = [(one_line(f"{_title(step)} ({step.attempt})"), step) for step in steps]
    longest = max((len(title) for title, _ in titled), default=0)
    width = min(console().width, WIDEST_TIMELINE) - longest - len(TIMELINE_GAP)
    say("")
    for line in timeline(titled, now=now, width=width):
        text = Text(f"{line.title:<{longest}}{TIMELINE_GAP}")
        console().print(text.append(line.bar, style=style_of(line.status)), soft_wrap=True)


def _show_children(children: list[Execution]) -> None:
    """Print what its blocks run and what it has called; of many, those that matter first."""
    if not children:
        return
    order = sorted(children, key=lambda child: child.status is State.COMPLETED)
    rows = [
        (child.id, child.workflow, child.status, child.queue, child.current_step,
         child.started_at, took(child), _reason(child.error))
        for child in order[:MOST_CHILDREN]
    ]  # fmt: skip
    say("")
    columns, spare = CHILD_COLUMNS, NARROWER_WITHOUT_FOR_CHILDREN
    console().print(table(columns, rows, expendable=spare, whole=("Child",)))
    if len(children) > MOST_CHILDREN:
        say(f"... and {len(children) - MOST_CHILDREN} more: durable-otp list --parent ID")


def _show_attempt(step: StepExecution) -> None:
    """Print what an attempt left behind: where it failed, and what it wrote."""
    trace = ((step.error or {}).get("stacktrace") or "").rstrip()
    if not trace and not step.logs:
        return
    say("")
    say(f"{one_line(_title(step))}, attempt {step.attempt}:")
    for entry in step.logs or ():
        for line in str(entry.get("message", "")).splitlines():
            say(f"  {one_line(str(entry.get('level', '')))}: {one_line(line)}")
    for line in trace.splitlines():
        say(f"  {_visible(line)}")


def _title(step: StepExecution) -> str:
    """Return what a row is called: a step by its path, what undoes one with its handler's name."""
    return f"{step.path} (undone by {step.name})" if step.is_compensation else step.path


def _undoing(result: dict[str, Any]) -> str:
    done = f"{result['step']} by {result['compensation']}"
    reason = _reason(result["error"])
    return done if reason is None else f"{done}: {reason}"


def _visible(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)


def _reason(error: dict[str, Any] | None) -> str | None:
    if error is None:
        return None
    return ": ".join(str(error[key]) for key in ("type", "message") if error.get(key))
