"""The whole topology on one page: from the configuration to the root's children, in start order."""

from urllib.parse import quote

from durable_otp.config import Config
from durable_otp.config.sections import QueueSection
from durable_otp.errors import ConfigError
from durable_otp.otp import ChildSpec, SupervisorFlags, SupervisorSpec
from durable_otp.runtime.carried import Carried, carry_codecs
from durable_otp.runtime.dashboard import dashboard, settings_of
from durable_otp.runtime.idle_watch import IDLE_WATCH, idle_watch
from durable_otp.runtime.metrics import metrics
from durable_otp.runtime.pruner import pruner
from durable_otp.runtime.queue_manager import queue_manager
from durable_otp.runtime.registrar import registrar
from durable_otp.runtime.scheduler import scheduler
from durable_otp.runtime.settings import (
    DatabaseSettings,
    IdleWatchSettings,
    ManagerSettings,
    MetricsSettings,
    RegistrarSettings,
    SiblingSettings,
    WorkerSettings,
)
from durable_otp.runtime.sleep_waker import sleep_waker
from durable_otp.runtime.stale_job_recovery import stale_job_recovery
from durable_otp.runtime.tree_view import MANAGER
from durable_otp.runtime.wait_timeouts import wait_timeouts
from durable_otp.runtime.zombie_recovery import zombie_recovery
from durable_otp.storage.limits import QueueLimits
from durable_otp.storage.server_limits import needed_connections

SIBLINGS = {
    "stale_job_recovery": stale_job_recovery,
    "zombie_recovery": zombie_recovery,
    "sleep_waker": sleep_waker,
    "scheduler": scheduler,
    "wait_timeouts": wait_timeouts,
    "pruner": pruner,
}
SIBLING_SHUTDOWN = 5.0
MANAGER_START_TIMEOUT = 150.0
DASHBOARD_CONNECTIONS = 5
DASHBOARD_START_TIMEOUT = 60.0


def root(
    config: Config,
    dsn: str,
    node_id: str,
    workflows: tuple[Carried, ...],
    *,
    until_idle: bool = False,
) -> SupervisorSpec:
    """Return the root supervisor: queue managers and their siblings.

    With ``until_idle`` also who tells when nothing is left to do.

    The registrar is first in and last out, so that a stopping tree can be seen to stop.
    It never gives up: a PostgreSQL that is away must not burn the tree down.

    Raises:
        ConfigError: A codec cannot be carried to a process.
    """
    flags = SupervisorFlags(
        strategy="one_for_one",
        intensity=config.supervisor.max_restarts,
        period=config.supervisor.max_seconds,
        on_exceeded="backoff",
    )
    title = f"durable-otp[{config.durable.name}]"
    durable = config.durable
    codecs = carry_codecs(durable.codec)
    database = DatabaseSettings(dsn, durable.schema_name, durable.direct_dsn, codecs)
    registrar_child = _registrar(config, database, node_id, title)
    pages = [_dashboard(config, database, title)] if config.dashboard.enabled else []
    watch = [idle_watch_of(config, dsn, node_id)] if until_idle else []
    if not durable.queue_enabled:
        return SupervisorSpec(flags, (registrar_child, *pages))
    managers = (_manager(config, database, node_id, workflows, queue) for queue in config.queues)
    siblings = (_sibling(config, database, title, name) for name in SIBLINGS)
    served = [_metrics(config, database, node_id, title)] if config.metrics.enabled else []
    return SupervisorSpec(flags, (registrar_child, *managers, *siblings, *served, *pages, *watch))


def idle_watch_of(config: Config, dsn: str, node_id: str) -> ChildSpec:
    """Return the child that tells the root when nothing is left for this node to do.

    Raises:
        ConfigError: It cannot be told of such a node.
    """
    durable = config.durable
    if not durable.queue_enabled:
        raise ConfigError(
            "durable.queue_enabled is false, so this node runs nothing that could come to an end; "
            "enable it to run until idle."
        )
    if durable.adapter is not None:
        raise ConfigError(
            "Whether anything is left to do is asked of PostgreSQL, not of durable.adapter "
            f"{durable.adapter!r}; leave it out to run until idle."
        )
    settings = IdleWatchSettings(
        DatabaseSettings(dsn, durable.schema_name, durable.direct_dsn),
        node_id,
        tuple(config.queues),
    )
    return ChildSpec(
        IDLE_WATCH,
        idle_watch,
        args=(f"durable-otp[{durable.name}] {IDLE_WATCH}", settings),
        shutdown=SIBLING_SHUTDOWN,
    )


def manager_id(queue: str) -> str:
    """Return the id that a queue's manager has in the tree."""
    return MANAGER + quote(queue, safe=" ")


def connections(config: Config) -> tuple[int, str]:
    """Return how many connections a node may open at most, and the sum that says why."""
    pages = DASHBOARD_CONNECTIONS if config.dashboard.enabled else 0
    shown = f" + {pages} dashboard" if pages else ""
    if not config.durable.queue_enabled:
        return 1 + pages, f"1 registrar{shown}"
    sizes = [(queue.concurrency, queue.threads) for queue in config.queues.values()]
    siblings = len(SIBLINGS) + 1 + config.metrics.enabled
    count, formula = needed_connections(sizes, siblings=siblings)
    return count + pages, formula + shown


def _manager(
    config: Config,
    database: DatabaseSettings,
    node_id: str,
    workflows: tuple[Carried, ...],
    queue: str,
) -> ChildSpec:
    durable, section = config.durable, config.queues[queue]
    worker = WorkerSettings(
        database=database,
        workflows=workflows,
        max_payload=durable.max_payload,
        max_context=durable.max_context,
        max_log=durable.max_log,
        connection_idle_timeout=durable.connection_idle_timeout,
        node_id=node_id,
        commit=section.commit,
    )
    settings = ManagerSettings(
        database=database,
        worker=worker,
        instance=durable.name,
        node_id=node_id,
        queue=queue,
        concurrency=section.concurrency,
        poll_interval=section.poll_interval,
        heartbeat_interval=durable.heartbeat_interval,
        node_timeout=durable.node_timeout,
        interrupt_grace=durable.interrupt_grace,
        shutdown_timeout=config.supervisor.shutdown_timeout,
        max_interruptions=durable.max_interruptions,
        max_restarts=config.supervisor.max_restarts,
        max_seconds=config.supervisor.max_seconds,
        max_memory=section.max_memory,
        max_executions_per_worker=section.max_executions_per_worker,
        adapter=durable.adapter,
        limits=_limits(section),
        threads=section.threads,
    )
    return ChildSpec(
        manager_id(queue),
        queue_manager,
        args=(settings,),
        type="supervisor",
        shutdown="infinity",
        start_timeout=MANAGER_START_TIMEOUT,
    )


def _limits(section: QueueSection) -> QueueLimits:
    rate = section.rate_limit
    if rate is None:
        return QueueLimits(section.global_concurrency)
    return QueueLimits(section.global_concurrency, rate.count, rate.seconds)


def _sibling(config: Config, database: DatabaseSettings, title: str, name: str) -> ChildSpec:
    section = getattr(config, name)
    settings = SiblingSettings(
        database=database,
        interval=section.interval,
        node_timeout=config.durable.node_timeout,
        stale_lock_timeout=config.durable.stale_lock_timeout,
        max_interruptions=config.durable.max_interruptions,
        batch_size=getattr(section, "batch_size", 1000),
        retention=config.retention.by_status(),
    )
    return ChildSpec(
        name, SIBLINGS[name], args=(f"{title} {name}", settings), shutdown=SIBLING_SHUTDOWN
    )


def _registrar(config: Config, database: DatabaseSettings, node_id: str, title: str) -> ChildSpec:
    settings = RegistrarSettings(
        database=database,
        instance=config.durable.name,
        node_id=node_id,
        node_timeout=config.durable.node_timeout,
    )
    return ChildSpec(
        "registrar", registrar, args=(f"{title} registrar", settings), shutdown=SIBLING_SHUTDOWN
    )


def _metrics(config: Config, database: DatabaseSettings, node_id: str, title: str) -> ChildSpec:
    settings = MetricsSettings(
        database=database,
        node_id=node_id,
        host=config.metrics.host,
        port=config.metrics.port,
    )
    return ChildSpec(
        "metrics", metrics, args=(f"{title} metrics", settings), shutdown=SIBLING_SHUTDOWN
    )


def _dashboard(config: Config, database: DatabaseSettings, title: str) -> ChildSpec:
    return ChildSpec(
        "dashboard",
        dashboard,
        args=(f"{title} dashboard", settings_of(config, database)),
        shutdown=SIBLING_SHUTDOWN,
        start_timeout=DASHBOARD_START_TIMEOUT,
    )
