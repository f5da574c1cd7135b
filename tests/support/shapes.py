"""Shapes: workflows as plain data, with everything that happens in them scripted.

`random_shapes` draws them, `shape_workflow` makes real workflows of them, `model` says what must
come of them. A shape is printed as Python that makes it again.

An effect is what a body does to its context, as a tuple: ``("set", key, value)``, ``("append", key,
item)``, ``("increment", key, by)``, ``("merge", key, mapping)``, ``("grow", key, item)`` (append in
place, if there is a list), ``("copy", key, source)``, ``("delete", key)``, ``("size", key)`` (how
many keys there are) and ``("results", key)`` (what ``ctx.results`` shows).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

FOR_EVER = 1_000_000
"""So many failures are never survived."""
SHORT = 0.02
"""Seconds that a sleep lasts, and after which a wait times out."""
KINDS = frozenset(
    {"step", "retry", "branch", "parallel", "each", "loop"}
    | {"sleep", "wait", "child", "compensation", "queue"}
)


@dataclass(frozen=True)
class Wait:
    """Something that a body waits for, and the key it keeps the answer under.

    ``event``, ``any`` and ``all`` wait for events that are sent; ``event_timeout``,
    ``input_timeout``, ``raises_timeout`` and ``fails_execution`` for what never comes; ``child``
    calls the shape named ``name``; ``sleep`` and ``once`` are what they say.
    ``catches``: a failed child or a timeout is caught, and kept as the answer.
    """

    kind: str
    name: str
    key: str = ""
    value: Any = None
    catches: bool = False


@dataclass(frozen=True)
class Jump:
    """Go on at ``target`` until the counter under ``counter`` has passed ``times``."""

    target: str
    counter: str
    times: int
    resets: bool = False


@dataclass(frozen=True)
class Handler:
    """A compensation, which fails ``failing`` times."""

    name: str
    failing: int = 0
    attempts: int = 1


@dataclass(frozen=True)
class Step:
    """A step: its effects, then its waits, then perhaps a failure, then what it returns.

    It fails in its first ``failing`` attempts, which are fewer than ``attempts`` or `FOR_EVER`.
    """

    name: str
    effects: tuple[tuple[Any, ...], ...] = ()
    waits: tuple[Wait, ...] = ()
    value: Any = None
    returns: str | None = None
    failing: int = 0
    attempts: int = 1
    error: str = "ValueError"
    jump: Jump | None = None
    is_decision: bool = False
    handler: Handler | None = None
    queue: str | None = None
    is_async: bool = False


@dataclass(frozen=True)
class Clause:
    """The nodes for some values; a default has no values."""

    values: tuple[Any, ...]
    nodes: tuple["Node", ...]


@dataclass(frozen=True)
class Branch:
    """A branch by the value under a key; without a key its function raises."""

    name: str
    key: str | None
    clauses: tuple[Clause, ...]


@dataclass(frozen=True)
class Into:
    """What a block makes of its results: ``mapping``, ``value``, ``nothing`` or ``raises``."""

    makes: str


@dataclass(frozen=True)
class Parallel:
    """A parallel block."""

    name: str
    nodes: tuple["Node", ...]
    on_error: str | None = None
    into: Into | None = None
    max_concurrency: int | None = None


@dataclass(frozen=True)
class Each:
    """A step for each item, which is ``{"at": index, "value": ..., "failing": attempts}``.

    ``key``: the items lie in the context under it, or else a function returns them.
    """

    name: str
    body: Step
    items: tuple[Any, ...]
    key: str | None = None
    on_error: str = "fail_fast"
    max_concurrency: int | None = None
    takes_index: bool = False


Node = Step | Branch | Parallel | Each


@dataclass(frozen=True)
class Shape:
    """A workflow, its input, and the shapes that it calls."""

    name: str
    nodes: tuple[Node, ...]
    input: Any = None
    children: tuple["Shape", ...] = ()
    max_jumps: int | None = 1000
    attempts: int = 1

    def child(self, name: str) -> "Shape":
        """Return a shape that this one calls."""
        return next(child for child in self.children if child.name == name)

    def every_node(self) -> Iterator[Node]:
        """Yield every node, those inside blocks too, and not those of children."""
        yield from _every_node(self.nodes)


def events_of_all(wait: Wait) -> tuple[str, str]:
    """Return the names of the events that an ``all`` waits for."""
    return wait.name, f"{wait.name}b"


def label(clause: Clause) -> str:
    """Return the name of a clause in paths."""
    if not clause.values:
        return "default"
    first = clause.values[0]
    names = {True: "true", False: "false", None: "null"}
    if first is None or isinstance(first, bool):
        return names[first]
    return str(first).replace(" ", "")


def kinds(shape: Shape) -> set[str]:
    """Return which kinds of node occur in a shape, its children's included."""
    found = {kind for node in shape.every_node() for kind in _kinds_of(node)}
    return found.union(*(kinds(child) for child in shape.children))


def printed(value: Any, indent: str = "") -> str:
    """Return a shape as Python, one node a line, without what is as by default."""
    inner = indent + "  "
    if isinstance(value, tuple) and any(is_dataclass(item) for item in value):
        items = "".join(f"\n{inner}{printed(item, inner)}," for item in value)
        return f"({items}\n{indent})"
    if not is_dataclass(value):
        return repr(value)
    shown = [
        f"{field.name}={printed(getattr(value, field.name), indent)}"
        for field in fields(value)
        if getattr(value, field.name) != field.default or field.name == "key"
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


def _every_node(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if isinstance(node, Branch):
            for clause in node.clauses:
                yield from _every_node(clause.nodes)
        elif isinstance(node, Parallel):
            yield from _every_node(node.nodes)
        elif isinstance(node, Each):
            yield node.body


def _kinds_of(node: Node) -> set[str]:
    if not isinstance(node, Step):
        return {type(node).__name__.lower()}
    found = {"step"}
    found |= {"retry"} if 0 < node.failing < node.attempts else set()
    found |= {"loop"} if node.jump else set()
    found |= {"compensation"} if node.handler else set()
    found |= {"queue"} if node.queue else set()
    names = {"sleep": "sleep", "child": "child"}
    return found | {names.get(wait.kind, "wait") for wait in node.waits}
