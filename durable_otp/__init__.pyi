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
    InputRejected,
    InvalidInput,
    MigrationError,
    NoPendingInput,
    NotInStepError,
    ResultTimeout,
    ScheduleError,
    ScheduleExists,
    ScheduleNotFound,
    SerializationError,
    StepInterrupted,
    WaitTimeout,
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
from durable_otp.workflow.human_input import PendingInput
from durable_otp.workflow.mailbox import Event, PendingEvent
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.schedule import Schedule
from durable_otp.workflow.wait import (
    once,
    schedule_at,
    sleep,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_choice,
    wait_for_event,
    wait_for_form,
    wait_for_input,
    wait_for_text,
)

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
    "Event",
    "Execution",
    "ExecutionNotFound",
    "Fatal",
    "Handle",
    "InputRejected",
    "InvalidInput",
    "Job",
    "MigrationError",
    "NoPendingInput",
    "NotInStepError",
    "PendingEvent",
    "PendingInput",
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
    "WaitTimeout",
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
    "once",
    "progress",
    "put_context",
    "schedule_at",
    "seconds",
    "sleep",
    "wait_for_all",
    "wait_for_any",
    "wait_for_approval",
    "wait_for_choice",
    "wait_for_event",
    "wait_for_form",
    "wait_for_input",
    "wait_for_text",
]
