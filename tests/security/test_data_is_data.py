"""S-1, S-2, S-3: what comes out of the database is data, and never code, a name of code or SQL."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_otp import ConfigError, Context, Durable, DurableError, Workflow, WorkflowNotFound
from durable_otp.storage.migrator import migrations_directory
from durable_otp.storage.statements import catalogue, in_schema
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables
from tests.support.tree import STILL, Tree, paused, running, still_queue

PACKAGE = Path(__file__).parents[2] / "durable_otp"
MODULES = sorted(PACKAGE.rglob("*.py"))
UNPICKLERS = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "yaml",
    "jsonpickle",
    "cloudpickle",
}
BY_VALUE = {"otp/by_value.py", "otp/cargo.py", "otp/calls.py"}  # between processes of one tree
IMPORTERS = {
    "__init__.py",
    "otp/__init__.py",
    "testing/__init__.py",  # names of their own
    "cli/dashboard.py",  # the pages, which are an extra
    "runtime/dashboard.py",
    "workflow/registry.py",  # the `workflows` of a configuration; `run module:attribute`
    "runtime/claims.py",  # the `adapter` of a configuration
    "storage/codec.py",  # the `codec` of a configuration, a client or a command line
    "runtime/node.py",  # `preload`
}
HOSTILE = [
    "__import__('os').system('touch {mark}')",
    "cos\nsystem\n(S'touch {mark}'\ntR.",
    "gASVIgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAd0b3VjaCB4lIWUUpQu",
    "!!python/object/apply:os.system ['touch {mark}']",
    '{{"py/reduce": [{{"py/type": "os.system"}}, {{"py/tuple": ["touch {mark}"]}}]}}',
    "${{jndi:ldap://localhost/a}}",
    "'; DROP TABLE workflow_executions; --",
    "%(id)s %s $1 {{}} \\",
]
curious = Workflow("curious")


@curious.step
def disarm(ctx: Context) -> Any:
    """Have whatever could make code of bytes raise in this worker, for as long as it lives."""
    import pickle

    import dill

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("bytes were unpickled")

    for module in (pickle, dill):
        module.load = module.loads = module.Unpickler = refuse  # type: ignore[attr-defined]
    return {"text": ctx.input["text"]}


@curious.step
def look(ctx: Context) -> Any:
    return {"seen": ctx["text"], "input": ctx.input}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def calls(path: Path) -> list[ast.Call]:
    return [node for node in nodes(path) if isinstance(node, ast.Call)]


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_nothing_makes_objects_or_code_of_bytes() -> None:
    """S-1: dill goes through the pipes of one tree and nowhere else; nothing else is imported."""
    for path in MODULES:
        names = {
            name.split(".")[0]
            for node in nodes(path)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not names & UNPICKLERS, path
        assert "dill" not in names or name_of(path) in BY_VALUE, path
        made = {called(node) for node in calls(path)}
        assert not made & {"eval", "exec", "compile", "__import__", "input"}, path


def test_storage_cannot_reach_what_makes_objects_of_bytes() -> None:
    """S-1: no module that reads rows imports one that has dill in it."""
    for path in (PACKAGE / "storage").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.match(r"\s*(from|import) durable_otp\.otp\.(by_value|cargo|calls)", line)


def test_only_configured_names_are_imported() -> None:
    """S-2: whoever imports by name is on the list above, where it says whose name that is."""
    importers = {
        name_of(path)
        for path in MODULES
        for node in calls(path)
        if called(node).endswith(("import_module", "resolve_name", "run_module", "run_path"))
    }
    assert importers <= IMPORTERS, importers - IMPORTERS


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, curious, queues={"default": still_queue(1)}, **STILL) as tree,
    ):
        yield tree


def test_a_worker_that_cannot_unpickle_runs_whatever_rows_say(tree: Tree, tmp_path: Path) -> None:
    """S-1: texts that would be code to a careless reader come back as the texts they are."""
    mark = tmp_path / "mark"
    for text in HOSTILE:
        hostile = text.format(mark=mark)
        name = hostile.replace("\n", " ")  # names are printable
        with paused(tree):
            handle = tree.durable.start(curious, {"text": hostile, hostile: [hostile]})
            handle.send_event(name, {"text": hostile})
        result = handle.result(timeout=30)
        assert result["seen"] == hostile
        assert result["input"] == {"text": hostile, hostile: [hostile]}
        assert tree.durable.list_events(handle.id)[0].name == name
    assert not mark.exists()


def test_names_in_rows_are_looked_up_and_never_imported(tree: Tree, tmp_path: Path) -> None:
    """S-2: a row may name anything; what is not registered waits, whatever it is called."""
    evil = tmp_path / "evil_module.py"
    evil.write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    names = [
        "os",
        "os:system",
        "builtins.eval",
        "evil_module",
        str(evil),
        "__main__",
        "curious.look",
    ]
    for name in names:
        with pytest.raises(WorkflowNotFound):
            tree.durable.start(name, {})
        tree.sql(
            "INSERT INTO {s}.workflow_executions (id, workflow, version, scheduled_at, "
            "inserted_at, updated_at) VALUES (gen_random_uuid(), %s, '1', now(), now(), now())",
            name,
        )
    tree.durable.start(curious, {"text": ""}).result(timeout=30)  # the queue has been looked at
    rows = tree.sql(
        "SELECT status, crashes, started_at FROM {s}.workflow_executions WHERE workflow = ANY(%s)",
        names,
    )
    assert [(row["status"], row["crashes"], row["started_at"]) for row in rows] == [
        ("pending", 0, None)
    ] * len(names)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("path", ["__class__", "disarm.__globals__", "look/../disarm", "os.system"])
def test_a_position_in_a_row_is_one_of_the_workflow_s_own(tree: Tree, path: str) -> None:
    """S-2: the journal's next step is looked up among the nodes, and nowhere else."""
    handle = tree.durable.start(curious, {"text": ""}, queue="elsewhere")
    tree.sql(
        "INSERT INTO {s}.step_executions (id, execution_id, position, path, name, status, "
        "changes, next_path, completed_at) VALUES (gen_random_uuid(), %s, 1, 'disarm', "
        "'disarm', 'completed', '[]', %s, now())",
        handle.id,
        path,
    )
    tree.sql(
        "UPDATE {s}.workflow_executions SET queue = 'default', started_at = now() "
        "WHERE id = %s RETURNING "
        "pg_notify(%s, 'default')",
        handle.id,
        f"{tree.schema}:queue",
    )
    failed = tree.until(handle, "failed")
    assert failed.error["type"] == "definition_changed"


def test_a_description_in_the_database_starts_only_what_a_node_has(tree: Tree) -> None:
    """S-2: a published definition is a name, a version and defaults; no code comes from it."""
    tree.sql(
        "INSERT INTO {s}.definitions SELECT 'os.system', '1', 'f', "
        "jsonb_set(description, '{{name}}', '\"os.system\"'), now() "
        "FROM {s}.definitions WHERE workflow = 'curious'"
    )
    handle = tree.durable.start("os.system", {"text": "x"})
    tree.durable.start(curious, {"text": ""}).result(timeout=30)
    assert handle.status() == "pending"


# S-3: SQL


def test_sql_is_never_put_together_where_it_is_executed() -> None:
    """S-3: no f-string, ``%``, ``+`` or ``format`` in a call that executes."""
    for path in MODULES:
        for node in calls(path):
            if called(node).endswith((".execute", ".executemany", ".send_query", "copy")):
                for part in ast.walk(ast.Module([ast.Expr(each) for each in node.args], [])):
                    is_joined = isinstance(part, ast.JoinedStr | ast.BinOp)
                    is_formatted = isinstance(part, ast.Call) and called(part).endswith(".format")
                    assert not is_joined, (path, ast.unparse(node))
                    assert not is_formatted, (path, ast.unparse(node))


def test_every_table_and_function_is_named_with_its_schema() -> None:
    """S-3: nothing depends on the search path, and nothing acts as its owner under a stranger's."""
    after = r"\b(?:FROM|JOIN|INTO|UPDATE|DELETE FROM|ON TABLE)\s+(?:ONLY\s+)?([a-z_]+)\b(?!\s*\()"
    texts = {text.name: text.sql for text in catalogue().values()}
    ours = {"workflow_executions", "step_executions", "waits", "events", "definitions", "nodes"}
    for name, sql in texts.items():
        assert not set(re.findall(after, re.sub(r"--.*", "", sql))) & ours, name
    for path in migrations_directory().glob("*.up.sql"):
        for head in re.findall(r"CREATE FUNCTION.*?AS \$?", path.read_text(), re.DOTALL):
            if "SECURITY DEFINER" in head:
                assert "SET search_path = pg_catalog, pg_temp" in head, path


@given(st.text(max_size=60))
def test_a_schema_s_name_is_one_that_needs_no_quotes_or_is_refused(name: str) -> None:
    """S-3: everything else is a ``ConfigError``, before anything is sent."""
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", name):
        assert f'"{name}".waits' in in_schema("SELECT FROM durable.waits", name)
    else:
        with pytest.raises(ConfigError):
            in_schema("SELECT FROM durable.waits", name)
        with pytest.raises(ConfigError):
            Durable("postgresql://nowhere", schema=name)


NAMES = st.one_of(
    st.text(min_size=1, max_size=100),
    st.sampled_from(
        [*HOSTILE, "a\"b'c", "%s", "{}", "\x1e", "select", "ü" * 100, "--", "/*", "\\"]
    ),
)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(name=NAMES, what=st.sampled_from(["queue", "workflow", "event", "key", "version", "filter"]))
def test_any_name_of_anything_works_or_is_refused_and_harms_nobody(
    name: str, what: str, tables: Tables, durable: Durable
) -> None:
    """S-3: queue, workflow, event, key and version; never an error of SQL, never another row."""
    before = count(tables)
    own = durable.start(plain("plain"), {}).id
    try:
        use(durable, own, what, name)
    except psycopg.Error as raw:
        pytest.fail(f"{what} {name!r}: {raw!r}")
    except (DurableError, ValueError) as refusal:
        said = str(refusal)
        assert said.endswith((".", "?")), said
    assert before < count(tables) <= before + 2


def use(durable: Durable, own: str, what: str, name: str) -> None:
    match what:
        case "queue":
            durable.start(plain("plain"), {}, queue=name)
        case "workflow":
            durable.start(plain(name), {})
        case "version":
            durable.start(plain("plain", version=name), {})
        case "key":
            durable.start(plain("plain"), {}, idempotency_key=name)
        case "event":
            durable.send_event(own, name, {"for": name})
            assert durable.list_events(own)[0].name == name
        case _:
            assert durable.list_executions(workflow=name, parent=own) == []
            assert durable.list_executions(queue=name, parent=own) == []


def count(tables: Tables) -> int:
    (row,) = tables.sql("SELECT count(*) AS n FROM durable.workflow_executions")
    return int(row["n"])


@pytest.fixture(scope="module")
def durable(tables: Tables) -> Iterator[Durable]:
    with Durable(tables.dsn, schema=tables.schema) as client:
        yield client


def plain(name: str, **options: Any) -> Workflow:
    workflow = Workflow(name, **options)
    workflow.step(name="only")(lambda ctx: None)
    return workflow


@pytest.fixture(scope="module")
def tables(postgres_dsn: str) -> Iterator[Tables]:
    from tests.support.postgres import fresh_schema

    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        yield tables


def test_channels_are_as_long_as_postgresql_allows() -> None:
    """S-3: the longest schema name still gives whole channels, so that nobody hears another's."""
    channels = {
        name for text in catalogue().values() for name in re.findall(r"durable:(\w+)", text.sql)
    }
    longest = max(len(f"{'s' * 48}:{name}") for name in channels)
    assert longest <= 63
