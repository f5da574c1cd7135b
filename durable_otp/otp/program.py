"""External programs: run to the end, let loose, or become one.

Supervised children are forked Python (``otp.process``); this is for the few programs of other
people that the package needs, such as ``initdb`` and ``pg_ctl``. None of them inherits a
descriptor it was not given.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

Account = tuple[int, int]
_ORDERS_TO_STOP = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code (negative for a signal) and what it printed."""

    code: int
    output: str

    @property
    def succeeded(self) -> bool:
        """Whether the exit code was 0."""
        return self.code == 0


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    account: Account | None = None,
    log: Path | None = None,
    timeout: float = 120.0,
) -> Finished:
    """Run a program to its end and return what it printed, standard error included.

    Args:
        argv: The program, by its absolute path or a name on PATH, and its arguments; no shell.
        environment: All of its environment.
        account: The user and group id it runs as; None for this process's own.
        log: Where its output is appended instead of being returned, for a program that leaves a
            daemon behind: with a pipe this function would wait for the daemon.
        timeout: Seconds after which it is killed, which counts as a failure.

    Raises:
        OSError: The program does not exist, or may not be executed by that account.
    """
    user, group = account or (None, None)
    with log.open("ab") if log else nullcontext(subprocess.PIPE) as output:
        try:
            ended = subprocess.run(  # noqa: S603 - the callers' own argument lists, never a shell
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                timeout=timeout,
                check=False,
                text=True,
                errors="replace",
                user=user,
                group=group,
                extra_groups=None if account is None else [],
            )
        except subprocess.TimeoutExpired:
            return Finished(-1, f"{argv[0]} did not end within {timeout:g} seconds")
    return Finished(ended.returncode, ended.stdout or "")


def detach(
    argv: Sequence[str], *, environment: Mapping[str, str], log: Path, keep: Sequence[int] = ()
) -> None:
    """Start a program that outlives this process: its own session, and never our child.

    It is started by a shell that leaves at once, so this process has nothing to reap, a Ctrl-C in
    the terminal does not reach it, and its output is appended to ``log``. It inherits the
    descriptors in ``keep`` under the same numbers, and with them the locks they hold.
    """
    with log.open("ab") as output:
        subprocess.run(  # noqa: S603 - the arguments travel as words, not as shell text
            ["/bin/sh", "-c", '"$@" &', "sh", *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            pass_fds=tuple(keep),
            check=True,
        )


def replace(
    argv: Sequence[str], *, environment: Mapping[str, str], hold_signals: bool = False
) -> NoReturn:
    """Become another program, which keeps this process's id, terminal and inheritable locks.

    With ``hold_signals`` an order to stop that comes meanwhile waits until that program calls
    ``take_signals``, or becomes a root.
    """
    if hold_signals:
        signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS_TO_STOP)
    os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606 - no shell is the point


def take_signals() -> None:
    """Receive the orders to stop that ``replace`` held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS_TO_STOP)


def take_sigterm_for_ctrl_c() -> None:
    """Let SIGTERM raise ``KeyboardInterrupt`` as well, for a program that has to clean up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pause(seconds: float) -> None:
    """Block this process, which has nothing else to wait for; never called under the loop."""
    time.sleep(seconds)
