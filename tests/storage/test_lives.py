"""The lives of processes in the database: written once, bounded, ended with their node."""

from datetime import UTC, datetime

import pytest
from psycopg.conninfo import conninfo_to_dict

from durable_otp.runtime.life_log import LifeLog
from durable_otp.storage import lives as module
from durable_otp.storage.database import Database
from durable_otp.storage.identity import new_id
from durable_otp.storage.lives import Life, lives, lives_just_ended, open_lives, record_lives
from durable_otp.storage.nodes import forget_nodes
from tests.support.roles import role

AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def node():
    return new_id()


def life(path="queue a/1", **changes):
    facts = {"id": new_id(), "path": path, "role": "worker", "queue": "a", "pid": 7, "restarts": 0}
    return Life(**facts | {"started_at": AT} | changes)


def test_what_is_written_twice_is_there_once_and_goes_on(database, node):
    born = life()
    for _ in range(2):
        database.run(record_lives, node, [born])
    assert database.run(open_lives, node) == [born]
    ready = life(id=born.id, is_ready=True)
    dead = life(id=born.id, is_ready=True, reason="killed", execution_id=new_id(), step="s")
    database.run(record_lives, node, [ready, dead])
    assert database.run(open_lives, node) == []
    (row,) = database.run(lives, limit=5, node_id=node)
    assert (row["reason"], row["step"], row["execution_id"]) == ("killed", "s", dead.execution_id)
    assert row["started_at"] == AT
    assert row["ended_at"] >= row["ready_at"]
    assert row["id"] in [each["id"] for each in database.run(lives_just_ended, 30.0, 100)]
    assert database.run(lives_just_ended, 0.0, 100) == []


def test_those_that_ended_longest_ago_make_room_and_the_living_stay(database, node, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    living = life("root")
    ended = [life(reason="exit 1") for _ in range(6)]
    database.run(record_lives, node, [living])
    for each in ended:
        database.run(record_lives, node, [each])
    kept = [row["id"] for row in database.run(lives, limit=50, node_id=node)]
    assert living.id in kept
    assert ended[0].id not in kept
    assert ended[-1].id in kept
    assert len(kept) <= 6


def test_lives_are_read_in_parts_and_by_place(database, node):
    written = [life(f"queue a/{number % 2}") for number in range(4)]
    database.run(record_lives, node, written)
    first = database.run(lives, limit=3, node_id=node)
    rest = database.run(lives, limit=3, node_id=node, after=first[-1]["id"])
    assert [row["id"] for row in first + rest] == [each.id for each in reversed(written)]
    assert len(database.run(lives, limit=9, node_id=node, path="queue a/1")) == 2


def test_a_node_s_processes_end_with_it(database, node):
    database.run(record_lives, node, [life()])
    database.run(forget_nodes, [node])
    (row,) = database.run(lives, limit=5, node_id=node)
    assert row["reason"] == "ended with its node"


def test_a_role_that_may_not_write_lives_keeps_its_node(dsn, tables, caplog):
    tree = {"id": "root", "role": "supervisor", "pid": 1, "status": "running", "restarts": 0}
    tree |= {"started_at": AT.isoformat(), "children": []}
    with role(dsn, tables.schema, "runtime") as poor:
        name = conninfo_to_dict(poor)["user"]
        tables.sql(f"REVOKE ALL ON durable.process_lives FROM {name}")
        limited = Database(poor, tables.schema, role="registrar")
        log = LifeLog(limited, "n")
        for _ in range(2):
            log.note(dict(tree))
        limited.close()
        assert caplog.text.count("lives_not_written") == 1
        tables.sql(f"GRANT ALL ON durable.process_lives TO {name}")
        granted = Database(poor, tables.schema, role="registrar")
        LifeLog(granted, "n").note(dict(tree))
        granted.close()
    assert [each["path"] for each in tables.sql("SELECT path FROM durable.process_lives")] == [
        "root"
    ]
