"""What tests write into journals: steps, failures and waits, made with few words."""

from typing import Any

from durable_otp import Retry, Workflow
from durable_otp.engine.journal import Attempt, Completion, Failure
from durable_otp.engine.journals import Journals
from durable_otp.workflow.suspension import WaitRequest
from tests.support.journals import Side

ERROR = {"type": "ValueError", "message": "no", "stacktrace": None}


def workflow(*names: str, name: str = "steps", **options: Any) -> Workflow:
    made = Workflow(name, retry=Retry(max_attempts=5), **options)
    for step in names or ("one", "two", "three"):
        made.step(name=step)(lambda: None)
    return made


def attempt(name: str, position: int, *, visit: int = 1, number: int = 1) -> Attempt:
    return Attempt(position, name, name, "step", visit, number)


def completion(name: str, position: int, next_path: str | None = None, **fields: Any) -> Completion:
    given: dict[str, Any] = {
        "output": {"from": name},
        "changes": [["set", name, position], ["append", "names", name]],
        "snapshot": None,
        "jumps": 0,
        "logs": [{"source": "output", "level": "info", "message": "said"}],
        "duration": 0.25,
        "visit": 1,
        "number": 1,
        **fields,
    }
    run = attempt(name, position, visit=given.pop("visit"), number=given.pop("number"))
    return Completion(attempt=run, next_path=next_path, **given)


def failure(name: str, position: int, number: int = 1, visit: int = 1) -> Failure:
    return Failure(attempt(name, position, visit=visit, number=number), ERROR, [], 0.1)


def sleep_for(seconds: float) -> WaitRequest:
    return WaitRequest(kind="sleep", seconds=seconds)


def begun(side: Side, *names: str, given: Any = None, **options: Any) -> tuple[str, Journals]:
    """Start an execution and claim it."""
    id_ = side.start(workflow(*names, **options), given)
    journal = side.claim(id_)
    assert journal is not None
    return id_, journal


def claimed(side: Side, id_: str) -> Journals:
    journal = side.claim(id_)
    assert journal is not None
    return journal
