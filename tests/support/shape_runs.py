"""Run many shapes on one tree, and compare what came of each with what the model says."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_otp.client.handle import Handle
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.state import FINAL
from tests.support.endings import Ending, Trace
from tests.support.model import expected
from tests.support.shape_workflow import Line, lines_of, traces_of, workflows_of
from tests.support.shapes import Shape, printed
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

QUICK: dict[str, Any] = {"sleep_waker": {"interval": 0.05}, "wait_timeouts": {"interval": 0.05}}
Lines = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Run:
    """What came of a shape."""

    execution: Execution
    traces: dict[str, list[Lines]]
    """The bodies that ran, by workflow and execution."""


def run_shapes(
    dsn: str,
    schema: str,
    shapes: Sequence[Shape],
    ledger: Path,
    *,
    meanwhile: Callable[[Tree], None] = lambda _: None,
    timeout: float = 100.0,
    commit: str = "each",
    **options: Any,
) -> list[Run]:
    """Run shapes side by side; ``meanwhile`` is called again and again until all have ended."""
    ledger.touch()
    made = [workflows_of(shape, ledger, **options) for shape in shapes]
    every = [workflow for workflows in made for workflow in workflows]
    queues = {
        "default": {"concurrency": 4, "commit": commit},
        "other": {"concurrency": 1, "commit": commit},
    }
    supervisor = {"max_restarts": 10_000}  # idle workers are killed too
    with running(dsn, schema, *every, queues=queues, supervisor=supervisor, **QUICK) as tree:
        handles = []
        for shape, workflows in zip(shapes, made, strict=True):
            handle = tree.durable.start(workflows[0], shape.input)
            for name, payload in expected(shape).events:
                handle.send_event(name, payload)
            handles.append(handle)
            meanwhile(tree)
        wait_until(
            lambda: meanwhile(tree) or _all_ended(tree), timeout=timeout, what=_Unended(tree)
        )
        return _runs(handles, lines_of(ledger))


def differences(shape: Shape, run: Run, *, crashes: bool = False) -> list[str]:
    """Return how an execution differs from the model's, a sentence each.

    With ``crashes``, attempts may have been repeated.
    """
    ending, execution = expected(shape), run.execution
    found = [
        f"{what} is {is_!r} and should be {should!r}"
        for what, is_, should in (
            ("the status", str(execution.status), ending.status),
            ("the context", without_words(execution.context), ending.context),
            ("the rows", *_rows(execution, ending, crashes=crashes)),
            ("the compensations", _undone(execution, ending), ending.undone),
        )
        if not _same(is_, should)
    ]
    if ending.status == "completed" and execution.output != execution.context:
        found.append(f"the output is {execution.output!r}")
    kind = (execution.error or {}).get("type")
    if kind not in (ending.errors or {None}):
        found.append(f"the error is {execution.error!r} and should be a {ending.errors!r}")
    child = (execution.error or {}).get("child", {}).get("name")
    if child not in (ending.children or {None}):
        found.append(f"the error names {child!r} and should name {set(ending.children)!r}")
    return found + list(_odd_traces(ending.traces, run.traces, crashes=crashes))


def report(shapes: Sequence[Shape], runs: Sequence[Run], *, crashes: bool = False) -> str:
    """Return the differences of all, each with its shape; empty when there are none."""
    return "\n\n".join(
        "\n".join([printed(shape), *found])
        for shape, run in zip(shapes, runs, strict=True)
        if (found := differences(shape, run, crashes=crashes))
    )


def without_words(value: Any) -> Any:
    """Return a context whose stored errors are their types alone."""
    match value:
        case ["error", {"type": str(kind)}]:
            return ["error", kind]
        case list():
            return [without_words(item) for item in value]
        case dict():
            return {key: without_words(item) for key, item in value.items()}
    return value


class _Unended:
    """Says what has not ended, when it is asked for."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        found = self._tree.durable.list_executions(status=_OPEN)
        return "the end of " + ", ".join(f"{e.workflow} ({e.status})" for e in found)


_OPEN = ("pending", "running", "waiting", "compensating")


def _all_ended(tree: Tree) -> bool:
    return tree.durable.count_executions(status=_OPEN) == 0


def _runs(handles: list[Handle], lines: list[Line]) -> list[Run]:
    found = []
    for handle in handles:
        execution = handle.execution()
        assert execution.status in FINAL
        own = [line for line in lines if _is_of(line.workflow, execution.workflow)]
        found.append(Run(execution, traces_of(own)))
    return found


def _is_of(workflow: str, root: str) -> bool:
    return workflow == root or workflow.startswith(f"{root}_")


def _same(one: Any, other: Any) -> bool:
    """Return whether two are the same JSON: True is not 1."""
    return repr(_ordered(one)) == repr(_ordered(other))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else value


def _rows(execution: Execution, ending: Ending, *, crashes: bool) -> tuple[Any, Any]:
    rows = [
        (step.path, step.visit, step.attempt, str(step.status))
        for step in execution.steps or []
        if not step.is_compensation
    ]
    if not crashes:
        return rows, ending.rows
    return _completed(rows), _completed(ending.rows)


def _completed(rows: list[tuple[str, int, int, str]]) -> list[tuple[str, int]]:
    return [(path, visit) for path, visit, _, status in rows if status == "completed"]


def _undone(execution: Execution, ending: Ending) -> list[list[tuple[str, str]]]:
    """Return the compensations in groups as large as those that the model has."""
    left = [(each["compensation"], each["status"]) for each in execution.compensation_results]
    found = []
    for group in ending.undone:
        found.append(sorted(left[: len(group)]))
        left = left[len(group) :]
    return [*found, left] if left else found


def _odd_traces(traces: list[Trace], seen: dict[str, list[Lines]], *, crashes: bool) -> list[str]:
    """Return what should have run and did not, and what ran without leave.

    With crashes, a child that fails is called once or more often: a crash is an attempt, too.
    """
    ran = Counter((name, lines) for name, several in seen.items() for lines in several)
    whole = [trace for trace in traces if trace.lines and not trace.cut]
    free = {(trace.workflow, trace.lines) for trace in whole if trace.repeatable and crashes}
    needed = Counter((trace.workflow, trace.lines) for trace in whole)
    needed.update({key: 1 - needed[key] for key in free})
    missing = [f"{name} should have run {lines}" for name, lines in (needed - ran).elements()]
    cut = [trace for trace in traces if trace.cut]
    return missing + [
        f"{name} should not have run {lines}"
        for name, lines in (ran - needed).elements()
        if (name, lines) not in free and not _is_allowed(name, lines, cut)
    ]


def _is_allowed(name: str, lines: Lines, cut: list[Trace]) -> bool:
    """Return whether a trace may have ended early, which each may only once."""
    match = next((e for e in cut if e.workflow == name and e.lines[: len(lines)] == lines), None)
    if match is not None:
        cut.remove(match)
    return match is not None
