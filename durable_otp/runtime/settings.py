"""What each kind of process needs to know: plain values, made from the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from durable_otp.runtime.carried import Carried
from durable_otp.storage.limits import QueueLimits


@dataclass(frozen=True)
class DatabaseSettings:
    """Where the work is kept. A DSN may hold a password and is never shown."""

    dsn: str = field(repr=False)
    schema: str
    direct_dsn: str | None = field(default=None, repr=False)
    """Leads to PostgreSQL itself where ``dsn`` leads to a pooler."""
    codecs: tuple[Carried, ...] = field(default=(), repr=False)
    """What payloads are encoded and decoded with; may hold keys and is never shown."""

    @property
    def listening_dsn(self) -> str:
        """The DSN of those who hear notifications."""
        return self.direct_dsn or self.dsn


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker runs, and within which limits; sizes in bytes, times in seconds."""

    database: DatabaseSettings
    workflows: tuple[Carried, ...]
    max_payload: int
    max_context: int
    max_log: int
    connection_idle_timeout: float
    node_id: str = ""
    commit: str = "each"
    """"each": a worker commits every step; "batched": its manager commits some at a time."""


@dataclass(frozen=True)
class ManagerSettings:
    """How a queue is run; times in seconds, sizes in bytes."""

    database: DatabaseSettings
    worker: WorkerSettings
    instance: str
    node_id: str
    queue: str
    concurrency: int
    poll_interval: float
    heartbeat_interval: float
    node_timeout: float
    interrupt_grace: float
    shutdown_timeout: float
    max_interruptions: int
    max_restarts: int
    max_seconds: float
    max_memory: int | None
    max_executions_per_worker: int | None
    adapter: str | None
    limits: QueueLimits = field(default_factory=QueueLimits)
    """What the configuration says of all nodes together."""
    threads: int = 1
    """So many executions share a worker process."""

    @property
    def title(self) -> str:
        """How this instance's processes begin their titles."""
        return f"durable-otp[{self.instance}]"


@dataclass(frozen=True)
class SiblingSettings:
    """What a recurring process works with; times in seconds."""

    database: DatabaseSettings
    interval: float
    node_timeout: float
    stale_lock_timeout: float
    max_interruptions: int
    batch_size: int = 100
    adapter: str | None = None
    retention: Mapping[str, float] = field(default_factory=dict)
    """Seconds that ended executions are kept, by status; the others for ever."""


@dataclass(frozen=True)
class RegistrarSettings:
    """What the registrar publishes, and under which name."""

    database: DatabaseSettings
    instance: str
    node_id: str
    node_timeout: float


@dataclass(frozen=True)
class IdleWatchSettings:
    """Of which node, and of which of its queues, it is to be told that nothing is left to do."""

    database: DatabaseSettings
    node_id: str
    queues: tuple[str, ...]


@dataclass(frozen=True)
class MetricsSettings:
    """Where metrics are served, and of which node."""

    database: DatabaseSettings
    node_id: str
    host: str
    port: int


@dataclass(frozen=True)
class DashboardSettings:
    """Where pages are served, to whom, and what they know; times in seconds, sizes in bytes."""

    database: DatabaseSettings
    host: str
    port: int
    operators: Mapping[str, str] = field(default_factory=dict, repr=False)
    viewers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    read_only: bool = False
    hosts: tuple[str, ...] = ()
    node_timeout: float = 15.0
    stale_lock_timeout: float = 300.0
    max_payload: int = 1024**2
    shown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The configuration without anything secret."""

    @property
    def has_credentials(self) -> bool:
        """Whether anybody has to prove who they are."""
        return bool(self.operators or self.viewers or self.token)
