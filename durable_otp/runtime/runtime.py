"""The whole tree, started from within another program and ending with it."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from durable_otp.clock import Deadline
from durable_otp.config import Config, from_mapping, load
from durable_otp.durations import in_seconds
from durable_otp.errors import ConfigError, DurableError
from durable_otp.events import emit
from durable_otp.otp import ExitReason, Message, NoProcess, NotFound, StartFailed, Supervisor
from durable_otp.runtime import messages, tree
from durable_otp.runtime.carried import carry
from durable_otp.runtime.idle_watch import IDLE_WATCH
from durable_otp.runtime.node import NodeHooks
from durable_otp.runtime.starting import Prepared, check_connections, prepare
from durable_otp.runtime.usage import Usage
from durable_otp.storage.database import Database
from durable_otp.storage.definitions import publish
from durable_otp.storage.identity import new_id
from durable_otp.storage.nodes import set_queue
from durable_otp.storage.payloads import Codecs
from durable_otp.storage.schedules import declare

IN_EFFECT_WITHIN = 10.0
LOOK_EVERY = 0.02
MEASURED_EVERY = 0.5
IS_ALIVE_EVERY = 0.5


class Runtime:
    """A supervised tree of processes that runs workflows, as a child of this process.

    Works from a threaded program, a notebook or an unguarded ``__main__``; installs no signal
    handlers here; ends when this process ends, however that happens.

    Args:
        config: A configuration; or give its keys instead: those of ``[durable]`` flat, other
            sections as dicts, ``workflows`` may hold ``Workflow`` objects.
        migrate: Bring the schema up to date when starting.

    Raises:
        ConfigError: The configuration is wrong, or a workflow cannot be carried to a process.
        DefinitionError: A workflow is wrong.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        migrate: bool = True,
        _beside: Path | None = None,
        **settings: Any,
    ) -> None:
        if config is not None and settings:
            raise ConfigError("Runtime takes a Config or keys, not both.")
        self._config = from_mapping(settings) if config is None else config
        self._migrate = migrate
        self._beside = _beside
        self._workflows = carry(self._config.durable.workflows)
        self._prepared: Prepared | None = None
        self._supervisor: Supervisor | None = None
        self._changed = threading.Event()
        self._idle = threading.Event()
        self._awaiting_idle = threading.Lock()
        self._usage = Usage()
        self._measuring = threading.Lock()
        self.node_id = new_id()

    @classmethod
    def from_toml(cls, path: str | Path, *, migrate: bool = True) -> Self:
        """Return a runtime with the configuration of a file."""
        return cls(load(path), migrate=migrate, _beside=Path(path))

    def start(self) -> Self:
        """Start the tree; return when every child is up. Blocks.

        Raises:
            ConfigError, DefinitionError: It cannot run as configured; nothing is left running.
            DatabaseUnreachable, EmbeddedServerError, MigrationError: There is no usable database.
        """
        if self._supervisor is not None:
            raise ConfigError("This Runtime was started before; make another one.")
        self._prepared = prepare(self._config, migrate=self._migrate, beside=self._beside)
        if self._prepared.remark is not None:
            emit("pooler_found", level=logging.WARNING, remark=self._prepared.remark)
        spec = tree.root(self._config, self._prepared.dsn, self.node_id, self._workflows)
        self._supervisor = Supervisor(
            spec.flags,
            spec.children,
            hooks=hooks_of(self._config, self.node_id, log_level=logging.WARNING),
            title=f"durable-otp[{self._config.durable.name}]",
            on_message=self._hear,
        )
        try:
            self._supervisor.start()
            self._publish()
        except StartFailed as error:
            self.stop(0)
            if error.failure.fatal:
                raise ConfigError(error.failure.text) from None
            raise
        except BaseException:
            self.stop(0)
            raise
        return self

    def stop(self, timeout: float | None = None) -> None:
        """Stop the tree in order: no more claims, running steps get their time, then all ends.

        After ``timeout`` seconds everything that still runs is killed. Blocks. Does nothing to a
        tree that has ended.
        """
        if self._supervisor is not None:
            self._supervisor.stop(timeout)
        if self._prepared is not None and self._prepared.server is not None:
            self._prepared.server.release()
            self._prepared = None

    def wait(self, timeout: float | None = None) -> ExitReason | None:
        """Wait for the tree's end; None when it still runs after ``timeout`` seconds."""
        return self._running().wait(timeout)

    def wait_until_idle(self, timeout: float | timedelta | None = None) -> bool:
        """Wait until nothing is left for this node to do; False if something is at the timeout.

        Left is, in its queues and of the workflows it knows: what is running, on whatever node;
        what is due in a queue that is not paused; what has begun and is to be tried again, however
        long the back-off; sleepers, timeouts and schedules whose time has come. What sleeps, waits
        or is scheduled for later is not waited for. ``timeout``: in seconds; None: no limit.
        Blocks. The tree goes on; one caller at a time is served.

        Raises:
            ConfigError: The node runs no queues, or another adapter's.
            DurableError: The tree has ended.
        """
        limit = Deadline(None if timeout is None else in_seconds(timeout, what="timeout"))
        running = self._running()
        watch = tree.idle_watch_of(self._config, self.dsn, self.node_id)
        with self._awaiting_idle:
            self._idle.clear()
            running.start_child(watch)
            try:
                return self._heard_idle(running, limit)
            finally:
                with suppress(NoProcess):
                    running.terminate_child(IDLE_WATCH)
                    running.delete_child(IDLE_WATCH)

    def _heard_idle(self, running: Supervisor, limit: Deadline) -> bool:
        while not self._idle.wait(min(IS_ALIVE_EVERY, limit.remaining or IS_ALIVE_EVERY)):
            if limit.passed:
                return False
            if running.wait(0) is not None:
                raise DurableError("The tree ended before nothing was left to do.")
        return True

    def _hear(self, message: Message) -> None:
        if message.kind == messages.IDLE:
            self._idle.set()
        self._changed.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # what it shows

    @property
    def dsn(self) -> str:
        """The database's connection string; of the private server, if there is none configured."""
        if self._prepared is None:
            raise ConfigError("The Runtime is not started.")
        return self._prepared.dsn

    @property
    def pid(self) -> int:
        """The root's process id."""
        return self._running().pid

    def tree(self) -> dict[str, Any]:
        """Return the tree as the root knows it now: one element of ``tree --json``."""
        state = self._running().request(messages.TREE)
        with self._measuring:
            self._usage.add_to(state["tree"], every=MEASURED_EVERY)
        return {
            "node": self.node_id,
            "name": self._config.durable.name,
            "hostname": state["hostname"],
            "tree": state["tree"],
        }

    # what it can be told

    def pause(self, queue: str) -> None:
        """Claim nothing more from a queue on this node, until resumed; running executions go on."""
        self._set(queue, paused=True)
        self._until(lambda node: bool(node["paused"]), queue, "pause")

    def resume(self, queue: str) -> None:
        """Claim from a paused queue again."""
        self._set(queue, paused=False)
        self._until(lambda node: node["paused"] is False, queue, "resume")

    def scale(self, queue: str, concurrency: int) -> None:
        """Run so many executions of a queue at once on this node; returns when it is in force."""
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigError(f"concurrency must be a whole number from 1, not {concurrency!r}.")
        self._check_room(queue, concurrency)
        self._set(queue, concurrency=concurrency)
        self._until(lambda node: node["concurrency"] == concurrency, queue, "scale")

    def drain(self, queue: str, timeout: float = 30.0) -> bool:
        """Pause a queue and wait until nothing of it runs here; False if it still does then."""
        limit = Deadline(in_seconds(timeout, what="timeout"))
        self.pause(queue)
        return self._poll(lambda: self._manager(queue)["busy"] == 0, limit)

    def restart(self, child_id: str) -> None:
        """Stop one child of the root and start it again, e.g. ``"sleep_waker"`` or a queue's name.

        Raises:
            ConfigError: There is no such child.
        """
        if child_id in self._config.queues:
            child_id = tree.manager_id(child_id)
        try:
            self._running().terminate_child(child_id)
            self._running().restart_child(child_id)
        except NotFound:
            known = ", ".join(node["id"] for node in self.tree()["tree"]["children"])
            raise ConfigError(f"There is no child {child_id!r}; there are: {known}.") from None

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise ConfigError("The Runtime is not started; call start() or use it in a with.")
        return self._supervisor

    def _publish(self) -> None:
        """Make workflows and schedules known before anybody is told that the tree is up."""
        found = self._running().request(messages.WORKFLOWS)["workflows"]
        if not found:
            return
        with closing(self._database()) as database:
            database.run(publish, [messages.as_published(each) for each in found])
            database.run(declare, messages.declared_schedules(found))

    def _set(
        self, queue: str, *, paused: bool | None = None, concurrency: int | None = None
    ) -> None:
        self._manager(queue)
        self._run(set_queue, queue, self.node_id, paused=paused, concurrency=concurrency)
        self._running().request(messages.LOOK, {"child_id": tree.manager_id(queue)})

    def _run(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with closing(self._database()) as database:
            return database.run(operation, *args, **options)

    def _database(self) -> Database:
        durable = self._config.durable
        codecs = Codecs(durable.codec)
        return Database(self.dsn, durable.schema_name, role="runtime", codecs=codecs)

    def _manager(self, queue: str) -> dict[str, Any]:
        if queue not in self._config.queues:
            known = ", ".join(self._config.queues)
            raise ConfigError(f"Queue {queue!r} is not run here; there are: {known}.")
        wanted = tree.manager_id(queue)
        return next(node for node in self.tree()["tree"]["children"] if node["id"] == wanted)

    def _check_room(self, queue: str, concurrency: int) -> None:
        sections = dict(self._config.queues)
        if queue in sections:
            sections[queue] = sections[queue].model_copy(update={"concurrency": concurrency})
        check_connections(self._config.model_copy(update={"queues": sections}), self.dsn)

    def _until(self, holds: Callable[[dict[str, Any]], bool], queue: str, what: str) -> None:
        if not self._poll(lambda: holds(self._manager(queue)), Deadline(IN_EFFECT_WITHIN)):
            raise DurableError(
                f"The manager of queue {queue!r} did not follow {what} within "
                f"{IN_EFFECT_WITHIN:.0f} s; it will when it can read the database."
            )

    def _poll(self, holds: Callable[[], bool], limit: Deadline) -> bool:
        while not holds():
            if limit.passed:
                return False
            self._changed.clear()
            self._changed.wait(min(LOOK_EVERY, limit.remaining or LOOK_EVERY))
        return True


def hooks_of(config: Config, node_id: str, *, log_level: int) -> NodeHooks:
    """Return what the root of this node does besides supervising."""
    durable = config.durable
    return NodeHooks(
        node_id=node_id,
        schema=durable.schema_name,
        log_format=durable.log_format,
        log_level=log_level,
        preload=durable.modules if durable.preload else (),
        allow_threads=durable.allow_threads_at_fork,
    )
