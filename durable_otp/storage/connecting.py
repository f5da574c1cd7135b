"""How every connection of this package is opened, and which of its failures mean "try again"."""

import os
from typing import Any

import psycopg
from psycopg import conninfo, errors
from psycopg.types.json import set_json_loads

from durable_otp.errors import ConfigError, NotPermitted, without_passwords
from durable_otp.storage.named import PLAN_LOST, AnyConnection
from durable_otp.workflow.json_form import decode

AsyncConnection = psycopg.AsyncConnection[dict[str, Any]]

CONNECT_TIMEOUT_SECONDS = 10
LOCAL = ("", "localhost", "::1")
WITHOUT_TLS = ("disable", "allow", "prefer")

# Ask the server to notice dead clients soon, so that their row locks are not kept (reliability
# notes 46-48), and never let a stopped process hold a transaction open.
SETTINGS = {
    "TimeZone": "UTC",
    "idle_in_transaction_session_timeout": "30s",
    "client_connection_check_interval": "2s",
    "statement_timeout": "0",
    "jit": "off",  # it costs more than any statement here
}
# A manager's statements all look rows up by index. Planned once, for tables whose size nobody knows
# yet, and never again: planning anew costs more than the claim itself.
KEYED_SETTINGS = {
    **SETTINGS,
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


# What every pooler keeps apart for each of its clients; all else would be left to the next one.
KEPT_BY_POOLERS = ("TimeZone",)

# The answer of these is unknown or "not now": reconnect and repeat the same operation.
CONNECTION_LOST = (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction)
# These rolled back for the sake of others, or executed nothing because what was prepared is gone:
# repeat at once, with the same token.
ROLLED_BACK = (errors.DeadlockDetected, errors.SerializationFailure, *PLAN_LOST)
NOT_PERMITTED = errors.InsufficientPrivilege
# A statement is prepared when it is used again: what runs once costs one round trip, not two.
PREPARED_FROM = 1


def connection_arguments(dsn: str, role: str) -> dict[str, Any]:
    """Return the keyword arguments of ``connect`` for a role such as ``"worker default/1"``.

    Raises:
        ConfigError: The DSN is malformed. libpq's own message is not shown: it can contain the
            password.
    """
    try:
        parsed = conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        raise ConfigError(
            "dsn is not a PostgreSQL connection string; write it as "
            '"postgresql://user@host:5432/database" or "host=... dbname=...".'
        ) from None
    defaults = {
        "application_name": f"durable:{role}"[:63],
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    return {**defaults, **{key: value for key, value in parsed.items() if value is not None}}


def may_be_overheard(dsn: str) -> bool:
    """Return whether a password would go to another machine without TLS being asked for.

    Raises:
        ConfigError: The DSN is malformed.
    """
    given = connection_arguments(dsn, "check")
    hosts = str(given.get("host") or os.environ.get("PGHOST") or "").split(",")
    mode = str(given.get("sslmode") or os.environ.get("PGSSLMODE") or "prefer")
    is_far = any(host not in LOCAL and not host.startswith(("/", "@", "127.")) for host in hosts)
    return bool(given.get("password")) and is_far and mode in WITHOUT_TLS


def read_json(connection: psycopg.Connection[Any] | AsyncConnection) -> None:
    """Let jsonb columns of a connection be read as deep as they may be written."""
    set_json_loads(decode, connection)


def session(settings: dict[str, str], connection: AnyConnection) -> str:
    """Return the statement that makes a new connection's session ours; its row says `is_own`.

    A server process with another id than the one that was introduced means that a pooler is in
    between. A later statement may meet another session then, and these settings somebody else's.
    """
    is_own = f"pg_catalog.pg_backend_pid() = {connection.pgconn.backend_pid}"

    def apply(name: str, value: str) -> str:
        change = f"pg_catalog.set_config('{name}', '{value}', false)"
        return change if name in KEPT_BY_POOLERS else f"CASE WHEN {is_own} THEN {change} END"

    changes = (apply(name, value) for name, value in settings.items())
    return f"SELECT {is_own} AS is_own, {', '.join(changes)}"


def describe_failure(error: BaseException) -> str:
    """Return a connection error in one line, without what libpq may have echoed of the DSN."""
    lines = str(error).strip().splitlines()
    return without_passwords(lines[0].rstrip(".")) if lines else type(error).__name__


def not_permitted(error: psycopg.Error, schema: str) -> NotPermitted:
    """Return what to say of a right that this role has not."""
    return NotPermitted(
        f'The database role may not do this in schema "{schema}" ({describe_failure(error)}); give '
        "it the rights with `durable-otp migrate --grant-runtime ROLE`, or those of a producer or "
        "reader."
    )
