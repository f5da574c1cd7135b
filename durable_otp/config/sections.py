"""Every section and key of a configuration, with its default and its meaning.

The classes are the reference: ``docs/configuration.md`` is written from them.
"""

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from durable_otp.config.dashboard import DashboardSection, has_credentials, is_loopback
from durable_otp.config.quantities import (
    Duration,
    JsonSize,
    PositiveDuration,
    RateLimit,
    Shown,
    Size,
    in_short,
    show_duration,
)

HEARTBEATS_PER_LOCK = 3  # so many must fit in stale_lock_timeout, or one slow beat costs the claim
_ROUNDING = 1e-9  # 0.3 / 0.1 is a little less than 3
_DEFAULT_HEARTBEAT = 30.0
_DERIVED_HEARTBEATS_PER_LOCK = 10
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_ADAPTER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_LONGEST_NAME = 100
MOST_THREADS = 256
LARGEST_COUNT = 2**31 - 1  # what PostgreSQL's integer holds


def check_schema(value: str) -> str:
    """Return a schema's name that needs no quotes in SQL."""
    if _SCHEMA.fullmatch(value) is None:
        raise ValueError(
            "must be 1 to 48 small letters, digits or underscores, not beginning with a digit, "
            f"not {in_short(value)}"
        )
    return value


def check_printable(value: str) -> str:
    """Return a name that can be shown on one line."""
    if not 1 <= len(value) <= _LONGEST_NAME or not value.isprintable():
        raise ValueError(f"must be 1 to {_LONGEST_NAME} printable characters, not {value[:120]!r}")
    return value


def _check_dsn(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty; leave the key out for an embedded PostgreSQL")
    return value


def _check_adapter(value: str) -> str:
    if _ADAPTER.fullmatch(value) is None:
        raise ValueError(f'must be "module:attribute", not {in_short(value)}')
    return value


def _check_workflows(value: Any) -> tuple[Any, ...]:
    """Accept module names, and in Python ``Workflow`` objects, which this layer does not know."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of module names, not {in_short(value)}")  # noqa: TRY004 - pydantic's
    for item in value:
        is_name = isinstance(item, str) and item.strip() != ""
        if not (is_name or callable(getattr(item, "definition", None))):
            raise ValueError(f"must hold module names, not {in_short(item)}")
    return tuple(value)


def _check_codec(value: Any) -> tuple[Any, ...] | None:
    """Accept names, and in Python codecs, which this layer does not know; of several the first."""
    if value is None:
        return None
    for item in (items := value if isinstance(value, list | tuple) else [value]):
        is_name = isinstance(item, str) and (item == "plain" or _ADAPTER.fullmatch(item))
        is_codec = all(hasattr(item, part) for part in ("name", "encode", "decode"))
        if not (is_name or (is_codec and not isinstance(item, str | bytes))):
            raise ValueError(f'must be "module:attribute" or a list of such, not {in_short(item)}')
    return tuple(items)


Workflows = Annotated[
    tuple[Any, ...], BeforeValidator(_check_workflows), Shown("list of modules", "")
]
Fault: TypeAlias = tuple[tuple[str, ...], str]  # the path of a key, and what is wrong with it
Count = Annotated[StrictInt, Field(ge=1, le=LARGEST_COUNT)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DurableSection(_Section):
    """What holds for the whole node."""

    dsn: Annotated[StrictStr, AfterValidator(_check_dsn)] | None = Field(
        None,
        repr=False,
        description="The database; else the `DURABLE_DSN` environment variable; "
        "neither: a private embedded PostgreSQL under `.durable-otp/`.",
    )
    direct_dsn: Annotated[StrictStr, AfterValidator(_check_dsn)] | None = Field(
        None,
        repr=False,
        description="Where `dsn` leads to a pooler of transactions such as PgBouncer: a way to "
        "PostgreSQL itself, for those who LISTEN; without it they only poll.",
    )
    schema_name: Annotated[StrictStr, AfterValidator(check_schema)] = Field(
        "durable", alias="schema", description="The PostgreSQL schema of every table."
    )
    name: Annotated[StrictStr, AfterValidator(check_printable)] = Field(
        "durable", description="The instance's name, shown in process titles."
    )
    workflows: Workflows = Field(
        (),
        description="Modules to import (`package.module` or `module:attribute`); "
        "every `Workflow` in them is registered.",
    )
    stale_lock_timeout: PositiveDuration = Field(
        300.0, description="A claim not refreshed for this long goes back to its queue."
    )
    heartbeat_interval: PositiveDuration = Field(
        _DEFAULT_HEARTBEAT,
        description="How often claims are refreshed; at most a third of `stale_lock_timeout`, "
        "and a tenth of it by default where that is less.",
    )
    node_timeout: PositiveDuration = Field(
        15.0, description="A node silent for this long is dead: its claims go back."
    )
    queue_enabled: StrictBool = Field(
        default=True, description="False: no queue managers and no siblings on this node."
    )
    max_payload: JsonSize = Field(1024**2, description="The most JSON one value may have.")
    max_context: JsonSize = Field(16 * 1024**2, description="The most JSON a context may have.")
    max_log: JsonSize = Field(64 * 1024, description="Output kept of one attempt of a step.")
    max_interruptions: Count = Field(
        20, description="How often a claim may be lost with its manager or node; the last is final."
    )
    interrupt_grace: Duration = Field(
        1.0, description="What the `finally` blocks of an interrupted step have before SIGKILL."
    )
    connection_idle_timeout: PositiveDuration = Field(
        300.0, description="An idle worker closes its database connection after this long."
    )
    preload: StrictBool = Field(
        default=False, description="Import the workflow modules in the root, before forking."
    )
    allow_threads_at_fork: StrictBool = Field(
        default=False, description="Let `preload` leave threads running in the root."
    )
    log_format: Literal["text", "json"] = Field("text", description="The form of log lines.")
    adapter: Annotated[StrictStr, AfterValidator(_check_adapter)] | None = Field(
        None, description="Another queue adapter, as `module:attribute`."
    )

    codec: Annotated[
        tuple[Any, ...] | None,
        BeforeValidator(_check_codec),
        Shown("text or list of texts", "none"),
    ] = Field(
        None,
        repr=False,
        description="What encodes payloads before they are stored, as `module:attribute`; of "
        "several, the first encodes and all decode. See [Encryption](encryption.md).",
    )

    @model_validator(mode="after")
    def _fit_the_heartbeat(self) -> Self:
        if "heartbeat_interval" not in self.model_fields_set:
            fitting = self.stale_lock_timeout / _DERIVED_HEARTBEATS_PER_LOCK
            interval = min(_DEFAULT_HEARTBEAT, fitting)
            object.__setattr__(self, "heartbeat_interval", interval)  # frozen only afterwards
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """The workflows that are given as modules to import, not as objects."""
        return tuple(item for item in self.workflows if isinstance(item, str))


class QueueSection(_Section):
    """One queue of this node."""

    concurrency: Count = Field(
        10,
        description="Executions in flight: so many worker processes, unless `threads` is above 1.",
    )
    poll_interval: PositiveDuration = Field(
        1.0,
        description="How often to look for work, at least every 5 minutes; new work arrives by "
        "NOTIFY before that.",
    )
    max_memory: Size | None = Field(
        None, description="A worker above this is replaced between two executions."
    )
    max_executions_per_worker: Count | None = Field(
        None, description="A worker is replaced after so many executions."
    )
    commit: Literal["each", "batched"] = Field(
        "each",
        description='`"each"`: every step is committed before the next begins. `"batched"`: '
        "finished steps of all workers are committed together every few milliseconds; the last "
        "ones run again when the queue's manager or PostgreSQL dies, not when a worker does.",
    )
    global_concurrency: Count | None = Field(
        None, description="Executions in flight on all nodes together."
    )
    rate_limit: RateLimit | None = Field(
        None,
        description='How often all nodes together may claim one, such as `"100/1m"`: a bucket of '
        "so many that refills evenly.",
    )
    threads: Annotated[StrictInt, Field(ge=1, le=MOST_THREADS)] = Field(
        1,
        description="Executions that share a worker process, and its fate, each in a thread of "
        "its own; above 1 there are so many times fewer processes.",
    )


class MetricsSection(_Section):
    """A process that serves ``/metrics``, ``/healthz`` and ``/readyz``."""

    enabled: StrictBool = Field(default=False, description="Whether the tree serves them.")
    host: StrictStr = Field(
        "127.0.0.1",
        description="The address to listen at; there is no password, so keep it inside.",
    )
    port: Annotated[StrictInt, Field(ge=0, le=65535)] = Field(
        9464, description="The port to listen at; 0: any that is free."
    )


class SupervisorSection(_Section):
    """How much failure the tree bears."""

    max_restarts: Annotated[StrictInt, Field(ge=0, le=LARGEST_COUNT)] = Field(
        3, description="Restarts of children within `max_seconds` before the supervisor gives up."
    )
    max_seconds: PositiveDuration = Field(5.0, description="The period of `max_restarts`.")
    shutdown_timeout: Duration = Field(
        30.0, description="What running steps have to finish in when the tree stops."
    )


class SiblingSection(_Section):
    """A periodic process beside the queues."""

    interval: PositiveDuration = Field(60.0, description="How often it looks.")


class SleepWakerSection(_Section):
    """The process that wakes elapsed sleeps."""

    interval: PositiveDuration = Field(1.0, description="How often it looks.")
    batch_size: Count = Field(
        100, description="The most it wakes at once; a full batch is followed by the next at once."
    )


class SchedulerSection(_Section):
    """The process that starts what is scheduled."""

    interval: PositiveDuration = Field(
        1.0, description="How often it looks; a slot's time and a changed schedule end the wait."
    )


class WaitTimeoutsSection(_Section):
    """The process that ends waits whose time is over."""

    interval: PositiveDuration = Field(1.0, description="How often it looks.")


class RetentionSection(_Section):
    """How long ended executions are kept, by status; for ever where nothing is said."""

    completed: PositiveDuration | None = Field(
        None, description="Removed so long after they completed, with their children."
    )
    failed: PositiveDuration | None = Field(None, description="The same for what failed.")
    cancelled: PositiveDuration | None = Field(None, description="The same for what was cancelled.")
    compensated: PositiveDuration | None = Field(None, description="The same for what was undone.")
    compensation_failed: PositiveDuration | None = Field(
        None, description="The same for what could not be undone."
    )

    def by_status(self) -> dict[str, float]:
        """Return the seconds by status, of those that are not kept for ever."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: seconds for name, seconds in kept.items() if seconds is not None}


QueueName = Annotated[StrictStr, AfterValidator(check_printable)]


class Config(_Section):
    """The whole configuration of a node."""

    durable: DurableSection = Field(default_factory=DurableSection)
    queues: dict[QueueName, QueueSection] = Field(
        default_factory=lambda: {"default": QueueSection()}
    )
    dashboard: DashboardSection = Field(default_factory=DashboardSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    supervisor: SupervisorSection = Field(default_factory=SupervisorSection)
    stale_job_recovery: SiblingSection = Field(default_factory=SiblingSection)
    zombie_recovery: SiblingSection = Field(default_factory=SiblingSection)
    sleep_waker: SleepWakerSection = Field(default_factory=SleepWakerSection)
    scheduler: SchedulerSection = Field(default_factory=SchedulerSection)
    wait_timeouts: WaitTimeoutsSection = Field(default_factory=WaitTimeoutsSection)
    pruner: SiblingSection = Field(default_factory=SiblingSection)
    retention: RetentionSection = Field(default_factory=RetentionSection)


def contradiction(config: Config) -> Fault | None:
    """Return the key that does not fit another and why, or None if all fit."""
    durable = config.durable
    beats = durable.stale_lock_timeout / durable.heartbeat_interval
    if beats < HEARTBEATS_PER_LOCK - _ROUNDING:
        return ("durable", "heartbeat_interval"), (
            f"is {show_duration(durable.heartbeat_interval)}, more than a third of "
            f"stale_lock_timeout ({show_duration(durable.stale_lock_timeout)}), so a claim would "
            "go stale while its worker lives"
        )
    if durable.direct_dsn is not None and durable.dsn is None:
        return ("durable", "direct_dsn"), (
            "is set without dsn; set dsn to the pooler, or leave direct_dsn out"
        )
    pages = config.dashboard
    if not is_loopback(pages.host) and not has_credentials(pages):
        return ("dashboard", "host"), (
            f"is {pages.host!r}, which other machines can reach; give operators, viewers or a "
            "token, or leave it at 127.0.0.1"
        )
    if not config.queues:
        return ("queues",), "is empty; name a queue, or leave the section out for the default one"
    return None
