"""What is checked and looked up before the first row of an execution is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from durable_otp.durations import in_utc
from durable_otp.errors import WorkflowNotFound
from durable_otp.storage import definitions, executions
from durable_otp.storage.executions import NewExecution, Start
from durable_otp.storage.identity import new_ids
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.queue import check_queue
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.json_form import encode, in_text
from durable_otp.workflow.registry import Registry

LONGEST_IDEMPOTENCY_KEY = 400
_PRIORITIES = range(-(2**31), 2**31)


@dataclass(frozen=True)
class StartOptions:
    """What a caller may choose for executions; None leaves it to the workflow.

    Raises:
        ConfigError: The queue's name is not one.
        ValueError: The priority or the instant is none.
    """

    queue: str | None = None
    priority: int | None = None
    scheduled_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.queue is not None:
            check_queue(self.queue)
        if self.priority is not None and not _is_priority(self.priority):
            raise ValueError(
                f"priority must be a whole number that fits in 32 bits, not {self.priority!r}."
            )
        if self.scheduled_at is not None:
            in_utc(self.scheduled_at, what="scheduled_at")


@dataclass(frozen=True)
class Startable:
    """What has to be known of a published workflow to start it."""

    name: str
    version: str
    queue: str
    priority: int
    timeout: float | None


class StartableWorkflows:
    """The workflows that one client can start: those it was handed, and all published ones."""

    def __init__(self, database: PooledDatabase, *, max_payload: int) -> None:
        self._database = database
        self._max_payload = max_payload
        self._handed = Registry()
        self._published: set[tuple[str, str]] = set()

    def prepare(
        self,
        workflow: Workflow | str,
        inputs: Iterable[Any],
        keys: Sequence[str | None] | None,
        options: StartOptions,
    ) -> tuple[Start, list[NewExecution]]:
        """Return what storage needs; every input is checked by then.

        Raises:
            InvalidInput: An input does not fit the workflow's type.
            SerializationError: An input has no JSON form.
            WorkflowNotFound: No workflow of this name is published.
            ValueError: The keys are not one for each input.
        """
        values = list(inputs)
        checked_keys = _checked_keys(keys, len(values))
        how, definition = self._target(workflow, options)
        texts = self._texts(definition, values)
        new = list(map(NewExecution, texts, checked_keys, new_ids(len(values))))
        return how, new

    def start_published(self, name: str, value: Any, options: StartOptions) -> str | None:
        """Start by name alone, in one round trip; return the id, None if it has to be prepared.

        A workflow that this client was handed has to be: its type checks the input.
        """
        if not name.isprintable() or any(known == name for known, _ in self._handed.known()):
            return None
        (text,) = self._texts(None, [value])
        new = NewExecution(text)
        how = vars(options)
        is_started = self._database.run(executions.start_published, name, new, **how)
        return new.id if is_started else None

    def forget_published(self) -> None:
        """Publish everything again when it is next started: the tables are others now."""
        self._published.clear()

    def _target(
        self, workflow: Workflow | str, options: StartOptions
    ) -> tuple[Start, Definition | None]:
        if isinstance(workflow, Workflow):
            definition = self._handed.register(workflow)
            self._publish(definition)
            return _start(definition, options), definition
        if not isinstance(workflow, str):
            raise TypeError(f"workflow must be a Workflow or the name of one, not {workflow!r}.")
        description = None
        if workflow.isprintable():  # no other name can have been published
            description = self._database.run(definitions.published, workflow)
        if description is None:
            raise WorkflowNotFound(
                f"No workflow {workflow!r} is published in this schema; start it once as a "
                "Workflow object, or start a node that knows it."
            )
        key = (description["name"], description["version"])
        known = self._handed.get(*key) if key in self._handed.known() else None
        return _start(_startable(description), options), known

    def _publish(self, definition: Definition) -> None:
        key = (definition.name, definition.version)
        if key not in self._published:
            family = [definition, definition.on_failure]
            published = [_published(each) for each in family if each is not None]
            self._database.run(definitions.publish, published)
            self._published.add(key)

    def _texts(self, definition: Definition | None, values: list[Any]) -> list[str | None]:
        """Return the JSON texts of inputs; None for no input."""
        most = self._max_payload
        if definition is None or definition.input is None:
            return [
                None if value is None else in_text(value, what="input", max_bytes=most).decode()
                for value in values
            ]
        forms = [definition.validate_input(value, max_bytes=most)[1] for value in values]
        return [None if form is None else encode(form).decode() for form in forms]


def _startable(description: dict[str, Any]) -> Startable:
    return Startable(**{each.name: description[each.name] for each in fields(Startable)})


def _published(definition: Definition) -> definitions.PublishedDefinition:
    return definitions.PublishedDefinition(
        workflow=definition.name,
        version=definition.version,
        fingerprint=definition.fingerprint(),
        description=definition.description(),
    )


def _start(workflow: Definition | Startable, options: StartOptions) -> Start:
    return Start(
        workflow=workflow.name,
        version=workflow.version,
        queue=workflow.queue if options.queue is None else options.queue,
        priority=workflow.priority if options.priority is None else options.priority,
        scheduled_at=options.scheduled_at,
        timeout=workflow.timeout,
    )


def _checked_keys(keys: Sequence[str | None] | None, count: int) -> Sequence[str | None]:
    if keys is None:
        return [None] * count
    if isinstance(keys, str) or len(keys) != count:
        raise ValueError(f"idempotency_keys must be one for each of the {count} inputs.")
    for key in keys:
        if key is not None and not _is_key(key):
            raise ValueError(
                f"An idempotency key must be a text of 1 to {LONGEST_IDEMPOTENCY_KEY} printable "
                f"characters, not {key!r}."
            )
    return keys


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and 0 < len(key) <= LONGEST_IDEMPOTENCY_KEY and key.isprintable()


def _is_priority(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _PRIORITIES
