"""The table of moves says what DESIGN section 2 says."""

from durable_otp.workflow.state import FINAL, TRANSITIONS, Move, State, StepState


def moves_from(state):
    return {move for origin, move in TRANSITIONS if origin is state}


def test_the_final_states_are_those_that_nothing_but_a_retry_leaves():
    assert set(FINAL) == {
        State.COMPLETED,
        State.FAILED,
        State.CANCELLED,
        State.COMPENSATED,
        State.COMPENSATION_FAILED,
    }


def test_a_retry_leads_back_to_work_and_to_an_undoing_that_failed():
    retried = {state: after for (state, move), after in TRANSITIONS.items() if move is Move.RETRY}
    assert retried == {
        State.FAILED: State.PENDING,
        State.CANCELLED: State.PENDING,
        State.COMPENSATED: State.PENDING,
        State.COMPENSATION_FAILED: State.COMPENSATING,
    }
    assert all(moves_from(state) <= {Move.RETRY} for state in FINAL)
    assert moves_from(State.COMPLETED) == set()


def test_every_move_and_every_state_is_used():
    assert {move for _, move in TRANSITIONS} == set(Move)
    reached = {State.PENDING, *TRANSITIONS.values()}
    assert reached == set(State)


def test_only_a_free_execution_is_claimed_and_compensating_keeps_its_status():
    claimed = {state: after for (state, move), after in TRANSITIONS.items() if move is Move.CLAIM}
    assert claimed == {State.PENDING: State.RUNNING, State.COMPENSATING: State.COMPENSATING}


def test_a_running_execution_may_end_wait_or_go_back():
    assert moves_from(State.RUNNING) == {
        Move.RELEASE,
        Move.INTERRUPT,
        Move.RETRY_LATER,
        Move.SUSPEND,
        Move.COMPLETE,
        Move.FAIL,
        Move.CANCEL,
        Move.COMPENSATE,
    }


def test_a_waiting_execution_is_woken_into_the_queue_and_never_straight_into_a_worker():
    assert TRANSITIONS[State.WAITING, Move.WAKE] is State.PENDING
    assert moves_from(State.WAITING) == {Move.WAKE, Move.FAIL, Move.CANCEL, Move.COMPENSATE}


def test_a_compensation_is_resumed_and_never_abandoned():
    ends = {after for (state, _), after in TRANSITIONS.items() if state is State.COMPENSATING}
    assert ends == {State.COMPENSATING, State.COMPENSATED, State.COMPENSATION_FAILED}


def test_the_step_states_are_the_contracts():
    assert [str(state) for state in StepState] == ["running", "waiting", "completed", "failed"]
