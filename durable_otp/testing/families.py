"""Parents and children in memory: what becomes of a parent when its children end."""

from datetime import datetime

from durable_otp.engine.family_journal import Opening, Sibling
from durable_otp.testing.ledger import Beginning, Ledger
from durable_otp.testing.rows import BlockRow, ExecutionRow, Lineage, Visit, WaitRow, copied
from durable_otp.workflow.state import FINAL, State

NOT_WAITED_FOR = "The workflow that called it waits for it no longer."
HAS_FAILED = (State.FAILED, State.COMPENSATED, State.COMPENSATION_FAILED)


def attend(ledger: Ledger) -> None:
    """Do what the ends of executions ask for: start hooks, wake parents, create the next child."""
    while ledger.moved:
        ended = ledger.moved.pop(0)
        _start_hook(ledger, ended)
        if ended.lineage is not None:
            look_at(ledger, ledger.rows[ended.lineage.parent_id])


def look_at(ledger: Ledger, parent: ExecutionRow) -> None:
    """Wake a parent whose children have ended; one that runs looks when it suspends."""
    if parent.status is not State.WAITING:
        return
    over = [wait for wait in parent.open_waits if _is_over(ledger, parent, wait)]
    for wait in over:
        wait.status = "answered"
    if over:
        ledger.wake(parent)


def open_block(ledger: Ledger, parent: ExecutionRow, opening: Opening) -> None:
    """Create the children of a block that may begin at once; do nothing if it is open already."""
    visit = opening.path, opening.visit
    if visit not in parent.blocks:
        block = parent.blocks[visit] = BlockRow(opening)
        _create_children(ledger, parent, block, opening.max_concurrency or opening.total)


def children_of_block(ledger: Ledger, parent: ExecutionRow, visit: Visit) -> list[ExecutionRow]:
    """Return a block's children in their order."""
    return [
        child
        for child in ledger.children(parent)
        if child.lineage is not None
        and child.sibling is not None
        and (child.lineage.path, child.lineage.visit) == visit
    ]


def give_up_call(ledger: Ledger, child_id: str) -> None:
    """Cancel a called execution that is waited for no longer."""
    ledger.cancel([ledger.rows[child_id]], NOT_WAITED_FOR)


def _is_over(ledger: Ledger, parent: ExecutionRow, wait: WaitRow) -> bool:
    if wait.request.kind != "child":
        return False
    if wait.child_id is not None:
        return ledger.rows[wait.child_id].status in FINAL
    return _advance(ledger, parent, (wait.path, wait.visit))


def _advance(ledger: Ledger, parent: ExecutionRow, visit: Visit) -> bool:
    """Take a block further; return whether it is over."""
    block = parent.blocks[visit]
    children = children_of_block(ledger, parent, visit)
    live = [child for child in children if child.status not in FINAL]
    failed = _first_failed(block, children)
    if failed is not None:
        ledger.cancel(live, f"Child {_name(visit[0], failed)} of the same block failed.")
        return all(child.status in FINAL for child in live)  # one that compensates goes on
    limit, total = block.opening.max_concurrency, block.opening.total
    if limit is not None:
        _create_children(ledger, parent, block, limit - len(live))
    return not live and len(children) == total


def _create_children(ledger: Ledger, parent: ExecutionRow, block: BlockRow, most: int) -> None:
    opening = block.opening
    for index in range(block.created, min(block.created + most, opening.total)):
        path, queue = opening.starts[min(index, len(opening.starts) - 1)]
        sibling = Sibling(
            start_path=path,
            index=index,
            item=None if opening.items is None else copied(opening.items[index]),
            input=copied(opening.input),
            context=copied(opening.context),
            is_item=opening.kind == "each" and path == opening.path,
            results=copied(opening.results),
        )
        how = Beginning(
            queue=queue,
            priority=parent.priority,
            deadline_at=parent.deadline_at,
            lineage=Lineage(parent.id, opening.path, opening.visit, sibling),
            generation=parent.generation,
        )
        ledger.start(parent.definition, sibling.item, how)
        block.created += 1


def _first_failed(block: BlockRow, children: list[ExecutionRow]) -> ExecutionRow | None:
    if block.opening.on_error != "fail_fast":
        return None
    failed = [
        child
        for child in children
        if child.status in (*HAS_FAILED, State.CANCELLED, State.COMPENSATING)
    ]
    return min(failed, key=_end_and_index, default=None)


def _end_and_index(child: ExecutionRow) -> tuple[bool, datetime, int]:
    index = 0 if child.sibling is None else child.sibling.index
    return child.completed_at is None, child.completed_at or child.updated_at, index


def _name(block_path: str, child: ExecutionRow) -> str:
    assert child.sibling is not None  # noqa: S101 - it is a child of a block
    name = child.sibling.start_path.rpartition("/")[2]
    is_item = child.sibling.start_path == block_path
    return f"{name}/{child.sibling.index}" if is_item else name


def _start_hook(ledger: Ledger, ended: ExecutionRow) -> None:
    """Start what a workflow wants to be done after one of its executions has failed."""
    hook = ended.definition.on_failure
    if hook is None or ended.status not in HAS_FAILED or ended.sibling is not None:
        return
    form = {
        "execution_id": ended.id,
        "workflow": ended.definition.name,
        "version": ended.definition.version,
        "status": ended.status.value,
        "error": copied(ended.error),
        "input": copied(ended.input),
    }
    how = Beginning(priority=ended.priority, generation=ended.generation + 1)
    ledger.start(hook, form, how)
