"""What counts as a difference between a run and the model's."""

import pytest

from tests.support.endings import Trace
from tests.support.shape_runs import _odd_traces

AB = (("a", 1), ("b", 1))


@pytest.mark.parametrize(
    ("trace", "ran", "crashes", "differences"),
    [
        (Trace("w", AB), [AB], False, 0),
        (Trace("w", AB), [], False, 1),
        (Trace("w", AB), [AB[:1]], False, 2),
        (Trace("w", AB), [AB, AB], False, 1),
        (Trace("w", AB, cut=True), [], False, 0),
        (Trace("w", AB, cut=True), [AB[:1]], False, 0),
        (Trace("w", AB, cut=True), [AB[1:]], False, 1),
        (Trace("w", AB, cut=True), [AB, AB], False, 1),
        (Trace("w", AB, repeatable=True), [AB, AB], False, 1),
        (Trace("w", AB, repeatable=True), [AB, AB], True, 0),
        (Trace("w", AB, repeatable=True), [], True, 1),
        (Trace("w", AB), [AB, AB], True, 1),
        (Trace("v", AB), [AB], False, 2),
    ],
)
def test_traces_are_held_against_the_models(
    trace: Trace, ran: list, crashes: bool, differences: int
) -> None:
    assert len(_odd_traces([trace], {"w": ran}, crashes=crashes)) == differences


def test_a_failed_child_may_be_called_less_often_when_a_crash_took_the_first_failure() -> None:
    twice = [Trace("w", AB, repeatable=True)] * 2
    assert _odd_traces(twice, {"w": [AB]}, crashes=True) == []
    assert len(_odd_traces(twice, {"w": [AB]}, crashes=False)) == 1
