"""What operators order single processes to do, on whatever node they are.

An order is a command that the process's own node carries out, and only if it is the process that
was meant; whoever ordered waits for the answer.
"""

from datetime import timedelta
from threading import Event
from typing import Protocol

from durable_otp.client.finding import find_process
from durable_otp.client.waiting_for import LONGEST_PAUSE, holds_within
from durable_otp.clock import Deadline
from durable_otp.durations import in_seconds
from durable_otp.errors import CommandFailed, CommandTimeout, NodeNotFound, ProcessNotFound
from durable_otp.storage import commands, nodes
from durable_otp.storage.commands import Status, Verb
from durable_otp.storage.identity import new_id
from durable_otp.storage.nodes import Node
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.processes import Process

WATCHED_SECONDS = 5.0
COMMAND_SECONDS = 60.0
STACKS_SECONDS = 15.0
SETTLED = ("up", "down")
OUT_OF_DATE_SECONDS = 1.0
"""What is published is never older, as long as its node reaches the database."""


class _WithDatabase(Protocol):
    """The client that these methods are mixed into."""

    _database: PooledDatabase


class ProcessControl:
    """Methods of ``Durable`` for nodes and their processes."""

    def nodes(self: _WithDatabase, *, watch: bool = False) -> list[Node]:
        """Return the nodes that live, each with its tree as it was at most a second ago.

        CPU and memory in it are as old as the node's last beat (a third of its ``node_timeout``).

        Args:
            watch: Have them measured every second for the next 5 s; ask again to go on.
        """
        if watch:
            self._database.run(nodes.watch_nodes, WATCHED_SECONDS)
        return self._database.run(nodes.live_nodes)

    def restart_process(
        self: _WithDatabase,
        process: Process | str | int,
        *,
        node: str | None = None,
        timeout: timedelta | float = COMMAND_SECONDS,
    ) -> str:
        """Have a process end in order and started again; return what became of it. Blocks.

        A worker finishes its step, and its execution goes on elsewhere, uncounted; what is not
        finished after ``shutdown_timeout`` is killed. A queue manager has all its workers do so.

        Args:
            process: Its name (``"sleep_waker"``, ``"queue default"`` or ``"default"``,
                ``"default/3"`` for a worker), its pid, or a ``Process`` of ``nodes()``: then it is
                certain that no other is restarted in its place.
            node: The beginning of the id of the node that it belongs to.
            timeout: How long to wait for the answer.

        Raises:
            ProcessNotFound: There is none, or it has ended meanwhile.
            NotUnique: Several processes or nodes may be meant.
            NodeNotFound: Its node does not live.
            CommandFailed: It was refused or failed, or its node has died meanwhile.
            CommandTimeout: There is no answer yet.
        """
        return _order(self._database, Verb.RESTART, process, node, timeout)

    def stop_process(
        self: _WithDatabase,
        process: Process | str | int,
        *,
        node: str | None = None,
        timeout: timedelta | float = COMMAND_SECONDS,
    ) -> str:
        """Have a process end in order; see ``restart_process``.

        ``"root"`` stops the whole node. A queue manager, or a process beside them, stays stopped
        until it is restarted. A worker is replaced: how many there are is for ``scale_queue``.
        """
        return _order(self._database, Verb.STOP, process, node, timeout)

    def kill_process(
        self: _WithDatabase,
        process: Process | str | int,
        *,
        node: str | None = None,
        timeout: timedelta | float = COMMAND_SECONDS,
    ) -> str:
        """Have a process killed (SIGKILL); its supervisor starts another. See ``restart_process``.

        An execution that a killed worker ran counts a crash, and runs again at once.
        """
        return _order(self._database, Verb.KILL, process, node, timeout)

    def dump_stacks(
        self: _WithDatabase,
        process: Process | str | int,
        *,
        node: str | None = None,
        timeout: timedelta | float = STACKS_SECONDS,
    ) -> str:
        """Return the stacks of all threads of a process, also of one that hangs.

        See ``restart_process``. The process is not disturbed; it gets a SIGUSR2.
        """
        return _order(self._database, Verb.STACKS, process, node, timeout)


def _order(
    database: PooledDatabase,
    verb: Verb,
    process: Process | str | int,
    node: str | None,
    timeout: timedelta | float,
) -> str:
    limit = Deadline(in_seconds(timeout, what="timeout"))
    if isinstance(process, Process):
        return _order_one(database, verb, process, limit)
    meant = _found(database, process, node, limit)
    try:
        return _order_one(database, verb, meant, limit)
    except ProcessNotFound:
        if str(process) == str(meant.pid):
            raise
        fresh = _successor(database, meant, limit)
        if fresh is None:
            raise
    return _order_one(database, verb, fresh, limit)


def _found(
    database: PooledDatabase, process: str | int, node: str | None, limit: Deadline
) -> Process:
    """Return the process that is meant; one that is not shown yet may have just been started."""
    patience = Deadline(min(OUT_OF_DATE_SECONDS, limit.remaining or 0.0))
    while True:
        try:
            return find_process(database.run(nodes.live_nodes), process, node)
        except ProcessNotFound:
            if patience.passed:
                raise
        Event().wait(LONGEST_PAUSE / 2)


def _successor(database: PooledDatabase, gone: Process, limit: Deadline) -> Process | None:
    """Return the process that has another one's place now; a tree may be a second old."""
    found: list[Process] = []

    def is_shown() -> bool:
        live = database.run(nodes.live_nodes)
        found[:] = [
            each
            for node in live
            if node.id == gone.node
            for each in node.processes
            if each.path == gone.path and each.pid != gone.pid and each.status in SETTLED
        ]
        return bool(found)

    holds_within(Deadline(min(OUT_OF_DATE_SECONDS, limit.remaining or 0.0)), is_shown)
    return found[0] if found else None


def _order_one(database: PooledDatabase, verb: Verb, meant: Process, limit: Deadline) -> str:
    id_ = new_id()
    if not database.run(commands.place, id_, verb, meant, limit.remaining or 0.0):
        raise NodeNotFound(f"Node {meant.node} of process {meant.name!r} does not live any more.")
    answered = holds_within(limit, lambda: not database.run(commands.answer_to, id_).status.is_open)
    if not answered and not database.run(commands.withdraw, id_):
        answered = not database.run(commands.answer_to, id_).status.is_open
        if not answered:
            raise CommandTimeout(
                f"Node {meant.node} has taken the {verb} of {meant.name!r} and has not said in "
                "time what became of it; it goes on."
            )
    return _outcome(database.run(commands.answer_to, id_), verb, meant)


def _outcome(answer: commands.Answer, verb: Verb, meant: Process) -> str:
    text = answer.outcome or ""
    match answer.status:
        case Status.DONE:
            return text
        case Status.GONE:
            raise ProcessNotFound(f"{meant} was left alone: {text}")
        case Status.EXPIRED:
            raise CommandTimeout(f"Nothing was done to {meant}: {text}")
        case Status.UNKNOWN:
            raise CommandFailed(
                f"Nobody knows whether the {verb} of {meant} was carried out: {text}",
                status=answer.status,
            )
        case _:
            raise CommandFailed(
                f"The {verb} of {meant} {answer.status}: {text}"
                if answer.status == Status.FAILED
                else f"The {verb} of {meant} was refused: {text}",
                status=answer.status,
            )
