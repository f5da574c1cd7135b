"""JSON on the command line, or in a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from durable_otp.cli.failures import UsageMistake
from durable_otp.errors import SerializationError
from durable_otp.workflow.json_form import decode

JsonFileOption = Annotated[
    Path | None, typer.Option("--json-file", metavar="PATH", help="The same as JSON, from a file.")
]


def parsed(text: str, option: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        UsageMistake: It is none.
    """
    try:
        return decode(text)
    except SerializationError as error:
        raise UsageMistake(f"{option} is not JSON: {error}") from None


def read(json_file: Path) -> Any:
    """Return the value that a file of JSON has.

    Raises:
        UsageMistake: It cannot be read, or is no JSON.
    """
    try:
        text = json_file.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageMistake(f"--json-file {json_file} cannot be read: {reason}.") from None
    except UnicodeDecodeError as error:
        raise UsageMistake(f"--json-file {json_file} is not UTF-8: {error}.") from None
    return parsed(text, f"--json-file {json_file}")


def data(text: str | None, json_file: Path | None, what: str) -> Any:
    """Return an argument's value: JSON where it parses as JSON, else the text; None for none.

    Raises:
        UsageMistake: There is an argument and a file, or the file is wrong.
    """
    if text is not None and json_file is not None:
        raise UsageMistake(f"Give {what} or --json-file, not both.")
    if json_file is not None:
        return read(json_file)
    if text is None:
        return None
    try:
        return decode(text)
    except SerializationError:
        return text
