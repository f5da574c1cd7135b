"""Workflows and codecs on their way into a tree: names as they are, objects with their code."""

from collections.abc import Iterable, Sequence

from durable_otp.errors import ConfigError
from durable_otp.otp import by_value
from durable_otp.storage.codec import Codec, CodecChoice, chosen
from durable_otp.storage.payloads import Codecs
from durable_otp.workflow.builder import Workflow

Carried = str | bytes


def carry(workflows: Iterable[str | Workflow]) -> tuple[Carried, ...]:
    """Return workflows in a form that any process of the tree can take up.

    Raises:
        ConfigError: naming the workflow, and the step, that cannot be carried.
        DefinitionError: a workflow is wrong.
    """
    return tuple(item if isinstance(item, str) else _packed(item) for item in workflows)


def take_up(carried: Sequence[Carried]) -> list[str | Workflow]:
    """Return what was carried; runs in the workers, never in the root."""
    return [item if isinstance(item, str) else by_value.unpack(item) for item in carried]


def carry_codecs(given: CodecChoice) -> tuple[Carried, ...]:
    """Return codecs in a form that any process of the tree can take up.

    Raises:
        ConfigError: naming the codec that is none, or cannot be carried.
    """
    return tuple(each if isinstance(each, str) else _packed_codec(each) for each in chosen(given))


def take_up_codecs(carried: Sequence[Carried]) -> list[Codec | str]:
    """Return the codecs that were carried; those that have a name are imported when needed."""
    return [each if isinstance(each, str) else by_value.unpack(each) for each in carried]


def codecs_of(carried: Sequence[Carried]) -> Codecs:
    """Return what encodes and decodes with the codecs that were carried."""
    return Codecs(take_up_codecs(carried))


def _packed_codec(codec: Codec) -> bytes:
    return by_value.pack(codec, f"codec {codec.name!r}", {type(codec).__module__})


def _packed(workflow: Workflow) -> bytes:
    definition = workflow.definition()
    functions = definition.functions()
    modules = {getattr(function, "__module__", "") or "" for function in functions}
    try:
        return by_value.pack(workflow, f"workflow {workflow.name!r}", modules)
    except ConfigError:
        for node in definition.every_node():  # find the one to name
            what = f"step {node.path!r} of workflow {workflow.name!r}"
            by_value.pack(node.functions, what, modules)
        raise
