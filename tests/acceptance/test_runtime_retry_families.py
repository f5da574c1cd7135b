"""Retrying and forking what has blocks, and what is half undone, in the real tree."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Context, NotRetryable, Workflow
from tests.support.postgres import fresh_schema
from tests.support.sink import note
from tests.support.tree import STILL, Tree, running, still_queue

both = Workflow("both")


def begun(ctx: Context) -> None:
    """Note a run of a body, and fail while the input's mark is not there."""
    note(ctx, "begun")


def fail_without_mark(ctx: Context) -> None:
    if not Path(ctx.input["mark"]).exists():
        raise ValueError("the mark is missing")


with both.parallel(name="lookups", on_error="complete_all") as lookups:

    @both.step(returns="stock")
    def stock(ctx: Context) -> int:
        begun(ctx)
        return 7

    @both.step(returns="price")
    def price(ctx: Context) -> int:
        begun(ctx)
        fail_without_mark(ctx)
        return 3


@lookups.into
def total(ctx: Context, results: dict[str, Any]) -> dict[str, Any]:
    begun(ctx)
    return {"total": results["stock"].value * results["price"].value}


@both.step
def close(ctx: Context) -> dict[str, Any]:
    begun(ctx)
    return {"closed": ctx["total"]}


packed = Workflow("packed")


@packed.each("items")
def pack(ctx: Context, item: int) -> int:
    begun(ctx)
    if item == 2:
        fail_without_mark(ctx)
    return item * 10


saga = Workflow("saga")


@saga.step(compensate="refund")
def charge(ctx: Context) -> None:
    begun(ctx)


@saga.step(compensate="restock")
def reserve(ctx: Context) -> None:
    begun(ctx)


@saga.step
def ship(ctx: Context) -> None:
    raise ValueError("no ship")


@saga.compensate
def refund(ctx: Context) -> None:
    begun(ctx)
    fail_without_mark(ctx)


@saga.compensate
def restock(ctx: Context) -> None:
    begun(ctx)


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, both, packed, saga, queues={"default": still_queue(3)}, **STILL
        ) as tree,
    ):
        yield tree


def start(tree: Tree, workflow: Workflow, mark: Path, **more: Any) -> Any:
    given = {"ledger": [tree.dsn, tree.schema], "mark": str(mark), **more}
    return tree.durable.start(workflow, given)


def bodies(tree: Tree, *ids: str) -> list[str]:
    return sorted(line["step"] for id_ in ids for line in tree.ledger(id_))


def family(tree: Tree, handle: Any) -> list[str]:
    return [handle.id, *(child.id for child in tree.durable.list_children(handle.id))]


def test_a_failed_child_of_an_each_goes_on_with_its_parent_and_the_others_are_kept(
    tree: Tree, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    handle = start(tree, packed, mark, items=[1, 2])
    error = tree.until(handle, "failed").error
    assert (error["type"], error["child"]["name"]) == ("ValueError", "pack/1")
    mark.touch()
    handle.retry()
    assert handle.result(timeout=30)["pack"] == [10, 20]
    assert len(tree.durable.list_children(handle.id)) == 2
    ran = bodies(tree, *family(tree, handle))
    assert 3 <= len(ran) <= 4  # the first child may have been cancelled before it had begun


def test_an_into_that_failed_for_a_child_s_sake_is_retried_with_that_child(
    tree: Tree, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    handle = start(tree, both, mark)
    assert tree.until(handle, "failed").error["type"] == "AttributeError"  # an Err has no value
    mark.touch()
    handle.retry()
    assert handle.result(timeout=30)["closed"] == 21
    assert bodies(tree, *family(tree, handle)) == [
        "close", "lookups", "lookups", "price", "price", "stock",
    ]  # fmt: skip


def test_a_fork_behind_a_block_has_what_the_block_gave(tree: Tree, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    handle = start(tree, both, mark)
    handle.result(timeout=30)
    fork = tree.durable.fork(handle.id, "close")
    assert fork.result(timeout=30) == handle.result()
    assert bodies(tree, fork.id) == ["close"]
    assert tree.durable.list_children(fork.id) == []


def test_a_half_undone_saga_goes_on_undoing_where_it_stopped(tree: Tree, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    handle = start(tree, saga, mark)
    execution = tree.until(handle, "compensation_failed")
    assert [each["status"] for each in execution.compensation_results] == ["completed", "failed"]
    mark.touch()
    handle.retry()
    execution = tree.until(handle, "compensated")
    assert execution.error["type"] == "ValueError"
    assert {(each["compensation"], each["status"]) for each in execution.compensation_results} == {
        ("restock", "completed"), ("refund", "completed"),
    }  # fmt: skip
    assert bodies(tree, handle.id) == ["charge", "refund", "refund", "reserve", "restock"]
    with pytest.raises(NotRetryable):
        handle.retry()
