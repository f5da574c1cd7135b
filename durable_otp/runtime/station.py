"""A worker's place at its manager: what it has been handed, and how far it has come with it.

Where several executions share a worker process, each of its threads has a place; they have the same
worker, and leave together.

A place outlives the processes that take it. The first execution in a worker's hand is the one it
runs, or is about to; those behind it have been handed ahead and can be taken back until they begin.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_otp.otp.link import Message
from durable_otp.otp.process import Child
from durable_otp.runtime import messages
from durable_otp.runtime.held import Held
from durable_otp.runtime.output import OutputFile
from durable_otp.runtime.permits import Permits
from durable_otp.runtime.slate import Slate


@dataclass(frozen=True)
class Left:
    """What a worker's hand comes to when it is emptied.

    Attributes:
        over: Done, as the worker's slate says.
        begun: May have begun; of several, all but the last or two are done as well.
        returned: Never begun there, and never will.
    """

    over: Sequence[Held]
    begun: Sequence[Held]
    returned: Sequence[Held]

    @property
    def has_the_cause(self) -> bool:
        """Whether one of them was to be stopped, by its worker's death if need be."""
        return any(held.condemned or held.refusal for held in self.begun)


@dataclass(eq=False)
class Station:
    """A place with its worker, if there is one just now."""

    number: int
    output: OutputFile
    slate: Slate = field(default_factory=Slate)
    permits: Permits = field(default_factory=Permits)
    worker: str = ""
    """The id that its worker has at the supervisor."""
    thread: int | None = None
    """Which thread of its worker stands here, from 0; None for one that has no others."""
    child: Child | None = None
    process: str | None = None
    """What its worker is called in the rows of its attempts."""
    hand: deque[Held] = field(default_factory=deque)
    executions: int = 0
    died_at: dict[str, Any] | None = None
    """The execution and the step at which the worker before this one died, if it did at one."""
    told: int = 0
    """How often its worker has said that it is done with one."""
    failures: int = 0
    """How many of those had failed."""
    is_spent: bool = False
    """Whether its worker is to be replaced as soon as its hand is empty."""
    is_retiring: bool = False
    is_relieved: bool = False
    """Whether its worker was told to finish its step and end; another takes the place."""

    @property
    def held(self) -> Held | None:
        """The execution that its worker runs, or is about to."""
        return self.hand[0] if self.hand else None

    @property
    def is_open(self) -> bool:
        """Whether a ready worker stands here that is to stay."""
        return self.child is not None and not (
            self.is_retiring or self.is_spent or self.is_relieved
        )

    @property
    def is_idle(self) -> bool:
        """Whether a ready worker stands here with nothing to do."""
        return self.is_open and not self.hand

    def give(self, executions: Sequence[Held]) -> None:
        """Hand executions to the worker, in this order; each has a run number of its own."""
        if self.child is None:
            raise RuntimeError("nobody stands at this station")
        self.hand.extend(executions)
        for held in executions:
            held.process = self.process
        self.permits.grant(held.run for held in executions)
        orders = [_run(held) for held in executions]
        if self.thread is not None:
            for order in orders:
                order.fields["thread"] = self.thread
        self.child.send_all(orders)

    def take_back(self) -> list[Held]:
        """Take what has not begun out of the worker's hand; it will never begin there."""
        runs = self.permits.take_back()
        if not runs:
            return []
        returned = [held for held in self.hand if held.run in runs]
        self._keep(held for held in self.hand if held.run not in runs)
        return returned

    def is_over(self, run: int) -> list[Held]:
        """Take a run that is over out of the hand, and any before it: a worker goes in order."""
        if all(held.run != run for held in self.hand):
            return []
        over: list[Held] = []
        while self.hand and (not over or over[-1].run != run):
            over.append(self.hand.popleft())
        return over

    def catch_up(self) -> list[Held]:
        """Follow what the worker has written: return what is over because a later one has begun.

        What it had to say of those was sent before, and is heard first.
        """
        report = self.slate.read()
        if report is None or not self.hand:
            return []
        if self.child is not None and self.hand[0].run != report.run:
            self.child.hear()
        if all(held.run != report.run for held in self.hand):
            return []
        over = []
        while self.hand[0].run != report.run:
            over.append(self.hand.popleft())
        if self.hand[0].begun != report:
            self.hand[0].begin(report)
        return over

    def passed(self) -> list[Held]:
        """Take out of the hand, when what has not begun was taken back, what is over for certain.

        A worker takes a permit when the execution before is over: only the last may still run.
        """
        if self.child is not None:
            self.child.hear()  # what it had to say of them was sent before
        over: list[Held] = []
        while len(self.hand) > 1:
            over.append(self.hand.popleft())
        return over

    def leave(self) -> Left:
        """Empty the hand of a worker that is gone."""
        self.child = None
        returned = self.take_back()
        over = self.catch_up()
        begun = list(self.hand)
        self.hand.clear()
        return Left(over, begun, returned)

    def close(self) -> None:
        """Give back what the place has taken from the system."""
        self.output.close()
        self.slate.close()
        self.permits.close()

    def logs(self, max_log: int) -> list[dict[str, Any]]:
        """Return what the attempt that runs has written."""
        return self.output.entries(max_log)

    def _keep(self, executions: Iterable[Held]) -> None:
        self.hand = deque(executions)


def _run(held: Held) -> Message:
    claim = held.claim
    fields = {
        "run": held.run,
        "id": claim.id,
        "workflow": claim.workflow,
        "version": claim.version,
        "queue": claim.queue,
        "home_queue": claim.home_queue,
        "lock_token": held.lock_token,
        "claimed_at": held.claimed_at,
        "is_fresh": held.is_fresh,
        "is_plain": claim.is_plain,
        "is_alone": held.is_kept_away,
    }
    return Message(messages.RUN, fields, (claim.input or "").encode())
