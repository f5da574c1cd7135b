"""The engine's questions about parents and children, answered from memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from durable_otp.engine.family_journal import BlockState, ChildResult, Opening, Origin
from durable_otp.testing import families
from durable_otp.testing.calls import CHILD, start_child
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Ledger
from durable_otp.testing.rows import ExecutionRow, WaitRow, copied
from durable_otp.workflow.child_call import ChildCall
from durable_otp.workflow.state import FINAL, Move, State
from durable_otp.workflow.suspension import WaitRequest

OF_EXECUTION = ("", 0)
"""Where the notes of started executions lie among those of visits."""


class MemoryFamilyJournal:
    """The family of one claim's execution. Implements `engine.family_journal.FamilyJournal`."""

    def __init__(
        self,
        ledger: Ledger,
        known: KnownWorkflows,
        row: ExecutionRow,
        held: Callable[[], ExecutionRow],
    ) -> None:
        self._ledger = ledger
        self._known = known
        self._row = row
        self._held = held

    def origin(self) -> Origin:
        """Return what kind of execution this is."""
        return Origin(self._row.status is State.COMPENSATING, self._row.sibling)

    def latest_results(self) -> Mapping[str, Any] | None:
        """Return the results of the block that this execution completed last, in JSON form."""
        found = [step.results for step in self._row.steps if step.results is not None]
        return copied(found[-1]) if found else None

    def block(self, path: str, visit: int) -> BlockState | None:
        """Return how far a block has come; None: it was not opened."""
        block = self._row.blocks.get((path, visit))
        if block is None:
            return None
        children = families.children_of_block(self._ledger, self._row, (path, visit))
        is_live = any(child.status not in FINAL for child in children)
        total = block.opening.total
        return BlockState(total, total, is_live, block.opening.on_error)

    def open(self, opening: Opening) -> None:
        """Create a block's children and give the claim back."""
        row = self._held()
        families.open_block(self._ledger, row, opening)
        place = opening.path, opening.visit, 0
        wait = next((wait for wait in row.waits if wait.place == place), None)
        if wait is None:
            request = WaitRequest(kind=CHILD)
            wait = row.add_wait(
                WaitRow(*place, request, None, attempt=1, created_at=self._ledger.now)
            )
        wait.status = "open"
        row.current_step = row.resumes_at = opening.path
        row.scheduled_at = None
        self._ledger.move(row, Move.SUSPEND)
        families.look_at(self._ledger, row)

    def children(self, path: str, visit: int) -> Sequence[ChildResult]:
        """Return a block's children in their order."""
        children = families.children_of_block(self._ledger, self._row, (path, visit))
        return [_result(child) for child in children]

    def start(self, child: ChildCall, key: str) -> str:
        """Start an execution that nobody waits for, unless the key has one; return its id."""
        row = self._held()
        started = row.once
        if (*OF_EXECUTION, key) not in started:
            started[*OF_EXECUTION, key] = start_child(self._ledger, self._known, child, row).id
        id_: str = started[*OF_EXECUTION, key]
        return id_


def _result(child: ExecutionRow) -> ChildResult:
    assert child.sibling is not None  # noqa: S101 - it is a child of a block
    return ChildResult(
        id=child.id,
        index=child.sibling.index,
        start_path=child.sibling.start_path,
        status=child.status,
        result=copied(child.result),
        error=copied(child.error),
        ended_at=child.completed_at or child.updated_at,
    )
