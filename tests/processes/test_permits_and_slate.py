"""What a manager and its worker share: permits that one of them gets, a slate never torn."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from durable_otp.runtime.held import Held
from durable_otp.runtime.messages import BegunReport
from durable_otp.runtime.output import OutputFile
from durable_otp.runtime.permits import Permits
from durable_otp.runtime.slate import SIZE, Slate
from durable_otp.runtime.station import Station
from durable_otp.storage.queue import Claim
from tests.support.tree import kill

MANY = 3000


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[int]:
    """Run a function in a forked child, which is waited for, or killed if the block fails."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    except BaseException:
        kill(pid)
        raise
    finally:
        os.waitpid(pid, 0)


def report(number: int) -> dict[str, object]:
    names = {"path": f"step{number}" * (number % 40 + 1), "name": "n", "type": "step"}
    limits = {"timeout": None, "progress_deadline": 1.5, "retry_after_timeout": 0.25}
    return {"run": number, "at": 1.0, "position": 3, "visit": 1, "attempt": 2, **names, **limits}


def test_each_permit_goes_to_the_worker_or_back_to_its_manager() -> None:
    permits = Permits()
    taken, told = os.pipe()

    def take() -> None:
        begun = [run for run in range(1, MANY + 1) if permits.take(run)]
        os.write(told, b" ".join(b"%d" % run for run in begun) + b" ")

    permits.grant(range(1, MANY + 1))
    returned = set()
    with forked(take):
        while len(returned) < MANY // 3:
            found = permits.take_back()
            returned |= found
            if not found:
                break
    os.close(told)
    with os.fdopen(taken, "rb") as pipe:
        begun = {int(run) for run in pipe.read().split()}
    returned |= permits.take_back()
    assert begun | returned == set(range(1, MANY + 1))
    assert not begun & returned


def test_a_run_that_was_taken_back_may_not_begin_and_later_ones_may() -> None:
    permits = Permits()
    permits.grant([1, 2, 3])
    assert permits.take(1)
    assert permits.take_back() == {2, 3}
    assert not permits.take(2)
    permits.grant([4])
    assert not permits.take(3)
    assert permits.take(4)
    assert permits.take_back() == set()
    permits.close()


def test_the_slate_of_a_killed_worker_shows_what_it_had_begun() -> None:
    slate = Slate()
    assert slate.read() is None
    written, telling = os.pipe()

    def write() -> None:
        slate.write(report(1))
        slate.write(report(2))
        os.write(telling, b"x")
        signal.pause()

    with forked(write) as pid:
        os.read(written, 1)
        kill(pid)
    assert slate.read() == BegunReport(**report(2))  # type: ignore[arg-type]


def held(run: int) -> Held:
    now, nothing = datetime.now(UTC), "is not looked at"
    claim = Claim(
        id=str(run), workflow=nothing, version="1", queue=nothing, priority=0,
        input=None, scheduled_at=now, current_step=None, lock_token=nothing, crashes=0, alone=False,
        begun_before=False, home_queue=nothing, is_plain=True,
    )  # fmt: skip
    return Held(claim, claim.lock_token, run=run)


def test_what_a_worker_has_passed_is_told_by_the_permit_it_took_last() -> None:
    station = Station(1, OutputFile("test"))
    with closing(station):
        station.hand.extend(held(run) for run in (1, 2, 3, 4))
        station.permits.grant((1, 2, 3, 4))
        assert station.permits.take(1)
        assert station.slate.write(report(1))
        assert station.permits.take(2)  # its slate still says that it runs the first
        assert [each.run for each in station.take_back()] == [3, 4]
        assert [each.run for each in station.passed()] == [1]
        assert [each.run for each in station.hand] == [2]
        assert station.catch_up() == station.passed() == []


def test_a_report_is_never_read_in_halves() -> None:
    slate = Slate()
    expected = {number: BegunReport(**report(number)) for number in range(100)}  # type: ignore[arg-type]

    def write() -> None:
        for number in range(30_000):
            slate.write(report(number % 100))

    with forked(write) as pid:
        seen = 0
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            found = slate.read()
            if found is not None:
                assert found == expected[found.run]
                seen += 1
    assert seen > 0


def test_a_report_that_is_too_long_is_not_written() -> None:
    slate = Slate()
    assert slate.write(report(1))
    assert not slate.write(report(2) | {"path": "x" * SIZE})
    assert slate.read() == BegunReport(**report(1))  # type: ignore[arg-type]
    slate.close()
    with pytest.raises(ValueError, match="closed"):
        slate.read()
