"""The client for asyncio: the same calls as coroutines.

A call runs in a thread, for it is one short statement or two. Waiting for a result does not: all
waits of a client share one listening connection, so a thousand of them cost no threads.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

from durable_otp.client import Durable
from durable_otp.client.handle import not_ended, outcome, polls, waiting_time
from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.codec import CodecChoice
from durable_otp.storage.foreign import AsyncForeignConnection, usable_in_threads
from durable_otp.storage.moves import AsyncMoveSubscription
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution, QueueStats
from durable_otp.workflow.json_form import MAX_BYTES
from durable_otp.workflow.state import FINAL, State

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

LISTEN_DEADLINE_SECONDS = 10.0


def _in_thread(
    method: Callable[Concatenate[Durable, Parameters], Value],
) -> Callable[Concatenate["AsyncDurable", Parameters], Coroutine[Any, Any, Value]]:
    """Return a method of the blocking client as a coroutine function."""

    @functools.wraps(method)
    async def call(
        self: "AsyncDurable", /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Value:
        return await asyncio.to_thread(method, self.blocking, *args, **kwargs)

    return call


@dataclass(frozen=True)
class AsyncHandle:
    """One execution, to ask about. Handles of one execution are equal."""

    id: str
    _client: "AsyncDurable" = field(repr=False, compare=False)

    async def status(self) -> State:
        """Return the status; raise ``ExecutionNotFound`` when the row is gone."""
        return await self._client.status(self.id)

    async def execution(self) -> Execution:
        """Return the execution with its steps; raise ``ExecutionNotFound`` when it is gone."""
        return await self._client.get_execution(self.id, steps=True)

    async def result(self, timeout: timedelta | float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - the contract's argument
        """Wait for the end and return the final context; see ``Handle.result``."""
        if await self._client.wait_for_end(self.id, waiting_time(timeout)) not in FINAL:
            raise not_ended(self.id, timeout)
        return outcome(await self._client.get_execution(self.id))

    async def cancel(self, reason: str | None = None) -> None:
        """Cancel it and its children; raise ``AlreadyFinished`` when it has ended."""
        await self._client.cancel(self.id, reason)

    async def send_event(self, name: str, payload: Any = None) -> None:
        """Send it an event, which is kept until a wait consumes it."""
        await self._client.send_event(self.id, name, payload)

    async def provide_input(self, name: str, data: Any) -> None:
        """Answer an input that it asks for."""
        await self._client.provide_input(self.id, name, data)

    async def retry(self) -> None:
        """Have it go on after it failed or was cancelled; see ``Durable.retry``."""
        await self._client.retry(self.id)


class AsyncDurable:
    """A client of one schema whose methods are coroutines; see ``Durable`` for what they do."""

    def __init__(
        self,
        dsn: str | None = None,
        *,
        schema: str = "durable",
        max_payload: int = MAX_BYTES,
        codec: CodecChoice = None,
    ) -> None:
        self.blocking = Durable(dsn, schema=schema, max_payload=max_payload, codec=codec)
        self._ends = _Ends(self.blocking)

    @classmethod
    def from_config(cls, path: str | Path) -> Self:
        """Return a client of the database that a configuration file names."""
        client = cls.__new__(cls)
        client.blocking = Durable.from_config(path)
        client._ends = _Ends(client.blocking)  # noqa: SLF001 - an alternative constructor
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    get_execution = _in_thread(Durable.get_execution)
    status = _in_thread(Durable.status)
    list_executions = _in_thread(Durable.list_executions)
    count_executions = _in_thread(Durable.count_executions)
    list_children = _in_thread(Durable.list_children)
    nodes = _in_thread(Durable.nodes)
    pause_queue = _in_thread(Durable.pause_queue)
    resume_queue = _in_thread(Durable.resume_queue)
    scale_queue = _in_thread(Durable.scale_queue)
    drain_queue = _in_thread(Durable.drain_queue)
    restart_process = _in_thread(Durable.restart_process)
    stop_process = _in_thread(Durable.stop_process)
    kill_process = _in_thread(Durable.kill_process)
    dump_stacks = _in_thread(Durable.dump_stacks)
    cancel = _in_thread(Durable.cancel)
    create_schedule = _in_thread(Durable.create_schedule)
    update_schedule = _in_thread(Durable.update_schedule)
    delete_schedule = _in_thread(Durable.delete_schedule)
    get_schedule = _in_thread(Durable.get_schedule)
    list_schedules = _in_thread(Durable.list_schedules)
    enable_schedule = _in_thread(Durable.enable_schedule)
    disable_schedule = _in_thread(Durable.disable_schedule)
    send_event = _in_thread(Durable.send_event)
    provide_input = _in_thread(Durable.provide_input)
    list_pending_inputs = _in_thread(Durable.list_pending_inputs)
    list_pending_events = _in_thread(Durable.list_pending_events)
    list_events = _in_thread(Durable.list_events)
    retry = _in_thread(Durable.retry)
    cancel_executions = _in_thread(Durable.cancel_executions)
    retry_executions = _in_thread(Durable.retry_executions)
    delete_executions = _in_thread(Durable.delete_executions)
    migrate = _in_thread(Durable.migrate)

    on_move = _in_thread(Durable.on_move)

    async def subscribe(self) -> AsyncMoveSubscription:
        """Return an endless asynchronous iterator of every execution's moves; see ``Durable``."""
        return AsyncMoveSubscription(await asyncio.to_thread(self.blocking.subscribe))

    schema_version = _in_thread(Durable.schema_version)
    close = _in_thread(Durable.close)

    @overload
    async def stats(self, queue: None = None) -> dict[str, QueueStats]: ...

    @overload
    async def stats(self, queue: str) -> QueueStats: ...

    async def stats(self, queue: str | None = None) -> dict[str, QueueStats] | QueueStats:
        """Return how many executions are in each status: of one queue, or of each by its name."""
        return await asyncio.to_thread(self.blocking.stats, queue)

    async def start(  # noqa: PLR0913 - the contract's options, by keyword
        self,
        workflow: Workflow | str,
        input: Any = None,  # noqa: A002 - the contract's name
        *,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: datetime | None = None,
        idempotency_key: str | None = None,
        connection: AsyncForeignConnection | None = None,
        concurrency_key: str | None = None,
        concurrency: int | None = None,
        unique_for: timedelta | float | None = None,
        debounce: timedelta | float | None = None,
    ) -> AsyncHandle:
        """Start an execution; ``connection`` may be an ``AsyncConnection`` of this loop."""
        handle = await asyncio.to_thread(
            self.blocking.start,
            workflow,
            input,
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            idempotency_key=idempotency_key,
            connection=None if connection is None else usable_in_threads(connection),
            concurrency_key=concurrency_key,
            concurrency=concurrency,
            unique_for=unique_for,
            debounce=debounce,
        )
        return AsyncHandle(handle.id, self)

    async def start_many(  # noqa: PLR0913 - the contract's options, by keyword
        self,
        workflow: Workflow | str,
        inputs: Iterable[Any],
        *,
        idempotency_keys: Sequence[str | None] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: datetime | None = None,
        connection: AsyncForeignConnection | None = None,
    ) -> list[AsyncHandle]:
        """Start an execution for each input, a thousand in a round trip."""
        handles = await asyncio.to_thread(
            self.blocking.start_many,
            workflow,
            inputs,
            idempotency_keys=idempotency_keys,
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            connection=None if connection is None else usable_in_threads(connection),
        )
        return [AsyncHandle(handle.id, self) for handle in handles]

    async def trigger_schedule(
        self,
        name: str,
        input: Any = None,  # noqa: A002 - the contract's name
    ) -> AsyncHandle:
        """Start a run of a schedule now; see ``Durable.trigger_schedule``."""
        handle = await asyncio.to_thread(self.blocking.trigger_schedule, name, input)
        return AsyncHandle(handle.id, self)

    async def backfill_schedule(
        self, name: str, since: datetime, until: datetime
    ) -> list[AsyncHandle]:
        """Start the runs of past slots that have had none; see ``Durable.backfill_schedule``."""
        handles = await asyncio.to_thread(self.blocking.backfill_schedule, name, since, until)
        return [AsyncHandle(handle.id, self) for handle in handles]

    async def fork(self, id: str, from_step: str) -> AsyncHandle:  # noqa: A002 - the contract's name
        """Start a new execution from a copy of another one's journal; see ``Durable.fork``."""
        handle = await asyncio.to_thread(self.blocking.fork, id, from_step)
        return AsyncHandle(handle.id, self)

    async def wait_for_end(self, id: str, deadline: Deadline) -> State:  # noqa: A002 - the contract's name
        """Return an execution's status once it is final, or when the deadline has passed."""
        status = await self.status(id)
        if status in FINAL or deadline.passed:
            return status
        async with self._ends.heard(id) as heard:
            status = await asyncio.to_thread(self.blocking.watch, id)
            for pause in polls(deadline):
                if status in FINAL:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await heard.wait()
                heard.clear()
                status = await self.status(id)
        return status


class _Ends:
    """Who waits for which execution's end, and the one connection that hears of them all."""

    def __init__(self, client: Durable) -> None:
        self._client = client
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def heard(self, execution_id: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set when it is time to look at the execution again."""
        event = asyncio.Event()
        self._waiting.setdefault(execution_id, set()).add(event)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        try:
            yield event
        finally:
            self._waiting[execution_id].discard(event)
            if not self._waiting[execution_id]:
                del self._waiting[execution_id]
            if not self._waiting:
                await self._stop()

    async def _listen(self) -> None:
        database = AsyncDatabase(
            self._client.dsn,
            self._client.schema,
            role="client listener",
            deadline=LISTEN_DEADLINE_SECONDS,
        )
        with suppress(DatabaseUnreachable):  # the polls go on, and say so if it matters
            async for _channel, execution_id in database.notifications(["listen_done"]):
                for each in [execution_id] if execution_id else list(self._waiting):
                    for event in self._waiting.get(each, ()):
                        event.set()

    async def _stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            await asyncio.wait([listener])
