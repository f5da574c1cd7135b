"""A supervisor process's main program: one thread, one event loop, one way to end.

Whatever a supervisor process does, these hold around it:

* SIGTERM or SIGINT asks it to stop; in the root, the second one ends it at once;
* it adopts the processes its children leave behind, and kills them;
* when its own supervisor is gone, it kills everything below it and ends, whatever it is doing.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from durable_otp.otp import birth, process
from durable_otp.otp.channel import AsyncParentLink
from durable_otp.otp.link import ParentLink
from durable_otp.otp.orphans import bury_all

_SWEEP_EVERY = 1.0
_BURIAL = 2.0
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def run(parent: ParentLink, main: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Run ``await main(link, *args)`` as this child's program; return when it does.

    ``link`` is an ``AsyncParentLink``. No child survives this call.
    """
    asyncio.run(_run(parent, main, *args))


async def _run(parent: ParentLink, main: Callable[..., Awaitable[None]], *args: Any) -> None:
    supervisor = os.getppid()
    link = AsyncParentLink(parent, on_lost=end_at_once)

    def stop(_: int) -> None:
        if os.getppid() != supervisor:  # PDEATHSIG: nobody asked, nobody is left to ask
            end_at_once()
        link.stopping.set()

    forget = process.close_in_children(parent.descriptors)
    try:
        async with Surroundings(stop):
            if parent.stopping or os.getppid() != supervisor:
                stop(signal.SIGTERM)
            try:
                await _until_error(main(link, *args))
            finally:
                await link.flush()
    finally:
        link.detach()
        forget()


async def _until_error(program: Awaitable[None]) -> None:
    """Run the program; an error in a callback of the loop (a message's, a death's) ends it too."""
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "handle" in context and error is not None and not failed.done():
            failed.set_exception(error)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(fail)
    running = asyncio.ensure_future(program)
    waiting: set[asyncio.Future[Any]] = {running, failed}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    loop.set_exception_handler(None)
    if failed.done():
        running.cancel()
        await asyncio.wait({running})
        failed.result()
    await running


class Surroundings:
    """What holds around a supervisor process's program, entered in its event loop.

    ``on_stop`` is called with each SIGTERM and SIGINT.
    """

    def __init__(self, on_stop: Callable[[int], None]) -> None:
        self._on_stop = on_stop
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        birth.become_supervisor_process()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)  # whoever started us may block them
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_stop, number)
        self._loop.add_signal_handler(signal.SIGCHLD, process.sweep_orphans)
        self._sweep()

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        process.kill_all()
        bury_all(_BURIAL, process.orphanage.spared)
        for number in _HEARD:
            self._loop.remove_signal_handler(number)

    def _sweep(self) -> None:
        """Look for orphans now and then: no event tells a parent that it has adopted a child."""
        process.sweep_orphans()
        self._sweeper = self._loop.call_later(_SWEEP_EVERY, self._sweep)


def end_at_once(code: int = 1) -> NoReturn:
    """Kill and reap everything below this process, however deep, and end it."""
    process.kill_all()
    bury_all(_BURIAL)
    os._exit(code)
