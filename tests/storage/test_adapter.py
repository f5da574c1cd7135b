"""The queue adapter's contract: results, tokens, and what bad input is told."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.types.json import Jsonb

from durable_otp.errors import ConfigError, MigrationError, SerializationError
from durable_otp.storage.adapter import PostgresAdapter, QueueAdapter, default_adapter
from durable_otp.workflow.execution import Job, QueueStats, Settled
from tests.support.tables import heard

OTHER = "00000000-0000-4000-8000-00000000000f"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
SOON = datetime(2100, 1, 1, tzinfo=UTC)
LATER = datetime(2000, 1, 1, tzinfo=UTC)
FINAL = ("completed", "failed", "cancelled", "compensated", "compensation_failed")
SETTLING = {
    "ack": lambda adapter, *args: adapter.ack(*args),
    "nack": lambda adapter, id_, *token: adapter.nack(id_, "why", *token),
    "reschedule": lambda adapter, id_, *token: adapter.reschedule(id_, SOON, *token),
}
VERBS = {**SETTLING, "heartbeat": lambda adapter, *args: adapter.heartbeat(*args)}
settling = pytest.mark.parametrize("verb", SETTLING.values(), ids=SETTLING)
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@pytest.fixture
def fetched(tables, adapter) -> Job:
    tables.add(input={"a": 1})
    (job,) = adapter.fetch_jobs("default", 1, "me")
    return job


def test_it_is_the_protocol_and_any_class_with_its_methods_is(adapter):
    assert isinstance(adapter, QueueAdapter)
    assert not isinstance(object(), QueueAdapter)


def test_a_job_has_the_fields_of_the_contract(tables, adapter):
    id_ = tables.add(
        queue="q", priority=3, input={"items": [1.5]}, crashes=2, current_step="charge"
    )
    (job,) = adapter.fetch_jobs("q", 5, "me")
    row = tables.row(id_)
    assert job == Job(
        id=id_,
        workflow="w",
        version="1",
        queue="q",
        priority=3,
        input={"items": [1.5]},
        context={"items": [1.5]},
        scheduled_at=row["scheduled_at"],
        current_step="charge",
        lock_token=str(row["lock_token"]),
        crashes=2,
    )


@pytest.mark.parametrize("given", [None, [1, 2], "text", 7, True])
def test_an_input_that_is_no_mapping_starts_an_empty_context(tables, adapter, given):
    tables.add(input=None if given is None else Jsonb(given))
    (job,) = adapter.fetch_jobs("default", 1, "me")
    assert (job.input, job.context) == (given, {})


def test_the_context_is_the_input_changed_by_the_completed_steps(tables, adapter):
    id_ = tables.add(input={"a": 1, "gone": 1})
    tables.add_step(id_, 1, changes=[["set", "b", 2], ["append", "list", 1]])
    tables.add_step(id_, 2, status="failed", changes=[["set", "b", 99]])
    tables.add_step(id_, 2, changes=[["delete", "gone"], ["append", "list", 2]])
    tables.add_step(id_, 3, changes=[["increment", "a", 4]])
    (job,) = adapter.fetch_jobs("default", 1, "me")
    assert job.context == {"a": 5, "b": 2, "list": [1, 2]}
    assert job.input == {"a": 1, "gone": 1}


def test_a_snapshot_is_the_context_up_to_its_step(tables, adapter):
    id_ = tables.add(input={"a": 1})
    tables.add_step(id_, 1, changes=[["set", "lost", 1]])
    tables.add_step(id_, 2, changes=[["set", "b", 1]], snapshot={"b": 1})
    tables.add_step(id_, 3, changes=[["increment", "b", 1]])
    (job,) = adapter.fetch_jobs("default", 1, "me")
    assert job.context == {"b": 2}


def test_ack_completes_and_clears_the_lock_and_may_be_repeated(tables, adapter, fetched):
    assert adapter.ack(fetched.id, fetched.lock_token) is Settled.OK
    row = tables.row(fetched.id)
    assert row["status"] == "completed"
    assert row["completed_at"] == row["updated_at"]
    assert (row["locked_by"], row["locked_at"], row["lock_token"]) == (None, None, None)
    assert adapter.ack(fetched.id, fetched.lock_token) is Settled.OK
    assert adapter.ack(fetched.id) is Settled.OK
    assert tables.row(fetched.id) == row


class Boom(Exception):  # noqa: N818 - its name is looked at
    pass


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("no stock", {"type": "error", "message": "no stock"}),
        ("", {"type": "error", "message": ""}),
        ("nul \0 and \ud800", {"type": "error", "message": "nul � and ?"}),
        ({"type": "x", "message": "m", "code": 7}, {"type": "x", "message": "m", "code": 7}),
        (Boom("bad"), {"type": "Boom", "message": "bad"}),
        (["some", 1], {"type": "error", "message": "['some', 1]"}),
        (None, {"type": "error", "message": "None"}),
    ],
)
def test_nack_fails_with_the_reason_as_the_error(tables, adapter, fetched, reason, error):
    assert adapter.nack(fetched.id, reason) is Settled.OK
    row = tables.row(fetched.id)
    assert (row["status"], row["error"]) == ("failed", error)
    assert row["completed_at"] is not None
    assert (row["locked_by"], row["locked_at"], row["lock_token"]) == (None, None, None)


def test_a_reason_that_is_no_json_is_refused_and_the_claim_stays(tables, adapter, fetched):
    with pytest.raises(SerializationError, match=r"reason\[\"x\"\]"):
        adapter.nack(fetched.id, {"x": object()})
    assert tables.status(fetched.id) == "running"
    assert adapter.nack(fetched.id, "now") is Settled.OK


def test_reschedule_gives_it_back_until_then(tables, adapter, fetched):
    at = tables.sql("SELECT now() + interval '1 h' AS at")[0]["at"]
    assert adapter.reschedule(fetched.id, at) is Settled.OK
    row = tables.row(fetched.id)
    assert (row["status"], row["scheduled_at"]) == ("pending", at)
    assert (row["locked_by"], row["locked_at"], row["lock_token"]) == (None, None, None)
    assert adapter.fetch_jobs("default", 1, "me") == []


def test_a_job_rescheduled_to_the_past_is_fetched_at_once_and_its_queue_told(
    tables, adapter, fetched
):
    with tables.listen("queue") as listener:
        assert adapter.reschedule(fetched.id, LATER) is Settled.OK
        assert heard(listener) == ["default"]
    (again,) = adapter.fetch_jobs("default", 1, "me")
    assert again.id == fetched.id
    assert again.lock_token != fetched.lock_token


def test_reschedule_takes_any_zone_and_refuses_none(tables, adapter, fetched):
    with pytest.raises(ValueError, match="run_at must be a datetime with a time zone"):
        adapter.reschedule(fetched.id, datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="run_at"):
        adapter.reschedule(fetched.id, "soon")
    zone = datetime.fromisoformat("2030-01-01T09:00:00+09:00")
    assert adapter.reschedule(fetched.id, zone) is Settled.OK
    assert tables.row(fetched.id)["scheduled_at"] == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_heartbeat_moves_the_lock_s_time_and_nothing_else(tables, adapter, fetched):
    tables.sql("UPDATE durable.workflow_executions SET locked_at = locked_at - interval '1 h'")
    before = tables.row(fetched.id)
    assert adapter.heartbeat(fetched.id) is Settled.OK
    after = tables.row(fetched.id)
    assert after["locked_at"] > before["locked_at"]
    assert after | {"locked_at": None} == before | {"locked_at": None}


def test_many_heartbeats_at_once_each_get_their_answer(tables, adapter, fetched):
    other = tables.add("running")
    pending = tables.add()
    claims = [
        (fetched.id, fetched.lock_token),
        (other, OTHER),
        (pending, OTHER),
        (NOBODY, None),
        ("no id", "no token"),
    ]
    assert adapter.heartbeat_many(claims) == {
        fetched.id: Settled.OK,
        other: Settled.FENCED,
        pending: Settled.NOT_FOUND,
        NOBODY: Settled.NOT_FOUND,
        "no id": Settled.NOT_FOUND,
    }
    assert adapter.heartbeat_many([]) == {}


def test_a_heartbeat_is_not_held_up_by_a_locked_row(tables, adapter, fetched):
    tables.sql("BEGIN")
    try:
        tables.sql("SELECT FROM durable.workflow_executions WHERE id = %s FOR SHARE", [fetched.id])
        assert adapter.heartbeat(fetched.id) is Settled.OK
    finally:
        tables.sql("ROLLBACK")


@every_verb
@pytest.mark.parametrize("id_", [NOBODY, "", "no id", "'; --", "\0", NOBODY.replace("-", "")])
def test_an_unknown_id_is_not_found(adapter, verb, id_):
    assert verb(adapter, id_) is Settled.NOT_FOUND
    assert verb(adapter, id_, OTHER) is Settled.NOT_FOUND


@every_verb
@pytest.mark.parametrize("token", [OTHER, "no token", ""])
def test_another_token_is_fenced_and_changes_nothing(tables, adapter, verb, token):
    id_ = tables.add("running")
    before = tables.row(id_)
    assert verb(adapter, id_, token) is Settled.FENCED
    assert tables.row(id_) == before


@every_verb
def test_no_token_and_none_received_is_fenced(tables, adapter, verb):
    id_ = tables.add("running")
    before = tables.row(id_)
    assert verb(adapter, id_) is Settled.FENCED
    assert tables.row(id_) == before


@every_verb
def test_no_token_means_the_one_this_adapter_received(adapter, fetched, verb):
    assert verb(adapter, fetched.id) is Settled.OK


@settling
def test_the_received_token_does_not_fit_a_claim_made_by_somebody_else_since(
    tables, adapter, fetched, verb
):
    with PostgresAdapter(tables.dsn, schema=tables.schema) as other:
        adapter.recover_stale_locks(1e-9)
        (again,) = other.fetch_jobs("default", 1, "other")
        before = tables.row(fetched.id)
        assert verb(adapter, fetched.id) is Settled.FENCED
        assert verb(adapter, fetched.id, fetched.lock_token) is Settled.FENCED
        assert adapter.heartbeat(fetched.id, fetched.lock_token) is Settled.FENCED
        assert tables.row(fetched.id) == before
        assert other.ack(again.id) is Settled.OK


@settling
def test_a_wrong_token_does_not_cost_the_adapter_its_own(adapter, fetched, verb):
    assert verb(adapter, fetched.id, OTHER) is Settled.FENCED
    assert verb(adapter, fetched.id) is Settled.OK


@settling
@pytest.mark.parametrize("status", ["pending", "waiting", "compensating", *FINAL])
def test_what_does_not_run_is_fenced_and_stays_as_it_is(tables, adapter, verb, status):
    id_ = tables.add(status)
    before = tables.row(id_)
    expected = Settled.OK if (status, verb) == ("completed", SETTLING["ack"]) else Settled.FENCED
    assert verb(adapter, id_, OTHER) is expected
    assert verb(adapter, id_) is expected
    assert tables.row(id_) == before


@pytest.mark.parametrize("status", ["pending", "waiting", "compensating", *FINAL])
def test_a_heartbeat_of_what_does_not_run_is_not_found(tables, adapter, status):
    id_ = tables.add(status)
    before = tables.row(id_)
    assert adapter.heartbeat(id_, OTHER) is Settled.NOT_FOUND
    assert adapter.heartbeat(id_) is Settled.NOT_FOUND
    assert tables.row(id_) == before


@settling
def test_a_held_compensation_is_kept_alive_but_not_settled(tables, adapter, verb):
    tables.add("compensating")
    (job,) = adapter.fetch_jobs("default", 1, "me")
    before = tables.row(job.id)
    assert verb(adapter, job.id, job.lock_token) is Settled.FENCED
    assert tables.row(job.id) == before
    assert adapter.heartbeat(job.id, job.lock_token) is Settled.OK


def test_the_end_of_a_watched_execution_is_told(tables, adapter):
    acked, nacked = tables.add(watched=True), tables.add(watched=True)
    tables.add()
    adapter.fetch_jobs("default", 3, "me")
    with tables.listen("done") as listener:
        adapter.ack(acked)
        adapter.nack(nacked, "why")
        assert heard(listener) == [acked, nacked]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", None, True])
def test_a_limit_that_is_none_is_refused(adapter, limit):
    with pytest.raises(ValueError, match="limit must be a whole number of at least 1"):
        adapter.fetch_jobs("default", limit, "me")


@pytest.mark.parametrize("queue", ["", "x" * 101, "a\nb", "\0", None, 7])
def test_a_queue_that_is_none_is_refused(adapter, queue):
    with pytest.raises(ConfigError, match="1 to 100 printable characters"):
        adapter.fetch_jobs(queue, 1, "me")
    with pytest.raises(ConfigError, match="1 to 100 printable characters"):
        adapter.get_stats(queue)


def test_a_queue_may_have_any_printable_name(tables, adapter):
    name = "Größe 'q\" %s; -- " + "x" * 80
    tables.add(queue=name)
    assert len(adapter.fetch_jobs(name, 1, "me")) == 1


@pytest.mark.parametrize("node", ["", None, 3])
def test_a_node_without_a_name_is_refused(adapter, node):
    with pytest.raises(ValueError, match="node_id"):
        adapter.fetch_jobs("default", 1, node)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_takes_everything_is_refused(adapter, timeout):
    with pytest.raises(ValueError, match="timeout_seconds"):
        adapter.recover_stale_locks(timeout)
    with pytest.raises(ValueError, match="timeout_seconds"):
        adapter.recover_zombie_workflows(timeout)


def test_an_adapter_may_fetch_some_workflows_only(tables):
    tables.add(workflow="other", priority=9)
    mine = tables.add()
    known = default_adapter(tables.dsn, schema=tables.schema, workflows=[("w", "1")])
    none = default_adapter(tables.dsn, schema=tables.schema, workflows=[])
    with known, none:
        assert none.fetch_jobs("default", 9, "me") == []
        assert [job.id for job in known.fetch_jobs("default", 9, "me")] == [mine]


@pytest.mark.parametrize("workflows", ["w", ["w"], [("w",)], [("w", 1)], [("a", "b", "c")]])
def test_workflows_that_are_no_pairs_are_refused(dsn, workflows):
    with pytest.raises(ValueError, match=r"\(name, version\) pairs"):
        default_adapter(dsn, workflows=workflows)


def test_the_dsn_comes_from_the_environment_or_is_asked_for(tables, monkeypatch):
    monkeypatch.setenv("DURABLE_DSN", tables.dsn)
    with default_adapter(schema=tables.schema) as adapter:
        assert adapter.get_stats("default") == QueueStats("default")
    monkeypatch.delenv("DURABLE_DSN")
    with pytest.raises(ConfigError, match=r"DURABLE_DSN"):
        default_adapter()


def test_a_schema_that_is_not_migrated_is_one_sentence(dsn, schema):
    with (
        default_adapter(dsn, schema=schema) as adapter,
        pytest.raises(MigrationError, match=r"is not migrated .*run `durable-otp migrate`"),
    ):
        adapter.get_stats("default")


def test_threads_may_share_an_adapter(tables, adapter):
    ids = {tables.add(priority=number % 4) for number in range(120)}

    def work(number: int) -> list[str]:
        done = []
        while jobs := adapter.fetch_jobs("default", 5, f"n{number}"):
            for job in jobs:
                assert adapter.heartbeat(job.id) is Settled.OK
                assert adapter.ack(job.id) is Settled.OK
                done.append(job.id)
        return done

    with ThreadPoolExecutor(6) as pool:
        done = [id_ for each in pool.map(work, range(6)) for id_ in each]
    done += work(6)
    assert len(done) == len(set(done))
    assert set(done) == ids


def test_stats_count_each_row_once(tables, adapter):
    for status in ("running", "waiting", "compensating", *FINAL):
        tables.add(status)
    tables.add()
    tables.add(due_in=60)
    tables.add(queue="other")
    assert adapter.get_stats("default") == QueueStats(
        queue="default",
        pending=2,
        scheduled=1,
        running=1,
        waiting=1,
        completed=1,
        failed=1,
        cancelled=1,
        compensating=1,
        compensated=1,
        compensation_failed=1,
    )
    assert adapter.get_stats("default").total == 10
    assert adapter.get_stats("empty") == QueueStats("empty")


def test_durations_may_be_timedeltas(tables, adapter):
    tables.add("running")
    assert adapter.recover_stale_locks(timedelta(hours=1)) == 0
