"""Supervision as Erlang's, over operating-system processes: how to keep a program alive.

**Let it crash.** Code that must not stop usually tries to foresee what can go wrong, and what it
did not foresee stops it. Erlang's answer is forty years old: do not repair a process that is in a
state nobody foresaw; let it die, and have somebody else start it again from a state that is known
to be good. That somebody is a *supervisor*. It does nothing but start its children in order,
notice at once when one ends, decide, and stop them in reverse order. Since it does no work it has
no reason to crash; since the work is in processes, whatever happens to one of them (an exception,
a segmentation fault, the out-of-memory killer, a C call that never returns) happens to it alone::

    root                     a supervisor: supervises, nothing else
    |- feed                  a worker
    `- mill                  a supervisor with a policy of its own
       |- grinder 1          a worker
       `- grinder 2          a worker

**A child** is described by a `ChildSpec`: an ``id``, a function ``start(parent, *args)`` that is
its whole program, and what to do when it ends. It calls ``parent.ready()`` when it is started;
the next child is not started before. Then it works, and waits in ``parent.receive()`` only, which
ends for a message, for a signal, and when there is nobody left to work for. ``parent.stopping``
tells that it should return. Nested supervisors are children too, whose ``start`` is a
`SupervisorSpec`.

**How did it end?** Clean ends are a return, SIGTERM (somebody asked), and ``parent.exit()``. All
else is an error: an exception, an exit code, SIGKILL, any other signal (``exit_reason``). A child
that ends before it was ready has failed to start, which stops the start of its whole supervisor;
it may also say why (`InitError`), or that there is nothing for it to do (`Ignore`).

**Does it come back?** That depends on its ``restart``:

    ==========  =======================  ===================  =====================
    restart     clean end                error                told to by the API
    ==========  =======================  ===================  =====================
    permanent   restarted                restarted            kept, not running
    transient   kept, not running (*)    restarted            kept, not running
    temporary   forgotten (*)            forgotten (*)        forgotten
    ==========  =======================  ===================  =====================

    (*) if it is ``significant``, ``auto_shutdown`` may end its supervisor: with the first such
        child (``any_significant``) or with the last (``all_significant``)

**Who comes back with it?** That depends on the supervisor's ``strategy``. The others of the group
are stopped in reverse order and all are started in order, those included that were not running;
temporary ones are not:

    ==============  ===================================  =======================================
    strategy        restarted                            for children that
    ==============  ===================================  =======================================
    one_for_one     the one that ended                   do not know each other
    rest_for_one    it, and those started after it       build on those before them
    one_for_all     all of them                          are nothing without each other
    ==============  ===================================  =======================================

**And if that does not help?** More than ``intensity`` restarts within ``period`` seconds, of all
children together and failed attempts included, mean that a fresh start is not the cure. The
supervisor stops its children and ends, with reason ``shutdown``, so that *its* supervisor
restarts the whole subtree from further back, with a clean slate: escalation. Since ``shutdown``
is a clean end, let every nested supervisor be permanent. A root has nobody above it: it ends too,
or goes on ever more slowly (``on_exceeded="backoff"``), which is right when what is missing comes
back by itself, as a database does.

**How are they stopped?** In reverse order, each to its end before the next: SIGTERM, ``shutdown``
seconds, SIGKILL to the whole process group. ``"brutal_kill"`` skips the asking, ``"infinity"``
waits as long as it takes, which suits supervisors.

**Many of a kind** live under a `DynamicSupervisor`: one template, children started at run time
with ``start_child(*arguments)``, in no order and without fixed ids; stopped all at once.

What differs from Erlang, because these are processes of an operating system:

* A child can hang where no exception reaches it. ``start_timeout`` bounds its start; with
  ``watchdog`` a silent child is made to write its stack to standard error, and killed.
* A start is an order of magnitude dearer, so a ``RestartBackoff`` may slow one child down.
* A killed supervisor cannot stop its children. They die with it (PDEATHSIG, and the end of their
  link), and its replacement is not started before all are gone; Erlang does not wait for that.
* What a worker's own code starts dies with the worker: its process group is killed before it is
  reaped, and who hid in another session is adopted by the nearest supervisor, and killed.
* SIGTERM from anybody is a shutdown. A stop interrupts a start that is in progress.
* The root dies with its host, the process that called ``Supervisor.start``, however that ends;
  and it touches nothing of it: no signal handler, no child, no thread but one that listens.
* Every ``{error, _}`` is an exception of the same name; seconds are floats.

Everything that happens is told to ``on_event``, in order, numbered: started, start_failed,
start_ignored, stopped, restarting, hung, gave_up, orphan. docs/supervision.md has an example to
run.

The pieces, from the bottom: ``exit_reason``, ``restart`` and ``child_spec`` decide without a
process; ``link`` and ``channel`` are how processes speak; ``birth``, ``process``, ``watchdog`` and
``stacks`` are one child's life; ``orphans`` buries; ``records`` and ``supervisor``, and
``dynamic``, are the two kinds of supervisor, in an event loop; ``loop`` and ``server`` make a
process of one; ``root``, ``boot`` and ``host`` are the top of the tree. Apart from it: ``program``
runs other people's programs.
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
