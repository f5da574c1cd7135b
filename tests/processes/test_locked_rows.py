"""A row that somebody else holds for a moment is passed over by a claim, and must not be forgotten.

Whoever waits for an end, or sends an event, writes into the row of an execution that is about to be
claimed. Nothing is notified when such a transaction ends, and every timer here is set to an hour.
"""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.postgres import fresh_schema
from tests.support.sink import sink
from tests.support.tree import STILL, Tree, paused, running, still_queue
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, sink(), queues={"default": still_queue(2)}, **STILL) as tree,
    ):
        yield tree


def test_an_execution_whose_row_was_locked_at_the_look_is_claimed_afterwards(tree: Tree) -> None:
    with psycopg.connect(tree.dsn) as other:
        with paused(tree):
            passed_over = tree.start()
            other.execute(
                f"SELECT FROM {tree.schema}.workflow_executions WHERE id = %s FOR UPDATE".encode(),
                [passed_over.id],
            )
            beside = tree.start()
        beside.result(timeout=30)
        assert passed_over.status() == "pending"
        other.commit()
    assert passed_over.result(timeout=30)["three"] == 1


def test_a_row_that_stays_locked_keeps_nobody_from_being_claimed(tree: Tree) -> None:
    with psycopg.connect(tree.dsn) as other:
        with paused(tree):
            passed_over = tree.start()
            other.execute(
                f"SELECT FROM {tree.schema}.workflow_executions WHERE id = %s FOR UPDATE".encode(),
                [passed_over.id],
            )
        for _ in range(3):
            tree.start().result(timeout=30)
        assert passed_over.status() == "pending"
    wait_until(lambda: passed_over.status() == "completed")
