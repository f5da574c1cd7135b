"""Schedules: what one is told, what is known of it, and when it is due."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

from durable_otp.clock import wall_clock
from durable_otp.durations import in_seconds, in_utc
from durable_otp.errors import DefinitionError, ScheduleError
from durable_otp.workflow.cron import Cron, parse
from durable_otp.workflow.options import LONGEST_DURATION, LONGEST_QUEUE_NAME, check_name

CatchUp: TypeAlias = Literal["skip", "one", "all"]
Overlap: TypeAlias = Literal["allow", "skip", "cancel_previous"]


@dataclass(frozen=True)
class ScheduleSettings:
    """What a schedule is told, checked; ``input`` is in its JSON form, ``jitter`` in seconds.

    Raises:
        ScheduleError: A field is wrong; the message names it.
    """

    name: str
    workflow: str
    cron: str
    timezone: str = "UTC"
    input: Any = None
    queue: str | None = None
    enabled: bool = True
    catch_up: CatchUp = "one"
    overlap: Overlap = "allow"
    jitter: timedelta | float = 0.0

    def __post_init__(self) -> None:
        name = _checked_name(self.name, "A schedule's name", "name")
        subject = f"Schedule {name!r}"
        object.__setattr__(self, "cron", parse(self.cron, self.timezone, subject).text)
        object.__setattr__(self, "jitter", _checked_jitter(self.jitter, subject))
        _checked_name(self.workflow, f"{subject}: workflow", "workflow")
        if self.queue is not None:
            _checked_name(self.queue, f"{subject}: queue", "queue", longest=LONGEST_QUEUE_NAME)
        if not isinstance(self.enabled, bool):
            raise ScheduleError(
                f"{subject}: enabled must be True or False, not {self.enabled!r}.", field="enabled"
            )
        _check_choice(self.catch_up, get_args(CatchUp), subject, "catch_up")
        _check_choice(self.overlap, get_args(Overlap), subject, "overlap")

    def first_slot(self, after: datetime) -> datetime | None:
        """Return when it is due first after an instant; None for never."""
        return next(parse(self.cron, self.timezone).slots(after), None)


@dataclass(frozen=True)
class Schedule:
    """A schedule as it stands in the database; instants in UTC, ``jitter`` in seconds."""

    name: str
    workflow: str
    cron: str
    timezone: str
    input: Any
    queue: str | None
    enabled: bool
    next_run_at: datetime | None
    last_run_at: datetime | None = None
    last_error: str | None = None
    consecutive_failures: int = 0
    auto_disabled_at: datetime | None = None
    catch_up: CatchUp = "one"
    overlap: Overlap = "allow"
    jitter: float = 0.0

    def next_runs(self, n: int, after: datetime | None = None) -> list[datetime]:
        """Return the next ``n`` instants at which it is due, in UTC, whether enabled or not.

        Args:
            n: How many; fewer are returned where the calendar ends.
            after: An aware instant; this machine's time by default.

        Raises:
            ScheduleError: Its cron or timezone is wrong.
            ValueError: ``n`` or ``after`` is none.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"n must be a whole number from 0, not {n!r}.")
        if after is None:
            after = datetime.fromtimestamp(wall_clock(), UTC)
        return list(islice(self.slots(in_utc(after, what="after")), n))

    def slots(self, after: datetime) -> Iterator[datetime]:
        """Yield the instants at which it is due after another."""
        return self.parsed().slots(after)

    def parsed(self) -> Cron:
        """Return its cron expression in its zone; raise ``ScheduleError`` if one is wrong."""
        return parse(self.cron, self.timezone, f"Schedule {self.name!r}")


def _checked_name(value: Any, what: str, of: str, *, longest: int = 200) -> str:
    try:
        return check_name(value, what, longest=longest)
    except DefinitionError as error:
        raise ScheduleError(str(error), field=of) from None


def _checked_jitter(value: Any, subject: str) -> float:
    try:
        seconds = in_seconds(value, what=f"{subject}: jitter")
    except (TypeError, ValueError) as error:
        raise ScheduleError(str(error), field="jitter") from None
    if seconds > LONGEST_DURATION:
        raise ScheduleError(f"{subject}: jitter must be at most 100 years.", field="jitter")
    return seconds


def _check_choice(value: Any, choices: tuple[str, ...], subject: str, of: str) -> None:
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ScheduleError(f"{subject}: {of} must be one of {known}, not {value!r}.", field=of)
