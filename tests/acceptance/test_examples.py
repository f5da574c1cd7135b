"""The packaged examples, each run through one real tree to each of its ends.

The tree's clock is the test's to move, so that five minutes and a business day take no time.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable_otp import Durable
from durable_otp.client.handle import Handle
from durable_otp.examples import (
    drip_email,
    expenses,
    fulfilment,
    hourly_metrics,
    moderation,
    payment,
    reconciliation,
    thumbnails,
)
from durable_otp.storage import test_clock as clocks
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from durable_otp.workflow.execution import Execution
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, running
from tests.support.waiting import wait_until

WORKFLOWS = (
    payment.process_payment,
    fulfilment.fulfil_order,
    expenses.approve_expense,
    moderation.moderate_content,
    reconciliation.reconcile_payment,
    drip_email.drip_emails,
    hourly_metrics.hourly_metrics,
    thumbnails.make_thumbnail,
)
CARDS = {payment.outages(card): card for card in (f"4000 000{n}" for n in range(10))}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    """A tree that knows all examples."""
    with fresh_schema(postgres_dsn) as schema:
        Migrator(postgres_dsn, schema).migrate(test_clock=True)
        with running(postgres_dsn, schema, *WORKFLOWS, queues={"default": 3}) as tree:
            yield tree


@pytest.fixture
def durable(tree: Tree) -> Durable:
    return tree.durable


@pytest.fixture
def advance(tree: Tree) -> Iterator[Callable[[timedelta], None]]:
    """Move the tree's clock forward."""
    database = Database(tree.dsn, tree.schema, role="clock")
    yield lambda by: database.run(clocks.advance, by)
    database.close()


def asked(durable: Durable, handle: Handle, name: str) -> None:
    """Wait until an execution asks for an input."""
    wait_until(
        lambda: [each for each in durable.list_pending_inputs(handle.id) if each.name == name],
        what=f"the question {name}",
    )


def waits(durable: Durable, handle: Handle) -> None:
    """Wait until an execution waits for events."""
    wait_until(lambda: durable.list_pending_events(handle.id), what="a wait for events")


def paths(durable: Durable, handle: Handle) -> list[str]:
    """Return the steps that completed, in their order."""
    steps = durable.get_execution(handle.id, steps=True).steps or ()
    return [step.path for step in steps if step.status == "completed"]


# order fulfilment and payment


def order(card: str, **more: Any) -> dict[str, Any]:
    return {"items": [{"price": 30}, {"price": 12}], "card": card, **more}


def test_an_order_is_paid_by_a_child_and_shipped(durable: Durable) -> None:
    handle = durable.start(fulfilment.fulfil_order, order(CARDS[0]))

    result = handle.result(timeout=60)

    (child,) = durable.list_children(handle.id)
    paid = durable.get_execution(child.id)
    assert (child.workflow, child.status) == ("process_payment", "completed")
    assert paid.context["receipt"] == f"42 paid with {CARDS[0]}"
    assert result["charge_id"] == paid.context["charge_id"]
    assert result["tracking"].startswith("parcel-")
    assert paths(durable, handle) == ["validate", "reserve", "pay", "ship"]


def test_an_order_that_cannot_be_shipped_is_undone_newest_first(tree: Tree) -> None:
    handle = tree.durable.start(fulfilment.fulfil_order, order(CARDS[0], force_failure=True))

    end = tree.until(handle, "compensated")

    assert end.error is not None
    assert (end.error["type"], end.error["message"]) == (
        "Fatal",
        "The carrier does not deliver there.",
    )
    undone = end.compensation_results or []
    assert [(each["step"], each["compensation"], each["status"]) for each in undone] == [
        ("pay", "refund", "completed"),
        ("reserve", "put_back", "completed"),
    ]
    steps = tree.durable.get_execution(handle.id, steps=True).steps or ()
    outputs = [step.output for step in steps if step.is_compensation]
    assert outputs == [{"refunded": end.context["charge_id"]}, {"put_back": 2}]


def test_an_order_that_cannot_be_paid_gives_the_goods_back(tree: Tree) -> None:
    handle = tree.durable.start(fulfilment.fulfil_order, order(CARDS[3]))

    end = tree.until(handle, "compensated")

    assert end.error is not None
    assert end.error["type"] == "ChildFailed"
    undone = end.compensation_results or []
    assert [each["compensation"] for each in undone] == ["put_back"]


@pytest.mark.parametrize("outages", [0, 1, 2])
def test_a_payment_is_tried_until_the_provider_answers(durable: Durable, outages: int) -> None:
    handle = durable.start(payment.process_payment, {"amount": 5, "card": CARDS[outages]})

    assert handle.result(timeout=60)["receipt"] == f"5 paid with {CARDS[outages]}"
    steps = durable.get_execution(handle.id, steps=True).steps or ()
    attempts = [step for step in steps if step.path == "charge"]
    assert [step.status for step in attempts] == ["failed"] * outages + ["completed"]
    assert all("no answer" in str(step.logs) for step in attempts[:outages])


def test_a_payment_fails_when_three_attempts_have_failed(tree: Tree) -> None:
    handle = tree.durable.start(payment.process_payment, {"amount": 5, "card": CARDS[3]})

    end = tree.until(handle, "failed")

    assert end.error is not None
    assert end.error["type"] == "ProviderError"
    steps = tree.durable.get_execution(handle.id, steps=True).steps or ()
    assert [step.attempt for step in steps if step.path == "charge"] == [1, 2, 3]


def test_a_payment_of_nothing_is_refused_without_an_attempt(tree: Tree) -> None:
    handle = tree.durable.start(payment.process_payment, {"amount": 0, "card": CARDS[0]})

    end = tree.until(handle, "failed")

    assert end.error is not None
    assert end.error["type"] == "Fatal"
    assert paths(tree.durable, handle) == []


# expense approval


def expense(durable: Durable, amount: float) -> Handle:
    """Return an expense whose form has been filled in."""
    handle = durable.start(expenses.approve_expense, {"employee": "Ada"})
    asked(durable, handle, "expense")
    durable.provide_input(handle.id, "expense", {"purpose": "a train", "amount": amount})
    return handle


@pytest.mark.parametrize(
    ("answer", "end"), [("approved", {"recorded": 80}), ("rejected", {"denied": "a train"})]
)
def test_a_small_expense_takes_one_signature(
    durable: Durable, answer: str, end: dict[str, Any]
) -> None:
    handle = expense(durable, 80)
    asked(durable, handle, "manager")
    durable.provide_input(handle.id, "manager", answer)

    assert handle.result(timeout=60).items() >= end.items()
    assert "two_signatures" not in paths(durable, handle)


@pytest.mark.parametrize(
    ("cfo", "end"), [(True, {"recorded": 800}), (False, {"denied": "a train"})]
)
def test_a_large_expense_takes_two_signatures_in_any_order(
    durable: Durable, cfo: bool, end: dict[str, Any]
) -> None:
    handle = expense(durable, 800)
    waits(durable, handle)
    durable.send_event(handle.id, "cfo_signed", {"approved": cfo})
    assert handle.status() == "waiting"
    durable.send_event(handle.id, "manager_signed", {"approved": True})

    assert handle.result(timeout=60).items() >= end.items()
    assert "one_signature" not in paths(durable, handle)


# content moderation


@pytest.mark.parametrize(
    ("text", "score", "verdict"),
    [("gardens", 0.0, "published"), ("scam, casino", 1.0, "removed")],
)
def test_content_that_is_clear_needs_nobody(
    durable: Durable, text: str, score: float, verdict: str
) -> None:
    handle = durable.start(moderation.moderate_content, {"text": text})

    result = handle.result(timeout=60)

    assert (result["score"], result["verdict"]) == (score, verdict)
    children = durable.list_children(handle.id)
    assert len(children) == 3


def test_content_in_doubt_is_shown_to_a_person(durable: Durable) -> None:
    handle = durable.start(moderation.moderate_content, {"text": "a casino"})
    asked(durable, handle, "verdict")
    (question,) = durable.list_pending_inputs(handle.id)
    assert (question.prompt, question.choices) == ("a casino", ["published", "hidden", "removed"])
    durable.provide_input(handle.id, "verdict", "published")

    assert handle.result(timeout=60)["verdict"] == "published"


def test_content_in_doubt_stays_hidden_when_nobody_answers(durable: Durable) -> None:
    handle = durable.start(moderation.moderate_content, {"text": "a casino", "patience": 0.2})

    assert handle.result(timeout=60)["verdict"] == "hidden"


# payment reconciliation


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({"status": "settled", "amount": 90}, {"difference": -10, "is_reconciled": True}),
        ({"status": "refused"}, {"failure": "p1: refused", "is_reconciled": False}),
    ],
)
def test_a_payment_is_reconciled_with_what_the_bank_says(
    durable: Durable, said: dict[str, Any], end: dict[str, Any]
) -> None:
    handle = durable.start(reconciliation.reconcile_payment, {"payment": "p1", "expected": 100})
    durable.send_event(handle.id, "settlement", said)  # before or after the wait begins

    assert handle.result(timeout=60).items() >= end.items()


def test_a_bank_that_says_nothing_for_five_minutes_has_answered(
    durable: Durable, advance: Callable[[timedelta], None]
) -> None:
    handle = durable.start(reconciliation.reconcile_payment, {"payment": "p2", "expected": 100})
    waits(durable, handle)
    advance(timedelta(minutes=4))
    assert handle.status() == "waiting"
    advance(timedelta(minutes=1))

    assert handle.result(timeout=60)["failure"] == "p2: no answer"


# drip e-mail and metrics


def test_letters_are_sent_with_waits_between(durable: Durable) -> None:
    handle = durable.start(
        drip_email.drip_emails,
        {"name": "Ada", "first_at": datetime(2026, 1, 1, tzinfo=UTC).isoformat(), "pause": 0.1},
    )

    result = handle.result(timeout=60)

    assert result["sent"] == ["Welcome, Ada!", "How it works", "Still there, Ada?"]


def test_the_first_letter_waits_for_a_business_day_s_morning(
    tree: Tree, advance: Callable[[timedelta], None]
) -> None:
    handle = tree.durable.start(drip_email.drip_emails, {"name": "Ada"})
    sleeping = tree.until(handle, "waiting")

    due = sleeping.scheduled_at
    assert due is not None
    assert (due.hour, due.minute, due.weekday() < 5) == (9, 0, True)
    for letters, days in ((1, 4), (2, 1)):
        advance(timedelta(days=days))
        wait_until(lambda n=letters: is_resting(handle, after=n), what=f"letter {letters}")
    advance(timedelta(days=2))
    assert len(tree.until(handle, "completed").context["sent"]) == 3


def is_resting(handle: Handle, *, after: int) -> bool:
    """Return whether so many letters have been sent, and the next one waits for its time."""
    execution = handle.execution()
    return execution.status == "waiting" and len(execution.context.get("sent", ())) == after


def test_metrics_are_measured_by_the_hour_and_whenever_somebody_asks(
    tree: Tree, advance: Callable[[timedelta], None]
) -> None:
    durable = tree.durable
    schedule = durable.get_schedule("hourly_metrics")
    assert (schedule.cron, schedule.enabled) == ("0 * * * *", True)

    assert 0 < durable.trigger_schedule("hourly_metrics").result(timeout=60)["disk_used"] < 1

    before = len(runs(durable))
    advance(timedelta(hours=1))
    wait_until(lambda: len(runs(durable)) > before, what="the hour's run")
    latest = tree.own(Handle(runs(durable)[0].id, durable))
    assert tree.until(latest, "completed").context["is_alarming"] in (True, False)


def runs(durable: Durable) -> list[Execution]:
    return durable.list_executions("hourly_metrics")


# and what is only there to die


def test_a_library_that_kills_its_process_does_so_once(durable: Durable) -> None:
    handle = durable.start(thumbnails.make_thumbnail, {"file": "a.png"})

    assert handle.result(timeout=60)["stored"] is True
    assert handle.execution().crashes == 1
