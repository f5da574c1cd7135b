"""Running named statements on a connection's libpq: prepared once, bound and read without a cursor.

psycopg's cursors convert a query, choose its parameters' types and look for a prepared statement
anew at every call, which costs more than all of the server's answer. Here that is done once per
statement and connection. What goes over the wire is the same, and so are the rows and the errors.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.json import JsonbLoader
from psycopg.waiting import Wait

from durable_otp.storage.operation import Row
from durable_otp.storage.payloads import WITHOUT, Codecs
from durable_otp.storage.statements import NumberedStatement, Statement, numbered

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
_ANSWERS = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
_POOLED = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)
"""Another server session than the one that prepared it: a pooler is in between."""
PLAN_LOST = (*_POOLED, psycopg.errors.FeatureNotSupported)
"""Nothing was executed: the prepared statement is gone, or gives other columns by now."""


def _text(value: str) -> bytes:
    if "\0" in value:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value.encode()


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _array(items: list[Any]) -> bytes:
    return _text("{" + ",".join([_ITEM[type(item)](item) for item in items]) + "}")


_ITEM: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    type(None): lambda _: "NULL",
    int: str,
    float: repr,
    bool: lambda value: "t" if value else "f",
}
"""How plain values are written in an array: PostgreSQL 8.15.6, Array Input and Output Syntax."""

_TEXT: dict[type, Callable[[Any], bytes | None]] = {
    str: _text,
    type(None): lambda _: None,
    int: lambda value: b"%d" % value,
    float: lambda value: repr(value).encode(),
    bool: lambda value: b"t" if value else b"f",
    list: _array,
}
"""How plain values are written; a subclass of these is none."""


class NamedStatements:
    """The named statements of one connection, and which of them are prepared there.

    ``exchange`` never waits itself, so that it serves blocking connections and those of an event
    loop alike. A connection's ``prepare_threshold`` says after how many uses a statement is
    prepared, and None that none is, as psycopg documents it for poolers.
    """

    def __init__(self, connection: AnyConnection, schema: str, codecs: Codecs = WITHOUT) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._written = numbered(schema)
        self._threshold = connection.prepare_threshold
        self._known: dict[str, _Bound] = {}
        self._prepared = 0
        self._codecs = codecs
        self._reading = _Reading(connection, codecs)

    def exchange(self, statement: Statement) -> Generator[None, None, Sequence[Row]]:
        """Execute a statement and return its rows; yield when there is an answer to wait for.

        Raises:
            psycopg.Error: What psycopg's cursor would raise.
        """
        bound = self._known.get(statement.name)
        if bound is None:
            written = self._written[statement.name]
            bound = self._known[statement.name] = _Bound(written, self._reading, self._codecs)
        values = bound.values(statement)
        if bound.name is None and self._threshold is not None and bound.uses >= self._threshold:
            yield from self._prepare(bound)
        bound.uses += 1
        if bound.name is None:
            self._pgconn.send_query_params(bound.sql, values)
        else:
            self._pgconn.send_query_prepared(bound.name, values)
        yield
        return bound.rows(self._answer())

    def _prepare(self, bound: "_Bound") -> Generator[None, None, None]:
        self._prepared += 1
        name = _plan_name(bound.sql, self._prepared)
        self._pgconn.send_prepare(name, bound.sql)
        yield
        self._answer()
        bound.name = name

    def _answer(self) -> PGresult:
        """Return the answer that has arrived, or raise what psycopg raises for it."""
        results = []
        while (result := self._pgconn.get_result()) is not None:
            results.append(result)  # a commit may fail behind the rows
        while (notice := self._pgconn.notifies()) is not None:
            if self._pgconn.notify_handler:
                self._pgconn.notify_handler(notice)
        if not results:
            raise psycopg.InternalError("PostgreSQL gave no answer to a statement.")
        for result in results:
            if result.status not in _ANSWERS:
                raise self._refused(result)
        return results[0]

    def _refused(self, result: PGresult) -> psycopg.Error:
        """Return an error; begin anew if what was prepared is gone, or a table has changed."""
        error = error_from_result(result)
        if error.sqlstate is None:  # libpq's own word: the connection ended before the whole answer
            return psycopg.OperationalError(str(error))
        if isinstance(error, _POOLED):
            self._threshold = None
        if isinstance(error, PLAN_LOST):
            self._known.clear()
        return error


class _Reading:
    """A connection's ways to read columns, with its payloads decoded.

    Not the connection's own: a step's transaction reads the user's tables over it.
    """

    def __init__(self, connection: AnyConnection, codecs: Codecs) -> None:
        class StoredJson(JsonbLoader):
            def load(self, data: Buffer) -> Any:
                return codecs.open(bytes(data))

        self.connection = connection
        self.adapters = AdaptersMap(connection.adapters)
        self.adapters.register_loader("json", StoredJson)
        self.adapters.register_loader("jsonb", StoredJson)


class _Bound:
    """A statement on one connection: how its parameters are written and its columns read."""

    def __init__(self, written: NumberedStatement, reading: "_Reading", codecs: Codecs) -> None:
        self.sql = written.sql
        self.name: bytes | None = None
        self.uses = 0
        self._parameters = written.parameters
        self._payloads = written.payloads
        self._codecs = codecs
        self._formats = [PyFormat.TEXT] * len(written.parameters)
        self._transformer = Transformer.from_context(reading)
        self._is_utf8 = reading.connection.info.encoding == "utf-8"
        self._columns: tuple[str, ...] | None = None

    def values(self, statement: Statement) -> Sequence[Any]:
        """Return the parameters as text, in the order of their numbers.

        psycopg's dumpers are asked where there is more than plain values and lists of them, or
        another encoding.
        """
        given = statement.parameters
        if self._payloads:
            given = self._codecs.seal(self._payloads, given)
        values = [given[name] for name in self._parameters]
        if self._is_utf8:
            with suppress(KeyError):  # what else there is
                return [_TEXT[type(value)](value) for value in values]
        return self._dumped(values)

    def _dumped(self, values: Sequence[Any]) -> Sequence[Any]:
        return self._transformer.dump_sequence(values, self._formats)

    def rows(self, result: PGresult) -> Sequence[Row]:
        """Return a result's rows; how its columns are read is found out with the first."""
        if not result.ntuples:
            return []
        columns = self._columns
        self._transformer.set_pgresult(result, set_loaders=columns is None)
        if columns is None:
            columns = self._columns = _column_names(result)

        def row(values: Sequence[Any]) -> Row:
            return dict(zip(columns, values, strict=True))

        rows = self._transformer.load_rows(0, result.ntuples, row)
        self._transformer.set_pgresult(None, set_loaders=False)  # give its memory back
        return rows


def answered(pgconn: PGconn) -> PQGen[None]:
    """Wait until everything is sent and the answer has arrived, as psycopg's ``wait`` drives it."""
    yield from send(pgconn)
    while pgconn.is_busy():
        yield Wait.R
        pgconn.consume_input()


def _plan_name(sql: bytes, number: int) -> bytes:
    """Return a name that this connection has not used, and no other one for another statement.

    Behind a pooler a name may be one that somebody else has prepared on the same server session.
    """
    return f"durable_{blake2b(sql, digest_size=8).hexdigest()}_{number}".encode()


def _column_names(result: PGresult) -> tuple[str, ...]:
    names = (result.fname(column) for column in range(result.nfields))
    return tuple(name.decode() for name in names if name is not None)
