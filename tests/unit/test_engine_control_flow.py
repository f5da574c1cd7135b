"""Jumps and branches in the engine: visits, positions and what is journaled of them."""

from durable_otp.engine.outcome import Outcome
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.goto import goto
from tests.support.engine import MemoryJournal, NotingHost, run


def visits(journal: MemoryJournal) -> list[tuple[str, int]]:
    return [(each.attempt.path, each.attempt.visit) for each in journal.completions]


def loop(times: int, **options) -> Workflow:
    workflow = Workflow("loop", **options)
    workflow.step(name="count")(lambda ctx: ctx.increment("n") and None)
    workflow.decision(name="again")(lambda ctx: goto("count") if ctx["n"] < times else None)
    workflow.step(name="done")(lambda ctx: {"seen": ctx["n"]})
    return workflow


def test_each_time_a_step_is_reached_again_is_a_visit_of_its_own():
    journal = MemoryJournal()
    assert run(loop(3), journal=journal) is Outcome.COMPLETED
    assert visits(journal) == [
        ("count", 1),
        ("again", 1),
        ("count", 2),
        ("again", 2),
        ("count", 3),
        ("again", 3),
        ("done", 1),
    ]
    assert journal.completions[1].output == {"goto": "count"}
    assert journal.completions[-1].changes == [["set", "seen", 3]]


def test_a_resume_in_the_middle_of_a_loop_goes_on_with_the_next_visit():
    journal = MemoryJournal()
    assert run(loop(3), journal=journal, host=NotingHost(stop_at="again")) is Outcome.RELEASED
    assert visits(journal) == [("count", 1), ("again", 1)]
    while journal.ended is None:
        run(loop(3), journal=journal, host=NotingHost(stop_at="count"))
    assert visits(journal)[-1] == ("done", 1)
    assert visits(journal).count(("count", 3)) == 1
    assert len(set(visits(journal))) == len(visits(journal))


def test_an_endless_loop_fails_as_decision_error_also_over_resumes():
    journal = MemoryJournal()
    workflow = loop(10**6, max_jumps=5)
    while journal.ended is None:
        run(workflow, journal=journal, host=NotingHost(stop_at="again"))
    assert journal.ended == ("failed", "decision_error")
    assert visits(journal).count(("count", 6)) == 1


def test_a_target_that_does_not_exist_fails_and_keeps_what_was_committed():
    workflow = Workflow("w")
    workflow.step(name="one")(lambda: {"kept": True})
    workflow.step(name="two")(lambda: goto("nowhere"))
    journal = MemoryJournal()
    assert run(workflow, journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "decision_error")
    assert visits(journal) == [("one", 1)]


def branching(on) -> Workflow:
    workflow = Workflow("w")
    with workflow.branch(on, name="choice") as choice, choice.case("yes"):
        workflow.step(name="taken")(lambda ctx: {"taken": True})
    workflow.step(name="last")(lambda: None)
    return workflow


def test_a_branch_is_journaled_with_its_value_and_leaves_no_other_trace():
    def on(ctx):
        ctx["left out"] = 1
        return "yes"

    journal = MemoryJournal()
    assert run(branching(on), journal=journal) is Outcome.COMPLETED
    assert [(each.attempt.path, each.attempt.type) for each in journal.completions] == [
        ("choice", "branch"),
        ("choice/yes/taken", "step"),
        ("last", "step"),
    ]
    assert (journal.completions[0].output, list(journal.completions[0].changes)) == ("yes", [])


def test_without_a_match_and_a_default_the_block_is_skipped():
    journal = MemoryJournal()
    assert run(branching(lambda: "no"), journal=journal) is Outcome.COMPLETED
    assert [path for path, _ in visits(journal)] == ["choice", "last"]


def test_what_the_choosing_function_raises_fails_as_branch_error():
    journal = MemoryJournal()
    assert run(branching(lambda ctx: ctx["missing"]), journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "branch_error")
    journal = MemoryJournal()
    assert run(branching(object), journal=journal) is Outcome.FAILED
    assert journal.ended == ("failed", "branch_error")


def test_a_choice_that_was_journaled_is_not_made_again():
    answers = iter(["yes", "no"])
    journal = MemoryJournal()
    workflow = branching(lambda: next(answers))
    assert run(workflow, journal=journal, host=NotingHost(stop_at="choice")) is Outcome.RELEASED
    assert run(workflow, journal=journal) is Outcome.COMPLETED
    assert ("choice/yes/taken", 1) in visits(journal)
