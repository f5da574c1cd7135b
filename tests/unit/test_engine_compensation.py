"""Undoing in the engine: order, retries, failures, and what a handler may and may not do."""

from typing import Any

import pytest

from durable_otp.engine.outcome import Outcome
from durable_otp.errors import Fatal, StepInterrupted
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.goto import goto
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.wait import sleep
from tests.support.engine import MemoryJournal, NotingHost, run

AT_ONCE = Retry(max_attempts=3, backoff="constant", base=0, jitter=0)


def boom(*_: Any) -> None:
    raise ValueError("as told")


def saga(handler: Any = None, **options: Any) -> Workflow:
    """reserve (undone by release) · charge (by refund) · a step that fails"""
    workflow = Workflow("saga")
    workflow.step(name="reserve", compensate="release")(lambda: {"seat": 7})
    workflow.step(name="charge", compensate="refund")(lambda: {"paid": 5})
    workflow.step(name="ship")(boom)
    workflow.compensate(name="release")(lambda ctx: {"released": ctx["seat"]})
    workflow.compensate(name="refund", **options)(
        handler or (lambda ctx: {"refunded": ctx["paid"]})
    )
    return workflow


def failed(workflow: Workflow, given: Any = None) -> MemoryJournal:
    """Return the journal of an execution that has failed and is to compensate."""
    journal = MemoryJournal()
    assert run(workflow, given, journal=journal) is Outcome.FAILED
    assert journal.ended == ("compensating", "ValueError")
    return journal


def handlers(journal: MemoryJournal) -> list[tuple[str, str, int, bool]]:
    """Return every attempt of a handler: name, step, number, whether it completed."""
    return [
        (row.attempt.name, row.attempt.path, row.attempt.number, row.error is None)
        for row in journal.compensations.rows
    ]


def test_completed_steps_are_undone_newest_first_and_the_failed_one_is_not():
    journal = failed(saga())
    host = NotingHost()
    assert run(saga(), journal=journal, host=host) is Outcome.COMPENSATED
    assert handlers(journal) == [("refund", "charge", 1, True), ("release", "reserve", 1, True)]
    assert [row.output for row in journal.compensations.rows] == [{"refunded": 5}, {"released": 7}]
    assert {row.attempt.type for row in journal.compensations.rows} == {"compensation"}
    assert journal.ended == ("compensated", None)
    assert host.notes == ["begun charge 1", "ended", "begun reserve 1", "ended"]


def test_without_a_handler_a_failure_is_a_failure():
    workflow = Workflow("plain")
    workflow.step(name="one")(lambda: None)
    workflow.step(name="two", compensate="undo")(boom)
    workflow.compensate(name="undo")(boom)
    journal = MemoryJournal()
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "ValueError")


@pytest.mark.parametrize("kind", ["branch", "decision"])
def test_a_branch_or_a_decision_that_fails_is_undone_too_and_paths_name_the_steps(kind):
    workflow = Workflow("w")
    with workflow.branch(lambda: "yes", name="ask") as block, block.case("yes"):
        workflow.step(name="book", compensate="undo")(lambda: None)
    if kind == "branch":
        with workflow.branch(boom, name="broken") as broken, broken.default():
            workflow.step(name="never")(lambda: None)
    else:
        workflow.decision(name="broken")(lambda: goto("nowhere"))
    workflow.compensate(name="undo")(lambda: None)
    journal = MemoryJournal()
    run(workflow, journal=journal)
    assert journal.ended == ("compensating", f"{kind}_error")
    assert run(workflow, journal=journal) is Outcome.COMPENSATED
    assert handlers(journal) == [("undo", "ask/yes/book", 1, True)]


def test_success_undoes_nothing():
    workflow = Workflow("fine")
    workflow.step(name="one", compensate="undo")(lambda: None)
    workflow.compensate(name="undo")(boom)
    journal = MemoryJournal()
    assert run(workflow, journal=journal) is Outcome.COMPLETED
    assert journal.completions[0].compensation == "undo"
    assert handlers(journal) == []


def test_each_visit_of_a_loop_is_undone_the_newest_first():
    seen = []
    workflow = Workflow("loop")
    workflow.step(name="book", compensate="cancel")(lambda ctx: ctx.increment("n") and None)
    workflow.decision(name="again")(lambda ctx: goto("book") if ctx["n"] < 3 else None)
    workflow.step(name="end")(boom)
    workflow.compensate(name="cancel")(lambda ctx: seen.append(ctx.idempotency_key))
    journal = failed(workflow)
    assert run(workflow, journal=journal) is Outcome.COMPENSATED
    assert [row.attempt.visit for row in journal.compensations.rows] == [3, 2, 1]
    assert seen == [f"an id:book:{visit}:cancel" for visit in (3, 2, 1)]


def test_a_handler_sees_the_context_of_the_last_completed_step_and_its_own_name():
    seen: dict[str, Any] = {}

    def undo(ctx):
        seen.update(dict(ctx), step=ctx.step, attempt=ctx.attempt, input=ctx.input)
        ctx["spoilt"] = True

    workflow = Workflow("w")
    workflow.step(name="one", compensate="undo")(lambda: {"kept": 1})
    workflow.step(name="two")(lambda ctx: boom(ctx.update(lost=True)))
    workflow.compensate(undo)
    journal = failed(workflow, {"given": 1})
    run(workflow, {"given": 1}, journal=journal)
    assert seen == {"given": 1, "kept": 1, "step": "undo", "attempt": 1, "input": {"given": 1}}
    assert journal.compensations.context_of("an id", {"given": 1}) == {"given": 1, "kept": 1}


def test_a_handler_that_fails_is_noted_and_the_others_still_run():
    journal = failed(saga(boom))
    assert run(saga(boom), journal=journal) is Outcome.COMPENSATION_FAILED
    assert handlers(journal) == [("refund", "charge", 1, False), ("release", "reserve", 1, True)]
    assert journal.compensations.rows[0].error["type"] == "ValueError"
    assert journal.ended == ("compensation_failed", None)


def test_a_handler_is_retried_by_its_own_policy_with_the_same_idempotency_key():
    keys = []

    def refund(ctx):
        keys.append((ctx.attempt, ctx.idempotency_key))
        if ctx.attempt < 3:
            raise ValueError("again")

    workflow = saga(refund, retry=AT_ONCE)
    journal = failed(workflow)
    assert run(workflow, journal=journal) is Outcome.COMPENSATED
    assert [attempt for attempt, _ in keys] == [1, 2, 3]
    assert len({key for _, key in keys}) == 1


def test_the_workflows_retry_is_the_default_of_its_handlers():
    workflow = Workflow("w", retry=AT_ONCE)
    workflow.step(name="one", compensate="undo")(lambda: None)
    workflow.step(name="two", retry=Retry())(boom)
    workflow.compensate(name="undo")(boom)
    journal = failed(workflow)
    run(workflow, journal=journal)
    assert len(handlers(journal)) == 3


def test_a_long_back_off_gives_the_worker_back_and_the_attempts_are_kept():
    workflow = saga(boom, retry=Retry(max_attempts=2, backoff="constant", base=60, max_backoff=60))
    journal = failed(workflow)
    assert run(workflow, journal=journal) is Outcome.RETRY_LATER
    assert journal.ended[0] == "compensating"
    assert run(workflow, journal=journal) is Outcome.COMPENSATION_FAILED
    assert handlers(journal) == [
        ("refund", "charge", 1, False),
        ("refund", "charge", 2, False),
        ("release", "reserve", 1, True),
    ]


@pytest.mark.parametrize(
    ("does", "type_"),
    [
        (lambda: sleep(5), "Fatal"),
        (lambda: goto("charge"), "decision_error"),
        (lambda: float("nan"), "serialization_error"),
        (lambda: boom(Fatal()), "ValueError"),
    ],
    ids=["waits", "jumps", "unstorable", "raises"],
)
def test_what_a_handler_may_not_do_fails_it(does, type_):
    retry = AT_ONCE if type_ != "ValueError" else None
    journal = failed(saga(does, retry=retry))
    assert run(saga(does, retry=retry), journal=journal) is Outcome.COMPENSATION_FAILED
    assert handlers(journal) == [("refund", "charge", 1, False), ("release", "reserve", 1, True)]
    assert journal.compensations.rows[0].error["type"] == type_
    assert journal.waits == {}


def test_a_handler_that_swallows_the_refusal_to_wait_fails_all_the_same():
    def refund():
        try:
            sleep(5)
        except Fatal:
            return "went on"

    journal = failed(saga(refund))
    assert run(saga(refund), journal=journal) is Outcome.COMPENSATION_FAILED
    message = journal.compensations.rows[0].error["message"]
    assert message.startswith("compensation 'refund' may not wait")


def test_an_async_handler_is_awaited():
    async def refund(ctx):
        return {"async": ctx["paid"]}

    journal = failed(saga(refund))
    assert run(saga(refund), journal=journal) is Outcome.COMPENSATED
    assert journal.compensations.rows[0].output == {"async": 5}


def test_code_that_lost_a_handler_fails_that_one_as_definition_changed():
    journal = failed(saga())
    changed = Workflow("saga")
    changed.step(name="reserve", compensate="release")(boom)
    changed.compensate(name="release")(lambda: None)
    assert run(changed, journal=journal) is Outcome.COMPENSATION_FAILED
    assert journal.compensations.rows[0].error["type"] == "definition_changed"
    assert handlers(journal)[1] == ("release", "reserve", 1, True)


def test_a_worker_that_is_to_stop_lets_go_after_the_handler_and_another_goes_on():
    journal = failed(saga())
    assert run(saga(), journal=journal, host=NotingHost(stop_at="charge")) is Outcome.RELEASED
    assert handlers(journal) == [("refund", "charge", 1, True)]
    assert run(saga(), journal=journal) is Outcome.COMPENSATED
    assert len(handlers(journal)) == 2


def test_an_interrupted_handler_is_left_to_its_manager():
    def refund():
        raise StepInterrupted

    journal = failed(saga(refund))
    host = NotingHost(interrupted=True)
    assert run(saga(refund), journal=journal, host=host) is Outcome.INTERRUPTED
    assert handlers(journal) == []


def test_a_lost_claim_writes_nothing():
    journal = failed(saga())
    journal.is_ours = False
    assert run(saga(), journal=journal) is Outcome.CLAIM_LOST
    assert handlers(journal) == []
    assert journal.ended == ("compensating", "ValueError")


def test_no_handler_begins_when_somebody_else_has_the_execution() -> None:
    journal, host = failed(saga()), NotingHost()
    journal.confirms = iter([True, False])
    assert run(saga(), journal=journal, host=host) is Outcome.CLAIM_LOST
    assert [name for name, *_ in handlers(journal)] == ["refund"]
