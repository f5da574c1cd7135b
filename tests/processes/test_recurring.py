"""A sibling's rest: ended by what was notified, also while the round's own statements ran."""

import select
import socket
from collections.abc import Sequence
from typing import Any

import psycopg

from durable_otp.otp import ChildSpec, Message, ParentLink
from durable_otp.otp.link import encode
from durable_otp.runtime.recurring import pause_of, serve
from durable_otp.storage.database import Database
from durable_otp.storage.migrator import Migrator
from tests.support.otp_programs import Grow, PassOn
from tests.support.waiting import wait_until

HOUR = 3600.0


class NotifiedWhileAtWork:
    """Says how many rounds it has done; the second one is notified before it has ended."""

    def __init__(self, parent: Any, database: Database, channel: str) -> None:
        self._parent = parent
        self._database = database
        self._channel = channel
        self._rounds = 0

    def run_once(self) -> float:
        self._rounds += 1
        if self._rounds == 2:  # a connection hears its own notifications with the same answer
            self._database.connection().execute("SELECT pg_notify(%s, '')", [self._channel])
        self._parent.send("round", {"number": self._rounds})
        return HOUR


def rounds(parent: Any, dsn: str, schema: str) -> None:
    database = Database(dsn, schema, role="rounds")
    work = NotifiedWhileAtWork(parent, database, f"{schema}:sleep")
    serve(parent, database, work, listen="listen_sleep")


def test_what_is_notified_while_a_round_is_at_work_ends_its_rest(
    grow: Grow, dsn: str, schema: str
) -> None:
    Migrator(dsn, schema).migrate()
    heard: list[Any] = []
    child = ChildSpec("a", rounds, (dsn, schema))
    grow(child, hooks=PassOn(), on_message=heard.append)

    def numbers() -> list[int]:
        return [each.fields["number"] for each in heard if each.kind == "from_child"]

    wait_until(lambda: 3 in numbers(), what="the round after the notification")


def test_what_the_supervisor_says_while_the_database_is_away_is_heard() -> None:
    ours, theirs = socket.socketpair()
    heard: list[Message] = []
    with ours, theirs:
        pause = pause_of(ParentLink(ours), heard.append)
        theirs.sendall(encode(Message("tree", {}, b"")) + encode(Message("workflows", {}, b"")))
        assert pause(0.05) is False
    assert [each.kind for each in heard] == ["tree", "workflows"]


class CountedLink(ParentLink):
    """Counts how often it waits."""

    waits = 0

    def receive(self, timeout: float | None, also: Sequence[int] = ()) -> Message | None:
        self.waits += 1
        return super().receive(timeout, also)


class HungUpOn:
    """A round whose connection the server ends, and then a round that is the last."""

    def __init__(self, database: Database, dsn: str, supervisor: socket.socket) -> None:
        self._database = database
        self._dsn = dsn
        self._supervisor = supervisor
        self._is_first = True

    def run_once(self) -> float:
        connection = self._database.connection()
        if self._is_first:
            with psycopg.connect(self._dsn) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
            assert select.select([connection.fileno()], [], [], 30.0)[0], "it has hung up"
        else:
            self._supervisor.close()
        self._is_first = False
        return 0.1


def test_a_rest_during_which_the_server_hangs_up_is_one_wait(dsn: str, schema: str) -> None:
    Migrator(dsn, schema).migrate()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parent = CountedLink(ours)
        database = Database(dsn, schema, role="rounds")
        serve(parent, database, HungUpOn(database, dsn, theirs))
    assert parent.waits <= 3, "a dead connection is readable for good"
