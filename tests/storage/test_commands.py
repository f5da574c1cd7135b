"""Commands in the database: only for who lives, taken again until answered, answered once."""

from datetime import UTC, datetime

import psycopg
import pytest

from durable_otp.storage import commands, nodes
from durable_otp.storage.commands import Status, Verb
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.storage.processes import processes_of

BORN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TREE = {
    "id": "root",
    "role": "supervisor",
    "pid": 7,
    "status": "up",
    "restarts": 0,
    "started_at": BORN.isoformat(),
    "children": [],
}
(ROOT,) = processes_of("n1", TREE)


@pytest.fixture
def database(tables):
    database = Database(tables.dsn, tables.schema, role="test")
    yield database
    database.close()


def publish(database, id_="n1", node_timeout=15.0):
    node = {"id": id_, "name": "n", "hostname": "h", "pid": 7, "workflows": []}
    tree = TREE | {"children": []}
    return database.run(nodes.publish_node, node | {"tree": tree, "node_timeout": node_timeout}, 1)


def placed(database, process=ROOT, seconds=60.0):
    id_ = new_id()
    assert database.run(commands.place, id_, Verb.STOP, process, seconds)
    return id_


def test_only_a_node_that_lives_is_ordered_anything(database, tables):
    assert not database.run(commands.place, new_id(), Verb.STOP, ROOT, 60.0)
    publish(database, node_timeout=20)
    tables.sql("UPDATE durable.nodes SET seen_at = durable.now() - interval '15 s'")
    placed(database)  # it said that it may be silent for so long
    tables.sql("UPDATE durable.nodes SET seen_at = durable.now() - interval '25 s'")
    assert not database.run(commands.place, new_id(), Verb.STOP, ROOT, 60.0)
    assert database.run(nodes.live_nodes) == []


def test_a_command_is_taken_by_its_node_until_it_is_answered_once(database):
    publish(database)
    id_ = placed(database)
    assert database.run(commands.take, "n2") == []
    (command,) = database.run(commands.take, "n1")
    assert (command.id, command.verb, command.target) == (id_, "stop", "root")
    assert (command.pid, command.started_at) == (7, BORN)
    assert 0 < command.seconds <= 60
    assert database.run(commands.take, "n1") == [
        commands.Command(**vars(command) | {"seconds": pytest.approx(command.seconds, abs=30)})
    ]
    database.run(commands.answer, id_, Status.REFUSED, "No\0!")
    database.run(commands.answer, id_, Status.DONE, "Yes.")
    assert database.run(commands.answer_to, id_) == commands.Answer(Status.REFUSED, "No!")
    assert database.run(commands.take, "n1") == []


def test_what_nobody_took_in_time_is_never_taken(database):
    publish(database)
    id_ = placed(database, seconds=0.0)
    assert database.run(commands.take, "n1") == []
    assert database.run(commands.withdraw, id_)
    assert database.run(commands.answer_to, id_).status == Status.EXPIRED
    taken = placed(database)
    database.run(commands.take, "n1")
    assert not database.run(commands.withdraw, taken)


def test_a_node_that_has_ended_is_answered_for(database):
    publish(database)
    publish(database, "n2")
    taken = placed(database)
    database.run(commands.take, "n1")
    waiting = placed(database)
    database.run(nodes.set_queue, "q", "n1", paused=True)
    database.run(nodes.forget_nodes, ["n1"])
    assert database.run(commands.answer_to, taken).status == Status.UNKNOWN
    assert database.run(commands.answer_to, waiting).status == Status.EXPIRED
    assert not database.run(nodes.queue_settings, "q", "n1").paused
    assert [node.id for node in database.run(nodes.live_nodes)] == ["n2"]
    assert database.run(commands.answer_to, new_id()).status == Status.UNKNOWN


def test_a_node_that_was_ordered_to_stop_says_that_it_has(database):
    publish(database)
    id_ = placed(database)
    database.run(commands.answer_stop, "n1")
    assert database.run(commands.answer_to, id_).status == Status.REQUESTED
    database.run(commands.take, "n1")
    database.run(commands.answer_stop, "n1")
    database.run(nodes.forget_nodes, ["n1"])
    assert database.run(commands.answer_to, id_).outcome == "The node has stopped."


def test_whoever_begins_to_watch_is_told_to_the_node_once(database, tables):
    assert publish(database) is False
    with psycopg.connect(tables.dsn, autocommit=True) as listener:
        listener.execute(f'LISTEN "{tables.schema}:command"'.encode())
        for _ in range(3):
            database.run(nodes.watch_nodes, 60.0)
        heard = [notice.payload for notice in listener.notifies(timeout=0.2)]
    assert heard == ["n1"]
    assert publish(database) is True
    tables.sql("UPDATE durable.nodes SET watched_until = durable.now() - interval '1 ms'")
    assert publish(database) is False


def test_what_is_set_for_all_nodes_holds_for_each_of_them(database):
    database.run(nodes.set_queue, "q", "n1", paused=True, concurrency=3)
    database.run(nodes.set_queue, "r", "n1", paused=True)
    database.run(nodes.set_queue, "q", nodes.ALL_NODES, concurrency=5)
    assert database.run(nodes.queue_settings, "q", "n1") == nodes.QueueSettings(True, 5)
    database.run(nodes.set_queue, "q", nodes.ALL_NODES, paused=False)
    assert database.run(nodes.queue_settings, "q", "n1") == nodes.QueueSettings(False, 5)
    assert database.run(nodes.queue_settings, "r", "n1").paused
