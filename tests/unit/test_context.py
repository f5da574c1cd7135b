"""A step's context: JSON when set, mutable when read, and changed all or not at all."""

import copy
import json
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from durable_otp.errors import SerializationError
from durable_otp.workflow.context import Context
from durable_otp.workflow.delta import fold
from durable_otp.workflow.json_form import canonical


def make(values=None, **facts):
    return Context(values or {}, input=None, execution_id="e", workflow="w", step="s", **facts)


def test_the_facts_of_the_attempt_are_attributes():
    context = make({"a": 1}, attempt=2, idempotency_key="k")
    facts = (context.execution_id, context.workflow, context.step, context.attempt)
    assert facts == ("e", "w", "s", 2)
    assert (context.idempotency_key, context.results, context.input) == ("k", {}, None)


def test_it_is_a_mapping():
    context = make({"bb": 1, "a": None})
    assert list(context) == ["a", "bb"]
    assert len(context) == 2
    assert "a" in context
    assert context.get("no", 5) == 5
    assert context.pop("bb") == 1
    assert dict(context) == {"a": None}
    assert repr(context) == "Context({'a': None})"
    with pytest.raises(KeyError):
        context["no"]


def test_a_value_has_its_json_form_as_soon_as_it_is_set():
    context = make()
    context["price"] = (Decimal("1.5"), {2, 1})
    assert context["price"] == ["1.5", [1, 2]]
    assert context.changes() == [["set", "price", ["1.5", [1, 2]]]]


def test_reading_alone_changes_nothing():
    context = make({"a": {"b": [1]}, "n": 1})
    assert context["a"]["b"] == [1]
    assert list(context.items())
    assert context.changes() == []


def test_a_change_in_place_is_kept():
    before = {"a": {"b": [1]}, "n": 1}
    context = make(before)
    context["a"]["b"].append((2,))
    context["a"]["c"] = {3}
    assert context.changes() == [["set", "a", {"b": [1, [2]], "c": [3]}]]
    assert before == {"a": {"b": [1]}, "n": 1}


def test_a_change_in_place_of_a_value_just_set_is_kept():
    context = make()
    context["a"] = []
    context["a"].append(1)
    assert context.changes() == [["set", "a", [1]]]


def test_a_list_that_grew_is_stored_as_appends():
    context = make({"log": [1]})
    context["log"].append(2)
    context.append("log", {"n": (3,)})
    assert context["log"] == [1, 2, {"n": [3]}]
    assert context.changes() == [["append", "log", 2], ["append", "log", {"n": [3]}]]


def test_append_starts_a_list_and_copies_its_item():
    context = make()
    item = {"n": 1}
    context.append("log", item)
    item["n"] = 2
    assert context.changes() == [["append", "log", {"n": 1}]]
    context["log"][0]["n"] = (3,)
    assert context.changes() == [["set", "log", [{"n": [3]}]]]


def test_append_to_something_else_is_refused():
    with pytest.raises(TypeError, match="needs a list"):
        make({"a": "text"}).append("a", 1)


def test_increment_returns_the_sum_and_is_stored_as_an_operation():
    context = make({"n": 1})
    assert context.increment("n") == 2
    assert context.increment("new", 0.5) == 0.5
    assert context.changes() == [["increment", "n", 1], ["increment", "new", 0.5]]
    context.increment("n", 3)
    assert context.changes()[0] == ["set", "n", 5]


@pytest.mark.parametrize(("value", "by"), [("1", 1), (True, 1), (None, 1), (1, "1"), (1, True)])
def test_increment_of_what_is_no_number_is_refused(value, by):
    with pytest.raises(TypeError, match="needs numbers"):
        make({"n": value}).increment("n", by)


def test_a_sum_beyond_64_bits_is_refused_and_leaves_the_value():
    context = make({"n": 2**63 - 1})
    with pytest.raises(SerializationError, match="64 bits"):
        context.increment("n")
    assert context["n"] == 2**63 - 1
    assert context.changes() == []


def test_merge_is_deep():
    context = make({"a": {"x": 1, "y": {"z": 1}}})
    context.merge({"a": {"y": {"w": (2,)}}, "b": 1})
    assert context.changes() == [["set", "a", {"x": 1, "y": {"w": [2], "z": 1}}], ["set", "b", 1]]
    with pytest.raises(TypeError, match="needs a mapping"):
        context.merge([1])


def test_a_deletion_is_a_tombstone_only_for_what_was_there():
    context = make({"a": 1, "b": 1})
    del context["a"]
    context["c"] = 1
    del context["c"]
    del context["b"]
    context["b"] = 1
    assert context.changes() == [["delete", "a"]]


def test_true_is_not_one_and_one_is_not_a_float():
    context = make({"a": 1, "b": 1})
    context["a"] = True
    context["b"] = 1.0
    assert json.dumps(context.changes()) == '[["set", "a", true], ["set", "b", 1.0]]'


def test_what_cannot_be_stored_is_refused_at_the_assignment_or_at_the_end():
    context = make({"a": {}}, max_payload=100)
    with pytest.raises(SerializationError) as refused:
        context["items"] = [{"price": float("nan")}]
    assert refused.value.path == 'context["items"][0]["price"]'
    with pytest.raises(SerializationError, match="100 bytes"):
        context["long"] = "x" * 100
    with pytest.raises(SerializationError, match="NUL"):
        context["\0"] = 1
    with pytest.raises(TypeError, match="must be a string"):
        context[1] = 1
    context["a"]["b"] = object()
    with pytest.raises(SerializationError) as refused:
        context.changes()
    assert refused.value.path == 'context["a"]["b"]'


KEYS = st.sampled_from(["a", "bb", "ü"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=6,
)


class ContextMachine(RuleBasedStateMachine):
    """Whatever a body does, folding its changes into the context before gives the one after."""

    @initialize(values=st.dictionaries(KEYS, JSON_VALUES))
    def start(self, values):
        self.before = canonical(values)
        self.untouched = copy.deepcopy(self.before)
        self.context = make(self.before)
        self.expected = copy.deepcopy(self.before)

    @rule(key=KEYS, value=JSON_VALUES)
    def set(self, key, value):
        self.context[key] = value
        self.expected[key] = copy.deepcopy(value)

    @rule(key=KEYS)
    def delete(self, key):
        assert self.context.pop(key, None) == self.expected.pop(key, None)

    @rule(key=KEYS, item=JSON_VALUES)
    def append(self, key, item):
        if isinstance(self.expected.get(key, []), list):
            self.context.append(key, item)
            self.expected.setdefault(key, []).append(copy.deepcopy(item))

    @rule(key=KEYS, by=st.integers(-3, 3) | st.floats(-2, 2))
    def increment(self, key, by):
        value = self.expected.get(key, 0)
        if type(value) in (int, float):
            self.expected[key] = self.context.increment(key, by)

    @rule(key=KEYS, item=JSON_VALUES)
    def change_in_place(self, key, item):
        value = self.context.get(key)
        if isinstance(value, list):
            value.insert(0, item)
            self.expected[key].insert(0, copy.deepcopy(item))
        elif isinstance(value, dict):
            value["new"] = item
            self.expected[key]["new"] = copy.deepcopy(item)

    @rule(mapping=st.dictionaries(KEYS, st.dictionaries(KEYS, st.integers(0, 3))))
    def merge(self, mapping):
        self.context.merge(mapping)
        self.expected = {key: self.context[key] for key in self.context}
        self.expected = copy.deepcopy(self.expected)

    @invariant()
    def changes_fold_into_what_is_seen(self):
        after = canonical(fold(self.before, self.context.changes()))
        assert json.dumps(after) == json.dumps(canonical(dict(self.expected)))
        assert json.dumps(self.before) == json.dumps(self.untouched)


ContextMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestContextMachine = ContextMachine.TestCase


def test_what_is_settled_is_a_change_and_shares_nothing_with_who_reads_it():
    form = {"order": {"lines": [1]}, "n": 1}
    context = make({"n": 1, "order": None})
    context["order"] = "set by the body before"
    context.settle(form)
    assert context.changes() == [["set", "order", {"lines": [1]}]]
    context["order"]["lines"].append(2)
    assert form == {"order": {"lines": [1]}, "n": 1}
    assert context.changes() == [["set", "order", {"lines": [1, 2]}]]
    context["order"] = {3, 1}
    assert context.changes() == [["set", "order", [1, 3]]]
