"""Behind PgBouncer in transaction mode: everything works, by polling or with a direct DSN."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from durable_otp import ConfigError, Durable, Workflow, sleep, wait_for_event
from tests.support.cli import Project
from tests.support.pgbouncer import needs_pgbouncer, pgbouncer
from tests.support.sink import sink
from tests.support.tree import STILL, running, still_queue

pytestmark = needs_pgbouncer
POLLED = {
    "queues": {"default": {"concurrency": 3, "poll_interval": "100ms"}},
    "sleep_waker": {"interval": "100ms"},
    "wait_timeouts": {"interval": "100ms"},
    "scheduler": {"interval": "100ms"},
}


@pytest.fixture(scope="module")
def pooled(postgres_dsn: str) -> Iterator[str]:
    with pgbouncer(postgres_dsn) as own:
        yield own


def family() -> Workflow:
    """Return a workflow that waits, sleeps, fans out and retries."""
    workflow = Workflow("family")

    @workflow.step
    def nap(ctx):
        sleep(0.05)

    @workflow.each("items", max_concurrency=2)
    def double(ctx, item):
        return item * 2

    @workflow.step
    def hear(ctx):
        return {"heard": wait_for_event("word")}

    return workflow


def test_every_kind_of_work_is_done_by_polling(pooled, schema):
    workflow = family()
    with running(pooled, schema, sink(), workflow, **POLLED) as tree:
        handles = [tree.durable.start(workflow, {"items": [1, 2, 3]}) for _ in range(6)]
        killed = tree.start(one=["die:kill", "ok"])
        failing = tree.start(one="raise:Fatal")
        for handle in handles:
            handle.send_event("word", "yes")
        for handle in handles:
            result = handle.result(timeout=60)
            assert (result["double"], result["heard"]) == ([2, 4, 6], "yes")
        assert killed.result(timeout=60)["one"] == 2
        tree.until(failing, "failed")
        assert len(tree.bodies(killed)) == 4


def test_a_direct_dsn_hears_at_once(pooled, schema, dsn):
    queues = {"default": still_queue()}
    workflow = family()
    with running(pooled, schema, workflow, queues=queues, direct_dsn=dsn, **STILL) as tree:
        handle = tree.durable.start(workflow, {"items": [1, 2]})
        handle.send_event("word", 1)
        assert handle.result(timeout=60)["double"] == [2, 4]


LEFT = """SELECT (SELECT count(*) FROM pg_prepared_statements) AS prepared,
    (SELECT count(*) FROM pg_listening_channels()) AS listening,
    current_setting('enable_seqscan') AS scans, current_setting('jit') AS jit,
    current_setting('idle_in_transaction_session_timeout') AS idle"""


def test_nothing_of_ours_is_left_in_sessions_that_others_are_lent(dsn, schema):
    with psycopg.connect(dsn) as direct:
        untouched = direct.execute(LEFT).fetchone()
    with pgbouncer(dsn, pool_size=1) as pooled, running(pooled, schema, sink(), **POLLED) as tree:
        for handle in [tree.start() for _ in range(5)]:
            handle.result(timeout=60)
        with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as lent:
            assert lent.execute(LEFT).fetchone() == untouched


def test_check_and_start_say_what_will_not_work(tmp_path, pooled, dsn, schema):
    project = Project(tmp_path, pooled, schema)
    said = project.ask("check", project.config).stdout
    assert "note: durable.dsn leads to a connection pooler" in said
    as_json = json.loads(project.ask("check", project.config, "--json").stdout)
    assert "set durable.direct_dsn" in as_json["connections"]["pooler"]
    with project.started() as node:
        assert "note: durable.dsn leads to a connection pooler" in node.log

    project.write(dsn)
    assert "pooler" not in project.ask("check", project.config).stdout


def test_a_direct_dsn_that_is_none_is_said_too(tmp_path, pooled, schema):
    project = Project(tmp_path, pooled, schema)
    project.write(pooled, durable=f"direct_dsn = {json.dumps(pooled)}")
    assert (
        "note: durable.direct_dsn leads to a connection pooler too"
        in project.ask("check", project.config).stdout
    )


def test_a_subscription_through_a_pooler_is_refused(pooled, schema):
    with Durable(pooled, schema=schema) as durable:
        durable.migrate()
        with pytest.raises(ConfigError, match="hears nothing through a connection"):
            durable.subscribe()
