"""Where an execution stands, derived from its journal and nothing else. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from durable_otp.engine.failure import DefinitionChanged
from durable_otp.engine.journal import Entry
from durable_otp.engine.outcome import Returned
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.delta import fold
from durable_otp.workflow.json_form import encode

STEPS_BETWEEN_SNAPSHOTS = 100
SMALLEST_SNAPSHOT_BYTES = 4_096


class Position(NamedTuple):
    """The next step's path and number, the context before it, and the work a resume would have."""

    path: str
    number: int
    context: dict[str, Any]
    base_bytes: int
    """The size of the context's JSON at the last snapshot, or when the execution was taken up."""
    steps_since_snapshot: int = 0
    bytes_since_snapshot: int = 0
    jumps: int = 0

    @property
    def most_bytes(self) -> int:
        """No more than this many bytes of JSON are in the context."""
        return self.base_bytes + self.bytes_since_snapshot


class Accepted(NamedTuple):
    """A step that returned what can be kept, and the position behind it."""

    end: Returned
    reached: Position


def first_context(given: Any) -> dict[str, Any]:
    """Return the context that an input starts with: its keys, when it is an object."""
    return dict(given) if isinstance(given, dict) else {}


def locate(definition: Definition, context: dict[str, Any], entries: Sequence[Entry]) -> Position:
    """Return where an execution goes on, given its first context and its completed steps.

    The steps are those from the newest snapshot on, the oldest first.

    Raises:
        DefinitionChanged: The next step's path is no longer part of the definition.
    """
    path: str | None = definition.next_path(None)
    number, jumps = 1, 0
    for entry in entries:
        after = entry.snapshot
        context = fold(context, entry.changes) if after is None else after
        path, number, jumps = entry.next_path, entry.position + 1, entry.jumps
    if path is None or not definition.has(path):
        raise DefinitionChanged(
            f"workflow {definition.name!r} version {definition.version!r} has no step {path!r}, "
            "where this execution stands; give changed code a version of its own"
        )
    size = len(encode(context))
    return Position(path, number, context, size, steps_since_snapshot=len(entries), jumps=jumps)


def advance(position: Position, end: Returned) -> Position:
    """Return the position behind a step that ended so; at the end its path is still the step's."""
    return Position(
        path=position.path if end.next_path is None else end.next_path,
        number=position.number + 1,
        context=fold(position.context, end.changes),
        base_bytes=position.base_bytes,
        steps_since_snapshot=position.steps_since_snapshot + 1,
        bytes_since_snapshot=position.bytes_since_snapshot + len(encode(end.changes)),
        jumps=position.jumps + (end.jump is not None),
    )


def with_snapshot(position: Position) -> Position:
    """Return the position as it is once its context was written down whole."""
    size = len(encode(position.context))
    return position._replace(base_bytes=size, steps_since_snapshot=0, bytes_since_snapshot=0)


def needs_snapshot(position: Position) -> bool:
    """Return whether the checkpoint before this position should carry the whole context.

    Every hundred steps, or when the changes outweigh the context twice: a resume then reads at most
    a hundred rows, and what a step costs does not grow with the number of steps.
    """
    return (
        position.steps_since_snapshot >= STEPS_BETWEEN_SNAPSHOTS
        or position.bytes_since_snapshot > max(SMALLEST_SNAPSHOT_BYTES, 2 * position.base_bytes)
    )
