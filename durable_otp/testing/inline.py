"""Running a workflow to its end inside a test."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from durable_otp.testing.world import LIMITS, Given, World
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.execution import Execution
from durable_otp.workflow.json_form import canonical
from durable_otp.workflow.wait import check_wait_name


def run_inline(
    workflow: Workflow,
    input: Any = None,  # noqa: A002 - the contract's name
    *,
    events: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    until: Callable[[Execution], bool] | None = None,
    connection: Any = None,
) -> Execution:
    """Run an execution in memory until it ends or nothing can wake it; return it with its steps.

    Its code runs in this thread and blocks; sleeps, back-offs and timeouts are skipped. What is
    printed and logged is kept with the steps; their timeouts are not enforced.

    Args:
        workflow: A ``Workflow``.
        input: Anything with a JSON form that fits the workflow's ``input`` type.
        events: A payload for each name, or a list of payloads: sent in this order before it begins.
            An event that the execution does not wait for is for those of its children that do.
        inputs: An answer for each name, given whenever an input of this name is asked for.
        until: Asked before each step, with the execution as it is then; a true answer ends the run,
            and the step that would have come is ``current_step``.
        connection: An open psycopg connection for steps with a transaction, which run in
            transactions of it.

    Raises:
        InputRejected: An answer does not fit what was asked for.
        DefinitionError: The workflow is wrong.
        InvalidInput: The input does not fit the workflow's type.
        SerializationError: The input, a payload or an answer has no JSON form.
        TypeError: An argument is of the wrong type.
        ValueError: A name is not 1 to 200 printable characters.
    """
    if until is not None and not callable(until):
        raise TypeError(f"until must be a function of an execution, not {until!r}.")
    given = Given(events=tuple(_events(events or {})), inputs=_inputs(inputs or {}))
    world = World(workflow, input, given, until, connection)
    world.run_to_the_end()
    return world.execution


def _events(events: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, given in _named(events, "events").items():
        for payload in given if isinstance(given, list) else [given]:
            yield name, canonical(payload, what=f"events[{name!r}]", max_bytes=LIMITS.max_payload)


def _inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: canonical(answer, what=f"inputs[{name!r}]", max_bytes=LIMITS.max_payload)
        for name, answer in _named(inputs, "inputs").items()
    }


def _named(values: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{what} must be a mapping of names to values, not {values!r:.80}.")
    for name in values:
        check_wait_name(name, f"Each name in {what}")
    return values
