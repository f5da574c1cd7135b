"""Sagas across families: whichever part of a family fails, all that was done is undone."""

from collections.abc import Iterator
from typing import Any

import pytest

from durable_otp import ChildFailed, Context, Workflow, call_workflow
from tests.support.postgres import fresh_schema
from tests.support.tree import Tree, running

trip = Workflow("trip")


def fail_if(ctx: Context, here: str) -> None:
    if ctx["fail"] == here:
        raise KeyError(here)


@trip.step(compensate="release")
def reserve() -> dict[str, Any]:
    return {"seat": 7}


with trip.parallel(name="bookings", on_error="fail_fast", max_concurrency=1) as bookings:

    @trip.step(compensate="cancel")
    def hotel() -> dict[str, Any]:
        return {"room": 12}

    @trip.step
    def car(ctx: Context) -> None:
        fail_if(ctx, "car")


@bookings.into
def combine(ctx: Context, results: Any) -> None:
    fail_if(ctx, "into")


@trip.each("parts")
def part(ctx: Context, item: str) -> None:
    fail_if(ctx, item)


@trip.step
def last(ctx: Context) -> None:
    fail_if(ctx, "last")


@trip.compensate
def release(ctx: Context) -> dict[str, Any]:
    return {"released": ctx["seat"]}


@trip.compensate
def cancel(ctx: Context) -> dict[str, Any]:
    return {"cancelled": ctx["room"]}


agency = Workflow("agency")


@agency.step
def book(ctx: Context) -> dict[str, Any]:
    try:
        call_workflow(trip, ctx.input)
    except ChildFailed as failed:
        return {"told": [failed.status, failed.error["type"]]}
    return {"told": "booked"}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, trip, agency, queues={"default": 2}) as tree,
    ):
        yield tree


@pytest.mark.parametrize("where", ["car", "into", "bad part", "last"])
def test_whatever_fails_a_family_what_its_members_did_is_undone(tree: Tree, where: str) -> None:
    handle = tree.durable.start(trip, {"fail": where, "parts": ["good part", "bad part"]})
    end = tree.until(handle, "compensated", "failed", "compensation_failed")
    assert (end.status, (end.error or {})["type"]) == ("compensated", "KeyError")
    undone = [(each["step"], each["status"]) for each in end.compensation_results or []]
    assert undone == [("bookings/hotel", "completed"), ("reserve", "completed")]
    steps = tree.durable.get_execution(handle.id, steps=True).steps or ()
    outputs = [step.output for step in steps if step.is_compensation]
    assert outputs == [{"cancelled": 12}, {"released": 7}]


def test_a_caller_is_told_that_its_child_was_undone(tree: Tree) -> None:
    undone = tree.durable.start(agency, {"fail": "last", "parts": []})
    booked = tree.durable.start(agency, {"fail": "nothing", "parts": ["good part"]})
    assert undone.result(timeout=60)["told"] == ["compensated", "KeyError"]
    assert booked.result(timeout=60)["told"] == "booked"
