"""One pass over a parallel or an each block.

The first pass asks for the items and opens the block: the execution leaves its worker with the last
child created. A later pass finds that every child has ended, and settles the block: its results
become the context's, through ``into`` if there is one. `storage.families` decides in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from durable_otp.engine.failure import DefinitionChanged, describe
from durable_otp.engine.family_journal import (
    BlockState,
    ChildResult,
    FamilyJournal,
    Opening,
)
from durable_otp.engine.host import Host
from durable_otp.engine.journal import VisitRecord
from durable_otp.engine.outcome import AttemptEnd, FannedOut, Raised, Returned, Suspended
from durable_otp.engine.step_run import StepRun
from durable_otp.engine.step_runner import run_step
from durable_otp.errors import SerializationError
from durable_otp.workflow.nodes import Each, FanOut, Parallel, Step
from durable_otp.workflow.results import Err, Ok, Result, Results, stored_results
from durable_otp.workflow.state import State

ITEMS_FROM, INTO_FROM = 1, 1 << 16
"""The first ordinals of the waits of ``items`` and of ``into``; the block's own wait has 0."""

MakeRun = Callable[[VisitRecord], StepRun]


@dataclass(frozen=True)
class Surroundings:
    """What a block's children begin with, besides what each has of its own."""

    input: Any
    context: dict[str, Any]
    results: Mapping[str, Any] | None
    queue: str
    max_payload: int


def run_block(
    node: FanOut,
    make_run: MakeRun,
    record: VisitRecord,
    family: FamilyJournal,
    host: Host,
    around: Surroundings,
) -> AttemptEnd:
    """Take a block one pass further, and return how that ended. Blocks as long as its code does."""
    block = _Block(node, make_run, record, host, around)
    state = family.block(node.path, record.visit)
    try:
        if state is None:
            return block.opened()
        if state.opened < state.total or state.is_live:
            return block.reopened(state)
        return block.settled(family.children(node.path, record.visit), state.on_error)
    except (DefinitionChanged, SerializationError) as error:
        return Raised(describe(error), may_retry=False)


class _Block:
    def __init__(
        self,
        node: FanOut,
        make_run: MakeRun,
        record: VisitRecord,
        host: Host,
        around: Surroundings,
    ) -> None:
        self._node = node
        self._make_run = make_run
        self._record = record
        self._host = host
        self._around = around

    def opened(self) -> AttemptEnd:
        """Return the block's opening; without items there is nothing to open."""
        node = self._node
        if isinstance(node, Parallel):
            return FannedOut(self._opening(None, len(node.nodes)))
        end = self._run(node.listing(), ITEMS_FROM)
        if not isinstance(end, Returned):
            return end
        items = end.output
        if not isinstance(items, list):
            refused = TypeError(
                f"the items of each {node.path!r} must be a list, not {items!r:.80}"
            )
            return Raised(describe(refused), may_retry=False)
        if not items:
            return self.settled((), node.on_error)
        return FannedOut(self._opening(items, len(items)))

    def reopened(self, state: BlockState) -> AttemptEnd:
        """Return the opening of a block that is open, in part or wholly: its items are stored."""
        node = self._node
        if isinstance(node, Parallel) and len(node.nodes) != state.total:
            raise DefinitionChanged(
                f"parallel block {node.path!r} was opened with {state.total} nodes and has "
                f"{len(node.nodes)} now; give changed code a version of its own"
            )
        return FannedOut(self._opening(None, state.total))

    def settled(self, children: Sequence[ChildResult], on_error: str) -> AttemptEnd:
        """Return what becomes of a block whose children have all ended."""
        failed = [child for child in children if child.status != State.COMPLETED]
        if failed and on_error == "fail_fast":
            first = min(failed, key=lambda child: (child.ended_at, child.index))
            return Raised(self._blamed(first), may_retry=False)
        if isinstance(self._node, Parallel):
            return self._gathered(self._node, children)
        return self._collected(self._node, children, on_error)

    def _gathered(self, node: Parallel, children: Sequence[ChildResult]) -> AttemptEnd:
        results: Results = {self._key(child): _result(child) for child in children}
        stored = stored_results(results)
        if node.into is None:
            return Returned(stored, (), results=stored)
        end = self._run(node.turning(results), INTO_FROM, results)
        return end._replace(results=stored) if isinstance(end, Returned) else end

    def _collected(self, node: Each, children: Sequence[ChildResult], on_error: str) -> AttemptEnd:
        results = [_result(child) for child in children]
        stored = [result.stored() for result in results]
        values = stored if on_error == "complete_all" else [value for _, value in stored]
        context = self._make_run(self._record).context
        context[node.name] = values
        return Returned(values, context.changes(), results={node.name: stored})

    def _run(self, step: Step, first: int, results: Results | None = None) -> AttemptEnd:
        """Run code of the block as a step; its waits are numbered from ``first`` on."""
        last = INTO_FROM if first < INTO_FROM else None
        answers = {
            ordinal - first: answer
            for ordinal, answer in self._record.answers.items()
            if ordinal >= first and (last is None or ordinal < last)
        }
        run = self._make_run(self._record._replace(answers=answers))
        if results is not None:
            run.context.results = results
        end = run_step(step, run, self._host, self._around.max_payload)
        if isinstance(end, Suspended):
            return Suspended([(first + ordinal, request) for ordinal, request in end.waits])
        return end

    def _opening(self, items: Sequence[Any] | None, total: int) -> Opening:
        node = self._node
        return Opening(
            path=node.path,
            visit=self._record.visit,
            kind=node.kind,
            on_error=node.on_error,
            max_concurrency=node.max_concurrency,
            starts=_starts(node, self._around.queue),
            items=items,
            total=total,
            input=self._around.input,
            context=self._around.context,
            results=self._around.results,
        )

    def _key(self, child: ChildResult) -> str:
        if isinstance(self._node, Parallel):
            for node in self._node.nodes:
                if node.path == child.start_path:
                    return self._node.result_key(node)
        raise DefinitionChanged(
            f"parallel block {self._node.path!r} has no node {child.start_path!r}, which a child "
            "ran; give changed code a version of its own"
        )

    def _blamed(self, child: ChildResult) -> dict[str, Any]:
        """Return a child's error as its parent's."""
        name = child.start_path.rpartition("/")[2]
        if isinstance(self._node, Each):
            name = f"{self._node.name}/{child.index}"
        return {**_error_of(child), "child": {"name": name, "id": child.id}}


def _starts(node: FanOut, queue: str) -> list[tuple[str, str]]:
    if isinstance(node, Each):
        return [(node.path, node.queue or queue)]
    return [(each.path, getattr(each, "queue", None) or queue) for each in node.nodes]


def _result(child: ChildResult) -> Result:
    return Ok(child.result) if child.status == State.COMPLETED else Err(_error_of(child))


def _error_of(child: ChildResult) -> dict[str, Any]:
    if child.error is not None:
        return child.error
    return {"type": child.status, "message": f"The child is {child.status}; no reason is recorded."}
