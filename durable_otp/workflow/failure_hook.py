"""What runs after an execution has failed: a workflow of one step beside the one that failed.

It is started by the database in the transaction that writes the failure, so it runs once for each
failure and survives every crash, and what it does cannot change the failed execution.
"""

from typing import Any

SUFFIX = ".on_failure"


def hook_name(workflow: str) -> str:
    """Return the name of the workflow that a workflow's failures start."""
    return workflow + SUFFIX


def described(definition: Any) -> dict[str, str] | None:
    """Return what a published definition says of its hook; None when it has none."""
    if definition is None:
        return None
    return {"workflow": definition.name, "queue": definition.queue}
