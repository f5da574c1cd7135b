"""Jumping: what a step returns to go on somewhere else."""

from dataclasses import dataclass

from durable_otp.errors import DefinitionError


@dataclass(frozen=True)
class Goto:
    """The wish to go on at a node: one of the same or an enclosing sequence, by name or path."""

    target: str


def goto(name: str) -> Goto:
    """Return from a step with this to go on at another one, before or behind it, or at itself.

    Raises:
        DefinitionError: The name is not a text.
    """
    if not isinstance(name, str) or not name:
        raise DefinitionError(f"goto needs the name of a step, not {name!r}.")
    return Goto(name)
