"""What has to be there before a tree starts: a database, its schema, enough connections."""

import logging
from dataclasses import dataclass
from pathlib import Path

from durable_otp.config import Config
from durable_otp.errors import ConfigError
from durable_otp.events import emit
from durable_otp.runtime import tree
from durable_otp.storage import embedded
from durable_otp.storage.connecting import may_be_overheard
from durable_otp.storage.database import Database
from durable_otp.storage.embedded import Server
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.server_limits import connection_limit


@dataclass(frozen=True)
class Prepared:
    """A database that is ready; ``server`` is the private one, if that is what it is."""

    dsn: str
    server: Server | None

    @property
    def description(self) -> str:
        """What the database is, for a person; never the DSN."""
        return "PostgreSQL as configured" if self.server is None else self.server.description


def prepare(config: Config, *, migrate: bool, beside: Path | None = None) -> Prepared:
    """Find or start the database, bring its schema up to date, and refuse a plan that cannot run.

    ``beside`` is the configuration file, next to which a private server keeps its data. Blocks.

    Raises:
        ConfigError: The tree would need more connections than the server has.
        DatabaseUnreachable, EmbeddedServerError, MigrationError: There is no usable database.
    """
    server = None
    dsn = config.durable.dsn
    if dsn is None:
        server = embedded.acquire(embedded.default_directory(beside))
        dsn = server.dsn
    try:
        if may_be_overheard(dsn):
            emit("password_without_tls", level=logging.WARNING, cure="sslmode=require in the dsn")
        if migrate:
            Migrator(dsn, config.durable.schema_name).migrate()
        check_connections(config, dsn)
    except BaseException:
        if server is not None:
            server.release()
        raise
    return Prepared(dsn, server)


def check_connections(config: Config, dsn: str) -> None:
    """Refuse a plan that needs more connections than the server has (ConfigError)."""
    database = Database(dsn, config.durable.schema_name, role="start")
    try:
        available = database.run(connection_limit)
    finally:
        database.close()
    needed, formula = tree.connections(config)
    if needed > available:
        raise ConfigError(
            f"This node would open up to {needed} connections ({formula}), but PostgreSQL has "
            f"{available} for ordinary roles; lower the queues' concurrency or raise "
            "max_connections."
        )
