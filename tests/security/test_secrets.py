"""S-5, S-6, S-14: the database's password is where it was given, and nowhere else (I-24).

The environment of the tree's processes is not searched: a DSN that was given there stays there,
for steps that open a client of their own; only its owner and root can read it (docs/security.md).
"""

import json
import logging
import os
import signal
import subprocess
import traceback
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import conninfo

from durable_otp import AsyncDurable, ConfigError, Durable, DurableError, Runtime, default_adapter
from durable_otp.config import from_mapping, load
from durable_otp.engine.failure import LONGEST_STACKTRACE, describe
from durable_otp.errors import holds_password, without_passwords
from durable_otp.storage.connecting import may_be_overheard
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.pool import PooledDatabase
from durable_otp.workflow.stored_text import LONGEST_MESSAGE
from tests.golden.journal import take
from tests.support.cli import PROGRAM, Project, clean_environment
from tests.support.command_line import command
from tests.support.waiting import wait_until

CANARY = "kanarienvogel-7f3a"
LEAKY = """
import os
import tomllib
from pathlib import Path
from durable_otp import Retry, Workflow

leaky = Workflow("leaky")

@leaky.step(retry=Retry(max_attempts=2, base=0))
def fail(ctx):
    dsn = tomllib.loads(Path("config.toml").read_text())["durable"]["dsn"]
    kept_in_a_variable = "variable-" + dsn
    raise ConnectionError(f"no route to {dsn}")

deadly = Workflow("deadly", max_crashes=1)

@deadly.step
def die(ctx):
    os.abort()

gate = Workflow("gate")

@gate.step
def hold(ctx):
    import time
    place = Path(ctx.input["file"])
    place.with_suffix(".held").touch()
    while not place.exists():
        time.sleep(0.01)
"""


@pytest.fixture
def secret_dsn(dsn: str) -> str:
    """The DSN with a password, which the server does not ask for."""
    return conninfo.make_conninfo(dsn, password=CANARY)


@pytest.fixture
def secret_project(tmp_path: Path, secret_dsn: str, schema: str) -> Project:
    project = Project(tmp_path, secret_dsn, schema)
    project.config.chmod(0o600)
    (tmp_path / "shop.py").write_text(LEAKY)
    return project


def command_lines(pids: list[int]) -> str:
    return "\n".join(
        file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for pid in pids
        for file in (Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/comm"))
        if file.exists()
    )


def sessions(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        return str(
            connection.execute("SELECT application_name, query FROM pg_stat_activity").fetchall()
        )


def test_a_canary_in_the_configuration_is_seen_nowhere(
    secret_project: Project, secret_dsn: str, dsn: str, schema: str, tmp_path: Path
) -> None:
    """S-5, I-24: logs, titles, tables, sessions and the command line, through deaths and all."""
    secret_project.write(secret_dsn, 'log_format = "json"')
    secret_project.config.chmod(0o600)
    seen: dict[str, str] = {}
    with secret_project.started() as node, Durable(dsn, schema=schema) as client:
        root = psutil.Process(node.process.pid)
        file = tmp_path / "gate.open"
        client.start("gate", {"file": str(file)})
        wait_until(lambda: file.with_suffix(".held").exists())
        processes = [root, *root.children(recursive=True)]
        seen["titles"] = command_lines([each.pid for each in processes])
        seen["sessions"] = sessions(dsn)
        assert len(processes) > 8
        assert schema in seen["sessions"]
        waker = next(each for each in processes if "sleep_waker" in command_lines([each.pid]))
        waker.send_signal(signal.SIGKILL)
        handles = [client.start("deadly", {}), client.start("leaky", {})]
        wait_until(lambda: all(handle.status() == "failed" for handle in handles))
        for words in (["inspect", handles[1].id], ["status"], ["tree", "--json"]):
            seen[words[0]] = secret_project.run(*words)
        file.touch()
        node.signal(signal.SIGTERM)
        assert node.stopped() == 0
        seen["log"] = node.log
    seen["tables"] = json.dumps(take(dsn, schema))
    assert "sleep_waker" in seen["log"]
    assert "child_" in seen["log"]
    assert "worker_crashed" in seen["tables"]
    assert "no route to" in seen["tables"]
    assert "***" in seen["inspect"]
    assert [where for where, text in seen.items() if CANARY in text] == []


def test_an_error_that_a_step_raises_with_an_address_in_it_is_stored_without_the_password(
    secret_dsn: str, dsn: str, schema: str
) -> None:
    """S-14: a user's own exception with a DSN in its text, and in the lines of its traceback."""
    for text in (
        f"no route to postgresql://app:{CANARY}@db.example:5432/shop?sslmode=require",
        f"connection failed: {secret_dsn}",
        f"amqp://user:{CANARY}@broker/ and redis://:{CANARY}@cache:6379/0",
        f"password = '{CANARY} with \\' blanks' host=x",
    ):
        error = describe(ConnectionError(text))
        assert CANARY not in json.dumps(error)
        assert "***" in error["message"]
    assert describe(ValueError("a@b.example, x: y, 3 * 4"))["message"] == "a@b.example, x: y, 3 * 4"


def test_an_error_is_stored_without_what_variables_held_and_not_at_any_length() -> None:
    """S-14: lines of code and no locals; the middle of what is too long is left out."""
    hidden = CANARY + "-in-a-variable"

    def deep(level: int) -> None:
        if level == 0:
            raise RuntimeError("x" * 1_000_000)
        deep(level - 1)

    with pytest.raises(RuntimeError) as caught:
        deep(300)
    error = describe(caught.value)
    assert hidden not in json.dumps(error)
    assert len(error["message"]) < LONGEST_MESSAGE + 100
    assert len(error["stacktrace"]) < LONGEST_STACKTRACE + 100
    assert "characters left out" in error["message"]


def test_an_exception_that_cannot_be_printed_is_an_error_all_the_same() -> None:
    """S-14: its text is its author's code, which may fail as any."""

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not today")

    error = describe(UnprintableError())
    assert error["type"] == "UnprintableError"
    assert "RuntimeError" in error["message"]
    long = type("L" * 5000, (Exception,), {})
    assert len(describe(long("x"))["type"]) < 300


@given(st.text(alphabet=st.characters(exclude_characters="@/"), max_size=40))
def test_only_passwords_are_left_out_of_a_text(text: str) -> None:
    if "pass" not in text.lower():
        assert without_passwords(text) == text


@pytest.mark.parametrize(
    "given_dsn",
    [
        f"postgresql://app:{CANARY}@[::1/shop",
        f"postgresql://app:{CANARY} x@host/shop",
        f"postgresql://app:{CANARY}@host:port/shop?nonsense=1",
        f"host=localhost password='{CANARY}",
        f"hots=localhost password={CANARY}",
        f"postgresql://app:{CANARY}@127.0.0.1:1/shop",
        f"host=/nowhere password={CANARY} user=app",
        f"host=nowhere.invalid password={CANARY} connect_timeout=1",
    ],
)
def test_a_dsn_that_does_not_work_is_not_repeated(given_dsn: str) -> None:
    """S-5: libpq echoes what it cannot parse; our text takes its place, in tracebacks too."""
    tries: list[Any] = [
        lambda: Durable(given_dsn).list_executions(),
        lambda: Migrator(given_dsn).migrate(),
        lambda: Runtime(dsn=given_dsn, workflows=["shop"]).start(),
        lambda: Database(given_dsn, "durable", role="test").connection(),
        lambda: Durable(given_dsn).subscribe(),
    ]
    for attempt in tries:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it is discreet
            attempt()
        assert CANARY not in "".join(traceback.format_exception(caught.value))
        assert CANARY not in repr(caught.value)


def test_the_command_line_does_not_repeat_it_either(tmp_path: Path) -> None:
    for given_dsn in (f"host=/nowhere password={CANARY}", f"postgresql://app:{CANARY} x@host/shop"):
        project = Project(tmp_path, given_dsn, "durable")
        project.config.chmod(0o600)
        done = command(["status", "--config", str(project.config)], tmp_path, clean_environment())
        assert done.returncode in (1, 2)
        assert done.stderr.count("\n") == 1
        assert CANARY not in done.stdout + done.stderr


def test_no_object_shows_it(secret_dsn: str, schema: str, tmp_path: Path) -> None:
    """S-5: ``repr`` and ``str`` of whatever a user gets hold of, and what hangs on it."""
    Migrator(secret_dsn, schema).migrate()
    path = tmp_path / "config.toml"
    path.write_text(f"[durable]\ndsn = {json.dumps(secret_dsn)}\n")
    path.chmod(0o600)
    with (
        Durable(secret_dsn, schema=schema) as durable,
        default_adapter(secret_dsn, schema=schema) as adapter,
        durable.subscribe() as moves,
    ):
        runtime = Runtime(dsn=secret_dsn, schema=schema, workflows=[])
        pool = PooledDatabase(secret_dsn, schema)
        pool.run(lambda: iter(()))  # type: ignore[arg-type]
        config = load(path)
        shown = [durable, adapter, moves, runtime, pool, config, config.durable, durable.stats()]
        shown += [AsyncDurable(secret_dsn, schema=schema), from_mapping({"dsn": secret_dsn})]
        shown += [Migrator(secret_dsn, schema), Database(secret_dsn, schema, role="test")]
        for each in shown:
            assert CANARY not in f"{each!r} {each}", type(each)
        pool.close()


def test_a_configuration_s_mistake_is_told_without_it(secret_dsn: str) -> None:
    for wrong in ({"dsn": [secret_dsn]}, {"dsn": secret_dsn, "schema": 1}, {"dns": secret_dsn}):
        with pytest.raises(ConfigError) as caught:
            from_mapping(wrong)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_address_on_the_command_line_is_hidden_at_once(
    secret_dsn: str, dsn: str, schema: str, tmp_path: Path
) -> None:
    """S-5: others may read how a process was called; better is the environment or a file."""
    Migrator(dsn, schema).migrate()
    process = subprocess.Popen(
        [*PROGRAM, "tree", "--watch", "--dsn", secret_dsn, "--schema", schema],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_until(lambda: CANARY in command_lines([process.pid]))  # so it was, for a moment
        wait_until(lambda: CANARY not in command_lines([process.pid]))
        assert process.poll() is None
        assert "durable-otp" in command_lines([process.pid])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    assert CANARY.encode() not in out + err


def test_a_file_with_a_password_that_others_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S-5."""
    path = tmp_path / "config.toml"
    path.write_text(f'[durable]\ndsn = "postgresql://app:{CANARY}@/x"\n')
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True), (0o644, True)):
        caplog.clear()
        path.chmod(mode)
        with caplog.at_level(logging.WARNING, logger="durable_otp"):
            load(path)
        assert ("password_readable_by_others" in caplog.text) is warned, oct(mode)
        assert CANARY not in caplog.text
    path.write_text('[durable]\ndsn = "postgresql://app@/x"\n')
    caplog.clear()
    load(path)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("dsn", "overheard"),
    [
        (f"postgresql://app:{CANARY}@db.example/x", True),
        (f"postgresql://app:{CANARY}@db.example/x?sslmode=prefer", True),
        (f"postgresql://app:{CANARY}@localhost,db.example/x", True),
        (f"postgresql://app:{CANARY}@10.0.0.7/x?sslmode=disable", True),
        (f"postgresql://app:{CANARY}@db.example/x?sslmode=require", False),
        (f"postgresql://app:{CANARY}@db.example/x?sslmode=verify-full", False),
        (f"postgresql://app:{CANARY}@localhost/x", False),
        (f"postgresql://app:{CANARY}@127.0.0.1/x", False),
        (f"host=/run/postgresql password={CANARY}", False),
        ("postgresql://app@db.example/x", False),
    ],
)
def test_a_password_that_may_be_overheard_is_warned_of(
    dsn: str, overheard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-6: TLS is libpq's, and its settings are the DSN's or the environment's."""
    for name in ("PGHOST", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    assert may_be_overheard(dsn) is overheard
    assert holds_password(dsn) is (CANARY in dsn)
    if overheard:
        monkeypatch.setenv("PGSSLMODE", "require")
        assert may_be_overheard(dsn) is ("sslmode" in dsn)


def test_what_a_dsn_asks_of_tls_is_asked_of_libpq(dsn: str, schema: str) -> None:
    """S-6: a server without TLS is refused when the DSN requires it, whoever connects."""
    with psycopg.connect(dsn) as connection:
        has_tls = connection.execute("SHOW ssl").fetchone() == ("on",)
        is_socket = connection.info.host.startswith("/")
    if has_tls or is_socket:
        pytest.skip("this server speaks TLS, or is reached by a socket that needs none")
    required = conninfo.make_conninfo(dsn, sslmode="require", channel_binding="prefer")
    for attempt in (
        lambda: Durable(required, schema=schema).list_executions(),
        lambda: Migrator(required, schema).migrate(),
    ):
        with pytest.raises(DurableError, match="SSL"):
            attempt()


@pytest.fixture(autouse=True)
def no_dsn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DURABLE_DSN", raising=False)
