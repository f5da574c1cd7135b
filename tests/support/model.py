"""What must come of a shape: an interpreter of it that shares nothing with the engine.

It knows one process, no time and no crash. Where the engine is free (which sibling a failure in a
``fail_fast`` block still lets run, and how far), it says what is allowed: a trace that may be
``cut``, several ``errors``.
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

from tests.support.endings import AmbiguousError, Ending, Trace
from tests.support.model_bodies import ChildFailed, Failed, Values, Visit, plain
from tests.support.shapes import Branch, Clause, Each, Handler, Node, Parallel, Shape, Step, label

MOST_VISITS = 150


class TooLongError(Exception):
    """The shape goes on for longer than a test should."""


def expected(shape: Shape) -> Ending:
    """Return how a shape must end; raise `TooLongError` or `AmbiguousError` when it is unfit."""
    given = plain(shape.input)
    return _Run(shape, given if isinstance(given, dict) else {}).run(shape.nodes)


class _Jumped(Exception):  # noqa: N818 - control flow
    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


class _Run:
    """One execution; implements `model_bodies.World`."""

    def __init__(self, shape: Shape, context: Values, item: Any = None) -> None:
        self.shape = shape
        self.before = context
        self.context = deepcopy(context)
        self.item = item
        self.name = ""
        self.ending = Ending()
        self.results: Values = {}
        self.value: Any = None  # what the last node returned
        self.lines: list[tuple[str, int]] = []
        self.visits: dict[str, int] = {}
        self.handlers: list[list[Handler]] = []  # of completed nodes; a block's are a group
        self.scopes: list[tuple[tuple[Node, ...], str]] = []
        self.jumps = 0

    def run(self, nodes: tuple[Node, ...], prefix: str = "") -> Ending:
        end = self.ending
        try:
            self.sequence(nodes, prefix)
        except Failed as failure:
            end.errors, end.children = failure.types, failure.children
            end.undone = [sorted(map(_undone, group)) for group in reversed(self.handlers)]
            end.status = _status_of([status for group in end.undone for _, status in group])
        names = [name for group in end.undone for name, _ in group]
        self.lines += sorted((name, names[:at].count(name) + 1) for at, name in enumerate(names))
        end.context = self.context
        end.traces.append(Trace(self.shape.name, tuple(self.lines)))
        return end

    def sequence(self, nodes: tuple[Node, ...], prefix: str) -> None:
        self.scopes.append((nodes, prefix))
        index = 0
        while index < len(nodes):
            try:
                self.node(nodes[index], prefix)
                index += 1
            except _Jumped as jump:
                index = next((i for i, n in enumerate(nodes) if _is(n, prefix, jump.target)), -1)
                if index < 0:
                    self.scopes.pop()
                    raise
        self.scopes.pop()

    def node(self, node: Node, prefix: str) -> None:
        path = prefix + node.name
        visit = self.visits[path] = self.visits.get(path, 0) + 1
        if sum(self.visits.values()) > MOST_VISITS:
            raise TooLongError
        match node:
            case Step():
                self.step(node, path, visit)
                return
            case Branch():
                self.branch(node, path, visit)
            case Parallel():
                self.parallel(node, path, visit)
            case Each():
                self.each(node, path, visit)
        self.value = None

    def row(self, path: str, visit: int, attempt: int = 1, status: str = "completed") -> None:
        self.ending.rows.append((path, visit, attempt, status))

    # a step

    def step(self, step: Step, path: str, number: int) -> None:
        most = step.attempts if step.attempts > 1 else self.shape.attempts
        visit = Visit(step, self, self.item)
        name = step.name if self.item is None else f"{step.name}/{self.item['at']}"
        self.lines.append((name, number))
        while True:
            context = deepcopy(self.context)
            try:
                target = visit.attempt(context)
                break
            except Failed as failure:
                self.row(path, number, visit.attempts, "failed")
                if failure.is_final or visit.attempts >= most:
                    raise
        self.row(path, number, visit.attempts)
        self.context, self.value = context, visit.value
        self.handlers += [[step.handler]] if step.handler else []
        if target is not None:
            self.jumps += 1
            raise _Jumped(target)

    def check_jump(self, target: str) -> str:
        known = any(_is(n, prefix, target) for nodes, prefix in self.scopes for n in nodes)
        most = self.shape.max_jumps
        if not known or (most is not None and self.jumps >= most):
            raise Failed("decision_error", is_final=True)
        return target

    def event(self, name: str) -> str:
        payload = f"{name}#{sum(sent == name for sent, _ in self.ending.events) + 1}"
        self.ending.events.append((name, payload))
        return payload

    def call(self, name: str) -> Any:
        ending = expected(self.shape.child(name))
        failed = bool(ending.errors)
        self.ending.traces += [replace(each, repeatable=failed) for each in ending.traces]
        if failed:
            raise ChildFailed(ending.status, ending.error)
        return ending.context

    # blocks

    def branch(self, branch: Branch, path: str, visit: int) -> None:
        if branch.key is None:
            self.row(path, visit, status="failed")
            raise Failed("branch_error")
        self.row(path, visit)
        clause = _chosen(branch, self.context.get(branch.key))
        if clause is not None:
            self.sequence(clause.nodes, f"{path}/{label(clause)}/")

    def parallel(self, block: Parallel, path: str, visit: int) -> None:
        runs = [self.sibling(node, f"{path}/", None) for node in block.nodes]
        on_error = block.on_error or ("complete_all" if block.into else "fail_fast")
        self.settle(runs, on_error, path, visit)
        names = [getattr(node, "returns", None) or node.name for node in block.nodes]
        self.results = {name: _pair(run) for name, run in zip(names, runs, strict=True)}
        if block.into is not None:
            self.lines.append((f"{block.name}:into", visit))
            self.into(block.name, block.into.makes, path, visit)
        self.row(path, visit)

    def into(self, name: str, makes: str, path: str, visit: int) -> None:
        match makes:
            case "raises":  # it is retried as a step without a policy of its own is
                for attempt in range(self.shape.attempts):
                    self.row(path, visit, attempt + 1, "failed")
                raise Failed("ValueError")
            case "mapping":
                self.context[f"{name}_results"] = deepcopy(self.results)
            case "value":
                self.context[f"{name}_written"] = len(self.context)
                self.context[name] = len(self.results)

    def each(self, block: Each, path: str, visit: int) -> None:
        prefix = path.removesuffix(block.name)
        runs = [self.sibling(block.body, prefix, item) for item in plain(block.items)]
        self.settle(runs, block.on_error, path, visit)
        pairs = [_pair(run) for run in runs]
        self.results = {block.name: pairs}
        wanted = pairs if block.on_error == "complete_all" else [value for _, value in pairs]
        self.context[block.name] = deepcopy(wanted)
        self.row(path, visit)

    def sibling(self, node: Node, prefix: str, item: Any) -> "_Run":
        run = _Run(self.shape, self.context, item)
        run.name = node.name if item is None else f"{node.name}/{item['at']}"
        run.run((node,), prefix)
        return run

    def settle(self, runs: list["_Run"], on_error: str, path: str, visit: int) -> None:
        """Take over what siblings left behind; fail as the first that failed, if that is asked."""
        failed = [run for run in runs if run.ending.errors]
        stops = on_error == "fail_fast" and bool(failed)
        for run in runs:
            cut = stops and [run] != failed
            self.ending.traces += [replace(e, cut=e.cut or cut) for e in run.ending.traces]
        if stops and any(run.handlers for run in runs if [run] != failed):
            raise AmbiguousError  # how much of them is to be undone is up to chance
        completed = [run for run in runs if run not in failed]
        group = [handler for run in completed for each in run.handlers for handler in each]
        self.handlers += [group] if group else []
        if stops:
            self.row(path, visit, status="failed")
            types = [kind for run in failed for kind in run.ending.errors]
            raise Failed(*types, children=frozenset(run.name for run in failed))


def _undone(handler: Handler) -> tuple[str, str]:
    return handler.name, "failed" if handler.failing >= handler.attempts else "completed"


def _status_of(undone: list[str]) -> str:
    if not undone:
        return "failed"
    return "compensation_failed" if "failed" in undone else "compensated"


def _is(node: Node, prefix: str, target: str) -> bool:
    return target in (node.name, prefix + node.name)


def _chosen(branch: Branch, value: Any) -> Clause | None:
    matching = [c for c in branch.clauses if any(_same(each, value) for each in c.values)]
    defaults = [clause for clause in branch.clauses if not clause.values]
    return next(iter(matching + defaults), None)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _pair(run: _Run) -> list[Any]:
    """Return a sibling's result as it is stored, its error by type alone."""
    if run.ending.errors:
        return ["error", run.ending.error]
    if run.value is not None:
        return ["ok", run.value]
    before, after = run.before, run.context
    return ["ok", {k: v for k, v in after.items() if k not in before or not _same(v, before[k])}]
