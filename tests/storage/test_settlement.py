"""Settling what a dead worker held: fenced, counted once, never against a checkpoint."""

from typing import Any

import pytest

from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.storage.settlement import (
    LostAttempt,
    Verdict,
    condemn,
    release,
    settle_crash,
    settle_timeout,
)
from tests.support.tables import HOLDER, Tables

OLD = HOLDER["lock_token"]
PEAK = 3 << 30
ERROR = {"type": "worker_crashed", "message": "it died", "signal": "SIGKILL"}


def lost(number: int = 1, path: str = "step1") -> LostAttempt:
    return LostAttempt(path, path, "step", 1, number, 0.5, ERROR, [{"message": "last words"}], PEAK)


def failed_rows(tables: Tables, execution_id: str) -> list[dict[str, Any]]:
    return tables.sql(
        "SELECT path, attempt, error, logs, duration_ms, peak_rss FROM durable.step_executions "
        "WHERE execution_id = %s AND status = 'failed' ORDER BY attempt",
        [execution_id],
    )


def test_condemning_changes_the_token_and_may_be_repeated(
    database: Database, tables: Tables
) -> None:
    row, new = tables.add("running"), new_id()
    for _ in range(2):  # the answer to the first try was lost
        assert database.run(condemn, row, OLD, new) is True
        assert str(tables.row(row)["lock_token"]) == new
    assert database.run(condemn, row, OLD, new_id()) is False
    assert database.run(condemn, tables.add("completed"), OLD, new_id()) is False


def test_a_first_crash_runs_again_under_another_token_and_counts_once(
    database: Database, tables: Tables
) -> None:
    row, new = tables.add("running"), new_id()
    for _ in range(2):
        verdict = database.run(settle_crash, row, (OLD, new), lost(), 3, 0.5)
        assert verdict is not None
        assert (verdict.status, verdict.crashes) == ("running", 1)
    assert str(tables.row(row)["lock_token"]) == new
    (attempt,) = failed_rows(tables, row)
    assert (attempt["attempt"], attempt["error"], attempt["duration_ms"]) == (1, ERROR, 500)
    assert attempt["logs"] == [{"message": "last words"}]


def crash(database: Database, row: str, token: str, number: int, most: int = 3) -> Verdict:
    verdict = database.run(settle_crash, row, (token, new_id()), lost(number), most, 0.5)
    assert verdict is not None
    return verdict


def test_crashes_in_a_row_back_off_and_the_last_is_final(
    database: Database, tables: Tables
) -> None:
    row = tables.add("running", crashes=1, crash_streak=1, crash_position=0)
    verdict = crash(database, row, OLD, 2)
    assert verdict.status == "pending"
    assert verdict.due_in is not None
    assert 0 < verdict.due_in <= 0.5
    assert tables.row(row)["lock_token"] is None
    row = tables.add("running", crashes=2, crash_streak=2, crash_position=0)
    assert crash(database, row, OLD, 3).status == "failed"
    ended = tables.row(row)
    assert (ended["error"], ended["crashes"]) == (ERROR, 3)
    assert ended["completed_at"] is not None


def test_a_completed_step_begins_the_count_anew(database: Database, tables: Tables) -> None:
    row = tables.add("running", crashes=2, crash_streak=2, crash_position=0)
    tables.add_step(row, 1)
    verdict = database.run(settle_crash, row, (OLD, new_id()), lost(path="step2"), 3, 0.5)
    assert (verdict.status, verdict.crashes) == ("running", 3)  # type: ignore[union-attr]


def test_a_crash_after_the_checkpoint_leaves_no_failed_attempt(
    database: Database, tables: Tables
) -> None:
    row = tables.add("running")
    tables.add_step(row, 1)
    assert crash(database, row, OLD, 1).crashes == 1
    assert failed_rows(tables, row) == []


def test_a_crash_after_an_attempt_that_had_failed_is_the_next_attempt(
    database: Database, tables: Tables
) -> None:
    row = tables.add("running")
    tables.add_step(row, 1, status="failed", attempt=1, error={"type": "ValueError"})
    crash(database, row, OLD, 1)
    assert [(each["attempt"], each["error"]["type"]) for each in failed_rows(tables, row)] == [
        (1, "ValueError"), (2, "worker_crashed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "logs", "lasted", "peak"),
    [(1, [], 0, None), (2, [{"message": "last words"}], 500, PEAK)],
)
def test_what_an_attempt_had_printed_and_used_is_not_the_next_ones(
    database: Database, tables: Tables, number: int, logs: list[Any], lasted: int, peak: int | None
) -> None:
    row = tables.add("running")
    tables.add_step(row, 1, status="failed", attempt=1, error={"type": "ValueError"})
    crash(database, row, OLD, number)
    last = failed_rows(tables, row)[-1]
    assert (last["attempt"], last["logs"], last["duration_ms"]) == (2, logs, lasted)
    assert last["peak_rss"] == peak


@pytest.mark.parametrize(
    ("delay", "status"), [(None, "failed"), (0.0, "pending"), (60.0, "pending")]
)
def test_a_timeout_is_a_failed_attempt_and_no_crash(
    database: Database, tables: Tables, delay: float | None, status: str
) -> None:
    row = tables.add("running")
    verdict = database.run(settle_timeout, row, OLD, lost(), delay)
    assert verdict is not None
    assert (verdict.status, verdict.crashes) == (status, 0)
    assert tables.row(row)["lock_token"] is None
    assert [each["peak_rss"] for each in failed_rows(tables, row)] == [PEAK]


@pytest.mark.parametrize("ended", ["completed", "failed"])
def test_a_timeout_after_the_attempts_own_end_is_none(
    database: Database, tables: Tables, ended: str
) -> None:
    row = tables.add("running")
    tables.add_step(row, 1, status=ended, error={"type": "ValueError"})
    verdict = database.run(settle_timeout, row, OLD, lost(), None)
    assert verdict is not None
    assert verdict.status == "pending"
    assert [each["error"]["type"] for each in failed_rows(tables, row)] in ([], ["ValueError"])


def test_nothing_is_settled_under_a_token_that_is_not_in_force(
    database: Database, tables: Tables
) -> None:
    row = tables.add("running")
    before = tables.row(row)
    other = new_id()
    assert database.run(settle_crash, row, (other, new_id()), lost(), 3, 0.5) is None
    assert database.run(settle_timeout, row, other, lost(), None) is None
    assert database.run(release, [(row, other)]) == 0
    assert tables.row(row) == before


def test_a_release_counts_nothing_and_is_claimable_at_once(
    database: Database, tables: Tables
) -> None:
    rows = [tables.add("running") for _ in range(3)]
    assert database.run(release, [(row, OLD) for row in rows]) == 3
    for row in map(tables.row, rows):
        assert (row["status"], row["lock_token"], row["crashes"]) == ("pending", None, 0)
        assert row["interruptions"] == 0


def test_what_is_released_keeps_its_turn(database: Database, tables: Tables) -> None:
    row = tables.add("running", due_in=-3600)
    due = tables.row(row)["scheduled_at"]
    database.run(release, [(row, OLD)])
    assert tables.row(row)["scheduled_at"] == due
