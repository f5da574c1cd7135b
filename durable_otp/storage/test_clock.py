"""The clock that tests move: a schema migrated with one tells a time that is ahead of the server's.

Only `durable.now()` is replaced, so everything that is due by the database's time becomes due at
once, however long it would have slept.
"""

from datetime import timedelta

from durable_otp.storage.operation import Operation, transaction
from durable_otp.storage.statements import Statement


@transaction
def install() -> Operation[None]:
    """Let `durable.now()` follow the one-row table `test_clock`; harmless when it does already."""
    yield Statement("create_test_clock")
    yield Statement("start_test_clock")
    yield Statement("follow_test_clock")


def advance(interval: timedelta) -> Operation[None]:
    """Move the schema's time forward and tell every process that sleeps until a due time."""
    yield Statement("advance_test_clock", {"interval": interval})
