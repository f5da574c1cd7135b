"""What the server allows, and what nodes need: asked before a tree is made that could not run."""

from collections.abc import Collection

from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement

CONNECTIONS_PER_MANAGER = 2
SPARE_WORKERS = 1


def needed_connections(concurrencies: Collection[int], siblings: int) -> tuple[int, str]:
    """Return how many connections a node may open at most, and the sum that says why.

    ``concurrencies`` are those of its queues, ``siblings`` the processes beside their managers.
    """
    workers = sum(concurrency + SPARE_WORKERS for concurrency in concurrencies)
    managers = CONNECTIONS_PER_MANAGER * len(concurrencies)
    formula = (
        f"{workers} workers and spares + {CONNECTIONS_PER_MANAGER} x {len(concurrencies)} queue "
        f"managers + {siblings} siblings"
    )
    return workers + managers + siblings, formula


def connection_limit() -> Operation[int]:
    """Return how many connections the server has for ordinary roles."""
    rows = yield Statement("connection_limit")
    return int(rows[0]["connections"])
