"""Where an execution stands when two verbs meet at it, and which verbs have a say there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_otp.storage import waits
from durable_otp.storage.database import Database
from durable_otp.workflow.suspension import WaitRequest
from tests.support import interleaving_verbs as verbs
from tests.support.families import open_block
from tests.support.interleaving import Verb
from tests.support.tables import HOLDER, Tables
from tests.support.waits import asking

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BEFORE = LONG_AGO - timedelta(hours=1)
Ids = dict[str, str]
MakeVerb = Callable[[str], Verb]


@dataclass(frozen=True)
class Situation:
    """A state to begin with, made anew for each run.

    Attributes:
        make: Writes it and returns the executions by the names that verbs are told.
        verbs: By name: which execution it is for, and how it is made from that one's id.
        net: What comes again for what a verb has passed over, because it was locked.
        apart: Pairs that are left out, because they do not meet or may end in another way as well.
    """

    name: str
    make: Callable[[Tables, Database], Ids]
    verbs: Mapping[str, tuple[str, MakeVerb]]
    net: MakeVerb | None = None
    apart: frozenset[tuple[str, str]] = frozenset()

    def verb(self, name: str, ids: Ids) -> Verb:
        """Return a verb, about to begin."""
        whose, make = self.verbs[name]
        return make(ids[whose])


def on(whose: str, *names: str, **others: MakeVerb) -> dict[str, tuple[str, MakeVerb]]:
    """Return verbs for one execution, by the names of their functions, or by other names."""
    found = {name: getattr(verbs, name) for name in names} | others
    return {f"{name} {whose}": (whose, make) for name, make in found.items()}


CLAIMED = (
    "heartbeat", "ack", "nack", "reschedule", "release", "recover_stale", "recover_for_good",
    "end_overdue", "checkpoint", "complete", "settle_batch", "record_failure", "fail",
    "retry_later", "move", "sleep", "wait", "call", "start_once", "keep_once", "open_block",
    "crash", "last_crash", "time_out", "claim", "start_same", "send_event", "cancel", "fork",
    "watch", "retry",
)  # fmt: skip
UNCLAIMED = (
    "claim", "heartbeat", "checkpoint", "recover_for_good", "end_overdue", "start_same",
    "send_event", "provide_input", "cancel", "fork", "watch", "retry",
)  # fmt: skip
ENDED = (
    "retry", "fork", "cancel", "send_event", "start_same", "claim", "checkpoint", "watch",
    "cancel_orphans", "attend_left",
)  # fmt: skip


def root(tables: Tables, status: str, **columns: Any) -> str:
    """Add an execution that has completed its first step."""
    given = {
        "queue": verbs.QUEUE, "deadline_at": LONG_AGO, "inserted_at": BEFORE,
        "idempotency_key": verbs.KEY, "watched": True, "input": {}, "updated_at": BEFORE,
    }  # fmt: skip
    if status in ("running", "compensating"):
        given |= {**HOLDER, "locked_at": LONG_AGO}
    return tables.add(status, **(given | columns))


def steps(tables: Tables, id_: str, **columns: Any) -> None:
    """Add what an execution has done: its first step, and mail that nobody has read."""
    tables.add_step(id_, 1, next_path=verbs.STEP, **columns)
    tables.sql(
        "INSERT INTO durable.events (id, execution_id, name, payload, sent_at) "
        "VALUES (gen_random_uuid(), %s, 'go', '1', durable.now())",
        [id_],
    )


def running(tables: Tables, _database: Database) -> Ids:
    id_ = root(tables, "running")
    steps(tables, id_)
    return {"it": id_}


def running_saga(tables: Tables, _database: Database) -> Ids:
    id_ = root(tables, "running")
    steps(tables, id_, compensation="undo")
    return {"it": id_}


def pending(tables: Tables, _database: Database) -> Ids:
    id_ = root(tables, "pending")
    tables.add_step(id_, 1, next_path=verbs.STEP)
    return {"it": id_}


def waiting_for(tables: Tables, database: Database, *requests: WaitRequest) -> str:
    id_ = root(tables, "running", deadline_at=LONG_AGO)
    tables.add_step(id_, 1, next_path=verbs.STEP)
    asked = waits.asked(list(enumerate(requests)))
    place = {"path": verbs.STEP, "visit": 1, "attempt": 1, "calls": None, "id": id_}
    database.run(waits.suspend_and_look, {**place, **verbs.CLAIM, **asked})
    return id_


def waiting(tables: Tables, database: Database) -> Ids:
    requests = (
        WaitRequest("event", ("go",), seconds=0.0),
        asking("ask", seconds=0.0),
        WaitRequest("sleep", seconds=0.0),
    )
    return {"it": waiting_for(tables, database, *requests)}


def waiting_to_fail(tables: Tables, database: Database) -> Ids:
    request = asking("ask", seconds=0.0, on_timeout="fail")
    return {"it": waiting_for(tables, database, request)}


def waiting_for_two(tables: Tables, database: Database) -> Ids:
    """It waits for one event twice and for either of two; it runs on and has asked for no time."""
    requests = (WaitRequest("event", ("go",)), WaitRequest("any", ("go", "other")))
    return {"it": waiting_for(tables, database, *requests)}


def resumed(tables: Tables, database: Database) -> Ids:
    """It was woken by one of its waits and runs again, with the others open."""
    ids = waiting(tables, database)
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'running', locked_by = %s, "
        "locked_at = %s, lock_token = %s WHERE id = %s",
        [verbs.MANAGER, LONG_AGO, verbs.TOKEN, ids["it"]],
    )
    return ids


def zombie(tables: Tables, _database: Database) -> Ids:
    id_ = root(tables, "waiting", due_in=None)
    tables.add_step(id_, 1, next_path=verbs.STEP)
    return {"it": id_}


def family(tables: Tables, database: Database) -> Ids:
    """A parent waits for a block of three, of which one runs, one is due and one is not made."""
    parent = open_block(database, tables, 3, max_concurrency=2, starts=[("pack", verbs.QUEUE)])
    tables.sql(
        "UPDATE durable.workflow_executions SET deadline_at = %s, inserted_at = %s WHERE id = %s",
        [LONG_AGO, BEFORE, parent],
    )
    rows = tables.sql(
        "SELECT id::text FROM durable.workflow_executions WHERE parent_id = %s "
        "ORDER BY parent_index",
        [parent],
    )
    running_child, due_child = (row["id"] for row in rows)
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'running', locked_by = %s, "
        "locked_at = %s, lock_token = %s WHERE id = %s",
        [verbs.MANAGER, LONG_AGO, verbs.TOKEN, running_child],
    )
    return {"parent": parent, "child": running_child, "sibling": due_child}


def collected_family(tables: Tables, database: Database) -> Ids:
    """The same where one failure ends nothing."""
    ids = family(tables, database)
    tables.sql("UPDATE durable.fan_outs SET on_error = 'complete_all'")
    return ids


def called(tables: Tables, database: Database) -> Ids:
    """A parent waits for a workflow that it has called, for longer than it has patience."""
    parent = root(tables, "running")
    tables.add_step(parent, 1, next_path=verbs.STEP)
    request = verbs.call(parent)
    statement = next(request)
    rows: Any = []
    try:
        while True:
            is_statement = not isinstance(statement, str)
            rows = database.connection().run(statement) if is_statement else []
            statement = request.send(rows)
    except StopIteration:
        pass
    (child,) = tables.sql(
        "SELECT id::text FROM durable.workflow_executions WHERE parent_id = %s", [parent]
    )
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'running', locked_by = %s, "
        "locked_at = %s, lock_token = %s WHERE id = %s",
        [verbs.MANAGER, LONG_AGO, verbs.TOKEN, child["id"]],
    )
    return {"parent": parent, "child": child["id"]}


def compensating(tables: Tables, _database: Database) -> Ids:
    id_ = root(tables, "compensating", error={"type": "E", "message": "no"})
    steps(tables, id_, compensation="undo")
    return {"it": id_}


def failed(tables: Tables, _database: Database) -> Ids:
    """It has failed in a block, and with it three children."""
    id_ = root(tables, "failed", error={"type": "E", "message": "no"})
    tables.add_step(id_, 1, next_path="block")
    tables.sql(
        "INSERT INTO durable.fan_outs (execution_id, path, visit, on_error, total, context, "
        "opened_at) VALUES (%s, 'block', 1, 'fail_fast', 2, '{}', durable.now())",
        [id_],
    )
    place = {"parent_id": id_, "parent_path": "block", "parent_visit": 1, "queue": verbs.QUEUE}
    children = [
        tables.add(status, parent_index=number, start_path="block/a", **place)
        for number, status in enumerate(("failed", "cancelled"))
    ]
    return {"parent": id_, "child": children[0], "sibling": children[1]}


def failed_in_an_open_block(tables: Tables, database: Database) -> Ids:
    """A child has failed while its parent waits still, so that it may be retried."""
    ids = collected_family(tables, database)
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'failed', completed_at = durable.now(), "
        "lock_token = NULL, locked_by = NULL, locked_at = NULL WHERE id = %s",
        [ids["child"]],
    )
    return ids


def undone_in_vain(tables: Tables, _database: Database) -> Ids:
    id_ = root(tables, "compensation_failed", error={"type": "E", "message": "no"})
    steps(tables, id_, compensation="undo")
    tables.add_step(
        id_, 2, path="step1", status="failed", is_compensation=True, compensation="undo",
        compensation_for="step1", error={"type": "E"},
    )  # fmt: skip
    return {"it": id_}


CHILD = (
    "complete", "fail", "settle_batch", "release", "recover_for_good", "crash", "last_crash",
    "sleep", "cancel", "heartbeat", "open_block", "retry",
)  # fmt: skip
PARENT = (
    "cancel", "end_overdue", "attend", "attend_left", "send_event", "claim", "cancel_orphans",
    "retry", "fork", "end_zombies", "give_up_calls",
)  # fmt: skip

SITUATIONS = {
    situation.name: situation
    for situation in (
        Situation("running", running, on("it", *CLAIMED)),
        Situation("a running saga", running_saga, on("it", *CLAIMED)),
        Situation("pending", pending, on("it", *UNCLAIMED)),
        Situation("waiting", waiting, on("it", *UNCLAIMED, "wake_sleepers", "end_waits",
                                         "end_zombies")),
        Situation("waiting to fail", waiting_to_fail,
                  on("it", "provide_input", "end_waits", "cancel", "end_overdue", "watch")),
        Situation("waiting for two", waiting_for_two,
                  on("it", "send_event", "cancel", "end_overdue", "end_waits", "fork")),
        Situation("resumed", resumed,
                  on("it", *CLAIMED, "checkpoint_and_close", "provide_input", "end_waits"),
                  # both are the claim's own worker's, which does one at a time
                  apart=frozenset({("call it", "checkpoint_and_close it")})),
        Situation("zombie", zombie, on("it", *UNCLAIMED, "end_zombies", "wake_sleepers")),
        Situation("a family", family,
                  on("parent", *PARENT) | on("child", *CHILD) | on("sibling", "cancel", "retry")),
        Situation("a family that collects", collected_family,
                  on("parent", *PARENT) | on("child", *CHILD) | on("sibling", "cancel", "retry")),
        Situation("called", called, on("parent", *PARENT) | on("child", *CHILD)),
        Situation("compensating", compensating,
                  on("it", "undo", "give_up_undoing", "end_compensation", "handler_crash", "crash",
                     "heartbeat", "release", "recover_stale", "recover_for_good", "claim",
                     "cancel", "send_event", "retry", "fork", "end_overdue", "keep_once")),
        Situation("failed", failed,
                  on("parent", *ENDED, delete=verbs.delete("failed"))
                  | on("child", "retry", "fork", "cancel") | on("sibling", "retry")),
        Situation("failed in an open block", failed_in_an_open_block,
                  on("parent", *PARENT) | on("child", "retry", "cancel")
                  | on("sibling", "cancel", "retry")),
        Situation("undone in vain", undone_in_vain,
                  on("it", *ENDED, delete=verbs.delete("compensation_failed"))),
    )
}  # fmt: skip
SWEEPS = frozenset({
    "claim", "heartbeat", "recover_stale", "end_zombies", "wake_sleepers", "end_waits",
    "end_overdue", "settle_batch", "delete", "claim_within", "pass_turns",
})  # fmt: skip
"""They leave out a row that somebody has locked, and come again."""


def is_sweep(verb: str) -> bool:
    """Return whether a verb, by its name in a situation, passes over what is locked."""
    return verb.partition(" ")[0] in SWEEPS
