"""The queue as others see it: a protocol, and the adapter that keeps it in PostgreSQL.

Whoever wants to claim and settle executions without this package's runtime does it through here.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Protocol, Self, runtime_checkable

from durable_otp.durations import in_seconds, in_utc
from durable_otp.errors import text_of
from durable_otp.storage import queue as claims
from durable_otp.storage.aftermath import Ended, run_ending
from durable_otp.storage.codec import CodecChoice
from durable_otp.storage.families import children_ended
from durable_otp.storage.family_journal import origin
from durable_otp.storage.operation import Operation
from durable_otp.storage.payloads import Codecs
from durable_otp.storage.pool import PooledDatabase, known_dsn
from durable_otp.storage.reports import MOST_ROWS, folded_context
from durable_otp.workflow.execution import Job, QueueStats, Settled
from durable_otp.workflow.json_form import canonical, encode, in_key_order
from durable_otp.workflow.options import LONGEST_DURATION
from durable_otp.workflow.stored_text import storable


@runtime_checkable
class QueueAdapter(Protocol):
    """Where executions are claimed and settled.

    An adapter may also have `recover_zombie_workflows(timeout_seconds) -> int` and
    `wake_sleeping_workflows(batch_size) -> int`; callers ask for them with `getattr`.
    """

    def fetch_jobs(self, queue: str, limit: int, node_id: str) -> list[Job]:
        """Claim what is due: by priority, then due time, then id; never twice."""
        ...

    def ack(self, job_id: str, lock_token: str | None = None) -> Settled:
        """Complete a claimed execution."""
        ...

    def nack(self, job_id: str, reason: Any, lock_token: str | None = None) -> Settled:
        """Fail a claimed execution."""
        ...

    def reschedule(self, job_id: str, run_at: datetime, lock_token: str | None = None) -> Settled:
        """Give a claimed execution back until an instant."""
        ...

    def heartbeat(self, job_id: str, lock_token: str | None = None) -> Settled:
        """Keep a claim from going stale."""
        ...

    def heartbeat_many(self, claims: Sequence[tuple[str, str | None]], /) -> dict[str, Settled]:
        """Keep several claims from going stale."""
        ...

    def recover_stale_locks(self, timeout_seconds: float) -> int:
        """Take back the claims that were not kept; return how many."""
        ...

    def get_stats(self, queue: str) -> QueueStats:
        """Return how many executions of a queue are in each status."""
        ...


class PostgresAdapter:
    """The queue in PostgreSQL; safe to use from many threads.

    A call without a lock token uses the one that this adapter received when it fetched the job.

    Args:
        dsn: A libpq connection string.
        schema: The schema of a migrated database.
        workflows: The (name, version) pairs it may fetch; None for any.
        codec: What payloads are encoded and decoded with, as for ``Durable``.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "durable",
        workflows: Collection[tuple[str, str]] | None = None,
        codec: CodecChoice = None,
    ) -> None:
        self._codecs = Codecs(codec)
        self._codecs.known()
        self._database = PooledDatabase(dsn, schema, role="queue adapter", codecs=self._codecs)
        self._workflows = None if workflows is None else _pairs(workflows)
        self._received: dict[str, str] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def fetch_jobs(self, queue: str, limit: int, node_id: str) -> list[Job]:
        """Claim up to `limit` due executions in the name of a node.

        Raises:
            ConfigError: The queue's name is not one.
            ValueError: The limit is not a positive number, or the node has no name.
        """
        claims.check_queue(queue)
        most = _checked_count(limit, "limit")
        if not isinstance(node_id, str) or not node_id or not node_id.isprintable():
            raise ValueError(f"node_id must be a printable text, not {node_id!r}.")
        found = self._database.run(claims.fetch_jobs, queue, most, node_id, self._workflows)
        with self._turn:
            self._received.update((claim.id, claim.lock_token) for claim in found)
        return [self._job(claim) for claim in found]

    def ack(self, job_id: str, lock_token: str | None = None) -> Settled:
        """Complete a claimed execution; OK also when it is completed already."""
        return self._settle(claims.ack, job_id, lock_token)

    def nack(self, job_id: str, reason: Any, lock_token: str | None = None) -> Settled:
        """Fail a claimed execution for good; what it has done is undone first, if it says how.

        Args:
            job_id: The execution.
            reason: Its error: a mapping, which is given the texts ``type`` and ``message`` where it
                has none; an exception; or anything with a text.
            lock_token: The claim's token; the one received here by default.

        Raises:
            SerializationError: The mapping cannot be stored as JSON.
        """
        error = encode(error_of(reason)).decode()

        return self._settle(claims.nack, job_id, lock_token, error)

    def reschedule(self, job_id: str, run_at: datetime, lock_token: str | None = None) -> Settled:
        """Give a claimed execution back, to be claimed again from an instant on.

        Raises:
            ValueError: The instant has no time zone, or PostgreSQL's would not be read back.
        """
        return self._settle(claims.reschedule, job_id, lock_token, in_utc(run_at, what="run_at"))

    def heartbeat(self, job_id: str, lock_token: str | None = None) -> Settled:
        """Keep a claim from going stale; NOT_FOUND when it is no longer running."""
        return self.heartbeat_many([(job_id, lock_token)])[job_id]

    def heartbeat_many(
        self, claims_held: Sequence[tuple[str, str | None]], /
    ) -> dict[str, Settled]:
        """Keep several claims from going stale, in one statement."""
        with self._turn:
            pairs = [(id_, token or self._received.get(id_)) for id_, token in claims_held]
        settled = self._database.run(claims.heartbeat_many, pairs) if pairs else {}
        for id_, token in pairs:
            if settled[id_] is not Settled.OK:
                self._forget(id_, token)
        return settled

    def recover_stale_locks(self, timeout_seconds: float) -> int:
        """Take back claims without a heartbeat for this long, each counted as an interruption."""
        return self._all(claims.recover_stale_locks, _check_timeout(timeout_seconds))

    def recover_zombie_workflows(self, timeout_seconds: float) -> int:
        """Fail executions that have waited this long with nothing that could wake them."""
        return self._all(claims.recover_zombie_workflows, _check_timeout(timeout_seconds))

    def wake_sleeping_workflows(self, batch_size: int) -> int:
        """Make up to `batch_size` sleepers pending whose time has come."""
        most = _checked_count(batch_size, "batch_size")
        return self._database.run(claims.wake_sleeping_workflows, most)

    def get_stats(self, queue: str) -> QueueStats:
        """Return how many executions of a queue are in each status."""
        return self._database.run(claims.get_stats, claims.check_queue(queue))

    def close(self) -> None:
        """Close the connections; claims stay as they are."""
        self._database.close()

    def _first(self, claim: claims.Claim, given: Any) -> Any:
        """Return what a context starts with: a block's child has its parent's before the block."""
        sibling = None if claim.is_plain else self._database.run(origin, claim.id).sibling
        return given if sibling is None else sibling.context

    def _job(self, claim: claims.Claim) -> Job:
        given = None if claim.input is None else self._codecs.open(claim.input)
        return Job(
            id=claim.id,
            workflow=claim.workflow,
            version=claim.version,
            queue=claim.queue,
            priority=claim.priority,
            input=given,
            context=self._database.run(folded_context, claim.id, self._first(claim, given)),
            scheduled_at=claim.scheduled_at,
            current_step=claim.current_step,
            lock_token=claim.lock_token,
            crashes=claim.crashes,
        )

    def _settle(
        self,
        operation: Callable[..., Operation[claims.Settlement]],
        job_id: str,
        lock_token: str | None,
        *how: Any,
    ) -> Settled:
        with self._turn:
            token = lock_token or self._received.get(job_id)
        settlement = self._database.run(operation, job_id, *how, token)
        self._forget(job_id, token)
        if settlement.parents:
            self._database.run(children_ended, settlement.parents)
        return settlement.settled

    def _forget(self, job_id: str, token: str | None) -> None:
        """Drop a token that has had its use; not another one, received meanwhile."""
        with self._turn:
            if token is not None and self._received.get(job_id) == token:
                del self._received[job_id]

    def _all(self, operation: Callable[..., Operation[Ended]], timeout: float) -> int:
        """Repeat an operation until it finds less than a whole batch."""
        total = 0
        while True:
            done = run_ending(self._database.run, operation, timeout)
            total += done
            if done < claims.BATCH_SIZE:
                return total


def default_adapter(
    dsn: str | None = None,
    *,
    schema: str = "durable",
    workflows: Collection[tuple[str, str]] | None = None,
    codec: CodecChoice = None,
) -> PostgresAdapter:
    """Return the adapter for PostgreSQL.

    Args:
        dsn: A libpq connection string; the environment's DURABLE_DSN by default.
        schema: The schema of a migrated database.
        workflows: The (name, version) pairs it may fetch; None for any.
        codec: What payloads are encoded and decoded with, as for ``Durable``.

    Raises:
        ConfigError: There is no DSN, or the schema's name is not one, or the codec is none.
    """
    return PostgresAdapter(known_dsn(dsn), schema=schema, workflows=workflows, codec=codec)


def error_of(reason: Any) -> dict[str, Any]:
    """Return a reason for failing in the form that errors have everywhere."""
    if isinstance(reason, dict):
        error: dict[str, Any] = canonical(reason, what="reason")
        told = {"type": "error", "message": storable(encode(error).decode())}
        texts = {key: error[key] for key in told if isinstance(error.get(key), str)}
        return in_key_order({**error, **told, **texts})
    if isinstance(reason, BaseException):
        return {"type": type(reason).__name__, "message": storable(text_of(reason))}
    return {
        "type": "error",
        "message": storable(reason if isinstance(reason, str) else text_of(reason, repr)),
    }


def _pairs(workflows: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = [tuple(pair) if isinstance(pair, list | tuple) else () for pair in workflows]
    if isinstance(workflows, str) or any(
        len(pair) != len(("name", "version")) or not all(isinstance(part, str) for part in pair)
        for pair in pairs
    ):
        raise ValueError(f"workflows must be (name, version) pairs of text, not {workflows!r}.")
    return [(name, version) for name, version in pairs]


def _checked_count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{what} must be a whole number of at least 1, not {value!r}.")
    return min(value, MOST_ROWS)


def _check_timeout(value: float) -> float:
    seconds = in_seconds(value, what="timeout_seconds")
    if seconds == 0:
        raise ValueError("timeout_seconds must be more than zero, or living claims are taken.")
    return min(seconds, LONGEST_DURATION)
