"""What is known about a private server: ``pg.json`` beside its locks, and the settings it gets."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from durable_otp.errors import EmbeddedServerError

Mode = Literal["durable", "fast", "test"]

FILE = "pg.json"
SETTINGS_FILE = "durable_otp.conf"
PORT = 5432
DURABILITY: dict[Mode, dict[str, str]] = {
    "durable": {},
    "fast": {"synchronous_commit": "off"},
    "test": {"fsync": "off"},  # and no more: what was committed survives a kill, if not a power cut
}


@dataclass(frozen=True)
class Record:
    """A server's facts; ``place`` and ``socket`` are relative if they move with the directory."""

    mode: Mode
    identity: str
    place: str
    socket: str
    bin: str
    source: str
    version: str
    max_connections: int


def read(directory: Path) -> Record | None:
    """Return the record of a directory, or None if no server was ever made in it.

    Raises:
        EmbeddedServerError: The file is damaged.
    """
    path = directory / FILE
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise EmbeddedServerError(
            f"{path} is damaged ({error}); put it back, or begin anew by deleting {directory}."
        ) from error


def write(directory: Path, record: Record) -> None:
    """Replace the record in one move, so that a reader sees the old or the new one."""
    fresh = directory / f"{FILE}.new"
    fresh.write_text(json.dumps(asdict(record), indent=2) + "\n")
    fresh.replace(directory / FILE)


def settings(record: Record, socket: Path) -> dict[str, str]:
    """Return the server's settings, by name."""
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{socket}"',  # a list: quoted, so that a comma is no separator
        "unix_socket_permissions": "0700",
        "max_connections": str(record.max_connections),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "cluster_name": "durable-otp",
        "autovacuum": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
    } | DURABILITY[record.mode]


def as_file(values: dict[str, str]) -> str:
    """Return settings as a configuration file; in it a quote and a backslash are doubled."""
    lines = (f"{name} = '{_escaped(value)}'" for name, value in values.items())
    return "# Written by durable-otp at each start; changes are lost.\n" + "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
