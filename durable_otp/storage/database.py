"""Running operations on one blocking connection, and getting it back when it is lost."""

import logging
import random
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import psycopg
from psycopg.generators import send
from psycopg.rows import dict_row

from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.storage.connecting import (
    CONNECTION_LOST,
    NOT_PERMITTED,
    PREPARED_FROM,
    ROLLED_BACK,
    SETTINGS,
    connection_arguments,
    describe_failure,
    not_permitted,
    read_json,
    session,
)
from durable_otp.storage.named import NamedStatements
from durable_otp.storage.operation import TRANSACTION, Operation, Row
from durable_otp.storage.payloads import WITHOUT, Codecs, EncodingFailed
from durable_otp.storage.statements import Statement

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")
Pause = Callable[[float], bool]

REPEATS_AFTER_ROLLBACK = 10


class Connection(psycopg.Connection[Row]):
    """A blocking connection that also runs the named statements of a schema."""

    named: NamedStatements
    is_pooled = False
    """Whether a pooler is in between, so that the session is lent for a transaction at a time."""
    _arrival: select.poll

    def become_ours(self) -> None:
        """Apply this package's settings; behind a pooler, leave nothing in its sessions."""
        row: Any = self.execute(session(SETTINGS, self).encode(), prepare=False).fetchone()
        self.is_pooled = not row["is_own"]
        if self.is_pooled:
            self.prepare_threshold = None

    def use(self, schema: str, codecs: Codecs = WITHOUT) -> None:
        """Take the statements of a schema."""
        self.named = NamedStatements(self, schema, codecs)
        self._arrival = select.poll()
        self._arrival.register(self.pgconn.socket, select.POLLIN)

    def run(self, statement: Statement) -> Sequence[Row]:
        """Execute a named statement and return its rows; safe in any thread.

        What interrupts the waiting for the answer costs the connection.
        """
        with self.lock:
            exchange = self.named.exchange(statement)
            try:
                while True:
                    next(exchange)
                    self._wait_for_answer()
            except StopIteration as end:
                rows: Sequence[Row] = end.value
                return rows

    def _wait_for_answer(self) -> None:
        """Wait where signals are handled: PEP 475 has ``poll`` go on after each."""
        pgconn = self.pgconn
        try:
            if pgconn.flush():
                self.wait(send(pgconn))
            while pgconn.is_busy():
                self._arrival.poll()
                pgconn.consume_input()
        except BaseException:
            pgconn.finish()  # an answer that nobody waits for would be the next one's
            raise


def give_up(_seconds: float) -> bool:
    """Do not wait for the database: the first lost connection that cannot be replaced is final."""
    return False


TRIES_OF_A_DEFECT = 7
"""So often a codec may fail by what looks like an error of its code: a few seconds."""


def backoff_delays(first: float = 0.05, longest: float = 5.0) -> Iterator[float]:
    """Yield growing delays with full jitter, so that a thousand clients do not return at once."""
    ceiling = first
    while True:
        yield random.uniform(first / 2, ceiling)  # noqa: S311 - jitter, not a secret
        ceiling = min(longest, ceiling * 2)


class Database:
    """One connection of one process, opened when first needed and reopened when lost.

    Args:
        dsn: A libpq connection string.
        schema: The schema that every statement is written for.
        role: Who speaks, shown as ``application_name``.
        pause: Called with the seconds to wait before another try; returns False to give up. The
            caller decides how it waits, so that a signal or a lost parent can end the wait.
        codecs: What payloads are encoded and decoded with.
        awaits_codec: What cannot be encoded is tried again, as if the server were away.
    """

    connection_lost = CONNECTION_LOST

    def __init__(
        self,
        dsn: str,
        schema: str,
        *,
        role: str,
        pause: Pause = give_up,
        codecs: Codecs = WITHOUT,
        awaits_codec: bool = False,
    ) -> None:
        self._arguments = connection_arguments(dsn, role)
        self._schema = schema
        self.codecs = codecs
        self._pause = pause
        self._awaits_codec = awaits_codec
        self._connection: Connection | None = None
        self._listens = False
        self.connections_opened = 0

    def run(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation to its committed end; repeat it whole when the connection is lost.

        Operations are written so that a repetition changes nothing: their rows carry ids made by
        the caller, their updates a lock token. Blocks until done or until ``pause`` says no.

        Raises:
            DatabaseUnreachable: The connection was lost and ``pause`` gave up.
            CodecError: What is stored is not to be read here, or what is to be stored could not
                be encoded and ``pause`` gave up.
            EncodingRefused: What is to be stored cannot be encoded.
            NotPermitted: The role has not the right.
        """
        delays = backoff_delays()
        rollbacks = 0
        reconnected = False
        while True:
            try:
                return self._performed(operation, *args, **kwargs)
            except NOT_PERMITTED as error:
                raise not_permitted(error, self._schema) from None
            except ROLLED_BACK:
                rollbacks += 1
                if rollbacks >= REPEATS_AFTER_ROLLBACK:
                    raise
            except CONNECTION_LOST as error:
                was_open = self._connection is not None
                self.close()
                if was_open and not reconnected:
                    reconnected = True  # one silent try: an idle connection is often simply gone
                elif not self._pause(next(delays)):
                    raise DatabaseUnreachable(
                        f"PostgreSQL cannot be reached: {describe_failure(error)}."
                    ) from None

    def _performed(
        self,
        operation: Callable[Parameters, Operation[Value]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Value:
        """Run an operation once; again, where a codec could not encode: nothing was sent."""
        delays = enumerate(backoff_delays(), start=1)
        while True:
            try:
                return perform(self.connection(), operation, *args, **kwargs)
            except EncodingFailed as error:
                self._await_codec(error, delays)

    def seal(self, payloads: Sequence[str], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return parameters as they are stored, for a statement that another process sends.

        Raises:
            CodecError: They could not be encoded, and ``pause`` gave up.
            EncodingRefused: They cannot be encoded.
        """
        delays = enumerate(backoff_delays(), start=1)
        while True:
            try:
                return self.codecs.seal(payloads, given)
            except EncodingFailed as error:
                self._await_codec(error, delays)

    def _await_codec(self, error: EncodingFailed, delays: Iterator[tuple[int, float]]) -> None:
        """Wait before another try, or raise."""
        emit("not_encoded", level=logging.ERROR, reason=str(error))
        tries, delay = next(delays)
        if self._awaits_codec and error.refused is not None and tries >= TRIES_OF_A_DEFECT:
            raise error.refused from None
        if not self._awaits_codec or not self._pause(delay):
            raise error

    def connection(self) -> Connection:
        """Return the open connection, opening it if there is none."""
        if self._connection is None or self._connection.closed:
            self._connection = open_connection(self._arguments, self._schema, self.codecs)
            self._listens = False
            self.connections_opened += 1
        return self._connection

    def listen(self, name: str) -> bool:
        """Execute a LISTEN statement on this connection, unless it listens already.

        Returns True when it did: whatever happened before was not heard. Behind a pooler nothing
        can be heard, and it does nothing.

        Raises:
            DatabaseUnreachable: The connection is lost.
        """
        try:
            connection = self.connection()
            begins = not (self._listens or connection.is_pooled)
            if begins:
                connection.run(Statement(name))
                self._listens = True
        except CONNECTION_LOST as error:
            self.close()
            raise DatabaseUnreachable(describe_failure(error)) from None
        return begins

    def heard(self) -> list[str]:
        """Return what was notified, by its payloads; does not wait.

        Raises:
            DatabaseUnreachable: The connection is lost.
        """
        if not self._listens or self._connection is None:
            return []
        try:
            return [notice.payload for notice in self._connection.notifies(timeout=0)]
        except CONNECTION_LOST as error:
            self.close()
            raise DatabaseUnreachable(describe_failure(error)) from None

    def fileno(self) -> int | None:
        """Return the connection's descriptor, for a selector, while notifications arrive there.

        None while nothing is listened to: a server that hangs up makes the descriptor readable for
        good, and nobody would read it.
        """
        if not self._listens or self._connection is None or self._connection.closed:
            return None
        return self._connection.fileno()

    @property
    def is_connected(self) -> bool:
        """Whether a connection is open as far as this side knows."""
        return self._connection is not None and not self._connection.closed

    @property
    def is_pooled(self) -> bool:
        """Whether the open connection leads to a pooler."""
        return self._connection is not None and self._connection.is_pooled

    def close(self) -> None:
        """Close the connection; the next operation opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def open_connection(arguments: dict[str, Any], schema: str, codecs: Codecs = WITHOUT) -> Connection:
    """Open a connection that commits each statement by itself and returns rows as dicts."""
    connection = Connection.connect(
        **arguments, autocommit=True, row_factory=dict_row, prepare_threshold=PREPARED_FROM
    )
    configure(connection, schema, codecs)
    return connection


def configure(connection: Connection, schema: str, codecs: Codecs = WITHOUT) -> None:
    """Give a new connection this package's session settings, and a schema's statements."""
    read_json(connection)
    connection.become_ours()
    connection.use(schema, codecs)


def perform(
    connection: Connection,
    operation: Callable[Parameters, Operation[Value]],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Value:
    """Run an operation once on a connection; in one transaction if it is marked so."""
    if getattr(operation, TRANSACTION, False):
        with connection.transaction():
            return _drive(connection, operation(*args, **kwargs))
    return _drive(connection, operation(*args, **kwargs))


def _drive(connection: Connection, steps: Operation[Value]) -> Value:
    try:
        statement = next(steps)
        while True:
            statement = steps.send(connection.run(statement))
    except StopIteration as end:
        answer: Value = end.value
        return answer
