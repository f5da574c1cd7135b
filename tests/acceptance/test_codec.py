"""Payloads under a codec, through the real tree: nothing that users store is there to be read."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_otp import (
    CodecError,
    ConfigError,
    Context,
    Durable,
    Fatal,
    Ok,
    Retry,
    Runtime,
    Workflow,
    WorkflowFailed,
    call_workflow,
    goto,
    once,
    start_workflow,
    wait_for_all,
    wait_for_event,
    wait_for_input,
)
from tests.support.codecs import Veil, readable
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

SECRET = "s3cr3t-marker"
AT_ONCE = Retry(max_attempts=2, backoff="constant", base=0, jitter=0)
CODEC = Veil("veil-1")

child = Workflow("child")
child.step(name="only")(lambda ctx: {"given": ctx.input["m"]})

everything = Workflow("everything")


@everything.step
def first(ctx: Context) -> Any:
    print(SECRET)
    logging.getLogger("test").warning(SECRET)
    ctx.append("list", SECRET)
    return {"out": SECRET, "once": once("key", lambda: SECRET)}


@everything.step(retry=AT_ONCE)
def flaky(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise ValueError(SECRET)


@everything.step(retry=AT_ONCE)
def dies(ctx: Context) -> None:
    if ctx.attempt == 1:
        os.write(1, SECRET.encode())
        os.kill(os.getpid(), signal.SIGKILL)


@everything.step
def waits(ctx: Context) -> Any:
    once("before", lambda: SECRET)
    paid = wait_for_event("paid")
    both = wait_for_all(["left", "right"])
    chosen = wait_for_input(
        "which", type="choice", prompt=SECRET, choices=[SECRET, "no"], metadata={"m": SECRET},
        timeout=3600, timeout_value=SECRET,
    )  # fmt: skip
    return {"paid": paid, "both": both, "chosen": chosen}


@everything.step
def calls(ctx: Context) -> Any:
    start_workflow("child", {"m": SECRET})
    return {
        "called": call_workflow("child", {"m": SECRET}, timeout=3600, timeout_value=SECRET)["given"]
    }


with everything.parallel(name="both") as block:
    everything.step(name="left")(lambda ctx: SECRET + ctx["out"])
    everything.step(name="right", returns="r")(lambda ctx: SECRET)


@block.into
def into(ctx: Context, results: dict[str, Any]) -> Any:
    return {"merged": [result.value for result in results.values() if isinstance(result, Ok)]}


@everything.each(lambda ctx: [SECRET] * 3, max_concurrency=1)
def pack(ctx: Context, item: str) -> str:
    return item + "!"


@everything.decision
def again(ctx: Context) -> Any:
    ctx["big"] = f"{SECRET * 100}{ctx.get('round', 0)}"
    ctx.increment("round")
    return goto("again") if ctx["round"] < 8 else None


saga = Workflow("saga")


@saga.step(compensate="undo")
def book(ctx: Context) -> str:
    return SECRET


@saga.step
def fail(ctx: Context) -> None:
    if not Path(ctx.input["go"]).exists():
        raise Fatal(SECRET)


@saga.compensate
def undo(ctx: Context) -> str:
    raise ValueError(ctx["book"])


failing = Workflow("failing")


@failing.step
def begin(ctx: Context) -> Any:
    return {"begun": SECRET}


@failing.step
def end(ctx: Context) -> Any:
    if not Path(ctx.input["go"]).exists():
        raise Fatal(SECRET)
    return {"ended": ctx["begun"]}


@failing.on_failure
def told(ctx: Context) -> str:
    return str(ctx.input["error"]["message"])


rotating = Workflow("rotating")
rotating.step(name="keep")(lambda ctx: {"kept": ctx.input["m"]})


@rotating.step
def pay(ctx: Context) -> Any:
    return {"paid": wait_for_event("paid"), "once": once("key", lambda: ctx["kept"])}


WORKFLOWS = (everything, child, saga, failing)


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, *WORKFLOWS, codec=CODEC) as tree,
    ):
        yield tree


def test_nothing_of_a_run_with_every_feature_is_readable(tree: Tree):
    durable = tree.durable
    handle = durable.start(everything, {"m": SECRET})
    tree.until(handle, "waiting")
    for name, payload in (("paid", {"m": SECRET}), ("left", SECRET), ("right", [SECRET])):
        handle.send_event(name, payload)
    (asked,) = wait_until(lambda: durable.list_pending_inputs(handle.id), what="the question")
    assert (asked.prompt, asked.choices, asked.metadata) == (SECRET, [SECRET, "no"], {"m": SECRET})
    handle.provide_input("which", SECRET)

    output = handle.result(timeout=60)
    expected = {
        "paid": {"m": SECRET},
        "both": {"left": SECRET, "right": [SECRET]},
        "chosen": SECRET,
        "called": SECRET,
        "once": SECRET,
        "merged": [SECRET + SECRET, SECRET],
        "pack": [SECRET + "!"] * 3,
        "list": [SECRET],
    }
    assert {key: output[key] for key in expected} == expected
    steps = handle.execution().steps
    failed = {step.name: step for step in steps if step.status == "failed"}
    assert SECRET in {line["message"] for line in steps[0].logs}
    assert failed["flaky"].error["message"] == SECRET
    assert failed["dies"].logs[0]["message"] == SECRET
    assert durable.list_events(handle.id)[0].payload == {"m": SECRET}
    assert tree.sql("SELECT id FROM {s}.step_executions WHERE snapshot IS NOT NULL")
    assert readable(tree, SECRET) == []


def test_nothing_of_what_fails_is_readable_but_its_type(tree: Tree, tmp_path: Path):
    go = {"go": str(tmp_path / "go"), "m": SECRET}
    undone, broken = tree.durable.start_many(saga, [go])[0], tree.durable.start(failing, go)
    called_off = tree.durable.start(everything, {"m": SECRET})
    called_off.cancel(SECRET)

    assert called_off.execution().error["message"] == SECRET
    with pytest.raises(WorkflowFailed, match=SECRET):
        broken.result(timeout=30)
    ended = tree.until(undone, "compensation_failed")
    assert ended.compensation_results[0]["error"]["message"] == SECRET
    told = wait_until(
        lambda: tree.durable.list_executions("failing.on_failure", "completed"), what="it"
    )
    assert told[0].input["error"]["message"] == SECRET

    (tmp_path / "go").touch()
    broken.retry()
    assert broken.result(timeout=30)["ended"] == SECRET
    assert tree.durable.fork(broken.id, "end").result(timeout=30)["ended"] == SECRET
    assert readable(tree, SECRET) == []
    types = tree.sql("SELECT DISTINCT error ->> 'type' AS type FROM {s}.step_executions")
    assert {"ValueError", "Fatal"} <= {row["type"] for row in types}


def test_a_schedules_input_is_encoded_and_moves_on_without_the_codec(tree: Tree):
    tree.durable.create_schedule("nightly", "child", "0 3 * * *", input={"m": SECRET})
    assert tree.durable.trigger_schedule("nightly").result(timeout=30)["given"] == SECRET

    tree.sql("UPDATE {s}.scheduled_workflows SET next_run_at = now() - interval '1 second'")
    tree.durable.enable_schedule("nightly")
    tree.sql("UPDATE {s}.scheduled_workflows SET next_run_at = now() - interval '1 second'")
    tree.runtime.restart("scheduler")
    runs = "SELECT execution_id::text AS id FROM {s}.schedule_slots ORDER BY slot"
    wait_until(lambda: len(tree.sql(runs)) > 1, what="the slot's run")
    for run in tree.sql(runs):
        wait_until(lambda id_=run["id"]: tree.durable.status(id_) == "completed", what="its end")
        assert tree.durable.get_execution(run["id"]).output["given"] == SECRET
    assert tree.durable.get_schedule("nightly").input == {"m": SECRET}
    assert readable(tree, SECRET) == []


def test_what_plain_sql_enqueues_is_read_as_it_is(tree: Tree):
    with Durable(tree.dsn, schema=tree.schema) as plain:
        plain.start(child, {"m": "published"})
    look_alike = {"$codec": "who", "encoded": "what"}
    (row,) = tree.sql("SELECT {s}.enqueue('child', %s::jsonb)::text AS id", '{"m": "by plain SQL"}')
    alike = tree.durable.start(child, {"m": look_alike})

    execution = wait_until(
        lambda: (found := tree.durable.get_execution(row["id"])).output and found, what="its end"
    )
    assert execution.output["given"] == "by plain SQL"
    assert alike.result(timeout=30)["given"] == look_alike


def test_a_client_without_the_codec_says_so_and_loses_nothing(tree: Tree):
    handle = tree.durable.start(child, {"m": SECRET})
    handle.result(timeout=30)

    with Durable(tree.dsn, schema=tree.schema) as plain:
        with pytest.raises(CodecError, match="encoded by codec 'veil-1', which is not known here"):
            plain.get_execution(handle.id)
        assert plain.status(handle.id) == "completed"
    assert handle.result()["given"] == SECRET


@pytest.mark.slow
def test_keys_rotate_while_executions_wait_and_what_no_key_is_there_for_is_left_alone(
    postgres_dsn: str,
):
    new, other = Veil("veil-2", "another key"), Veil("veil-3", "nobody's")
    later = "SELECT scheduled_at > now() AS later FROM {s}.workflow_executions WHERE id = %s"
    how: dict[str, Any] = {"queues": {"default": {"concurrency": 1, "commit": "batched"}}}
    with fresh_schema(postgres_dsn) as schema:
        with running(postgres_dsn, schema, rotating, codec=CODEC, **how) as tree:
            with Durable(postgres_dsn, schema=schema) as plain:
                before = plain.start(rotating, {"m": "in the open"})
            handle = tree.durable.start(rotating, {"m": SECRET})
            tree.until(handle, "waiting")
            tree.until(tree.own(before), "waiting")
        with running(postgres_dsn, schema, rotating, codec=[new, CODEC], **how) as tree:
            with Durable(postgres_dsn, schema=schema, codec=other) as stranger:
                unread = stranger.start(rotating, {"m": SECRET})
                wait_until(lambda: tree.sql(later, unread.id)[0]["later"], what="putting it off")
                left = stranger.get_execution(unread.id)
            assert (left.status, left.crashes, left.interruptions) == ("pending", 0, 0)
            for each, given in ((handle, SECRET), (before, "in the open")):
                tree.own(each).send_event("paid", SECRET)
                output = tree.own(each).result(timeout=60)
                assert (output["kept"], output["paid"]) == (given, SECRET)
            names = tree.sql("SELECT changes ->> '$codec' AS name FROM {s}.step_executions")
            assert {row["name"] for row in names} == {"veil-1", "veil-2"}


def test_a_step_is_kept_while_the_codec_cannot_encode(postgres_dsn: str, tmp_path: Path):
    class Away:
        name = "away"

        def __init__(self, gate: str) -> None:
            self.gate = gate

        def encode(self, data: bytes) -> bytes:
            if b"begun" in data and not Path(self.gate).exists():
                Path(self.gate + ".asked").touch()
                raise OSError("the key store is away")
            return data[::-1]

        def decode(self, data: bytes) -> bytes:
            return data[::-1]

    gate = str(tmp_path / "there")
    (tmp_path / "go").touch()
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, failing, codec=Away(gate)) as tree,
    ):
        handle = tree.durable.start(failing, {"go": str(tmp_path / "go")})
        wait_until(Path(gate + ".asked").exists, what="a try to encode")
        Path(gate).touch()

        assert handle.result(timeout=30)["ended"] == SECRET
        assert [step.attempt for step in handle.execution().steps] == [1, 1]


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        ("tests.support.nowhere:codec", "codec 'tests.support.nowhere:codec' cannot be found"),
        ("tests.support.codecs:no_codec", "is no codec: it needs a name"),
    ],
)
def test_a_tree_does_not_start_with_a_codec_that_is_none(
    postgres_dsn: str, codec: str, sentence: str
):
    with fresh_schema(postgres_dsn) as schema:
        runtime = Runtime(dsn=postgres_dsn, schema=schema, workflows=[child], codec=codec)
        with pytest.raises(ConfigError, match=sentence):
            runtime.start()


def test_a_configuration_names_codecs_or_is_refused():
    for wrong in ("shop", 7, ["shop.crypto:codec", object()]):
        with pytest.raises(ConfigError, match='codec must be "module:attribute" or a list of such'):
            Runtime(codec=wrong)
