"""The lives of processes, told from one published tree after another."""

from dataclasses import replace
from datetime import UTC, datetime

from durable_otp.storage.lives import LEFT, Lives
from durable_otp.storage.processes import Process

AT = datetime(2026, 5, 1, tzinfo=UTC)
WORKER = Process(
    *("n", "default/1", "queue default/1", "worker", 10, "starting", 0, AT),
    *(None, None, "default", None, None, None),
)
UP = replace(WORKER, status="up")


def told(changed):
    return [(each.pid, each.is_ready, each.reason) for each in changed]


def test_a_life_begins_is_ready_and_is_told_once():
    lives = Lives()
    assert told(lives.seen([WORKER])) == [(10, False, None)]
    assert lives.seen([WORKER]) == []
    assert told(lives.seen([UP])) == [(10, True, None)]
    assert lives.seen([UP]) == []


def test_a_death_is_told_with_its_reason_what_it_was_at_and_its_successor():
    lives = Lives()
    lives.seen([replace(UP, execution_id="e", step="s")])
    at = {"execution_id": "e", "step": "s"}
    after = replace(UP, pid=11, restarts=1, last_exit="killed by SIGKILL", died_at=at)
    dead, born = lives.seen([after])
    assert (dead.pid, dead.reason) == (10, "killed by SIGKILL")
    assert (dead.execution_id, dead.step) == ("e", "s")
    assert (born.pid, born.restarts, born.reason) == (11, 1, None)
    assert born.id > dead.id


def test_who_is_down_has_ended_and_who_is_stopping_has_not_yet():
    lives = Lives()
    lives.seen([UP])
    assert lives.seen([replace(UP, pid=None, status="stopping")]) == []
    assert told(lives.seen([replace(UP, pid=None, status="down", last_exit="exit 1")])) == [
        (10, True, "exit 1")
    ]
    assert lives.seen([replace(UP, pid=None, status="restarting")]) == []


def test_who_is_off_the_tree_has_left_it():
    lives = Lives()
    lives.seen([UP])
    assert told(lives.seen([])) == [(10, True, LEFT)]
    assert lives.seen([]) == []


def test_another_registrar_goes_on_where_the_one_before_was():
    (life,) = Lives().seen([UP])
    assert Lives([life]).seen([UP]) == []
    dead, born = Lives([life]).seen([replace(UP, pid=12, last_exit="killed")])
    assert (dead.id, dead.reason, born.pid) == (life.id, "killed", 12)


def test_what_a_worker_died_at_is_what_its_manager_says():
    lives = Lives()
    lives.seen([UP])
    at = {"execution_id": "x", "step": "s"}
    dead, _ = lives.seen([replace(UP, pid=12, last_exit="killed", died_at=at, execution_id="y")])
    assert (dead.execution_id, dead.step) == ("x", "s")
    idle, _ = lives.seen([replace(UP, pid=13, last_exit="killed", execution_id="z")])
    assert (idle.execution_id, idle.step) == (None, None)
    with_its_manager, _ = lives.seen([replace(UP, pid=14)])
    assert with_its_manager.execution_id == "z"
