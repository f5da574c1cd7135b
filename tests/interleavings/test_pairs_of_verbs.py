"""Two verbs meet at an execution: whatever the order of their statements, one ran before the other.

Every pair of the verbs that have a say in a situation is run in orders of their statements, on two
connections: no deadlock, and rows and answers as after one verb and then the other. A sweep may
pass over what is locked, if coming again it does what it would have done.
"""

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import combinations_with_replacement
from typing import Any

import pytest

from durable_otp.storage.database import Database
from tests.support.interleaving import Pair, Run, every_order, many_orders, some_orders
from tests.support.interleaving_flow import FLOW_SITUATIONS
from tests.support.interleaving_situations import SITUATIONS, Situation, is_sweep
from tests.support.interleaving_state import answered, remains
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables

Outcome = tuple[str, str, tuple[str, ...]]
"""What the first verb answered, what the second did, and all rows."""
EMPTY = (  # and what hangs on that
    "DELETE FROM durable.workflow_executions",
    "DELETE FROM durable.queue_limits",
)
ALL = SITUATIONS | FLOW_SITUATIONS
PAIRS_IN_THE_GATE = 6  # of each situation
ORDERS_IN_THE_GATE = 4  # of each pair
MOST_ORDERS = int(os.environ.get("INTERLEAVINGS_MOST") or 500)  # of each pair, elsewhere
SEED = int(os.environ.get("INTERLEAVINGS_SEED") or random.SystemRandom().randrange(2**32))


class Meeting:
    """A situation and two verbs, run as often as wanted on the same connections."""

    def __init__(self, stage: "Stage", situation: Situation, first: str, second: str) -> None:
        self._stage = stage
        self._situation = situation
        self._names = (first, second)

    def run(self, choose: Callable[[int], int], *, whole: bool = False) -> tuple[Run, Outcome]:
        """Make the situation and run both verbs; return what came of it."""
        for statement in EMPTY:
            self._stage.tables.sql(statement)
        self._ids = self._situation.make(self._stage.tables, self._stage.database)
        verbs = [self._situation.verb(name, self._ids) for name in self._names]
        run = self._stage.pair.run(verbs[0], verbs[1], choose, whole=whole)
        return run, self._outcome(*run.answers)

    def serial_outcomes(self) -> dict[str, Outcome]:
        """Return what may come of it: no operation is interrupted by one of the other verb."""
        found: dict[str, Outcome] = {}

        def run(choose: Callable[[int], int]) -> Run:
            done, outcome = self.run(choose, whole=True)
            found[in_letters(done)] = outcome
            return done

        for _ in every_order(run):
            pass
        return found

    def comes_right(self, rights: Collection[Outcome]) -> bool:
        """Return whether a sweep that passed over a row does what it should when it comes again."""
        again = [self._situation.verb(name, self._ids) for name in self._names if is_sweep(name)]
        if self._situation.net is not None:
            again.append(self._situation.net(""))
        for verb in again:
            self._stage.pair.alone(verb)
            if self._outcome(None, None)[2] in {right[2] for right in rights}:
                return True
        return False

    def _outcome(self, *answers: Any) -> Outcome:
        rows = remains(self._stage.tables, self._ids)
        now = self._stage.tables.sql("SELECT durable.now() AS now")[0]["now"]
        first, second = (answered(answer, self._ids, now) for answer in answers)
        return first, second, tuple(rows)


class Stage:
    """A schema, and the connections on which verbs meet."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.database = Database(tables.dsn, tables.schema, role="test")
        self.pair = Pair(tables.dsn, tables.schema)

    def close(self) -> None:
        self.database.close()
        self.pair.close()

    def judge(self, name: str, first: str, second: str, orders: Callable[..., Any]) -> int:
        """Run a pair in many orders and hold each against the serial ones; return how many."""
        meeting = Meeting(self, ALL[name], first, second)
        serial = meeting.serial_outcomes()
        wrong: list[str] = []

        def once(choose: Callable[[int], int]) -> Run:
            run, outcome = meeting.run(choose)
            if outcome not in serial.values() and not meeting.comes_right(serial.values()):
                wrong.append(in_letters(run) + report(outcome, serial))
            return run

        runs = sum(1 for _ in orders(once))
        title = f"{name}: a = {first}, b = {second} (INTERLEAVINGS_SEED={SEED})"
        assert not wrong, f"{title}: {len(wrong)} of {runs} orders are wrong, such as {wrong[0]}"
        return runs


def in_letters(run: Run) -> str:
    """Return the order of a run's steps, a for the first verb's."""
    return "".join("ab"[who] for who in run.order)


def report(outcome: Outcome, serial: Mapping[str, Outcome]) -> str:
    """Return in words how an outcome differs from all that may be."""
    lines = ["", f"  answers: {outcome[0]} and {outcome[1]}"]
    for order, expected in serial.items():
        lines.append(f"  {order} answers: {expected[0]} and {expected[1]}")
        lines += [f"    - {row}" for row in expected[2] if row not in outcome[2]]
        lines += [f"    + {row}" for row in outcome[2] if row not in expected[2]]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def stage(postgres_dsn: str) -> Iterator[Stage]:
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        stage = Stage(tables)
        yield stage
        stage.close()


def pairs(situation: Situation) -> list[tuple[str, str]]:
    every = combinations_with_replacement(sorted(situation.verbs), 2)
    return [pair for pair in every if pair not in situation.apart]


@pytest.mark.parametrize("name", ALL)
def test_some_pairs_in_some_orders_end_as_if_one_had_run_before_the_other(
    stage: Stage, name: str
) -> None:
    chance = random.Random(f"{SEED} {name}")
    chosen = chance.sample(pairs(ALL[name]), PAIRS_IN_THE_GATE)
    for first, second in chosen:
        stage.judge(name, first, second, lambda run: some_orders(run, ORDERS_IN_THE_GATE, chance))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ALL)
def test_every_pair_in_all_its_orders_or_many_ends_as_if_one_had_run_before_the_other(
    stage: Stage, name: str
) -> None:
    wrong, counts = [], []
    chance = random.Random(f"{SEED} {name}")
    for first, second in pairs(ALL[name]):
        try:
            counts.append(
                stage.judge(name, first, second, lambda run: many_orders(run, MOST_ORDERS, chance))
            )
        except AssertionError as error:
            wrong.append(str(error))
    cut = sum(count > MOST_ORDERS for count in counts)
    print(f"{name}: {len(counts)} pairs, {sum(counts)} orders; {cut} pairs have more than were run")
    assert not wrong, "\n".join(wrong)
