"""Two verbs on two connections, one statement at a time, in every order of their statements.

A verb is a generator of steps: the statements of its operations, and COMMIT as a step of its own
where an operation is a transaction; BEGIN goes with the first statement. A step that waits for the
other verb's lock is left in flight, and the other verb goes on: which is so is asked of PostgreSQL,
and nothing is slept.
"""

import random
import select
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from durable_otp.errors import DurableError
from durable_otp.storage.connecting import connection_arguments
from durable_otp.storage.database import Connection, open_connection
from durable_otp.storage.operation import TRANSACTION, Operation, Row
from durable_otp.storage.statements import Statement

BEGIN, COMMIT, ROLLBACK = "BEGIN", "COMMIT", "ROLLBACK"
OPERATION = "-- the next operation"
Step: TypeAlias = Statement | str
Verb: TypeAlias = Generator[Step, Sequence[Row], Any]
MakeVerb: TypeAlias = Callable[[], Verb]

LOOK_EVERY = 0.002  # seconds until PostgreSQL is asked why a statement has no answer yet
PATIENCE = 10.0
FIRST, SECOND = 0, 1


def performing(operation: Callable[..., Operation[Any]], *args: Any, **options: Any) -> Verb:
    """Yield an operation's statements as `database.perform` runs them; return its answer."""
    steps = operation(*args, **options)
    yield OPERATION
    if not getattr(operation, TRANSACTION, False):
        return (yield from steps)
    yield BEGIN
    try:
        answer = yield from steps
    except Exception:
        yield ROLLBACK
        raise
    yield COMMIT
    return answer


def nothing() -> Verb:
    """Do nothing."""
    yield from ()


class Actor:
    """A connection on which a verb is taken step by step."""

    def __init__(self, dsn: str, schema: str, name: str) -> None:
        self.connection: Connection = open_connection(connection_arguments(dsn, name), schema)
        self.connection.execute("SET deadlock_timeout = '20ms'")  # so that a deadlock is soon over
        self.pid = self.connection.info.backend_pid
        self._poll = select.poll()
        self._poll.register(self.connection.pgconn.socket, select.POLLIN)

    def take(self, verb: Verb) -> None:
        """Begin a verb; its first step is the next one."""
        self._verb = verb
        self.answer: Any = None
        self.is_over = self.in_flight = False
        self._go_on(lambda: next(verb))

    @property
    def is_between_operations(self) -> bool:
        """Whether the next step is the first one of an operation."""
        return not self.is_over and self._next == OPERATION

    def begin_step(self) -> None:
        """Send the next step."""
        pgconn = self.connection.pgconn
        if self.is_between_operations:
            self._go_on(lambda: self._verb.send([]))
            if self.is_over or self.is_between_operations:
                return
        if self._next == BEGIN:  # locks nothing and reads nothing
            pgconn.exec_(BEGIN.encode())
            self._go_on(lambda: self._verb.send([]))
        self.in_flight = True
        self._exchange: Generator[None, None, Sequence[Row]] | None = None
        if isinstance(self._next, Statement):
            self._exchange = self.connection.named.exchange(self._next)
            self._receive()
        else:
            pgconn.send_query(self._next.encode())
        pgconn.flush()

    def has_answer(self, seconds: float) -> bool:
        """Return whether the step in flight is over, after waiting so long for that."""
        pgconn = self.connection.pgconn
        while self.in_flight:
            if pgconn.is_busy():
                if not self._poll.poll(seconds * 1000):
                    return False
                pgconn.consume_input()
            elif self._exchange is None:
                self._finish_query()
            else:
                self._receive()
        return True

    def _receive(self) -> None:
        assert self._exchange is not None
        try:
            next(self._exchange)
            self.connection.pgconn.flush()
        except StopIteration as end:
            rows = end.value
            self.in_flight = False
            self._go_on(lambda: self._verb.send(rows))
        except psycopg.Error as error:
            failed = error
            self.in_flight = False
            self._go_on(lambda: self._verb.throw(failed))

    def _finish_query(self) -> None:
        results = []
        while (result := self.connection.pgconn.get_result()) is not None:
            results.append(result)
        self.in_flight = False
        if results[0].status != ExecStatus.COMMAND_OK:
            error = error_from_result(results[0])
            self._go_on(lambda: self._verb.throw(error))
        else:
            self._go_on(lambda: self._verb.send([]))

    def _go_on(self, advance: Callable[[], Step]) -> None:
        try:
            self._next = advance()
        except StopIteration as end:
            self.is_over, self.answer = True, end.value
        except (DurableError, psycopg.Error) as error:
            self.is_over, self.answer = True, error

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


@dataclass
class Run:
    """One order of two verbs' steps, and what they answered."""

    order: list[int]
    """Who took each step: 0 or 1."""
    forks: list[int]
    """The places in the order at which the other one could have gone."""
    answers: tuple[Any, Any]


class Pair:
    """Two connections for verbs, and one that sees who waits for a lock."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._actors = (Actor(dsn, schema, "first"), Actor(dsn, schema, "second"))
        self._observer = psycopg.connect(dsn, autocommit=True)

    def close(self) -> None:
        """Close the connections."""
        for actor in self._actors:
            actor.close()
        self._observer.close()

    def alone(self, verb: Verb) -> Any:
        """Run one verb to its end and return its answer."""
        return self.run(verb, nothing(), lambda _fork: FIRST).answers[FIRST]

    def run(
        self, first: Verb, second: Verb, choose: Callable[[int], int], *, whole: bool = False
    ) -> Run:
        """Run two verbs; ``choose`` says, by the number of the fork, who goes where both can.

        With ``whole`` no operation is interrupted: they take turns between operations only.
        """
        actors = self._actors
        actors[FIRST].take(first)
        actors[SECOND].take(second)
        order: list[int] = []
        forks: list[int] = []
        while not all(actor.is_over for actor in actors):
            ready = [n for n, each in enumerate(actors) if not (each.is_over or each.in_flight)]
            if not ready:
                self._wait_for_any()
                continue
            who = ready[0]
            last = order[-1] if order else who
            if whole and last in ready and order and not actors[last].is_between_operations:
                who = last
            elif len(ready) > 1:
                who = choose(len(forks))
                forks.append(len(order))
            order.append(who)
            actors[who].begin_step()
            for each in actors:
                self._settle(each)
        return Run(order, forks, (actors[FIRST].answer, actors[SECOND].answer))

    def _settle(self, actor: Actor) -> None:
        """Return when a step in flight is over, or waits for a lock."""
        for _ in range(int(PATIENCE / LOOK_EVERY)):
            if actor.has_answer(LOOK_EVERY) or self._is_blocked(actor):
                return
        raise AssertionError("a statement neither ends nor waits for a lock")

    def _wait_for_any(self) -> None:
        """Wait while both are in flight: PostgreSQL ends a deadlock."""
        for _ in range(int(PATIENCE / LOOK_EVERY)):
            if any(actor.has_answer(LOOK_EVERY) for actor in self._actors if actor.in_flight):
                return
        raise AssertionError("both verbs wait and nobody ends that")

    def _is_blocked(self, actor: Actor) -> bool:
        statement = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        row = self._observer.execute(statement, [actor.pid]).fetchone()
        assert row is not None
        return bool(row[0])


def every_order(run: Callable[[Callable[[int], int]], Run]) -> Iterator[Run]:
    """Yield a run for each order of two verbs' steps that locks allow, each order once."""
    prefix: list[int] = []
    while True:
        taken = list(prefix)
        done = run(lambda fork, taken=taken: taken[fork] if fork < len(taken) else FIRST)  # type: ignore[misc]
        yield done
        choices = [done.order[place] for place in done.forks]
        while choices and choices[-1] == SECOND:
            choices.pop()
        if not choices:
            return
        prefix = [*choices[:-1], SECOND]


def many_orders(
    run: Callable[[Callable[[int], int]], Run], most: int, chance: random.Random
) -> Iterator[Run]:
    """Yield a run for each order, or, where there are more than so many, as many chosen at random.

    Verbs of several operations meet in more orders than anybody could run.
    """
    orders = every_order(run)
    yield from islice(orders, most)
    if next(orders, None) is not None:
        yield from some_orders(run, most, chance)


def some_orders(
    run: Callable[[Callable[[int], int]], Run], count: int, chance: random.Random
) -> Iterator[Run]:
    """Yield runs of so many orders, chosen at random."""
    for _ in range(count):
        yield run(lambda _fork: chance.randrange(2))
