"""Children that a step's body asks for: what is checked before anything is written."""

import threading
from typing import Any

from durable_otp.engine.family_journal import FamilyJournal
from durable_otp.engine.host import Host
from durable_otp.engine.journal import Attempt
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.child_call import ChildCall, ChildOptions
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.json_form import canonical, encode


class ChildCalls:
    """The children of one run of a step; implements `workflow.child_call.ChildMaker`."""

    def __init__(
        self, attempt: Attempt, family: FamilyJournal, host: Host, max_payload: int
    ) -> None:
        self._attempt = attempt
        self._family = family
        self._host = host
        self._max_payload = max_payload
        self._started = 0
        self._turn = threading.Lock()

    def prepared(self, workflow: Any, given: Any, options: ChildOptions) -> ChildCall:
        """Return a child that can be created: its workflow found, its input checked."""
        described, definition = self._found(workflow)
        if definition is None:
            form = canonical(given, what="input", max_bytes=self._max_payload)
        else:
            _, form = definition.validate_input(given, max_bytes=self._max_payload)
        return ChildCall(
            workflow=described["name"],
            version=described["version"],
            queue=described["queue"] if options.queue is None else options.queue,
            priority=described["priority"] if options.priority is None else options.priority,
            timeout=described["timeout"],
            input=None if form is None else encode(form).decode(),
            options=options,
        )

    def start(self, child: ChildCall) -> str:
        """Start an execution that nobody waits for, once however often the step runs; its id."""
        with self._turn:
            self._started += 1
            place = f"{self._attempt.visit}.{self._started} {self._attempt.path}"
        ref = child.options.ref
        key = f"start at {place}" if ref is None else f"start as {ref}"
        return self._family.start(child, key)

    def _found(self, workflow: Any) -> tuple[Any, Definition | None]:
        if isinstance(workflow, Workflow):
            definition = workflow.definition()
            return definition.description(), definition
        if isinstance(workflow, str):
            return self._host.find_workflow(workflow)
        raise TypeError(f"workflow must be a Workflow or the name of one, not {workflow!r}.")
