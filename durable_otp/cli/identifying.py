"""Which execution is meant by the beginning of its id."""

from durable_otp.cli.failures import AmbiguousId, UsageMistake
from durable_otp.cli.target import Target
from durable_otp.errors import ExecutionNotFound

SHOWN = 10


def execution_id(target: Target, prefix: str) -> str:
    """Return the id of the one execution whose id begins so.

    Raises:
        UsageMistake: That is not 4 or more hex digits of an id.
        ExecutionNotFound: There is none.
        AmbiguousId: There are several.
    """
    try:
        found = target.client.list_executions(id_prefix=prefix.strip(), limit=SHOWN + 1)
    except ValueError:
        raise UsageMistake(
            f"{prefix!r} is not an id; give all of it, or 4 or more of its first hex digits."
        ) from None
    if not found:
        raise ExecutionNotFound(f"There is no execution {prefix!r} in schema {target.schema!r}.")
    if len(found) > 1:
        count = f"{SHOWN} or more" if len(found) > SHOWN else str(len(found))
        ids = ", ".join(execution.id for execution in found[:SHOWN])
        raise AmbiguousId(f"{prefix!r} begins the ids of {count} executions: {ids}.")
    return found[0].id
