"""Whether anything is left for a node to do."""

from collections.abc import Sequence

from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement


def work_left(
    node_id: str, queues: Sequence[str], known: Sequence[tuple[str, str]]
) -> Operation[bool]:
    """Return whether something is running, due, or to be tried again, in one moment.

    Args:
        node_id: Whose pauses hold.
        queues: The queues that the node runs.
        known: The workflows and versions that it can run.
    """
    rows = yield Statement(
        "work_left",
        {
            "node_id": node_id,
            "queues": [*queues],
            "workflows": [workflow for workflow, _ in known],
            "versions": [version for _, version in known],
        },
    )
    return bool(rows[0]["is_left"])
