"""Claims, turns of a key and limits of a queue: what two have at once is found."""

from typing import Any

from tests.support.ledger import invariants_claims as of_claims
from tests.support.ledger import invariants_flow as of_flow
from tests.support.ledger.invariants import only_known_moves_are_made
from tests.support.ledger.record import Record, Row


def line(number: int, before: str | None, after: str, execution: str, **more: Any) -> Row:
    """Return a line about an execution of the key ``k``, which has one turn, in the queue ``q``."""
    taking = {"concurrency_key": "k", "concurrency_limit": 1, "queue": "q"}
    taking |= {"retried_at": None, "locked_by": "m"}
    given: Row = {
        "n": number,
        "what": "workflow_executions",
        "op": "I" if before is None else "U",
        "execution": execution,
        "old_status": before,
        "new_status": after,
        "old_token": None,
        "new_token": None,
        "app": "durable:manager q claims",
        "old": taking,
        "new": taking,
    }
    return given | more


def test_a_turn_that_two_have_is_found():
    moves = [
        line(1, None, "pending", "a"),
        line(2, None, "waiting", "b"),
        line(3, "pending", "running", "a", new_token="T1"),
        line(4, "running", "waiting", "a", old_token="T1"),
        line(5, "waiting", "completed", "a"),
        line(6, "waiting", "pending", "b"),
    ]
    assert of_flow.turns_are_kept(Record(moves=moves)) == []
    assert only_known_moves_are_made(Record(moves=moves[:2])) == []
    moves[4], moves[5] = moves[5], moves[4]
    (found,) = of_flow.turns_are_kept(Record(moves=moves))
    assert found.startswith("I-8 ")


def test_a_limit_that_is_exceeded_is_found():
    moves = [
        line(1, "pending", "running", "a", new_token="T1"),
        line(2, "running", "waiting", "a", old_token="T1"),
        line(3, "pending", "running", "b", new_token="T2"),
        line(4, "running", "running", "b", old_token="T2", new_token="T3"),
    ]
    assert of_flow.limits_are_kept(Record(moves=moves), {"q": 1}) == []
    moves.append(line(5, "waiting", "running", "a", new_token="T4"))
    (found,) = of_flow.limits_are_kept(Record(moves=moves), {"q": 1})
    assert found.startswith("I-8 ")


def effect(number: int, pid: int, phase: str = "begin") -> Row:
    return {"n": number, "key": "a:pay:1", "execution": "a", "phase": phase, "pid": pid}


def test_a_body_of_a_lost_claim_may_begin_after_that_of_the_next() -> None:
    record = Record(
        moves=[
            line(4, "pending", "running", "a", new_token="T1"),
            line(5, "running", "pending", "a", old_token="T1"),
            line(6, "pending", "running", "a", new_token="T2"),
        ],
        effects=[effect(7, 2), effect(8, 1), effect(9, 2, "end")],
    )
    assert of_claims.claims_exclude_each_other(record) == []
    record.effects.insert(2, effect(8, 3))
    record.effects.append(effect(10, 3, "end"))
    assert of_claims.claims_exclude_each_other(record)


def test_a_claim_that_outlives_its_worker_has_one_body_more() -> None:
    record = Record(
        moves=[
            line(4, "pending", "running", "a", new_token="T1"),
            line(6, "running", "pending", "a", old_token="T1"),
            line(7, "pending", "running", "a", new_token="T2"),
        ],
        effects=[effect(5, 1), effect(8, 2), effect(9, 3), effect(10, 2, "end")],
    )
    record.effects.append(effect(11, 3, "end"))
    assert of_claims.claims_exclude_each_other(record) == []
    record.effects.append(effect(12, 1, "end"))
    assert of_claims.claims_exclude_each_other(record)
