"""What the demo calls good: only what was told to fail may end otherwise than completed."""

import pytest

from durable_otp.cli.demo_report import Report
from durable_otp.storage.overview import JournalTotals

QUIET = JournalTotals(completed=50, failed=4, crashed=2, repeated=0)


def report(counts, *, started=10, undone=0, journal=QUIET):
    return Report(started, counts, undone, journal, [], kills=2, answers=7)


def test_what_was_told_to_fail_and_is_undone_is_no_failure():
    good = report({"completed": 8, "compensated": 2}, undone=2)
    assert (good.is_good, good.failed, good.unfinished, good.lost) == (True, 0, 0, 0)
    assert good.lines()[0] == (
        "executions  10 started, 8 completed, 2 told to fail and undone, 0 failed, 0 unfinished, "
        "0 lost"
    )


@pytest.mark.parametrize(
    ("counts", "undone"),
    [
        ({"completed": 8, "compensated": 2}, 1),
        ({"completed": 9, "failed": 1}, 0),
        ({"completed": 9, "cancelled": 1}, 0),
        ({"completed": 9, "compensation_failed": 1}, 0),
    ],
)
def test_any_other_end_is_a_failure(counts, undone):
    bad = report(counts, undone=undone)
    assert (bad.is_good, bad.failed) == (False, 1)


def test_what_is_gone_is_lost_and_what_has_not_ended_is_unfinished():
    bad = report({"completed": 5, "waiting": 3, "compensating": 1})
    assert (bad.is_good, bad.lost, bad.unfinished, bad.failed) == (False, 1, 4, 0)


def test_a_step_that_ran_twice_breaks_the_promise():
    twice = JournalTotals(completed=50, failed=0, crashed=0, repeated=1)
    assert not report({"completed": 10}, journal=twice).is_good
