"""Operations on a context fold into the context they were made from."""

import pytest

from durable_otp.workflow.delta import fold, fold_all, merged


def test_operations_fold_in_order():
    before = {"a": 1, "log": ["x"], "gone": 1}
    operations = [
        ["set", "b", {"c": 1}],
        ["append", "log", "y"],
        ["append", "log", "z"],
        ["append", "new", 1],
        ["increment", "a", 2],
        ["increment", "fresh", 1.5],
        ["delete", "gone"],
        ["delete", "never"],
    ]
    after = fold(before, operations)
    assert after == {
        "a": 3,
        "log": ["x", "y", "z"],
        "b": {"c": 1},
        "new": [1],
        "fresh": 1.5,
    }
    assert before == {"a": 1, "log": ["x"], "gone": 1}


def test_folding_changes_no_operation():
    operations = [["set", "log", [1]], ["append", "log", 2]]
    assert fold({}, operations) == fold({}, operations) == {"log": [1, 2]}
    assert operations == [["set", "log", [1]], ["append", "log", 2]]


def test_a_list_set_after_an_append_starts_anew():
    operations = [["append", "log", 1], ["set", "log", []], ["append", "log", 2]]
    assert fold({"log": [0]}, operations) == {"log": [2]}
    assert operations[1] == ["set", "log", []]
    operations = [["append", "log", 1], ["delete", "log"], ["append", "log", 2]]
    assert fold({"log": [0]}, operations) == {"log": [2]}


def test_a_sum_takes_the_form_jsonb_gives_it():
    after = fold({"n": 9e15}, [["increment", "n", 1e15]])
    assert after == {"n": 10**16}
    assert type(after["n"]) is int


def test_the_deltas_of_several_steps_fold_one_after_the_other():
    assert fold_all({"n": 0}, [[["increment", "n", 1]], [], [["set", "n", 5]]]) == {"n": 5}


@pytest.mark.parametrize("operation", [["swap", "a", 1], ["set", "a"], ["set", 1, 1], []])
def test_an_unknown_operation_is_refused(operation):
    with pytest.raises(ValueError, match="not an operation"):
        fold({}, [operation])


def test_a_merge_is_deep_in_objects_and_replaces_anything_else():
    value = {"a": {"x": 1, "y": [1]}, "b": 2}
    assert merged(value, {"a": {"y": [2], "z": 3}, "b": {"c": 1}}) == {
        "a": {"x": 1, "y": [2], "z": 3},
        "b": {"c": 1},
    }
    assert value == {"a": {"x": 1, "y": [1]}, "b": 2}
