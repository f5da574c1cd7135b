"""A name works, or is refused in a clear sentence; no name makes bad SQL or reaches other tables.

Names of workflows, versions, steps, blocks, cases, queues, events, inputs, schedules and schemas,
and the other options that a caller writes: keys, instants, priorities, prefixes of ids.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_otp import Durable, DurableError, Workflow, wait_for_event
from durable_otp.config import from_mapping
from durable_otp.errors import (
    ConfigError,
    DatabaseUnreachable,
    DefinitionError,
    MigrationError,
)
from durable_otp.storage import nodes
from durable_otp.workflow.state import State
from tests.support.entry_points import Bench, in_one_line, run
from tests.support.examples import examples
from tests.support.json_values import Handed, wild
from tests.support.postgres import fresh_database
from tests.support.tables import HOLDER, Tables, migrated_tables
from tests.support.waits import asking, suspend

SPECIAL = (
    "", " ", "\0", "a\0b", "\n", "a\nb", "\ud800", "'", '"', "';--", '"; DROP SCHEMA durable; --',
    "%", "%s", "%(id)s", "{}", "{0}", "$1", "\\", "\\x00", "*", "/", "a/b", ".", "..", "a.b",
    "select", "user", "NULL", "null", "default", "durable", "ß", "İ", "\u202e", "\x1e", "🙂" * 200,
    "x" * 200, "x" * 201, "🙂" * 100, "q" * 100, "done", "queue", "pg_temp", "public", "-", "1",
)  # fmt: skip
any_characters = st.characters(exclude_categories=[])
odd = st.one_of(
    st.sampled_from(SPECIAL),
    st.text(any_characters, max_size=12),
    st.text(st.sampled_from("'\"%{}$\\;-/ \n*abß🙂"), min_size=1, max_size=12),
)
printable = st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"])
good = st.text(printable, min_size=1, max_size=40).filter(str.isprintable)
names = st.one_of(good, good, odd)
instants = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    st.builds(
        lambda instant, hours: instant.replace(tzinfo=timezone(timedelta(hours=hours))),
        st.sampled_from([datetime.min, datetime.max]),  # noqa: DTZ901 - they get one here
        st.integers(-14, 14),
    ),
    st.datetimes(),
)


def tried(call: Callable[[], Any]) -> Any:
    """Return what a call gives; None if it refuses in one clear line."""
    try:
        return call()
    except DatabaseUnreachable:
        raise
    except (DurableError, ValueError, TypeError) as refused:
        in_one_line(refused)
        return None


def workflow_of(name: str, version: str, step: str, queue: str) -> Workflow:
    workflow = Workflow(name, version=version, queue=queue)
    workflow.step(name=step, returns=step)(lambda: 1)
    return workflow


@examples(20, 3000)
@given(names, names, names, names)
@example("🙂" * 200, "🙂" * 200, "🙂" * 200, "default")
def test_a_workflow_of_any_name_runs_or_is_refused(
    bench: Bench, name: str, version: str, step: str, queue: str
) -> None:
    bench.empty()
    workflow = tried(lambda: workflow_of(name, version, step, queue))
    bench.client.list_executions(workflow=name, queue=queue)
    tried(lambda: bench.client.stats(queue))
    tried(lambda: bench.adapter.fetch_jobs(queue, 1, "node"))
    tried(lambda: bench.client.start(name))
    bench.empty()
    if workflow is None or tried(workflow.definition) is None:
        return
    on_default = workflow_of(name, f"on default {hash((version, step))}", step, "default")
    execution = bench.client.get_execution(run(bench, on_default), steps=True)
    assert execution.status == State.COMPLETED, execution.error
    assert execution.output == {step: 1}
    with Durable(bench.client.dsn, schema=bench.client.schema) as client:  # of no other definition
        started = client.start(workflow, idempotency_key="k")
        assert client.start(workflow, idempotency_key="k").id == started.id
    (found,) = bench.client.list_executions(workflow=name, status="pending")
    assert (found.id, found.queue, found.version) == (started.id, queue, version)
    assert [job.id for job in bench.adapter.fetch_jobs(queue, 5, "node")] == [started.id]
    assert bench.client.stats(queue).running == 1


@examples(20, 3000)
@given(names, names, names)
def test_what_waits_by_any_name_is_answered_or_refused(
    bench: Bench, event: str, other: str, asked: str
) -> None:
    bench.empty()
    workflow = Workflow("waiting", version=str(hash(event)))
    workflow.step(name="a", returns="got")(lambda: wait_for_event(event))
    id_ = run(bench, workflow)
    if bench.client.status(id_) == State.FAILED:
        assert tried(lambda: [bench.client.send_event(id_, event)]) is None
        return
    assert bench.client.status(id_) == State.WAITING
    if other != event:
        tried(lambda: bench.client.send_event(id_, other, 2))
    (waits,) = bench.client.list_pending_events()
    assert waits.names == [event]
    bench.client.send_event(id_, event, 1)
    assert bench.client.status(id_) == State.PENDING
    asking_one = bench.tables.add("running")
    tried(lambda: bench.client.provide_input(asking_one, asked, "x"))
    if asked.isprintable() and asked.strip():
        suspend(bench.database, asking_one, asking(asked, "text"))
        tried(lambda: bench.client.provide_input(asking_one, event + asked, "x"))
        bench.client.provide_input(asking_one, asked, "x")


@examples(15, 2000)
@given(names, names, names, names)
def test_a_schedule_of_any_name_is_kept_or_refused(
    bench: Bench, name: str, timezone_: str, cron: str, queue: str
) -> None:
    bench.empty()
    client = bench.client
    plain = workflow_of("scheduled", "1", "a", "default")
    tried(lambda: client.create_schedule(name + "2", plain, cron))
    tried(lambda: client.create_schedule(name + "3", plain, "0 0 * * *", timezone=timezone_))
    tried(lambda: client.create_schedule(name + "4", plain, "0 0 * * *", queue=queue))
    made = tried(lambda: client.create_schedule(name, plain, "0 0 1 1 *"))
    if made is None:
        for refused in (client.get_schedule, client.delete_schedule, client.disable_schedule):
            assert tried(lambda refused=refused: [refused(name)]) is None
        return
    assert client.get_schedule(name) == made
    handle = client.trigger_schedule(name)
    assert client.get_execution(handle.id).workflow == "scheduled"
    assert client.disable_schedule(name).enabled is False
    client.delete_schedule(name)


@examples(15, 2000)
@given(names, st.one_of(st.none(), instants), names, st.integers(-(2**33), 2**33))
@example("k", datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "x", 0)
@example("k", datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), "x", 0)
def test_options_of_a_start_are_kept_or_refused(
    bench: Bench, key: str, instant: datetime | None, prefix: str, priority: int
) -> None:
    bench.empty()
    plain = workflow_of("started", "1", "a", "default")
    options: dict[str, Any] = {"idempotency_key": key, "priority": priority}
    tried(lambda: bench.client.start(plain, scheduled_at=instant, **options))
    running = bench.tables.add("running")
    tried(lambda: bench.adapter.reschedule(running, instant, HOLDER["lock_token"]))  # type: ignore[arg-type]
    tried(lambda: bench.client.list_executions(since=instant, until=instant))
    tried(lambda: bench.client.list_executions(id_prefix=prefix))
    tried(lambda: bench.client.delete_executions(instant, dry_run=True))  # type: ignore[arg-type]
    for refused in (bench.client.get_execution, bench.client.cancel, bench.client.retry):
        tried(lambda refused=refused: refused(prefix))
    tried(lambda: bench.client.fork(running, prefix))
    bench.look_at_everything()


@examples(15, 2000)
@given(names, st.one_of(st.integers(), st.floats(), names), st.one_of(st.integers(), st.floats()))
@example("node", 10**20, 1e300)
@example("\0", 1, 10**400)
@example("\ud800", 2**31, 5e-324)
def test_whoever_claims_is_served_or_refused(
    bench: Bench, node: str, count: Any, seconds: Any
) -> None:
    bench.empty()
    bench.tables.add("running")
    adapter = bench.adapter
    tried(lambda: adapter.fetch_jobs("default", count, node))
    tried(lambda: adapter.wake_sleeping_workflows(count))
    tried(lambda: adapter.recover_stale_locks(seconds))
    tried(lambda: adapter.recover_zombie_workflows(seconds))
    tried(lambda: adapter.heartbeat(node, node))
    tried(lambda: adapter.ack(node))
    tried(lambda: bench.client.list_executions(limit=count))
    tried(lambda: bench.client.list_pending_inputs(limit=count))
    tried(lambda: bench.client.delete_executions(seconds, dry_run=True))


@examples(15, 3000)
@given(st.lists(st.tuples(names, wild()), min_size=1, max_size=5), st.booleans())
@example([("🙂" * 190, Handed("🙂" * 150))] * 2, False)
@example([("a", Handed("x\ny"))], False)
@example([("b", Handed("x" * 100_000))], True)
def test_blocks_of_any_name_nest_and_run_or_are_refused(
    bench: Bench, levels: list[tuple[str, Handed]], is_undone: bool
) -> None:
    bench.empty()
    workflow = Workflow("nested", version=str(hash(repr((levels, is_undone)))))
    if tried(lambda: [nest(workflow, levels, is_undone)]) is None:
        return
    workflow.compensate(name="undo")(lambda: None)
    if tried(workflow.definition) is None:
        return
    execution = bench.client.get_execution(run(bench, workflow), steps=True)
    assert execution.status in (State.COMPLETED, State.COMPENSATING), execution.error
    if is_undone:
        assert execution.status == State.COMPENSATING
        finish_undoing(bench, workflow, execution.id)


def nest(workflow: Workflow, levels: list[tuple[str, Handed]], is_undone: bool) -> None:
    """Build a branch in a branch in a branch, with a step in the innermost case."""
    (name, handed), *inner = levels
    with (
        workflow.branch(lambda: handed.value, name=name) as block,
        block.case(handed.value),
    ):
        if inner:
            nest(workflow, inner, is_undone)
            return
        workflow.step(name=name, compensate="undo")(lambda: None)
        if is_undone:
            workflow.step(name=f"{name}2")(fails)


def fails() -> None:
    raise ValueError("no")


def finish_undoing(bench: Bench, workflow: Workflow, id_: str) -> None:
    """Run the compensation of an execution to its end."""
    run(bench, workflow, claim_only=id_)
    assert bench.client.status(id_) == State.COMPENSATED


def test_two_nodes_that_would_have_one_path_are_a_mistake() -> None:
    workflow = Workflow("twins")
    with workflow.branch(lambda: "a", name="x") as outer:
        with outer.case("a/b/c"):
            workflow.step(name="d")(lambda: None)
        with outer.case("a"), workflow.branch(lambda: "c", name="b") as inner, inner.case("c"):
            workflow.step(name="d")(lambda: None)
    with pytest.raises(DefinitionError, match="path 'x/a/b/c/d'"):
        workflow.definition()


# schemas


@pytest.fixture(scope="module")
def database_dsn(postgres_dsn: str) -> Iterator[str]:
    with fresh_database(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def bystander(database_dsn: str) -> Iterator[Tables]:
    with migrated_tables(database_dsn, "bystander") as tables:
        tables.add("running")
        yield tables


VALID = re.compile(r"[a-z_][a-z0-9_]{0,47}")
schemas = st.one_of(
    st.sampled_from([name.lower() for name in SPECIAL]),
    st.text(st.sampled_from("abz09_"), min_size=1, max_size=50),
    st.sampled_from(["select", "table", "user", "_", "a" * 48, "a" * 49, "pg_x", "order", "b_"]),
    st.text(any_characters, max_size=5),
)


@examples(2, 150)
@given(schemas)
@example("select")
@example("pg_x")
def test_a_schema_of_any_name_works_by_itself_or_is_refused(
    database_dsn: str, bystander: Tables, name: str
) -> None:
    before = everything(bystander, name)
    if VALID.fullmatch(name) is None:
        with pytest.raises(ConfigError) as refused:
            Durable(database_dsn, schema=name)
        in_one_line(refused.value)
        with pytest.raises(ConfigError):
            from_mapping({"schema": name})
    else:
        with Durable(database_dsn, schema=name) as client:
            try:
                client.migrate()
            except MigrationError as error:
                assert name.startswith("pg_"), error  # noqa: PT017 - nothing else may
                return
            plain = workflow_of("w", "1", "a", "default")
            assert client.start(plain).status() == State.PENDING
            assert client.count_executions() == 1
            assert client._database.run(nodes.live_nodes) == []
            client.migrate(to=0)
            assert client.schema_version() == 0
    assert everything(bystander, name) == before


def everything(tables: Tables, but: str) -> list[Any]:
    """Return every table, function and type of the other schemas, and the bystander's rows."""
    found: list[Any] = []
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        for catalogue, column, name in (
            ("pg_class", "relnamespace", "relname"),
            ("pg_proc", "pronamespace", "proname"),
            ("pg_type", "typnamespace", "typname"),
        ):
            statement = (
                f"SELECT nspname, {name} FROM {catalogue} JOIN pg_namespace n ON n.oid = {column} "
                "WHERE nspname <> %s AND nspname !~ '^pg_' ORDER BY 1, 2"
            )
            parameter = [but if VALID.fullmatch(but) else ""]
            found.append(connection.execute(statement.encode(), parameter).fetchall())
    return [*found, tables.sql("SELECT * FROM durable.workflow_executions")]
