"""Durable workflows on PostgreSQL, run by a tree of supervised processes.

A workflow is a sequence of steps, each committed once; the runtime is a tree of operating-system
processes in which no death of a worker loses, stalls or repeats committed work::

    from durable_otp import Durable, Runtime, Workflow

    hello = Workflow("hello")

    @hello.step
    def greet(ctx):
        return {"greeting": f"Hello, {ctx.input['name']}!"}
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "async_client": (
        "AsyncDurable",
        "AsyncHandle",
    ),
    "client": (
        "Durable",
        "Handle",
    ),
    "durations": (
        "days",
        "hours",
        "minutes",
        "seconds",
    ),
    "errors": (
        "AlreadyFinished",
        "ChildFailed",
        "ClaimLost",
        "CodecError",
        "CommandFailed",
        "CommandTimeout",
        "ConfigError",
        "DatabaseUnreachable",
        "DefinitionError",
        "DurableError",
        "EmbeddedServerError",
        "ExecutionNotFound",
        "Fatal",
        "InputRejected",
        "InvalidInput",
        "MigrationError",
        "NodeNotFound",
        "NoPendingInput",
        "NotForkable",
        "NotPermitted",
        "NotInStepError",
        "NotRetryable",
        "NotUnique",
        "ParentFinished",
        "ProcessNotFound",
        "ResultTimeout",
        "ScheduleError",
        "ScheduleExists",
        "ScheduleNotFound",
        "SerializationError",
        "StepInterrupted",
        "WaitTimeout",
        "WorkflowFailed",
        "WorkflowNotFound",
    ),
    "runtime.runtime": ("Runtime",),
    "storage.adapter": (
        "PostgresAdapter",
        "QueueAdapter",
        "default_adapter",
    ),
    "storage.codec": ("Codec",),
    "storage.nodes": ("Node",),
    "storage.processes": ("Process",),
    "workflow.builder": ("Workflow",),
    "workflow.business_time": (
        "end_of_day",
        "next_business_day",
        "next_weekday",
    ),
    "workflow.context": ("Context",),
    "workflow.current": (
        "context",
        "current_step",
        "execution_id",
        "get_context",
        "input",
        "progress",
        "parallel_result",
        "parallel_results",
        "put_context",
    ),
    "workflow.execution": (
        "Execution",
        "Job",
        "QueueStats",
        "Settled",
        "StateMove",
        "StepExecution",
    ),
    "workflow.goto": ("goto",),
    "workflow.human_input": ("PendingInput",),
    "workflow.mailbox": (
        "Event",
        "PendingEvent",
    ),
    "workflow.orchestration": (
        "call_workflow",
        "start_workflow",
    ),
    "workflow.results": (
        "Err",
        "Ok",
    ),
    "workflow.retry": ("Retry",),
    "workflow.schedule": ("Schedule",),
    "workflow.wait": (
        "once",
        "schedule_at",
        "sleep",
        "wait_for_all",
        "wait_for_any",
        "wait_for_approval",
        "wait_for_choice",
        "wait_for_event",
        "wait_for_form",
        "wait_for_input",
        "wait_for_text",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [
    "AlreadyFinished",
    "AsyncDurable",
    "AsyncHandle",
    "ChildFailed",
    "ClaimLost",
    "Codec",
    "CodecError",
    "CommandFailed",
    "CommandTimeout",
    "ConfigError",
    "Context",
    "DatabaseUnreachable",
    "DefinitionError",
    "Durable",
    "DurableError",
    "EmbeddedServerError",
    "Err",
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
    "Node",
    "NodeNotFound",
    "NotForkable",
    "NotInStepError",
    "NotPermitted",
    "NotRetryable",
    "NotUnique",
    "Ok",
    "ParentFinished",
    "PendingEvent",
    "PendingInput",
    "PostgresAdapter",
    "Process",
    "ProcessNotFound",
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
    "call_workflow",
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
    "parallel_result",
    "parallel_results",
    "progress",
    "put_context",
    "schedule_at",
    "seconds",
    "sleep",
    "start_workflow",
    "wait_for_all",
    "wait_for_any",
    "wait_for_approval",
    "wait_for_choice",
    "wait_for_event",
    "wait_for_form",
    "wait_for_input",
    "wait_for_text",
]


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for: a command or a child needs a part."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
