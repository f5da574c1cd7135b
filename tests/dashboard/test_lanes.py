"""Workers over time: bars from attempts by the process that ran them (the page: test_processes)."""

from datetime import UTC, datetime, timedelta

from durable_otp.dashboard.lanes import MARGIN, ROW, WIDTH, Window, keys_of, lanes_of
from durable_otp.storage.lanes import Ran, RanAttempt
from durable_otp.storage.nodes import Node

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WINDOW = Window(NOW, 100.0)
NODE = "0000-12345678"


def at(seconds):
    return NOW - timedelta(seconds=seconds)


def node(*workers):
    shown = [
        {"id": str(n), "role": "worker", "pid": pid, "status": "up", "restarts": 0, "children": []}
        | {"started_at": at(90).isoformat(), "execution_id": doing, "workflow": "w", "step": "s"}
        for n, (pid, doing) in enumerate(workers, start=1)
    ]
    manager = {"id": "queue a", "role": "queue_manager", "queue": "a", "pid": 6, "status": "up"}
    manager |= {"restarts": 0, "started_at": None, "children": shown}
    root = {"id": "root", "role": "supervisor", "pid": 5, "status": "up", "restarts": 0}
    return Node(
        NODE, "app", "host", 5, root | {"started_at": None, "children": [manager]}, [], NOW, NOW
    )


def attempt(began, ended, process="12345678:7", **other):
    facts = {"execution_id": "e", "workflow": "w", "path": "s", "attempt": 1, "status": "completed"}
    facts |= {"is_compensation": False, "process": process, **other}
    return RanAttempt(started_at=at(began), completed_at=at(ended), **facts)


def lanes(tree, *attempts, lives=(), began=None):
    newest_first = tuple(sorted(attempts, key=lambda each: each.completed_at, reverse=True))
    return lanes_of(tree, Ran(newest_first, None, began or {}), lives, WINDOW)


def test_a_worker_has_a_bar_for_each_attempt_that_its_process_ran_and_no_other():
    first, second = lanes(
        node((7, None), (8, None)),
        attempt(50, 40),
        attempt(30, 20, status="failed"),
        attempt(200, 90),
        attempt(50, 40, process="12345678:8", is_compensation=True),
        attempt(50, 40, process="87654321:7"),
    )
    assert [(bar.x, bar.width, bar.tier) for bar in first.bars] == [
        (0.0, 100.0, "ok"), (500.0, 100.0, "ok"), (700.0, 100.0, "bad"),
    ]  # fmt: skip
    assert (first.completed, first.failed) == (2, 1)
    assert [bar.tier for bar in second.bars] == ["undo"]


def test_what_a_worker_is_at_goes_on_until_now_since_its_manager_says_or_the_step_before():
    (known,) = lanes(node((7, "e")), attempt(50, 40), began={"e": at(10)})
    assert (known.bars[-1].x, known.bars[-1].width, known.bars[-1].tier) == (900.0, 100.0, "run")
    (unknown,) = lanes(node((7, "e")), attempt(50, 40), began={"e": None})
    assert unknown.bars[-1].x == 600.0
    (fresh,) = lanes(node((7, "e")), began={"e": None})
    assert fresh.bars[-1].x == 100.0
    (over,) = lanes(node((7, "e")))  # its node has not said yet that it is
    assert over.bars == ()
    assert all(bar.x + bar.width <= WIDTH for lane in (known, unknown) for bar in lane.bars)


def test_the_one_before_in_a_place_has_its_bars_its_end_and_the_attempt_it_died_at():
    life = {"node_id": NODE, "path": "queue a/1", "pid": 3, "reason": "SIGKILL", "step": "s"}
    life |= {"execution_id": "x", "started_at": at(80), "ended_at": at(50)}
    died = attempt(60, 49, process=None, execution_id="x", status="failed")
    elsewhere = attempt(60, 49, process=None, execution_id="y", status="failed")
    (lane,) = lanes(
        node((7, None)), attempt(75, 70, process="12345678:3"), died, elsewhere, lives=[life]
    )
    assert [bar.execution_id for bar in lane.bars] == ["e", "x"]
    assert lane.deaths == ((500.0, "process 3: SIGKILL"),)
    assert keys_of([node((7, None))], [life]) == {"12345678:3", "12345678:7"}


def test_what_ran_side_by_side_has_rows_of_its_own():
    (lane,) = lanes(node((7, None)), attempt(50, 30), attempt(45, 20), attempt(19, 10))
    assert [bar.y for bar in lane.bars] == [MARGIN, MARGIN + ROW, MARGIN]
    assert lane.height == 2 * MARGIN + 2 * ROW
