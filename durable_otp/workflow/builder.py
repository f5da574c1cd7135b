"""How a workflow is written down: an object that decorators add nodes to."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, overload

from durable_otp.errors import DefinitionError
from durable_otp.workflow.definition import Definition, Step
from durable_otp.workflow.input_type import check_type
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
from durable_otp.workflow.step_function import is_async, name_of, takes_context

Function = TypeVar("Function", bound=Callable[..., Any])


class Workflow:
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
        self._nodes: list[Step] = []
        self._definition: Definition | None = None

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, version={self.version!r})"

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
    ) -> Callable[[Function], Function]: ...

    def step(
        self,
        function: Function | None = None,
        /,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        queue: str | None = None,
        returns: str | None = None,
    ) -> Function | Callable[[Function], Function]:
        """Add a function as the next step: ``@workflow.step`` or ``@workflow.step(...)``.

        Args:
            function: ``f(ctx)`` or ``f()``, sync or async; it is returned unchanged.
            name: The step's name; the function's by default.
            retry: Its retry policy; the workflow's by default.
            timeout: How long one run of the body may take, waiting excluded.
            queue: The queue whose workers run it; by default the one it was started on.
            returns: The context key that its value is kept under.

        Raises:
            DefinitionError: The step cannot be run as written.
        """

        def add(decorated: Function) -> Function:
            step_name = name_of(decorated, self._subject) if name is None else name
            subject = f"Step {step_name!r} of workflow {self.name!r}"
            self._add(
                Step(
                    name=check_node_name(step_name, f"{subject}: name"),
                    function=decorated,
                    path=step_name,
                    retry=check_retry(retry, subject) or self.retry or Retry(),
                    timeout=check_timeout(timeout, subject),
                    queue=None if queue is None else check_queue(queue, subject),
                    returns=None if returns is None else check_name(returns, f"{subject}: returns"),
                    takes_context=takes_context(decorated, subject),
                    is_async=is_async(decorated),
                )
            )
            return decorated

        return add if function is None else add(function)

    def definition(self) -> Definition:
        """Return the workflow as it will be run, always the same object; it cannot grow any more.

        Raises:
            DefinitionError: It has no steps.
        """
        if self._definition is None:
            if not self._nodes:
                raise DefinitionError(f"{self._subject} has no steps; add one with @workflow.step.")
            check_type(self.input, self._subject, complete=True)
            self._definition = Definition(
                name=self.name,
                version=self.version,
                queue=self.queue,
                priority=self.priority,
                timeout=self.timeout,
                retry=self.retry,
                max_crashes=self.max_crashes,
                max_jumps=self.max_jumps,
                input=self.input,
                nodes=tuple(self._nodes),
            )
        return self._definition

    def validate_input(self, value: Any, *, max_bytes: int = MAX_BYTES) -> tuple[Any, Any]:
        """Return an input as its type and in its JSON form.

        Raises:
            InvalidInput: It does not fit the workflow's ``input`` type.
            SerializationError: It has no JSON form, or more than ``max_bytes`` of it.
        """
        return self.definition().validate_input(value, max_bytes=max_bytes)

    def _add(self, node: Step) -> None:
        subject = f"Step {node.name!r} of workflow {self.name!r}"
        if self._definition is not None:
            raise DefinitionError(
                f"{subject} comes too late: the workflow has been registered or started."
            )
        if any(node.name == other.name for other in self._nodes):
            raise DefinitionError(f"{subject} exists already; give one of the two another name.")
        self._nodes.append(node)
