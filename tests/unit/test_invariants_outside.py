"""What no ledger knows is judged as well: processes, connections, values, secrets."""

import os

from tests.support.ledger import invariants_outside as outside

WORKER = "durable:worker default/1"


def test_processes_that_are_left_are_found():
    assert outside.no_process_is_left([2**22 + 1]) == []
    assert outside.no_process_is_left([os.getpid()])


def test_what_leaks_is_found():
    before = {"fds": 10.0, "rss": 100.0}
    assert outside.nothing_leaks(before, {"fds": 12.0, "rss": 109.0}) == []
    assert len(outside.nothing_leaks(before, {"fds": 13.0, "rss": 111.0})) == 2


def test_a_child_that_ended_of_itself_is_found():
    log = """
14:29:38.487 INFO child_stopped child="queue a" pid=7 clean=False reason=killed by_supervisor=False
14:29:39.487 INFO child_stopped child=pruner pid=8 clean=True reason=normal
14:29:39.487 INFO child_stopped child=scheduler pid=9 clean=False reason=killed by_supervisor=True
"""
    assert outside.restarts_have_reasons(log, {7}) == []
    (found,) = outside.restarts_have_reasons(log, {8, 9})
    assert found.startswith('I-18 "queue a" (pid 7)')


def test_connections_beyond_their_bounds_are_found():
    one = {"id": 1, "app": WORKER, "client_pids": [5]}
    assert outside.connections_are_bounded([one], {"durable:worker": 1}) == []
    assert outside.connections_are_bounded([one, one], {"durable:worker": 1})
    assert outside.connections_are_bounded([one | {"client_pids": [5, 6]}], {})


def test_a_value_that_comes_back_as_another_is_found():
    assert outside.a_value_comes_back({"a": [1, "x"]}, {"a": [1, "x"]}) == []
    assert outside.a_value_comes_back(True, 1)
    assert outside.a_value_comes_back([1], [1.0])


def test_a_secret_that_is_told_is_found():
    assert outside.secrets_are_kept({"log": "nothing"}, "canary") == []
    assert outside.secrets_are_kept({"log": "dsn=canary"}, "canary")
