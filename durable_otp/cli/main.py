"""``durable-otp``: the program, its verbs, and how every failure becomes one sentence."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from durable_otp import __version__
from durable_otp.cli import (
    cancel,
    check,
    cleanup,
    dashboard,
    demo,
    doctor,
    event,
    failures,
    inspect,
    listing,
    migrate,
    pending,
    pg,
    processes,
    provide,
    queues,
    retry,
    run,
    schedules,
    start,
    status,
    tree,
)

app = typer.Typer(
    name="durable-otp",
    help="Durable workflows on PostgreSQL, run by a tree of supervised processes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("start")(start.start)
app.command("check")(check.check)
app.command("demo")(demo.demo)
app.command("migrate")(migrate.migrate)
app.command("status")(status.status)
app.command("tree")(tree.tree)
app.command("run")(run.run)
app.command("list")(listing.list_executions)
app.command("inspect")(inspect.inspect)
app.command("cancel")(cancel.cancel)
app.command("pending")(pending.pending)
app.command("input")(provide.provide)
app.command("event")(event.event)
app.command("retry")(retry.retry)
app.command("cleanup")(cleanup.cleanup)
app.command("doctor")(doctor.doctor)
app.add_typer(queues.app, name="queues")
app.add_typer(processes.app, name="processes")
app.add_typer(schedules.app, name="schedules")
app.add_typer(pg.app, name="pg")
app.command("dashboard")(dashboard.dashboard)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"durable-otp {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit as it ended."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = failures.FAILED
    except KeyboardInterrupt:
        code = failures.INTERRUPTED
    sys.exit(code)


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else failures.FAILED
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - the program's border: one sentence, no traceback
        typer.echo(failures.sentence(error), err=True)
        return failures.exit_code(error)
    return 0
