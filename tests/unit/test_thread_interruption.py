"""An interrupt raises in the thread, and for the piece of work, that it was meant for; or never."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from durable_otp.errors import StepInterrupted
from durable_otp.otp.thread_interruption import ThreadInterruption

PATIENCE = 20.0


class Site:
    """A thread that begins a piece of work, enters a block there, and waits in it in Python."""

    def __init__(self, run: int, body: Callable[[], Any] | None = None) -> None:
        self.interruption = ThreadInterruption()
        self.inside = threading.Event()
        self.leave = False
        self.met: list[str] = []
        self._run, self._body = run, body or self._spin
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self.inside.wait(PATIENCE)

    def _spin(self) -> None:
        while not self.leave:
            pass

    def _work(self) -> None:
        self.interruption.begin(self._run)
        try:
            with self.interruption.allowed():
                self.inside.set()
                self._body()
        except StepInterrupted:
            self.met.append("interrupted")
        else:
            self.met.append("left")

    def end(self) -> list[str]:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.met


def test_it_raises_in_its_thread_and_in_no_other():
    one, other = Site(1), Site(1)
    one.interruption.interrupt(1)
    assert one.end() == ["interrupted"]
    other.leave = True
    assert other.end() == ["left"]
    assert not other.interruption.is_interrupted


def test_an_event_loop_that_waits_is_woken():
    resting, ended = threading.Event(), threading.Event()

    async def rest() -> None:
        try:
            resting.set()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    site = Site(1, lambda: asyncio.run(rest()))
    assert resting.wait(PATIENCE)
    site.interruption.interrupt(1)
    assert site.end() == ["interrupted"]
    assert ended.is_set()


def test_one_for_another_piece_of_work_raises_nothing():
    site = Site(2)
    site.interruption.interrupt(1)
    site.leave = True
    assert site.end() == ["left"]


def test_one_that_comes_before_the_body_raises_at_its_begin():
    interruption = ThreadInterruption()
    interruption.begin(1)
    interruption.interrupt(1)
    assert interruption.is_interrupted
    with pytest.raises(StepInterrupted), interruption.allowed():
        pytest.fail("the body ran")
    interruption.begin(2)
    with interruption.allowed():
        pass


def test_none_is_left_over_when_the_body_has_ended():
    """Interrupts aimed at the very end of a body raise in it, or never."""
    for run in range(1, 100):
        site = Site(run)
        site.leave = True
        site.interruption.interrupt(run)
        met = site.end()
        assert met in (["left"], ["interrupted"])
        assert site.interruption.is_interrupted
