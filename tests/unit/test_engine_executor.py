"""What the engine writes for each way in which a step can end; no database, no process."""

import random

import pytest

from durable_otp import Context, Fatal, Retry, Workflow, sleep
from durable_otp.engine.claim import Limits
from durable_otp.engine.outcome import Outcome
from durable_otp.engine.position import locate
from durable_otp.errors import StepInterrupted
from tests.support.engine import MemoryJournal, NotingHost, run


def three_steps(**options: object) -> Workflow:
    workflow = Workflow("three", **options)  # type: ignore[arg-type]
    for name in ("a", "b", "c"):
        workflow.step(name=name)(lambda ctx: {ctx.step: ctx.attempt})
    return workflow


def test_each_step_is_one_write_and_the_last_one_ends_the_execution() -> None:
    journal, host = MemoryJournal(), NotingHost()
    assert run(three_steps(), journal=journal, host=host) is Outcome.COMPLETED
    assert [(c.attempt.path, c.next_path) for c in journal.completions] == [
        ("a", "b"), ("b", "c"), ("c", None),
    ]  # fmt: skip
    assert host.notes == ["begun a 1", "ended", "begun b 1", "ended", "begun c 1", "ended"]
    assert journal.reads == 0  # nothing was ever recorded of it, so nothing was read


def test_a_worker_that_is_to_stop_finishes_its_step_and_lets_go() -> None:
    journal = MemoryJournal()
    assert run(three_steps(), journal=journal, host=NotingHost(stop_at="b")) is Outcome.RELEASED
    assert [c.attempt.path for c in journal.completions] == ["a", "b"]
    host = NotingHost()
    assert run(three_steps(), journal=journal, host=host) is Outcome.COMPLETED
    assert host.notes == ["begun c 1", "ended"]


def test_no_body_begins_when_somebody_else_has_the_execution() -> None:
    journal, host = MemoryJournal(confirms=iter([True, False])), NotingHost()
    assert run(three_steps(), journal=journal, host=host) is Outcome.CLAIM_LOST
    assert host.notes == ["begun a 1", "ended"]


def test_a_lost_claim_stops_everything_and_writes_nothing() -> None:
    journal, host = MemoryJournal(is_ours=False), NotingHost()
    assert run(three_steps(), journal=journal, host=host) is Outcome.CLAIM_LOST
    assert (journal.completions, journal.ended) == ([], None)
    assert host.notes == ["begun a 1", "ended"]


def failing(error: BaseException, **retry: object) -> Workflow:
    workflow = Workflow("failing")

    @workflow.step(retry=Retry(**retry))  # type: ignore[arg-type]
    def fails(ctx: Context) -> None:
        ctx["trace"] = ctx.attempt
        raise error

    return workflow


def test_short_delays_are_paused_and_the_attempts_used_up() -> None:
    journal, host = MemoryJournal(), NotingHost()
    workflow = failing(ValueError("no"), max_attempts=3, backoff="linear", base=0.25, jitter=0)
    assert run(workflow, journal=journal, host=host) is Outcome.FAILED
    assert [failure.attempt.number for failure in journal.failures] == [1, 2, 3]
    assert host.pauses == [0.25, 0.5]
    assert journal.ended == ("failed", "ValueError")


def test_a_long_delay_goes_through_the_journal() -> None:
    journal, host = MemoryJournal(), NotingHost()
    workflow = failing(ValueError("no"), max_attempts=2, backoff="constant", base=1.5, jitter=0)
    assert run(workflow, journal=journal, host=host) is Outcome.RETRY_LATER
    assert (journal.ended, host.pauses) == (("pending", 1.5), [])
    assert run(workflow, journal=journal, host=host) is Outcome.FAILED
    assert [failure.attempt.number for failure in journal.failures] == [1, 2]


@pytest.mark.parametrize(
    "error", [Fatal("no"), SystemExit(3), KeyboardInterrupt(), StepInterrupted()]
)
def test_what_is_not_worth_another_attempt_ends_at_once(error: BaseException) -> None:
    journal = MemoryJournal()
    assert run(failing(error, max_attempts=5), journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", type(error).__name__)
    assert len(journal.failures) == 1


def test_an_interrupt_of_the_manager_is_left_to_the_manager() -> None:
    journal = MemoryJournal()
    workflow = failing(StepInterrupted(), max_attempts=5)
    outcome = run(workflow, journal=journal, host=NotingHost(interrupted=True))
    assert (outcome, journal.ended, journal.failures) == (Outcome.INTERRUPTED, None, [])


def test_a_step_that_waits_is_suspended_and_runs_again_from_its_top() -> None:
    workflow, journal, bodies = Workflow("waits"), MemoryJournal(), []

    @workflow.step
    def naps(ctx: Context) -> None:
        bodies.append(ctx.attempt)
        ctx.append("seen", 1)
        sleep(1)
        sleep(2)

    for _ in range(2):
        assert run(workflow, journal=journal) is Outcome.WAITING
        journal.answer_all()
    assert run(workflow, journal=journal) is Outcome.COMPLETED
    assert bodies == [1, 1, 1]
    assert [list(change) for change in journal.completions[0].changes] == [["append", "seen", 1]]


@pytest.mark.parametrize("how", ["return", "raise", "except"])
def test_a_body_that_goes_on_after_its_suspension_is_suspended_all_the_same(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    workflow, journal = Workflow("swallows"), MemoryJournal()

    @workflow.step
    def swallows(ctx: Context) -> str:
        try:
            sleep(1)
        except BaseException:
            if how == "raise":
                raise ValueError("instead") from None
        return "done"

    assert run(workflow, journal=journal) is Outcome.WAITING
    assert "suspension_swallowed" in caplog.text
    assert "test_engine_executor.py" in caplog.text  # the line that waited


def test_a_wait_of_another_kind_than_before_is_a_changed_definition() -> None:
    journal = MemoryJournal()
    workflow = Workflow("changed")
    workflow.step(name="naps")(lambda ctx: sleep(1))
    run(workflow, journal=journal)
    journal.waits = {
        key: type(each)("event", is_answered=True) for key, each in journal.waits.items()
    }
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "definition_changed")


def test_a_step_that_is_gone_is_a_changed_definition() -> None:
    journal = MemoryJournal()
    run(three_steps(), journal=journal, host=NotingHost(stop_at="a"))
    fewer = Workflow("three")
    fewer.step(name="a")(lambda ctx: None)
    assert run(fewer, journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "definition_changed")


def test_a_context_beyond_its_limit_is_refused_before_it_is_written() -> None:
    journal = MemoryJournal()
    workflow = Workflow("large")
    workflow.step(name="fits")(lambda ctx: {"a": "x" * 100})
    workflow.step(name="does_not")(lambda ctx: {"b": "x" * 100})
    limits = Limits(max_payload=1000, max_context=200)
    assert run(workflow, journal=journal, limits=limits) is Outcome.FAILED
    assert journal.ended == ("failed", "serialization_error")
    assert [c.attempt.path for c in journal.completions] == ["fits"]


@pytest.mark.parametrize("seed", range(5))
def test_a_resumed_run_stands_where_the_first_one_stood(seed: int) -> None:
    """Whatever is stopped and resumed, snapshots included: the context is the same."""
    chance = random.Random(seed)
    workflow = Workflow("many")
    for number in range(250):
        workflow.step(name=f"s{number}")(
            lambda ctx, n=number: ctx.append(f"list{n % 3}", n) or ctx.increment("sum", n)
        )
    whole, pieces = MemoryJournal(), MemoryJournal()
    run(workflow, journal=whole)
    while pieces.ended is None:
        run(workflow, journal=pieces, host=NotingHost(stop_at=f"s{chance.randrange(250)}"))
    given = workflow.definition()
    last = [journal.completions.pop() for journal in (whole, pieces)]
    assert last[0].changes == last[1].changes
    contexts = [locate(given, {}, journal.entries()).context for journal in (whole, pieces)]
    assert contexts[0] == contexts[1]
    assert contexts[0]["sum"] == sum(range(249))
    assert len(whole.entries()) <= 101


def test_an_execution_moves_to_the_queue_that_its_next_step_asks_for():
    workflow = Workflow("travelling")
    workflow.step(name="here")(lambda: None)
    workflow.step(name="there", queue="slow")(lambda: None)
    journal = MemoryJournal()
    assert run(workflow, journal=journal) is Outcome.MOVED
    assert journal.ended == ("pending", "slow")
    assert [each.attempt.path for each in journal.completions] == ["here"]
    assert run(workflow, journal=journal, queue="slow") is Outcome.COMPLETED
