"""What happens in the demo: executions are started, workers are killed, and both are watched."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from durable_otp.cli.target import Target
from durable_otp.clock import Deadline, monotonic
from durable_otp.runtime.runtime import Runtime
from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.overview import Recovery, recoveries
from durable_otp.workflow.execution import QueueStats
from durable_otp.workflow.state import FINAL

FIRST_KILL_AFTER = 3.0
KILL_EVERY = 4.0
SAID_AT_MOST = 5
FEED = (("process_order", 0.8), ("send_reminder", 2.0), ("make_thumbnail", 6.0))


@dataclass(frozen=True)
class Kill:
    """A worker that the demo killed, and what it was doing."""

    worker: str
    pid: int
    execution_id: str
    doing: str


class Stage:
    """One run of the demo; ``tell`` hears, line by line, what happens."""

    def __init__(self, runtime: Runtime, target: Target, tell: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._target = target
        self._tell = tell
        self._feeds = {name: Deadline(0) for name, _ in FEED}
        self._next_kill = Deadline(FIRST_KILL_AFTER)
        self._recovered: set[str] = set()
        self.started: list[str] = []
        self.kills: list[Kill] = []
        self.said: deque[str] = deque(maxlen=SAID_AT_MOST)
        self.began = monotonic()

    def say(self, text: str) -> None:
        """Announce something, with the seconds since the beginning."""
        line = f"{monotonic() - self.began:5.1f}s  {text}"
        self.said.append(line)
        self._tell(line)

    def act(self) -> None:
        """Start what is due, and kill when it is time."""
        for name, interval in FEED:
            if self._feeds[name].passed:
                self._feeds[name] = Deadline(interval)
                self.started.append(self._target.client.start(name, _example_input(name)).id)
        if self._next_kill.passed:
            self._kill()

    def look(self) -> None:
        """Announce who runs again."""
        for recovery in self._target.run(recoveries):
            if recovery.seconds is not None and recovery.id not in self._recovered:
                self._recovered.add(recovery.id)
                self.say(self._back(recovery))

    def tree(self) -> dict[str, Any]:
        """Return the tree as the root knows it now."""
        root: dict[str, Any] = self._runtime.tree()["tree"]
        return root

    def stats(self) -> QueueStats:
        """Return how many executions are in each status."""
        return self._target.client.stats("default")

    def is_done(self) -> bool:
        """Return whether everything that was started has ended."""
        stats = self.stats()
        ended: int = sum(getattr(stats, state) for state in FINAL)
        return ended >= len(self.started)

    def _kill(self) -> None:
        """Kill a busy worker, as the kernel does when memory runs out; try again when none is."""
        busy = [node for node in flatten(self.tree()) if node.get("execution_id")]
        if not busy:
            return
        node = random.choice(busy)  # noqa: S311 - whom it hits does not matter
        doing = f"{node['workflow']}:{node['step']}"
        try:
            psutil.Process(node["pid"]).kill()
        except psutil.NoSuchProcess:
            return  # it was quicker
        kill = Kill(str(node["id"]), node["pid"], node["execution_id"], doing)
        self.kills.append(kill)
        self._next_kill = Deadline(KILL_EVERY)
        self.say(f"kill -9 {kill.pid}: worker {kill.worker}, busy with {doing} {_tail(kill)}")

    def _back(self, recovery: Recovery) -> str:
        milliseconds = (recovery.seconds or 0.0) * 1000
        mine = any(kill.execution_id == recovery.execution_id for kill in self.kills)
        whose = "that execution" if mine else "a worker killed itself; its execution"
        return (
            f"{whose} ...{recovery.execution_id[-6:]} ran {recovery.step} again "
            f"{milliseconds:.0f} ms after the death"
        )


def _tail(kill: Kill) -> str:
    return f"...{kill.execution_id[-6:]}"


def _example_input(name: str) -> dict[str, Any]:
    if name == "process_order":
        prices = [random.randint(1, 90) for _ in range(random.randint(1, 4))]  # noqa: S311 - a price
        return {"items": [{"price": price} for price in prices]}
    return {"name": "Ada"} if name == "send_reminder" else {"file": "portrait.png"}
