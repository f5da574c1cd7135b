"""Which database a verb is about: the options, the configuration and the environment, in order."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from durable_otp.client import Durable
from durable_otp.client.finding import find_node
from durable_otp.config import Config, DurableSection, load
from durable_otp.errors import ConfigError, holds_password
from durable_otp.otp.title import set_title
from durable_otp.storage import embedded
from durable_otp.storage.codec import chosen
from durable_otp.storage.embedded import Server
from durable_otp.storage.nodes import Node, live_nodes
from durable_otp.storage.operation import Operation
from durable_otp.storage.pool import PooledDatabase, known_dsn

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

PUBLIC = "PostgreSQL as configured"


@dataclass(frozen=True)
class Where:
    """What a command line says about the database; what it leaves out is None."""

    config: Path | None = None
    dsn: str | None = None
    schema: str | None = None
    codec: str | None = None

    def over(self, other: "Where | None") -> "Where":
        """Return this, with what it leaves out taken from another."""
        if other is None:
            return self
        return Where(
            self.config or other.config,
            self.dsn or other.dsn,
            self.schema or other.schema,
            self.codec or other.codec,
        )


class Target:
    """An open database; everything a verb asks goes through here."""

    def __init__(self, dsn: str, durable: DurableSection, server: Server | None) -> None:
        self.dsn = dsn
        self.schema = durable.schema_name
        self.codecs = durable.codec
        self.is_private = server is not None
        self.description = PUBLIC if server is None else server.description
        self.client = Durable(
            dsn,
            schema=self.schema,
            max_payload=durable.max_payload,
            codec=durable.codec,
            _shows_encoded=True,
        )
        self._database = PooledDatabase(dsn, self.schema, role="cli")

    def run(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation of storage and return its answer."""
        return self._database.run(operation, *args, **kwargs)

    def nodes(self) -> list[Node]:
        """Return the nodes that live."""
        return self.run(live_nodes)

    def node(self, prefix: str) -> Node:
        """Return the live node whose id begins so.

        Raises:
            NodeNotFound: There is none.
            NotUnique: There are several.
        """
        return find_node(self.nodes(), prefix)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self._database.close()


@contextmanager
def opened(where: Where) -> Iterator[Target]:
    """Give the database that is meant; a project's private server is started if it does not run.

    Raises:
        ConfigError: Nothing says which database, or what does is wrong.
        EmbeddedServerError: There is no private server and none can be made.
    """
    settings = configured(where)
    if settings.durable.codec:
        importable(where.config)
    dsn = settings.durable.dsn
    if dsn is not None:
        with closing(Target(dsn, settings.durable, None)) as target:
            yield target
        return
    with (
        embedded.acquire(embedded.default_directory(where.config)) as server,
        closing(Target(server.dsn, settings.durable, server)) as target,
    ):
        yield target


def configured(where: Where) -> Config:
    """Return the configuration that the options, a file and the environment make together.

    Without a file the DSN is known.

    Raises:
        ConfigError: They are wrong, or say nothing of a database.
    """
    if where.config is None and not where.dsn:
        _refuse_silence()
    if where.dsn and holds_password(where.dsn):
        set_title("durable-otp")  # others may read how a process was called
    settings = Config() if where.config is None else load(where.config)
    changes: dict[str, Any] = {}
    if where.dsn or where.config is None:
        changes["dsn"] = known_dsn(where.dsn)
    if where.schema is not None:
        changes["schema_name"] = checked_schema(where.schema)
    if where.codec is not None:
        changes["codec"] = tuple(chosen(where.codec))
    durable = settings.durable.model_copy(update=changes)
    return settings.model_copy(update={"durable": durable})


def import_paths(config: Path | None) -> list[str]:
    """Return where workflow modules are looked for: here, then beside the configuration."""
    paths = [Path.cwd(), *([config.resolve().parent] if config is not None else [])]
    return list(dict.fromkeys(str(path) for path in paths))


def importable(config: Path | None) -> None:
    """Let this process import modules from there."""
    sys.path[:0] = [path for path in import_paths(config) if path not in sys.path]


def _refuse_silence() -> None:
    try:
        known_dsn(None)
    except ConfigError:
        raise ConfigError(
            "No database is given; add --config FILE or --dsn, or set DURABLE_DSN."
        ) from None


def checked_schema(name: str) -> str:
    """Return a schema's name, or raise ``ConfigError``."""
    try:
        return str(DurableSection.model_validate({"schema": name}).schema_name)
    except ValueError:
        raise ConfigError(
            f"--schema {name!r} is not a schema name; use 1 to 48 small letters, digits or "
            "underscores, not beginning with a digit."
        ) from None
