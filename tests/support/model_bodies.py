"""The model's half of the bodies: what a script does to a context, on plain dicts.

`shape_workflow.perform` does the same to a real `Context`.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.support.shapes import Step, Wait, events_of_all

Values = dict[str, Any]


class Failed(Exception):  # noqa: N818 - an ending, not an error of ours
    """An attempt, a node or an execution failed, with an error of one of these types.

    ``children`` names the children of a block of which one has failed.
    """

    def __init__(
        self, *types: str, is_final: bool = False, children: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(*types)
        self.types = frozenset(types)
        self.is_final = is_final
        self.children = children


class World(Protocol):
    """What a body asks of the execution it runs in."""

    results: Values

    def event(self, name: str) -> str:
        """Return the payload of the next event of a name."""

    def call(self, name: str) -> Any:
        """Return the final context of a shape that is called; raise `Failed` if it fails."""

    def check_jump(self, target: str) -> str:
        """Return where a jump leads; raise `Failed` if it may not go there."""


@dataclass
class Visit:
    """A step that is reached: its attempts, and the answers that are kept over them."""

    step: Step
    world: World
    item: Any = None
    attempts: int = 0
    value: Any = None
    answers: dict[int, Any] = field(default_factory=dict)

    def attempt(self, context: Values) -> str | None:
        """Do to a context what one attempt does, and return where it jumps."""
        self.attempts += 1
        step, item = self.step, self.item
        for name, key, *arguments in step.effects:
            EFFECTS[name](context, self.world.results, key, *arguments)
        for place, wait in enumerate(step.waits):
            answer = self.answers[place] if place in self.answers else self._answer(wait, place)
            context.update({wait.key: deepcopy(answer)} if wait.key else {})
        if self.attempts <= (step.failing if item is None else item["failing"]):
            raise Failed(step.error, is_final=step.error == "Fatal")
        if step.jump is not None:
            return self._jump(context)
        self.value = plain(step.value) if item is None else item_value(step, item)
        context.update(kept(step, self.value))
        return None

    def _jump(self, context: Values) -> str | None:
        jump = self.step.jump
        assert jump is not None
        context[jump.counter] = context.get(jump.counter, 0) + 1
        if context[jump.counter] <= jump.times:
            return self.world.check_jump(jump.target)
        if jump.resets:
            context[jump.counter] = 0
        return None

    def _answer(self, wait: Wait, place: int) -> Any:
        """Return an answer; kept for the next attempt, but for a timeout and a failed child."""
        match wait.kind:
            case "event" | "any" | "all":
                return self.answers.setdefault(place, self._received(wait))
            case "child":
                return self._called(wait, place)
            case "raises_timeout" if wait.catches:
                return "timed out"
            case "raises_timeout":
                raise Failed("WaitTimeout")
            case "fails_execution":
                raise Failed("wait_timeout", is_final=True)
        return plain(wait.value)

    def _received(self, wait: Wait) -> Any:
        if wait.kind == "all":
            return {name: self.world.event(name) for name in events_of_all(wait)}
        payload = self.world.event(wait.name)
        return payload if wait.kind == "event" else [wait.name, payload]

    def _called(self, wait: Wait, place: int) -> Any:
        try:
            return self.answers.setdefault(place, self.world.call(wait.name))
        except ChildFailed as failure:
            if wait.catches:
                return [failure.status, *failure.types]
            raise Failed("ChildFailed") from None


class ChildFailed(Failed):
    """A shape that was called failed."""

    def __init__(self, status: str, *types: str) -> None:
        super().__init__(*types)
        self.status = status


def plain(value: Any) -> Any:
    """Return the JSON form of a scripted value."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set):
        return sorted(plain(item) for item in value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def kept(step: Step, value: Any) -> Values:
    """Return what a step's value makes of the context."""
    if value is None:
        return {}
    if step.returns is not None:
        return {step.returns: value}
    return dict(value) if isinstance(value, dict) else {step.name: value}


def item_value(step: Step, item: Any) -> Any:
    """Return what the body of an `Each` returns, whose value is the name of a form."""
    forms = {"item": [step.name, item["value"]], "mapping": {"of": item["value"]}}
    return forms.get(step.value)


def _grow(context: Values, _: Values, key: str, item: Any) -> None:
    if key in context:
        context[key] = [*context[key], plain(item)]


EFFECTS: dict[str, Callable[..., None]] = {
    "set": lambda c, _, key, value: c.update({key: plain(value)}),
    "append": lambda c, _, key, item: c.update({key: [*c.get(key, []), plain(item)]}),
    "increment": lambda c, _, key, by: c.update({key: c.get(key, 0) + by}),
    "merge": lambda c, _, key, mapping: c.update({key: {**c.get(key, {}), **plain(mapping)}}),
    "grow": _grow,
    "copy": lambda c, _, key, source: c.update({key: deepcopy(c.get(source))}),
    "delete": lambda c, _, key: c.pop(key, None),
    "size": lambda c, _, key: c.update({key: len(c)}),
    "results": lambda c, results, key: c.update({key: deepcopy(results)}),
}
