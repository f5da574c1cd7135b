"""Real workflows made of shapes. Every body notes itself in a ledger, a file that only grows.

The bodies are objects with plain records in them: dill takes a hundredth of the time that it takes
for as many closures.
"""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import durable_otp
from durable_otp import Context, Fatal, Retry, Workflow, goto, sleep
from tests.support.shapes import (
    SHORT,
    Branch,
    Each,
    Handler,
    Into,
    Jump,
    Node,
    Parallel,
    Shape,
    Step,
    Wait,
    events_of_all,
)

ERRORS: dict[str, type[Exception]] = {"ValueError": ValueError, "KeyError": KeyError}
ERRORS |= {"Fatal": Fatal}
UNDO = "undo_"
"""What the names of compensations begin with."""


def workflows_of(shape: Shape, ledger: Path, **options: Any) -> list[Workflow]:
    """Return the workflow of a shape, then those that it calls."""
    retry = None if shape.attempts == 1 else _retry(shape.attempts)
    workflow = Workflow(shape.name, max_jumps=shape.max_jumps, retry=retry, **options)
    maker = _Maker(workflow, str(ledger))
    maker.add(shape.nodes)
    for node in shape.every_node():
        if isinstance(node, Step) and node.handler:
            maker.add_handler(node.handler)
    children = [each for child in shape.children for each in workflows_of(child, ledger, **options)]
    return [workflow, *children]


@dataclass(frozen=True)
class Line:
    """A body that began."""

    workflow: str
    execution: str
    name: str
    key: str
    """The idempotency key: the same for every run of one visit."""
    attempt: int
    pid: int


def lines_of(ledger: Path) -> list[Line]:
    """Return what was noted, in order."""
    return [Line(*json.loads(line)) for line in ledger.read_text().splitlines()]


def last_pids(ledger: Path) -> set[int]:
    """Return the processes of the bodies that began last."""
    with ledger.open("rb") as file:
        file.seek(max(0, ledger.stat().st_size - 600))
        lines = file.read().splitlines()[1:]
    return {json.loads(line)[-1] for line in lines}


def traces_of(lines: list[Line]) -> dict[str, list[tuple[tuple[str, int], ...]]]:
    """Return by workflow the bodies of each execution, as (name, visit); re-runs left out.

    Compensations come last and sorted: those of a block's children have no order.
    """
    found: dict[str, list[tuple[tuple[str, int], ...]]] = {}
    by_execution = sorted(lines, key=lambda line: line.execution)
    for _, group in groupby(by_execution, lambda line: line.execution):
        own = list(group)
        visits: dict[str, list[str]] = {}
        for line in own:
            keys = visits.setdefault(line.name, [])
            keys += [] if line.key in keys else [line.key]
        numbered = [(line.name, visits[line.name].index(line.key) + 1) for line in own]
        trace = list(map(itemgetter(0), groupby(numbered)))
        undone = sorted(line for line in trace if line[0].startswith(UNDO))
        bodies = [line for line in trace if not line[0].startswith(UNDO)]
        found.setdefault(own[0].workflow, []).append((*bodies, *undone))
    return found


class _Maker:
    """Adds nodes to a workflow."""

    def __init__(self, workflow: Workflow, ledger: str) -> None:
        self._workflow = workflow
        self._ledger = ledger

    def add(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            match node:
                case Step():
                    self._add_step(node)
                case Branch():
                    self._add_branch(node)
                case Parallel():
                    self._add_parallel(node)
                case Each():
                    self._add_each(node)

    def _add_step(self, step: Step) -> None:
        options: dict[str, Any] = {"name": step.name}
        options |= {"retry": _retry(step.attempts)} if step.attempts > 1 else {}
        options |= {"returns": step.returns} if step.returns else {}
        options |= {"queue": step.queue} if step.queue else {}
        options |= {"compensate": step.handler.name} if step.handler else {}
        add = self._workflow.decision if step.is_decision else self._workflow.step
        add(**options)((AsyncStepBody if step.is_async else StepBody)(step, self._ledger))

    def _add_branch(self, branch: Branch) -> None:
        with self._workflow.branch(Choice(branch.key), name=branch.name) as block:
            for clause in branch.clauses:
                with block.case(*clause.values) if clause.values else block.default():
                    self.add(clause.nodes)

    def _add_parallel(self, parallel: Parallel) -> None:
        options = {"on_error": parallel.on_error, "max_concurrency": parallel.max_concurrency}
        with self._workflow.parallel(name=parallel.name, **options) as block:
            self.add(parallel.nodes)
        if parallel.into:
            block.into(IntoBody(parallel.name, parallel.into, self._ledger))

    def _add_each(self, each: Each) -> None:
        options: dict[str, Any] = {"name": each.name, "on_error": each.on_error}
        options |= {"max_concurrency": each.max_concurrency}
        options |= {"retry": _retry(each.body.attempts)} if each.body.attempts > 1 else {}
        body = IndexedItemBody if each.takes_index else ItemBody
        items = each.key or Items(each.items)
        self._workflow.each(items, **options)(body(each.body, self._ledger))

    def add_handler(self, handler: Handler) -> None:
        options = {"retry": _retry(handler.attempts)} if handler.attempts > 1 else {}
        body = HandlerBody(handler, self._ledger)
        self._workflow.compensate(name=handler.name, **options)(body)


def _retry(attempts: int) -> Retry:
    return Retry(max_attempts=attempts, backoff="constant", base=0.001)


# bodies


@dataclass(frozen=True)
class StepBody:
    """The body of a step."""

    step: Step
    ledger: str

    def __call__(self, ctx: Context) -> Any:
        return perform(ctx, self.step, self.ledger, None)


@dataclass(frozen=True)
class AsyncStepBody:
    """The same as a coroutine."""

    step: Step
    ledger: str

    async def __call__(self, ctx: Context) -> Any:
        await asyncio.sleep(0)
        return perform(ctx, self.step, self.ledger, None)


@dataclass(frozen=True)
class ItemBody:
    """The body of an `Each`, for one item."""

    step: Step
    ledger: str

    def __call__(self, ctx: Context, item: Any) -> Any:
        return perform(ctx, self.step, self.ledger, item)


@dataclass(frozen=True)
class IndexedItemBody:
    """The same that takes the item's index."""

    step: Step
    ledger: str

    def __call__(self, ctx: Context, item: Any, index: int) -> Any:
        return perform(ctx, self.step, self.ledger, {**item, "at": index})


@dataclass(frozen=True)
class Items:
    """The function that gives an `Each` its items."""

    items: tuple[Any, ...]

    def __call__(self, ctx: Context) -> Any:
        return list(self.items)


@dataclass(frozen=True)
class Choice:
    """The function that a `Branch` chooses by."""

    key: str | None

    def __call__(self, ctx: Context) -> Any:
        if self.key is None:
            raise ValueError("as told")
        return ctx.get(self.key)


@dataclass(frozen=True)
class IntoBody:
    """What a `Parallel` does with its results."""

    name: str
    into: Into
    ledger: str

    def __call__(self, ctx: Context, results: Any) -> Any:
        note(ctx, f"{self.name}:into", self.ledger)
        match self.into.makes:
            case "raises":
                ctx["lost"] = True
                raise ValueError("as told")
            case "mapping":
                return {f"{self.name}_results": summary(results)}
            case "value":
                ctx[f"{self.name}_written"] = len(ctx)
                return len(results)


@dataclass(frozen=True)
class HandlerBody:
    """A compensation."""

    handler: Handler
    ledger: str

    def __call__(self, ctx: Context) -> None:
        note(ctx, self.handler.name, self.ledger)
        if ctx.attempt <= self.handler.failing:
            raise ValueError("as told")


def perform(ctx: Context, step: Step, ledger: str, item: Any) -> Any:
    """Be the body of a step, or that of an item."""
    note(ctx, step.name if item is None else f"{step.name}/{item['at']}", ledger)
    for name, *arguments in step.effects:
        EFFECTS[name](ctx, *arguments)
    for wait in step.waits:
        answer = _answer(wait)
        if wait.key:
            ctx[wait.key] = answer
    if ctx.attempt <= (step.failing if item is None else item["failing"]):
        raise ERRORS[step.error]("as told")
    if step.jump is not None:
        return _jump(ctx, step.jump)
    return step.value if item is None else _of_item(step, item)


def note(ctx: Context, name: str, ledger: str) -> None:
    """Write a line into the ledger."""
    line = [ctx.workflow, ctx.execution_id, name, ctx.idempotency_key, ctx.attempt]
    line.append(os.getpid())
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def summary(results: Any) -> dict[str, Any]:
    """Return a block's results without the words of errors."""
    return {name: _pair(results[name]) for name in sorted(results)}


def _pair(result: Any) -> Any:
    match result:
        case list():
            return [_pair(each) for each in result]
        case durable_otp.Ok(value):
            return ["ok", value]
        case durable_otp.Err(error):
            return ["error", error["type"]]


def _jump(ctx: Context, jump: Jump) -> Any:
    if ctx.increment(jump.counter) <= jump.times:
        return goto(jump.target)
    if jump.resets:
        ctx[jump.counter] = 0
    return None


def _of_item(step: Step, item: Any) -> Any:
    match step.value:
        case "item":
            return step.name, item["value"]
        case "mapping":
            return {"of": item["value"]}


EFFECTS: dict[str, Callable[..., Any]] = {
    "set": lambda ctx, key, value: ctx.update({key: value}),
    "append": lambda ctx, key, item: ctx.append(key, item),
    "increment": lambda ctx, key, by: ctx.increment(key, by),
    "merge": lambda ctx, key, mapping: ctx.merge({key: mapping}),
    "grow": lambda ctx, key, item: ctx.get(key, []).append(item),
    "copy": lambda ctx, key, source: ctx.update({key: ctx.get(source)}),
    "delete": lambda ctx, key: ctx.pop(key, None),
    "size": lambda ctx, key: ctx.update({key: len(ctx)}),
    "results": lambda ctx, key: ctx.update({key: summary(ctx.results)}),
}


def _answer(wait: Wait) -> Any:
    if not wait.catches:
        return ANSWERS[wait.kind](wait)
    try:
        return ANSWERS[wait.kind](wait)
    except durable_otp.WaitTimeout:
        return "timed out"
    except durable_otp.ChildFailed as failure:
        return [failure.status, failure.error["type"]]


def _input_timeout(wait: Wait) -> Any:
    return durable_otp.wait_for_input(wait.name, timeout=SHORT, timeout_value=wait.value)


def _event_timeout(wait: Wait) -> Any:
    return durable_otp.wait_for_event(wait.name, timeout=SHORT, timeout_value=wait.value)


def _fails_execution(wait: Wait) -> Any:
    return durable_otp.wait_for_input(wait.name, timeout=SHORT, on_timeout="fail")


ANSWERS: dict[str, Callable[[Wait], Any]] = {
    "sleep": lambda _: sleep(SHORT / 2),
    "once": lambda wait: durable_otp.once(wait.name, lambda: wait.value),
    "event": lambda wait: durable_otp.wait_for_event(wait.name),
    "any": lambda wait: list(durable_otp.wait_for_any([f"{wait.name}x", wait.name])),
    "all": lambda wait: durable_otp.wait_for_all(list(events_of_all(wait))),
    "event_timeout": _event_timeout,
    "raises_timeout": lambda wait: durable_otp.wait_for_event(wait.name, timeout=SHORT),
    "input_timeout": _input_timeout,
    "fails_execution": _fails_execution,
    "child": lambda wait: durable_otp.call_workflow(wait.name, wait.value),
}
