"""An order for one execution by its id, or for all that a filter finds."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.identifying import execution_id
from durable_otp.cli.listing import checked_statuses
from durable_otp.cli.screen import say
from durable_otp.cli.target import Target
from durable_otp.cli.times import instant


@dataclass(frozen=True)
class Meant:
    """Which executions a command line means: an id, or filters; what it leaves out is None."""

    prefix: str | None
    workflow: str | None = None
    status: list[str] | None = None
    queue: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def has_filters(self) -> bool:
        """Whether there is any."""
        given = (self.workflow, self.status, self.queue, self.since, self.until)
        return any(value is not None for value in given)

    def one(self, target: Target) -> str | None:
        """Return the id of the one that is meant; None: all that the filters find.

        Raises:
            UsageMistake: There is neither an id nor a filter, or both.
        """
        if (self.prefix is None) is not self.has_filters:
            raise UsageMistake("Give an ID, or filters such as --workflow and --status; not both.")
        return None if self.prefix is None else execution_id(target, self.prefix)

    def filters(self, target: Target) -> dict[str, str | list[str] | datetime | None]:
        """Return the filters as the client takes them."""
        return {
            "workflow": self.workflow,
            "status": checked_statuses(self.status),
            "queue": self.queue,
            "since": instant(target, self.since, "--since"),
            "until": instant(target, self.until, "--until"),
        }


def act_on_all(done: str, act: Callable[..., int], filters: dict[str, Any], **how: Any) -> None:
    """Act on all that filters find, and say how many they were."""
    given = {name: value for name, value in filters.items() if value is not None}
    count = act(**given, **how)
    verb = f"would have {done}" if how["dry_run"] else done
    say(f"{verb} {'1 execution' if count == 1 else f'{count} executions'}")
