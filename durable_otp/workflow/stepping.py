"""How steps, decisions and handlers are written: what `builder.Workflow` brings for them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from durable_otp.workflow.compensations import CompensationOptions, Handlers, check_compensate
from durable_otp.workflow.nodes import Step
from durable_otp.workflow.options import (
    check_name,
    check_node_name,
    check_queue,
    check_retry,
    check_timeout,
)
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.sequence import OpenSequences
from durable_otp.workflow.step_function import (
    check_transaction,
    is_async,
    name_of,
    takes_context,
)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class StepOptions:
    """What a decorator was given for a step."""

    kind: Literal["step", "decision"]
    name: str | None
    retry: Retry | None
    timeout: timedelta | float | None
    queue: str | None
    returns: str | None
    progress_deadline: timedelta | float | None
    compensate: str | None
    targets: tuple[str, ...] | None = None
    transaction: bool = False

    def checked_queue(self, subject: str) -> str | None:
        """Return the queue, if one is given."""
        return None if self.queue is None else check_queue(self.queue, subject)

    def checked_returns(self, subject: str) -> str | None:
        """Return the context key for the value, if one is given."""
        return None if self.returns is None else check_name(self.returns, f"{subject}: returns")


class Stepping:
    """The part of a workflow under construction that takes steps, decisions and handlers."""

    name: str
    retry: Retry | None
    _subject: str
    _open: OpenSequences
    _handlers: Handlers

    @overload
    def step(self, function: Function, /) -> Function: ...

    @overload
    def step(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        queue: str | None = None,
        returns: str | None = None,
        progress_deadline: timedelta | float | None = None,
        compensate: str | None = None,
    ) -> Callable[[Function], Function]: ...

    def step(  # noqa: PLR0913 - the contract's options, all by keyword
        self,
        function: Function | None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        queue: str | None = None,
        returns: str | None = None,
        progress_deadline: timedelta | float | None = None,
        compensate: str | None = None,
        transaction: bool = False,
    ) -> Function | Callable[[Function], Function]:
        """Add a function as the next step: ``@workflow.step`` or ``@workflow.step(...)``.

        Args:
            function: ``f(ctx)`` or ``f()``, sync or async; it is returned unchanged.
            name: The step's name; the function's by default.
            retry: Its retry policy; the workflow's by default.
            timeout: How long one run of the body may take, waiting excluded.
            queue: The queue whose workers run it; by default the one it was started on.
            returns: The context key that its value is kept under.
            progress_deadline: How long its body may go without calling ``progress()``.
            compensate: The name of the handler that undoes it when the workflow fails later.
            transaction: Call it as ``f(ctx, connection)`` with a psycopg connection in the very
                transaction that commits the step: what it writes there is written exactly once.
                Such a step is not async, and may not wait, call workflows or use ``once``.

        Raises:
            DefinitionError: The step cannot be run as written.
        """
        options = StepOptions(
            "step",
            name,
            retry,
            timeout,
            queue,
            returns,
            progress_deadline,
            compensate,
            transaction=transaction,
        )

        def add(decorated: Function) -> Function:
            self._add_step(decorated, options)
            return decorated

        return add if function is None else add(function)

    @overload
    def decision(self, function: Function, /) -> Function: ...

    @overload
    def decision(
        self,
        function: None = None,
        /,
        *,
        targets: Iterable[str] | None = None,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        queue: str | None = None,
        returns: str | None = None,
        progress_deadline: timedelta | float | None = None,
        compensate: str | None = None,
    ) -> Callable[[Function], Function]: ...

    def decision(  # noqa: PLR0913 - a step's options and its targets, all by keyword
        self,
        function: Function | None = None,
        /,
        *,
        targets: Iterable[str] | None = None,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        queue: str | None = None,
        returns: str | None = None,
        progress_deadline: timedelta | float | None = None,
        compensate: str | None = None,
    ) -> Function | Callable[[Function], Function]:
        """Add a step that may return ``goto(name)`` to go on somewhere else, or None to go on.

        Args:
            function: ``f(ctx)`` or ``f()``, sync or async; it is returned unchanged.
            targets: The nodes it may jump to, for those who look at the workflow; each must exist.
            name: The step's name; the function's by default.
            retry: Its retry policy; the workflow's by default.
            timeout: How long one run of the body may take, waiting excluded.
            queue: The queue it asks to run on; the execution's by default.
            returns: The context key that its value is kept under.
            progress_deadline: How long its body may go without calling ``progress()``.
            compensate: The name of the handler that undoes it when the workflow fails later.

        Raises:
            DefinitionError: The step cannot be run as written.
        """
        allowed = None if targets is None else _target_names(targets, self._subject)
        options = StepOptions(
            "decision",
            name,
            retry,
            timeout,
            queue,
            returns,
            progress_deadline,
            compensate,
            targets=allowed,
        )

        def add(decorated: Function) -> Function:
            self._add_step(decorated, options)
            return decorated

        return add if function is None else add(function)

    @overload
    def compensate(self, function: Function, /) -> Function: ...

    @overload
    def compensate(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
    ) -> Callable[[Function], Function]: ...

    def compensate(
        self,
        function: Function | None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
    ) -> Function | Callable[[Function], Function]:
        """Add a function that undoes a step which names it: ``@workflow.compensate``.

        Args:
            function: ``f(ctx)`` or ``f()``, sync or async; it may not wait. Returned unchanged.
            name: What steps name it by; the function's name by default.
            retry: Its retry policy; the workflow's by default.
            timeout: How long one run of the body may take.

        Raises:
            DefinitionError: It cannot be run as written, or its name is taken.
        """
        options = CompensationOptions(name, retry, timeout)

        def add(decorated: Function) -> Function:
            self._check_open("A compensation")
            self._handlers.add(decorated, options)
            return decorated

        return add if function is None else add(function)

    def _add_step(self, function: Callable[..., Any], options: StepOptions) -> None:
        name = options.name
        step_name = name_of(function, self._subject) if name is None else name
        subject = f"Step {step_name!r} of workflow {self.name!r}"
        check_node_name(step_name, f"{subject}: name")
        self._check_open(subject)
        step = Step(
            name=step_name,
            function=function,
            path="",
            retry=check_retry(options.retry, subject) or self.retry or Retry(),
            timeout=check_timeout(options.timeout, subject),
            queue=options.checked_queue(subject),
            returns=options.checked_returns(subject),
            takes_context=options.transaction or takes_context(function, subject),
            is_async=is_async(function),
            kind=options.kind,
            targets=options.targets,
            progress_deadline=check_timeout(
                options.progress_deadline, subject, option="progress_deadline"
            ),
            compensate=check_compensate(options.compensate, subject),
            transaction=check_transaction(options.transaction, function, subject),
        )
        self._open.innermost.add(step_name, lambda path: replace(step, path=path))

    def _check_open(self, subject: str) -> None:
        raise NotImplementedError


def _target_names(targets: Iterable[str], subject: str) -> tuple[str, ...]:
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    for name in names:
        check_name(name, f"{subject}: a decision's target")
    return names
