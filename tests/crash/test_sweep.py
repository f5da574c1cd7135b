"""A minute of the sweep: the points that matter most, and some that chance chooses.

All of it: ``python -m tests.crash``, which ``.ci/full`` runs.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from durable_otp.storage.statements import catalogue
from tests.crash.campaign import POINT, Piece, pieces, read, revision, swept, unfinished, write
from tests.crash.choice import Place, Swept
from tests.crash.coverage import exercised, incomplete, never
from tests.crash.lanes import Task
from tests.crash.points import Counts, CrashPoint, deciding, points_of
from tests.crash.scenarios import SCENARIOS, TWELVE
from tests.crash.site import Ending, Site, site
from tests.crash.sweeping import Result, Sweep
from tests.crash.verb_sweep import VerbSweep, verb_site
from tests.support.ledger.invariants_steps import Answer
from tests.support.postgres import fresh_schema

# The moments at which work passes from one hand to the next: the answer is lost, or comes last.
WORK = {
    "plain": [("worker", "checkpoint"), ("worker", "complete"), ("manager", "fetch_jobs")],
    "retry": [("worker", "record_failed_attempt")],
    "saga": [("worker", "fail"), ("worker", "record_undone"), ("worker", "end_compensation")],
    "sleep": [("worker", "suspend"), ("sleep_waker", "wake_sleeping_workflows")],
    "parallel": [("worker", "create_children"), ("worker", "wake_parent"), ("worker", "COMMIT")],
    "cron": [("scheduler", "take_slot"), ("scheduler", "COMMIT")],
}
BATCHED = {"plain": [("manager", "write_batch"), ("manager", "COMMIT"), ("manager", "fetch_jobs")]}
VERBS_SWEPT = {
    "start_many with keys": [("client", "start_executions")],
    "cancel": [("client", "cancel_executions"), ("client", "COMMIT")],
    "send_event": [("client", "take_event"), ("client", "COMMIT")],
    "provide_input": [("client", "answer_input"), ("client", "COMMIT")],
}
BY_CHANCE = 1


@pytest.fixture(scope="module")
def made(postgres_dsn: str) -> Iterator[Site]:
    with fresh_schema(postgres_dsn) as schema, site(postgres_dsn, schema) as made:
        yield made


def chosen(points: list[CrashPoint], wanted: list[tuple[str, str]]) -> list[tuple[CrashPoint, str]]:
    """Return what is broken, and how: each wanted statement's first, and a few others."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    first = [p for p in points if (p.role, p.statement) in wanted and p.occurrence == 1]
    killed = [(point, "kill") for point in first if point.point != "after"]
    reset = [(point, "reset") for point in first if point.point == "sent"]
    others = [point for point in points if point not in first and point.role == "worker"]
    some = chance.sample(others, min(BY_CHANCE, len(others)))
    return [*killed, *reset, *((point, chance.choice(["kill", "reset"])) for point in some)]


def assert_the_same(made: Site, name: str, commit: str, wanted: list[tuple[str, str]]) -> None:
    """Break one scenario at the chosen points, and see that nothing of it shows."""
    sweep = Sweep(made, SCENARIOS[name], commit)
    results = [sweep.broken(*each) for each in chosen(sweep.points(), wanted)]
    assert [(str(r.point), r.action, r.violations) for r in results if r.violations] == []
    assert sum(result.reached for result in results) >= len(results) // 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WORK)
def test_whoever_dies_the_end_is_the_same(made: Site, name: str) -> None:
    assert_the_same(made, name, "each", WORK[name])


@pytest.mark.timeout(300)
def test_whoever_dies_the_end_is_the_same_where_commits_are_batched(postgres_dsn: str) -> None:
    with fresh_schema(postgres_dsn) as schema, site(postgres_dsn, schema, "batched") as made:
        for name, wanted in BATCHED.items():
            assert_the_same(made, name, "batched", wanted)


@pytest.mark.timeout(300)
def test_a_client_that_dies_leaves_all_or_nothing(postgres_dsn: str) -> None:
    with fresh_schema(postgres_dsn) as schema, verb_site(postgres_dsn, schema) as made:
        for name, wanted in VERBS_SWEPT.items():
            sweep = VerbSweep(made, name)
            for point, action in chosen(sweep.points(), wanted):
                assert sweep.broken(point, action).violations == (), (name, str(point), action)


# that the sweep itself finds what there is to find


def test_another_end_than_without_a_fault_is_found(made: Site) -> None:
    sweep = Sweep(made, SCENARIOS["plain"], "each")
    (name, calm), *_ = sweep.calm.answers.items()
    answers: dict[str, Answer] = {name: {**calm, "context": {"one": "other"}}}
    begun = sweep.calm.begun + sweep.calm.begun + sweep.calm.begun
    worse = Ending(answers, begun, sweep.calm.record, crashes=5, interruptions=5, seconds=0.0)
    point = CrashPoint("worker", "checkpoint", 1, "sent")
    found = " ".join(sweep._wrong(worse, "kill", point))
    for sign in ("I-10 context", "I-7", "crashes: 5", "interruptions: 5"):
        assert sign in found


def test_every_statement_is_a_point_three_times_over() -> None:
    counts = Counts({("worker", "a"): 1, ("worker", "b"): 2, ("worker", "c"): 7, ("x", "d"): 1})
    points = list(points_of(counts, ["worker"]))
    assert len(points) == 3 * (1 + 2 + 3)
    occurrences = {(point.statement, point.occurrence) for point in points}
    assert occurrences == {("a", 1), ("b", 1), ("b", 2), ("c", 1), ("c", 2), ("c", 7)}


def test_the_campaign_names_every_workflow_in_both_ways() -> None:
    swept = pieces()
    assert {Piece(name, commit) for name in TWELVE for commit in ("each", "batched")} <= set(swept)
    assert {piece.scenario for piece in swept} >= SCENARIOS.keys()
    assert len(set(swept)) == len(swept)


def test_a_file_of_results_has_a_point_once_and_at_its_worst(tmp_path: Path) -> None:
    point = dict.fromkeys(POINT, "x") | {"reached": True, "violations": []}
    other, whole = point | {"occurrence": 2}, {"piece": "plain/each", "action": "kill"}
    of_old = whole | {"revision": "another", "action": "reset"}
    lines = [point, point | {"violations": ["bad"]}, point, other]
    for line in (*lines, whole | {"revision": revision()}, of_old):
        write(line, tmp_path / "results")
    found = read([tmp_path / "results"])
    assert [(line["occurrence"], line["violations"]) for line in found] == [("x", ["bad"]), (2, [])]
    assert [line["action"] for line in swept([tmp_path / "results"])] == ["kill"]


DECIDING = frozenset({("worker", "complete"), ("pruner", "complete"), ("worker", "COMMIT")})
PLACES = [Place("plain", "each", DECIDING), Place("retry", "each", DECIDING)]


def kept(path: Path, point: CrashPoint, action: str = "kill", **more: Any) -> Swept:
    """Write down that a point of the first place was swept."""
    result = Result("plain", "each", action, point, reached=True, violations=(), seconds=1.0)
    write(result.public() | {"revision": revision()} | more, path / "results")
    return Swept(path / "results", [revision()])


@pytest.mark.parametrize(
    ("statement", "where", "action", "again"),
    [
        ("complete", "before", "kill", [False, True]),
        ("complete", "sent", "kill", [False, True]),
        ("COMMIT", "sent", "kill", [False, True]),
        ("complete", "sent", "reset", [False, True]),
        ("complete", "before", "reset", [False, False]),
        ("complete", "after", "kill", [False, False]),
        ("waits_of", "sent", "kill", [False, False]),
    ],
)
def test_a_point_is_swept_in_every_scenario_unless_it_is_the_same_there(
    tmp_path: Path, statement: str, where: str, action: str, again: list[bool]
) -> None:
    point = CrashPoint("worker", statement, 1, where)
    swept = kept(tmp_path, point, action)
    assert [swept.is_new(place, point, action) for place in PLACES] == again
    assert swept.is_new(PLACES[0], replace(point, occurrence=2), action)
    assert swept.is_new(replace(PLACES[0], commit="batched"), point, action)


def test_a_role_that_repeats_by_one_function_is_reset_once(tmp_path: Path) -> None:
    for role, again in (("worker", True), ("pruner", False)):
        point = CrashPoint(role, "complete", 1, "sent")
        assert kept(tmp_path, point, "reset").is_new(PLACES[1], point, "reset") is again


def test_what_was_not_met_or_was_met_by_another_commit_is_still_to_be_swept(
    tmp_path: Path,
) -> None:
    point = CrashPoint("worker", "complete", 1, "after")
    kept(tmp_path, point, reached=False)
    swept = kept(tmp_path, point, revision="another")
    assert swept.is_new(PLACES[0], point, "kill")
    kept(tmp_path, point)
    assert not swept.is_new(PLACES[0], point, "kill"), "what others add is seen"


def test_what_changes_rows_by_itself_decides_and_so_does_the_end_of_a_transaction() -> None:
    said = [
        (1, "fetch_jobs"),
        (1, "next_due"),
        (2, "BEGIN"),
        (1, "heartbeat_many"),
        (2, "write_batch"),
        (2, "COMMIT"),
        (2, "listen_queue"),
        (2, "complete"),
    ]
    app = "durable:manager default"
    statements = [{"conn": conn, "name": name, "app": app} for conn, name in said]
    names = {name for _, name in deciding(statements)}
    assert names == {"fetch_jobs", "heartbeat_many", "COMMIT", "complete"}


def test_a_piece_is_whole_when_all_of_its_parts_are(tmp_path: Path) -> None:
    piece = next(each for each in pieces() if each.parts > 1)
    for part in range(piece.parts):
        assert str(piece) in unfinished([tmp_path / "x"] if part else [], "kill")
        whole = {"piece": str(piece), "action": "kill", "part": [part, piece.parts]}
        write(whole, tmp_path / "x")
    assert str(piece) not in unfinished([tmp_path / "x"], "kill")
    assert str(piece) in unfinished([tmp_path / "x"], "reset")


def test_the_parts_of_a_piece_are_all_of_it(tmp_path: Path) -> None:
    points = [CrashPoint("worker", "complete", number, "sent") for number in range(7)]
    tasks = [
        Task(Piece("plain", "each"), "kill", tmp_path / "x", part=(n, 3), full=True)
        for n in range(3)
    ]
    found = [point for task in tasks for point in task.chosen(PLACES[0], points)]
    assert sorted(found) == points


def test_pieces_on_the_same_kind_of_tree_are_swept_one_after_the_other() -> None:
    tasks = [Task(piece, "kill", Path("x")) for piece in pieces()]
    kinds = [task.place[:4] for task in sorted(tasks, key=lambda task: task.place)]
    changes = sum(before != after for before, after in pairwise(kinds))
    assert changes == len(set(kinds)) - 1
    assert kinds[-1] == (1,), "verbs come last"


def test_a_statement_that_was_never_broken_is_named() -> None:
    first, *others = sorted(catalogue())
    line = {"reached": True, "action": "kill", "statement": first, "point": "sent"}
    assert exercised([line])[first] == {("kill", "sent")}
    assert never([line]) == others
    assert first in incomplete([line])
    assert never([line | {"reached": False}]) == sorted(catalogue())
