"""What is handed in is read back by type and value, or refused by name before a row is written.

Values are of every kind, JSON or not. What is stored never makes a claim, a list or a look raise.
"""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_otp import SerializationError, Workflow, once
from durable_otp.client.handle import Handle
from durable_otp.errors import InputRejected, WorkflowFailed
from durable_otp.workflow.state import State
from durable_otp.workflow.suspension import WaitRequest
from tests.support.entry_points import Bench, in_one_line, run
from tests.support.examples import examples
from tests.support.journal_rows import completion
from tests.support.json_values import Handed, RefusedValue, form_of, same, texts, wild
from tests.support.tables import HOLDER
from tests.support.waits import asking, journal_of, suspend


def plain() -> Workflow:
    workflow = Workflow("w")
    workflow.step(name="a")(lambda: None)
    return workflow


PLAIN = plain()


@examples(30, 4000)
@given(wild())
def test_an_input_is_what_it_was(bench: Bench, handed: Handed) -> None:
    bench.empty()
    value = handed.value
    found = bench.stored(lambda: bench.client.start(PLAIN, value).id, value)
    if found is None:
        return
    form, id_ = found
    execution = bench.client.get_execution(id_)
    assert same(execution.input, form)
    assert same(execution.context, form if isinstance(form, dict) else {})
    (job,) = bench.adapter.fetch_jobs("default", 10, "node")
    assert same(job.input, form)
    bench.look_at_everything(id_)


@examples(20, 1000)
@given(st.lists(wild(), min_size=2, max_size=4))
def test_of_many_inputs_one_that_is_refused_refuses_all(bench: Bench, many: list[Handed]) -> None:
    bench.empty()
    values = [handed.value for handed in many]
    forms = []
    try:
        forms = [form_of(value) for value in values]
    except RefusedValue:
        with pytest.raises(SerializationError):
            bench.client.start_many(PLAIN, values)
        assert bench.client.count_executions() == 0
        return
    handles = bench.client.start_many(PLAIN, values)
    for handle, form in zip(handles, forms, strict=True):
        assert same(bench.client.get_execution(handle.id).input, form)


@examples(20, 2000)
@given(wild())
def test_an_event_s_payload_is_what_it_was(bench: Bench, handed: Handed) -> None:
    bench.empty()
    value = handed.value
    id_ = bench.tables.add("running")
    found = bench.stored(lambda: bench.client.send_event(id_, "go", value), value)
    suspend(bench.database, id_, WaitRequest("event", ("go",)))
    assert bench.tables.status(id_) == ("waiting" if found is None else "pending")
    if found is not None:
        (event,) = bench.client.list_events(id_)
        answer = journal_of(bench.database, id_).visit("step1").answers[0].value
        assert same(event.payload, found[0])
        assert same(answer, found[0])
    bench.look_at_everything(id_)


@examples(20, 2000)
@given(wild(), wild())
def test_a_choice_and_what_goes_with_it_are_what_they_were(
    bench: Bench, handed: Handed, beside: Handed
) -> None:
    bench.empty()
    value, metadata = handed.value, beside.value
    id_ = bench.tables.add("running")
    try:
        form, shown = form_of(value), form_of(metadata)
        form_of([form])  # a level deeper
    except RefusedValue:
        return
    request = asking("ask", "choice", choices=[form])
    assert request.question is not None
    object.__setattr__(request.question, "metadata", shown)
    suspend(bench.database, id_, request)
    (pending,) = bench.client.list_pending_inputs()
    assert same(pending.metadata, shown)
    wanted = form["value"] if isinstance(form, dict) and "value" in form else form
    bench.client.provide_input(id_, "ask", wanted)
    assert same(journal_of(bench.database, id_).visit("step1").answers[0].value, wanted)
    bench.look_at_everything(id_)


@examples(20, 2000)
@given(wild(), st.sampled_from(["text", "approval", "multi_choice", "form"]))
def test_an_answer_is_stored_or_refused_and_the_input_stays_open(
    bench: Bench, handed: Handed, type_: str
) -> None:
    bench.empty()
    value = handed.value
    id_ = bench.tables.add("running")
    parts: dict[str, Any] = {"multi_choice": {"choices": [1, "a", None]}}.get(type_, {})
    if type_ == "form":
        parts = {"fields": [{"name": "a"}, {"name": "b", "type": "number"}]}
    suspend(bench.database, id_, asking("ask", type_, **parts))
    try:
        form_of(value)
    except RefusedValue:
        with pytest.raises(SerializationError):
            bench.client.provide_input(id_, "ask", value)
        assert len(bench.client.list_pending_inputs()) == 1
        return
    try:
        bench.client.provide_input(id_, "ask", value)
    except InputRejected as refused:
        in_one_line(refused)
        assert len(bench.client.list_pending_inputs()) == 1
    else:
        assert bench.client.list_pending_inputs() == []
    bench.look_at_everything(id_)


@examples(15, 1000)
@given(wild(), wild())
def test_a_schedule_s_input_is_what_it_was(
    bench: Bench, handed: Handed, changed_to: Handed
) -> None:
    bench.empty()
    value, other = handed.value, changed_to.value
    client = bench.client
    found = bench.stored(
        lambda: client.create_schedule("s", PLAIN, "0 0 1 1 *", input=value), value
    )
    if found is not None:
        assert same(client.get_schedule("s").input, found[0])
        handle = client.trigger_schedule("s")
        assert same(client.get_execution(handle.id).input, found[0])
        changed = bench.stored(lambda: client.update_schedule("s", input=other), other)
        if changed is not None:
            assert same(client.get_schedule("s").input, changed[0])
    bench.look_at_everything()


@examples(20, 1500)
@given(wild())
@example(Handed({"type": 5, "message": None}))
@example(Handed({"type": ["a"]}))
@example(Handed([1]))
@example(Handed(ValueError("\ud800\0")))
def test_a_reason_for_failing_is_kept_or_refused(bench: Bench, handed: Handed) -> None:
    bench.empty()
    reason = handed.value
    id_ = bench.tables.add("running", watched=True)
    try:
        bench.adapter.nack(id_, reason, HOLDER["lock_token"])
    except SerializationError as refused:
        in_one_line(refused)
        assert bench.tables.status(id_) == "running"
    else:
        error = bench.client.get_execution(id_).error
        assert error is not None
        assert isinstance(error["type"], str)
        assert isinstance(error["message"], str)
        with pytest.raises(WorkflowFailed) as failed:
            Handle(id_, bench.client).result(timeout=5)
        assert failed.value.error == error
    bench.look_at_everything(id_)


@examples(20, 1500)
@given(st.one_of(texts.map(Handed), wild()))
def test_a_reason_for_cancelling_is_a_text_or_refused(bench: Bench, handed: Handed) -> None:
    bench.empty()
    reason = handed.value
    id_ = bench.tables.add("pending")
    try:
        bench.client.cancel(id_, reason)
    except (SerializationError, TypeError) as refused:
        in_one_line(refused)
        assert bench.tables.status(id_) == "pending"
    else:
        error = bench.client.get_execution(id_).error
        assert error is not None
        assert isinstance(error["message"], str)
        assert reason is None or reason == "" or error["message"] == reason
    bench.look_at_everything(id_)


# the values of steps: an execution given to the engine, as a worker does


class RunAgain(Exception):  # noqa: N818 - said by a test
    """The text of the error is the test's."""


def step_that(how: str, value: Any) -> Any:
    """Return a step's function that puts a value into the context under x."""

    def one(ctx: Any) -> Any:
        if how == "returned":
            return value
        if how == "appended":
            ctx["x"] = []
            ctx.append("x", value)
        elif how == "merged":
            ctx.merge({"x": value})
        else:
            ctx["x"] = once("k", lambda: value) if how == "kept" else value
        return None

    return one


@examples(30, 4000)
@given(wild(), st.sampled_from(["returned", "set", "appended", "kept", "merged"]))
def test_a_step_s_value_is_what_it_was_or_fails_the_step(
    bench: Bench, handed: Handed, how: str
) -> None:
    bench.empty()
    value = handed.value
    workflow = Workflow(f"values {how}", version=str(id(value)))

    workflow.step(name="one", returns="x" if how == "returned" else None)(step_that(how, value))

    @workflow.step(returns="again")
    def two(ctx: Any) -> Any:
        return ctx.get("x")

    id_ = run(bench, workflow)
    execution = bench.client.get_execution(id_, steps=True)
    bench.look_at_everything(id_)
    wrapped = [value] if how == "appended" else {"x": value} if how == "merged" else value
    try:
        form = form_of(wrapped)
    except RefusedValue:
        assert execution.error is not None
        assert execution.error["type"] == "serialization_error"
        return
    if how == "merged":
        form = form["x"]
    assert execution.status == State.COMPLETED, execution.error
    assert execution.output is not None
    if how == "returned" and value is None:
        assert execution.output == {}
    else:
        kept = {} if form is None else {"again": form}
        assert same(execution.output, {"x": form, **kept})


class Unprintable(Exception):  # noqa: N818 - said by a test
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Untextual(Exception):  # noqa: N818 - said by a test
    """An error whose text is none."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value] # noqa: PLE0307 - that is the point


@examples(15, 1500)
@given(st.one_of(texts, st.builds(lambda text: text * 30_000, texts)).map(RunAgain))
@example(Unprintable())
@example(Untextual())
@example(UnicodeDecodeError("utf-8", b"\xff\0", 0, 1, "\ud800"))
@example(ExceptionGroup("\0", [Unprintable(), ValueError("\ud800")]))
@example(RecursionError("deep"))
@example(KeyError("\0"))
def test_whatever_a_step_raises_is_its_error(bench: Bench, error: Exception) -> None:
    bench.empty()
    workflow = Workflow("raising", version=str(id(error)))

    @workflow.step
    def one() -> None:
        raise error

    id_ = run(bench, workflow)
    execution = bench.client.get_execution(id_, steps=True)
    assert execution.status == State.FAILED
    assert execution.error is not None
    assert execution.error["type"] == type(error).__name__
    assert isinstance(execution.error["message"], str)
    bench.look_at_everything(id_)


def test_a_number_that_cannot_be_shown_is_refused_as_a_key_too(bench: Bench) -> None:
    for value in ({10**5000: 1}, [{-(10**5000): 1}], {"x": 10**5000}):
        with pytest.raises(SerializationError, match="beyond 64 bits"):
            bench.client.start(PLAIN, value)


@pytest.mark.parametrize("days", [0, 25, 36_500])
def test_a_step_may_have_run_for_any_time(bench: Bench, days: int) -> None:
    bench.empty()
    id_ = bench.tables.add("running")
    done = completion("step1", 1, "step2", duration=days * 86_400.0)
    journal_of(bench.database, id_).checkpoint(done)
    (step,) = bench.client.get_execution(id_, steps=True).steps or ()
    assert step.duration_ms == min(days * 86_400_000, 2**31 - 1)
