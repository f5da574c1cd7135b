"""A workflow as it is run: a frozen tree of nodes, each with a path and a kind.

``builder.Workflow`` makes one; the engine walks it by paths, which is what the journal keeps.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from types import CodeType
from typing import Any

from durable_otp.workflow import failure_hook, input_type
from durable_otp.workflow.compensations import Compensation
from durable_otp.workflow.json_form import MAX_BYTES, encode
from durable_otp.workflow.nodes import Each, Node, Parallel
from durable_otp.workflow.places import Place, destination, places
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.schedule import ScheduleSettings


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
    nodes: tuple[Node, ...]
    on_failure: "Definition | None" = None
    """The workflow that is started when an execution of this one has failed."""
    schedules: tuple[ScheduleSettings, ...] = ()
    compensations: tuple[Compensation, ...] = ()

    def next_path(self, path: str | None) -> str | None:
        """Return the path after this one: the first after None, None after the last.

        Raises:
            KeyError: No node has this path.
        """
        return self.nodes[0].path if path is None else self._place(path).following

    def node(self, path: str) -> Node:
        """Return the node at a path.

        Raises:
            KeyError: No node has this path: the definition is not the one that was journaled.
        """
        return self._place(path).node

    def has(self, path: str) -> bool:
        """Return whether there is a node at a path."""
        return path in self._places

    def compensation(self, name: str) -> Compensation | None:
        """Return the undo handler of a name, if there is one."""
        return next((each for each in self.compensations if each.name == name), None)

    def destination(self, path: str, target: str) -> str | None:
        """Return where a jump from a node leads; None if it leads nowhere."""
        return destination(self._places, path, target)

    def of_child(self, path: str) -> "Definition":
        """Return the part that a parallel block's child runs: the node at a path and what is in it.

        Raises:
            KeyError: No node has this path.
        """
        return replace(self, nodes=(self.node(path),))

    def of_item(self, path: str, item: Any, index: int) -> "Definition":
        """Return the part that an ``each``'s child runs: its function, for one item.

        Raises:
            KeyError: No ``each`` has this path.
        """
        node = self.node(path)
        if not isinstance(node, Each):
            raise KeyError(f"Workflow {self.name!r} has no each {path!r}.")
        return replace(self, nodes=(node.child(item, index),))

    @cached_property
    def fans_out(self) -> bool:
        """Whether there is any parallel or each block in it."""
        return any(isinstance(node, Parallel | Each) for node in self.every_node())

    def validate_input(self, value: Any, *, max_bytes: int = MAX_BYTES) -> tuple[Any, Any]:
        """Return an input as its type and in its JSON form; raise ``InvalidInput`` if refused."""
        return input_type.validate(self.input, value, workflow=self.name, max_bytes=max_bytes)

    def restore_input(self, form: Any) -> Any:
        """Return a stored input as ``ctx.input`` shows it; raise ``InvalidInput`` if refused."""
        return input_type.restore(self.input, form, workflow=self.name)

    def description(self) -> dict[str, Any]:
        """Return the published form: what clients and other nodes may know of it, as JSON."""
        schema = input_type.json_schema(self.input)
        return {
            "name": self.name,
            "version": self.version,
            "queue": self.queue,
            "priority": self.priority,
            "timeout": self.timeout,
            "max_crashes": self.max_crashes,
            "max_jumps": self.max_jumps,
            "input": None if self.input is None else _type_name(self.input),
            **({} if schema is None else {"input_schema": schema}),
            "nodes": [node.description() for node in self.nodes],
            "on_failure": failure_hook.described(self.on_failure),
            "compensations": [each.description() for each in self.compensations],
        }

    def fingerprint(self) -> str:
        """Return a digest of the published form, the same in every process."""
        return hashlib.sha256(encode(self.description())).hexdigest()

    def same_as(self, other: "Definition") -> bool:
        """Return whether both do the same, and when: published forms, schedules, nodes' code."""
        return (
            self.description() == other.description()
            and self.schedules == other.schedules
            and all(
                _code(mine) == _code(theirs)
                for mine, theirs in zip(self.functions(), other.functions(), strict=True)
            )
        )

    def every_node(self) -> Iterator[Node]:
        """Yield every node, those inside blocks too."""
        yield from (place.node for place in self._places.values())

    def functions(self) -> Iterator[Callable[..., Any]]:
        """Yield the code of every node and then of every undo handler, in order of definition."""
        for node in self.nodes:
            yield from node.functions
        if self.on_failure is not None:
            yield from self.on_failure.functions()
        yield from (each.function for each in self.compensations)

    @cached_property
    def _places(self) -> dict[str, Place]:
        return places(self.nodes)

    def _place(self, path: str) -> Place:
        try:
            return self._places[path]
        except KeyError:
            raise KeyError(
                f"Workflow {self.name!r} version {self.version!r} has no node {path!r}."
            ) from None


def _type_name(input_type: Any) -> str:
    return input_type.__qualname__ if isinstance(input_type, type) else repr(input_type)


def _code(function: Callable[..., Any]) -> CodeType | Callable[..., Any]:
    """Return a function's code: equal when a module was imported twice or a function copied."""
    code: CodeType | Callable[..., Any] = getattr(function, "__code__", function)
    return code
