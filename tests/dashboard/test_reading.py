"""What people type and addresses say, read: filters, forms, JSON and words."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_otp.dashboard.filters import asked
from durable_otp.dashboard.form_values import answer_of, json_of
from durable_otp.dashboard.json_view import HIDDEN, highlighted, redacted, restored
from durable_otp.dashboard.sought import sought
from durable_otp.dashboard.status import TIERS, tier
from durable_otp.dashboard.tree_rows import Budget, rows_of
from durable_otp.dashboard.wording import seconds, size
from durable_otp.errors import InputRejected
from durable_otp.workflow.human_input import PendingInput
from durable_otp.workflow.state import State
from tests.support.dashboard import ASKED, HOSTILE

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PARENT = "01a2031b-bbf1-7f5f-8d85-b5c120001547"


def test_an_address_is_written_as_it_was_read():
    given_ = {
        "workflow": "order",
        "queue": "slow",
        "step": "a/b",
        "error": "ValueError",
        "status": "running,failed",
        "range": "1h",
        "id": "01a2031b",
        "parent": PARENT,
        "contains": '{"a": 1}',
        "context": "paid=true",
        "stuck": "10m",
        "retrying": "1",
        "children": "1",
    }
    wanted = asked(given_)
    assert wanted.query() == given_
    assert asked(wanted.query()) == wanted


def test_what_an_address_says_that_is_nothing_is_left_out():
    wanted = asked(
        {"status": "running,dead", "range": "9y", "parent": "x", "from": "soon", "stuck": "eon"}
    )
    assert wanted.query() == {"status": "running"}
    assert asked({"id": "12"}).problem
    assert asked({"contains": "{"}).problem
    assert "object" in asked({"context": "[1]"}).problem


def test_filters_become_what_the_database_is_asked():
    facets = asked({"range": "1h", "status": "failed", "retrying": "1"}).facets(NOW)
    assert facets.base.since == NOW - timedelta(hours=1)
    assert facets.base.status == ("failed",)
    assert facets.base.top_level
    assert facets.retrying
    assert not asked({"parent": PARENT}).facets(NOW).base.top_level
    local = asked({"from": "2026-04-01T10:00"}).facets(NOW)
    assert local.base.since == datetime(2026, 4, 1, 10, tzinfo=UTC)


@given(
    st.dictionaries(
        st.sampled_from(["id", "status", "from", "contains", "context", "queue"]), st.text()
    )
)
def test_no_address_breaks_the_page(given_):
    asked(given_).facets(NOW).parameters()


def question(kind):
    parts = {"fields": None, "choices": None, **ASKED[kind]}
    return PendingInput("1", "2", "w", "s", "q", kind, None, metadata=None, timeout_at=None,
                        created_at=NOW, **parts)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "form", "answer"),
    [
        ("text", {"answer": HOSTILE}, HOSTILE),
        ("approval", {"answer": "rejected"}, "rejected"),
        ("choice", {"answer": "1"}, 2),
        ("multi_choice", {"answer": ["0", "1"]}, ["red", 2]),
        ("multi_choice", {"answer": "0"}, ["red"]),
        ("multi_choice", {}, []),
        (
            "form",
            {"field-0": "7", "field-1": "2026-01-31", "field-2": "true", "field-3": "1"},
            {"amount": 7, "when": "2026-01-31", "sure": True, "size": 9},
        ),
        ("form", {"field-0": "7.5", "field-1": ""}, {"amount": 7.5, "sure": False}),
    ],
)
def test_a_form_becomes_the_answer_s_json(kind, form, answer):
    assert answer_of(question(kind), form) == answer


@pytest.mark.parametrize(
    ("kind", "form"),
    [("choice", {}), ("choice", {"answer": "9"}), ("form", {"field-0": "many"})],
)
def test_what_is_no_answer_is_refused(kind, form):
    with pytest.raises(InputRejected):
        answer_of(question(kind), form)


def test_json_that_is_typed_is_json_or_refused():
    assert json_of(" ", "The input") is None
    assert json_of('{"a": 1}', "The input") == {"a": 1}
    with pytest.raises(ValueError, match="The input is not JSON"):
        json_of("{", "The input")


def test_json_is_shown_escaped_with_secrets_hidden():
    shown = str(highlighted({"a": HOSTILE, "Password": "hunter2", "n": [1, None]}))
    assert "<script" not in shown
    assert "<img" not in shown
    assert "hunter2" not in shown
    assert HIDDEN in shown
    assert redacted({"token": {"deep": "x"}, "tokens": True, "secret": None}) == {
        "token": HIDDEN,
        "tokens": True,
        "secret": None,
    }


def test_times_and_sizes_are_written_in_their_largest_units():
    given_ = [0.0004, 0.25, 12.34, 61, 3600, 3661, 90_000]
    assert [seconds(each) for each in given_] == [
        "0 ms", "250 ms", "12.3 s", "1 m 1 s", "1 h", "1 h 1 m", "1 d 1 h",
    ]  # fmt: skip
    assert [size(each) for each in (12, 2048, 3 * 1024**2, 5 * 1024**3)] == [
        "12 B", "2.0 KB", "3.0 MB", "5.0 GB",
    ]  # fmt: skip


def test_every_state_has_a_meaning():
    assert {tier(state) for state in State} <= set(TIERS)
    assert tier("compensation_failed") == "bad"


def test_a_tree_becomes_rows_that_know_where_they_hang():
    leaf = {"id": "1", "role": "worker", "status": "up", "execution_id": None, "children": []}
    manager = {"id": "queue a", "role": "queue_manager", "status": "up", "busy": 1}
    manager |= {"concurrency": 2, "paused": True, "children": [leaf, leaf]}
    root = {"id": "root", "role": "supervisor", "status": "up", "children": [manager, leaf]}
    rows = rows_of(root)
    assert [(row.level, row.position, row.siblings) for row in rows] == [
        (1, 1, 1), (2, 1, 2), (3, 1, 2), (3, 2, 2), (2, 2, 2),
    ]  # fmt: skip
    assert rows[1].doing == "1 of 2 busy · paused"
    assert rows[2].guides == (True,)


def test_where_executions_share_a_process_its_threads_are_shown():
    running = [{"execution_id": "x", "workflow": "w", "step": "s"}] * 2
    leaf = {"id": "1", "role": "worker", "status": "up", "execution_id": "x", "children": []}
    manager = {"id": "queue a", "role": "queue_manager", "status": "up", "threads": 4}
    shared, alone = leaf | {"executions": running}, leaf
    rows = rows_of(manager | {"children": [shared, alone]})
    assert [row.threads for row in rows] == ["4 each", "2 busy", ""]
    assert rows[1].doing == "2 busy"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", (None, None)),
        ('{"a": [1]}', ({"a": [1]}, None)),
        ("customer=7", ({"customer": 7}, None)),
        ("customer=7 address.city=Bonn", ({"customer": 7, "address": {"city": "Bonn"}}, None)),
        ('name="Ann Lee" ok=true', ({"name": "Ann Lee", "ok": True}, None)),
        ("a=1 a.b=2", (None, "a=1 a.b=2")),
        ("two words", (None, "two words")),
        ("7", (None, "7")),
    ],
)
def test_what_is_searched_for_is_json_pairs_or_words(typed, meant):
    assert sought(typed) == meant


@pytest.mark.parametrize("typed", ["{", '["a"', "x" * 3000])
def test_what_cannot_be_searched_for_is_said(typed):
    with pytest.raises(ValueError, match=r"not JSON|characters"):
        sought(typed)
    assert asked({"contains": typed}).problem
    assert asked({"contains": typed}).query() == {}


def test_a_budget_is_spent_by_what_lies_within_its_period():
    at = tuple((NOW - timedelta(seconds=age)).isoformat() for age in (9, 4, 1))
    budget = Budget("", 2, 5.0, at)
    assert (budget.spent(NOW), budget.tier(NOW)) == (2, "bad")
    later = NOW + timedelta(seconds=3)
    assert (budget.spent(later), budget.tier(later)) == (1, "warn")
    assert budget.tier(NOW + timedelta(seconds=10)) == "idle"


def test_hidden_values_come_back_where_they_were_and_nowhere_else():
    kept = {"token": "t", "list": [{"password": "p"}], "n": 1}
    shown = redacted(kept)
    assert restored(shown, kept) == kept
    assert restored({**shown, "n": 2, "token": "new"}, kept) == {**kept, "n": 2, "token": "new"}
    for original in (None, {}, {"token": None}):
        with pytest.raises(ValueError, match="stands for"):
            restored({"token": HIDDEN}, original)
