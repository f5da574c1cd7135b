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
    """A database that is ready; ``server`` is the private one, if that is what it is.

    ``remark`` is a sentence about what will not work as usual with this database.
    """

    dsn: str
    server: Server | None
    remark: str | None = None

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
        remark = pooler_remark(config, dsn)
    except BaseException:
        if server is not None:
            server.release()
        raise
    return Prepared(dsn, server, remark)


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


def pooler_remark(config: Config, dsn: str) -> str | None:
    """Return what to know of a connection pooler in front of PostgreSQL; None without one.

    Raises:
        DatabaseUnreachable: There is no answer.
    """
    direct_dsn = config.durable.direct_dsn
    if direct_dsn is not None and _is_pooled(config, direct_dsn):
        return (
            "durable.direct_dsn leads to a connection pooler too, so nobody hears notifications; "
            "let it lead to PostgreSQL itself."
        )
    if direct_dsn is not None or not _is_pooled(config, dsn):
        return None
    return (
        "durable.dsn leads to a connection pooler, so statements are not prepared and new work is "
        "found by polling only; set durable.direct_dsn to PostgreSQL itself (docs/pgbouncer.md)."
    )


def _is_pooled(config: Config, dsn: str) -> bool:
    database = Database(dsn, config.durable.schema_name, role="start")
    try:
        database.run(connection_limit)
        return database.is_pooled
    finally:
        database.close()
