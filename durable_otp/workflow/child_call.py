"""What a step says of the workflow that it calls or starts, and what it hears of its end."""

from dataclasses import dataclass
from typing import Any, Protocol

COMPLETED = "completed"
TIMED_OUT = "timed_out"


@dataclass(frozen=True)
class ChildOptions:
    """What a caller may choose for a child; None leaves it to the child's workflow.

    Attributes:
        ref: The name under which the calling execution knows it; None: the order of the calls.
        patience: Seconds that the caller waits for it; None for ever.
        has_timeout_value: Whether the wait answers ``timeout_value`` when they have passed.
    """

    queue: str | None = None
    priority: int | None = None
    ref: str | None = None
    patience: float | None = None
    has_timeout_value: bool = False
    timeout_value: Any = None


@dataclass(frozen=True)
class ChildCall:
    """An execution to be, all of it checked: ``input`` is its JSON text, None for no input."""

    workflow: str
    version: str
    queue: str
    priority: int
    timeout: float | None
    input: str | None
    options: ChildOptions


@dataclass(frozen=True)
class ChildEnd:
    """How a called execution ended, or that it was not waited for any longer.

    Attributes:
        status: Its status; ``timed_out`` when the wait for it was over first.
        context: Its final context, if it completed.
        timeout_value: What the wait answers instead, if it has a value to answer.
    """

    execution_id: str
    workflow: str
    status: str
    context: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    has_timeout_value: bool = False
    timeout_value: Any = None


class ChildMaker(Protocol):
    """What the engine offers to a step that wants children."""

    def prepared(self, workflow: Any, given: Any, options: ChildOptions) -> ChildCall:
        """Return a child that can be created: its workflow found, its input checked.

        Raises:
            WorkflowNotFound: No workflow of this name is known or published.
            InvalidInput: The input does not fit it.
            SerializationError: The input has no JSON form.
        """

    def start(self, child: ChildCall) -> str:
        """Start an execution that nobody waits for, once however often the step runs; its id."""
