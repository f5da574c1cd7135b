"""The executions that a queue manager holds claims on, and where each of them stands."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from durable_otp.clock import monotonic
from durable_otp.runtime.messages import BegunReport
from durable_otp.storage.identity import new_id
from durable_otp.storage.queue import Claim
from durable_otp.storage.settlement import COMPENSATION


class Condemnation(StrEnum):
    """Why a body is being stopped from outside."""

    STEP_TIMEOUT = "step_timeout"
    NO_PROGRESS = "no_progress"
    CANCELLED = "cancelled"
    CLAIM_LOST = "claim_lost"
    CLAIM_GONE = "claim_gone"
    """Nobody holds it: taken away, or ended by its worker, which has not said so yet."""

    @property
    def ends_attempt(self) -> bool:
        """Whether the attempt counts as timed out; else the execution is not ours any more."""
        return self in (Condemnation.STEP_TIMEOUT, Condemnation.NO_PROGRESS)


@dataclass(eq=False)
class Held:
    """One claim: its token (which a settlement changes), and what its worker has reported."""

    claim: Claim
    lock_token: str
    claimed_at: float = field(default_factory=monotonic)
    """When the claim was asked for, or settled again, by the monotonic clock."""
    next_token: str | None = None
    """The token that a settlement is changing it to; either may be in force."""
    run: int = 0
    alone: bool = False
    """Whether it runs with no neighbour: it was interrupted, and has completed no step since."""
    apart: bool = False
    """Whether it runs with no neighbour in its process, which it may have killed before."""
    is_fresh: bool = False
    """Whether nothing was ever recorded of it."""
    first_position: int | None = None
    begun: BegunReport | None = None
    is_reported: bool = False
    """Whether the database has been told of the step that runs."""
    deaths_before_begun: int = 0
    """Workers that died since the last attempt began."""
    refusal: str = ""
    """Why PostgreSQL would not take a step that its worker had finished."""
    out_of_memory: bool = False
    """Whether the kernel was killing for lack of memory when its worker was killed."""
    peak_rss: int | None = None
    """The most memory in bytes that its worker had held when it died, if it was its alone."""
    process: str | None = None
    """Which process it was handed to, as `storage.processes.process_key` names it."""
    condemned: Condemnation | None = None
    is_leaving: bool = False
    """Whether the body has taken the interrupt, and is in its `finally` blocks."""
    body_over: asyncio.Event = field(default_factory=asyncio.Event)
    duration: float = 0.0
    output: list[dict[str, Any]] = field(default_factory=list)
    """What the attempt had written when its body was over."""
    timers: dict[Condemnation, asyncio.TimerHandle] = field(default_factory=dict)

    def begin(self, report: BegunReport) -> None:
        """Take note of the attempt that begins."""
        self.stop_timer()
        self.begun, self.is_reported = report, False
        self.deaths_before_begun = 0
        if self.first_position is None:
            self.first_position = report.position
        self.alone = self.alone and report.position == self.first_position
        self.apart = self.apart and report.position == self.first_position

    @property
    def is_kept_away(self) -> bool:
        """Whether others wait until it has completed a step."""
        return self.alone or self.apart

    def begin_apart(self) -> None:
        """Have it run with no neighbour in its process until it has completed a step."""
        self.apart, self.first_position = True, None

    @property
    def seconds_in_step(self) -> float:
        """How long the attempt has run."""
        return monotonic() - self.begun.at if self.begun else 0.0

    def body_ended(self, output: list[dict[str, Any]]) -> None:
        """Take note that the body runs no more, because it ended or its process did."""
        self.stop_timer()
        self.output = output
        self.duration = self.seconds_in_step
        self.body_over.set()

    def stop_timer(self) -> None:
        """Forget the step's deadlines: the attempt is over."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()

    def start_timers(self, stop: Callable[[Condemnation], None]) -> None:
        """Have ``stop`` called when the attempt that has begun lasts too long, or stands still."""
        report = self.begun
        if report is not None:
            self._start_timer(Condemnation.STEP_TIMEOUT, report.timeout, stop)
            self._start_timer(Condemnation.NO_PROGRESS, report.progress_deadline, stop)

    def progressed(self, stop: Callable[[Condemnation], None]) -> None:
        """Take note that the body is getting on."""
        timer = self.timers.pop(Condemnation.NO_PROGRESS, None)
        if timer is not None and self.begun is not None:
            timer.cancel()
            self._start_timer(Condemnation.NO_PROGRESS, self.begun.progress_deadline, stop)

    def _start_timer(
        self, why: Condemnation, seconds: float | None, stop: Callable[[Condemnation], None]
    ) -> None:
        if seconds is not None:
            self.timers[why] = asyncio.get_running_loop().call_later(seconds, stop, why)

    def change_token(self) -> tuple[str, str]:
        """Return the token in force and the one that is to replace it: the same until it has."""
        self.next_token = self.next_token or new_id()
        return self.lock_token, self.next_token

    def token_changed(self) -> None:
        """Take note that the replacement is in force."""
        self.lock_token, self.next_token = self.next_token or self.lock_token, None

    @property
    def tokens(self) -> list[str]:
        """Every token under which the row may be ours."""
        return [self.lock_token, *([self.next_token] if self.next_token else [])]

    def rerun(self) -> None:
        """Make it ready for another worker; its token is one that no worker has had."""
        self.stop_timer()
        self.begun = self.condemned = None
        self.is_leaving = self.is_fresh = False
        self.claimed_at = monotonic()
        self.refusal, self.out_of_memory, self.peak_rss = "", False, None
        self.body_over = asyncio.Event()

    def begun_json(self) -> dict[str, Any] | None:
        """Return what the database is told of the attempt that runs."""
        if self.begun is None:
            return None
        return {
            "path": self.begun.path,
            "name": self.begun.name,
            "type": self.begun.type,
            "visit": self.begun.visit,
            "attempt": self.begun.attempt,
            "seconds": self.seconds_in_step,
            "is_compensation": self.begun.type == COMPENSATION,
        }
