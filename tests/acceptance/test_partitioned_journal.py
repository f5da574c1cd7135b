"""The SQL of docs/scaling.md: a journal in partitions, on which everything runs as before."""

import re
from pathlib import Path

import psycopg
import pytest

from durable_otp import Context, Retry, Workflow
from durable_otp.storage.statements import in_schema
from tests.support.sink import sink
from tests.support.tables import Tables
from tests.support.tree import Tree, running

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
NEXT_MONTH = "date_trunc('month', now()) + interval '1 month'"


def written() -> list[str]:
    return re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


def partition(of: Tree | Tables) -> None:
    """Do what the page says, but begin the next partition now."""
    assert NEXT_MONTH in written()[0]
    said = written()[0].replace(NEXT_MONTH, "now()").replace("durable.", f"{of.schema}.")
    with psycopg.connect(of.dsn) as connection:
        connection.execute(said.encode())


def kept_in(tree: Tree, table: str) -> set[str]:
    rows = tree.sql(f"SELECT DISTINCT execution_id::text AS id FROM {{s}}.{table}")
    return {row["id"] for row in rows}


def family() -> Workflow:
    workflow = Workflow("family")

    @workflow.each("items")
    def double(_: Context, item: int) -> int:
        return item * 2

    return workflow


@pytest.mark.slow
@pytest.mark.parametrize("commit", ["each", "batched"])
def test_workflows_run_on_a_partitioned_journal(dsn: str, schema: str, commit: str) -> None:
    queues = {"default": {"concurrency": 2, "commit": commit}}
    work = (sink(retry=Retry(max_attempts=3, base=0.01)), family())
    with running(dsn, schema, *work, queues=queues) as tree:
        old = [tree.start(two=["raise", "ok"]) for _ in range(3)]
        assert [handle.result(timeout=60)["three"] for handle in old] == [1, 1, 1]
    partition(tree)
    before = {handle.id for handle in old}
    assert kept_in(tree, "step_executions_before") == before

    with running(dsn, schema, *work, queues=queues) as tree:
        new = [tree.start(two=["raise", "ok"], three="nap:0.1") for _ in range(3)]
        doubled = tree.durable.start("family", {"items": [1, 2, 3]})
        killed = tree.start(one=["kill", "ok"])
        assert [handle.result(timeout=60)["three"] for handle in [*new, killed]] == [1] * 4
        assert doubled.result(timeout=60)["double"] == [2, 4, 6]
        forked = tree.durable.fork(new[0].id, "two")
        assert forked.result(timeout=60)["two"] == 2
        assert [step.attempt for step in new[0].execution().steps if step.name == "two"] == [1, 2]
        later = kept_in(tree, "step_executions") - before
        assert later >= {handle.id for handle in [*new, doubled, killed, forked]}
        assert not later & kept_in(tree, "step_executions_before")
        assert kept_in(tree, "step_executions_rest") == set()

        (alive,) = tree.sql(
            "SELECT count(*) AS alive FROM {s}.workflow_executions "
            "WHERE id < {s}.first_id(now()) AND completed_at IS NULL"
        )
        assert alive["alive"] == 0
        tree.sql("ALTER TABLE {s}.step_executions DETACH PARTITION {s}.step_executions_before")
        cutoff = max(handle.execution().completed_at for handle in old)
        removed = tree.durable.delete_executions(cutoff, ("completed",))
        tree.sql("DROP TABLE {s}.step_executions_before")
        assert removed == 2  # the one that ended last is not older than itself
        assert kept_in(tree, "step_executions") == later
        assert new[1].result(timeout=60)["two"] == 2


def test_the_check_before_a_drop_counts_what_lives(tables: Tables) -> None:
    partition(tables)
    check = in_schema(written()[1], tables.schema)
    for status, alive in (("completed", 0), ("waiting", 1)):
        tables.add(status, id="01a24000-0000-7000-8000-00000000000" + str(alive))
        (row,) = tables.sql(check)
        assert row["alive"] == alive
