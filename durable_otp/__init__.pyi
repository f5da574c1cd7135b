# What a type checker sees of __init__.py, which imports each name only when it is asked for.
from durable_otp.async_client import AsyncDurable, AsyncHandle
from durable_otp.client import Durable, Handle
from durable_otp.durations import days, hours, minutes, seconds
from durable_otp.errors import (
    AlreadyFinished,
    ClaimLost,
    ConfigError,
    DatabaseUnreachable,
    DefinitionError,
    DurableError,
    EmbeddedServerError,
    ExecutionNotFound,
    Fatal,
    InvalidInput,
    MigrationError,
    NotInStepError,
    ResultTimeout,
    ScheduleError,
    ScheduleExists,
    ScheduleNotFound,
    SerializationError,
    StepInterrupted,
    WorkflowFailed,
    WorkflowNotFound,
)
from durable_otp.runtime.runtime import Runtime
from durable_otp.storage.adapter import PostgresAdapter, QueueAdapter, default_adapter
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.business_time import end_of_day, next_business_day, next_weekday
from durable_otp.workflow.context import Context
from durable_otp.workflow.current import (
    context,
    current_step,
    execution_id,
    get_context,
    input,  # noqa: A004 - the contract's name
    progress,
    put_context,
)
from durable_otp.workflow.execution import (
    Execution,
    Job,
    QueueStats,
    Settled,
    StateMove,
    StepExecution,
)
from durable_otp.workflow.goto import goto
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.schedule import Schedule
from durable_otp.workflow.wait import schedule_at, sleep

__version__: str

__all__ = [
    "AlreadyFinished",
    "AsyncDurable",
    "AsyncHandle",
    "ClaimLost",
    "ConfigError",
    "Context",
    "DatabaseUnreachable",
    "DefinitionError",
    "Durable",
    "DurableError",
    "EmbeddedServerError",
    "Execution",
    "ExecutionNotFound",
    "Fatal",
    "Handle",
    "InvalidInput",
    "Job",
    "MigrationError",
    "NotInStepError",
    "PostgresAdapter",
    "QueueAdapter",
    "QueueStats",
    "ResultTimeout",
    "Retry",
    "Runtime",
    "Schedule",
    "ScheduleError",
    "ScheduleExists",
    "ScheduleNotFound",
    "SerializationError",
    "Settled",
    "StateMove",
    "StepExecution",
    "StepInterrupted",
    "Workflow",
    "WorkflowFailed",
    "WorkflowNotFound",
    "context",
    "current_step",
    "days",
    "default_adapter",
    "end_of_day",
    "execution_id",
    "get_context",
    "goto",
    "hours",
    "input",
    "minutes",
    "next_business_day",
    "next_weekday",
    "progress",
    "put_context",
    "schedule_at",
    "seconds",
    "sleep",
]
