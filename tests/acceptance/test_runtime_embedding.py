"""The runtime inside other programs: threads, scripts, modules, and what cannot be carried."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from durable_otp import (
    ConfigError,
    Context,
    Durable,
    PostgresAdapter,
    Runtime,
    Workflow,
)
from tests.support.sink import sink
from tests.support.tree import Tree, prepare, running
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
import sys
from durable_otp import Durable, Runtime, Workflow

dsn, schema = sys.argv[1:]
GREETING = "hello"
hello = Workflow("hello")

def greeting():
    return GREETING

@hello.step
def greet(ctx):
    return {"said": greeting() + " " + ctx.input["name"]}

with Runtime(dsn=dsn, schema=schema, workflows=[hello], queues={"default": 1}):
    with Durable(dsn, schema=schema) as durable:
        print(durable.start(hello, {"name": "you"}).result(timeout=30)["said"])
"""
MODULE = """
from durable_otp import Workflow

greet = Workflow("greet")

@greet.step
def hello(ctx):
    return {"module": __name__}
"""


def run(script: str, *arguments: str, cwd: Path = REPOSITORY) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=cwd, text=True, capture_output=True, check=False, timeout=60,
    )  # fmt: skip


def test_an_unguarded_script_that_defines_its_workflow(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = run(str(tmp_path / "script.py"), dsn, schema, cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("hello you\n", "", 0)


def test_a_host_with_twenty_busy_threads(dsn: str, schema: str) -> None:
    stop = threading.Event()

    def be_busy() -> None:
        while not stop.is_set():
            sum(range(1000))

    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    threads = [threading.Thread(target=be_busy) for _ in range(20)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)  # or this test itself gets no turn among the twenty
    for thread in threads:
        thread.start()
    try:
        with running(dsn, schema, sink()) as tree:
            tree.start(two=["die:kill", "ok"]).result(timeout=60)
            assert handlers == {
                number: signal.getsignal(number) for number in signal.valid_signals()
            }
    finally:
        stop.set()
        sys.setswitchinterval(usual)
        for thread in threads:
            thread.join()


def test_a_workflow_of_a_module_is_loaded_by_name(
    dsn: str, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greeting_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with running(dsn, schema) as nobody:
        assert nobody.runtime.tree()["tree"]["status"] == "up"
    runtime = Runtime(dsn=dsn, schema=schema, workflows=["greeting_module"], queues={"default": 1})
    with runtime, Durable(dsn, schema=schema) as durable:
        assert durable.start("greet").result(timeout=30) == {"module": "greeting_module"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "broken_module"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        ("1 / 0", "division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_in_one_sentence(
    dsn: str, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    source: str | None, said: str,
) -> None:  # fmt: skip
    if source is not None:
        (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    runtime = Runtime(dsn=dsn, schema=schema, workflows=["broken_module"], queues={"default": 1})
    with pytest.raises(ConfigError, match=said) as caught:
        runtime.start()
    assert len(str(caught.value).splitlines()) == 1
    assert runtime.wait(30) is not None


def test_what_cannot_be_carried_is_named(dsn: str, schema: str) -> None:
    numbers = (number for number in range(3))
    unportable = Workflow("unportable")

    @unportable.step
    def fine(ctx: Context) -> None:
        pass

    @unportable.step
    def holds_a_generator(ctx: Context) -> None:
        next(numbers)

    with pytest.raises(ConfigError, match="holds_a_generator"):
        Runtime(dsn=dsn, schema=schema, workflows=[unportable])


def test_nobody_claims_what_nobody_knows(dsn: str, schema: str) -> None:
    unknown = [sink("unknown"), sink(version="2")]
    with running(dsn, schema, sink(), queues={"default": 1}) as tree:
        handles = [tree.durable.start(each, {"ledger": None, "actions": {}}) for each in unknown]
        tree.start().result(timeout=30)
        assert [handle.status() for handle in handles] == ["pending", "pending"]
    with running(dsn, schema, sink(), *unknown, queues={"default": 1}) as tree:
        for handle in handles:
            assert tree.until(tree.own(handle), "completed").interruptions == 0


def note_and_adapt(dsn: str, **options: object) -> PostgresAdapter:
    """An adapter of the user's, named in the configuration."""
    Path(f"/tmp/{options['schema']}.adapter").touch()
    return PostgresAdapter(dsn, **options)  # type: ignore[arg-type]


def test_another_adapter_is_used(dsn: str, schema: str, tmp_path: Path) -> None:
    adapter = "tests.acceptance.test_runtime_embedding:note_and_adapt"
    mark = Path(f"/tmp/{schema}.adapter")
    with running(dsn, schema, sink(), queues={"default": 2}, adapter=adapter) as tree:
        tree.start(one=["die:kill", "ok"], two="nap:0.1").result(timeout=30)
        assert mark.exists()
    mark.unlink()


@pytest.mark.parametrize("name", ["no.such:adapter", "os:nothing", "os:getcwd"])
def test_an_adapter_that_is_none_is_refused_at_the_start(dsn: str, schema: str, name: str) -> None:
    prepare(dsn, schema)
    runtime = Runtime(
        dsn=dsn, schema=schema, workflows=[sink()], queues={"default": 1}, adapter=name
    )
    try:
        with pytest.raises(ConfigError, match=name) as caught:
            runtime.start()
    finally:
        runtime.stop()
    assert len(str(caught.value).splitlines()) == 1


def test_a_runtime_is_started_once_and_stopped_as_often_as_one_likes(dsn: str, schema: str) -> None:
    with running(dsn, schema, sink(), queues={"default": 1}) as tree:
        with pytest.raises(ConfigError, match="started before"):
            tree.runtime.start()
        root = tree.runtime.pid
        tree.runtime.stop()
        tree.runtime.stop()
        reason = tree.runtime.wait(10)
        assert reason is not None
        assert reason.is_clean
        wait_until(lambda: not Path(f"/proc/{root}").exists())
    unstarted = Runtime(dsn=dsn, schema=schema)
    with pytest.raises(ConfigError, match="not started"):
        unstarted.tree()
    assert isinstance(tree, Tree)
