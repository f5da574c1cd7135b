"""What a tree in the foreground tells the service manager that started it.

The protocol is that of sd_notify(3): datagrams of ``NAME=value`` lines to the socket that the
environment names. Where there is none, nobody is told anything.
"""

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass

from durable_otp.otp import Root
from durable_otp.runtime.node import NodeHooks

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
MICROSECONDS = 1e6
PINGS_PER_WATCHDOG = 2
"""As sd_watchdog_enabled(3) asks for: half of the time that the service manager waits."""


@dataclass(frozen=True)
class ServiceManager:
    """Who is told; ``watchdog`` is how many seconds without a word mean that the tree hangs."""

    address: str
    watchdog: float | None = None

    def tell(self, text: str) -> None:
        """Send a line; a service manager that is gone is no reason to fail."""
        place = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK  # who does not read must not hang the root
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto(text.encode(), place)


def service_manager() -> ServiceManager | None:
    """Return who is to be told; out of the environment, for children have nothing to say."""
    address = os.environ.pop(SOCKET, "")
    microseconds = os.environ.pop(WATCHDOG, "")
    if not address.startswith(("/", "@")):
        return None
    return ServiceManager(
        address, int(microseconds) / MICROSECONDS if microseconds.isdigit() else None
    )


@dataclass
class ServiceHooks(NodeHooks):
    """The hooks of a node in the foreground."""

    manager: ServiceManager | None = None

    def on_started(self, root: Root) -> None:
        """Tell that the tree is up, and from then on that its root does not hang."""
        super().on_started(root)
        if self.manager is None:
            return
        self.manager.tell(f"READY=1\nMAINPID={os.getpid()}")
        if self.manager.watchdog:
            self._ping(self.manager, self.manager.watchdog / PINGS_PER_WATCHDOG)

    def on_stopping(self, root: Root) -> None:
        """Tell that the tree was asked to stop."""
        super().on_stopping(root)
        if self.manager is not None:
            self.manager.tell("STOPPING=1")

    def _ping(self, manager: ServiceManager, every: float) -> None:
        manager.tell("WATCHDOG=1")
        asyncio.get_running_loop().call_later(every, self._ping, manager, every)
