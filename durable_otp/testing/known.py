"""Which workflows can be called by name where nothing is registered or published."""

from durable_otp.errors import WorkflowNotFound
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.child_call import ChildCall
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.registry import Registry


class KnownWorkflows:
    """The workflow under test, those that were called, and those that their modules name."""

    def __init__(self, workflow: Workflow) -> None:
        self._registry = Registry()
        self._registry.register(workflow)

    def named(self, name: str) -> Definition:
        """Return the workflow of a name.

        Raises:
            WorkflowNotFound: There is none.
        """
        if name not in dict(self._registry.known()):
            self._look_around(name)
        try:
            return self._registry.get(name)
        except WorkflowNotFound:
            raise WorkflowNotFound(
                f"Workflow {name!r} is not known here; call it as a Workflow object, or define or "
                "import it in the module whose step calls it."
            ) from None

    def called(self, call: ChildCall) -> Definition:
        """Return the workflow of a call that has been prepared."""
        return call.definition or self._registry.get(call.workflow, call.version)

    def _look_around(self, name: str) -> None:
        for key in self._registry.known():
            for function in self._registry.get(*key).functions():
                for value in list(getattr(function, "__globals__", {}).values()):
                    if isinstance(value, Workflow) and value.name == name:
                        self._registry.register(value)
