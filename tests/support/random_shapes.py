"""Random shapes, one per seed: the same seed and kinds give the same shape, everywhere.

A drawn shape that goes on for too long, or whose ending depends on chance, is drawn again.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from tests.support.endings import AmbiguousError
from tests.support.model import TooLongError, expected
from tests.support.shapes import (
    FOR_EVER,
    KINDS,
    Branch,
    Clause,
    Each,
    Handler,
    Into,
    Jump,
    Node,
    Parallel,
    Shape,
    Step,
    Wait,
    label,
)

MOST_NODES = 30
DEEPEST = 3
NUMBERS, LISTS, VALUES = ("i1", "i2", "i3"), ("l1", "l2"), ("v1", "v2", "v3", "v4")
JSON: tuple[Any, ...] = (0, 1, 2, True, None, "a", "b", 1.5, [1], {"k": 1}, (1, "x"), {3, 1, 2})
CASES: tuple[Any, ...] = (0, 1, 2, True, None, "a", "b", 1.5, [1])


def random_shape(seed: int, kinds: Collection[str] = KINDS) -> Shape:
    """Return the shape of a seed, made of these kinds of node."""
    for draw in range(1000):
        shape = _Maker(random.Random(f"{seed} {draw}"), f"shape_{seed}", kinds).shape()
        try:
            expected(shape)
        except (TooLongError, AmbiguousError):
            continue
        return shape
    raise AssertionError(f"seed {seed} gives no shape")


@dataclass(frozen=True)
class _Place:
    """Where nodes are made: the names a jump may go to, and what may be done here."""

    prefix: str = ""
    targets: tuple[str, ...] = ()
    depth: int = 0
    is_sibling: bool = False
    """In a child of a block, to which nobody outside can send an event."""


class _Maker:
    def __init__(
        self,
        chance: random.Random,
        name: str,
        kinds: Collection[str],
        *,
        nodes: int = 0,
        is_called: bool = False,
    ) -> None:
        self.chance = chance
        self.name = name
        self.kinds = kinds
        self.is_called = is_called
        self.left = nodes or chance.randint(3, MOST_NODES)
        self.doom = chance.choice((0, 0, 0.05, 0.15))
        self.attempts = 2 if self.often(0.1) else 1
        self.count = 0
        self.input: dict[str, Any] = {}
        self.children: list[Shape] = []

    def shape(self) -> Shape:
        nodes: tuple[Node, ...] = ()
        names = [self.new("n") for _ in range(min(self.left, self.chance.randint(2, 14)))]
        nodes = self.sequence(names, _Place())
        given = self.chance.choice((None, [1], {"i1": 1, "v1": self.json()}))
        return Shape(
            name=self.name,
            nodes=nodes,
            input={**(given if isinstance(given, dict) else {}), **self.input} or given,
            children=tuple(self.children),
            max_jumps=self.chance.randint(0, 2) if self.often(0.06) else 1000,
            attempts=self.attempts,
        )

    # chance

    def often(self, probability: float) -> bool:
        return self.chance.random() < probability

    def may(self, kind: str, probability: float) -> bool:
        return self.often(probability) and kind in self.kinds

    def json(self) -> Any:
        return self.chance.choice(JSON)

    def new(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    # nodes

    def sequence(self, names: list[str], place: _Place) -> tuple[Node, ...]:
        self.left -= len(names)
        paths = tuple(place.prefix + name for name in names)
        inside = replace(place, targets=tuple(dict.fromkeys((*place.targets, *names, *paths))))
        return tuple(self.node(name, inside) for name in names)

    def node(self, name: str, place: _Place) -> Node:
        if self.left > 0 and place.depth < DEEPEST:
            if self.may("branch", 0.16):
                return self.branch(name, place)
            if self.may("parallel", 0.12):
                return self.parallel(name, place)
            if self.may("each", 0.12):
                return self.each(name, place)
        return self.step(name, place)

    def inner_names(self) -> list[str]:
        return [self.new("n") for _ in range(self.chance.randint(1, max(1, min(4, self.left))))]

    def branch(self, name: str, place: _Place) -> Branch:
        values = self.chance.sample(CASES, self.chance.randint(1, 4))
        cut = self.chance.randint(1, len(values))
        groups = [tuple(values[:cut]), tuple(values[cut:])]
        groups = [group for group in groups if group] + ([()] if self.often(0.6) else [])
        clauses = []
        for group in groups:
            prefix = f"{place.prefix}{name}/{label(Clause(group, ()))}/"
            inside = replace(place, prefix=prefix, depth=place.depth + 1)
            clauses.append(Clause(group, self.sequence(self.inner_names(), inside)))
        key = None if self.often(self.doom / 2) else self.chance.choice((*VALUES, *NUMBERS))
        return Branch(name, key, tuple(clauses))

    def parallel(self, name: str, place: _Place) -> Parallel:
        names = self.inner_names()
        self.left -= len(names)
        nodes = []
        for each in names:
            prefix = f"{place.prefix}{name}/"
            own = (each, prefix + each)
            nodes.append(self.node(each, _Place(prefix, own, place.depth + 1, is_sibling=True)))
        makes = ["mapping", "mapping", "value", "nothing"]
        into = Into("raises" if self.often(self.doom) else self.chance.choice(makes))
        return Parallel(
            name,
            tuple(nodes),
            on_error=self.chance.choice((None, None, "fail_fast", "complete_all")),
            into=into if self.often(0.6) else None,
            max_concurrency=self.chance.choice((None, None, 1, 2)),
        )

    def each(self, name: str, place: _Place) -> Each:
        inside = _Place(place.prefix, (), place.depth + 1, is_sibling=True)
        body = self.step(name, inside)
        body = replace(body, value=self.chance.choice(("item", "item", "mapping", None)))
        body = replace(
            body, returns=None, jump=None, is_async=False, queue=None, is_decision=False, failing=0
        )
        body = replace(body, handler=None)
        items = tuple(
            {"at": at, "value": self.json(), "failing": self.failing(body.attempts)}
            for at in range(self.chance.choice((0, 1, 2, 3, 5)))
        )
        key = f"items_{name}" if self.often(0.5) else None
        self.input |= {} if key is None else {key: list(items)}
        return Each(
            name,
            body,
            items,
            key=key,
            on_error=self.chance.choice(("fail_fast", "complete_all")),
            max_concurrency=self.chance.choice((None, None, 1, 2)),
            takes_index=self.often(0.4),
        )

    def failing(self, attempts: int) -> int:
        if self.often(self.doom):
            return FOR_EVER
        most = (attempts if attempts > 1 else self.attempts) - 1
        return self.chance.randint(0, most)

    def step(self, name: str, place: _Place) -> Step:
        attempts = self.chance.randint(2, 3) if self.may("retry", 0.2) else 1
        failing = self.failing(attempts) if attempts > 1 or self.often(0.5) else 0
        errors = ("ValueError", "KeyError", "Fatal" if failing == FOR_EVER else "ValueError")
        jump = self.jump(name, place) if self.may("loop", 0.3 if place.depth else 0.13) else None
        undo = self.may("compensation", 0.5 if self.doom else 0.1)
        return Step(
            name,
            effects=tuple(self.effect(place) for _ in range(self.chance.randint(0, 3))),
            waits=self.waits(place),
            value=None if self.often(0.4) else self.value(),
            returns=self.returns(name, place) if self.often(0.2) else None,
            failing=failing,
            attempts=attempts,
            error=self.chance.choice(errors),
            jump=jump,
            is_decision=jump is not None and self.often(0.8),
            handler=self.handler(name) if undo else None,
            queue="other" if self.may("queue", 0.05) else None,
            is_async=self.often(0.1),
        )

    def returns(self, name: str, place: _Place) -> str:
        return f"r_{name}" if place.is_sibling else self.chance.choice(VALUES)

    def value(self) -> Any:
        mapping = {self.chance.choice(VALUES): self.json(), "m2": self.json()}
        return mapping if self.often(0.5) else self.json()

    def jump(self, name: str, place: _Place) -> Jump | None:
        targets = place.targets
        if self.often(self.doom):
            targets = ("nowhere",)
        if not targets:
            return None
        times = self.chance.randint(1, 2)
        return Jump(self.chance.choice(targets), f"c_{name}", times, resets=self.often(0.3))

    def handler(self, name: str) -> Handler:
        failing, attempts = self.chance.choice(
            (*[(0, 1)] * 5, (0, 2), (1, 2), *[(FOR_EVER, 1)] * 2)
        )
        return Handler(f"undo_{name}", failing, attempts)

    def effect(self, place: _Place) -> tuple[Any, ...]:
        number, item, value = (self.chance.choice(keys) for keys in (NUMBERS, LISTS, VALUES))
        effects: list[tuple[Any, ...]] = [
            ("set", value, self.json()),
            ("append", item, self.json()),
            ("increment", number, self.chance.choice((1, 1, 2, -1))),
            ("merge", "m1", {self.chance.choice("abc"): self.json()}),
            ("grow", item, self.json()),
            ("copy", value, self.chance.choice((*NUMBERS, *LISTS))),
            ("size", "size"),
        ]
        if not place.is_sibling:
            effects.append(("delete", value))
            effects += (
                [("results", "seen")] if self.kinds.intersection({"parallel", "each"}) else []
            )
        return self.chance.choice(effects)

    # waits

    def waits(self, place: _Place) -> tuple[Wait, ...]:
        waits: list[Wait] = []
        if self.may("sleep", 0.07):
            waits.append(Wait("sleep", ""))
        if self.may("wait", 0.15):
            waits += [self.wait(place) for _ in range(self.chance.choice((1, 1, 2)))]
        if self.may("child", 0.07) and not self.is_called:
            waits.append(self.called())
        self.chance.shuffle(waits)
        return tuple(waits)

    def wait(self, place: _Place) -> Wait:
        kinds = ["event_timeout", "input_timeout", "raises_timeout", "once"]
        if not (place.is_sibling or self.is_called):
            kinds += ["event", "event", "any", "all"]
        kind = "fails_execution" if self.often(self.doom / 2) else self.chance.choice(kinds)
        catches = not self.often(self.doom)
        return Wait(kind, self.new("e"), self.chance.choice(VALUES), self.json(), catches)

    def called(self) -> Wait:
        name = f"{self.name}_child_{len(self.children) + 1}"
        size = self.chance.randint(1, 4)
        maker = _Maker(self.chance, name, self.kinds, nodes=size, is_called=True)
        shape = maker.shape()
        self.children.append(shape)
        catches = not self.often(self.doom)
        return Wait("child", name, self.chance.choice(VALUES), shape.input, catches)
