# What a type checker sees of __init__.py, which imports each name only when it is asked for.
from durable_otp.otp import loop, process
from durable_otp.otp.calls import ChildCounts, ChildInfo, SupervisorEvent
from durable_otp.otp.channel import AsyncParentLink
from durable_otp.otp.child_spec import (
    ChildSpec,
    DynamicSupervisorSpec,
    SupervisorFlags,
    SupervisorSpec,
)
from durable_otp.otp.dynamic import DynamicSupervisor
from durable_otp.otp.errors import (
    AlreadyPresent,
    AlreadyStarted,
    InvalidSpec,
    MaxChildren,
    NoProcess,
    NotFound,
    NotSupported,
    Restarting,
    Running,
    StartFailed,
    SupervisorError,
)
from durable_otp.otp.exit_reason import (
    ExitReason,
    Failed,
    Killed,
    Normal,
    Shutdown,
    StartFailure,
)
from durable_otp.otp.host import Supervisor, SupervisorHandle
from durable_otp.otp.link import Ignore, InitError, Message, ParentLink
from durable_otp.otp.process import Child
from durable_otp.otp.restart import RestartBackoff
from durable_otp.otp.root import Root, RootHooks, run_root

__all__ = [
    "AlreadyPresent",
    "AlreadyStarted",
    "AsyncParentLink",
    "Child",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "DynamicSupervisor",
    "DynamicSupervisorSpec",
    "ExitReason",
    "Failed",
    "Ignore",
    "InitError",
    "InvalidSpec",
    "Killed",
    "MaxChildren",
    "Message",
    "NoProcess",
    "Normal",
    "NotFound",
    "NotSupported",
    "ParentLink",
    "RestartBackoff",
    "Restarting",
    "Root",
    "RootHooks",
    "Running",
    "Shutdown",
    "StartFailed",
    "StartFailure",
    "Supervisor",
    "SupervisorError",
    "SupervisorEvent",
    "SupervisorFlags",
    "SupervisorHandle",
    "SupervisorSpec",
    "loop",
    "process",
    "run_root",
]
