"""The checks that the options of a workflow and of its steps share; each failure is one sentence.

``subject`` is how a message calls the owner: ``Workflow 'shop'`` or ``Step 'charge' of ...``.
"""

from datetime import timedelta
from typing import Any

from durable_otp.durations import in_seconds
from durable_otp.errors import DefinitionError
from durable_otp.workflow.retry import Retry

LONGEST_NAME = 200
LONGEST_QUEUE_NAME = 100
LONGEST_DURATION = 100 * 365 * 86400.0  # a century: beyond it, database instants overflow
_SMALLEST_PRIORITY, _LARGEST_PRIORITY = -(2**31), 2**31 - 1


def check_name(value: Any, what: str, *, longest: int = LONGEST_NAME) -> str:
    """Return a name that can be shown on one line and stored."""
    if not isinstance(value, str):
        raise DefinitionError(f"{what} must be a string, not {value!r}.")
    if not value.strip():
        raise DefinitionError(f"{what} must not be empty.")
    if not value.isprintable() or len(value) > longest:
        raise DefinitionError(
            f"{what} must have at most {longest} characters, all printable, not {value[:250]!r}."
        )
    return value


def check_node_name(value: Any, what: str) -> str:
    """Return a name that can be one part of a path."""
    name = check_name(value, what)
    if "/" in name:
        raise DefinitionError(f'{what} must not contain "/", which separates a path: {name!r}.')
    return name


def check_queue(value: Any, subject: str) -> str:
    """Return a queue's name."""
    return check_name(value, f"{subject}: queue", longest=LONGEST_QUEUE_NAME)


def check_timeout(
    value: timedelta | float | None, subject: str, *, option: str = "timeout"
) -> float | None:
    """Return a timeout in seconds, more than zero; None is no timeout."""
    if value is None:
        return None
    try:
        seconds = in_seconds(value, what=f"{subject}: {option}")
    except (TypeError, ValueError) as error:
        raise DefinitionError(str(error)) from None
    if not 0 < seconds <= LONGEST_DURATION:
        raise DefinitionError(
            f"{subject}: {option} must be more than zero and at most 100 years, not {value!r}."
        )
    return seconds


def check_retry(value: Any, subject: str) -> Retry | None:
    """Return a retry policy, or None for the default."""
    if value is None or isinstance(value, Retry):
        return value
    raise DefinitionError(f"{subject}: retry must be a Retry(...), not {value!r}.")


def check_count(value: Any, what: str, *, least: int) -> int:
    """Return a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise DefinitionError(f"{what} must be a whole number of at least {least}, not {value!r}.")
    return value


def check_priority(value: Any, subject: str) -> int:
    """Return a priority that the database's integer holds."""
    if isinstance(value, int) and not isinstance(value, bool):
        if _SMALLEST_PRIORITY <= value <= _LARGEST_PRIORITY:
            return value
        raise DefinitionError(f"{subject}: priority {value} does not fit in 32 bits.")
    raise DefinitionError(f"{subject}: priority must be a whole number, not {value!r}.")
