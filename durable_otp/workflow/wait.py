"""The waits a step may call; each says what it waits for and lets the run decide.

An answered wait returns at once; any other raises ``Suspension``: the execution leaves its worker,
and the body runs again from its top when it wakes.
"""

from datetime import UTC, datetime, timedelta

from durable_otp.durations import in_seconds
from durable_otp.workflow.current import step_run
from durable_otp.workflow.options import LONGEST_DURATION
from durable_otp.workflow.suspension import Suspension, WaitRequest

__all__ = ["Suspension", "WaitRequest", "schedule_at", "sleep"]


def sleep(duration: timedelta | float) -> None:
    """Wait for a duration (a ``timedelta`` or seconds), outside any worker.

    Raises:
        TypeError: It is not a duration.
        ValueError: It is negative, not finite, or longer than 100 years.
        NotInStepError: No step is running.
    """
    seconds = in_seconds(duration, what="sleep's duration")
    if seconds > LONGEST_DURATION:
        raise ValueError(f"sleep's duration must be at most 100 years, not {duration!r}.")
    step_run("sleep()").wait(WaitRequest(kind="sleep", seconds=seconds))


def schedule_at(instant: datetime) -> None:
    """Wait until an instant, outside any worker; one that has passed is no wait.

    Raises:
        TypeError: It is not a datetime.
        ValueError: It is naive, or has no equivalent in UTC.
        NotInStepError: No step is running.
    """
    if not isinstance(instant, datetime):
        raise TypeError(f"schedule_at needs a datetime, not {instant!r}.")
    if instant.utcoffset() is None:
        raise ValueError(f"schedule_at needs an aware datetime, not {instant!r}; give it a tzinfo.")
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"schedule_at cannot express {instant!r} in UTC.") from None
    step_run("schedule_at()").wait(WaitRequest(kind="sleep", at=utc))
