"""Looking at executions, waiting for them and calling them off."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from durable_otp.client import Durable, Handle
from durable_otp.clock import monotonic
from durable_otp.errors import (
    AlreadyFinished,
    ConfigError,
    ExecutionNotFound,
    ResultTimeout,
    WorkflowFailed,
)
from durable_otp.workflow.execution import QueueStats
from tests.support.waiting import wait_until

NOBODY = "00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
def held(durable, adapter, order):
    """An execution that runs somewhere."""
    handle = durable.start(order, {"a": 1})
    adapter.fetch_jobs("shop", 1, "me")
    return handle


def wait_until_watched(tables, *handles):
    wait_until(lambda: all(tables.row(each.id)["watched"] for each in handles), what="the watch")


def test_a_result_is_the_final_context(tables, adapter, held):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.result, 20)
        wait_until_watched(tables, held)
        tables.add_step(held.id, 1, changes=[["set", "b", 2]])
        adapter.ack(held.id)
        assert waiting.result() == {"a": 1, "b": 2}
    assert held.result() == held.execution().output == {"a": 1, "b": 2}


def test_the_end_is_heard_and_not_found_by_looking(tables, adapter, held, monkeypatch):
    monkeypatch.setattr("durable_otp.client.handle.FIRST_POLL_SECONDS", 30)
    monkeypatch.setattr("durable_otp.client.handle.LONGEST_POLL_SECONDS", 30)
    with ThreadPoolExecutor(1) as pool:
        began = monotonic()
        waiting = pool.submit(held.result, 25)
        wait_until_watched(tables, held)
        adapter.ack(held.id)
        waiting.result()
        assert monotonic() - began < 10


def test_an_end_that_nobody_told_of_is_found_by_looking(tables, held):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.result, 20)
        wait_until_watched(tables, held)
        tables.sql(
            "UPDATE durable.workflow_executions SET status = 'completed', completed_at = now(), "
            "lock_token = NULL, locked_by = NULL, locked_at = NULL"
        )
        assert waiting.result() == {"a": 1}


def test_what_failed_is_raised_with_its_error(adapter, held):
    adapter.nack(held.id, ValueError("no stock"))
    with pytest.raises(
        WorkflowFailed, match=r"'order' is failed \(ValueError: no stock\)"
    ) as caught:
        held.result()
    assert caught.value.status == "failed"
    assert caught.value.error == {"type": "ValueError", "message": "no stock"}


@pytest.mark.parametrize("status", ["compensated", "compensation_failed", "cancelled"])
def test_every_other_end_is_a_failure_too(tables, durable, status):
    id_ = tables.add(status)
    (execution,) = durable.list_executions()
    assert execution.id == id_
    with pytest.raises(WorkflowFailed) as caught:
        Handle(id_, durable).result()
    assert (caught.value.status, caught.value.error) == (status, None)


@pytest.mark.parametrize("timeout", [0, 0.05, timedelta(milliseconds=50)])
def test_a_result_that_does_not_come_in_time_is_a_timeout(held, timeout):
    with pytest.raises(ResultTimeout, match="has not ended within") as caught:
        held.result(timeout)
    assert isinstance(caught.value, TimeoutError)
    assert held.status() == "running"


@pytest.mark.parametrize("timeout", [-1, timedelta(seconds=-1), float("nan")])
def test_a_timeout_that_is_none_is_refused(held, timeout):
    with pytest.raises(ValueError, match="timeout must be zero or more"):
        held.result(timeout)


def test_many_threads_wait_with_one_client(tables, durable, adapter, order):
    handles = durable.start_many(order, [{"number": number} for number in range(12)])
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(handle.result, 30) for handle in handles]
        wait_until_watched(tables, *handles)
        for job in adapter.fetch_jobs("shop", 12, "me"):
            adapter.ack(job.id)
        assert [each.result() for each in waiting] == [{"number": n} for n in range(12)]


def test_a_row_that_is_gone_is_not_found(tables, durable, held):
    tables.sql("DELETE FROM durable.workflow_executions")
    for ask in (held.status, held.execution, held.result, held.cancel):
        with pytest.raises(ExecutionNotFound, match=held.id):
            ask()


@pytest.mark.parametrize("id_", [NOBODY, "", "no id", "a\0b", None, 7])
def test_an_unknown_or_malformed_id_is_not_found(durable, id_):
    for ask in (durable.get_execution, durable.cancel, durable.status):
        with pytest.raises(ExecutionNotFound):
            ask(id_)
    assert durable.list_executions(parent=id_) == [] or id_ is None


def test_handles_of_one_execution_are_equal_and_show_only_their_id(durable, held, tables):
    with Durable(tables.dsn, schema=tables.schema) as other:
        (execution,) = other.list_executions()
    assert execution.id == held.id
    assert repr(held) == f"Handle(id={held.id!r})"
    assert len({held, type(held)(held.id, durable)}) == 1


def test_a_cancel_is_seen_by_whoever_waits(tables, held):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.result, 20)
        wait_until_watched(tables, held)
        held.cancel("changed my mind")
        with pytest.raises(WorkflowFailed, match="cancelled: changed my mind"):
            waiting.result()
    with pytest.raises(AlreadyFinished):
        held.cancel()


def test_a_cancelled_claim_is_lost(adapter, durable, held):
    durable.cancel(held.id)
    assert adapter.ack(held.id) == "fenced"
    assert adapter.heartbeat(held.id) == "not_found"
    assert held.status() == "cancelled"


def test_executions_are_listed_counted_and_filtered(durable, adapter, order):
    handles = durable.start_many(order, range(7))
    (job,) = adapter.fetch_jobs("shop", 1, "me")
    ids = [handle.id for handle in handles]
    assert [each.id for each in durable.list_executions()] == ids[::-1]
    assert [each.id for each in durable.list_executions(order="oldest", limit=3)] == ids[:3]
    assert [each.id for each in durable.list_executions("order", "running")] == [job.id]
    page = durable.list_executions(limit=3, after=ids[4])
    assert [each.id for each in page] == [ids[3], ids[2], ids[1]]
    assert durable.count_executions(status=["pending", "running"], queue="shop") == 7
    assert durable.count_executions(workflow="other") == 0
    assert durable.list_executions(id_prefix=ids[0])[0].id == ids[0]
    with pytest.raises(ValueError, match="status must be among"):
        durable.list_executions(status="done")


def test_get_execution_shows_steps_when_asked(tables, durable, held):
    tables.add_step(held.id, 1, path="charge", name="charge", output={"x": 1})
    assert durable.get_execution(held.id).steps is None
    (step,) = durable.get_execution(held.id, steps=True).steps
    assert (step.path, step.status, step.output) == ("charge", "completed", {"x": 1})
    assert held.execution().steps == [step]


def test_stats_are_of_all_queues_or_of_one(durable, adapter, order):
    durable.start(order)
    durable.start(order, queue="slow")
    adapter.fetch_jobs("slow", 1, "me")
    slow = QueueStats("slow", running=1)
    assert durable.stats() == {"shop": QueueStats("shop", pending=1), "slow": slow}
    assert durable.stats("slow") == slow
    assert durable.stats("empty") == QueueStats("empty")
    with pytest.raises(ConfigError, match="queue"):
        durable.stats("")


def test_a_closed_client_opens_again_when_it_is_used(durable, held):
    durable.close()
    assert held.status() == "running"


def test_threads_may_start_and_ask_at_once(durable, order):
    start = threading.Barrier(8)

    def work(number: int) -> list[str]:
        start.wait()
        handles = [durable.start(order, {"number": number}) for _ in range(5)]
        assert all(handle.execution().input == {"number": number} for handle in handles)
        return [handle.id for handle in handles]

    with ThreadPoolExecutor(8) as pool:
        ids = [id_ for each in pool.map(work, range(8)) for id_ in each]
    assert len(set(ids)) == durable.count_executions() == 40
