"""What processes ran lately, and how far back nobody is left out."""

from durable_otp.storage import lanes as module
from durable_otp.storage.identity import new_id
from durable_otp.storage.lanes import ran_lately

MINE, OTHERS = "0000000a:7", "0000000b:7"


def ran(database, *, died_at=(), held=()):
    return database.run(ran_lately, 60.0, [MINE], died_at=died_at, held=held)


def test_the_attempts_of_these_processes_are_found_whatever_became_of_their_executions(
    tables, database
):
    parent = tables.add("waiting")
    there = [tables.add("completed"), parent, tables.add("running"), tables.add("pending")]
    there.append(tables.add("failed", parent_id=parent, parent_path="s", parent_index=0))
    for id_ in there:
        tables.add_step(id_, 1, process=MINE)
        tables.add_step(id_, 2, process=OTHERS)
        tables.add_step(id_, 3)
    old = tables.add("completed")
    tables.add_step(old, 1, process=MINE)
    tables.sql("UPDATE durable.step_executions SET completed_at = completed_at - interval '61 s'"
               " WHERE execution_id = %s", [old])  # fmt: skip
    found = ran(database)
    assert sorted(each.execution_id for each in found.attempts) == sorted(there)
    assert {(each.process, each.path) for each in found.attempts} == {(MINE, "step1")}


def test_the_attempt_at_which_a_process_died_is_found_by_its_execution(tables, database):
    dead, other = tables.add("failed"), tables.add("failed")
    for id_ in (dead, other):
        tables.add_step(id_, 1, status="failed")
    assert ran(database).attempts == ()
    (found,) = ran(database, died_at=[dead]).attempts
    assert (found.execution_id, found.process) == (dead, None)


def test_where_there_are_too_many_it_says_since_when_none_is_missing(tables, database, monkeypatch):
    for seconds in range(5):
        id_ = tables.add("completed")
        tables.add_step(id_, 1, process=MINE)
        for table, key in (("workflow_executions", "id"), ("step_executions", "execution_id")):
            tables.sql(f"UPDATE durable.{table} SET completed_at = durable.now()"
                       f" - interval '{seconds} s' WHERE {key} = %s", [id_])  # fmt: skip
    whole = ran(database)
    span = (whole.attempts[0].completed_at - whole.complete_since).total_seconds()
    assert span > 50
    for name in ("MOST_EXECUTIONS", "MOST_ATTEMPTS"):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, 3)
            part = ran(database)
        span = (part.attempts[0].completed_at - part.complete_since).total_seconds()
        assert 1 < span < 10


def test_a_held_execution_says_since_when_it_is_at_its_step(tables, database):
    known = tables.add("running", begun={"path": "s", "started_at": "2026-05-01T00:00:00+00:00"})
    unknown = tables.add("running", begun={"path": "s"})
    began = ran(database, held=[known, unknown, tables.add("completed"), new_id()]).began
    assert {id_: at is not None for id_, at in began.items()} == {known: True, unknown: False}
