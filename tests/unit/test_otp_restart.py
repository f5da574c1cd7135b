"""The restart decisions, without a process or a clock."""

import pytest

from durable_otp.otp.exit_reason import Failed, Killed, Normal, Shutdown
from durable_otp.otp.restart import (
    RestartBackoff,
    RestartIntensity,
    ends_supervisor,
    restart_group,
    should_restart,
)

CLEAN = [Normal(), Shutdown(), Shutdown("moved")]
ERRORS = [Killed(), Killed(by_supervisor=True), Failed(code=1), Failed(signal="SIGSEGV")]


@pytest.mark.parametrize("reason", [*CLEAN, *ERRORS], ids=str)
def test_the_restart_table(reason: object) -> None:
    assert should_restart("permanent", reason)
    assert should_restart("transient", reason) == (reason in ERRORS)
    assert not should_restart("temporary", reason)


def test_groups_are_in_start_order() -> None:
    assert restart_group("one_for_one", ["a", "b", "c"], "b") == ["b"]
    assert restart_group("one_for_all", ["a", "b", "c"], "b") == ["a", "b", "c"]
    assert restart_group("rest_for_one", ["a", "b", "c"], "b") == ["b", "c"]


def test_one_more_than_the_intensity_is_too_many() -> None:
    intensity = RestartIntensity(2, 5.0)
    assert [intensity.exceeded(now) for now in (0.0, 1.0, 2.0)] == [False, False, True]


def test_the_window_slides_and_includes_its_edge() -> None:
    intensity = RestartIntensity(1, 5.0)
    assert [intensity.exceeded(now) for now in (0.0, 5.0, 10.1)] == [False, True, False]


def test_intensity_zero_gives_up_at_the_first() -> None:
    assert RestartIntensity(0, 1.0).exceeded(0.0)


@pytest.mark.parametrize(
    ("auto_shutdown", "significant", "others", "ends"),
    [
        ("never", True, [], False),
        ("any_significant", True, [True], True),
        ("any_significant", False, [], False),
        ("all_significant", True, [True, False], False),
        ("all_significant", True, [False], True),
        ("all_significant", False, [], False),
    ],
)
def test_when_an_end_takes_the_supervisor_with_it(
    auto_shutdown: str, significant: bool, others: list[bool], ends: bool
) -> None:
    answer = ends_supervisor(auto_shutdown, significant=significant, others_significant=others)
    assert answer == ends


def test_the_curve_doubles_up_to_its_ceiling() -> None:
    curve = RestartBackoff(initial=1, factor=2, max=10, jitter=0)
    assert [curve.delay(n, 0.5) for n in (1, 2, 3, 4, 5, 5000)] == [1, 2, 4, 8, 10, 10]


def test_jitter_spreads_either_way() -> None:
    curve = RestartBackoff(initial=10, max=10, jitter=0.1)
    assert (curve.delay(1, 0.0), curve.delay(1, 1.0)) == pytest.approx((9.0, 11.0))
