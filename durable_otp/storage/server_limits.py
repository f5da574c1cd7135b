"""What the server allows: asked before a tree is started that could not run."""

from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement


def connection_limit() -> Operation[int]:
    """Return how many connections the server has for ordinary roles."""
    rows = yield Statement("connection_limit")
    return int(rows[0]["connections"])
