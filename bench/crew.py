"""So many processes that begin at once, measured from outside: how a floor is laid."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from bench.meter import Meter, Used

Work: TypeAlias = Callable[[int, Callable[[], None]], Any]


@dataclass(frozen=True)
class Together:
    """What the members returned, and what it cost from the first beginning to the last end."""

    values: Sequence[Any]
    used: Used


def together(dsn: str, count: int, work: Work) -> Together:
    """Fork so many processes; each calls ``work(index, begin)``, which calls ``begin`` when ready.

    ``begin`` returns when all are ready; the clock and the CPU are read from there. A member's
    failure is this process's.
    """
    context = multiprocessing.get_context("fork")
    ready, go, results = context.Barrier(count + 1), context.Event(), context.SimpleQueue()
    members = [
        context.Process(target=_member, args=(index, work, ready, go, results), daemon=True)
        for index in range(count)
    ]
    for member in members:
        member.start()
    with suppress(threading.BrokenBarrierError):  # a member failed, and its answer says how
        ready.wait(timeout=60)
    meter = Meter(dsn)
    go.set()
    answers = [results.get() for _ in members]
    used = meter.read()
    for member in members:
        member.join()
    failures = [answer for answer in answers if isinstance(answer, str)]
    if failures:
        own = [failure for failure in failures if not failure.startswith("BrokenBarrierError")]
        raise RuntimeError((own or failures)[0])
    began, ended = min(a[1] for a in answers), max(a[2] for a in answers)
    return Together(
        [answer[0] for answer in answers],
        Used(ended - began, used.server, sum(answer[3] for answer in answers)),
    )


def _member(index: int, work: Work, ready: Any, go: Any, results: Any) -> None:
    began, cpu = 0.0, 0.0

    def begin() -> None:
        nonlocal began, cpu
        ready.wait(timeout=60)
        go.wait()
        began, cpu = time.monotonic(), time.process_time()

    try:
        value = work(index, begin)
        answer: Any = (value, began, time.monotonic(), time.process_time() - cpu)
    except BaseException as error:  # noqa: BLE001 - told to the one who waits
        ready.abort()
        answer = f"{type(error).__name__}: {error}"
    results.put(answer)
