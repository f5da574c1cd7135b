"""A workflow as it is run: a frozen sequence of nodes, each with a path and a kind.

``builder.Workflow`` makes one; the engine walks it by paths, which is what the journal keeps.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal

from durable_otp.workflow import input_type
from durable_otp.workflow.json_form import MAX_BYTES, encode
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
    kind: Literal["step"] = "step"

    def description(self) -> dict[str, Any]:
        """Return the node's published form."""
        return {
            "path": self.path,
            "kind": self.kind,
            "retry": self.retry.description(),
            "timeout": self.timeout,
            "queue": self.queue,
            "returns": self.returns,
        }


@dataclass(frozen=True)
class Definition:
    """Everything a node of the cluster knows about one version of a workflow."""

    name: str
    version: str
    queue: str
    priority: int
    timeout: float | None
    retry: Retry | None
    max_crashes: int
    max_jumps: int | None
    input: Any
    nodes: tuple[Step, ...]

    def next_path(self, path: str | None) -> str | None:
        """Return the path after this one: the first after None, None after the last.

        Raises:
            KeyError: No node has this path.
        """
        following = 0 if path is None else self._index(path) + 1
        return self.nodes[following].path if following < len(self.nodes) else None

    def node(self, path: str) -> Step:
        """Return the node at a path.

        Raises:
            KeyError: No node has this path: the definition is not the one that was journaled.
        """
        return self.nodes[self._index(path)]

    def validate_input(self, value: Any, *, max_bytes: int = MAX_BYTES) -> tuple[Any, Any]:
        """Return an input as its type and in its JSON form; raise ``InvalidInput`` if refused."""
        return input_type.validate(self.input, value, workflow=self.name, max_bytes=max_bytes)

    def restore_input(self, form: Any) -> Any:
        """Return a stored input as ``ctx.input`` shows it; raise ``InvalidInput`` if refused."""
        return input_type.restore(self.input, form, workflow=self.name)

    def description(self) -> dict[str, Any]:
        """Return the published form: what clients and other nodes may know of it, as JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "queue": self.queue,
            "priority": self.priority,
            "timeout": self.timeout,
            "max_crashes": self.max_crashes,
            "max_jumps": self.max_jumps,
            "input": None if self.input is None else _type_name(self.input),
            "nodes": [node.description() for node in self.nodes],
        }

    def fingerprint(self) -> str:
        """Return a digest of the published form, the same in every process."""
        return hashlib.sha256(encode(self.description())).hexdigest()

    def same_as(self, other: "Definition") -> bool:
        """Return whether both do the same: equal published forms, and equal code at each node."""
        return self.description() == other.description() and all(
            _code(mine.function) == _code(theirs.function)
            for mine, theirs in zip(self.nodes, other.nodes, strict=True)
        )

    def _index(self, path: str) -> int:
        for index, node in enumerate(self.nodes):
            if node.path == path:
                return index
        raise KeyError(f"Workflow {self.name!r} version {self.version!r} has no node {path!r}.")


def _type_name(input_type: Any) -> str:
    return input_type.__qualname__ if isinstance(input_type, type) else repr(input_type)


def _code(function: Callable[..., Any]) -> CodeType | Callable[..., Any]:
    """Return a function's code: equal when a module was imported twice or a function copied."""
    code: CodeType | Callable[..., Any] = getattr(function, "__code__", function)
    return code
