"""What happens in the demo: executions are started, workers are killed, and both are watched."""

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from durable_otp.cli.demo_feed import FEEDS, SCHEDULE, TRIGGER_EVERY
from durable_otp.cli.demo_people import People
from durable_otp.cli.target import Target
from durable_otp.client import Handle
from durable_otp.clock import Deadline, monotonic
from durable_otp.runtime.runtime import Runtime
from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.overview import Recovery, recoveries, statuses_of
from durable_otp.workflow.state import FINAL

FIRST_KILL_AFTER = 3.0
KILL_EVERY = 4.0
SAID_AT_MOST = 5


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
        self._people = People(target.client)
        self._next_start = {feed.workflow: Deadline(0) for feed in FEEDS}
        self._turns: Counter[str] = Counter()
        self._next_trigger = Deadline(0)
        self._next_kill = Deadline(FIRST_KILL_AFTER)
        self._recovered: set[str] = set()
        self.started: list[str] = []
        self.doomed: list[str] = []
        self._open: list[str] = []
        self._ended: Counter[str] = Counter()
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
        for feed in FEEDS:
            if self._next_start[feed.workflow].passed:
                self._next_start[feed.workflow] = Deadline(feed.seconds)
                given = feed.given(self._turns[feed.workflow])
                self._turns[feed.workflow] += 1
                handle = self._target.client.start(feed.workflow, given)
                self._note(handle, is_doomed=bool(given.get("force_failure")))
        if self._next_trigger.passed:
            self._next_trigger = Deadline(TRIGGER_EVERY)
            self._note(self._target.client.trigger_schedule(SCHEDULE))
        if self._next_kill.passed:
            self._kill()

    def _note(self, handle: Handle, *, is_doomed: bool = False) -> None:
        self.started.append(handle.id)
        self._open.append(handle.id)
        if is_doomed:
            self.doomed.append(handle.id)

    def look(self) -> None:
        """Answer what executions wait for, and announce who runs again."""
        self._people.act()
        for recovery in self._target.run(recoveries):
            if recovery.seconds is not None and recovery.id not in self._recovered:
                self._recovered.add(recovery.id)
                self.say(self._back(recovery))

    def tree(self) -> dict[str, Any]:
        """Return the tree as the root knows it now."""
        root: dict[str, Any] = self._runtime.tree()["tree"]
        return root

    @property
    def answers(self) -> int:
        """How many inputs were given and events sent."""
        return self._people.answers

    def counts(self) -> Counter[str]:
        """Return how many of the executions that were started here are in each status.

        What has ended is not asked for again: a demo may go on for days.
        """
        found = self._target.run(statuses_of, self._open)
        ended = {id_ for id_, status in found.items() if status in FINAL}
        self._ended.update(found[id_] for id_ in ended)
        self._open = [id_ for id_ in self._open if id_ not in ended]
        return self._ended + Counter(found[id_] for id_ in self._open if id_ in found)

    def is_done(self) -> bool:
        """Return whether everything that was started has ended."""
        self.counts()
        return not self._open

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
