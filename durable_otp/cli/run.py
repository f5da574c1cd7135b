"""``durable-otp run``: start an execution, and wait for its end if wanted."""

import operator
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.json_data import parsed, read
from durable_otp.cli.options import AsJson, CodecOption, ConfigOption, DsnOption, SchemaOption
from durable_otp.cli.screen import print_json, say
from durable_otp.cli.target import Where, importable, opened
from durable_otp.cli.times import seconds_of
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import as_json
from durable_otp.workflow.registry import Registry

_MODULE_AND_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def run(
    *,
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Its name, or module:attribute.")
    ],
    given: Annotated[str | None, typer.Option("--input", metavar="JSON", help="The input.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", metavar="PATH", help="The input, from a file.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another queue than the workflow's.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Another priority; the highest runs first.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The execution that has this key, if there is one."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if bad.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help='How long to wait, such as "30s".')
    ] = None,
    config: ConfigOption = None,
    dsn: DsnOption = None,
    schema: SchemaOption = None,
    codec: CodecOption = None,
    json: AsJson = False,
) -> None:
    """Start an execution and print its id; with --wait, its output."""
    value = _input(given, json_file)
    limit = None if timeout is None else seconds_of(timeout, "--timeout")
    if limit is not None and not wait:
        raise UsageMistake("--timeout is for --wait; give both.")
    meant = _workflow(workflow, config)
    with opened(Where(config, dsn, schema, codec)) as target:
        handle = target.client.start(
            meant, value, queue=queue, priority=priority, idempotency_key=idempotency_key
        )
        if not json:
            say(handle.id)
        try:
            output = handle.result(limit) if wait else None
        finally:
            if json:
                print_json(as_json(handle.execution()))
        if wait and not json:
            print_json(output)


def _workflow(text: str, config: Path | None) -> Workflow | str:
    """Return the workflow object that ``module:attribute`` names, or the name as it is."""
    if _MODULE_AND_ATTRIBUTE.fullmatch(text) is None:
        return text
    importable(config)
    Registry().load([text])
    module, _, attribute = text.partition(":")
    found: Workflow = operator.attrgetter(attribute)(sys.modules[module])
    return found


def _input(given: str | None, json_file: Path | None) -> Any:
    if given is not None and json_file is not None:
        raise UsageMistake("Give --input or --json-file, not both.")
    if json_file is not None:
        return read(json_file)
    return None if given is None else parsed(given, "--input")
