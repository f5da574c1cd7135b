"""`list_children` of both clients: the order, the filter, and what is refused."""

import asyncio

import pytest

from durable_otp import AsyncDurable, ExecutionNotFound

NOBODY = "00000000-0000-7000-8000-000000000000"


def test_children_are_listed_oldest_first_and_by_status(durable, tables):
    parent = tables.add("waiting")
    ids = [tables.add(status, parent_id=parent) for status in ("failed", "pending", "completed")]
    grandchild = tables.add("pending", parent_id=ids[1])
    listed = durable.list_children(parent)
    assert [child.id for child in listed] == ids
    assert {child.parent_id for child in listed} == {parent}
    assert listed[0].context is listed[0].steps is None
    assert [child.id for child in durable.list_children(parent, "pending")] == [ids[1]]
    assert [
        child.id for child in durable.list_children(parent, status=["failed", "completed"])
    ] == [
        ids[0],
        ids[2],
    ]
    assert [child.id for child in durable.list_children(ids[1])] == [grandchild]
    assert durable.list_children(grandchild) == []


@pytest.mark.parametrize("nobody", [NOBODY, "no id", "", None, 5])
def test_a_parent_that_does_not_exist_is_refused(durable, nobody):
    with pytest.raises(ExecutionNotFound):
        durable.list_children(nobody)


def test_a_status_that_is_none_is_refused(durable, tables):
    with pytest.raises(ValueError, match="status must be among"):
        durable.list_children(tables.add(), "done")


def test_the_async_client_lists_the_same(tables):
    parent = tables.add("waiting")
    child = tables.add("pending", parent_id=parent)

    async def listed():
        async with AsyncDurable(tables.dsn, schema=tables.schema) as client:
            with pytest.raises(ExecutionNotFound):
                await client.list_children(NOBODY)
            return await client.list_children(parent, status="pending")

    assert [each.id for each in asyncio.run(listed())] == [child]
