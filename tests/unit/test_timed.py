"""Work that a time brings about: done when it is due, and asked about before that."""

import pytest

from durable_otp.runtime.recurring import Timed


class Work:
    """What is due in the given seconds, one after another, and what was done and asked."""

    def __init__(self, *due: float | None, done: int = 1) -> None:
        self.due = list(due)
        self.done = done
        self.performed = self.asked = 0

    def perform(self) -> int:
        self.performed += 1
        return self.done

    def next_due(self) -> float | None:
        self.asked += 1
        return self.due.pop(0)


def timed(work: Work, *, interval: float = 60.0) -> Timed:
    return Timed(work.perform, work.next_due, batch_size=5, interval=interval)


def test_the_first_round_looks_and_asks():
    work = Work(None)
    assert timed(work).run_once() == 60
    assert (work.performed, work.asked) == (1, 1)


def test_it_rests_until_what_is_due_next_and_no_longer_than_its_interval():
    assert timed(Work(7.5)).run_once() == 7.5
    assert timed(Work(700)).run_once() == 60


def test_a_round_before_the_time_only_asks_for_it():
    work = Work(30, 20, None)
    waker = timed(work)
    assert waker.run_once() == 30
    assert waker.run_once() == 20
    assert 0 < waker.run_once() <= 60
    assert (work.performed, work.asked) == (1, 3)


@pytest.mark.parametrize("overdue", [0.0, -5.0])
def test_what_a_notification_finds_overdue_is_done_in_the_same_round(overdue):
    work = Work(30, overdue, 8)
    waker = timed(work)
    waker.run_once()
    assert waker.run_once() == 8
    assert work.performed == 2


def test_what_is_overdue_and_cannot_be_done_is_looked_for_again_soon():
    work = Work(-1, -1, None)
    waker = timed(work)
    assert 0 < waker.run_once() < 1
    assert work.performed == 1


def test_a_full_batch_means_again_now_and_asks_for_nothing():
    work = Work(done=5)
    waker = timed(work)
    assert waker.run_once() == 0
    assert waker.run_once() == 0
    assert (work.performed, work.asked) == (2, 0)


def test_however_often_it_is_asked_it_looks_every_interval():
    work = Work(None, None, None)
    waker = timed(work, interval=0)
    for _ in range(3):
        waker.run_once()
    assert work.performed == 3


def test_a_round_that_failed_is_done_again():
    work = Work(None)
    failing = [ConnectionError("away")]

    def perform() -> int:
        if failing:
            raise failing.pop()
        return work.perform()

    waker = Timed(perform, work.next_due, batch_size=5, interval=60)
    with pytest.raises(ConnectionError):
        waker.run_once()
    waker.run_once()
    assert work.performed == 1
