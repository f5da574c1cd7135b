"""A private server is made once, shared by everybody, and gone after the last: with real kills."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage import embedded
from durable_otp.storage.embedded import locks
from tests.support.postgres_users import (
    Users,
    ask,
    change,
    kill,
    said,
    users_of,
    wait_until_stopped,
)
from tests.support.waiting import wait_until

BECOME_A_SUBREAPER = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
"""
LEAVE_THE_SHARE_TO_A_CHILD = """
import os
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""
BECOME_CAT = """
import os
server.keep_across_exec()
os.execvp("cat", ["cat"])
"""
SYSTEM_IDENTIFIER = "select system_identifier from pg_control_system()"


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_OTP_PG_LINGER", "0.1")


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Users]:
    with users_of(tmp_path / "pg") as users:
        yield users


@pytest.fixture
def place(users: Users) -> Path:
    return users.directory


def test_eight_processes_that_start_at_once_share_one_new_cluster(users: Users, place: Path):
    dsns = [said(user) for user in [users.start() for _ in range(8)]]

    assert len({ask(dsn, SYSTEM_IDENTIFIER) for dsn in dsns}) == 1
    assert (place / "server.log").read_text().count("starting PostgreSQL") == 1
    assert not list(place.glob("data.tmp.*"))


def test_the_server_stops_when_its_last_user_is_killed_and_not_before(users: Users, place: Path):
    first, second = users.up(), users.up()
    pid = embedded.status(place).pid

    kill(first)
    with embedded.acquire(place, mode="test") as server:
        assert not os.get_inheritable(server.fileno())
        kill(second)
        assert embedded.status(place).pid == pid
    wait_until_stopped(place)

    wait_until(lambda: locks.is_free(place / locks.REAPER), what="the reaper's end")


def test_a_forked_child_keeps_the_server_up_after_its_parent_was_killed(users: Users, place: Path):
    parent = users.start(LEAVE_THE_SHARE_TO_A_CHILD)
    child = int(said(parent))

    kill(parent)
    assert embedded.status(place).in_use
    os.kill(child, signal.SIGKILL)

    wait_until_stopped(place)


def test_a_share_can_be_kept_across_exec(users: Users, place: Path):
    user = users.start(BECOME_CAT)
    wait_until(lambda: psutil.Process(user.pid).name() == "cat", what="the exec")

    assert embedded.status(place).in_use
    assert embedded.status(place).running
    kill(user)

    wait_until_stopped(place)


def test_a_user_that_comes_back_while_the_reaper_lingers_finds_the_same_server(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DURABLE_OTP_PG_LINGER", "30")
    with embedded.acquire(place, mode="test"):
        pid = embedded.status(place).pid

    with embedded.acquire(place, mode="test"):
        assert embedded.status(place).pid == pid
    reaper_of(place).kill()


def test_another_reaper_is_started_when_the_first_was_killed(place: Path):
    with embedded.acquire(place, mode="test"):
        reaper = reaper_of(place)
        reaper.kill()
        wait_until(lambda: locks.is_free(place / locks.REAPER), what="the reaper's death")
    assert embedded.status(place).running

    embedded.acquire(place, mode="test").release()

    wait_until_stopped(place)


def reaper_of(place: Path) -> psutil.Process:
    words = ["durable_otp.storage.embedded", str(place)]

    def found() -> list[psutil.Process]:
        return [
            p for p in psutil.process_iter(["cmdline"]) if words == (p.info["cmdline"] or [])[2:4]
        ]

    return wait_until(found, what="the reaper")[0]


def test_the_reaper_and_the_server_are_nobodys_children_and_in_no_terminal(place: Path):
    before = set(psutil.Process().children())  # trees that tests of this session share
    with embedded.acquire(place, mode="test"):
        postmaster = psutil.Process(embedded.status(place).pid)
        for process in (postmaster, reaper_of(place)):
            assert process.ppid() != os.getpid()
            assert os.getsid(process.pid) != os.getsid(0)
        assert set(psutil.Process().children()) <= before


def test_a_killed_postmaster_is_started_again_with_its_data(place: Path):
    with embedded.acquire(place, mode="test") as server:
        change(server.dsn, "create table kept as select 42 as n")
        os.kill(embedded.status(place).pid, signal.SIGKILL)

        with embedded.acquire(place, mode="test") as again:
            assert ask(again.dsn, "select n from kept") == "42"


def test_a_postmaster_that_stays_a_zombie_does_not_prevent_the_next_start(
    users: Users, place: Path
):
    users.up(before=BECOME_A_SUBREAPER)  # as process 1 of a container: it never reaps
    postmaster = psutil.Process(embedded.status(place).pid)

    postmaster.kill()
    wait_until(lambda: postmaster.status() == psutil.STATUS_ZOMBIE, what="the zombie")

    with embedded.acquire(place, mode="test") as server:
        assert ask(server.dsn, "select 1") == "1"
    assert postmaster.status() == psutil.STATUS_ZOMBIE


def test_a_stranger_with_the_postmasters_id_does_not_prevent_the_next_start(place: Path):
    embedded.acquire(place, mode="test").release()
    wait_until_stopped(place)
    (place / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{place / 'data'}\n")

    with embedded.acquire(place, mode="test") as server:
        assert ask(server.dsn, "select 1") == "1"


def test_a_server_whose_connections_are_all_taken_is_still_running(place: Path):
    with embedded.acquire(place, mode="test", max_connections=5) as server:
        taken = [psycopg.connect(server.dsn) for _ in range(5)]
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(server.dsn)

        assert embedded.status(place).running
        with embedded.acquire(place, mode="test") as again:
            assert again.version == server.version
        for connection in taken:
            connection.close()


def test_a_start_that_was_killed_in_the_middle_of_initdb_leaves_nothing_behind(
    users: Users, place: Path
):
    user = users.start()
    wait_until(lambda: list(place.glob("data.tmp.*/PG_VERSION")), what="initdb")
    kill(user)

    with embedded.acquire(place, mode="test") as server:
        assert ask(server.dsn, "select 1") == "1"
        assert not list(place.glob("data.tmp.*"))


def test_stop_refuses_under_a_user_unless_forced(users: Users, place: Path):
    users.up()

    with pytest.raises(EmbeddedServerError, match="in use by running processes"):
        embedded.stop(place)
    assert embedded.status(place).running
    assert embedded.stop(place, force=True)

    assert not embedded.status(place).running


def test_reset_deletes_the_data_and_the_next_user_makes_it_anew(place: Path):
    with embedded.acquire(place, mode="test") as server:
        before = ask(server.dsn, SYSTEM_IDENTIFIER)

    assert embedded.reset(place)

    assert not (place / "data").exists()
    assert not embedded.status(place).exists
    with embedded.acquire(place, mode="test") as server:
        assert ask(server.dsn, SYSTEM_IDENTIFIER) != before


def test_a_held_server_stays_up_without_users_until_it_is_stopped(place: Path):
    with embedded.acquire(place, mode="test") as server:
        embedded.hold(server)
        embedded.hold(server)
    assert embedded.status(place).held
    assert embedded.status(place).running

    assert embedded.stop(place)

    assert not embedded.status(place).held
    assert not embedded.status(place).running
    assert not embedded.stop(place)


def test_releasing_twice_is_harmless_and_a_released_share_cannot_be_kept(place: Path):
    server = embedded.acquire(place, mode="test")
    server.release()
    server.release()

    with pytest.raises(EmbeddedServerError, match="released"):
        server.keep_across_exec()


def test_the_dsn_serves_asynchronous_connections_too(place: Path):
    async def host(dsn: str) -> str:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            return connection.info.host

    with embedded.acquire(place, mode="test") as server:
        assert asyncio.run(host(server.dsn)) == str(place / "socket")


def test_looking_at_a_directory_makes_nothing(tmp_path: Path):
    nowhere = tmp_path / "nowhere"

    assert not embedded.status(nowhere).exists
    assert not embedded.stop(nowhere)
    assert not embedded.reset(nowhere)
    assert not nowhere.exists()


def test_the_shared_postgres_gives_each_test_a_schema_of_its_own(dsn: str, schema: str):
    change(dsn, f"create schema {schema}")
    change(dsn, f"create table {schema}.kept as select 1 as n")

    assert ask(dsn, f"select n from {schema}.kept") == "1"


def test_the_private_postgres_fixture_stops_starts_and_kills(private_postgres):
    server = private_postgres()
    change(server.dsn, "create table kept as select 1 as n")

    server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn)
    server.start()
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn)
    server.start()

    assert ask(server.dsn, "select n from kept") == "1"
