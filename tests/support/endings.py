"""What the model says of an execution's end."""

from dataclasses import dataclass, field

from tests.support.model_bodies import Values


class AmbiguousError(Exception):
    """What comes of the shape depends on which of two failures is seen first."""


@dataclass(frozen=True)
class Trace:
    """The bodies of one execution, as (name, visit) in order.

    A ``cut`` one may end early or be missing; a ``repeatable`` one may have been called again.
    """

    workflow: str
    lines: tuple[tuple[str, int], ...]
    cut: bool = False
    repeatable: bool = False


@dataclass
class Ending:
    """How an execution must end.

    ``errors``: the types its error may have; ``children``: the children that it may name.
    ``rows``: every attempt, as (path, visit, attempt, status). ``undone``: the compensations that
    ran, as groups of (handler, status); a group has no order. ``events``: what must be sent to it,
    as (name, payload).
    """

    status: str = "completed"
    context: Values = field(default_factory=dict)
    errors: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    rows: list[tuple[str, int, int, str]] = field(default_factory=list)
    undone: list[list[tuple[str, str]]] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)

    @property
    def error(self) -> str:
        """The type of its error, where there is no doubt about it."""
        if len(self.errors) > 1:
            raise AmbiguousError
        return next(iter(self.errors))
