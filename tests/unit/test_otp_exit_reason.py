"""What the kernel and the link said, turned into a reason."""

import os
import signal

import pytest

from durable_otp.otp import errors
from durable_otp.otp.exit_reason import (
    EX_SHUTDOWN,
    EX_SHUTDOWN_TERM,
    RESERVED,
    Failed,
    Killed,
    Normal,
    Shutdown,
    StartFailure,
    clamp,
    from_wait,
    reason_from_fields,
    to_fields,
)

TOLD = {"reason": "shutdown", "term": {"why": "moved"}}


@pytest.mark.parametrize(
    ("how", "status", "said", "reason"),
    [
        (os.CLD_EXITED, 0, None, Normal()),
        (os.CLD_EXITED, EX_SHUTDOWN, {"reason": "shutdown", "term": None}, Shutdown()),
        (os.CLD_EXITED, EX_SHUTDOWN_TERM, TOLD, Shutdown({"why": "moved"})),
        (os.CLD_EXITED, EX_SHUTDOWN, None, Failed(code=1)),
        (os.CLD_EXITED, 3, None, Failed(code=3)),
        (os.CLD_EXITED, 1, {"type": "KeyError", "text": "'x'"}, Failed(1, None, "KeyError", "'x'")),
        (os.CLD_KILLED, signal.SIGTERM, None, Shutdown()),
        (os.CLD_KILLED, signal.SIGKILL, None, Killed()),
        (os.CLD_DUMPED, signal.SIGSEGV, None, Failed(signal="SIGSEGV")),
        (os.CLD_KILLED, signal.SIGRTMIN + 3, None, Failed(signal="signal 37")),
    ],
)
def test_the_reason_of_an_end(how: int, status: int, said: dict, reason: object) -> None:
    assert from_wait(how, status, announced=said) == reason


def test_a_kill_of_our_own_is_known_as_such() -> None:
    reason = from_wait(os.CLD_KILLED, signal.SIGKILL, by_supervisor=True)
    assert reason == Killed(by_supervisor=True)


@pytest.mark.parametrize(
    ("given", "code"),
    [(None, 0), (0, 0), (False, 0), (7, 7), (256, 1), (-1, 255), ("a text", 1), (1.5, 1)],
)
def test_exit_codes_are_clamped(given: object, code: int) -> None:
    assert clamp(given) == code


@pytest.mark.parametrize("code", sorted(RESERVED))
def test_a_reserved_code_of_user_code_is_one(code: int) -> None:
    assert clamp(code) == clamp(code + 256) == 1


@pytest.mark.parametrize(
    "reason", [Normal(), Shutdown(), Shutdown("x"), Killed(by_supervisor=True), Failed(code=3)]
)
def test_reasons_travel(reason: object) -> None:
    assert reason_from_fields(to_fields(reason)) == reason


def test_errors_travel_with_the_failures_they_carry() -> None:
    failure = StartFailure("child", child_id="y", cause=StartFailure("init", "fail", fatal=True))
    sent = errors.StartFailed("s", failure)
    received = errors.from_fields(errors.to_fields(sent))
    assert isinstance(received, errors.StartFailed)
    assert received.failure == failure
    assert str(received) == "the child 's' could not be started: its child 'y' failed: fail"
