"""The workflows this process knows, by name and version."""

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from durable_otp.errors import (
    ConfigError,
    DefinitionError,
    DurableError,
    WorkflowNotFound,
    text_of,
)
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.definition import Definition


class Registry:
    """Definitions by name and version; the last registered version of a name is its newest."""

    def __init__(self) -> None:
        self._definitions: dict[tuple[str, str], Definition] = {}
        self._newest: dict[str, str] = {}
        self._scheduled: dict[str, str] = {}

    def register(self, workflow: Workflow) -> Definition:
        """Add a workflow, whose definition is final from now on, and return that.

        Raises:
            DefinitionError: It is wrong, or another one has its name and version.
        """
        definition = workflow.definition()
        if definition.on_failure is not None:
            self._add(definition.on_failure)
        return self._add(definition)

    def _add(self, definition: Definition) -> Definition:
        key = (definition.name, definition.version)
        known = self._definitions.get(key)
        if known is None:
            known = self._definitions[key] = definition
        elif known is not definition and not known.same_as(definition):
            raise DefinitionError(
                f"Workflow {definition.name!r} version {definition.version!r} is defined twice "
                "and differently; give one of them another name or version."
            )
        self._check_schedules(definition)
        self._newest[definition.name] = definition.version
        return known

    def _check_schedules(self, definition: Definition) -> None:
        for schedule in definition.schedules:
            owner = self._scheduled.setdefault(schedule.name, definition.name)
            if owner != definition.name:
                raise DefinitionError(
                    f"Schedule {schedule.name!r} is declared by workflows {owner!r} and "
                    f"{definition.name!r}; give one of them another name."
                )

    def load(self, items: Iterable[str | Workflow]) -> None:
        """Register workflows, and those of modules named ``"pkg.mod"`` or ``"pkg.mod:attribute"``.

        Raises:
            ConfigError: A module cannot be imported, or holds no such workflow.
            DefinitionError: A workflow is wrong.
        """
        for item in items:
            if isinstance(item, Workflow):
                self.register(item)
            elif isinstance(item, str):
                for workflow in _workflows_of(item):
                    self.register(workflow)
            else:
                raise ConfigError(
                    f"workflows takes module names and Workflow objects, not {item!r}."
                )

    def known(self) -> list[tuple[str, str]]:
        """Return the (name, version) pairs, in order of registration."""
        return list(self._definitions)

    def get(self, name: str, version: str | None = None) -> Definition:
        """Return a definition; the version registered last when none is given.

        Raises:
            WorkflowNotFound: There is none.
        """
        definition = self._definitions.get((name, version or self._newest.get(name, "")))
        if definition is None:
            wanted = f"{name!r}" if version is None else f"{name!r} version {version!r}"
            raise WorkflowNotFound(
                f"Workflow {wanted} is not known here; add its module to workflows."
            )
        return definition


def _workflows_of(item: str) -> list[Workflow]:
    """Return a module's workflows in order of definition, or the one that an attribute names."""
    module_name, _, attribute = item.partition(":")
    module = _imported(module_name, item)
    if attribute:
        return [_attribute(module, attribute, item)]
    workflows = [value for value in vars(module).values() if isinstance(value, Workflow)]
    if not workflows:
        raise ConfigError(f"Module {item!r} in workflows has no Workflow at its top level.")
    return workflows


def _imported(module_name: str, item: str) -> ModuleType:
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f'{item!r} in workflows must be "package.module" or "module:attribute".')
    try:
        return importlib.import_module(module_name)
    except DurableError:
        raise  # its sentence names the workflow and the reason already
    except (Exception, SystemExit) as error:
        reason = " ".join(text_of(error).split()).rstrip(".") or "no message"
        raise ConfigError(
            f"Module {module_name!r} in workflows cannot be imported: "
            f"{type(error).__name__}: {reason}."
        ) from error


def _attribute(module: ModuleType, attribute: str, item: str) -> Workflow:
    value: Any = module
    for part in attribute.split("."):
        value = getattr(value, part, None)
    if not isinstance(value, Workflow):
        raise ConfigError(
            f"{item!r} in workflows names no Workflow: the module has "
            f"{'no such attribute' if value is None else f'a {type(value).__name__} there'}."
        )
    return value
