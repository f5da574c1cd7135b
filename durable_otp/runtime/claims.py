"""Where a manager's claims come from: PostgreSQL in its own loop, or an adapter of the user's.

An adapter's calls block, so they run in a thread; nothing else of the manager does.
"""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from durable_otp.clock import monotonic
from durable_otp.errors import ConfigError, DatabaseUnreachable, text_of
from durable_otp.runtime.carried import take_up_codecs
from durable_otp.runtime.looking import Looking
from durable_otp.runtime.settings import DatabaseSettings, ManagerSettings
from durable_otp.storage.async_database import AsyncDatabase
from durable_otp.storage.limits import Fetched, fetch_within_limits
from durable_otp.storage.payloads import WITHOUT
from durable_otp.storage.queue import Claim, Place, fetch_jobs
from durable_otp.storage.settlement import HeldClaim, refresh
from durable_otp.workflow.execution import Job, Settled
from durable_otp.workflow.json_form import encode

if TYPE_CHECKING:  # the client's pool comes with it, which a tree without an adapter never needs
    from durable_otp.storage.adapter import QueueAdapter

Workflows = list[tuple[str, str]]


class Claims(Protocol):
    """What a manager asks of its queue."""

    def open(self, workflows: Workflows) -> None:
        """Get ready to claim executions of these workflows; raises ConfigError."""

    async def fetch(self, limit: int, *, is_limited: bool) -> Fetched:
        """Claim up to so many executions; raises DatabaseUnreachable."""

    async def refresh(self, held: list[HeldClaim]) -> dict[str, Settled]:
        """Keep claims alive; return how each lock token fared; raises DatabaseUnreachable."""


class DatabaseClaims:
    """Claims straight from PostgreSQL."""

    def __init__(self, database: AsyncDatabase, queue: str, manager: str) -> None:
        self._database = database
        self._looking = Looking()
        self._queue = queue
        self._manager = manager
        self._workflows: Workflows = []

    def open(self, workflows: Workflows) -> None:
        """Take note of what may be claimed."""
        self._workflows = workflows

    async def fetch(self, limit: int, *, is_limited: bool) -> Fetched:
        """Claim up to so many executions; fewer, if the limits of the queue say so."""
        if is_limited:
            named = (self._queue, limit, self._manager, self._workflows)
            return await self._database.run(fetch_within_limits, *named)
        return await self._fetch(limit)

    async def _fetch(self, limit: int) -> Fetched:
        claims: list[Claim] = []
        places = self._looking.places()
        if places is not None:
            claims, seconds = await self._look(limit, places)
            self._looking.saw_onwards(claims, seconds)
            if len(claims) == limit:
                return Fetched(claims)
            if self._looking.is_onwards:
                return Fetched(claims, more_in=self._looking.whole_in)
        more, seconds = await self._look(limit - len(claims), None)
        self._looking.saw_whole(more, seconds)
        return Fetched(claims + more)

    async def _look(self, limit: int, places: list[Place] | None) -> tuple[list[Claim], float]:
        started = monotonic()
        named = (self._queue, limit, self._manager, self._workflows)
        claims = await self._database.run(fetch_jobs, *named, onwards=places)
        return claims, monotonic() - started

    async def refresh(self, held: list[HeldClaim]) -> dict[str, Settled]:
        """Keep claims alive; return how each lock token fared."""
        return await self._database.run(refresh, held)


class AdapterClaims:
    """Claims through the adapter that the configuration names."""

    def __init__(self, settings: ManagerSettings, manager: str) -> None:
        self._settings = settings
        self._manager = manager
        self._adapter: QueueAdapter | None = None

    def open(self, workflows: Workflows) -> None:
        """Make the adapter."""
        name = cast("str", self._settings.adapter)
        self._adapter = open_adapter(name, self._settings.database, workflows)

    async def fetch(self, limit: int, *, is_limited: bool) -> Fetched:  # noqa: ARG002 - limits are PostgreSQL's own
        """Claim up to so many executions."""
        fetch_jobs = self._opened().fetch_jobs
        jobs = await _in_thread(fetch_jobs, self._settings.queue, limit, self._manager)
        return Fetched([_claim(job) for job in jobs])

    async def refresh(self, held: list[HeldClaim]) -> dict[str, Settled]:
        """Keep claims alive; return how each lock token fared."""
        pairs = [(claim.id, claim.lock_token) for claim in held]
        settled = await _in_thread(self._opened().heartbeat_many, pairs)
        return {claim.lock_token: settled[claim.id] for claim in held if claim.id in settled}

    def _opened(self) -> "QueueAdapter":
        if self._adapter is None:
            raise RuntimeError("AdapterClaims.open() comes before everything else")
        return self._adapter


def open_adapter(
    name: str, database: DatabaseSettings, workflows: Workflows | None
) -> "QueueAdapter":
    """Return the adapter that ``"module:attribute"`` makes, called as `default_adapter` is.

    Raises:
        ConfigError: There is no such thing, or what it makes is no QueueAdapter.
    """
    from durable_otp.storage.adapter import QueueAdapter  # noqa: PLC0415 - as above

    module_name, _, attribute = name.partition(":")
    try:
        make: Callable[..., Any] = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'durable.adapter {name!r} cannot be found ({error}); write "module:attribute".'
        ) from None
    try:
        codec = {"codec": take_up_codecs(database.codecs)} if database.codecs else {}
        adapter = make(database.dsn, schema=database.schema, workflows=workflows, **codec)
    except Exception as error:
        reason = f"{type(error).__name__}: {text_of(error)}"
        raise ConfigError(
            f"durable.adapter {name!r} could not be made ({reason}); it is called as "
            "default_adapter is."
        ) from error
    if not isinstance(adapter, QueueAdapter):
        raise ConfigError(f"durable.adapter {name!r} made {adapter!r}, which is no QueueAdapter.")
    return adapter


async def _in_thread(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return await asyncio.to_thread(call, *args)
    except DatabaseUnreachable:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {text_of(error)}"
        raise DatabaseUnreachable(f"the adapter failed: {reason}") from error


def _claim(job: Job) -> Claim:
    return Claim(
        id=job.id,
        workflow=job.workflow,
        version=job.version,
        queue=job.queue,
        priority=job.priority,
        input=None if job.input is None else WITHOUT.seal_text(encode(job.input).decode()),
        scheduled_at=cast("Any", job.scheduled_at),
        current_step=job.current_step,
        lock_token=job.lock_token,
        crashes=job.crashes,
        alone=False,
        begun_before=True,
        home_queue=job.queue,
        is_plain=False,  # a Job does not say
    )
