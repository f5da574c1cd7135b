"""The nodes that a workflow is made of, as they are run: frozen, each with a path and a kind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from durable_otp.workflow.json_form import encode
from durable_otp.workflow.retry import Retry


@dataclass(frozen=True)
class Step:
    """One checkpointed unit: a function, and what holds for each run of it.

    Attributes:
        name: Unique within its sequence.
        function: ``f(ctx)`` or ``f()``, sync or async.
        path: The names that lead to it, joined by "/".
        retry: Its own policy, or else the workflow's.
        timeout: Seconds that one run of the body may take; None for no limit.
        queue: Where it runs: the execution moves there for it. None: where it was started.
        returns: The context key that its value is kept under.
        takes_context: Whether the function is called with the context.
        is_async: Whether calling the function gives a coroutine.
        kind: What the engine tells nodes apart by.
        progress_deadline: Seconds that its body may go without calling ``progress()``.
        targets: The nodes that a decision says it may jump to; None when it does not say.
        compensate: The name of the handler that undoes a completed visit, if it has one.
    """

    name: str
    function: Callable[..., Any]
    path: str
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    queue: str | None = None
    returns: str | None = None
    takes_context: bool = True
    is_async: bool = False
    kind: Literal["step", "decision"] = "step"
    targets: tuple[str, ...] | None = None
    progress_deadline: float | None = None
    compensate: str | None = None

    def description(self) -> dict[str, Any]:
        """Return the node's published form."""
        described: dict[str, Any] = {
            "path": self.path,
            "kind": self.kind,
            "retry": self.retry.description(),
            "timeout": self.timeout,
            "queue": self.queue,
            "returns": self.returns,
            "compensate": self.compensate,
        }
        if self.progress_deadline is not None:
            described["progress_deadline"] = self.progress_deadline
        if self.targets is not None:
            described["targets"] = list(self.targets)
        return described

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The code of this node and of everything in it."""
        return (self.function,)


@dataclass(frozen=True)
class Clause:
    """One way through a branch: the values that lead here, and the nodes there.

    ``values`` are JSON; a default has none.
    """

    label: str
    values: tuple[Any, ...]
    nodes: "tuple[Node, ...]"

    @property
    def is_default(self) -> bool:
        """Whether it is taken when no other is."""
        return not self.values


@dataclass(frozen=True)
class Branch:
    """A choice between sequences by a value; without a match and a default, none is taken."""

    name: str
    path: str
    on: Callable[..., Any]
    clauses: tuple[Clause, ...]
    takes_context: bool = True
    kind: Literal["branch"] = "branch"

    def choose(self, value: Any) -> Clause | None:
        """Return the clause for a JSON value; equal means the same JSON, so True is not 1."""
        text = encode(value)
        for clause in self.clauses:
            if any(encode(each) == text for each in clause.values):
                return clause
        return next((clause for clause in self.clauses if clause.is_default), None)

    def description(self) -> dict[str, Any]:
        """Return the node's published form."""
        return {
            "path": self.path,
            "kind": self.kind,
            "clauses": [
                {
                    "label": clause.label,
                    "values": list(clause.values),
                    "nodes": [node.description() for node in clause.nodes],
                }
                for clause in self.clauses
            ],
        }

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The code of this node and of everything in it."""
        inner = (node.functions for clause in self.clauses for node in clause.nodes)
        return (self.on, *(function for functions in inner for function in functions))


Node = Step | Branch
