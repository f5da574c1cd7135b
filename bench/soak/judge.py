"""What came of a cycle, by the ledger: lost, unexpected, doubled, recovered, and how soon."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import itemgetter
from typing import Any

from bench.soak import mix
from bench.soak.nodes import MOST_SLOW
from bench.soak.workflows import MAX_CRASHES
from durable_otp import Durable
from tests.support.ledger import Ledger, Record, violations
from tests.support.ledger.invariants import poison_stops
from tests.support.ledger.invariants_flow import limits_are_kept, turns_are_kept
from tests.support.ledger.invariants_steps import repetition_is_bounded
from tests.support.ledger.record import Row, Rows

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Killed = dict[int, tuple[float, str]]
"""When a process was killed, and what was killed that took it along, by its id."""


@dataclass
class Verdict:
    """What was found in one cycle or in several.

    Attributes:
        refused: Fenced writes that changed nothing, as a proxy saw them: holders that had lost
            their claim. Without any, the fence was not tested.
        recoveries: What was killed, and the seconds until a body that it hit ran again.
        suicides: The same of bodies that end their own worker, from their beginning.
        unanswered: Requests whose answer was never heard: they may have taken effect, or not.
        recovered: Those of them that had.
        repeated: Bodies that ran again because what they had done was not committed.
        violations: Sentences; none in a good run.
        stories: What the ledger has, in order, of each execution that a violation names.
    """

    executions: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    unexpected: int = 0
    doubled: int = 0
    unanswered: int = 0
    recovered: int = 0
    bodies: int = 0
    repeated: int = 0
    refused: int = 0
    moves: int = 0
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    suicides: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)

    def add(self, other: "Verdict") -> None:
        """Add what another cycle came to."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def judge(ledger: Ledger, since: int, dsn: str, killed: Killed) -> Verdict:
    """Judge what happened since a mark, once all is quiet.

    Args:
        ledger: The ledger.
        since: The mark.
        dsn: The database, directly.
        killed: What the nemesis has killed.
    """
    record = ledger.read(since)
    record = replace(record, effects=once_each(record.effects))
    found = violations(record, without=("I-7", "I-20"))
    found += repetition_is_bounded(_without_transactions(record))
    found += poison_stops(_only(record, "poison"), max_crashes=MAX_CRASHES)
    found += turns_are_kept(record) + limits_are_kept(record, {"slow": MOST_SLOW})
    found += _wrong_outcomes(record, dsn, ledger.schema)
    found += _booked_otherwise_than_once(ledger, record)
    verdict = Verdict(violations=found, moves=len(record.moves), stories=_stories(record, found))
    verdict.executions = Counter(f"{row['workflow']}: {row['status']}" for row in record.executions)
    _compare_requests(record, verdict)
    _count_bodies(record, verdict)
    verdict.recoveries = recoveries(record, killed)
    own = {row["id"] for row in record.executions if row["workflow"] in ("mortal", "poison")}
    verdict.suicides = [
        (following["t"] - effect["t"]).total_seconds()
        for effect, following in _rerun(record)
        if effect["execution"] in own and effect["pid"] not in killed
    ]
    return verdict


def _stories(record: Record, found: list[str]) -> list[str]:
    """Return as JSON what happened to the executions that are named, line by line."""
    named = {id_ for sentence in found for id_ in ID.findall(sentence)}
    lines = [row for row in record.moves + record.effects if str(row["execution"]) in named]
    return [json.dumps(row, default=str) for row in sorted(lines, key=itemgetter("n"))]


def once_each(effects: Rows) -> Rows:
    """Return effects without those that were written again because the answer was lost."""
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for effect in effects:
        name = effect["key"], effect["phase"], effect["detail"]
        if name not in seen:
            seen.add(name)
            kept.append(effect)
    return kept


def recoveries(record: Record, killed: Killed) -> list[tuple[str, float]]:
    """Return what was killed and the seconds until that body ran again, for each body it hit."""
    took = []
    for effect, following in _rerun(record):
        died, role = killed.get(effect["pid"], (0.0, ""))
        begun, again = effect["t"].timestamp(), following["t"].timestamp()
        if begun <= died <= again:
            took.append((role, again - died))
    return took


def _rerun(record: Record) -> Iterator[tuple[Row, Row]]:
    """Yield the beginnings of bodies that came to no end, each with the next one of the same."""
    for effects in record.bodies().values():
        for effect, following in pairwise(effects):
            if effect["phase"] == following["phase"] == "begin":
                yield effect, following


def _compare_requests(record: Record, verdict: Verdict) -> None:
    """Count as Jepsen's total-queue does: each request is acknowledged, unanswered or nobody's."""
    there = {str(row["id"]): row for row in record.executions}
    starts = {row["key"] for row in record.intents if row["verb"] == "start"}
    acked = {row["key"]: str(row["execution"]) for row in record.acks if row["key"] in starts}
    verdict.lost = sum(
        each not in there or there[each]["completed_at"] is None for each in acked.values()
    )
    by_key: dict[str, Rows] = defaultdict(list)
    for row in record.executions:
        if row["idempotency_key"] is not None:
            by_key[row["idempotency_key"]].append(row)
    verdict.unexpected = sum(len(rows) for key, rows in by_key.items() if key not in starts)
    verdict.doubled = sum(len(rows) - 1 for rows in by_key.values())
    unanswered = starts - acked.keys()
    verdict.unanswered = len(unanswered)
    verdict.recovered = len(unanswered & by_key.keys())


def _count_bodies(record: Record, verdict: Verdict) -> None:
    for effects in record.bodies().values():
        begun = [effect for effect in effects if effect["phase"] == "begin"]
        verdict.bodies += len(begun)
        attempts = {effect["attempt"] for effect in begun}
        verdict.repeated += len(begun) - len(attempts)


def _wrong_outcomes(record: Record, dsn: str, schema: str) -> list[str]:
    """I-10: each execution ends as it would without faults."""
    found = []
    with Durable(dsn, schema=schema) as durable:
        for row in record.executions:
            if row["parent_path"] is not None and row["workflow"] != "line":
                continue  # a block's child: its parent tells
            wrong = mix.wrong(durable.get_execution(str(row["id"])))
            if wrong is not None:
                found.append(f"I-10 {row['id']}: {wrong}")
    return found


def _without_transactions(record: Record) -> Record:
    """Leave out bodies that run in their checkpoint's transaction: they run again with that."""
    return replace(record, effects=[each for each in record.effects if each["step"] != "book"])


def _booked_otherwise_than_once(ledger: Ledger, record: Record) -> list[str]:
    """I-6 of a step in a transaction: what it writes there is kept once, as its checkpoint is."""
    written = Counter(str(row["execution"]) for row in ledger.sql("SELECT * FROM {l}.booked"))
    return [
        f"I-6 {row['id']} has written {written[str(row['id'])]} times in its step's transaction"
        for row in record.executions
        if row["workflow"] == "booked" and written[str(row["id"])] != 1
    ]


def _only(record: Record, workflow: str) -> Record:
    executions = [row for row in record.executions if row["workflow"] == workflow]
    ids = {row["id"] for row in executions}

    def of_them(rows: Rows) -> list[Row]:
        return [row for row in rows if row["execution"] in ids]

    return replace(record, executions=executions, moves=of_them(record.moves))
