"""What all pages share: the client, the database, who may do what, and what changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from durable_otp.client import Durable
from durable_otp.clock import monotonic
from durable_otp.dashboard.access import Access
from durable_otp.dashboard.live import Hub
from durable_otp.dashboard.sightings import Sightings
from durable_otp.errors import DatabaseUnreachable
from durable_otp.storage.codec import CodecChoice
from durable_otp.storage.nodes import Node, live_nodes
from durable_otp.storage.operation import Operation
from durable_otp.storage.payloads import Codecs
from durable_otp.storage.pool import PooledDatabase

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

CONNECTIONS = 4
"""Pages share so many, and the feed of changes has one more while a page is open."""
_COST_PER_REST = 20.0
_MOST_KEPT = 500
"""Answers, before those that are too old are thrown away: every filter has one of its own."""


class TookTooLong(Exception):  # noqa: N818 - reads as the sentence it reports
    """A question that would keep the server busy for longer than a page is worth."""


@dataclass
class Limits:
    """What the pages have to know of the configuration; times in seconds, sizes in bytes."""

    node_timeout: float = 15.0
    stale_lock_timeout: float = 300.0
    max_payload: int = 1024**2
    shown: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The configuration as the settings page shows it, without anything secret."""


class Console:
    """One dashboard of one schema; safe to use from many threads."""

    def __init__(
        self, dsn: str, schema: str, access: Access, limits: Limits, codec: CodecChoice = None
    ) -> None:
        self.schema = schema
        self.access = access
        self.limits = limits
        self.client = Durable(
            dsn,
            schema=schema,
            max_payload=limits.max_payload,
            codec=codec,
            _shows_encoded=True,
        )
        self.hub = Hub(self.client.dsn, schema)
        self.bulk: dict[str, Any] = {}
        self.stacks: dict[str, str] = {}
        self.sightings = Sightings()
        self._database = PooledDatabase(
            self.client.dsn,
            schema,
            role="dashboard",
            size=CONNECTIONS,
            codecs=Codecs(codec, shows=True),
        )
        self._kept: dict[Any, tuple[float, Any]] = {}
        self._lock = Lock()

    def run(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation of storage and return its answer.

        Raises:
            TookTooLong: It ran out of the time that a page may take.
            DatabaseUnreachable: The server does not answer.
        """
        try:
            return self._database.run(operation, *args, **kwargs)
        except DatabaseUnreachable as error:
            if "statement timeout" in str(error):
                raise TookTooLong(
                    "This question takes the database too long; narrow it by a time, a workflow "
                    "or a status."
                ) from None
            raise

    def kept(self, key: Any, ask: Callable[[], Value], *, seconds: float = 1.0) -> Value:
        """Return an answer that is not older than so many seconds, or than 20 times its cost.

        However many pages are open, a question that is dear is asked seldom.
        """
        with self._lock:
            until, answer = self._kept.get(key, (0.0, None))
            if monotonic() < until:
                known: Value = answer
                return known
        began = monotonic()
        fresh = ask()
        rest = max(seconds, _COST_PER_REST * (monotonic() - began))
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept = {k: kept for k, kept in self._kept.items() if kept[0] > monotonic()}
            self._kept[key] = (monotonic() + rest, fresh)
        return fresh

    def forget(self, key: Any) -> None:
        """Ask again the next time, whatever is kept."""
        with self._lock:
            self._kept.pop(key, None)

    def nodes(self) -> list[Node]:
        """Return the nodes that live."""
        return self.run(live_nodes)

    def close(self) -> None:
        """Close the connections and the feed."""
        self.hub.close()
        self._database.close()
        self.client.close()
