"""What must always hold of steps, their bodies and their logs: I-6, I-7, I-10, I-15, I-23, I-26."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from durable_otp.workflow.execution import Execution
from tests.support.ledger.record import Record, Row, Rows, grouped, is_claim, visit_key

MARK = re.compile(r"<<(?P<execution>\S+) (?P<step>\S+) (?P<attempt>\d+)>>")
"""What a body prints so that its logs can be told from others': see `mark`."""


def what_committed_never_runs_again(record: Record) -> list[str]:
    """I-6: no body of a visit begins after its completed row was written."""
    bodies = record.bodies()
    return [
        f"I-6 {effect['key']} began again (n={effect['n']}) after it was completed (n={move['n']})"
        for move in _written(record)
        if move["new_status"] == "completed"
        for effect in bodies.get(_key(record, move), [])
        if effect["phase"] == "begin" and effect["n"] > move["n"]
    ]


def repetition_is_bounded(record: Record) -> list[str]:
    """I-7: a body begins at most once per claim, and once more for each attempt that failed.

    A re-run after a wait is a claim of its own, as is one after a crash or an interruption.
    """
    claims = Counter(
        str(move["execution"])
        for move in record.of("workflow_executions")
        if move["new_token"] is not None and move["new_token"] != move["old_token"]
    )
    failed = Counter(visit_key(step) for step in record.steps if step["status"] == "failed")
    found = []
    for key, effects in record.bodies().items():
        begun = sum(effect["phase"] == "begin" for effect in effects)
        allowed = claims[str(effects[0]["execution"])] + failed[key]
        if begun > allowed:
            found.append(f"I-7 {key} began {begun} times, and {allowed} times would be reason for")
    return found


def the_answer_is_the_same(expected: "Answer", found: "Answer") -> list[str]:
    """I-10: the end is that of a run without faults: status, output, error, steps, undoing."""
    return [
        f"I-10 {name} is {found[name]!r} and was {value!r} without a fault"
        for name, value in expected.items()
        if found[name] != value
    ]


Answer = Mapping[str, Any]


def answer_of(execution: Execution, ignored: frozenset[str] = frozenset()) -> Answer:
    """Return what two runs of the same work have in common.

    Left out are ids, tokens, times, attempts (a crash is one), logs, and the context's keys that
    are named in `ignored`.
    """
    steps = [
        (step.path, step.visit, step.type, str(step.status), step.compensation_for)
        for step in execution.steps or ()
        if str(step.status) == "completed"
    ]
    output = {k: v for k, v in (execution.context or {}).items() if k not in ignored}
    return {
        "status": str(execution.status),
        "error": (execution.error or {}).get("type"),
        "context": output,
        "completed": steps,
        "undone": [(each["step"], each["status"]) for each in execution.compensation_results],
    }


def undoing_is_complete(record: Record) -> list[str]:
    """I-15: what is undone was completed, is undone once, and the newest first."""
    found = []
    statuses = {str(row["id"]): row["status"] for row in record.executions}
    families = grouped(record.steps, lambda step: str(step["execution_id"]))
    for execution, steps in families.items():
        undone = [s for s in steps if s["is_compensation"] and s["status"] == "completed"]
        done = [s for s in steps if not s["is_compensation"] and s["status"] == "completed"]
        twice = [k for k, n in Counter(map(_place, undone)).items() if n > 1]
        found += [f"I-15 {execution} undid {place} more than once" for place in twice]
        wanted = [step for step in done if step["compensation"]]
        if statuses.get(execution) == "compensated" and not _has_children(record, execution):
            found += _undone_wrongly(execution, wanted, undone)
        elif statuses.get(execution) == "completed" and undone:
            found.append(f"I-15 {execution} is completed and has undone {len(undone)} steps")
    return found


def attempts_are_counted(record: Record) -> list[str]:
    """I-23: the attempts of a visit are 1, 2, 3 ... without a gap or a repetition."""
    found = []
    for key, steps in grouped(record.steps, visit_key).items():
        ended = [s for s in steps if s["status"] in ("completed", "failed") and s["type"] == "step"]
        numbers = sorted(step["attempt"] for step in ended)
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"I-23 the attempts of {key} are {numbers}")
    return found


def logs_are_their_own(record: Record) -> list[str]:
    """I-26: what a row has kept of the output was printed by that attempt of that step."""
    found = []
    for step in record.steps:
        for mark in MARK.finditer(str(step["logs"])):
            own = str(step["execution_id"]), step["name"], str(step["attempt"])
            if mark.groups() != own:
                found.append(f"I-26 the logs of {own} hold a line of {mark.groups()}")
    return found


def mark(execution: str, step: str, attempt: int) -> str:
    """Return what a body prints for `logs_are_their_own` to find."""
    return f"<<{execution} {step} {attempt}>>"


def _written(record: Record) -> Rows:
    return [move for move in record.of("step_executions") if move["op"] == "I"]


def _key(record: Record, move: Row) -> str:
    new = move["new"]
    key = f"{move['execution']}:{new['path']}:{new['visit']}"
    if not new["is_compensation"]:
        return key
    names = (s["name"] for s in record.steps if str(s["id"]) == move["row"])
    return f"{key}:{next(names, '')}"


def _place(step: Row) -> tuple[str, int]:
    return step["path"], step["visit"]


def _has_children(record: Record, execution: str) -> bool:
    return any(str(row["parent_id"]) == execution for row in record.executions)


def _undone_wrongly(execution: str, wanted: Rows, undone: Rows) -> list[str]:
    """Compare what was done with what was undone, in the order of each."""
    order = [_place(step) for step in sorted(wanted, key=lambda step: step["position"])]
    back = [_place(step) for step in sorted(undone, key=lambda step: step["position"])]
    if back == order[::-1]:
        return []
    return [f"I-15 {execution} has undone {back}, and had completed {order}"]


def claims_of(record: Record, execution: str) -> int:
    """Return how often an execution was claimed."""
    return sum(is_claim(move) for move in record.histories().get(execution, []))
