"""Random workflows on a real tree end as the model says, whether workers are killed or not.

A failure shows each shape that went another way, as Python that makes it, and how it differs.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from durable_otp.clock import monotonic
from tests.support.random_shapes import random_shape
from tests.support.shape_runs import report, run_shapes
from tests.support.shape_workflow import last_pids
from tests.support.shapes import KINDS, Shape
from tests.support.tree import Tree, kill

SECONDS_BETWEEN_KILLS = 0.15
BYTES_BETWEEN_KILLS = 1_500  # of the ledger: about a dozen bodies
MANY = 1_000_000
ENABLED = KINDS


def shapes_of(first: int, count: int) -> list[Shape]:
    return [random_shape(seed, ENABLED) for seed in range(first, first + count)]


def killer(seed: int, ledger: Path) -> Callable[[Tree], None]:
    """Return something that now and then kills a worker: any, or one whose body began lately.

    It waits for some bodies between two kills, so that a slow machine gets on as well.
    """
    chance = random.Random(seed)
    due, seen = [monotonic()], [0]

    def kill_one(tree: Tree) -> None:
        size = ledger.stat().st_size
        if monotonic() < due[0] or size < seen[0] + BYTES_BETWEEN_KILLS:
            return
        due[0], seen[0] = monotonic() + SECONDS_BETWEEN_KILLS, size
        workers = worker_pids(tree)
        busy = workers.intersection(last_pids(ledger))
        with suppress(ProcessLookupError):
            kill(chance.choice(sorted(busy if busy and chance.random() < 0.8 else workers)))

    return kill_one


def worker_pids(tree: Tree) -> set[int]:
    """Return the workers that are there right now; what the tree shows may be a second old."""
    found = set()
    for process in psutil.Process(tree.runtime.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found |= {process.pid} if " worker " in " ".join(process.cmdline()) else set()
    return found


def test_shapes_end_as_the_model_says(dsn: str, schema: str, tmp_path: Path) -> None:
    shapes = shapes_of(0, 50)
    runs = run_shapes(dsn, schema, shapes, tmp_path / "ledger")
    assert report(shapes, runs) == ""


def test_shapes_whose_steps_are_committed_together_end_as_the_model_says(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    shapes = shapes_of(500, 40)
    runs = run_shapes(dsn, schema, shapes, tmp_path / "ledger", commit="batched")
    assert report(shapes, runs) == ""


def test_killed_workers_make_no_difference_to_steps_that_are_committed_together(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    shapes, ledger = shapes_of(1500, 25), tmp_path / "ledger"
    options = {"meanwhile": killer(8, ledger), "max_crashes": MANY, "commit": "batched"}
    runs = run_shapes(dsn, schema, shapes, ledger, **options)
    assert report(shapes, runs, crashes=True) == ""
    assert sum(run.execution.crashes for run in runs) > 0


def test_killed_workers_make_no_difference(dsn: str, schema: str, tmp_path: Path) -> None:
    shapes, ledger = shapes_of(1000, 30), tmp_path / "ledger"
    meanwhile = killer(7, ledger)
    runs = run_shapes(dsn, schema, shapes, ledger, meanwhile=meanwhile, max_crashes=MANY)
    assert report(shapes, runs, crashes=True) == ""
    assert sum(run.execution.crashes for run in runs) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(2_000, 4_000, 200))
def test_many_shapes_end_as_the_model_says(
    dsn: str, schema: str, tmp_path: Path, first: int
) -> None:
    shapes = shapes_of(first, 200)
    runs = run_shapes(dsn, schema, shapes, tmp_path / "ledger", timeout=600)
    assert report(shapes, runs) == ""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(4_000, 4_500, 100))
def test_killed_workers_make_no_difference_to_many(
    dsn: str, schema: str, tmp_path: Path, first: int
) -> None:
    shapes, ledger = shapes_of(first, 100), tmp_path / "ledger"
    runs = run_shapes(
        dsn, schema, shapes, ledger, meanwhile=killer(first, ledger), max_crashes=MANY, timeout=600
    )
    assert report(shapes, runs, crashes=True) == ""
