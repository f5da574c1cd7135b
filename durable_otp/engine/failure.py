"""Errors as they are stored: a type, a message and where it happened, safe to write and to read."""

import traceback
from typing import Any

from durable_otp.errors import (
    CodecError,
    EncodingRefused,
    SerializationError,
    text_of,
    without_passwords,
)
from durable_otp.workflow.stored_text import storable

LONGEST_TYPE = 200
LONGEST_STACKTRACE = 32_768


class DefinitionChanged(Exception):  # noqa: N818 - the error type it becomes
    """The code no longer has what the journal says happened."""


class DecisionError(Exception):
    """A step asked to go on where it cannot."""


class BranchError(Exception):
    """The function that a branch chooses by raised."""


ENGINE_TYPES = {
    SerializationError: "serialization_error",
    DefinitionChanged: "definition_changed",
    DecisionError: "decision_error",
    BranchError: "branch_error",
}


def describe(error: BaseException) -> dict[str, Any]:
    """Return an exception as the JSON error of a step or an execution, without passwords."""
    return {
        "type": storable(error_type(error), LONGEST_TYPE),
        "message": storable(without_passwords(text_of(error))),
        "stacktrace": storable(without_passwords(_trace(error)), LONGEST_STACKTRACE),
    }


def unencodable(refused: EncodingRefused) -> dict[str, Any]:
    """Return the error of what no codec would encode; it is stored as it is, and hides nothing."""
    facts = {"type": CodecError.__name__, "message": storable(str(refused)), "stacktrace": None}
    return {**facts, "codec": refused.codec}


def _trace(error: BaseException) -> str:
    """Return where it happened: lines of code, and of no variable what it held."""
    return "".join(traceback.format_exception(error))


def error_type(error: BaseException) -> str:
    """Return the engine's own name for what it raises itself, else the exception's class name."""
    for raised, name in ENGINE_TYPES.items():
        if isinstance(error, raised):
            return name
    return type(error).__name__
