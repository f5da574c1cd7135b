"""The nodes that a workflow is made of, as they are run: frozen, each with a path and a kind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
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
        transaction: Whether its body, ``f(ctx, connection)``, runs in its checkpoint's transaction.
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
    transaction: bool = False

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
        if self.transaction:
            described["transaction"] = True
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


OnError = Literal["fail_fast", "complete_all"]


@dataclass(frozen=True)
class Parallel:
    """Nodes that run side by side, each as a durable child of its own.

    Attributes:
        name: Unique within its sequence.
        path: The names that lead to it, joined by "/".
        nodes: What runs, one child for each.
        on_error: Whether the first failure ends the block, or is a result like the others.
        max_concurrency: How many children may run at once; None for all.
        into: ``f(ctx, results)``, run as a step when all children have ended; None: none is.
        retry: The policy of ``into``.
        is_async: Whether calling ``into`` gives a coroutine.
    """

    name: str
    path: str
    nodes: "tuple[Node, ...]"
    on_error: OnError
    max_concurrency: int | None = None
    into: Callable[..., Any] | None = None
    retry: Retry = field(default_factory=Retry)
    is_async: bool = False
    kind: Literal["parallel"] = "parallel"

    def turning(self, results: Any) -> Step:
        """Return ``into`` as the step that it is run as."""
        into = partial(_called, self.into, results)
        return Step(self.name, into, self.path, self.retry, is_async=self.is_async)

    def result_key(self, node: "Node") -> str:
        """Return the name of a child's result."""
        return (isinstance(node, Step) and node.returns) or node.name

    def description(self) -> dict[str, Any]:
        """Return the node's published form."""
        return {
            "path": self.path,
            "kind": self.kind,
            "on_error": self.on_error,
            "max_concurrency": self.max_concurrency,
            "into": self.into is not None,
            "nodes": [node.description() for node in self.nodes],
        }

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The code of this node and of everything in it."""
        inner = tuple(function for node in self.nodes for function in node.functions)
        return inner if self.into is None else (*inner, self.into)


@dataclass(frozen=True)
class Each:
    """One function for each item of a list, each item as a durable child of its own.

    Attributes:
        name: Unique within its sequence; the context key of the list of values.
        path: The names that lead to it, joined by "/".
        items: The context key of the list, or ``f(ctx)`` or ``f()`` that returns it.
        function: ``f(ctx, item)`` or ``f(ctx, item, index)``, sync or async.
        on_error: Whether the first failure ends the block, or is a result like the others.
        max_concurrency: How many children may run at once; None for all.
        queue: Where the children run; None: where the execution was started.
        retry: Each child's policy, and that of ``items``.
        timeout: Seconds that one run of the function may take; None for no limit.
        takes_index: Whether the function is called with the item's index too.
        is_async: Whether calling the function gives a coroutine.
        items_take_context: Whether ``items`` is called with the context.
        items_are_async: Whether calling ``items`` gives a coroutine.
    """

    name: str
    path: str
    items: str | Callable[..., Any]
    function: Callable[..., Any]
    on_error: OnError = "fail_fast"
    max_concurrency: int | None = None
    queue: str | None = None
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    takes_index: bool = False
    is_async: bool = False
    items_take_context: bool = True
    items_are_async: bool = False
    kind: Literal["each"] = "each"

    def listing(self) -> Step:
        """Return a step that returns the items."""
        if isinstance(self.items, str):
            return Step(self.name, partial(_listed, self.items, self.path), self.path)
        return Step(
            self.name,
            self.items,
            self.path,
            self.retry,
            takes_context=self.items_take_context,
            is_async=self.items_are_async,
        )

    def child(self, item: Any, index: int) -> Step:
        """Return the step that a child runs for an item."""
        given = (item, index) if self.takes_index else (item,)
        body = partial(_called, self.function, *given)
        return Step(
            self.name, body, self.path, self.retry, self.timeout, self.queue, is_async=self.is_async
        )

    def description(self) -> dict[str, Any]:
        """Return the node's published form."""
        return {
            "path": self.path,
            "kind": self.kind,
            "items": self.items if isinstance(self.items, str) else None,
            "on_error": self.on_error,
            "max_concurrency": self.max_concurrency,
            "queue": self.queue,
            "retry": self.retry.description(),
            "timeout": self.timeout,
        }

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The code of this node."""
        return (self.function,) if isinstance(self.items, str) else (self.items, self.function)


def _called(function: Any, *given: Any) -> Any:
    """Call ``f(ctx, ...)``; the context comes last here, behind what was bound before it."""
    *bound, context = given
    return function(context, *bound)


def _listed(key: str, path: str, context: Any) -> Any:
    if key not in context:
        raise KeyError(f"each {path!r} needs a list under the context key {key!r}; there is none")
    return context[key]


FanOut = Parallel | Each
Node = Step | Branch | Parallel | Each
