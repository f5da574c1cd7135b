"""The client's calls about schedules."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from durable_otp.client.handle import Client, Handle
from durable_otp.client.starting import StartableWorkflows, StartOptions
from durable_otp.errors import ScheduleError
from durable_otp.storage import schedules
from durable_otp.storage.operation import Wish
from durable_otp.storage.payloads import Unreadable, refuse_unreadable
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.slots import backfill
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.json_form import decode
from durable_otp.workflow.schedule import CatchUp, Overlap, Schedule, ScheduleSettings

_TO_WORKFLOW = ("workflow", "input", "queue")


class _Connected(Client, Protocol):
    """What these calls need of the client that has them."""

    _database: PooledDatabase
    _workflows: StartableWorkflows


class ScheduleCalls:
    """Create, change, look at and trigger schedules."""

    def create_schedule(  # noqa: PLR0913 - the contract's options, by keyword
        self: _Connected,
        name: str,
        workflow: Workflow | str,
        cron: str,
        *,
        timezone: str = "UTC",
        input: Any = None,  # noqa: A002 - the contract's name
        queue: str | None = None,
        enabled: bool = True,
        catch_up: CatchUp = "one",
        overlap: Overlap = "allow",
        jitter: timedelta | float = 0,
    ) -> Schedule:
        """Have a workflow started by the clock.

        Args:
            name: The schedule's name.
            workflow: A ``Workflow``, or the name of one that is published; each run starts the
                version published last.
            cron: Minute, hour, day of month, month, day of week.
            timezone: The zone of the cron expression.
            input: Every run's input.
            queue: Another queue than the workflow's.
            enabled: Whether it begins enabled.
            catch_up: Which of the missed slots run: ``"skip"`` none, the latest one, or all.
            overlap: What a slot does while an earlier run has not ended: ``"allow"`` starts
                another, ``"skip"`` leaves the slot out, ``"cancel_previous"`` cancels that run.
            jitter: The most that a run starts after its slot; always the same for a slot.

        Raises:
            ConfigError: The queue's name is not one.
            InvalidInput: The input does not fit the workflow's type.
            ScheduleError: Another option is wrong; the message names it.
            ScheduleExists: There is a schedule of this name.
            SerializationError: The input has no JSON form.
            WorkflowNotFound: No workflow of this name is published.
        """
        settings = ScheduleSettings(
            name=name,
            workflow=workflow.name if isinstance(workflow, Workflow) else workflow,
            cron=cron,
            timezone=timezone,
            enabled=enabled,
            catch_up=catch_up,
            overlap=overlap,
            jitter=jitter,
        )
        target = _checked_target(self, workflow, input, queue)
        return self._database.run(schedules.create, replace(settings, **target), Wish())

    def update_schedule(self: _Connected, /, name: str, **changes: Any) -> Schedule:
        """Change what ``create_schedule`` was given, all but the name, by keyword.

        Raises:
            ScheduleError: A change is wrong, or of something that cannot be changed.
            ScheduleNotFound: There is no schedule of this name.
            ConfigError, InvalidInput, SerializationError, WorkflowNotFound: As for
                ``create_schedule``.
        """
        _check_changes(name, changes)
        if any(key in changes for key in _TO_WORKFLOW):
            schedule = self._database.run(schedules.get, name)
            whole = {key: changes.get(key, getattr(schedule, key)) for key in _TO_WORKFLOW}
            if "input" not in changes and isinstance(schedule.input, Unreadable):
                whole["input"] = None  # it was checked when it was given
            target = _checked_target(self, **whole)
            changes |= {key: value for key, value in target.items() if key in changes}
        return self._database.run(schedules.update, name, changes)

    def delete_schedule(self: _Connected, name: str) -> None:
        """Delete a schedule; its runs go on. Raises ``ScheduleNotFound``."""
        self._database.run(schedules.delete, name, Wish())

    def get_schedule(self: _Connected, name: str) -> Schedule:
        """Return a schedule; raise ``ScheduleNotFound`` when there is none of this name."""
        return self._database.run(schedules.get, name)

    def list_schedules(self: _Connected) -> list[Schedule]:
        """Return all schedules, in order of name."""
        return self._database.run(schedules.every)

    def enable_schedule(self: _Connected, name: str) -> Schedule:
        """Enable a schedule and forget its failures; if it was disabled, it begins from now.

        Raises:
            ScheduleNotFound: There is no schedule of this name.
        """
        return self._database.run(schedules.enable, name)

    def disable_schedule(self: _Connected, name: str) -> Schedule:
        """Let no slot of a schedule run; what runs goes on. Raises ``ScheduleNotFound``."""
        return self._database.run(schedules.disable, name)

    def trigger_schedule(
        self: _Connected,
        name: str,
        input: Any = None,  # noqa: A002 - the contract's name
    ) -> Handle:
        """Start a run of a schedule now, enabled or not; its next slot stays what it was.

        Args:
            name: The schedule's name.
            input: Another input than the schedule's.

        Raises:
            InvalidInput, SerializationError: The input is refused.
            ScheduleNotFound: There is no schedule of this name.
            WorkflowNotFound: No workflow of its name is published any more.
        """
        schedule = self._database.run(schedules.get, name)
        value = schedule.input if input is None else input
        refuse_unreadable(value, f"The input of schedule {name!r}")
        options = StartOptions(schedule.queue)
        how, (new,) = self._workflows.prepare(schedule.workflow, [value], None, options)
        return Handle(self._database.run(schedules.trigger, name, how, new), self)

    def backfill_schedule(
        self: _Connected, name: str, since: datetime, until: datetime
    ) -> list[Handle]:
        """Start the runs of a schedule's slots in the past that have had none, all at once.

        Args:
            name: The schedule's name; enabled or not.
            since: The slots from this instant on.
            until: And before this one, which has passed.

        Raises:
            ScheduleNotFound: There is no schedule of this name.
            ValueError: An instant has no time zone, ``until`` has not come yet, or there are more
                than 10,000 slots between them.
            WorkflowNotFound: No workflow of its name is published any more.
        """
        for what, instant in (("since", since), ("until", until)):
            if not isinstance(instant, datetime) or instant.utcoffset() is None:
                raise ValueError(f"{what} must be a datetime with a time zone, not {instant!r}.")
        return [Handle(id_, self) for id_ in self._database.run(backfill, name, since, until)]


def _checked_target(
    client: _Connected,
    workflow: Workflow | str,
    input: Any,  # noqa: A002 - the contract's name
    queue: str | None,
) -> dict[str, Any]:
    """Return what is started, as it is kept; checked as ``start`` would."""
    how, (new,) = client._workflows.prepare(workflow, [input], None, StartOptions(queue))  # noqa: SLF001 - a part of it
    form = None if new.input is None else decode(new.input)
    return {"workflow": how.workflow, "input": form, "queue": queue}


def _check_changes(name: str, changes: dict[str, Any]) -> None:
    for key in changes:
        if key not in schedules.CHANGEABLE:
            raise ScheduleError(
                f"Schedule {name!r}: {key} cannot be changed; what can: "
                f"{', '.join(schedules.CHANGEABLE)}.",
                field=key,
            )
