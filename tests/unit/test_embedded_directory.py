"""Where a private server may live, and what is written there."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage.embedded import directory, record, sockets
from durable_otp.storage.embedded.record import Record

RECORD = Record("durable", "self", ".", "socket", "/bin", "system", "18.6", 300)


def test_the_default_is_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DURABLE_OTP_PG_DIR", raising=False)
    monkeypatch.chdir(tmp_path)

    assert directory.default_directory() == tmp_path / ".durable-otp" / "pg"
    config = Path("app") / "config.toml"
    assert directory.default_directory(config) == tmp_path / "app" / ".durable-otp" / "pg"
    monkeypatch.setenv("DURABLE_OTP_PG_DIR", "elsewhere")
    assert directory.default_directory(config) == tmp_path / "elsewhere"


def test_a_directory_is_shown_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert directory.shown(tmp_path / ".durable-otp" / "pg") == "./.durable-otp/pg"
    assert directory.shown(Path("/var/lib/pg")) == "/var/lib/pg"


def test_an_empty_directory_is_taken_and_closed(tmp_path: Path):
    place = tmp_path / "pg"
    place.mkdir(mode=0o777)

    directory.prepare(place)
    directory.prepare(place)

    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("...")
    mode = tmp_path.stat().st_mode

    with pytest.raises(EmbeddedServerError, match="holds other files"):
        directory.prepare(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert tmp_path.stat().st_mode == mode


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedServerError, match="cannot be kept in"):
        directory.prepare(tmp_path / "file" / "pg")


def test_a_record_is_read_as_it_was_written(tmp_path: Path):
    assert record.read(tmp_path) is None

    record.write(tmp_path, RECORD)

    assert record.read(tmp_path) == RECORD


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mode": "durable"}'])
def test_a_damaged_record_is_one_sentence(tmp_path: Path, text: str):
    (tmp_path / record.FILE).write_text(text)

    with pytest.raises(EmbeddedServerError, match=r"pg\.json is damaged"):
        record.read(tmp_path)


def test_a_mode_changes_only_what_a_commit_waits_for():
    durable = record.settings(RECORD, Path("/s"))
    fast = record.settings(replace(RECORD, mode="fast"), Path("/s"))
    test = record.settings(replace(RECORD, mode="test"), Path("/s"))

    assert fast.items() - durable.items() == {("synchronous_commit", "off")}
    assert test.items() - durable.items() == {("fsync", "off")}


def test_settings_are_quoted_for_the_file():
    text = record.as_file({"one": r"it's a \ path"})

    assert text.splitlines()[1] == r"one = 'it''s a \\ path'"


def test_a_socket_lies_beside_the_data_if_its_path_is_short_and_plain():
    assert sockets.fits(Path("/a b/$HOME"))
    assert sockets.fits(Path("/" + "a" * (107 - len("//.s.PGSQL.5432"))))
    assert not sockets.fits(Path("/" + "a" * (108 - len("//.s.PGSQL.5432"))))
    assert not sockets.fits(Path("/a,b"))
