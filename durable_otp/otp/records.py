"""A supervisor's table: a record per child, in start order, and answers that need no process."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from durable_otp.otp.calls import ChildCounts, ChildInfo
from durable_otp.otp.child_spec import ChildSpec, SupervisorSpec
from durable_otp.otp.errors import AlreadyPresent, AlreadyStarted, NotFound
from durable_otp.otp.process import Child
from durable_otp.otp.restart import RestartIntensity

State = Literal["up", "undefined", "restarting"]


@dataclass(eq=False)
class Record:
    """One child: its specification, its process if it has one, and its history.

    ``starting`` is a process that has not acknowledged its start, ``let_go`` one whose end is not
    followed by a restart; ``ticket`` belongs to the
    attempt to restart that is waiting, if any; ``failures`` and ``slow_attempts`` count for the
    two backoff curves.
    """

    spec: ChildSpec
    state: State = "undefined"
    child: Child | None = None
    starting: Child | None = None
    let_go: Child | None = None
    restarts: int = 0
    last_exit: str | None = None
    failures: int = 0
    slow_attempts: int = 0
    ticket: object = None
    intensity: RestartIntensity = field(default_factory=lambda: RestartIntensity(1, 5.0))

    @property
    def type(self) -> str:
        """``worker`` or ``supervisor``."""
        return self.spec.type or "worker"


class Table:
    """The records of one supervisor, in start order."""

    def __init__(self, spec: SupervisorSpec) -> None:
        self._flags = spec.flags
        self.records = [self.record(child) for child in spec.children]
        self.intensity = self._intensity()

    def _intensity(self) -> RestartIntensity:
        return RestartIntensity(self._flags.intensity, self._flags.period)

    def record(self, spec: ChildSpec) -> Record:
        """Return a new record, not in the table yet."""
        return Record(spec, intensity=self._intensity())

    def find(self, child_id: str) -> Record:
        """Return the record of this id or raise NotFound."""
        for record in self.records:
            if record.spec.id == child_id:
                return record
        raise NotFound(child_id)

    def check_new(self, child_id: str) -> None:
        """Raise unless the id is free."""
        for record in self.records:
            if record.spec.id == child_id and record.child is not None:
                raise AlreadyStarted(child_id, record.child.pid)
            if record.spec.id == child_id:
                raise AlreadyPresent(child_id)

    def remove(self, record: Record) -> None:
        """Forget the record."""
        self.records = [each for each in self.records if each is not record]

    def settle(self, record: Record) -> None:
        """Note that the child is down and is not to be restarted."""
        record.state = "undefined"
        record.child = None
        if record.spec.restart == "temporary":
            self.remove(record)

    def significant_left(self, gone: Record) -> Iterator[bool]:
        """Return, for each other child that is up or restarting, whether it is significant."""
        for record in self.records:
            if record is not gone and record.state != "undefined":
                yield record.spec.significant

    def next_restart(self, record: Record, now: float, chance: float) -> float | None:
        """Count one restart of the child; return the seconds to wait before, None for giving up.

        With ``on_exceeded="backoff"`` each child has its own count, so that one which crashes for
        ever delays no other.
        """
        record.failures += 1
        record.restarts += 1
        slow = self._flags.on_exceeded == "backoff"
        exceeded = (record.intensity if slow else self.intensity).exceeded(now)
        if exceeded and not slow:
            return None
        record.slow_attempts = record.slow_attempts + 1 if exceeded else 0
        if record.spec.backoff is not None:
            return record.spec.backoff.delay(record.failures, chance)
        return self._flags.backoff.delay(record.slow_attempts, chance) if exceeded else 0.0

    def forgive(self, record: Record, lived: float) -> None:
        """Let a child that lived long enough begin its backoff curve anew."""
        backoff = record.spec.backoff or self._flags.backoff
        if lived >= backoff.reset_after:
            record.failures = record.slow_attempts = 0

    def which_children(self) -> list[ChildInfo]:
        """Return a line per child, the newest in start order first."""
        return [
            ChildInfo(r.spec.id, r.child.pid if r.child else None, r.state, r.type)
            for r in reversed(self.records)
        ]

    def count_children(self) -> ChildCounts:
        """Return how many children there are, and how many of them live."""
        supervisors = sum(r.type == "supervisor" for r in self.records)
        return ChildCounts(
            specs=len(self.records),
            active=sum(r.child is not None for r in self.records),
            supervisors=supervisors,
            workers=len(self.records) - supervisors,
        )

    def nodes(self) -> list[dict[str, Any]]:
        """Return a node of the tree per child, in start order."""
        own = self._flags.on_exceeded == "backoff"
        return [_node(record, own=own) for record in self.records]


def _node(record: Record, *, own: bool) -> dict[str, Any]:
    """Return a child as it is shown; ``own`` says that its restarts are counted by themselves."""
    child = record.child
    status = {"up": "running", "undefined": "stopped", "restarting": "restarting"}[record.state]
    return {
        "id": record.spec.id,
        "role": record.type,
        "pid": child.pid if child else None,
        "status": status,
        "restarts": record.restarts,
        "budget": record.intensity.shown() if own else None,
        "last_exit": record.last_exit,
        "policy": {"restart": record.spec.restart, "shutdown": record.spec.patience},
        "started_at": child.started_at if child else None,
        "children": [],
        **(child.state if child else {}),
    }
