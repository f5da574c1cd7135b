"""``durable-otp demo``: a real tree, real work and real kills, on a database of its own."""

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from durable_otp.cli.demo_report import Report, report
from durable_otp.cli.demo_screen import Screen, print_line, screen
from durable_otp.cli.demo_stage import Stage
from durable_otp.cli.failures import FAILED, UsageMistake
from durable_otp.cli.options import ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.target import Target, Where, checked_schema, opened
from durable_otp.clock import Deadline
from durable_otp.config import DurableSection
from durable_otp.otp.program import pause, take_sigterm_for_ctrl_c
from durable_otp.runtime.runtime import Runtime
from durable_otp.storage import embedded
from durable_otp.storage.identity import new_id

EXAMPLES = (
    "fulfilment",
    "payment",
    "expenses",
    "moderation",
    "reconciliation",
    "drip_email",
    "hourly_metrics",
    "thumbnails",
)
WORKFLOWS = [f"durable_otp.examples.{name}" for name in EXAMPLES]
WORKERS = 4
TICK = 0.1
PATIENCE = 60.0
DEFAULT_SECONDS = 15.0


def demo(
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=1, metavar="N", help="Start executions for so long."),
    ] = None,
    exit_when_done: Annotated[
        bool,
        typer.Option(
            "--exit-when-done", help="Then end when the last has ended (15 s by default)."
        ),
    ] = False,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="A picture, or plain lines.")
    ] = True,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
) -> None:
    """Run example workflows and kill their workers before your eyes, until Ctrl-C."""
    take_sigterm_for_ctrl_c()
    if exit_when_done and seconds is None:
        seconds = DEFAULT_SECONDS
    with _database(Where(config, dsn, schema)) as target, _own_schema(target):
        result = _play(
            target, seconds, is_live=live and sys.stdout.isatty(), stay=not exit_when_done
        )
    for line in result.lines():
        print_line(line)
    if not result.is_good or (exit_when_done and result.unfinished):
        raise typer.Exit(FAILED)


def _play(target: Target, seconds: float | None, *, is_live: bool, stay: bool) -> Report:
    print_line(f"durable-otp demo on {target.description}")
    if target.is_private:
        words = ["durable-otp", "tree", "--watch", "--dsn", target.dsn, "--schema", target.schema]
        print_line(f"look on from another terminal: {shlex.join(words)}")
    runtime = Runtime(
        dsn=target.dsn,
        schema=target.schema,
        name="demo",
        workflows=WORKFLOWS,
        queues={"default": WORKERS},
        supervisor={"shutdown_timeout": "5s"},
    )
    with runtime, screen(target, is_live=is_live) as shown:
        stage = Stage(runtime, target, shown.tell)
        stage.say(f"the tree is up: root {runtime.pid}, {WORKERS} workers and a spare")
        try:
            _perform(stage, shown, Deadline(seconds))
            _wait(stage, shown, Deadline(None if stay else PATIENCE), stay=stay)
        except KeyboardInterrupt:
            _finish(stage, shown)
        return report(stage, target)


def _perform(stage: Stage, shown: Screen, end: Deadline) -> None:
    while not end.passed:
        stage.act()
        _tick(stage, shown)
    stage.say("no more executions are started; waiting for the last to end")


def _wait(stage: Stage, shown: Screen, limit: Deadline, *, stay: bool) -> None:
    while stay or not (stage.is_done() or limit.passed):
        _tick(stage, shown)


def _finish(stage: Stage, shown: Screen) -> None:
    """Let what was started end, unless there is another Ctrl-C."""
    stage.say("finishing what was started; Ctrl-C again leaves at once")
    try:
        _wait(stage, shown, Deadline(PATIENCE), stay=False)
    except KeyboardInterrupt:
        stage.say("leaving at once")


def _tick(stage: Stage, shown: Screen) -> None:
    stage.look()
    shown.show(stage)
    pause(TICK)


@contextmanager
def _database(where: Where) -> Iterator[Target]:
    """Give the database that is named; else a private one that is removed afterwards."""
    schema = where.schema or f"durable_demo_{new_id()[-6:]}"
    if where.config is not None or where.dsn:
        with opened(Where(where.config, where.dsn, schema)) as target:
            yield target
        return
    settings = DurableSection.model_validate({"schema": checked_schema(schema)})
    with tempfile.TemporaryDirectory(prefix="durable-otp-demo-") as directory:
        place = Path(directory) / "pg"
        try:
            with (
                embedded.acquire(place) as server,
                closing(Target(server.dsn, settings, server)) as target,
            ):
                yield target
        finally:
            embedded.reset(place, force=True)


@contextmanager
def _own_schema(target: Target) -> Iterator[None]:
    """Remove the schema's tables afterwards; refuse one that somebody else uses."""
    if target.client.schema_version() > 0:
        raise UsageMistake(
            f'Schema "{target.schema}" is in use; the demo wants one of its own, give another name.'
        )
    try:
        yield
    finally:
        target.client.migrate(to=0)
