"""What must always hold of claims and what they leave behind: I-8, I-9, I-11, I-27."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from durable_otp.storage.statements import catalogue
from tests.support.ledger.record import Record, Row, Rows, grouped, is_claim, is_final

FENCED_READS = frozenset({"journal_since_snapshot", "to_undo"})
_WORKER = "durable:worker "
BY_RIGHT = frozenset({"cancel_executions", "write_batch"})
"""What a worker may do to a row that is held without asking for its token: the end of a parent ends
its children, whoever holds them; and `write_batch` writes what `lock_batch` has found by the token.
"""


def claims_exclude_each_other(record: Record) -> list[str]:
    """I-8: no token is given twice, none over another's head, and one body runs at a time."""
    return [
        *_tokens_given_twice(record),
        *_claims_of_what_is_held(record),
        *_bodies_side_by_side(record),
    ]


def only_the_holder_writes(record: Record) -> list[str]:
    """I-9: a worker changes what is held by statements alone that ask for the token of the claim.

    A fenced statement changes nothing under another token than the row's, which
    `tests/unit/test_states.py` and its neighbours hold of each. Besides, under one token one worker
    writes, and nobody writes a step of what nobody holds.
    """
    writers: dict[str, set[str]] = {}
    found = []
    for move in record.moves:
        token = _token_of_writing(move)
        if token is None:
            continue
        if move["app"].startswith(_WORKER):
            writers.setdefault(token, set()).add(move["app"])
    found += [
        f"I-9 under the token {token} wrote {sorted(apps)}"
        for token, apps in writers.items()
        if len(apps) > 1
    ]
    return found + _steps_without_a_claim(record) + _writes_without_the_fence(record)


def refused_writes(statements: Iterable[Mapping[str, Any]]) -> int:
    """Return how many fenced statements the proxy saw change nothing: a soak without is void.

    Those that only read find nothing in a new execution either, and do not count.
    """
    fenced = {text.name for text in catalogue().values() if text.fenced} - FENCED_READS
    return sum(
        each["name"] in fenced and str(each["tag"]).endswith(" 0") and not each["error"]
        for each in statements
    )


def nothing_is_left(record: Record, sessions: Rows = ()) -> list[str]:  # type: ignore[assignment]
    """I-11: at rest nobody holds anything, and nothing that has ended waits for something."""
    found = []
    ended = {str(row["id"]) for row in record.executions if is_final(row["status"])}
    for row in record.executions:
        if row["status"] == "running":
            found.append(f"I-11 {row['id']} is still running, held by {row['locked_by']}")
        elif any(row[column] for column in ("lock_token", "locked_by", "locked_at")):
            found.append(f"I-11 {row['id']} is {row['status']} and held by {row['locked_by']}")
    open_rows = [("wait", w) for w in record.waits if w["status"] == "open"]
    open_rows += [("input", i) for i in record.inputs if i["status"] == "open"]
    found += [
        f"I-11 {what} {row['id']} is open, and {row['execution_id']} has ended"
        for what, row in open_rows
        if str(row["execution_id"]) in ended
    ]
    for session in sessions:
        if str(session["state"]).startswith("idle in transaction"):
            found.append(f"I-11 {session['app']} (pid {session['pid']}) is {session['state']}")
        if session["advisory"]:
            found.append(f"I-11 {session['app']} (pid {session['pid']}) holds an advisory lock")
    return found


def a_stop_is_clean(record: Record, *, node: str, stopped_at: int, exit_code: int) -> list[str]:
    """I-27: after SIGTERM a node claims nothing, ends with 0 and leaves nothing locked.

    ``node`` is what its managers' ids begin with, ``stopped_at`` a mark made with the signal.
    """
    found = [f"I-27 the node has ended with {exit_code}"] * (exit_code != 0)
    found += [
        f"I-27 {move['execution']} was claimed by {move['new']['locked_by']} after the stop"
        for move in record.of("workflow_executions")
        if move["n"] > stopped_at and is_claim(move) and _held_by(move["new"], node)
    ]
    return found + [
        f"I-27 {row['id']} is still held by {row['locked_by']}"
        for row in record.executions
        if _held_by(row, node)
    ]


def _held_by(row: Row, node: str) -> bool:
    return str(row["locked_by"] or "").startswith(node)


def _tokens_given_twice(record: Record) -> list[str]:
    given: set[str] = set()
    found = []
    for move in record.of("workflow_executions"):
        token = move["new_token"]
        if token is None or token == move["old_token"]:
            continue
        if str(token) in given:
            found.append(f"I-8 the token {token} was given twice, again to {move['execution']}")
        given.add(str(token))
    return found


def _claims_of_what_is_held(record: Record) -> list[str]:
    """A holder changes only by release and claim; the same holder may get another token."""
    return [
        f"I-8 {move['execution']} passed from {move['old']['locked_by']} "
        f"to {move['new']['locked_by']} without being given back"
        for move in record.of("workflow_executions")
        if move["old_token"] is not None
        and move["new_token"] is not None
        and move["old"]["locked_by"] != move["new"]["locked_by"]
    ]


def _bodies_side_by_side(record: Record) -> list[str]:
    """A body that goes on after another of the same visit has begun, under the same token.

    One whose claim is lost may begin late, for it learns of that when it asks: so there may be as
    many as there were claims of the visit. One that came to no end has died, and its claim may have
    gone on without it.
    """
    changes = grouped(
        [m for m in record.of("workflow_executions") if m["new_token"] != m["old_token"]],
        lambda move: str(move["execution"]),
    )
    done = grouped(
        [m for m in record.of("step_executions") if m["new_status"] == "completed"],
        lambda move: str(move["execution"]),
    )
    found = []
    for key, effects in record.bodies().items():
        execution = str(effects[0]["execution"])
        moves = changes.get(execution, [])
        for effect, other in _overlaps(effects):
            if any(effect["n"] < move["n"] < other["n"] for move in moves):
                continue
            before = [step["n"] for step in done.get(execution, []) if step["n"] < effect["n"]]
            since = max(before, default=0)
            claims = _tokens_between(moves, since, other["n"])
            meanwhile = [e for e in effects if since < e["n"]]
            ended = {e["pid"] for e in meanwhile if e["phase"] == "end"}
            bodies = {e["pid"] for e in meanwhile if e["n"] <= other["n"]}
            bodies &= ended | {effect["pid"], other["pid"]}
            if len(bodies) > len(claims):
                pids = effect["pid"], other["pid"]
                found.append(f"I-8 {key} ran in {pids[0]} and {pids[1]} under one token")
    return found


def _overlaps(effects: Rows) -> Iterator[tuple[Row, Row]]:
    """Yield each body of a visit with the first one that began elsewhere before it had ended."""
    for number, effect in enumerate(effects):
        later = effects[number + 1 :]
        end = next((e for e in later if e["phase"] == "end" and e["pid"] == effect["pid"]), None)
        others = [e for e in later if e["pid"] != effect["pid"] and end and e["n"] < end["n"]]
        if effect["phase"] == "begin" and others:
            yield effect, others[0]


def _tokens_between(changes: Rows, since: int, until: int) -> set[str]:
    """Return the tokens that an execution had between two lines: at the first, and after it."""
    at_first = [move["new_token"] for move in changes if move["n"] < since][-1:]
    given = [move["new_token"] for move in changes if since < move["n"] < until]
    return {str(token) for token in (*at_first, *given) if token is not None}


def _token_of_writing(move: Row) -> str | None:
    if move["what"] == "workflow_executions" and move["old_token"] is not None:
        return str(move["old_token"])
    if move["what"] == "step_executions" and move["new_token"] is not None:
        return str(move["new_token"])
    return None


def _writes_without_the_fence(record: Record) -> list[str]:
    fenced = {text.name for text in catalogue().values() if text.fenced}
    return [
        f"I-9 {move['app']} changed {move['what']} of {move['execution']}, which is held, "
        f"by {move['statement']}"
        for move in record.moves
        if _token_of_writing(move) is not None
        and move["app"].startswith(_WORKER)
        and move["statement"] not in fenced | BY_RIGHT
    ]


def _steps_without_a_claim(record: Record) -> list[str]:
    """A worker's step row lies in the claim, or in the transaction that ended it."""
    ends = {
        (move["execution"], move["txid"])
        for move in record.of("workflow_executions")
        if move["old_token"] is not None
    }
    return [
        f"I-9 {move['app']} wrote {move['new']['path']} of {move['execution']}, which nobody held"
        for move in record.of("step_executions")
        if move["op"] == "I"
        and move["app"].startswith(_WORKER)
        and move["new_token"] is None
        and (move["execution"], move["txid"]) not in ends
    ]
