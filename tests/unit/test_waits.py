"""Waits inside a step: what they ask, what they return on a re-run, and what they refuse."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable_otp import (
    Context,
    Retry,
    WaitTimeout,
    Workflow,
    once,
    wait_for_all,
    wait_for_any,
    wait_for_approval,
    wait_for_choice,
    wait_for_event,
    wait_for_form,
    wait_for_input,
    wait_for_text,
)
from durable_otp.engine.outcome import Outcome
from durable_otp.errors import NotInStepError
from durable_otp.workflow.current import entering
from durable_otp.workflow.suspension import NO_VALUE, Suspension, WaitRequest
from tests.support.engine import MemoryJournal, run


class Run:
    """A run that suspends at every wait, and remembers what was asked."""

    def __init__(self):
        self.asked = []

    def wait(self, request):
        self.asked.append(request)
        raise Suspension(request)

    def once(self, key, call):
        return call()


def asked(call) -> WaitRequest:
    noting = Run()
    with entering(noting), pytest.raises(Suspension):
        call()
    return noting.asked[0]


def step(body, **options):
    workflow = Workflow("waits")
    workflow.step(name="step", **options)(body)
    return workflow


def test_what_each_wait_asks_for():
    event = asked(lambda: wait_for_event("paid", timeout=5, timeout_value=(1,)))
    assert event == WaitRequest("event", ("paid",), seconds=5.0, timeout_value=[1])
    assert asked(lambda: wait_for_event("paid")).timeout_value is NO_VALUE
    assert asked(lambda: wait_for_event("paid", timeout=1, timeout_value=None)) == WaitRequest(
        "event", ("paid",), seconds=1.0, timeout_value=None
    )
    assert asked(lambda: wait_for_any(["a", "ö b"])).names == ("a", "ö b")
    assert asked(lambda: wait_for_all({"a": 1}.keys())).kind == "all"
    approval = asked(lambda: wait_for_approval("boss", prompt="Ok?", timeout=1, on_timeout="fail"))
    assert (approval.kind, approval.question.type, approval.on_timeout) == (
        "input", "approval", "fail",
    )  # fmt: skip
    assert asked(lambda: wait_for_choice("c", choices=[1, 2])).question.choices == [1, 2]
    assert asked(lambda: wait_for_text("t", metadata={"a": (1,)})).question.metadata == {"a": [1]}
    assert asked(lambda: wait_for_form("f", fields=[{"name": "a"}])).question.type == "form"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wait_for_event(""), ValueError),
        (lambda: wait_for_event("  "), ValueError),
        (lambda: wait_for_event("a\n"), ValueError),
        (lambda: wait_for_event("a\0"), ValueError),
        (lambda: wait_for_event("\ud800"), ValueError),
        (lambda: wait_for_event("a" * 201), ValueError),
        (lambda: wait_for_event(4), TypeError),
        (lambda: wait_for_event("a", timeout=-1), ValueError),
        (lambda: wait_for_event("a", timeout=1e12), ValueError),
        (lambda: wait_for_event("a", timeout="1s"), TypeError),
        (lambda: wait_for_any([]), ValueError),
        (lambda: wait_for_any("ab"), TypeError),
        (lambda: wait_for_any(["a", 4]), TypeError),
        (lambda: wait_for_all(["a", "a"]), ValueError),
        (lambda: wait_for_all(4), TypeError),
        (lambda: wait_for_input("a", type="color"), ValueError),
        (lambda: wait_for_input("a", on_timeout="stop", timeout=1), ValueError),
        (lambda: wait_for_input("a", on_timeout="fail"), ValueError),
        (lambda: wait_for_input("a", on_timeout="fail", timeout=1, timeout_value=1), ValueError),
        (lambda: wait_for_choice("a", choices=[]), ValueError),
        (lambda: once("", len, ()), ValueError),
        (lambda: once(4, len, ()), TypeError),
        (lambda: once("a", 4), TypeError),
        (lambda: once("a", asyncio.sleep, 1), TypeError),
    ],
)
def test_a_wrong_wait_is_refused_in_a_sentence_before_the_run_is_asked(call, error):
    noting = Run()
    with entering(noting), pytest.raises(error) as refused:
        call()
    assert noting.asked == []
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_outside_a_step_they_refuse():
    for call in (lambda: wait_for_event("a"), lambda: wait_for_text("a"), lambda: once("a", len)):
        with pytest.raises(NotInStepError):
            call()


def test_several_waits_return_their_answers_in_call_order():
    def body(ctx: Context):
        one = wait_for_any(["a", "b"])
        return {"one": one[0], "tuple": isinstance(one, tuple), "two": wait_for_event("c")}

    journal = MemoryJournal()
    assert run(step(body), journal=journal) is Outcome.WAITING
    journal.answer("step", 0, ["b", 1])
    assert run(step(body), journal=journal) is Outcome.WAITING
    journal.answer("step", 1, None)
    assert run(step(body), journal=journal) is Outcome.COMPLETED
    assert journal.completions[0].output == {"one": "b", "two": None, "tuple": True}


def test_a_timeout_returns_its_value_as_it_was_given_and_raises_without_one():
    def body(ctx: Context):
        value = wait_for_any(["a"], timeout=1, timeout_value=["x", "y", "z"])
        with pytest.raises(WaitTimeout, match="any of 'b'") as caught:
            wait_for_any(["b"], timeout=1)
        assert isinstance(caught.value, TimeoutError)
        return {"value": value}

    journal = MemoryJournal()
    for place in range(2):
        assert run(step(body), journal=journal) is Outcome.WAITING
        journal.time_out("step", place)
    assert run(step(body), journal=journal) is Outcome.COMPLETED
    assert journal.completions[0].output == {"value": ["x", "y", "z"]}


def test_an_uncaught_timeout_fails_the_attempt_and_is_retried():
    journal = MemoryJournal()
    workflow = step(lambda: wait_for_event("a", timeout=1), retry=Retry(2, base=0.01))
    run(workflow, journal=journal)
    journal.time_out("step", 0)
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "WaitTimeout")
    assert len(journal.failures) == 2  # the journal in memory does not tell attempts apart


@pytest.mark.parametrize("swallows", [False, True])
def test_another_name_than_before_is_a_changed_definition_whatever_the_body_does(swallows):
    journal, names = MemoryJournal(), ["a", "b"]

    def body():
        try:
            wait_for_event(names.pop(0))
        except Exception:
            if not swallows:
                raise

    run(step(body), journal=journal)
    assert run(step(body), journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "definition_changed")
    assert "event 'a'" in journal.failures[0].error["message"]
    assert "event 'b'" in journal.failures[0].error["message"]


def test_the_order_of_the_names_of_a_group_does_not_matter():
    journal, orders = MemoryJournal(), [["a", "b"], ["b", "a"]]
    workflow = step(lambda: wait_for_all(orders.pop()))
    run(workflow, journal=journal)
    journal.answer("step", 0, {"a": 1, "b": 2})
    assert run(workflow, journal=journal) is Outcome.COMPLETED


def gathered(ctx: Context):
    async def both():
        async def one(name):
            return wait_for_event(name)

        return await asyncio.gather(one("a"), one("b"))

    return {"both": asyncio.run(both())}


def grouped(ctx: Context):
    async def both():
        async def one(name):
            return wait_for_event(name)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(name)) for name in "ab"]
        return [task.result() for task in tasks]

    return {"both": asyncio.run(both())}


def threaded(ctx: Context):
    with ThreadPoolExecutor(1) as threads:  # one thread: the order of the calls is fixed
        calls = [threads.submit(wait_for_event, name) for name in "ab"]
    return {"both": [call.result() for call in calls]}


@pytest.mark.parametrize("body", [gathered, grouped, threaded])
def test_several_suspensions_of_one_run_are_recorded_together(body):
    journal = MemoryJournal()
    assert run(step(body), journal=journal) is Outcome.WAITING
    assert [each.names for each in journal.asked.values()] == [("a",), ("b",)]
    journal.answer("step", 1, "B")
    assert run(step(body), journal=journal) is Outcome.WAITING
    journal.answer("step", 0, "A")
    assert run(step(body), journal=journal) is Outcome.COMPLETED
    assert journal.completions[0].output == {"both": ["A", "B"]}


def test_once_runs_once_however_often_the_body_runs():
    journal, calls = MemoryJournal(), []

    def effect(value):
        calls.append(value)
        return (value,)

    def body(ctx: Context):
        first = once("k", effect, 1)
        first.append("changed in place")
        second = once("k", effect, 2)
        third = once("other", effect, value=3)
        wait_for_event("a")
        return {"kept": [first[0], second, third]}

    assert run(step(body), journal=journal) is Outcome.WAITING
    journal.answer("step", 0, None)
    assert run(step(body), journal=journal) is Outcome.COMPLETED
    assert calls == [1, 3]
    assert journal.completions[0].output == {"kept": [1, [1], [3]]}


def test_once_of_several_threads_runs_once():
    journal, calls = MemoryJournal(), []

    def body(ctx: Context):
        with ThreadPoolExecutor(8) as threads:
            found = threads.map(
                lambda _: once("k", lambda: calls.append(1) or len(calls)), range(8)
            )
            return {"found": sorted(set(found))}

    assert run(step(body), journal=journal) is Outcome.COMPLETED
    assert (journal.completions[0].output, calls) == ({"found": [1]}, [1])


def test_what_once_cannot_keep_fails_the_step_without_a_retry():
    journal = MemoryJournal()
    workflow = step(lambda: once("k", object), retry=Retry(3))
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "serialization_error")
    assert len(journal.failures) == 1


def test_a_step_without_once_reads_nothing_for_it():
    journal = MemoryJournal()
    run(step(lambda: None), journal=journal)
    assert journal.reads == 0
