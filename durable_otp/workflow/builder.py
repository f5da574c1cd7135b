"""How a workflow is written down: an object that decorators add nodes to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from durable_otp.errors import DefinitionError
from durable_otp.workflow.branching import BranchBlock
from durable_otp.workflow.compensations import Handlers
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.failure_hook import hook_name
from durable_otp.workflow.fanning_out import FanningOut
from durable_otp.workflow.input_type import check_type, validate
from durable_otp.workflow.json_form import MAX_BYTES
from durable_otp.workflow.options import (
    check_count,
    check_name,
    check_node_name,
    check_priority,
    check_queue,
    check_retry,
    check_timeout,
)
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.schedule import CatchUp, Overlap, ScheduleSettings
from durable_otp.workflow.sequence import OpenSequences, Sequence
from durable_otp.workflow.stepping import Stepping

Function = TypeVar("Function", bound=Callable[..., Any])


class Workflow(Stepping, FanningOut):
    """A named and versioned sequence of steps, written with decorators.

    It may grow until it is registered or first started; what is wrong with it is said as early as
    it can be known, by a ``DefinitionError``.
    """

    def __init__(  # noqa: PLR0913 - the contract's options, all but the name by keyword
        self,
        name: str,
        *,
        version: str = "1",
        queue: str = "default",
        priority: int = 0,
        timeout: timedelta | float | None = None,
        retry: Retry | None = None,
        max_crashes: int = 3,
        max_jumps: int | None = 1000,
        input: Any = None,  # noqa: A002 - the contract's name
    ) -> None:
        self.name = check_name(name, "A workflow's name")
        subject = self._subject = f"Workflow {name!r}"
        self.version = check_name(version, f"{subject}: version")
        self.queue = check_queue(queue, subject)
        self.priority = check_priority(priority, subject)
        self.timeout = check_timeout(timeout, subject)
        self.retry = check_retry(retry, subject)
        self.max_crashes = check_count(max_crashes, f"{subject}: max_crashes", least=1)
        self.max_jumps = (
            None if max_jumps is None else check_count(max_jumps, f"{subject}: max_jumps", least=0)
        )
        check_type(input, subject)
        self.input = input
        self._open = OpenSequences(f"workflow {name!r}")
        self._hook: Workflow | None = None
        self._schedules: dict[str, ScheduleSettings] = {}
        self._handlers = Handlers(subject, self.retry)
        self._definition: Definition | None = None

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, version={self.version!r})"

    @contextmanager
    def branch(self, on: Callable[..., Any], name: str | None = None) -> Iterator[BranchBlock]:
        """Choose by ``on(ctx)`` between sequences of steps.

        The block inside opens them: ``with block.case("a", "b"):`` and ``with block.default():``.
        Values are compared as JSON; without a match and a default, the block is skipped.

        Raises:
            DefinitionError: The block is empty or cannot be run as written.
        """
        self._check_open("A branch")
        outer = self._open.innermost
        block_name = outer.block_name("branch") if name is None else name
        check_node_name(block_name, f"{self._subject}: the name of a branch")
        block = BranchBlock(block_name, outer.prefix, on, self._open)
        subject = f"branch {outer.prefix + block_name!r}"
        with self._open.inside(Sequence(subject, takes_steps=False)):
            yield block
        outer.add(block_name, lambda _: block.finished())

    def on_failure(
        self,
        function: Function | None = None,
        /,
        *,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        queue: str | None = None,
    ) -> Any:
        """Have a function run after an execution has failed, whoever found that out.

        It is the one step of a workflow of its own, ``<name>.on_failure``, whose input and context
        have ``execution_id``, ``workflow``, ``version``, ``status``, ``error`` and ``input`` of the
        failed execution. A cancelled execution has not failed.

        Args:
            function: ``f(ctx)`` or ``f()``, sync or async; it is returned unchanged.
            retry: Its retry policy; the workflow's by default.
            timeout: How long one run of it may take.
            queue: Where it runs; the workflow's queue by default.

        Raises:
            DefinitionError: There is one already, or it cannot be run as written.
        """
        subject = f"{self._subject}: on_failure"
        self._check_open(subject)

        def add(decorated: Function) -> Function:
            if self._hook is not None:
                raise DefinitionError(f"{subject} is given twice; call both from one function.")
            hook = Workflow(
                hook_name(self.name),
                version=self.version,
                queue=self.queue if queue is None else queue,
                priority=self.priority,
                retry=retry or self.retry,
            )
            hook.step(timeout=timeout)(decorated)
            self._hook = hook
            return decorated

        return add if function is None else add(function)

    def schedule(  # noqa: PLR0913 - the contract's options, all but the first by keyword
        self,
        cron: str,
        *,
        name: str | None = None,
        timezone: str = "UTC",
        input: Any = None,  # noqa: A002 - the contract's name
        queue: str | None = None,
        enabled: bool = True,
        catch_up: CatchUp = "one",
        overlap: Overlap = "allow",
        jitter: timedelta | float = 0,
    ) -> None:
        """Have it started by the clock; every node that knows the workflow publishes this.

        Args:
            cron: Minute, hour, day of month, month, day of week.
            name: The schedule's name; the workflow's by default.
            timezone: The zone of the cron expression.
            input: Every run's input.
            queue: Another queue than the workflow's.
            enabled: Whether it begins enabled; what operators set later is kept.
            catch_up: Which of the missed slots run: ``"skip"`` none, the latest one, or all.
            overlap: What a slot does while an earlier run has not ended.
            jitter: The most that a run starts after its slot.

        Raises:
            DefinitionError: Another of its schedules has the name, or it comes too late.
            InvalidInput: The input does not fit the workflow's type.
            ScheduleError: Another option is wrong; the message names it.
        """
        what = f"{self._subject}: schedule {name or self.name!r}"
        self._check_open(what)
        check_type(self.input, self._subject, complete=True)
        _, form = validate(self.input, input, workflow=self.name)
        settings = ScheduleSettings(
            name=self.name if name is None else name,
            workflow=self.name,
            cron=cron,
            timezone=timezone,
            input=form,
            queue=queue,
            enabled=enabled,
            catch_up=catch_up,
            overlap=overlap,
            jitter=jitter,
        )
        if settings.name in self._schedules:
            raise DefinitionError(f"{what} is there already; give one of them another name.")
        self._schedules[settings.name] = settings

    def definition(self) -> Definition:
        """Return the workflow as it will be run, always the same object; it cannot grow any more.

        Raises:
            DefinitionError: It has no steps.
        """
        if self._definition is None:
            nodes = tuple(self._open.outermost.nodes)
            if not nodes:
                raise DefinitionError(f"{self._subject} has no steps; add one with @workflow.step.")
            check_type(self.input, self._subject, complete=True)
            definition = Definition(
                name=self.name,
                version=self.version,
                queue=self.queue,
                priority=self.priority,
                timeout=self.timeout,
                retry=self.retry,
                max_crashes=self.max_crashes,
                max_jumps=self.max_jumps,
                input=self.input,
                nodes=nodes,
                on_failure=None if self._hook is None else self._hook.definition(),
                schedules=tuple(self._schedules.values()),
            )
            _check_targets(definition, self._subject)
            handlers = self._handlers.finished(definition.every_node())
            self._definition = replace(definition, compensations=handlers)
        return self._definition

    def validate_input(self, value: Any, *, max_bytes: int = MAX_BYTES) -> tuple[Any, Any]:
        """Return an input as its type and in its JSON form.

        Raises:
            InvalidInput: It does not fit the workflow's ``input`` type.
            SerializationError: It has no JSON form, or more than ``max_bytes`` of it.
        """
        return self.definition().validate_input(value, max_bytes=max_bytes)

    def _check_open(self, subject: str) -> None:
        if self._definition is not None:
            raise DefinitionError(
                f"{subject} comes too late: the workflow has been registered or started."
            )


def _check_targets(definition: Definition, subject: str) -> None:
    for node in definition.every_node():
        for target in getattr(node, "targets", None) or ():
            if definition.destination(node.path, target) is None:
                raise DefinitionError(
                    f"{subject}: decision {node.path!r} names the target {target!r}, which is no "
                    "node of its sequence or of one around it."
                )
