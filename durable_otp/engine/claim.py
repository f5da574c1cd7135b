"""An execution as its worker receives it, and what holds for whatever it does with it."""

from dataclasses import dataclass
from typing import Any

LONGEST_PAUSE_SECONDS = 1.0
"""A longer delay between attempts gives the worker back and waits in the database."""


@dataclass(frozen=True)
class Claim:
    """An execution as its worker receives it."""

    id: str
    input: Any
    queue: str
    home_queue: str
    """Where the execution was started, and where steps run that ask for no queue."""
    is_fresh: bool
    """Nothing was ever recorded of it, so there is nothing to read."""
    is_plain: bool = True
    """It neither compensates nor is a child of a block."""


@dataclass(frozen=True)
class Limits:
    """The sizes that a step's values and a context may have, in bytes of JSON."""

    max_payload: int
    max_context: int
