"""How often a manager asks after what it has passed over."""

import math

from durable_otp.runtime.passed_over import FIRST_REST, LONGEST_REST, PassedOver


def test_a_row_that_stays_locked_is_asked_after_less_and_less_often() -> None:
    passed_over = PassedOver()
    rests = [passed_over.rest(is_anything=True) for _ in range(20)]
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST
    assert passed_over.rest(is_anything=False) == math.inf
    assert passed_over.rest(is_anything=True) == FIRST_REST
