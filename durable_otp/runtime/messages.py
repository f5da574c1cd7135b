"""What travels on the links between a manager, its workers and the root."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.engine.host import Begun
from durable_otp.storage.definitions import PublishedDefinition
from durable_otp.workflow.registry import Registry
from durable_otp.workflow.schedule import ScheduleSettings

# manager to worker
RUN = "run"
INTERRUPT = "interrupt"
FLUSHED = "flushed"

# worker to manager
BEGUN = "begun"
ENDED = "ended"
PROGRESS = "progress"
LEAVING = "leaving"
DONE = "done"
STEP = "step"
FLUSH = "flush"

# root to the queue managers and the registrar
LOOK = "look"
FINISH = "finish"
TREE = "tree"
WORKFLOWS = "workflows"

# root to the idle watch, and back
IN_HAND = "in_hand"
IDLE = "idle"

# orders: from the registrar to the root and on to a worker's manager, and the answers back
ORDER = "order"
ANSWER = "answer"
STAY = "stay"


@dataclass(frozen=True)
class BegunReport:
    """The attempt that a worker has begun, as its manager knows it.

    ``at`` is when, by the machine's monotonic clock.
    """

    run: int
    at: float
    position: int
    path: str
    name: str
    type: str
    visit: int
    attempt: int
    timeout: float | None
    progress_deadline: float | None
    retry_after_timeout: float | None


def begun_fields(run: int, begun: Begun) -> dict[str, Any]:
    """Return the report of an attempt that begins now."""
    return {
        "run": run,
        "at": monotonic(),
        "position": begun.attempt.position,
        "path": begun.attempt.path,
        "name": begun.attempt.name,
        "type": begun.attempt.type,
        "visit": begun.attempt.visit,
        "attempt": begun.attempt.number,
        "timeout": begun.timeout,
        "progress_deadline": begun.progress_deadline,
        "retry_after_timeout": begun.retry_after_timeout,
    }


def known_workflows(registry: Registry) -> list[dict[str, Any]]:
    """Return what a worker tells of the workflows it can run."""
    return [
        {
            "workflow": name,
            "version": version,
            "fingerprint": registry.get(name, version).fingerprint(),
            "description": registry.get(name, version).description(),
            "schedules": [asdict(each) for each in registry.get(name, version).schedules],
        }
        for name, version in registry.known()
    ]


def as_published(known: dict[str, Any]) -> PublishedDefinition:
    """Return a known workflow as it is published."""
    facts = ("workflow", "version", "fingerprint", "description")
    return PublishedDefinition(**{fact: known[fact] for fact in facts})


def declared_schedules(workflows: Iterable[dict[str, Any]]) -> list[ScheduleSettings]:
    """Return the schedules of known workflows; of versions that share one, the last's."""
    found = {each["name"]: each for known in workflows for each in known["schedules"]}
    return [ScheduleSettings(**found[name]) for name in sorted(found)]
