"""The client of one schema: every question and every order is a method here."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, overload

from durable_otp import config
from durable_otp.client.bulk import BulkVerbs
from durable_otp.client.families import FamilyQuestions
from durable_otp.client.handle import Handle, polls
from durable_otp.client.holding_back import held_back, with_key
from durable_otp.client.moves import MoveHandling
from durable_otp.client.operating import OperatorVerbs
from durable_otp.client.process_control import ProcessControl
from durable_otp.client.queue_control import QueueControl
from durable_otp.client.schedules import ScheduleCalls
from durable_otp.client.starting import StartableWorkflows, StartOptions
from durable_otp.client.waiting import WaitingCalls
from durable_otp.clock import Deadline
from durable_otp.storage import executions, reports
from durable_otp.storage import queue as claims
from durable_otp.storage.aftermath import run_ending
from durable_otp.storage.codec import CodecChoice
from durable_otp.storage.ending import EndListener
from durable_otp.storage.flow import start_held_back
from durable_otp.storage.foreign import ForeignConnection
from durable_otp.storage.migrator import Migrator
from durable_otp.storage.moves import MoveSubscription
from durable_otp.storage.operation import Operation, Wish
from durable_otp.storage.payloads import Codecs
from durable_otp.storage.pool import PooledDatabase, known_dsn
from durable_otp.storage.reports import Filters, Order, Statuses
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution, QueueStats, StateMove
from durable_otp.workflow.json_form import MAX_BYTES, canonical
from durable_otp.workflow.state import FINAL, State

Value = TypeVar("Value")


class Durable(
    BulkVerbs,
    FamilyQuestions,
    OperatorVerbs,
    ProcessControl,
    QueueControl,
    ScheduleCalls,
    WaitingCalls,
):
    """A client of one schema; safe to use from many threads and after a fork.

    Connections are opened when first needed, ten at most; whoever waits for a result has one more.

    Args:
        dsn: A libpq connection string; the environment's DURABLE_DSN by default.
        schema: The schema's name.
        max_payload: The most bytes of JSON that an input may have.
        codec: What payloads are encoded and decoded with: a ``Codec`` or its ``"module:name"``; of
            several, the first encodes and all decode.

    Raises:
        ConfigError: There is no DSN, or it or the schema's name is malformed, or a codec is none.

    What was encoded by a codec that is not given raises ``CodecError`` where it is read.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        schema: str = "durable",
        max_payload: int = MAX_BYTES,
        codec: CodecChoice = None,
        _shows_encoded: bool = False,
    ) -> None:
        self.dsn = known_dsn(dsn)
        self.schema = schema
        self._max_payload = max_payload
        codecs = Codecs(codec, shows=_shows_encoded)
        codecs.known()
        self._database = PooledDatabase(self.dsn, schema, codecs=codecs)
        self._workflows = StartableWorkflows(self._database, max_payload=max_payload)

    @classmethod
    def from_config(cls, path: str | Path) -> Self:
        """Return a client of the database that a configuration file names.

        Raises:
            ConfigError: The file is wrong, or neither it nor DURABLE_DSN names a database.
        """
        durable = config.load(path).durable
        return cls(
            durable.dsn,
            schema=durable.schema_name,
            max_payload=durable.max_payload,
            codec=durable.codec,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Durable(schema={self.schema!r})"  # the DSN may hold a password

    def start(  # noqa: PLR0913 - the contract's options, by keyword
        self,
        workflow: Workflow | str,
        input: Any = None,  # noqa: A002 - the contract's name
        *,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: datetime | None = None,
        idempotency_key: str | None = None,
        connection: ForeignConnection | None = None,
        concurrency_key: str | None = None,
        concurrency: int | None = None,
        unique_for: timedelta | float | None = None,
        debounce: timedelta | float | None = None,
    ) -> Handle:
        """Start an execution.

        Args:
            workflow: A ``Workflow``, or the name of one that is published: its newest version.
            input: Anything with a JSON form that fits the workflow's ``input`` type.
            queue: Another queue than the workflow's.
            priority: Another priority than the workflow's; the highest runs first.
            scheduled_at: When it becomes due; at once by default.
            idempotency_key: If an execution of this workflow has the same key, that one is
                returned, whatever its status or input.
            connection: An open psycopg connection in whose transaction the execution is written:
                it exists only if that commits.
            concurrency_key: It takes a turn of this key, and has it until its end, waits included;
                while all turns are taken it is ``waiting``, and they go on by priority and age.
            concurrency: How many have a turn of the key at once: 1 by default, one after another.
            unique_for: The idempotency key, or without one the input, is taken for so long only.
            debounce: It begins when nobody has started it by the same key for so long, with the
                last input.

        Raises:
            InvalidInput: The input does not fit the workflow's type.
            SerializationError: The input has no JSON form.
            WorkflowNotFound: No workflow of this name is published.
            ConfigError: The queue's name is not one.
            ValueError: Another option is not what it should be.
        """
        held = held_back(
            concurrency_key=concurrency_key,
            concurrency=concurrency,
            unique_for=unique_for,
            debounce=debounce,
            idempotency_key=idempotency_key,
            scheduled_at=scheduled_at,
        )
        options = StartOptions(queue, priority, scheduled_at)
        is_plain = held is None and idempotency_key is None and connection is None
        if is_plain and isinstance(workflow, str):
            published = self._workflows.start_published(workflow, input, options)
            if published is not None:
                return Handle(published, self)
        how, (one,) = self._workflows.prepare(workflow, [input], [idempotency_key], options)
        if held is None:
            (id_,) = self._run(connection, executions.start, how, [one])
        else:
            id_ = self._run(connection, start_held_back, how, with_key(one, held), held)
        return Handle(id_, self)

    def start_many(  # noqa: PLR0913 - the contract's options, by keyword
        self,
        workflow: Workflow | str,
        inputs: Iterable[Any],
        *,
        idempotency_keys: Sequence[str | None] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: datetime | None = None,
        connection: ForeignConnection | None = None,
    ) -> list[Handle]:
        """Start an execution for each input, a thousand in a round trip; see ``start``.

        Every input is checked before the first row is written. Each thousand is a transaction of
        its own, unless there is a ``connection``.
        """
        options = StartOptions(queue, priority, scheduled_at)
        how, new = self._workflows.prepare(workflow, inputs, idempotency_keys, options)
        return [Handle(id_, self) for id_ in self._run(connection, executions.start, how, new)]

    def _run(
        self,
        connection: ForeignConnection | None,
        operation: Callable[..., Operation[Value]],
        *args: Any,
    ) -> Value:
        """Run an operation, in the caller's transaction if there is one."""
        if connection is None:
            return self._database.run(operation, *args)
        return self._database.run_within(connection, operation, *args)

    def get_execution(self, id: str, steps: bool = False) -> Execution:  # noqa: A002, FBT001, FBT002 - the contract's names
        """Return an execution with its context, and with every attempt of its steps if asked for.

        Raises:
            ExecutionNotFound: There is none with this id.
        """
        return self._database.run(reports.get_execution, id, steps=steps)

    def status(self, id: str) -> State:  # noqa: A002 - the contract's name
        """Return an execution's status; raise ``ExecutionNotFound`` when there is none."""
        return self._database.run(reports.status_of, id)

    def list_executions(  # noqa: PLR0913 - the contract's filters, by keyword
        self,
        workflow: str | None = None,
        status: Statuses = None,
        *,
        queue: str | None = None,
        parent: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        id_prefix: str | None = None,
        top_level: bool = False,
        order: Order = "newest",
        limit: int = 50,
        after: str | None = None,
    ) -> list[Execution]:
        """Return a page of executions, without contexts, outputs and steps.

        Args:
            workflow: Of this name.
            status: In this status, or in one of these.
            queue: Of this queue.
            parent: Children of this execution.
            since: Started at this instant or later.
            until: Started before this instant.
            id_prefix: Whose id begins with these 4 or more hex digits.
            top_level: No children.
            order: ``"newest"`` or ``"oldest"`` first.
            limit: The most.
            after: The last id of the page before.

        Raises:
            ExecutionNotFound: There is no execution ``after``.
            ValueError: A status, an instant, the prefix, the order or the limit is none.
        """
        filters = Filters(workflow, status, queue, parent, since, until, id_prefix, top_level)
        return self._database.run(
            reports.list_executions, filters, order=order, limit=limit, after=after
        )

    def count_executions(  # noqa: PLR0913 - the contract's filters, by keyword
        self,
        workflow: str | None = None,
        status: Statuses = None,
        *,
        queue: str | None = None,
        parent: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        id_prefix: str | None = None,
        top_level: bool = False,
    ) -> int:
        """Return how many executions ``list_executions`` would list altogether."""
        filters = Filters(workflow, status, queue, parent, since, until, id_prefix, top_level)
        return self._database.run(reports.count_executions, filters)

    @overload
    def stats(self, queue: None = None) -> dict[str, QueueStats]: ...

    @overload
    def stats(self, queue: str) -> QueueStats: ...

    def stats(self, queue: str | None = None) -> dict[str, QueueStats] | QueueStats:
        """Return how many executions are in each status: of one queue, or of each by its name."""
        if queue is None:
            return self._database.run(claims.all_stats)
        return self._database.run(claims.get_stats, claims.check_queue(queue))

    def cancel(self, id: str, reason: str | None = None) -> None:  # noqa: A002 - the contract's name
        """Cancel an execution and all its children; a step that is running is interrupted.

        Raises:
            AlreadyFinished: It has ended, or is compensating.
            ExecutionNotFound: There is none with this id.
            SerializationError: The reason cannot be stored.
            TypeError: The reason is no text.
        """
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"reason must be a text, not a {type(reason).__name__}.")
        reason = canonical(reason, what="reason")
        run_ending(self._database.run, executions.cancel, id, reason, Wish())

    def wait_for_end(self, id: str, deadline: Deadline) -> State:  # noqa: A002 - the contract's name
        """Return an execution's status once it is final, or when the deadline has passed.

        Raises:
            ExecutionNotFound: There is none with this id.
        """
        status = self.status(id)
        if status in FINAL or deadline.passed:
            return status
        with EndListener(self.dsn, self.schema) as listener:
            status = self.watch(id)
            for pause in polls(deadline):
                if status in FINAL:
                    break
                listener.wait(id, pause)
                status = self.status(id)
        return status

    def subscribe(self) -> MoveSubscription:
        """Return an endless iterator of every execution's moves from now on, to be closed.

        It has a connection of its own, and iterating blocks until something moves. While there is
        a subscriber, every move is notified, which costs some throughput.

        Raises:
            DatabaseUnreachable: Here or while iterating: what happens meanwhile is not heard.
        """
        return MoveSubscription(self.dsn, self.schema)

    def on_move(self, handler: Callable[[StateMove], object]) -> Callable[[], None]:
        """Have a handler called with every move, in a thread; return the function that ends it.

        A handler that raises is logged and called again; a lost connection is opened again, and
        what moved meanwhile is not told.

        Raises:
            DatabaseUnreachable: The server does not answer now.
        """
        return MoveHandling(self.subscribe, handler).stop

    def watch(self, id: str) -> State:  # noqa: A002 - the contract's name
        """Have an execution's end notified; return its status, read after that."""
        return self._database.run(executions.watch, id)

    def migrate(self, to: int | None = None) -> int:
        """Bring the schema to a version, the newest by default; return the version it has then.

        ``migrate(to=0)`` removes the schema's tables with everything in them.

        Raises:
            MigrationError: There is no such version, or a migration failed.
        """
        migrator = Migrator(self.dsn, self.schema)
        migrator.migrate(to)
        self._workflows.forget_published()
        return migrator.current_version()

    def schema_version(self) -> int:
        """Return the version that the schema has; 0 when it has no tables."""
        return Migrator(self.dsn, self.schema).current_version()

    def close(self) -> None:
        """Close the idle connections; a later call opens others."""
        self._database.close()
