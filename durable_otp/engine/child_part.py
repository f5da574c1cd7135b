"""What a block's child runs of its workflow, and what it gives to its parent. Pure."""

from collections.abc import Mapping
from typing import Any

from durable_otp.engine.failure import DefinitionChanged
from durable_otp.engine.family_journal import Sibling
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.json_form import encode


def part_of_child(definition: Definition, sibling: Sibling) -> Definition:
    """Return the part of a definition that a child runs; its end is the end of the child.

    Raises:
        DefinitionChanged: The child's node is no longer part of the definition.
    """
    path = sibling.start_path
    try:
        if sibling.is_item:
            return definition.of_item(path, sibling.item, sibling.index)
        return definition.of_child(path)
    except KeyError:
        raise DefinitionChanged(
            f"workflow {definition.name!r} version {definition.version!r} has no node {path!r}, "
            "where this child begins; give changed code a version of its own"
        ) from None


def value_of_child(returned: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> Any:
    """Return a child's value: what its node returned, or the mapping of the keys it changed."""
    if returned is not None:
        return returned
    return {
        key: value
        for key, value in after.items()
        if key not in before or encode(before[key]) != encode(value)
    }
