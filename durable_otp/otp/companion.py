"""A program that runs beside this one, which has nothing to do but to stop it and start it again.

This process must have one thread. The orders to stop it are held back, so that they are seen at one
place: in ``wait``.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from durable_otp.otp import linux

Seen = Literal["ended", "order", "nothing"]
_ORDERS = {signal.SIGINT, signal.SIGTERM}
_HELD = _ORDERS | {signal.SIGCHLD}


class Companion:
    """A program, run in a process group of its own, so that a Ctrl-C reaches this process alone.

    Args:
        argv: The program and its arguments; no shell.
        environment: All of its environment.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Hold the orders to stop back."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing running, and let the orders through again."""
        if self._process is not None and self.code is None:
            self._process.kill()
            self._process.wait()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs, or before it was started."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, anew. It is told to stop when this process dies."""
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            self._argv,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_unblocked_and_mortal,  # noqa: PLW1509 - there is one thread
        )

    def order_to_stop(self) -> None:
        """Send it SIGTERM; once more: it ends at once. Returns before it has ended."""
        if self._process is not None and self.code is None:
            self._process.terminate()

    def wait(self, seconds: float) -> Seen:
        """Wait until it has ended, or this process is ordered to stop, or the time is up."""
        taken = signal.sigtimedwait(_HELD, seconds)
        if taken is not None and taken.si_signo in _ORDERS:
            return "order"
        return "nothing" if self._process is None or self.code is None else "ended"


def _unblocked_and_mortal() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    parent = os.getppid()
    linux.die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
