"""The journal of undoing: what is left and in which order, fenced writes, settled deaths."""

from dataclasses import replace
from typing import Any

import pytest

from durable_otp.engine.journal import Attempt, Failure
from durable_otp.errors import ClaimLost
from durable_otp.storage import queue, reports
from durable_otp.storage.compensations import to_undo
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.storage.journal import PostgresJournal
from durable_otp.storage.journal_writing import Holder
from durable_otp.storage.settlement import LostAttempt, Verdict, settle_crash, settle_timeout
from tests.support.tables import HOLDER, Tables

TOKEN = HOLDER["lock_token"]
ERROR = {"type": "ValueError", "message": "no"}
PEAK = 3 << 30
CRASH = {"type": "worker_crashed", "message": "it died"}


def compensating(tables: Tables, **columns: Any) -> str:
    """Insert an execution that is held and compensates."""
    return tables.add("compensating", lock_token=TOKEN, locked_by="somebody", **columns)


def journal_of(database: Database, row: str, token: str = TOKEN) -> Any:
    return PostgresJournal(database, Holder(row, token)).compensations


def attempt(number: int = 1, path: str = "step1", position: int = 2, visit: int = 1) -> Attempt:
    return Attempt(position, path, "undo", "compensation", visit, number)


def left(database: Database, row: str) -> list[tuple[str, int, int]]:
    """Return what is still to be undone: path, visit, recorded attempts."""
    found = database.run(to_undo, row)
    return [(each.path, each.visit, each.recorded_attempts) for each in found]


def child_of(tables: Tables, parent: str, index: int, path: str, **columns: Any) -> str:
    given = {"parent_path": path, "parent_visit": 1, "start_path": path} | columns
    return tables.add("completed", parent_id=parent, parent_index=index, **given)


def step_at(tables: Tables, row: str, second: int, path: str, **columns: Any) -> None:
    """Insert a completed step with a handler, at a second of the same minute."""
    tables.add_step(row, columns.pop("position", second), path=path, compensation="undo", **columns)
    tables.sql(
        "UPDATE durable.step_executions SET completed_at = timestamptz '2026-01-01T00:00Z' "
        "+ make_interval(secs => %s) WHERE execution_id = %s AND path = %s AND visit = %s",
        [second, row, path, columns.get("visit", 1)],
    )


def test_visits_are_undone_newest_first_and_only_those_with_a_handler(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    step_at(tables, row, 1, "book")
    tables.add_step(row, 2, path="plain")
    step_at(tables, row, 3, "book", visit=2)
    step_at(tables, row, 4, "pay")
    tables.add_step(row, 5, path="late", status="failed", error=ERROR)
    assert left(database, row) == [("pay", 1, 0), ("book", 2, 0), ("book", 1, 0)]
    positions = [each.position for each in database.run(to_undo, row)]
    assert positions == [6, 7, 8]


def test_the_children_of_blocks_are_merged_in_by_time_and_shown_by_their_index(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    step_at(tables, row, 1, "first")
    items = [child_of(tables, row, index, "pack") for index in range(2)]
    step_at(tables, items[1], 2, "pack", position=1)
    step_at(tables, items[0], 3, "pack", position=1)
    lookup = child_of(tables, row, 0, "both", start_path="both/fetch")
    step_at(tables, lookup, 4, "both/fetch", position=1)
    inner = child_of(tables, lookup, 7, "both/pack")
    step_at(tables, inner, 5, "both/pack", position=1)
    step_at(tables, row, 6, "last")
    cancelled = tables.add("cancelled", parent_id=row, parent_index=9, parent_path="pack",
                           parent_visit=1)  # fmt: skip
    step_at(tables, cancelled, 7, "pack", position=1)
    called = tables.add("completed", parent_id=row)
    step_at(tables, called, 8, "other")
    assert [path for path, _, _ in left(database, row)] == [
        "pack/9", "last", "both/pack/7", "both/fetch", "pack/0", "pack/1", "first",
    ]  # fmt: skip
    owners = [each.execution_id for each in database.run(to_undo, row)]
    assert owners == [cancelled, row, inner, lookup, items[0], items[1], row]


def test_a_block_that_was_reached_twice_gives_its_children_visits_of_their_own(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    for visit in (1, 2):
        child = child_of(tables, row, 3, "pack", parent_visit=visit)
        step_at(tables, child, visit, "pack", position=1)
    assert left(database, row) == [("pack/3", 2, 0), ("pack/3", 1, 0)]
    journal = journal_of(database, row)
    journal.undone(attempt(path="pack/3", visit=2), None, [], 0)
    assert left(database, row) == [("pack/3", 1, 0)]


def test_a_handler_gets_the_context_of_whoever_ran_the_step(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables, input={"given": 1})
    tables.add_step(row, 1, changes=[["set", "own", 1]], compensation="undo")
    child = child_of(tables, row, 0, "pack")
    tables.add_step(child, 1, path="pack", changes=[["set", "packed", 1]], compensation="undo")
    tables.sql(
        "INSERT INTO durable.fan_outs (execution_id, path, visit, on_error, total, context, "
        "opened_at) VALUES (%s, 'pack', 1, 'fail_fast', 1, '{\"before\": 1}', durable.now())",
        [row],
    )
    journal = journal_of(database, row)
    journal.undone(attempt(), {"ignored": 1}, [], 0)
    assert journal.context_of(row, {"given": 1}) == {"given": 1, "own": 1}
    assert journal.context_of(child, {"given": 1}) == {"before": 1, "packed": 1}


WRITES = {
    "undone": lambda journal: journal.undone(attempt(), {"n": 1}, [{"message": "x"}], 0.5),
    "record_failure": lambda journal: journal.record_failure(
        Failure(attempt(), ERROR, [], 0.1), gave_up=False
    ),
    "gave_up": lambda journal: journal.record_failure(
        Failure(attempt(), ERROR, [], 0.1), gave_up=True
    ),
    "retry_later": lambda journal: journal.retry_later(Failure(attempt(), ERROR, [], 0.1), 60),
    "end": lambda journal: journal.end(),
}
LEFT = {
    "undone": [], "record_failure": [("step1", 1, 1)], "gave_up": [],
    "retry_later": [("step1", 1, 1)], "end": [("step1", 1, 0)],
}  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_every_write_holds_under_its_token_only(
    database: Database, tables: Tables, write: str
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    before = tables.row(row)
    with pytest.raises(ClaimLost):
        WRITES[write](journal_of(database, row, new_id()))
    assert tables.row(row) == before
    assert len(tables.sql("SELECT id FROM durable.step_executions")) == 1
    WRITES[write](journal_of(database, row))
    assert left(database, row) == LEFT[write]
    assert tables.status(row) == ("compensated" if write == "end" else "compensating")
    assert (tables.row(row)["lock_token"] is None) is (write in ("retry_later", "end"))


def test_a_handlers_rows_say_what_they_undo(database: Database, tables: Tables) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    WRITES["record_failure"](journal_of(database, row))
    journal_of(database, row).undone(attempt(2), {"n": 1}, [{"message": "x"}], 0.5)
    steps = database.run(reports.get_execution, row, steps=True).steps or []
    assert [(s.path, s.name, s.type, s.attempt, str(s.status)) for s in steps[1:]] == [
        ("step1", "undo", "compensation", 1, "failed"),
        ("step1", "undo", "compensation", 2, "completed"),
    ]
    assert [(s.is_compensation, s.compensation_for) for s in steps] == [
        (False, None), (True, "step1"), (True, "step1"),
    ]  # fmt: skip
    assert (steps[2].output, steps[2].logs, steps[2].duration_ms) == (
        {"n": 1},
        [{"message": "x"}],
        500,
    )


def test_a_visit_is_undone_once_whoever_writes(database: Database, tables: Tables) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    WRITES["undone"](journal_of(database, row))
    with pytest.raises(ClaimLost):
        WRITES["undone"](journal_of(database, row))
    assert len(tables.sql("SELECT id FROM durable.step_executions")) == 2


def test_the_results_are_seen_while_it_compensates_and_kept_at_the_end(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables, error=ERROR)
    for number in (1, 2):
        tables.add_step(row, number, path=f"step{number}", compensation="undo")
    journal = journal_of(database, row)
    refused = Failure(attempt(path="step2", position=3), ERROR, [], 0)
    journal.record_failure(refused, gave_up=False)
    journal.record_failure(Failure(attempt(2, "step2", 3), ERROR, [], 0), gave_up=True)
    expected = [{"step": "step2", "compensation": "undo", "status": "failed", "error": ERROR}]
    assert database.run(reports.get_execution, row).compensation_results == expected
    journal.undone(attempt(position=4), None, [], 0)
    expected += [{"step": "step1", "compensation": "undo", "status": "completed", "error": None}]
    assert journal.end() is False
    execution = database.run(reports.get_execution, row)
    assert (execution.status, execution.error) == ("compensation_failed", ERROR)
    assert execution.compensation_results == expected
    assert execution.completed_at is not None


def test_a_later_attempt_waits_in_the_database_and_keeps_the_status(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    WRITES["retry_later"](journal_of(database, row))
    assert database.run(queue.fetch_jobs, "default", 5, "n", None) == []
    due = database.run(queue.next_due, "default", None).seconds
    assert due is not None
    assert 50 < due <= 60


def test_the_handler_in_progress_is_shown(database: Database, tables: Tables) -> None:
    begun = {"path": "step1", "name": "undo", "type": "compensation", "visit": 1, "attempt": 1,
             "is_compensation": True}  # fmt: skip
    row = compensating(tables, begun=begun)
    tables.add_step(row, 1, compensation="undo")
    shown = (database.run(reports.get_execution, row, steps=True).steps or [])[-1]
    assert (shown.status, shown.name, shown.compensation_for) == ("running", "undo", "step1")


# settling a handler's death


def lost(number: int = 1, kind: str = "compensation") -> LostAttempt:
    return LostAttempt("step1", "undo", kind, 1, number, 0.5, CRASH, [], PEAK)


def crash(database: Database, row: str, *, number: int = 1, kind: str = "compensation",
          token: str = TOKEN) -> Verdict:  # fmt: skip
    verdict = database.run(settle_crash, row, (token, new_id()), lost(number, kind), 3, 0.5)
    assert verdict is not None
    return verdict


def handler_rows(tables: Tables, row: str) -> list[tuple[str, int, bool]]:
    """Return the attempts of handlers: path, attempt, whether it was the last."""
    found = tables.sql(
        "SELECT path, attempt, compensation IS NOT NULL AS gave_up FROM durable.step_executions "
        "WHERE execution_id = %s AND is_compensation ORDER BY position, attempt",
        [row],
    )
    return [(each["path"], each["attempt"], each["gave_up"]) for each in found]


def test_a_first_death_runs_the_handler_again_at_once_under_another_token(
    database: Database, tables: Tables
) -> None:
    row, new = compensating(tables), new_id()
    tables.add_step(row, 1, compensation="undo")
    for _ in range(2):  # the answer to the first try was lost
        verdict = database.run(settle_crash, row, (TOKEN, new), lost(), 3, 0.5)
        assert verdict is not None
        assert (verdict.status, verdict.crashes, verdict.is_held) == ("compensating", 1, True)
    assert str(tables.row(row)["lock_token"]) == new
    assert handler_rows(tables, row) == [("step1", 1, False)]
    assert left(database, row) == [("step1", 1, 1)]


@pytest.mark.parametrize(
    ("number", "logs", "peak"), [(1, [], None), (2, [{"message": "words"}], PEAK)]
)
def test_what_an_attempt_had_printed_and_used_is_not_the_next_ones(
    database: Database, tables: Tables, number: int, logs: list[Any], peak: int | None
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    tables.add_step(
        row, 2, path="step1", name="undo", status="failed", is_compensation=True,
        compensation_for="step1", error={"type": "ValueError"},
    )  # fmt: skip
    death = replace(lost(number), logs=[{"message": "words"}])
    database.run(settle_crash, row, (TOKEN, new_id()), death, 3, 0.5)
    (last,) = tables.sql(
        "SELECT logs, peak_rss FROM durable.step_executions "
        "WHERE execution_id = %s AND attempt = 2",
        [row],
    )
    assert (last["logs"], last["peak_rss"]) == (logs, peak)


def test_the_last_death_ends_the_handler_and_not_the_compensation(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    assert crash(database, row).is_held
    second = crash(database, row, number=2, token=str(tables.row(row)["lock_token"]))
    assert (second.status, second.is_held, second.crashes) == ("compensating", False, 2)
    assert 0 < (second.due_in or 0) <= 0.5
    hold(tables, row)
    last = crash(database, row, number=3)
    assert (last.status, last.is_held, last.crashes) == ("compensating", True, 3)
    assert handler_rows(tables, row) == [
        ("step1", 1, False),
        ("step1", 2, False),
        ("step1", 3, True),
    ]
    assert left(database, row) == []


def hold(tables: Tables, row: str) -> None:
    tables.sql(
        "UPDATE durable.workflow_executions SET lock_token = %s, locked_by = 'x', "
        "locked_at = durable.now() WHERE id = %s",
        [TOKEN, row],
    )


def test_a_death_before_any_handler_began_is_charged_to_the_next_one(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    assert crash(database, row, kind="step").is_held
    assert handler_rows(tables, row) == [("step1", 1, False)]


def test_a_death_after_the_handlers_end_leaves_no_attempt(
    database: Database, tables: Tables
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    WRITES["undone"](journal_of(database, row))
    assert crash(database, row).is_held
    assert len(handler_rows(tables, row)) == 1


@pytest.mark.parametrize(("delay", "remaining"), [(None, []), (60.0, [("step1", 1, 1)])])
def test_a_handlers_timeout_is_a_failed_attempt(
    database: Database, tables: Tables, delay: float | None, remaining: list[Any]
) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    verdict = database.run(settle_timeout, row, TOKEN, lost(), delay)
    assert verdict is not None
    assert (verdict.status, verdict.is_held, verdict.crashes) == ("compensating", False, 0)
    assert left(database, row) == remaining
    assert tables.row(row)["lock_token"] is None
    (attempt,) = tables.sql(
        "SELECT peak_rss FROM durable.step_executions WHERE execution_id = %s AND is_compensation",
        [row],
    )
    assert attempt["peak_rss"] == PEAK


def test_a_timeout_after_the_handlers_end_is_none(database: Database, tables: Tables) -> None:
    row = compensating(tables)
    tables.add_step(row, 1, compensation="undo")
    WRITES["undone"](journal_of(database, row))
    database.run(settle_timeout, row, TOKEN, lost(), None)
    assert len(handler_rows(tables, row)) == 1
