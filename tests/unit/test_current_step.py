"""The functions for code deep inside a step find the step that runs, from any thread."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta, timezone

import pytest

from durable_otp.errors import NotInStepError
from durable_otp.workflow import current, wait
from durable_otp.workflow.context import Context
from durable_otp.workflow.suspension import Suspension, WaitRequest


class Run:
    """A run that suspends at every wait, and remembers what was asked."""

    def __init__(self, step="charge"):
        self.context = Context(
            {"total": 5}, input={"items": []}, execution_id="e1", workflow="order", step=step
        )
        self.asked = []

    def wait(self, request):
        self.asked.append(request)
        raise Suspension(request)

    def now(self):
        return datetime(2026, 3, 1, tzinfo=UTC)


OUTSIDE = [
    current.context,
    current.input,
    current.execution_id,
    current.current_step,
    lambda: current.get_context("a"),
    lambda: current.put_context("a", 1),
    lambda: wait.sleep(1),
    lambda: wait.schedule_at(datetime(2026, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize("function", OUTSIDE)
def test_outside_a_step_they_refuse(function):
    with pytest.raises(NotInStepError, match="inside a running step"):
        function()
    assert current.current_run() is None


def test_inside_they_answer_for_the_step():
    run = Run()
    with current.entering(run):
        assert current.context() is run.context
        assert current.input() == {"items": []}
        assert current.execution_id() == "e1"
        assert current.current_step() == "charge"
        assert current.get_context("total") == 5
        assert current.get_context("no", "default") == "default"
        current.put_context("paid", True)
        current.put_context({"a": (1,), "b": 2})
    assert run.context["paid"] is True
    assert run.context["a"] == [1]


@pytest.mark.parametrize("arguments", [("a",), ({"a": 1}, 2), (1, 2), ("a", 1, 2)])
def test_put_context_takes_a_pair_or_a_mapping(arguments):
    with current.entering(Run()), pytest.raises(TypeError, match="one mapping"):
        current.put_context(*arguments)


def test_a_helper_thread_sees_the_step():
    with current.entering(Run()), ThreadPoolExecutor(1) as threads:
        assert threads.submit(current.current_step).result() == "charge"


def test_the_step_is_left_however_the_body_ends():
    with pytest.raises(Suspension), current.entering(Run()):
        wait.sleep(1)
    assert current.current_run() is None


def test_a_step_run_inside_another_gives_way_to_it_again():
    with current.entering(Run("outer")):
        with current.entering(Run("inner")):
            assert current.current_step() == "inner"
        assert current.current_step() == "outer"


@pytest.mark.parametrize(
    ("call", "request_made"),
    [
        (lambda: wait.sleep(1.5), WaitRequest("sleep", seconds=1.5)),
        (lambda: wait.sleep(timedelta(days=2)), WaitRequest("sleep", seconds=172800.0)),
        (
            lambda: wait.schedule_at(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
            WaitRequest("sleep", at=datetime(2026, 1, 1, tzinfo=UTC)),
        ),
    ],
)
def test_a_wait_tells_the_run_what_it_waits_for(call, request_made):
    run = Run()
    with current.entering(run), pytest.raises(Suspension) as suspended:
        call()
    assert run.asked == [request_made]
    assert suspended.value.request == request_made


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wait.sleep(-1), ValueError),
        (lambda: wait.sleep(float("nan")), ValueError),
        (lambda: wait.sleep(1e12), ValueError),
        (lambda: wait.sleep("1s"), TypeError),
        (lambda: wait.sleep(True), TypeError),
        (lambda: wait.schedule_at(datetime(2026, 1, 1)), ValueError),  # noqa: DTZ001
        (
            lambda: wait.schedule_at(datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))),
            ValueError,
        ),
        (lambda: wait.schedule_at("tomorrow"), TypeError),
    ],
)
def test_a_wrong_wait_is_refused_before_the_run_is_asked(call, error):
    run = Run()
    with current.entering(run), pytest.raises(error):
        call()
    assert run.asked == []


def test_a_suspension_is_no_exception_that_a_body_catches_by_accident():
    assert not issubclass(Suspension, Exception)


def test_where_threads_run_a_step_each_a_thread_sees_its_own(monkeypatch):
    monkeypatch.setattr(current, "_runs", [])
    current.share_process()
    with current.entering(Run()), ThreadPoolExecutor(1) as threads:
        with pytest.raises(NotInStepError, match="copy_context"):
            threads.submit(current.current_step).result()
        assert threads.submit(copy_context().run, current.current_step).result() == "charge"
        with current.entering(Run("ship")):
            assert current.current_step() == "ship"
        assert current.current_step() == "charge"

        def other() -> str:
            with current.entering(Run("ship")):
                return current.current_step()

        assert threads.submit(other).result() == "ship"
    assert current.current_run() is None
