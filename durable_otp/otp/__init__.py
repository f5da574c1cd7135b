"""Supervision as Erlang's, over operating-system processes.

A program that must not stop is a tree. Its leaves are *workers*: processes that do the work and may
crash. Everything else is a *supervisor*: a process that does nothing but start its children in
order, notice at once when one ends, decide, and stop them in reverse order. Because a supervisor
does no work, it has no reason to crash; because a worker is a process, whatever happens to it (an
exception, a segmentation fault, the out-of-memory killer, a C call that never returns) happens to
it alone, and its supervisor can always end it.

What a supervisor decides depends on the child's ``restart`` and on how it ended. Clean ends are a
return, an exit on SIGTERM and an announced shutdown; all else, SIGKILL included, is an error:

    restart      clean end                          error
    permanent    restart                            restart
    transient    kept, not running; then auto (1)   restart
    temporary    forgotten; then auto (1)           forgotten; then auto (1)

    (1) auto_shutdown: if the child was significant, the supervisor may end with it

What is restarted with it depends on the ``strategy``: the child alone (``one_for_one``), all
children (``one_for_all``), or those started after it as well (``rest_for_one``). More than
``intensity`` restarts within ``period`` seconds mean that restarting does not help: the supervisor
stops its children and ends with ``shutdown``, so that *its* supervisor decides, with a clean slate
one level higher. That is a clean end: let every nested supervisor be permanent. A root has nobody
above it, and may slow down instead (``on_exceeded="backoff"``).

Nothing outlives the tree. A child dies with its supervisor (PDEATHSIG, and the end of its link);
what a worker's code started dies with the worker (its process group; and what hid from that is
adopted by the nearest supervisor, and killed); the root dies with its host, or obeys SIGTERM.

The pieces, from the bottom: ``exit_reason``, ``restart`` and ``child_spec`` decide without a
process; ``link`` and ``channel`` are how processes speak; ``birth`` and ``process`` are one
child's life; ``orphans`` buries; ``supervisor`` and ``dynamic`` are the two kinds of supervisor,
in an event loop; ``loop`` and ``server`` make a process of one; ``root``, ``boot`` and ``host``
are the top of the tree.
"""

from importlib import import_module
from typing import Any

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

_HOMES = {
    "calls": (
        "ChildCounts",
        "ChildInfo",
        "SupervisorEvent",
    ),
    "channel": ("AsyncParentLink",),
    "child_spec": (
        "ChildSpec",
        "DynamicSupervisorSpec",
        "SupervisorFlags",
        "SupervisorSpec",
    ),
    "dynamic": ("DynamicSupervisor",),
    "errors": (
        "AlreadyPresent",
        "AlreadyStarted",
        "InvalidSpec",
        "MaxChildren",
        "NoProcess",
        "NotFound",
        "NotSupported",
        "Restarting",
        "Running",
        "StartFailed",
        "SupervisorError",
    ),
    "exit_reason": (
        "ExitReason",
        "Failed",
        "Killed",
        "Normal",
        "Shutdown",
        "StartFailure",
    ),
    "host": (
        "Supervisor",
        "SupervisorHandle",
    ),
    "link": (
        "Ignore",
        "InitError",
        "Message",
        "ParentLink",
    ),
    "process": ("Child",),
    "restart": ("RestartBackoff",),
    "root": (
        "Root",
        "RootHooks",
        "run_root",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for: a small program needs a small part."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOME.get(name, name)}")
    value = getattr(home, name) if name in _HOME else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
