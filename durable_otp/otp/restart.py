"""Restart decisions, as pure functions of what happened and when.

A supervisor asks after a child's death: should it come back, has that happened too often, who
comes back with it, and after how long? None of these needs a process or a clock, so they are
answered here:

    restart      clean end                     error
    permanent    restart                       restart
    transient    kept, not running             restart
    temporary    forgotten                     forgotten
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from durable_otp.otp.exit_reason import ExitReason

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]

Child = TypeVar("Child")


def should_restart(restart: Restart, reason: ExitReason) -> bool:
    """Return whether a child with this policy comes back after this end."""
    match restart:
        case "permanent":
            return True
        case "transient":
            return not reason.is_clean
        case "temporary":
            return False


def restart_group(strategy: Strategy, children: Sequence[Child], dead: Child) -> list[Child]:
    """Return those who are stopped and started with the dead child, in start order."""
    match strategy:
        case "one_for_one":
            return [dead]
        case "one_for_all":
            return list(children)
        case "rest_for_one":
            return list(children[children.index(dead) :])


def ends_supervisor(
    auto_shutdown: AutoShutdown, *, significant: bool, others_significant: Iterable[bool]
) -> bool:
    """Return whether a child's unrestarted end takes its supervisor with it.

    ``others_significant`` says for each child that is still up or restarting whether it is
    significant.
    """
    if not significant or auto_shutdown == "never":
        return False
    return auto_shutdown == "any_significant" or not any(others_significant)


class RestartIntensity:
    """The most restarts a supervisor tolerates within a period.

    More than ``intensity`` within ``period`` seconds means that restarting does not help: the
    supervisor gives up, so that *its* supervisor decides.
    """

    def __init__(self, intensity: int, period: float) -> None:
        self._intensity = intensity
        self._period = period
        self._times: list[float] = []

    def exceeded(self, now: float) -> bool:
        """Count one restart at ``now`` (monotonic seconds); return whether it is one too many."""
        self._times = [*(t for t in self._times if t >= now - self._period), now]
        return len(self._times) > self._intensity

    def shown(self) -> dict[str, Any]:
        """Return the budget, and when (monotonic seconds) it was last drawn on.

        The instants rather than their number, which would be older than it looks: a restart leaves
        the period without anything happening.
        """
        return {"most": self._intensity, "seconds": self._period, "restarted_at": [*self._times]}


@dataclass(frozen=True)
class RestartBackoff:
    """How long to wait before the n-th restart in a row: a geometric curve with a ceiling.

    ``jitter`` spreads each delay by that fraction either way; a child that stayed up for
    ``reset_after`` seconds begins anew.
    """

    initial: float = 1.0
    factor: float = 2.0
    max: float = 30.0
    jitter: float = 0.1
    reset_after: float = 60.0

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds before restart ``attempt`` (from 1); ``chance`` is from [0, 1)."""
        exponent = min(attempt - 1, 64)  # 2.0 ** 1024 overflows; the ceiling is reached long before
        plain = min(self.max, self.initial * self.factor**exponent)
        return plain * (1 + self.jitter * (2 * chance - 1))
