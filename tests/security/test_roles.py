"""S-4: a node needs no DDL and a producer next to nothing; what is documented is what is tested."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from durable_otp import Context, Durable, Runtime, Workflow, wait_for_approval, wait_for_event
from durable_otp.client.handle import Handle
from durable_otp.errors import DurableError, MigrationError, NotPermitted
from durable_otp.storage.adapter import PostgresAdapter
from durable_otp.storage.grants import FILE, KINDS
from durable_otp.storage.migrator import Migrator, migrations_directory
from tests.golden import workflows as golden
from tests.support.cli import Project
from tests.support.postgres import fresh_schema
from tests.support.roles import role
from tests.support.tree import STILL, still_queue
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
RUNS = (golden.steps, golden.blocks, golden.each, golden.loop, golden.saga)
asks = Workflow("asks")


@asks.step
def ask(ctx: Context) -> Any:
    print("a line of the log")
    return {"event": wait_for_event("go"), "boss": wait_for_approval("boss")}


asks.schedule("0 0 1 1 *")
failing = Workflow("failing")


@failing.step
def fail(ctx: Context) -> None:
    raise ValueError("as told")


@failing.on_failure
def hook(ctx: Context) -> None:
    """Started by a trigger, with the rights of whoever wrote the end."""


@pytest.fixture(scope="module")
def schema(postgres_dsn: str) -> Iterator[str]:
    with fresh_schema(postgres_dsn) as name:
        Migrator(postgres_dsn, name).migrate()
        yield name


@pytest.fixture(scope="module")
def runtime_dsn(postgres_dsn: str, schema: str) -> Iterator[str]:
    with role(postgres_dsn, schema, "runtime") as dsn:
        yield dsn


@pytest.fixture(scope="module")
def producer_dsn(postgres_dsn: str, schema: str) -> Iterator[str]:
    with role(postgres_dsn, schema, "producer") as dsn:
        yield dsn


@pytest.fixture(scope="module")
def producer(producer_dsn: str, schema: str) -> Iterator[Durable]:
    with Durable(producer_dsn, schema=schema) as client:
        yield client


@pytest.fixture(scope="module")
def runtime(runtime_dsn: str, schema: str) -> Iterator[Runtime]:
    """A tree of the runtime role; it migrates as ever, which is to see that nothing is to do."""
    settings = {"queues": {"default": still_queue(4)}, **STILL}
    with Runtime(
        dsn=runtime_dsn, schema=schema, workflows=[*RUNS, failing, asks], **settings
    ) as runtime:
        yield runtime


def test_a_tree_of_a_role_without_ddl_does_all_that_a_tree_does(
    runtime: Runtime, runtime_dsn: str, schema: str
) -> None:
    """S-4: the whole language, and what operators and subscribers do besides."""
    given = {"hold": "/nowhere", "items": [1, 2, 3], "kind": "long"}
    with Durable(runtime_dsn, schema=schema) as durable, durable.subscribe() as moves:
        handles = [durable.start(each, given) for each in RUNS]
        asking = durable.start(asks, {})
        asking.send_event("go", 1)
        wait_until(lambda: durable.list_pending_inputs(asking.id))
        durable.provide_input(asking.id, "boss", "approved")
        assert asking.result(timeout=30)["boss"] == "approved"
        assert handles[2].result(timeout=30)["weight"] == 60
        wait_until(lambda: handles[-1].status() == "compensated")
        broken = durable.start(failing, {})
        wait_until(lambda: broken.status() == "failed")
        wait_until(lambda: any("on_failure" in each.workflow for each in durable.list_executions()))
        broken.retry()
        durable.fork(handles[0].id, "second").result(timeout=30)
        durable.trigger_schedule(durable.list_schedules()[0].name).cancel()
        runtime.pause("default")
        runtime.resume("default")
        assert moves.wait(5) is not None
        old = [each.id for each in durable.list_executions(status="completed")]
        assert 0 < durable.delete_executions(timedelta(0), status="completed") <= len(old)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE {s}.mine ()",
        "DROP TABLE {s}.waits",
        "ALTER TABLE {s}.workflow_executions ADD COLUMN mine text",
        "CREATE INDEX ON {s}.events (name)",
        "TRUNCATE {s}.events",
        "CREATE FUNCTION {s}.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION {s}.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL'",
        "CREATE TRIGGER mine AFTER INSERT ON {s}.events EXECUTE FUNCTION {s}.after_move()",
        "DELETE FROM {s}.schema_version",
        "DROP SCHEMA {s} CASCADE",
    ],
)
def test_the_roles_change_nothing_of_the_schema(
    runtime_dsn: str, producer_dsn: str, schema: str, statement: str
) -> None:
    for dsn in (runtime_dsn, producer_dsn):
        refused(dsn, statement.format(s=schema))


def refused(dsn: str, statement: str) -> None:
    with (
        psycopg.connect(dsn, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_a_role_that_must_not_migrate_is_told_what_to_do(runtime_dsn: str, schema: str) -> None:
    """The schema of another, that is not there yet: nothing is made, and nothing is raw."""
    with pytest.raises(MigrationError, match="permission denied"):
        Runtime(dsn=runtime_dsn, schema=f"{schema}_x", workflows=[asks]).start()


@pytest.mark.usefixtures("runtime")
def test_a_producer_starts_sends_and_answers(
    producer: Durable, runtime_dsn: str, producer_dsn: str, schema: str
) -> None:
    """S-4: all that a producer needs, against a tree that runs; it sees how far it is."""
    handle = producer.start(asks, {"n": 1}, idempotency_key="one")
    assert producer.start("asks", {"n": 1}, idempotency_key="one").id == handle.id
    many = producer.start_many("asks", [{"n": n} for n in range(3)])
    keyed = producer.start_many(asks, [{}, {}], idempotency_keys=["one", "two"])
    assert keyed[0].id == handle.id
    with psycopg.connect(producer_dsn) as own:
        inside = producer.start("asks", {}, connection=own)
        call = f"SELECT {schema}.enqueue('asks', '{{}}', idempotency_key => 'sql')::text"
        by_sql, again = (own.execute(call.encode()).fetchone() for _ in range(2))
        own.commit()
    assert by_sql == again
    enqueued = Handle(by_sql[0], producer)
    for each in (handle, *many, keyed[1], inside, enqueued):
        each.send_event("go", {"sent": True})
        wait_until(lambda each=each: producer.list_pending_inputs(each.id))
        producer.provide_input(each.id, "boss", "approved")
        wait_until(lambda each=each: each.status() == "completed")
    with Durable(runtime_dsn, schema=schema) as operator:
        assert operator.get_execution(handle.id).output["event"] == {"sent": True}


@pytest.mark.parametrize(
    "call",
    [
        lambda client, id_: client.get_execution(id_),
        lambda client, id_: client.list_executions(),
        lambda client, id_: client.count_executions(),
        lambda client, id_: client.list_events(id_),
        lambda client, id_: client.cancel(id_),
        lambda client, id_: client.retry(id_),
        lambda client, id_: client.fork(id_, "ask"),
        lambda client, id_: client.delete_executions(timedelta(0)),
        lambda client, id_: client.create_schedule("mine", "asks", "0 0 * * *"),
        lambda client, id_: client.subscribe(),
        lambda client, id_: client.schema_version(),
    ],
)
def test_a_producer_may_do_no_more_and_is_told_so(producer: Durable, call: Any) -> None:
    """S-4: nobody else's data, no end of an execution, no schedule; one sentence each."""
    execution_id = producer.start(asks, {"not": "yours"}, queue="nobody's").id
    with pytest.raises((NotPermitted, MigrationError), match="permission denied") as refusal:
        call(producer, execution_id)
    assert isinstance(refusal.value, DurableError)
    assert producer.start(asks, {}, queue="nobody's").status() == "pending"  # and none the worse


def test_a_producer_may_be_held_back(producer: Durable, runtime: Runtime) -> None:
    """Turns and keys that are taken for a time are a producer's too; another's input is not."""
    for _ in range(2):
        producer.start("steps", {}, concurrency_key="k")
    kept = {producer.start("steps", {"n": 1}, unique_for=60).id for _ in range(2)}
    assert len(kept) == 1
    producer.start("steps", {"n": 1}, idempotency_key="q", debounce=300)
    with pytest.raises(NotPermitted):
        producer.start("steps", {"n": 2}, idempotency_key="q", debounce=300)


def test_a_producer_neither_claims_nor_reads_what_others_have(
    producer: Durable, producer_dsn: str, schema: str
) -> None:
    producer.start(asks, {"not": "yours"}, queue="nobody's")
    with (
        PostgresAdapter(producer_dsn, schema=schema) as adapter,
        pytest.raises(NotPermitted),
    ):
        adapter.fetch_jobs("nobody's", 1, "thief")
    for statement in (
        "SELECT input FROM {s}.workflow_executions",
        "SELECT error FROM {s}.workflow_executions",
        "SELECT * FROM {s}.workflow_executions",
        "SELECT output FROM {s}.step_executions",
        "SELECT logs FROM {s}.step_executions",
        "SELECT result FROM {s}.once_results",
        "SELECT response FROM {s}.pending_inputs",
        "SELECT answer FROM {s}.waits",
        "SELECT input FROM {s}.scheduled_workflows",
        "SELECT context FROM {s}.fan_outs",
        "UPDATE {s}.workflow_executions SET lock_token = gen_random_uuid()",
        "UPDATE {s}.workflow_executions SET input = '1'",
        "UPDATE {s}.workflow_executions SET completed_at = NULL",
        "DELETE FROM {s}.workflow_executions",
        "DELETE FROM {s}.events",
        "INSERT INTO {s}.step_executions (id) VALUES (gen_random_uuid())",
        "INSERT INTO {s}.workflow_executions (id, locked_by) VALUES (gen_random_uuid(), 'me')",
        "SELECT {s}.open_moves()",
        "SELECT {s}.close_moves()",
        "SELECT * FROM {s}.nodes",
        "INSERT INTO {s}.commands (id) VALUES (gen_random_uuid())",
    ):
        refused(producer_dsn, statement.format(s=schema))


def test_a_reader_sees_everything_and_changes_nothing(
    dsn: str, schema: str, producer: Durable, tmp_path: Path
) -> None:
    started = producer.start(asks, {"mine": 1}, queue="nobody's")
    with role(dsn, schema, "reader") as reader_dsn, Durable(reader_dsn, schema=schema) as reader:
        assert reader.get_execution(started.id, steps=True).input == {"mine": 1}
        assert started.id in {each.id for each in reader.list_executions()}
        assert reader.stats()
        assert reader.schema_version() == Migrator(dsn, schema).newest_version
        shell = Project(tmp_path, reader_dsn, schema)
        assert started.id in shell.run("inspect", started.id)
        for verb in ("status", "tree", "list", "queues", "pending", "schedules"):
            shell.run(verb)
        for call in (
            lambda: reader.start("asks", {}),
            lambda: reader.cancel(started.id),
            lambda: reader.send_event(started.id, "go"),
        ):
            with pytest.raises(NotPermitted):
                call()
        refused(reader_dsn, f"SELECT {schema}.enqueue('asks')")
    assert started.status() == "pending"


@pytest.mark.usefixtures("runtime")
def test_a_producer_that_reads_too_has_its_result(dsn: str, schema: str) -> None:
    with (
        role(dsn, schema, "producer", "reader") as both,
        Durable(both, schema=schema) as durable,
    ):
        assert durable.start(golden.steps, {"hold": "/nowhere"}).result(timeout=30)["last"] == 5


def test_every_table_is_in_the_grants(dsn: str, schema: str) -> None:
    """A table that a later migration adds must be given to a role, or the tree fails on it."""
    with (
        role(dsn, schema, "runtime") as runtime_dsn,
        role(dsn, schema, "reader") as reader_dsn,
        psycopg.connect(dsn) as connection,
    ):
        users = [
            psycopg.conninfo.conninfo_to_dict(each)["user"] for each in (runtime_dsn, reader_dsn)
        ]
        rows = connection.execute(
            "SELECT c.relname, has_table_privilege(%s, c.oid, 'SELECT'), "
            "has_table_privilege(%s, c.oid, 'SELECT'), "
            "bool_and(has_table_privilege(%s, c.oid, r.what)) "
            "FROM pg_class c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS r (what) "
            "WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' "
            "GROUP BY c.oid, c.relname",
            [users[0], users[1], users[0], schema],
        ).fetchall()
    assert len(rows) > 10
    for table, runtime_reads, reader_reads, writes in rows:
        assert (table, runtime_reads, reader_reads) == (table, True, True)
        assert (table, writes) == (table, table != "schema_version")


def test_the_page_shows_the_grants_that_are_tested() -> None:
    """S-4: the documented GRANTs are the file's, which every test here has run."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert (migrations_directory() / FILE).read_text(encoding="utf-8").strip() in page
    for kind in KINDS:
        assert f"--grant-{kind}" in page


@pytest.mark.parametrize("name", ["public", "", "no\0name"])
def test_rights_are_never_given_to_everybody(dsn: str, schema: str, name: str) -> None:
    with pytest.raises(MigrationError, match="not the name of one role"):
        Migrator(dsn, schema).grant("runtime", name)


def test_a_role_s_name_is_quoted_whatever_it_is(dsn: str, schema: str) -> None:
    """S-3: no SQL comes in by the name of a role."""
    name = f't_role"; DROP TABLE "{schema}".events; --'
    with pytest.raises(MigrationError, match="does not exist"):
        Migrator(dsn, schema).grant("runtime", name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE ROLE " + psycopg.sql.Identifier(name).as_string().encode().decode()
        )
        try:
            Migrator(dsn, schema).grant("runtime", name)
        finally:
            quoted = psycopg.sql.Identifier(name).as_string()
            connection.execute(f"DROP OWNED BY {quoted}".encode())
            connection.execute(f"DROP ROLE {quoted}".encode())
        connection.execute(f'SELECT FROM "{schema}".events'.encode())


def test_the_command_line_gives_them(dsn: str, schema: str, tmp_path: Path) -> None:
    project = Project(tmp_path, dsn, schema)
    with role(dsn, schema) as role_dsn:
        refused(role_dsn, f"SELECT * FROM {schema}.events")
        name = psycopg.conninfo.conninfo_to_dict(role_dsn)["user"]
        said = project.run("migrate", "--grant-reader", name)
        assert f"granted reader to {name}" in said
        with psycopg.connect(role_dsn) as connection:
            connection.execute(f"SELECT * FROM {schema}.events".encode())
        project.refused("migrate", "--check", "--grant-runtime", name, code=2)
