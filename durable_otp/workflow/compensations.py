"""``@workflow.compensate``: the functions that undo what steps have done."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durable_otp.errors import DefinitionError
from durable_otp.workflow.nodes import Node
from durable_otp.workflow.options import check_name, check_node_name, check_retry, check_timeout
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.step_function import is_async, name_of, takes_context


@dataclass(frozen=True)
class Compensation:
    """An undo handler: a function, and what holds for each run of it.

    Attributes:
        name: What a step's ``compensate`` names.
        function: ``f(ctx)`` or ``f()``, sync or async.
        retry: Its own policy, or else the workflow's.
        timeout: Seconds that one run of the body may take; None for no limit.
    """

    name: str
    function: Callable[..., Any]
    retry: Retry
    timeout: float | None = None
    takes_context: bool = True
    is_async: bool = False

    def description(self) -> dict[str, Any]:
        """Return the handler's published form."""
        return {"name": self.name, "retry": self.retry.description(), "timeout": self.timeout}


@dataclass(frozen=True)
class CompensationOptions:
    """What the decorator was given."""

    name: str | None
    retry: Retry | None
    timeout: timedelta | float | None


class Handlers:
    """The undo handlers of a workflow that is being written."""

    def __init__(self, subject: str, retry: Retry | None) -> None:
        self._subject = subject
        self._retry = retry
        self._known: dict[str, Compensation] = {}

    def add(self, function: Callable[..., Any], options: CompensationOptions) -> None:
        """Add a handler; raise DefinitionError if it cannot be run, or its name is taken."""
        name = name_of(function, self._subject) if options.name is None else options.name
        subject = f"Compensation {name!r} of {self._subject[0].lower()}{self._subject[1:]}"
        check_node_name(name, f"{subject}: name")
        if name in self._known:
            raise DefinitionError(f"{subject} exists already; give one of the two another name.")
        self._known[name] = Compensation(
            name=name,
            function=function,
            retry=check_retry(options.retry, subject) or self._retry or Retry(),
            timeout=check_timeout(options.timeout, subject),
            takes_context=takes_context(function, subject),
            is_async=is_async(function),
        )

    def finished(self, nodes: Iterable[Node]) -> tuple[Compensation, ...]:
        """Return the handlers; raise DefinitionError if a node names one that does not exist."""
        for node in nodes:
            wanted = compensation_of(node)
            if wanted is not None and wanted not in self._known:
                raise DefinitionError(
                    f"{self._subject}: {node.kind} {node.path!r} names the compensation "
                    f"{wanted!r}, which does not exist; write one with @workflow.compensate."
                )
        return tuple(self._known.values())


def check_compensate(value: Any, subject: str) -> str | None:
    """Return the name that a step's ``compensate`` gives; whether it exists is known later."""
    return None if value is None else check_name(value, f"{subject}: compensate")


def compensation_of(node: Node) -> str | None:
    """Return the name of the handler that undoes a node, if it has one."""
    wanted: str | None = getattr(node, "compensate", None)
    return wanted
