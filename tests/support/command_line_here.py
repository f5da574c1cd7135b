"""`durable-otp` in this process: for many commands that start nothing and wait for nothing."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from durable_otp.cli.main import _run


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    output: str
    errors: str


def command_here(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Done:
    """Run a command of the program; an exception that it lets out is the test's."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["durable-otp", *words]),
        patch.dict(os.environ, environment or {}),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        code = _run()
    return Done(code, output.getvalue(), errors.getvalue())
