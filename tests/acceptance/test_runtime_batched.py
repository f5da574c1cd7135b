"""``commit = "batched"``: steps of all workers are committed together, and deaths cost no more."""

import random
from collections import Counter
from contextlib import suppress
from typing import Any

from durable_otp import Context, Workflow
from durable_otp.client.handle import Handle
from tests.support.sink import given, sink
from tests.support.tree import Tree, kill, running
from tests.support.waiting import wait_until

FIVE = ("one", "two", "three", "four", "five")
QUEUES = {"default": {"concurrency": 2, "commit": "batched"}}
SOON = 60.0

picky = Workflow("picky", max_crashes=2)


@picky.step
def say(ctx: Context) -> dict[str, Any]:
    return {"word": ctx.input["word"]}


def start_all(tree: Tree, count: int) -> list[Handle]:
    return tree.durable.start_many("sink", [given(tree.dsn, tree.schema)] * count)


def completed_rows(tree: Tree) -> Counter[tuple[str, str]]:
    rows = tree.sql("SELECT execution_id, path FROM {s}.step_executions WHERE status = 'completed'")
    return Counter((str(row["execution_id"]), row["path"]) for row in rows)


def test_what_is_done_reads_as_if_it_were_committed_one_by_one(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(), queues=QUEUES) as tree:
        handle = tree.start(two="nap:0.1")
        handle.result(timeout=SOON)
        execution = handle.execution()
        assert [(s.path, s.attempt, str(s.status)) for s in execution.steps] == [
            ("one", 1, "completed"),
            ("two", 1, "completed"),
            ("three", 1, "completed"),
        ]
        assert execution.output == execution.context
        assert (execution.crashes, execution.interruptions) == (0, 0)


def test_a_killed_worker_repeats_nothing_that_it_had_finished(dsn: str, schema: str) -> None:
    chance = random.Random(5)
    with running(dsn, schema, sink(steps=FIVE, max_crashes=100), queues=QUEUES) as tree:
        handles = start_all(tree, 60)
        for share in range(1, 6):
            wait_until(lambda share=share: len(tree.ledger()) > 50 * share, timeout=SOON)
            with suppress(ProcessLookupError):  # what the tree shows may be a moment old
                kill(chance.choice(tree.workers())["pid"])
        for handle in handles:
            handle.result(timeout=SOON)
        assert set(completed_rows(tree).values()) == {1}
        assert len(completed_rows(tree)) == 5 * 60
        crashes = sum(handle.execution().crashes for handle in handles)
        assert 5 * 60 <= len(tree.ledger()) <= 5 * 60 + crashes


def test_a_killed_manager_loses_nothing(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(steps=FIVE, max_crashes=100), queues=QUEUES) as tree:
        handles = start_all(tree, 40)
        for share in (1, 2):
            wait_until(lambda share=share: len(tree.ledger()) > 50 * share, timeout=SOON)
            with suppress(ProcessLookupError):
                kill(tree.manager()["pid"])
        for handle in handles:
            handle.result(timeout=SOON)
        assert set(completed_rows(tree).values()) == {1}
        assert len(completed_rows(tree)) == 5 * 40
        assert sum(handle.execution().crashes for handle in handles) == 0


def test_a_step_that_postgresql_refuses_stops_no_other(dsn: str, schema: str) -> None:
    with running(dsn, schema, picky, queues=QUEUES) as tree:
        tree.sql(
            "ALTER TABLE {s}.step_executions ADD CHECK (output ->> 'word' IS DISTINCT FROM 'no')"
        )
        words = ["yes"] * 10 + ["no"] + ["yes"] * 10
        handles = tree.durable.start_many("picky", [{"word": word} for word in words])
        refused = handles.pop(10)
        for handle in handles:
            handle.result(timeout=SOON)
        execution = tree.until(refused, "failed", timeout=SOON)
        assert execution.error["type"] == "worker_crashed"
        assert "PostgreSQL refused a finished step" in execution.error["message"]
        assert "check constraint" in execution.error["refusal"]
        assert all(handle.execution().crashes == 0 for handle in handles)
        assert tree.manager()["restarts"] == 0


def test_a_stop_commits_what_is_finished_and_releases_the_rest(dsn: str, schema: str) -> None:
    workflow = sink(steps=FIVE, max_crashes=100)
    with running(dsn, schema, workflow, queues=QUEUES) as tree:
        handles = start_all(tree, 60)
        wait_until(lambda: len(tree.ledger()) > 60, timeout=SOON)
    with running(dsn, schema, workflow, queues=QUEUES) as tree:
        for handle in handles:
            tree.own(handle).result(timeout=SOON)
        assert len(tree.ledger()) == len(completed_rows(tree)) == 5 * 60
        executions = [tree.own(handle).execution() for handle in handles]
        assert {(each.crashes, each.interruptions) for each in executions} == {(0, 0)}
